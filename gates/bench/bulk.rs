// SPDX-License-Identifier: MIT OR Apache-2.0

//! Many events from the kernel: by a mapped ring, and by what else the kernel has for that.

use std::cell::RefCell;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::Read;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use callgate::chardev::Device;
use callgate::debugfs::Debugfs;
use callgate::genl::{self, Client, Listener};
use callgate::ioctl::Exchange;
use callgate::mmap::{self, Mapping};
use callgate::module;
use callgate::netlink;
use callgate::ring::{self, Consumer, Layout};
use callgate::testing::bpf::{self, By, Program, Wakeup};

use super::{Operation, Work};

pub mod streams;

/// What the modules agree to.
#[path = "peers/abi.rs"]
pub mod abi;

use abi::{Task, way};

/// What all of them are called where gates are named.
pub const GATE: &str = "bulk";

/// How many events are produced and consumed at a time.
const EVENTS: u64 = 100;

/// What netlink keeps for a listener at most: an event of 16 bytes takes more than 1 KiB of it.
const NETLINK_BUFFER: usize = 1 << 20;

/// The sizes of an event.
const SIZES: [usize; 3] = [16, 64, 256];

const PRODUCE: Exchange<Task> = Exchange::new(abi::PRODUCE);

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

/// What consumes events: all that are there.
trait Reader {
    /// Gives their number, and what their words come to.
    fn drain(&mut self, bytes: usize) -> Result<(u64, u64)>;

    /// Gives the first word of each, which is its number. They have 16 bytes.
    fn numbers(&mut self, each: &mut dyn FnMut(u64)) -> Result<()>;
}

/// What a consumer makes of events: it looks at the first two words of each, where they are if it can.
#[derive(Default)]
struct Seen {
    count: u64,
    sum: u64,
}

impl Seen {
    #[inline]
    fn look(&mut self, [first, second]: [u64; 2]) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(first ^ second);
    }

    fn all(self) -> (u64, u64) {
        (self.count, self.sum)
    }
}

/// The first two words of bytes.
#[inline]
fn first_words(event: &[u8]) -> Option<[u64; 2]> {
    let [first, second, ..] = event.as_chunks::<8>().0 else {
        return None;
    };
    Some([*first, *second].map(u64::from_ne_bytes))
}

/// By a ring, whose other end is a module's.
struct Ring {
    device: Device,
    consumer: Consumer<Mapping>,
}

impl Ring {
    fn new() -> Result<Self> {
        let device = Device::open(format!("/dev/{}", abi::RING))?;
        let memory = mmap::options().map(&device, (1 + abi::RING_PAGES) * abi::PAGE_SIZE)?;
        let consumer = Consumer::new(memory, LAYOUT);
        Ok(Self { device, consumer })
    }

    #[inline]
    fn all<const N: usize>(&mut self, mut each: impl FnMut([u64; 2])) -> Result<()> {
        let mut messages = self.consumer.drain();
        while let Some(event) = messages.take_in_place::<N>().map_err(broken)? {
            if let [first, second, ..] = event.as_slice() {
                each([first, second].map(|word| word.load(Ordering::Relaxed)));
            }
        }
        Ok(())
    }
}

fn broken(error: ring::Error) -> anyhow::Error {
    anyhow!("the ring is of no use: {error:?}")
}

impl Reader for Ring {
    fn drain(&mut self, bytes: usize) -> Result<(u64, u64)> {
        let mut seen = Seen::default();
        match bytes {
            16 => self.all::<2>(|event| seen.look(event))?,
            64 => self.all::<8>(|event| seen.look(event))?,
            _ => self.all::<32>(|event| seen.look(event))?,
        }
        Ok(seen.all())
    }

    fn numbers(&mut self, each: &mut dyn FnMut(u64)) -> Result<()> {
        self.all::<2>(|[number, _]| each(number))
    }
}

/// By BPF's.
struct Bpf(bpf::Ring);

impl Bpf {
    fn new() -> Result<Self> {
        Ok(Self(bpf::Ring::new(abi::RING_PAGES * abi::PAGE_SIZE)?))
    }

    #[inline]
    fn all<const N: usize>(&mut self, mut each: impl FnMut([u64; 2])) -> Result<()> {
        self.0.drain(|record| {
            if record.len() == 8 * N
                && let (Some(first), Some(second)) = (record.word(0), record.word(1))
            {
                each([first, second]);
            }
        })?;
        Ok(())
    }
}

impl Reader for Bpf {
    fn drain(&mut self, bytes: usize) -> Result<(u64, u64)> {
        let mut seen = Seen::default();
        match bytes {
            16 => self.all::<2>(|event| seen.look(event))?,
            64 => self.all::<8>(|event| seen.look(event))?,
            _ => self.all::<32>(|event| seen.look(event))?,
        }
        Ok(seen.all())
    }

    fn numbers(&mut self, each: &mut dyn FnMut(u64)) -> Result<()> {
        self.all::<2>(|[number, _]| each(number))
    }
}

/// By a relay channel's files, one for each CPU.
struct Relay {
    files: Vec<File>,
    buffer: Vec<u8>,
}

impl Relay {
    /// Events that are there are of no use: nobody knows how long they are.
    fn new() -> Result<Self> {
        let (directory, files) = abi::RELAY;
        let mut relay = Self {
            files: Vec::new(),
            buffer: vec![0; 1 << 16],
        };
        for entry in fs::read_dir(Debugfs::find()?.root().join(directory))? {
            let entry = entry?;
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(files.as_bytes())
            {
                relay.files.push(File::open(entry.path())?);
            }
        }
        ensure!(!relay.files.is_empty(), "the relay channel has no file");
        relay.all(1, |_| {})?;
        Ok(relay)
    }

    #[inline]
    fn all(&mut self, bytes: usize, mut each: impl FnMut([u64; 2])) -> Result<()> {
        for file in &mut self.files {
            loop {
                let len = file.read(&mut self.buffer)?;
                if len == 0 {
                    break;
                }
                let events = self.buffer[..len].chunks_exact(bytes);
                events.filter_map(first_words).for_each(&mut each);
            }
        }
        Ok(())
    }
}

impl Reader for Relay {
    fn drain(&mut self, bytes: usize) -> Result<(u64, u64)> {
        let mut seen = Seen::default();
        self.all(bytes, |event| seen.look(event))?;
        Ok(seen.all())
    }

    fn numbers(&mut self, each: &mut dyn FnMut(u64)) -> Result<()> {
        self.all(16, |[number, _]| each(number))
    }
}

/// By generic netlink's multicast.
struct Netlink(Listener);

impl Netlink {
    fn new() -> Result<Self> {
        let family = Client::new()?.family(abi::FAMILY)?;
        let mut listener = Listener::new(&family, &[abi::GROUP])?;
        listener.socket().set_receive_buffer(NETLINK_BUFFER)?;
        Ok(Self(listener))
    }

    #[inline]
    fn all(&mut self, mut each: impl FnMut([u64; 2])) -> Result<()> {
        loop {
            match self.0.next(Duration::ZERO) {
                Ok(Some(event)) => {
                    let event = event.attributes.get(1).and_then(first_words);
                    event.into_iter().for_each(&mut each);
                }
                Ok(None) => return Ok(()),
                // There was no room for some. Who counts them finds that they are missing.
                Err(genl::Error::Netlink(netlink::Error::Lost)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Reader for Netlink {
    fn drain(&mut self, _bytes: usize) -> Result<(u64, u64)> {
        let mut seen = Seen::default();
        self.all(|event| seen.look(event))?;
        Ok(seen.all())
    }

    fn numbers(&mut self, each: &mut dyn FnMut(u64)) -> Result<()> {
        self.all(|[number, _]| each(number))
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
    let made: Produce = Rc::new(move |count| Ok(produce(&device, way::RELAY, bytes, count)?.count));
    Ok(Ways {
        ways: vec![("relay".into(), made)],
        reader: Rc::new(RefCell::new(Relay::new()?)),
    })
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
    // The one listener, as each costs the kernel something.
    let listener = Rc::new(RefCell::new(Netlink::new()?));
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
