// SPDX-License-Identifier: MIT OR Apache-2.0

//! What becomes of many events when their reader is quick, when he is slow, and when nobody reads.
//!
//! One thread has events produced for a while, as fast as it can, and another reads them and sleeps when there are
//! none. Where the producer learns that there was no room and nothing is lost by that, as with the ring and BPF, it
//! tries again: so each event must arrive, once and in order. With netlink and relay it goes on, and what is
//! lost is counted.
//!
//! Every wait has a limit. A reader that is not woken is an error, and not a slow reader.

use std::cmp::Ordering;
use std::hint::black_box;
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use callgate::chardev::Device;
use callgate::testing::bpf::{By, Events, Program, Wakeup};
use guest::measured::{Measured, Room, Stream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::abi::{self, Task, way};
use super::{Bpf, Netlink, PRODUCE, Reader, Relay, Ring, load};
use crate::bench::time::{cpus, pin, say, sleeps, without};

/// How many bytes an event has.
const BYTES: usize = 16;

/// For how long events are produced.
const TIME: Duration = Duration::from_millis(300);

/// What a reader does with an event: so many rounds of a loop.
const WORK: [u32; 3] = [0, 100, 1000];

/// How many events there are that nobody reads.
const UNREAD: u64 = 100_000;

/// What is on its way must arrive within this time,
const LIMIT: Duration = Duration::from_secs(10);
/// and a reader waits no longer than this for anything: the producer is the first to complain.
const READER_LIMIT: Timespec = Timespec {
    tv_sec: 20,
    tv_nsec: 0,
};

/// How long all of it takes.
pub const ABOUT: Duration = Duration::from_secs(7);

type Open = fn() -> Result<Line>;

/// The ways, by their names.
const PEERS: [(&str, Open); 4] = [
    ("ring", ring),
    ("BPF", bpf),
    ("relay", relay),
    ("netlink", netlink),
];

/// Runs all of it, and prints what it finds.
pub fn run() -> Result<()> {
    load()?;
    for (peer, line) in PEERS {
        match line().and_then(|line| unread(peer, line)) {
            Ok(found) => say(&Measured::Room(found))?,
            Err(error) => without(super::GATE, &format!("{peer} that nobody reads"), &error)?,
        }
    }
    for rounds in WORK {
        for (peer, line) in PEERS {
            match line().and_then(|line| stream(peer, line, rounds)) {
                Ok(found) => say(&Measured::Stream(found))?,
                Err(error) => {
                    without(
                        super::GATE,
                        &format!("{peer}, {rounds} rounds an event"),
                        &error,
                    )?;
                }
            }
        }
    }
    Ok(())
}

/// What a producer learns of an event for which there was no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// It was not put in, and may be again.
    Told,
    /// It is lost.
    Lost,
    /// Nothing. Nor does what reads keep the order: relay's read(2) takes no notice of who writes, and once in a while
    /// gives out what it gave before.
    Untold,
}

/// What came of having events produced.
struct Made {
    /// The number of the next one.
    next: u64,
    /// How often the reader was woken, if that is known.
    rang: Option<u64>,
}

type Produce = Box<dyn FnMut(u64, u64) -> Result<Made> + Send>;

/// A way for events: who produces them, by the number of the first and how many, and who reads them.
struct Line {
    produce: Produce,
    refusal: Refusal,
    reader: Box<dyn Reader>,
    /// What tells that there are events.
    files: Vec<OwnedFd>,
}

/// By one of the modules: how it says that there is no room is what `refusal` says.
fn by_module(device: Device, way: u32) -> Produce {
    Box::new(move |number, count| {
        let task = Task {
            way,
            bytes: u32::try_from(BYTES)?,
            count,
            number,
            rang: 0,
        };
        let task = PRODUCE.call(&device, &task)?;
        Ok(Made {
            next: task.number,
            rang: (way == way::BATCHES).then_some(task.rang),
        })
    })
}

fn ring() -> Result<Line> {
    let ring = Ring::new()?;
    let file = ring.device.as_fd().try_clone_to_owned()?;
    let device = Device::from(file.try_clone()?);
    Ok(Line {
        produce: by_module(device, way::BATCHES),
        refusal: Refusal::Told,
        reader: Box::new(ring),
        files: vec![file],
    })
}

fn bpf() -> Result<Line> {
    let ring = Bpf::new()?;
    let program = Program::new(&ring.0, By::Reserve, Wakeup::Adaptive, BYTES.try_into()?)?;
    let file = ring.0.as_fd().try_clone_to_owned()?;
    Ok(Line {
        produce: Box::new(move |number, count| {
            let mut events = Events { count, number };
            program.run(&mut events)?;
            Ok(Made {
                next: events.number,
                rang: None,
            })
        }),
        refusal: Refusal::Told,
        reader: Box::new(ring),
        files: vec![file],
    })
}

fn others() -> Result<Device> {
    Ok(Device::open(format!("/dev/{}", abi::OTHERS))?)
}

fn relay() -> Result<Line> {
    let relay = Relay::new()?;
    let files = relay.files.iter().map(|file| file.as_fd());
    Ok(Line {
        produce: by_module(others()?, way::RELAY),
        refusal: Refusal::Untold,
        files: files
            .map(|file| file.try_clone_to_owned())
            .collect::<io::Result<_>>()?,
        reader: Box::new(relay),
    })
}

fn netlink() -> Result<Line> {
    let mut netlink = Netlink::new()?;
    let socket = netlink.0.socket().as_fd().try_clone_to_owned()?;
    Ok(Line {
        produce: by_module(others()?, way::NETLINK),
        refusal: Refusal::Lost,
        reader: Box::new(netlink),
        files: vec![socket],
    })
}

/// Has events produced that nobody reads, until there is no room, and reads what is there then.
fn unread(peer: &str, mut line: Line) -> Result<Room> {
    // A relay channel has a buffer for each CPU.
    pin(cpus()? - 1)?;
    let mut accepted = 0;
    while accepted < UNREAD {
        let count = abi::BATCH.min(UNREAD - accepted);
        let next = (line.produce)(accepted, count)?.next;
        let all = next == accepted + count;
        accepted = next;
        if !all {
            break;
        }
    }
    let mut order = Order::new(line.refusal);
    line.reader.numbers(&mut |number| order.next(number))?;
    order.is_kept()?;
    Ok(Room {
        peer: peer.into(),
        bytes: BYTES.try_into()?,
        produced: UNREAD,
        accepted: (line.refusal != Refusal::Untold).then_some(accepted),
        arrived: order.arrived,
    })
}

/// What arrives, and whether it may be so.
struct Order {
    refusal: Refusal,
    arrived: u64,
    /// How many came that had come before.
    again: u64,
    /// The number of the next one.
    next: u64,
    /// What came, and the one that was expected.
    wrong: Option<(u64, u64)>,
}

impl Order {
    fn new(refusal: Refusal) -> Self {
        Self {
            refusal,
            arrived: 0,
            again: 0,
            next: 0,
            wrong: None,
        }
    }

    fn next(&mut self, number: u64) {
        match number.cmp(&self.next) {
            Ordering::Less if self.refusal == Refusal::Untold => {
                self.again += 1;
                return;
            }
            Ordering::Equal => {}
            Ordering::Greater if self.refusal != Refusal::Told => {}
            Ordering::Less | Ordering::Greater => {
                self.wrong.get_or_insert((number, self.next));
            }
        }
        self.next = number.wrapping_add(1);
        self.arrived += 1;
    }

    fn is_kept(&self) -> Result<()> {
        match self.wrong {
            None => Ok(()),
            Some((number, expected)) => Err(anyhow!("event {number} came in place of {expected}")),
        }
    }
}

/// What both threads know.
#[derive(Default)]
struct Between {
    /// Nobody reads any more.
    gone: AtomicBool,
    arrived: AtomicU64,
}

/// Says that the reader is gone, however it leaves.
struct Gone<'a>(&'a AtomicBool);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// What one end has seen.
struct Produced {
    events: u64,
    /// How often there was no room.
    full: u64,
    wakeups: Option<u64>,
}

struct Consumed {
    events: u64,
    again: u64,
    sleeps: u32,
    /// When the last one came.
    last: Instant,
}

/// Has events produced for a while by one thread, and read by another.
#[expect(clippy::cast_precision_loss, reason = "there are fewer than 2⁵³")]
fn stream(peer: &str, line: Line, rounds: u32) -> Result<Stream> {
    let Line {
        mut produce,
        refusal,
        mut reader,
        files,
    } = line;
    let cpu = cpus()? - 1;
    let between = Between::default();
    let (over, producing) = io::pipe()?;
    let start = Instant::now();
    let (produced, consumed) = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // It is closed when this thread ends, which the reader sees.
            let _producing = producing;
            pin(cpu)?;
            between.produce(&mut *produce, refusal)
        });
        let consumed = between.consume(&mut *reader, refusal, &files, &over, rounds);
        let produced = thread
            .join()
            .unwrap_or_else(|_| Err(anyhow!("the producer panicked")));
        (produced, consumed)
    });
    // If both failed, the producer did so first: it does not care whether anything arrives.
    let (produced, consumed) = (produced?, consumed?);
    ensure!(
        refusal != Refusal::Told || consumed.events == produced.events,
        "{} of {} events arrived",
        consumed.events,
        produced.events
    );
    Ok(Stream {
        peer: peer.into(),
        bytes: BYTES.try_into()?,
        work: rounds,
        produced: produced.events,
        arrived: consumed.events,
        lost: produced.events.saturating_sub(consumed.events),
        again: consumed.again,
        sleeps: consumed.sleeps.into(),
        wakeups: produced.wakeups,
        full: (refusal != Refusal::Untold).then_some(produced.full),
        rate: consumed.events as f64 / (consumed.last - start).as_secs_f64(),
    })
}

impl Between {
    fn produce(
        &self,
        produce: &mut dyn FnMut(u64, u64) -> Result<Made>,
        refusal: Refusal,
    ) -> Result<Produced> {
        let mut done = Produced {
            events: 0,
            full: 0,
            wakeups: None,
        };
        let start = Instant::now();
        while start.elapsed() < TIME && !self.is_gone() {
            let Made { next, rang } = produce(done.events, abi::BATCH)?;
            let refused = next != done.events + abi::BATCH;
            done.events = next;
            if let Some(rang) = rang {
                *done.wakeups.get_or_insert(0) += rang;
            }
            if refused {
                done.full += 1;
                match refusal {
                    Refusal::Told => thread::yield_now(),
                    Refusal::Lost | Refusal::Untold => done.events += 1,
                }
            }
        }
        let start = Instant::now();
        while refusal == Refusal::Told && !self.is_gone() {
            let arrived = self.arrived.load(SeqCst);
            if arrived >= done.events {
                break;
            }
            ensure!(
                start.elapsed() < LIMIT,
                "{arrived} of {} events arrived: a wakeup was lost",
                done.events
            );
            thread::sleep(Duration::from_millis(1));
        }
        Ok(done)
    }

    fn is_gone(&self) -> bool {
        self.gone.load(SeqCst)
    }

    fn consume(
        &self,
        reader: &mut dyn Reader,
        refusal: Refusal,
        files: &[OwnedFd],
        over: &PipeReader,
        rounds: u32,
    ) -> Result<Consumed> {
        let _gone = Gone(&self.gone);
        pin(0)?;
        let before = sleeps()?;
        let (mut order, mut last) = (Order::new(refusal), Instant::now());
        let mut is_over = false;
        loop {
            let arrived = order.arrived;
            reader.numbers(&mut |number| {
                work(rounds);
                order.next(number);
            })?;
            order.is_kept()?;
            self.arrived.store(order.arrived, SeqCst);
            if order.arrived > arrived {
                last = Instant::now();
            } else if is_over {
                return Ok(Consumed {
                    events: order.arrived,
                    again: order.again,
                    sleeps: sleeps()?.saturating_sub(before),
                    last,
                });
            }
            let mut fds: Vec<_> = files
                .iter()
                .map(|file| PollFd::new(file, PollFlags::IN))
                .collect();
            fds.push(PollFd::new(over, PollFlags::empty()));
            let ready = poll(&mut fds, Some(&READER_LIMIT)).context("waiting for events")?;
            ensure!(ready > 0, "nothing came after {} events", order.arrived);
            is_over = fds.last().is_some_and(|over| !over.revents().is_empty());
        }
    }
}

/// What a reader does with an event.
fn work(rounds: u32) {
    for round in 0..rounds {
        black_box(round);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(refusal: Refusal, numbers: &[u64]) -> Order {
        let mut order = Order::new(refusal);
        for number in numbers {
            order.next(*number);
        }
        order
    }

    #[test]
    fn what_must_not_be_lost_is_missed() {
        for (refusal, numbers, is_kept) in [
            (Refusal::Told, [0, 1, 2], true),
            (Refusal::Told, [0, 2, 3], false),
            (Refusal::Told, [0, 1, 1], false),
            (Refusal::Lost, [0, 2, 5], true),
            (Refusal::Untold, [7, 8, 9], true),
            (Refusal::Lost, [0, 2, 2], false),
        ] {
            let order = order(refusal, &numbers);
            assert_eq!(order.is_kept().is_ok(), is_kept, "{refusal:?} {numbers:?}");
            assert_eq!(order.arrived, 3);
        }
        let order = order(Refusal::Untold, &[0, 2, 1, 2, 3]);
        assert!(order.is_kept().is_ok());
        assert_eq!((order.arrived, order.again), (3, 2));
    }

    #[test]
    fn a_reader_that_leaves_stops_the_producer() {
        let between = Between::default();
        let mut produced = 0;
        drop(Gone(&between.gone));
        let done = between.produce(
            &mut |number, count| {
                produced += 1;
                Ok(Made {
                    next: number + count,
                    rang: None,
                })
            },
            Refusal::Told,
        );
        assert_eq!((done.unwrap().events, produced), (0, 0));
    }
}
