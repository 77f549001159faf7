//! Certificates: a certificate that was written is accepted, and all others are rejected.

use checker::{
    certificate,
    engine::{Explored, Limits, SearchProgress, check},
    step_guard,
    verify::{Origin, Verified, verify},
};
use model::{
    client::Invocation,
    mutant::Mutant,
    store::Operation,
    system::{Budget, Limit, Properties, Property, Reduction, Scope, System},
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::{
    io,
    sync::{LazyLock, atomic::AtomicBool},
};

fn explore(scope: &Scope, symmetry: bool, max_states: Option<u64>) -> Explored {
    let limits = Limits {
        threads: 2,
        max_states,
        max_memory: None,
        symmetry,
    };
    check(scope, &limits, &SearchProgress::default())
}

fn certify(scope: &Scope, symmetry: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    certificate::write(&explore(scope, symmetry, None), scope, symmetry, &mut bytes)
        .expect("an exhausted scope has a certificate");
    bytes
}

/// Two servers, one term, one crash: a few states of every kind.
fn small() -> Scope {
    let mut scope = Scope::new("small", "");
    scope.servers = 2;
    scope.budget.crashes = Limit::at_most(1);
    scope
}

/// A client that increments twice, and a proxy.
fn with_clients() -> Scope {
    let increment = || {
        Invocation::Write(Operation::Increment {
            key: b"x".to_vec(),
            by: 1,
        })
    };
    let mut scope = Scope::new("clients and a proxy", "");
    scope.servers = 1;
    scope.budget.entries = 1;
    scope.with_session = true;
    scope.direct_clients = false;
    scope.tracks_operations = true;
    scope.plans = vec![vec![increment(), increment()]];
    scope
}

static SMALL: LazyLock<Vec<u8>> = LazyLock::new(|| certify(&small(), true));

/// The parts of a certificate, so that a consistent one can be forged.
#[derive(Clone)]
struct Parts {
    /// The bytes before the count of states.
    head: Vec<u8>,
    states: Vec<Vec<u8>>,
}

impl Parts {
    fn new(bytes: &[u8]) -> Self {
        let number = |at: usize| u32::from_le_bytes(bytes[at..][..4].try_into().unwrap()) as usize;
        let plans = 38 + usize::from(bytes[37]);
        let count = plans + 4 + number(plans);
        let mut at = count + 8 + 32;
        let mut states = Vec::new();
        while at < bytes.len() {
            states.push(bytes[at + 4..][..number(at)].to_vec());
            at += 4 + number(at);
        }
        Self {
            head: bytes[..count].to_vec(),
            states,
        }
    }

    /// The certificate of these parts, with a correct count and root hash.
    fn forge(&self) -> Vec<u8> {
        let mut head = self.head.clone();
        head.extend((self.states.len() as u64).to_le_bytes());
        let mut body = Vec::new();
        for state in &self.states {
            body.extend((state.len() as u32).to_le_bytes());
            body.extend(state);
        }
        let root = Sha256::digest([head.as_slice(), &body].concat());
        [head.as_slice(), root.as_slice(), &body].concat()
    }

    fn systems(&self) -> impl Iterator<Item = System> {
        self.states
            .iter()
            .map(|state| System::decode(state).unwrap())
    }
}

#[track_caller]
fn assert_rejected(bytes: &[u8], why: &str) {
    let told = match verify(bytes) {
        Ok(verified) => panic!("verified: {verified:?}"),
        Err(error) => format!("{error:#}"),
    };
    assert!(told.contains(why), "rejected for another reason: {told}");
}

#[test]
fn certificate_of_each_kind_of_scope_is_verified() {
    let with = |name: &str, change: fn(&mut Scope)| {
        let mut scope = Scope::new(name, "");
        change(&mut scope);
        scope
    };
    let scopes = [
        small(),
        with("elections", |scope| {
            scope.append_entries = false;
            scope.budget.crashes = Limit::at_most(1);
        }),
        with("replication", |scope| {
            scope.servers = 2;
            scope.terms = 2;
            scope.budget.entries = 1;
            scope.with_session = true;
        }),
        with("reads, one entry a message", |scope| {
            scope.servers = 2;
            scope.batch = 1;
            scope.budget = Budget {
                entries: 1,
                reads: 1,
                ..Budget::default()
            };
            scope.with_session = true;
            scope.tracks_operations = true;
        }),
        with("snapshots", |scope| {
            scope.servers = 2;
            scope.budget.snapshots = Limit::at_most(1);
            scope.budget.crashes = Limit::at_most(1);
            scope.with_session = true;
            scope.reduction.merge_syncs = false;
        }),
        Scope {
            attempts: 2,
            ..with_clients()
        },
        Scope {
            budget: Budget {
                client_crashes: Limit::at_most(1),
                proxy_crashes: Limit::Any,
                ..with_clients().budget
            },
            ..with_clients()
        },
        with("no reductions", |scope| {
            scope.servers = 2;
            scope.append_entries = false;
            scope.budget.crashes = Limit::at_most(1);
            scope.reduction = Reduction::NONE;
        }),
        with("replication without reductions", |scope| {
            scope.servers = 2;
            scope.budget.entries = 1;
            scope.with_session = true;
            scope.reduction = Reduction::NONE;
        }),
        with("every message kept", |scope| {
            scope.servers = 2;
            scope.terms = 2;
            scope.budget.crashes = Limit::at_most(1);
            scope.append_entries = false;
            scope.reduction.drop_dead = false;
        }),
        with("every send a step", |scope| {
            scope.servers = 2;
            scope.terms = 2;
            scope.budget.crashes = Limit::at_most(1);
            scope.append_entries = false;
            scope.reduction.send_early = false;
        }),
        with("restarts apart", |scope| {
            scope.servers = 2;
            scope.append_entries = false;
            scope.budget.crashes = Limit::at_most(1);
            scope.reduction.merge_restarts = false;
        }),
        with("syncs apart", |scope| {
            scope.budget.entries = 1;
            scope.with_session = true;
            scope.servers = 2;
            scope.reduction.merge_syncs = false;
        }),
    ];
    for scope in scopes {
        for symmetry in [false, true] {
            let explored = explore(&scope, symmetry, None);
            let mut bytes = Vec::new();
            let summary = certificate::write(&explored, &scope, symmetry, &mut bytes).unwrap();
            let Verified {
                states,
                transitions,
                witnesses,
                root,
                scope_description,
                origin,
            } = verify(bytes.as_slice())
                .unwrap_or_else(|error| panic!("{} {symmetry}: {error:#}", scope.name));
            assert_eq!(summary.bytes, bytes.len() as u64);
            assert_eq!((summary.states, summary.root), (states, root));
            let report = &explored.report;
            assert_eq!(report.states, states, "{}", scope.name);
            assert_eq!(report.transitions, transitions, "{}", scope.name);
            // The search does not record witnesses of steps that only send; the definition does.
            let mut both = witnesses;
            both.add_all(explored.report.witnesses);
            assert_eq!(both, witnesses, "{}", scope.name);
            assert!(scope_description.contains(&scope.name));
            assert_ne!(origin, Origin::Catalog, "{}", scope.name);
        }
    }
}

#[test]
fn header_is_what_the_document_draws() {
    let drawn = [
        b"RAFTCERT".as_slice(),
        &[7, 0],
        &[2, 1, 0, 0],
        &[1, 0, 0, 0, 0],
        &[1],
        &[64, 0],
        &[0, 0],
        &[0, 0, 0, 0],
        &[0],
        &[0, 0, 0, 0],
        &[0b000],
        &[0b1_0101, 0b11_1111, 0],
        b"\x05small",
        &[1, 0, 0, 0, 0],
    ]
    .concat();
    let parts = Parts::new(&SMALL);
    assert_eq!(parts.head, drawn);
    assert_eq!(parts.forge(), *SMALL);
}

#[test]
fn certificate_without_one_state_is_rejected() {
    let whole = Parts::new(&SMALL);
    let start = step_guard::transitions(small())
        .start()
        .canonical()
        .encode();
    for place in 0..whole.states.len() {
        let mut parts = whole.clone();
        let removed = parts.states.remove(place);
        let why = if removed == start {
            "initial state: not in the file"
        } else {
            "has a successor that is not in the file"
        };
        assert_rejected(&parts.forge(), why);
    }
}

#[test]
fn certificate_with_one_altered_state_is_rejected() {
    let whole = Parts::new(&SMALL);
    let mut altered = 0;
    for (place, system) in whole.systems().enumerate() {
        // A plausible forgery: one message was never sent.
        let Some(message) = system.network.first().cloned() else {
            continue;
        };
        let mut other = system.clone();
        other.network.remove(&message);
        let other = other.canonical().encode();
        if whole.states.contains(&other) {
            continue;
        }
        let mut parts = whole.clone();
        parts.states[place] = other;
        parts.states.sort();
        assert!(verify(parts.forge().as_slice()).is_err(), "state {place}");
        altered += 1;
    }
    assert!(altered > 0);
}

#[test]
fn certificate_with_one_state_too_many_is_rejected() {
    let mut parts = Parts::new(&SMALL);
    let mut system = step_guard::transitions(small()).start();
    system.spent.crashes = 1;
    system.spent.reads = 1;
    parts.states.push(system.canonical().encode());
    parts.states.sort();
    assert_rejected(&parts.forge(), "cannot be reached");
}

#[test]
fn certificate_with_a_state_that_is_not_canonical_is_rejected() {
    let mut parts = Parts::new(&SMALL);
    let names = model::system::Permutation::all(2);
    let renamed = parts
        .systems()
        .map(|system| model::system::Relabel::relabel(&system, &names[1]).encode())
        .find(|bytes| !parts.states.contains(bytes))
        .expect("some state is not symmetric");
    parts.states.push(renamed);
    parts.states.sort();
    assert_rejected(&parts.forge(), "canonical form");
}

#[test]
fn certificate_of_another_shape_is_rejected() {
    let mut parts = Parts::new(&SMALL);
    // A thousand servers, which have too many permutations to try.
    let mut system = step_guard::transitions(small()).start();
    system.processes = vec![system.processes[0].clone(); 1000];
    parts.states.push(system.encode());
    parts.states.sort();
    assert_rejected(&parts.forge(), "shape");
}

#[test]
fn certificate_for_larger_bounds_is_rejected() {
    // Terms, entries, crashes and transfers: the states of smaller bounds are not closed under the steps of larger
    // bounds.
    for (place, more) in [(11, 2), (12, 1), (14, 2), (18, 1)] {
        let mut parts = Parts::new(&SMALL);
        parts.head[place] = more;
        assert_rejected(&parts.forge(), "has a successor that is not in the file");
    }
    // Crashes of clients and of the proxy.
    let clients = certify(&with_clients(), true);
    for place in [16, 17] {
        let mut parts = Parts::new(&clients);
        parts.head[place] = u8::MAX;
        assert_rejected(&parts.forge(), "has a successor that is not in the file");
    }
}

#[test]
fn certificate_for_smaller_bounds_is_rejected() {
    let mut parts = Parts::new(&SMALL);
    parts.head[14] = 0;
    // Which check fails first depends on the messages that are dropped after the last crash.
    assert!(verify(parts.forge().as_slice()).is_err());
}

#[test]
fn certificate_that_violates_a_property_is_rejected() {
    // A search without checks reports this scope as exhausted: the verification checks the properties
    // again.
    let mut scope = Scope::new("flawed", "");
    scope.servers = 2;
    scope.mutant = Some(Mutant::VotesTwiceInATerm);
    scope.properties = Properties::only(Property::Linearizability);
    // This bug breaks a rule by which messages are dropped.
    scope.reduction.drop_dead = false;
    let explored = explore(&scope, true, None);
    scope.mutant = None;
    scope.properties = Properties::ALL;
    let mut bytes = Vec::new();
    certificate::write(&explored, &scope, true, &mut bytes).unwrap();
    // The states contain the configuration of their servers, so states of a mutant are not states of
    // Raft.
    assert!(verify(bytes.as_slice()).is_err());
}

#[test]
fn disorder_and_repetition_are_rejected() {
    let mut parts = Parts::new(&SMALL);
    parts.states.swap(0, 1);
    assert_rejected(&parts.forge(), "order: state 1");
    let mut parts = Parts::new(&SMALL);
    parts.states.insert(3, parts.states[3].clone());
    assert_rejected(&parts.forge(), "order: state 4");
}

#[test]
fn root_hash_and_count_are_compared() {
    let head = Parts::new(&SMALL).head.len();
    let mut bytes = SMALL.clone();
    bytes[head + 8] ^= 1;
    assert_rejected(&bytes, "root hash");
    let mut bytes = SMALL.clone();
    bytes[head] -= 1;
    assert_rejected(&bytes, "count: there are more bytes");
    let mut bytes = SMALL.clone();
    bytes[head] += 1;
    assert_rejected(&bytes, "the file ends");
    let mut bytes = SMALL.clone();
    bytes.push(0);
    assert_rejected(&bytes, "count: there are more bytes");
}

#[test]
fn bad_headers_are_named() {
    let change = |at: usize, value: u8| {
        let mut bytes = SMALL.clone();
        bytes[at] = value;
        bytes
    };
    assert_rejected(&change(0, 0), "magic");
    assert_rejected(&change(8, 1), "version");
    assert_rejected(&change(10, 9), "servers 9 is out of range");
    assert_rejected(&change(11, 0), "terms 0 is out of range");
    assert_rejected(&change(27, 1), "trailing bytes 16777216 is out of range");
    assert_rejected(&change(28, 9), "sessions 9 is out of range");
    assert_rejected(&change(32, 0xff), "state quota 4278190080 is out of range");
    assert_rejected(&change(33, 0xff), "what servers do");
    assert_rejected(&change(34, 0xff), "switches");
    assert_rejected(&change(35, 0xff), "reductions");
    assert_rejected(&change(36, 1), "mutant");
    assert_rejected(&change(38, 0xff), "name");
    assert_rejected(&change(46, 0xff), "plans");
    assert_rejected(&[], "magic");
}

#[test]
fn name_that_forges_output_is_rejected() {
    let mut scope = small();
    for name in [
        "elections-4\n  states 412,000",
        "small\u{1b}[8m",
        "small\u{9b}8m",
        "a  b",
    ] {
        scope.name = name.into();
        let error = verify(certify(&scope, true).as_slice()).expect_err("a forged name");
        let told = format!("{error:#}");
        assert!(told.contains("the name of the scope"), "{told}");
        assert!(!told.contains(char::is_control), "{told:?}");
    }
}

#[test]
fn promised_lengths_take_no_memory() {
    let mut bytes = SMALL.clone();
    let first = Parts::new(&SMALL).head.len() + 40;
    bytes[first..][..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_rejected(&bytes, "are more than");
    let count = first - 40;
    let mut bytes = SMALL.clone();
    bytes[count..][..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_rejected(&bytes, "the file ends");
}

#[test]
fn only_an_exhausted_search_gets_a_certificate() {
    let refused = |explored: &Explored, scope: &Scope| {
        let mut bytes = Vec::new();
        let error = certificate::write(explored, scope, true, &mut bytes).unwrap_err();
        assert!(bytes.is_empty());
        format!("{error:#}")
    };
    let mut larger = Scope::new("larger", "");
    larger.terms = 2;
    let truncated = explore(&larger, true, Some(1));
    assert!(refused(&truncated, &larger).contains("stopped early"));

    let mut violating = Scope::new("violating", "");
    violating.mutant = Some(Mutant::QuorumOffByOne);
    let violated = explore(&violating, true, None);
    assert!(refused(&violated, &violating).contains("it violates"));

    let mut planted = small();
    planted.mutant = Some(Mutant::SplitVoteNeverRetried);
    let exhausted = explore(&planted, true, None);
    assert!(refused(&exhausted, &planted).contains("a bug is planted"));

    let mut lenient = small();
    lenient.properties = Properties::only(Property::ElectionSafety);
    let exhausted = explore(&lenient, true, None);
    assert!(refused(&exhausted, &lenient).contains("not every property"));
}

#[test]
fn interrupted_write_leaves_what_was_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("small.cert");
    let scope = small();
    let explored = explore(&scope, true, None);
    std::fs::write(&path, "what was there").unwrap();
    let stopped = certificate::write_file(&explored, &scope, true, &AtomicBool::new(true), &path)
        .unwrap_err();
    assert!(stopped.is::<checker::Interrupted>(), "{stopped:#}");
    assert_eq!(std::fs::read(&path).unwrap(), b"what was there");
    let go_on = AtomicBool::new(false);
    let mut planted = scope.clone();
    planted.mutant = Some(Mutant::SplitVoteNeverRetried);
    assert!(certificate::write_file(&explored, &planted, true, &go_on, &path).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"what was there");

    certificate::write_file(&explored, &scope, true, &go_on, &path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), *SMALL);
    let files = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(files, 1, "nothing is left over");
}

#[test]
fn unwritable_paths_and_full_disks_are_errors() {
    let scope = small();
    let explored = explore(&scope, true, None);
    let directory = tempfile::tempdir().unwrap();
    let told = |path: &std::path::Path| {
        let error = certificate::write_file(&explored, &scope, true, &AtomicBool::new(false), path)
            .unwrap_err();
        format!("{error:#}")
    };
    assert!(told(directory.path()).contains("is a directory"));
    let missing = directory.path().join("missing/small.cert");
    assert!(told(&missing).contains("cannot write the certificate to"));

    /// A disk with space for this many bytes.
    struct Disk(usize);
    impl io::Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let written = bytes.len().min(self.0);
            self.0 -= written;
            Ok(written)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for room in [0, 10, SMALL.len() - 1] {
        let error = certificate::write(&explored, &scope, true, &mut Disk(room)).unwrap_err();
        assert!(format!("{error:#}").contains("cannot write the certificate"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn truncated_certificate_is_rejected(length in 0..SMALL.len()) {
        prop_assert!(verify(&SMALL[..length]).is_err());
    }

    #[test]
    fn certificate_with_flipped_bits_is_rejected(
        flips in proptest::collection::btree_map(0..SMALL.len(), 1_u8.., 1..4),
    ) {
        let mut bytes = SMALL.clone();
        for (at, bits) in flips {
            bytes[at] ^= bits;
        }
        prop_assert!(verify(bytes.as_slice()).is_err());
    }

    /// As above, but with a matching count and root hash, so that the later checks run too.
    #[test]
    fn forged_state_is_rejected(
        place in any::<prop::sample::Index>(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..4),
    ) {
        let mut parts = Parts::new(&SMALL);
        let place = place.index(parts.states.len());
        let state = &mut parts.states[place];
        let before = state.clone();
        for (at, bits) in flips {
            let at = at.index(state.len());
            state[at] ^= bits;
        }
        prop_assume!(*state != before);
        parts.states.sort();
        prop_assert!(verify(parts.forge().as_slice()).is_err());
    }

    #[test]
    fn any_bytes_are_rejected(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        prop_assert!(verify(bytes.as_slice()).is_err());
        let mut parts = Parts::new(&SMALL);
        parts.states.insert(0, bytes);
        parts.states.sort();
        prop_assert!(verify(parts.forge().as_slice()).is_err());
    }
}
