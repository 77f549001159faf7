use super::{
    congestion::INITIAL_WINDOW,
    reassemble::{MAX_PARTIAL, MAX_PIECES, PIECE_OVERHEAD, PartialMessage},
    send::MAX_QUEUED,
    *,
};
use bytes::Bytes;
use model::wire::{Acknowledgement, Fragment, KeyId};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tokio::time::Instant;

const LIMITS: ReassemblyLimits = ReassemblyLimits {
    message: 1 << 20,
    bytes: 2 << 20,
    bulk: 0,
};
const BULK: ReassemblyLimits = ReassemblyLimits {
    bulk: 64 << 20,
    ..LIMITS
};

fn to() -> Destination {
    (([127, 0, 0, 1], 1).into(), KeyId::Cluster)
}

fn content(length: usize) -> Bytes {
    (0..length).map(|nth| (nth * 7 % 251) as u8).collect()
}

/// Message, offset, length of the message, bytes.
type Owned = (u64, u32, u32, Vec<u8>);

fn poll(sender: &mut FragmentSender, now: Instant) -> Vec<Owned> {
    poll_in(sender, 1000, now)
}

fn poll_in(sender: &mut FragmentSender, size: usize, now: Instant) -> Vec<Owned> {
    let mut fragments = Vec::new();
    sender.poll(to(), size, now, |fragment| {
        assert!(fragment.bytes.len() <= size);
        fragments.push((
            fragment.message,
            fragment.offset,
            fragment.length,
            fragment.bytes.to_vec(),
        ));
    });
    fragments
}

fn take(reassembler: &mut Reassembler, fragment: &Owned) -> Reassembly {
    take_within(reassembler, fragment, LIMITS)
}

fn take_within(
    reassembler: &mut Reassembler,
    fragment: &Owned,
    limits: ReassemblyLimits,
) -> Reassembly {
    let (message, offset, length, ref bytes) = *fragment;
    let fragment = Fragment {
        message,
        offset,
        length,
        bytes,
    };
    reassembler.take(&fragment, limits).0
}

fn acknowledge(sender: &mut FragmentSender, reassembler: &Reassembler, message: u64, now: Instant) {
    if let Some((length, first, ranges)) = reassembler.acknowledgement(message) {
        let of = Acknowledgement {
            message,
            length,
            first,
            ranges: &ranges,
        };
        sender.acknowledge(KeyId::Cluster, &of, now);
    }
}

/// Both directions lose a tenth, and the path MTU keeps changing. Three messages still arrive complete,
/// and no state of them remains.
#[test]
fn lost_fragments_and_acknowledgements_are_retransmitted() {
    use rand_chacha::{
        ChaCha8Rng,
        rand_core::{RngCore, SeedableRng},
    };
    for seed in 0..100 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let lengths = [(); 3].map(|()| 1 + random.next_u32() as usize % 60_000);
        let mut sizes = random.clone();
        let mut lost = move || random.next_u32() % 10 == 0;
        let mut now = Instant::now();
        let (mut sender, mut reassembler) = (FragmentSender::new(0), Reassembler::default());
        for length in lengths {
            assert!(sender.push(to(), content(length), now));
        }
        let mut whole = BTreeMap::new();
        while let Some(due) = sender.deadline() {
            let size = 100 + sizes.next_u32() as usize % 1900;
            let fragments = poll_in(&mut sender, size, now);
            if fragments.is_empty() {
                now = due.max(now);
            }
            for fragment in fragments {
                if lost() {
                    continue;
                }
                if let Reassembly::Complete(bytes) = take(&mut reassembler, &fragment) {
                    assert!(whole.insert(fragment.0, bytes).is_none());
                }
                if !lost() {
                    now += Duration::from_micros(50);
                    acknowledge(&mut sender, &reassembler, fragment.0, now);
                }
            }
        }
        let counts = sender.counts();
        assert_eq!((counts.given_up, counts.delivered), (0, 3), "seed {seed}");
        assert!(counts.retransmitted > 0, "seed {seed}");
        assert_eq!(sender.queued, 0);
        assert!(sender.destinations.is_empty());
        assert_eq!(reassembler.bytes(), 0);
        for (bytes, length) in whole.values().zip(lengths) {
            assert_eq!(bytes, &content(length), "seed {seed}");
        }
        assert_eq!(whole.len(), 3);
    }
}

#[test]
fn silent_receiver_is_given_up_after_a_few_repeats() {
    let start = Instant::now();
    let mut now = start;
    let mut sender = FragmentSender::new(0);
    assert!(sender.push(to(), content(100_000), now));
    let mut most = poll(&mut sender, now).len();
    while let Some(due) = sender.deadline() {
        now = due.max(now);
        most = most.max(poll(&mut sender, now).len());
    }
    assert_eq!(now - start, GIVE_UP_AFTER);
    let counts = sender.counts();
    assert_eq!((counts.given_up, counts.delivered), (1, 0));
    assert!(counts.retransmitted > 0);
    assert_eq!(most, INITIAL_WINDOW);
    assert_eq!(sender.queued, 0);
}

/// With and without losses, the bytes in flight stay bounded.
#[test]
fn bytes_in_flight_are_bounded() {
    let mut now = Instant::now();
    let (mut sender, mut reassembler) = (FragmentSender::new(0), Reassembler::default());
    sender.push(to(), content(3 << 20), now);
    let mut counts = Vec::new();
    for round in 0.. {
        let fragments = poll_in(&mut sender, 40_000, now);
        if fragments.is_empty() {
            break;
        }
        counts.push(fragments.len());
        now += Duration::from_secs(1);
        if round % 4 == 3 {
            continue;
        }
        for fragment in &fragments {
            take_within(
                &mut reassembler,
                fragment,
                ReassemblyLimits {
                    message: 4 << 20,
                    ..LIMITS
                },
            );
        }
        acknowledge(&mut sender, &reassembler, 1, now);
    }
    assert_eq!(sender.counts().delivered, 1);
    counts.pop();
    assert!(
        counts.len() > 12 && counts.iter().all(|count| *count == 6),
        "{counts:?}"
    );
}

#[test]
fn fragment_is_retransmitted_after_three_later_ones_were_acknowledged() {
    let now = Instant::now();
    let (mut sender, mut reassembler) = (FragmentSender::new(0), Reassembler::default());
    sender.push(to(), content(10_000), now);
    let fragments = poll(&mut sender, now);
    for fragment in &fragments[1..3] {
        take(&mut reassembler, fragment);
    }
    acknowledge(&mut sender, &reassembler, 1, now);
    assert!(poll(&mut sender, now).is_empty());
    take(&mut reassembler, &fragments[3]);
    acknowledge(&mut sender, &reassembler, 1, now);
    let again: Vec<u32> = poll(&mut sender, now).iter().map(|of| of.1).collect();
    assert_eq!(again, [0]);
    assert_eq!(sender.counts().retransmitted, 1);
}

#[test]
fn queue_of_a_receiver_is_bounded() {
    let now = Instant::now();
    let mut sender = FragmentSender::new(0);
    let mut taken = 0;
    while sender.push(to(), content(1 << 20), now) {
        taken += 1;
    }
    assert_eq!(taken, MAX_QUEUED >> 20);
    let other = (([127, 0, 0, 1], 2).into(), KeyId::Cluster);
    assert!(sender.push(other, content(1 << 20), now));
}

#[test]
fn acknowledgement_under_another_key_is_ignored() {
    let now = Instant::now();
    let mut sender = FragmentSender::new(0);
    sender.push(to(), content(2000), now);
    poll(&mut sender, now);
    let of = Acknowledgement {
        message: 1,
        length: 2000,
        first: 2000,
        ranges: &[],
    };
    assert_eq!(sender.acknowledge(KeyId::Client, &of, now), None);
    assert_eq!(sender.counts().delivered, 0);
    assert_eq!(sender.acknowledge(KeyId::Cluster, &of, now), Some(to()));
    assert_eq!(sender.counts().delivered, 1);
    assert_eq!(sender.acknowledge(KeyId::Cluster, &of, now), None);
}

/// The path MTU decreases: fragments in flight are fragmented again at once, and acknowledged bytes
/// are not retransmitted.
#[test]
fn fragments_in_flight_are_fragmented_again_when_the_path_mtu_decreases() {
    let now = Instant::now();
    let (mut sender, mut reassembler) = (FragmentSender::new(0), Reassembler::default());
    sender.push(to(), content(10_000), now);
    let long = poll_in(&mut sender, 3000, now);
    assert_eq!(long.len(), 4);
    take(&mut reassembler, &long[1]);
    acknowledge(&mut sender, &reassembler, 1, now);
    sender.on_path_shrunk(to(), 700);
    let short = poll_in(&mut sender, 700, now);
    let lengths: Vec<usize> = short.iter().map(|of| of.3.len()).collect();
    assert_eq!(lengths.iter().sum::<usize>(), 7000, "{lengths:?}");
    assert!(short.iter().all(|of| !(3000..6000).contains(&of.1)));
    // The first long fragment arrives late, and overlaps.
    take(&mut reassembler, &long[0]);
    let whole = short
        .iter()
        .map(|fragment| take(&mut reassembler, fragment));
    let whole = whole.filter(|taken| *taken == Reassembly::Complete(content(10_000).to_vec()));
    assert_eq!(whole.count(), 1);
    acknowledge(&mut sender, &reassembler, 1, now);
    assert_eq!(sender.counts().delivered, 1);
}

#[test]
fn refused_fragment_is_fragmented_again_at_once() {
    let now = Instant::now();
    let mut sender = FragmentSender::new(0);
    let whole = content(1400);
    sender.push(to(), whole.clone(), now);
    assert_eq!(poll_in(&mut sender, 1400, now).len(), 1);
    let on_refused = Fragment {
        message: 1,
        offset: 0,
        length: 1400,
        bytes: &whole,
    };
    sender.on_refused(to(), &on_refused);
    let again = poll_in(&mut sender, 900, now);
    let cuts: Vec<_> = again.iter().map(|of| (of.1, of.3.len())).collect();
    assert_eq!(cuts, [(0, 900), (900, 500)]);
    assert_eq!(sender.counts().retransmitted, 2);
}

#[test]
fn fragments_that_contradict_or_exceed_are_refused() {
    let mut reassembler = Reassembler::default();
    assert_eq!(
        take(&mut reassembler, &(1, 0, 3, vec![1])),
        Reassembly::Buffered
    );
    assert_eq!(
        take(&mut reassembler, &(1, 0, 3, vec![1])),
        Reassembly::Duplicate
    );
    assert_eq!(
        take(&mut reassembler, &(1, 1, 4, vec![1])),
        Reassembly::Inconsistent
    );
    assert_eq!(
        take(&mut reassembler, &(1, 2, 3, vec![1, 2])),
        Reassembly::Inconsistent
    );
    assert_eq!(
        take(&mut reassembler, &(1, 1, 3, vec![2, 3])),
        Reassembly::Complete(vec![1, 2, 3])
    );
    assert_eq!(
        take(&mut reassembler, &(1, 1, 3, vec![2])),
        Reassembly::Duplicate
    );
    assert_eq!(reassembler.acknowledgement(1), Some((3, 3, Vec::new())));
    assert_eq!(
        take(
            &mut reassembler,
            &(2, 0, LIMITS.message as u32 + 1, vec![1])
        ),
        Reassembly::Oversized
    );
    assert_eq!(reassembler.acknowledgement(2), None);
    assert_eq!(reassembler.bytes(), 0);
    // Beyond the limit of a sender.
    let length = 64 << 20;
    let far = (4, MAX_AHEAD, length, vec![1]);
    assert_eq!(
        take_within(&mut reassembler, &far, BULK),
        Reassembly::Inconsistent
    );
    let near = (4, MAX_AHEAD - 1, length, vec![1]);
    assert_eq!(
        take_within(&mut reassembler, &near, BULK),
        Reassembly::Buffered
    );
    assert_eq!(reassembler.bulk(), 1 + PIECE_OVERHEAD);
    // More pieces than a sender has in flight.
    let piece = |nth: usize| (4, 2 + 2 * nth as u32, length, vec![1]);
    for nth in 1..MAX_PIECES {
        let taken = take_within(&mut reassembler, &piece(nth), BULK);
        assert_eq!(taken, Reassembly::Buffered);
    }
    let taken = take_within(&mut reassembler, &piece(MAX_PIECES), BULK);
    assert_eq!(taken, Reassembly::Inconsistent);
    let (_, first, ranges) = reassembler.acknowledgement(4).unwrap();
    assert_eq!((first, ranges.len()), (0, MAX_RANGES * RANGE));
}

/// A bulk message of 64 MiB over a path that loses a fifth, duplicates a twentieth and reorders a tenth:
/// it arrives complete, and acknowledgements and buffers stay small.
#[test]
fn bulk_message_arrives_over_a_bad_path_in_bounded_memory() {
    use rand_chacha::{
        ChaCha8Rng,
        rand_core::{RngCore, SeedableRng},
    };
    const LENGTH: usize = 64 << 20;
    const ROUND_TRIP: Duration = Duration::from_millis(1);
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut one_in = move |of: u32| random.next_u32() % of == 0;
    let begun = Instant::now();
    let mut now = begun;
    let (mut sender, mut reassembler) = (FragmentSender::new(0), Reassembler::default());
    let whole = content(LENGTH);
    assert!(sender.reserve_bulk(to()));
    assert!(!sender.reserve_bulk(to()), "one is being made already");
    assert!(sender.push_bulk(to(), whole.clone(), now));
    assert!(!sender.reserve_bulk(to()), "one is under way already");
    let mut arrived = None;
    while arrived.is_none() {
        let mut fragments = poll_in(&mut sender, 1300, now);
        if fragments.is_empty() {
            now = sender.deadline().expect("it is under way").max(now);
            continue;
        }
        for nth in 1..fragments.len() {
            if one_in(10) {
                fragments.swap(nth - 1, nth);
            }
        }
        now += ROUND_TRIP;
        for fragment in fragments {
            let times = if one_in(5) {
                0
            } else {
                1 + usize::from(one_in(20))
            };
            for _ in 0..times {
                if let Reassembly::Complete(bytes) = take_within(&mut reassembler, &fragment, BULK)
                {
                    assert!(arrived.replace(bytes).is_none(), "it arrived twice");
                }
            }
        }
        if let Some((_, _, ranges)) = reassembler.acknowledgement(1) {
            assert!(ranges.len() <= MAX_RANGES * RANGE);
        }
        assert!(reassembler.bytes() <= LIMITS.bytes && reassembler.bulk() <= LENGTH + (1 << 20));
        if !one_in(5) {
            acknowledge(&mut sender, &reassembler, 1, now);
        }
    }
    assert!(arrived.is_some_and(|bytes| bytes == whole));
    let mut counts = sender.counts();
    while counts.delivered == 0 {
        assert_eq!(counts.given_up, 0);
        now = sender
            .deadline()
            .expect("the last acknowledgement was lost")
            .max(now);
        poll(&mut sender, now);
        acknowledge(&mut sender, &reassembler, 1, now);
        counts = sender.counts();
    }
    assert_eq!((sender.bulk, reassembler.bulk()), (0, 0));
    assert!(sender.reserve_bulk(to()));
    eprintln!("{:?} of virtual time", now - begun);
}

/// A small message neither waits behind a bulk message nor is refused because of it.
#[test]
fn bulk_message_is_overtaken() {
    let now = Instant::now();
    let (mut sender, mut reassembler) = (FragmentSender::new(0), Reassembler::default());
    sender.reserve_bulk(to());
    assert!(sender.push_bulk(to(), content(2 * MAX_QUEUED), now));
    let first = poll(&mut sender, now);
    assert_eq!(first.len(), INITIAL_WINDOW);
    assert!(sender.push(to(), content(10_000), now));
    assert!(sender.push(to(), content(5_000), now));
    for fragment in &first {
        take_within(&mut reassembler, fragment, BULK);
    }
    acknowledge(&mut sender, &reassembler, 1, now);
    let then: Vec<u64> = poll(&mut sender, now).iter().map(|of| of.0).collect();
    // In the order sent, although the second is shorter.
    let expected = [[2; 10].as_slice(), &[3; 5]].concat();
    assert_eq!(then[..15], expected);
    assert!(then[15..].iter().all(|message| *message == 1));
}

/// A later bulk message of the same session replaces the earlier one.
#[test]
fn one_bulk_message_of_a_run_is_put_together_at_a_time() {
    let mut reassembler = Reassembler::default();
    let piece = vec![0; LIMITS.message];
    for message in 1..=2 {
        for index in 0..3 {
            let length = LIMITS.message as u32;
            let fragment = (message, index * length, 9 * length, piece.clone());
            assert_eq!(
                take_within(&mut reassembler, &fragment, BULK),
                Reassembly::Buffered
            );
        }
        assert_eq!(reassembler.bulk(), 3 * LIMITS.message);
    }
    assert_eq!(reassembler.partial.len(), 1);
    assert_eq!(reassembler.clear(), 0);
    assert_eq!(reassembler.clear_bulk(), 1);
    assert_eq!((reassembler.bytes(), reassembler.bulk()), (0, 0));
}

#[test]
fn bulk_messages_together_are_bounded() {
    let now = Instant::now();
    let mut sender = FragmentSender::new(3 << 20);
    let receivers = [1, 2, 3].map(|port| (([127, 0, 0, 1], port).into(), KeyId::Cluster));
    let taken = receivers.map(|to| {
        assert!(sender.reserve_bulk(to));
        sender.push_bulk(to, content(3 << 19), now)
    });
    assert_eq!(taken, [true, true, false]);
    assert!(sender.reserve_bulk(receivers[2]), "it may be tried again");
}

proptest! {
    /// Any fragmentation, order and duplication yields the message.
    #[test]
    fn pieces_that_overlap_make_the_message(
        length in 1..3000_usize,
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 1..700_usize), 0..60),
        sizes in prop::collection::vec(1..900_usize, 1..5),
    ) {
        let whole = content(length);
        let mut reassembler = Reassembler::default();
        let mut made = None;
        let tiled = sizes.iter().cycle().scan(0, |at, size| {
            let start = *at;
            *at += size;
            (start < length).then_some((start, *size))
        });
        let cuts = cuts.into_iter().map(|(at, size)| (at.index(length), size));
        for (start, size) in cuts.chain(tiled) {
            let bytes = &whole[start..length.min(start + size)];
            let fragment = (1, start as u32, length as u32, bytes.to_vec());
            if let Reassembly::Complete(bytes) = take(&mut reassembler, &fragment) {
                prop_assert!(made.replace(bytes).is_none());
            }
            let held: usize = reassembler.partial.iter().map(PartialMessage::memory).sum();
            prop_assert_eq!(reassembler.bytes(), held);
        }
        prop_assert_eq!(made.as_deref(), Some(&whole[..]));
    }

    #[test]
    fn memory_is_bounded_whatever_arrives(
        fragments in prop::collection::vec((0..200_u64, 0..40_000_u32, 1..40_000_u32, 1..1500_usize), 0..2000),
        bulk in prop::sample::select(vec![0, 60_000]),
    ) {
        let limits = ReassemblyLimits { message: 20_000, bytes: 50_000, bulk };
        let mut reassembler = Reassembler::default();
        for (message, offset, length, size) in fragments {
            let bytes = vec![0; size];
            let fragment = Fragment { message, offset, length, bytes: &bytes };
            reassembler.take(&fragment, limits);
            prop_assert!(reassembler.bytes() <= limits.bytes);
            prop_assert!(reassembler.bulk() <= bulk + PIECE_OVERHEAD * 2000);
            prop_assert!(reassembler.partial.len() <= MAX_PARTIAL);
            let held = |bulk| -> usize {
                let of = reassembler.partial.iter().filter(|of| of.bulk == bulk);
                of.map(PartialMessage::memory).sum()
            };
            prop_assert_eq!(held(false), reassembler.bytes());
            prop_assert_eq!(held(true), reassembler.bulk());
        }
    }
}
