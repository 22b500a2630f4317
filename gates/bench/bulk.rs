// SPDX-License-Identifier: MIT OR Apache-2.0

//! Many events from the kernel: by a mapped ring, and by what else the kernel has for that.

use std::cell::RefCell;
use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use callgate::chardev::Device;
use callgate::debugfs::Debugfs;
use callgate::genl::{self, Client, Listener};
use callgate::ioctl::{Exchange, NoArgument};
use callgate::mmap::{self, Mapping};
use callgate::module;
use callgate::netlink;
use callgate::ring::{self, Consumer, Layout};
use callgate::testing::bpf::{self, By, Program, Wakeup};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Operation, Work};

/// What the modules agree to.
#[path = "peers/abi.rs"]
pub mod abi;

use abi::{Task, way};

/// How many events are produced and consumed at a time.
const EVENTS: u64 = 100;

/// What netlink keeps for a listener at most: an event of 16 bytes takes more than 1 KiB of it.
const NETLINK_BUFFER: usize = 1 << 20;

/// The sizes of an event.
const SIZES: [usize; 3] = [16, 64, 256];

const PRODUCE: Exchange<Task> = Exchange::new(abi::PRODUCE);
const RESET: NoArgument = NoArgument::new(abi::RESET);

const PAGE_WORDS: usize = abi::PAGE_SIZE / 8;
const LAYOUT: Layout = Layout::new(0, PAGE_WORDS, abi::RING_PAGES * PAGE_WORDS, abi::LIMIT);

/// Has a module produce some events of its kind.
fn produce(device: &Device, way: u32, bytes: usize, count: u64) -> Result<Task> {
    let task = Task {
        way,
        bytes: u32::try_from(bytes)?,
        count,
        ..Task::default()
    };
    Ok(PRODUCE.call(device, &task)?)
}

/// What consumes events: all that are there. It gives their number, and what their words come to.
trait Reader {
    fn drain(&mut self, bytes: usize) -> Result<(u64, u64)>;
}

/// What a consumer makes of an event: it looks at the first two words.
#[inline]
fn look(sum: &mut u64, event: &[u64]) {
    let [first, second, ..] = event else {
        return;
    };
    *sum = sum.wrapping_add(first ^ second);
}

/// The same of bytes.
#[inline]
fn look_at_bytes(sum: &mut u64, event: &[u8]) {
    let [first, second, ..] = event.as_chunks::<8>().0 else {
        return;
    };
    look(sum, &[*first, *second].map(u64::from_ne_bytes));
}

/// By a ring, whose other end is a module's.
pub struct Ring {
    /// The module's.
    pub device: Device,
    consumer: Consumer<Mapping>,
}

impl Ring {
    /// A new one.
    pub fn new() -> Result<Self> {
        let device = Device::open(format!("/dev/{}", abi::RING))?;
        let memory = mmap::options().map(&device, (1 + abi::RING_PAGES) * abi::PAGE_SIZE)?;
        let consumer = Consumer::new(memory, LAYOUT);
        Ok(Self { device, consumer })
    }

    #[inline]
    fn all<const N: usize>(&mut self) -> Result<(u64, u64)> {
        let (mut count, mut sum) = (0, 0);
        let mut messages = self.consumer.drain();
        while let Some(event) = messages.take_words::<N>().map_err(broken)? {
            look(&mut sum, &event);
            count += 1;
        }
        Ok((count, sum))
    }
}

fn broken(error: ring::Error) -> anyhow::Error {
    anyhow!("the ring is of no use: {error:?}")
}

impl Reader for Ring {
    fn drain(&mut self, bytes: usize) -> Result<(u64, u64)> {
        match bytes {
            16 => self.all::<2>(),
            64 => self.all::<8>(),
            _ => self.all::<32>(),
        }
    }
}

/// By BPF's.
pub struct Bpf(bpf::Ring);

impl Bpf {
    fn new() -> Result<Self> {
        Ok(Self(bpf::Ring::new(abi::RING_PAGES * abi::PAGE_SIZE)?))
    }

    #[inline]
    fn all<const N: usize>(&mut self) -> (u64, u64) {
        let mut sum = 0;
        let count = self.0.drain(|record| {
            if let Some(event) = record.words::<N>() {
                look(&mut sum, &event);
            }
        });
        (count as u64, sum)
    }
}

impl Reader for Bpf {
    fn drain(&mut self, bytes: usize) -> Result<(u64, u64)> {
        Ok(match bytes {
            16 => self.all::<2>(),
            64 => self.all::<8>(),
            _ => self.all::<32>(),
        })
    }
}

/// By a relay channel's file.
struct Relay {
    file: File,
    buffer: Vec<u8>,
}

impl Reader for Relay {
    fn drain(&mut self, bytes: usize) -> Result<(u64, u64)> {
        let (mut count, mut sum) = (0, 0);
        loop {
            let len = self.file.read(&mut self.buffer)?;
            if len == 0 {
                return Ok((count, sum));
            }
            for event in self.buffer[..len].chunks_exact(bytes) {
                look_at_bytes(&mut sum, event);
                count += 1;
            }
        }
    }
}

/// By generic netlink's multicast.
struct Netlink(Listener);

impl Reader for Netlink {
    fn drain(&mut self, _bytes: usize) -> Result<(u64, u64)> {
        let (mut count, mut sum) = (0, 0);
        loop {
            let event = match self.0.next(Duration::ZERO) {
                Ok(Some(event)) => event,
                Ok(None) => return Ok((count, sum)),
                // Those of another process of this program.
                Err(genl::Error::Netlink(netlink::Error::Lost)) => continue,
                Err(error) => return Err(error.into()),
            };
            look_at_bytes(&mut sum, event.attributes.get(1).unwrap_or_default());
            count += 1;
        }
    }
}

/// The modules, loaded.
fn load() -> Result<()> {
    for name in [abi::RING, abi::OTHERS] {
        if !module::is_loaded(name)? {
            module::load(format!("/twins/{name}.ko"), "")?;
        }
    }
    Ok(())
}

type Produce = Rc<dyn Fn(u64) -> Result<u64>>;

/// The ways to have events produced, by their names, and what consumes them.
struct Ways {
    ways: Vec<(String, Produce)>,
    reader: Rc<RefCell<dyn Reader>>,
}

fn ring(bytes: usize) -> Result<Ways> {
    let ring = Ring::new()?;
    let device = ring.device.as_fd().try_clone_to_owned()?;
    let device = Rc::new(Device::from(device));
    let way = |name: &str, way| {
        let device = device.clone();
        let made: Produce = Rc::new(move |count| Ok(produce(&device, way, bytes, count)?.count));
        (format!("ring, {name}"), made)
    };
    Ok(Ways {
        ways: vec![
            way("batches", way::BATCHES),
            way("batches, no wakeup", way::SILENT_BATCHES),
            way("one by one", way::SINGLE),
            way("one by one, no wakeup", way::SILENT_SINGLE),
        ],
        reader: Rc::new(RefCell::new(ring)),
    })
}

fn bpf(bytes: usize) -> Result<Ways> {
    let ring = Bpf::new()?;
    let mut ways: Vec<(String, Produce)> = Vec::new();
    for (by, helper) in [(By::Reserve, "reserve"), (By::Output, "output")] {
        for (wakeup, name) in [
            (Wakeup::Adaptive, "adaptive"),
            (Wakeup::Never, "no wakeup"),
            (Wakeup::Always, "forced"),
        ] {
            let program = Program::new(&ring.0, by, wakeup, u16::try_from(bytes)?)
                .with_context(|| format!("loading the BPF program, {helper}, {name}"))?;
            let made: Produce = Rc::new(move |count| {
                let mut events = bpf::Events { count, number: 0 };
                program.run(&mut events)?;
                Ok(events.number)
            });
            ways.push((format!("BPF {helper}, {name}"), made));
        }
    }
    Ok(Ways {
        ways,
        reader: Rc::new(RefCell::new(ring)),
    })
}

fn others() -> Result<Rc<Device>> {
    Ok(Rc::new(Device::open(format!("/dev/{}", abi::OTHERS))?))
}

fn relay(bytes: usize) -> Result<Ways> {
    let device = others()?;
    RESET.call(&*device)?;
    let made: Produce = Rc::new(move |count| Ok(produce(&device, way::RELAY, bytes, count)?.count));
    let relay = Relay {
        file: File::open(Debugfs::find()?.root().join(abi::RELAY))?,
        buffer: vec![0; 1 << 16],
    };
    Ok(Ways {
        ways: vec![("relay".into(), made)],
        reader: Rc::new(RefCell::new(relay)),
    })
}

/// The one listener, as each costs the kernel something.
fn listener() -> Result<Rc<RefCell<Netlink>>> {
    let family = Client::new()?.family(abi::FAMILY)?;
    let mut listener = Listener::new(&family, &[abi::GROUP])?;
    listener.socket().set_receive_buffer(NETLINK_BUFFER)?;
    Ok(Rc::new(RefCell::new(Netlink(listener))))
}

fn netlink(bytes: usize, listener: &Rc<RefCell<Netlink>>) -> Result<Ways> {
    let device = others()?;
    let made: Produce =
        Rc::new(move |count| Ok(produce(&device, way::NETLINK, bytes, count)?.count));
    Ok(Ways {
        ways: vec![("netlink".into(), made)],
        reader: listener.clone(),
    })
}

/// Each way of producing a number of events and none, and of consuming them.
pub fn operations() -> Result<Vec<Operation<'static>>> {
    load()?;
    let listener = listener()?;
    let mut all = Vec::new();
    for bytes in SIZES {
        for Ways { ways, reader } in [
            ring(bytes)?,
            bpf(bytes)?,
            relay(bytes)?,
            netlink(bytes, &listener)?,
        ] {
            let drain = move || -> Result<u64> {
                let (count, sum) = reader.borrow_mut().drain(bytes)?;
                black_box(sum);
                Ok(count)
            };
            for (at, (name, produce)) in ways.into_iter().enumerate() {
                for count in [0, EVENTS] {
                    let what = format!("{name}: produce {count}");
                    let (made, drained) = (produce.clone(), drain.clone());
                    let operation = Operation::new(Work::Other, what.leak(), bytes, move || {
                        exactly(made(count)?, count)
                    });
                    all.push(operation.before(move || drained().map(drop)));
                    if at > 0 {
                        continue;
                    }
                    let peer = name.split([',', ' ']).next().unwrap_or_default();
                    let what = format!("{peer}: consume {count}");
                    let (made, drained) = (produce.clone(), drain.clone());
                    let again = drain.clone();
                    let operation = Operation::new(Work::Other, what.leak(), bytes, move || {
                        exactly(drained()?, count)
                    });
                    all.push(operation.before(move || {
                        again()?;
                        exactly(made(count)?, count)
                    }));
                }
            }
        }
    }
    Ok(all)
}

fn exactly(count: u64, expected: u64) -> Result<()> {
    ensure!(count == expected, "{count} of {expected} events");
    Ok(())
}

/// Events that came through, and what that took.
struct Stream {
    /// Those that were consumed, each once and in order.
    events: u64,
    /// How often the consumer slept.
    sleeps: u64,
    /// How often the producer found no room.
    full: u64,
    seconds: f64,
}

/// How many events a stream has.
const STREAM: u64 = 1_000_000;

/// Nobody waits longer than this for an event that is on its way.
const LIMIT: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// One thread has events produced as fast as there is room, and another consumes them, which sleeps when there are
/// none. `produce` gets a number to begin with and gives the next one.
fn stream(
    file: &OwnedFd,
    mut produce: impl FnMut(u64) -> Result<u64> + Send,
    mut drain: impl FnMut(&mut dyn FnMut(u64)) -> Result<()>,
) -> Result<Stream> {
    let start = Instant::now();
    std::thread::scope(|scope| {
        let producer = scope.spawn(move || -> Result<u64> {
            let (mut number, mut full) = (0, 0);
            while number < STREAM {
                let next = produce(number)?;
                if next == number {
                    full += 1;
                    std::thread::yield_now();
                }
                number = next;
            }
            Ok(full)
        });
        let (mut events, mut sleeps, mut wrong) = (0, 0, None);
        while events < STREAM {
            let before = events;
            drain(&mut |number| {
                if number != events && wrong.is_none() {
                    wrong = Some((number, events));
                }
                events += 1;
            })?;
            ensure!(wrong.is_none(), "an event and the one expected: {wrong:?}");
            if events == before {
                let mut fds = [PollFd::new(file, PollFlags::IN)];
                let ready = poll(&mut fds, Some(&LIMIT))?;
                ensure!(
                    ready > 0,
                    "nothing came after {events} events: a wakeup was lost"
                );
                sleeps += 1;
            }
        }
        let full = producer
            .join()
            .map_err(|_| anyhow!("the producer failed"))??;
        let seconds = start.elapsed().as_secs_f64();
        Ok(Stream {
            events,
            sleeps,
            full,
            seconds,
        })
    })
}

/// What an event is to a consumer that does something with it.
fn work(rounds: u32) {
    for round in 0..rounds {
        black_box(round);
    }
}

fn ring_stream(rounds: u32) -> Result<(Stream, u64)> {
    let mut ring = Ring::new()?;
    let file = ring.device.as_fd().try_clone_to_owned()?;
    let device = Device::from(file.try_clone()?);
    let wakeups = AtomicU64::new(0);
    let produce = |number: u64| {
        let task = Task {
            way: way::BATCHES,
            bytes: 16,
            count: abi::BATCH.min(STREAM - number),
            number,
            rang: 0,
        };
        let task = PRODUCE.call(&device, &task)?;
        wakeups.fetch_add(task.rang, Ordering::Relaxed);
        Ok(task.number)
    };
    let drain = |each: &mut dyn FnMut(u64)| {
        let mut messages = ring.consumer.drain();
        while let Some([number, _]) = messages.take_words().map_err(broken)? {
            work(rounds);
            each(number);
        }
        Ok(())
    };
    let stream = stream(&file, produce, drain)?;
    Ok((stream, wakeups.into_inner()))
}

fn bpf_stream(rounds: u32) -> Result<Stream> {
    let mut ring = Bpf::new()?;
    let program = Program::new(&ring.0, By::Reserve, Wakeup::Adaptive, 16)?;
    let file = ring.0.as_fd().try_clone_to_owned()?;
    let produce = |number: u64| {
        let count = abi::BATCH.min(STREAM - number);
        let mut events = bpf::Events { count, number };
        program.run(&mut events)?;
        Ok(events.number)
    };
    let drain = |each: &mut dyn FnMut(u64)| {
        ring.0.drain(|record| {
            let number = record.words::<2>().map_or(u64::MAX, |[number, _]| number);
            work(rounds);
            each(number);
        });
        Ok(())
    };
    stream(&file, produce, drain)
}

/// Runs what cannot be counted in instructions: what becomes of events when nobody reads, and how often a reader is
/// woken when there are many.
pub fn streams() -> Result<()> {
    const MOST: u64 = 100_000;

    load()?;
    let listener = listener()?;
    println!("peer     had room  arrived  when nobody read, of {MOST} events of 16 bytes");
    for Ways { ways, reader } in [ring(16)?, bpf(16)?, relay(16)?, netlink(16, &listener)?] {
        let (name, produce) = &ways[0];
        let peer = name.split([',', ' ']).next().unwrap_or_default();
        let mut room = 0;
        while room < MOST {
            let made = produce(EVENTS)?;
            room += made;
            if made < EVENTS {
                break;
            }
        }
        let (arrived, _) = reader.borrow_mut().drain(16)?;
        println!("{peer:8} {room:8} {arrived:8}");
    }
    println!("peer     a reader's work  events    sleeps  wakeups  no room  events/s");
    for rounds in [0, 10, 100, 1000] {
        let (ring, wakeups) = ring_stream(rounds)?;
        let bpf = bpf_stream(rounds)?;
        for (peer, stream, wakeups) in [
            ("ring", ring, wakeups.to_string()),
            ("BPF", bpf, "?".into()),
        ] {
            let Stream {
                events,
                sleeps,
                full,
                seconds,
            } = stream;
            #[expect(clippy::cast_precision_loss, reason = "events are few")]
            let rate = events as f64 / seconds;
            println!("{peer:8} {rounds:15} {events:8} {sleeps:8} {wakeups:>8} {full:8} {rate:9.0}");
        }
    }
    Ok(())
}
