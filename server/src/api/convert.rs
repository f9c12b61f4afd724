//! Shapes shared by the services: times, durations.
