//! Writes the visited set of a scope as whole states.
