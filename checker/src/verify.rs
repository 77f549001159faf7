//! A second, separate reading of what it means that a scope is exhausted.
