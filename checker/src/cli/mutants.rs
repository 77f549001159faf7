//! `mutants`: plants each bug in turn and must find it.
