//! The command line of a server.
fn main() {}
