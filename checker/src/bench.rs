//! Measures the engines against each other.
