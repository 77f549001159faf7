//! A Raft server: drives the core, writes the log, answers HTTP for operators.

const _: () = assert!(
    !model::mutant::COMPILED_IN,
    "a node is never built with planted bugs"
);
