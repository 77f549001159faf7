//! The mutants: which law each must be caught by, and in which scope.
