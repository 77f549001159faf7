//! The vocabulary of the abstract Raft: sorts, symbols, values and relations.

/// A sort: a set of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// Servers.
    Server,
    /// Sets of servers; every two have a common server.
    Quorum,
    /// Terms, totally ordered.
    Term,
    /// Lengths of logs, totally ordered.
    Length,
    /// Logs: the nodes of a tree, ordered by the relation *is a prefix of*.
    Log,
}

impl Sort {
    /// All sorts.
    pub const ALL: [Self; 5] = [
        Self::Server,
        Self::Quorum,
        Self::Term,
        Self::Length,
        Self::Log,
    ];
}

/// A variable or a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// The name. Two symbols with the same name are the same symbol.
    pub name: &'static str,
    /// The sort of its value.
    pub sort: Sort,
}

/// The empty log, the only constant.
pub const EMPTY: Symbol = Symbol {
    name: "empty",
    sort: Sort::Log,
};

/// A value that a formula refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// The value of a symbol.
    Symbol(Symbol),
    /// The term of the last entry of a log. For the empty log, a term below all others.
    LastTerm(Symbol),
    /// The number of entries of a log.
    Length(Symbol),
}

impl Value {
    /// Its sort.
    pub fn sort(self) -> Sort {
        match self {
            Self::Symbol(symbol) => symbol.sort,
            Self::LastTerm(_) => Sort::Term,
            Self::Length(_) => Sort::Length,
        }
    }

    /// The symbol in it.
    pub fn symbol(self) -> Symbol {
        match self {
            Self::Symbol(symbol) | Self::LastTerm(symbol) | Self::Length(symbol) => symbol,
        }
    }
}

impl From<Symbol> for Value {
    fn from(symbol: Symbol) -> Self {
        Self::Symbol(symbol)
    }
}

macro_rules! relations {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal($($sort:ident),+);)+) => {
        /// A relation. The first four are fixed, and the others are the state of the protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Relation {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Relation {
            /// All relations.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The sorts of its arguments.
            pub const fn sorts(self) -> &'static [Sort] {
                match self { $(Self::$variant => &[$(Sort::$sort),+],)+ }
            }

            /// Its meaning.
            pub fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)+ }.trim_start()
            }
        }
    };
}

relations! {
    /// The server belongs to the quorum.
    Member = "member"(Server, Quorum);
    /// The first term is at most the second.
    TermAtMost = "term-at-most"(Term, Term);
    /// The first length is at most the second.
    LengthAtMost = "length-at-most"(Length, Length);
    /// The first log is a prefix of the second.
    Prefix = "prefix"(Log, Log);
    /// The server is in a later term than this one: it never acts in this term again.
    Left = "left"(Server, Term);
    /// The log of the server begins with this log.
    Has = "has"(Server, Log);
    /// The server (first) voted in the term for the candidate (last).
    Voted = "voted"(Server, Term, Server);
    /// The server was a candidate of the term with this log.
    Candidate = "candidate"(Server, Term, Log);
    /// The server won the election of the term.
    Elected = "elected"(Term, Server);
    /// The log of the leader of the term begins with this log.
    LeaderLog = "leader-log"(Term, Log);
    /// The server acknowledged this log in the term.
    Acked = "acked"(Server, Term, Log);
    /// This log is committed.
    Committed = "committed"(Log);
    /// The server received that this log is committed.
    Learned = "learned"(Server, Log);
}

impl Relation {
    /// The relations that are the state of the protocol.
    pub fn state() -> &'static [Self] {
        &Self::ALL[Self::Left as usize..]
    }

    /// Whether it is part of the state of the protocol.
    pub fn is_state(self) -> bool {
        self >= Self::Left
    }
}
