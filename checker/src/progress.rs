//! From every reachable state, a state in which a leader commits a new entry stays reachable.
