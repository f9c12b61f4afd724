//! The journal's content: the changes of one commit for one tenant, packed. What watchers are told, in the store's own words.

use prost::Message;

/// The changes of one commit for one tenant, by event.
#[derive(Clone, PartialEq, Message)]
pub struct Changes {
    /// Events whose deliveries moved.
    #[prost(message, repeated, tag = "1")]
    pub events: Vec<EventChanges>,
}

/// Changes of one event's deliveries.
#[derive(Clone, PartialEq, Message)]
pub struct EventChanges {
    /// The event's sequence number.
    #[prost(int64, tag = "1")]
    pub seq: i64,
    /// Its id.
    #[prost(string, tag = "2")]
    pub id: String,
    /// Its type.
    #[prost(string, tag = "3")]
    pub event_type: String,
    /// When it was accepted, ms.
    #[prost(int64, tag = "4")]
    pub create_time: i64,
    /// Its deliveries that moved.
    #[prost(message, repeated, tag = "5")]
    pub deliveries: Vec<DeliveryChange>,
}

/// One delivery as the commit left it.
#[derive(Clone, PartialEq, Message)]
pub struct DeliveryChange {
    /// Key of its endpoint.
    #[prost(int64, tag = "1")]
    pub endpoint_key: i64,
    /// Id of its endpoint.
    #[prost(string, tag = "2")]
    pub endpoint_id: String,
    /// Which of several of one event and endpoint.
    #[prost(int32, tag = "3")]
    pub part: i32,
    /// State, as [`super::delivery::State`] codes it.
    #[prost(int32, tag = "4")]
    pub state: i32,
    /// Rises with every move.
    #[prost(int32, tag = "5")]
    pub revision: i32,
    /// Attempts with a recorded outcome.
    #[prost(int32, tag = "6")]
    pub attempt_count: i32,
    /// HTTP status of the last answer, 0: none.
    #[prost(int32, tag = "7")]
    pub last_status: i32,
    /// Class of the last attempt, as [`super::delivery::AttemptClass`] codes it, 0: none.
    #[prost(int32, tag = "8")]
    pub last_class: i32,
    /// When the next attempt is due, ms; absent on a finished delivery.
    #[prost(int64, optional, tag = "9")]
    pub due: Option<i64>,
    /// When it moved, ms.
    #[prost(int64, tag = "10")]
    pub time: i64,
}

impl Changes {
    /// Adds a delivery's change under its event.
    pub fn push(&mut self, seq: i64, id: &str, event_type: &str, create_time: i64, change: DeliveryChange) {
        match self.events.last_mut() {
            Some(event) if event.seq == seq => event.deliveries.push(change),
            _ => self.events.push(EventChanges {
                seq,
                id: id.to_owned(),
                event_type: event_type.to_owned(),
                create_time,
                deliveries: vec![change],
            }),
        }
    }

    /// Number of deliveries that moved.
    pub fn len(&self) -> usize {
        self.events.iter().map(|event| event.deliveries.len()).sum()
    }

    /// Whether nothing moved.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}
