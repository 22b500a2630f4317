// SPDX-License-Identifier: MIT OR Apache-2.0

//! What becomes of a round trip when several clients make it at once, each in a thread of its own and with all
//! that is its own.
//!
//! All clients are there from the beginning, on all CPUs, and so many of them as shall count have something to
//! do. A process of its own measures each gate: clients that take each other's answers away may wait for ever.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use guest::measured::{Clients, Measured, Spread};
use hdrhistogram::Histogram;

use super::{by_the_clock, cpus, histogram, latency, pin, say, without};
use crate::bench::{Operation, Run, Work, operations};

/// How many clients there are.
const COUNTS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// The size of round trip for which gates are compared: each gate's nearest.
const BYTES: f64 = 64.0;

/// How long all clients make round trips before any of them count.
const WARM_UP: Duration = Duration::from_millis(500);

/// How often as many clients make them as shall count, and for how long.
const ROUNDS: usize = 3;
const TURN: Duration = Duration::from_millis(60);

/// What it takes until all of them know that they shall begin.
const TOGETHER: Duration = Duration::from_millis(2);

/// Who has not answered so long after he should have is not waited for.
const LIMIT: Duration = Duration::from_secs(5);

/// How long a gate takes.
pub const ABOUT: Duration = Duration::from_millis(2300);

/// Measures a gate, and prints what it finds. If some clients wait for ever, they do so until the process ends.
pub fn run(gate: &str) -> Result<()> {
    let cpus = cpus()?;
    let most = COUNTS.into_iter().max().unwrap_or_default();
    let mut clients = Vec::new();
    while clients.len() < most {
        // The first one not where PID 1 is.
        let client = Client::start(gate, cpus - 1 - clients.len() % cpus);
        match client.first() {
            Ok(true) => clients.push(client),
            Ok(false) => return Ok(()),
            Err(error) => {
                let number = clients.len() + 1;
                without(gate, &format!("{number} clients and more"), &error)?;
                break;
            }
        }
    }
    match measure(gate, &clients) {
        Ok(found) => found
            .into_iter()
            .try_for_each(|found| say(&Measured::Clients(found))),
        Err(error) => without(gate, "clients", &error),
    }
}

fn measure(gate: &str, clients: &[Client]) -> Result<Vec<Clients>> {
    together(clients, WARM_UP)?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        for count in COUNTS {
            if let Some(some) = clients.get(..count) {
                rounds.push((count, together(some, TURN)?));
            }
        }
    }
    let mut found = Vec::new();
    for count in COUNTS {
        let of_count = || rounds.iter().filter(|(n, _)| *n == count);
        let Some((_, first)) = of_count().next() else {
            break;
        };
        let mut latencies = histogram()?;
        for (_, round) in of_count() {
            latencies.add(&round.latencies)?;
        }
        found.push(Clients {
            gate: gate.into(),
            operation: first.name.into(),
            bytes: first.bytes.try_into()?,
            clients: count.try_into()?,
            rate: Spread::of(of_count().map(|(_, round)| round.rate)),
            latency: latency(&latencies),
        });
    }
    Ok(found)
}

/// What some clients did at once.
struct Round {
    name: &'static str,
    bytes: usize,
    rate: f64,
    latencies: Histogram<u64>,
}

/// Has these clients make round trips at once.
#[expect(clippy::cast_precision_loss, reason = "there are fewer than 2⁵³")]
fn together(clients: &[Client], time: Duration) -> Result<Round> {
    let from = Instant::now() + TOGETHER;
    for client in clients {
        client.order(from, from + time);
    }
    let mut latencies = histogram()?;
    let (mut name, mut bytes, mut last) = ("", 0, from);
    for client in clients {
        let answer = client.answer(time)?.context("a client is gone")?;
        latencies.add(&answer.latencies)?;
        (name, bytes) = (answer.name, answer.bytes);
        last = last.max(answer.ended);
    }
    Ok(Round {
        name,
        bytes,
        rate: latencies.len() as f64 / (last - from).as_secs_f64(),
        latencies,
    })
}

/// A client, and the lines to it.
struct Client {
    /// From when until when it shall make round trips.
    orders: Sender<(Instant, Instant)>,
    answers: Receiver<Result<Answer>>,
}

/// What a client has done.
struct Answer {
    name: &'static str,
    bytes: usize,
    latencies: Histogram<u64>,
    ended: Instant,
}

impl Client {
    fn start(gate: &str, cpu: usize) -> Self {
        let (orders, ordered) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let gate = gate.to_owned();
        thread::spawn(move || {
            if let Err(error) = serve(&gate, cpu, &ordered, &answer) {
                // Should nobody wait for it, it is no news.
                let _ = answer.send(Err(error));
            }
        });
        Self { orders, answers }
    }

    /// Has it make one round trip; false if the gate has none.
    fn first(&self) -> Result<bool> {
        let now = Instant::now();
        self.order(now, now);
        Ok(self.answer(Duration::ZERO)?.is_some())
    }

    fn order(&self, from: Instant, until: Instant) {
        // One that is gone has left an answer that says why.
        let _ = self.orders.send((from, until));
    }

    /// What it has done in so long; `None` if it is gone.
    fn answer(&self, time: Duration) -> Result<Option<Answer>> {
        match self.answers.recv_timeout(time + LIMIT) {
            Ok(answer) => answer.map(Some),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                bail!(
                    "a client did not come to an end within {} s",
                    LIMIT.as_secs()
                )
            }
        }
    }
}

/// What a client does.
fn serve(
    gate: &str,
    cpu: usize,
    orders: &Receiver<(Instant, Instant)>,
    answers: &Sender<Result<Answer>>,
) -> Result<()> {
    pin(cpu)?;
    let Some(mut operation) = nearest(operations(gate)?) else {
        return Ok(());
    };
    let (name, bytes) = (operation.name, operation.bytes);
    let Run::Alone(run) = operation.ready()? else {
        return Ok(());
    };
    for (from, until) in orders {
        thread::sleep(from.saturating_duration_since(Instant::now()));
        let mut latencies = histogram()?;
        by_the_clock(run, until, &mut latencies)?;
        let answer = Answer {
            name,
            bytes,
            latencies,
            ended: Instant::now(),
        };
        answers.send(Ok(answer))?;
    }
    Ok(())
}

/// The round trip by which gates are compared.
#[expect(clippy::cast_precision_loss, reason = "sizes are small")]
fn nearest(operations: Vec<Operation>) -> Option<Operation> {
    let times = |operation: &Operation| (operation.bytes.max(1) as f64 / BYTES).ln().abs();
    operations
        .into_iter()
        .filter(|operation| operation.work == Work::RoundTrip)
        .min_by(|one, other| times(one).total_cmp(&times(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_round_trip_is_found() {
        let all = |work| [1, 16, 256, 4096].map(|bytes| Operation::new(work, "", bytes, || Ok(())));
        let found = |operations| nearest(operations).map(|operation| operation.bytes);
        assert_eq!(found(all(Work::RoundTrip).into()), Some(16));
        assert_eq!(found(all(Work::ToKernel).into()), None);
        let mut some = Vec::from(all(Work::RoundTrip));
        assert_eq!(found(some.split_off(2)), Some(256));
    }
}
