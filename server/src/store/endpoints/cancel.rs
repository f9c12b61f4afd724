//! What a deleted endpoint leaves is cancelled, in bounded steps.
