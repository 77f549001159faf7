//! Operations over a network that loses, duplicates and reorders messages.

use super::{Server, TIMEOUT, Wire, config, get, increment, request};
use crate::pool::*;
use model::{ClientRequest, Message, RequestId};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::collections::BTreeSet;
use tokio::task::JoinSet;

/// Checks that a client has one operation at a time, and that all attempts of an operation are
/// identical.
#[derive(Default)]
struct OneAtATime {
    last: BTreeMap<ClientId, (ClientRequest, u32)>,
    answered: BTreeSet<(ClientId, RequestId)>,
}

impl OneAtATime {
    fn sent(&mut self, request: &ClientRequest, max_attempts: u32) {
        let now = (request.clone(), 1);
        let Some((before, attempts)) = self.last.get_mut(&request.client) else {
            self.last.insert(request.client, now);
            return;
        };
        if before.id == request.id {
            *attempts += 1;
            assert_eq!(before, request, "an attempt differs");
            assert!(*attempts <= max_attempts, "too many attempts");
            return;
        }
        // The requests of a withdrawn write are not sent.
        assert!(before.id < request.id);
        assert!(
            *attempts == max_attempts || self.answered.contains(&(before.client, before.id)),
            "a second operation while the first is in flight"
        );
        self.last.insert(request.client, now);
    }
}

/// Responses are lost, duplicated, late and reordered: every operation has an outcome, and the counter
/// contains each answered increment once and each unknown increment at most once.
#[tokio::test(start_paused = true)]
async fn increments_over_a_bad_network_count_once() {
    for seed in 0..40 {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let max_attempts = 4;
        let wire = Wire::default();
        let pool = wire.pool(config(5, 1000, max_attempts));
        let mut asked = JoinSet::new();
        for index in 0..60 {
            let pool = pool.clone();
            let abandoned = random.random_bool(0.1);
            asked.spawn(async move {
                let ask = if index % 5 == 0 {
                    get("n")
                } else {
                    increment()
                };
                if abandoned {
                    time::timeout(TIMEOUT / 2, pool.ask(ask)).await.ok()
                } else {
                    Some(pool.ask(ask).await)
                }
            });
        }
        let (mut server, mut watch) = (Server::new(), OneAtATime::default());
        let (mut requests, mut responses) = (Vec::new(), Vec::new());
        let mut done = Vec::new();
        while !asked.is_empty() {
            for request in wire.take().into_iter().flatten().map(request) {
                watch.sent(&request, max_attempts);
                requests.push(request);
            }
            requests.shuffle(&mut random);
            responses.shuffle(&mut random);
            let mut arrived: Vec<Envelope> = Vec::new();
            for _ in 0..random.random_range(0..4) {
                if let Some(request) = requests.pop() {
                    if random.random_bool(0.3) {
                        continue;
                    }
                    if random.random_bool(0.2) {
                        requests.insert(0, request.clone());
                    }
                    responses.push(server.answer(&request));
                }
            }
            for _ in 0..random.random_range(0..4) {
                if let Some(response) = responses.pop() {
                    if random.random_bool(0.2) {
                        responses.insert(0, response.clone());
                    }
                    arrived.push(response);
                }
            }
            for envelope in &arrived {
                if let Message::ClientResponse(response) = &envelope.message {
                    watch.answered.insert((response.client, response.id));
                }
            }
            pool.receive(arrived);
            // The clock advances when no task can run.
            time::sleep(TIMEOUT / 20).await;
            while let Some(outcome) = asked.try_join_next() {
                done.push(outcome.unwrap());
            }
        }
        let (mut values, mut perhaps) = (BTreeSet::new(), 0);
        for outcome in done {
            match outcome {
                Some(Outcome::Answered(Answer::Number { value, .. })) => {
                    assert!(values.insert(value), "two increments made {value}");
                }
                Some(Outcome::Unknown(_)) | None => perhaps += 1,
                Some(Outcome::NotDone | Outcome::Unavailable | Outcome::Found(_)) => {}
                Some(other) => panic!("{other:?}"),
            }
        }
        for request in &requests {
            server.answer(request);
        }
        let (sure, number) = (values.len() as i64, server.number());
        assert!(sure > 0, "something works");
        assert!(
            (sure..=sure + perhaps).contains(&number),
            "{sure} increments were answered and {perhaps} may have been done, but {number} were"
        );
    }
}
