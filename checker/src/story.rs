//! Tells a trace so that a person can follow it.
