//! Gathers every bad field of a request, so that a caller learns all of them at once.

use std::fmt::Display;

use super::Error;
pub use crate::domain::Violation;

/// The bad fields found so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes the field as bad unless `holds`. Returns `holds`.
    pub fn check(&mut self, field: &str, holds: bool, description: impl Display) -> bool {
        if !holds {
            self.add(field, description);
        }
        holds
    }

    /// Notes a bad field.
    pub fn add(&mut self, field: impl Into<String>, description: impl Display) {
        self.0.push(Violation::new(field, description));
    }

    /// The value, or `None` with the failure noted.
    pub fn take<T>(&mut self, field: &str, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|description| self.add(field, description)).ok()
    }

    /// The value, or `None` with the violation noted under its own field.
    pub fn keep<T>(&mut self, result: Result<T, Violation>) -> Option<T> {
        result.map_err(|violation| self.0.push(violation)).ok()
    }

    /// Whether no field is bad so far.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ends the check.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] when any field is bad.
    pub fn into_result(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::InvalidFields(self.0)) }
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::InvalidFields(vec![violation])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_field_is_kept() {
        let mut violations = Violations::new();
        assert!(violations.check("a", true, "fine"));
        assert!(!violations.check("b", false, "too long"));
        assert_eq!(violations.take("c", "x".parse::<u8>()), None);
        assert_eq!(violations.take("d", "7".parse::<u8>()), Some(7));
        assert_eq!(violations.keep::<()>(Err(Violation::new("e", "missing"))), None);
        let Err(Error::InvalidFields(fields)) = violations.into_result() else { panic!("fields are bad") };
        assert_eq!(fields.iter().map(|violation| violation.field.as_str()).collect::<Vec<_>>(), ["b", "c", "e"]);
        assert!(Violations::new().into_result().is_ok());
    }
}
