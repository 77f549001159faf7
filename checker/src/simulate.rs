//! Seeded random walks through scopes too large to exhaust.
