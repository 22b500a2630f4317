// SPDX-License-Identifier: GPL-2.0

//! Many events from the kernel by a mapped ring: what others of their kind are measured against.

#![deny(unsafe_code)]

pub mod abi;

use abi::Task;
use callgate_kernel::{
    file::{self, FileOperations},
    ioctl::Call,
    misc,
    mmap::{Area, Mapping},
    ring::{Layout, Producer},
};
use core::mem::MaybeUninit;
use kernel::{
    fs::File,
    new_poll_condvar, new_spinlock_irq,
    prelude::*,
    sync::{
        poll::{PollCondVar, PollTable},
        Arc, ArcBorrow, SpinLockIrq,
    },
};
use zerocopy::IntoBytes;

module! {
    type: PeerModule,
    name: "callgate_peer_ring",
    authors: ["callgate"],
    description: "many events by a mapped ring, to be measured",
    license: "GPL",
}

#[pin_data]
struct PeerModule {
    #[pin]
    _device: misc::Registration<RingFile>,
}

impl kernel::InPlaceModule for PeerModule {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(|| {
            let nothing = Arc::new((), GFP_KERNEL)?;
            Ok(try_pin_init!(Self {
                _device <- misc::Registration::new(abi::RING, 0o600, nothing),
            }? Error))
        })
    }
}

const PAGE_WORDS: usize = abi::PAGE_SIZE / size_of::<u64>();
const LAYOUT: Layout = Layout::new(0, PAGE_WORDS, abi::RING_PAGES * PAGE_WORDS, abi::LIMIT);

#[pin_data]
struct Ring {
    area: Arc<Area>,
    /// With this lock, an interrupt's handler may be a producer, too, as with BPF's and relay's: whoever has it
    /// is not interrupted.
    #[pin]
    producer: SpinLockIrq<Producer<Arc<Area>>>,
    #[pin]
    changed: PollCondVar,
}

impl Ring {
    /// Tells the consumer, which sleeps. That, too, may be done where nothing may sleep. Nobody has to wait for it
    /// with the lock.
    fn tell(&self, task: &mut Task) {
        task.rang = task.rang.wrapping_add(1);
        self.changed.notify_all();
    }

    fn batches<const N: usize, const SILENT: bool>(&self, task: &mut Task) {
        let end = task.number.wrapping_add(task.count);
        while task.number != end {
            let mut producer = self.producer.lock();
            let mut batch = producer.batch();
            let first = task.number;
            let mut number = first;
            let last = end.min(first.wrapping_add(abi::BATCH));
            while number != last && batch.push([number; N].as_bytes()).is_ok() {
                number = number.wrapping_add(1);
            }
            task.number = number;
            if SILENT {
                drop(batch);
                drop(producer);
            } else if batch.must_ring() {
                drop(producer);
                self.tell(task);
            } else {
                drop(producer);
            }
            if number != last {
                break;
            }
        }
        task.count = task.count.wrapping_sub(end.wrapping_sub(task.number));
    }

    fn single<const N: usize, const SILENT: bool>(&self, task: &mut Task) {
        let end = task.number.wrapping_add(task.count);
        while task.number != end {
            let mut producer = self.producer.lock();
            let mut batch = producer.batch();
            if batch.push([task.number; N].as_bytes()).is_err() {
                break;
            }
            task.number = task.number.wrapping_add(1);
            if SILENT {
                drop(batch);
                drop(producer);
            } else if batch.must_ring() {
                drop(producer);
                self.tell(task);
            } else {
                drop(producer);
            }
        }
        task.count = task.count.wrapping_sub(end.wrapping_sub(task.number));
    }

    fn produce<const N: usize>(&self, task: &mut Task) -> Result {
        match task.way {
            abi::way::BATCHES => self.batches::<N, false>(task),
            abi::way::SILENT_BATCHES => self.batches::<N, true>(task),
            abi::way::SINGLE => self.single::<N, false>(task),
            abi::way::SILENT_SINGLE => self.single::<N, true>(task),
            _ => return Err(EINVAL),
        }
        Ok(())
    }
}

struct RingFile;

#[vtable]
impl FileOperations for RingFile {
    type Shared = ();
    type Ptr = Pin<KBox<Ring>>;

    fn open(_: ArcBorrow<'_, ()>, _file: &File) -> Result<Self::Ptr> {
        let area = Arc::new(Area::new(1 + abi::RING_PAGES)?, GFP_KERNEL)?;
        let producer = Producer::new(area.clone(), LAYOUT);
        let ring = pin_init!(Ring {
            area,
            producer <- new_spinlock_irq!(producer),
            changed <- new_poll_condvar!(),
        });
        KBox::pin_init(ring, GFP_KERNEL)
    }

    fn mmap<'a>(ring: Pin<&'a Ring>, _file: &'a File) -> Result<Mapping<'a>> {
        Ok(ring.get_ref().area.map().at_once())
    }

    fn ioctl(ring: Pin<&Ring>, call: Call) -> Result {
        if call.cmd() != abi::PRODUCE {
            return Err(ENOTTY);
        }
        let mut place = MaybeUninit::<Task>::uninit();
        let (task, reply) = call.read(&mut place)?;
        if task.count > abi::MOST {
            return Err(EINVAL);
        }
        match task.bytes {
            16 => ring.produce::<2>(task)?,
            64 => ring.produce::<8>(task)?,
            256 => ring.produce::<32>(task)?,
            _ => return Err(EINVAL),
        }
        reply.write(task)
    }

    fn poll(ring: Pin<&Ring>, file: &File, table: PollTable<'_>) -> u32 {
        table.register_wait(file, &ring.get_ref().changed);
        let mut producer = ring.producer.lock();
        producer.other_sleeps();
        match producer.waiting() {
            Ok(0) => 0,
            Ok(_) => file::EPOLLIN | file::EPOLLRDNORM,
            Err(_) => file::EPOLLERR,
        }
    }
}
