//! Endpoints.
use std::sync::Arc;
use super::Error;
use super::entity::{endpoint_secrets, endpoints};
use crate::domain::endpoint::Endpoint;
use crate::domain::secret::DataKey;

pub(crate) fn load_endpoint(_key: &DataKey, _tenant: Arc<str>, _model: endpoints::Model, _secrets: Vec<endpoint_secrets::Model>) -> Result<Endpoint, Error> {
    Err(Error::NotFound)
}
