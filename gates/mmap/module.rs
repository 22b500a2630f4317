// SPDX-License-Identifier: GPL-2.0

//! The kernel side of the mmap gate: memory that both sides use without copying it across.
//!
//! The HOWTO's `mmap_example` in debugfs is a page for each who opens it. `callgate_mmap_shared` is memory
//! that all share, `callgate_mmap_status` memory that the module writes and users read. `callgate_mmap` is
//! a channel: two rings of messages, and a doorbell in both directions.

// new: begin
#![deny(unsafe_code)]

pub mod abi;
pub mod echo;

use callgate_kernel::{
    debugfs::{self, Dir},
    file::{self, FileOperations},
    misc,
    mmap::{Area, Mapping},
    ring::{self, Consumer, Layout, Producer, Words},
    worker::{Work, Worker},
};
use core::sync::atomic::Ordering;
use echo::Echo;
use kernel::{
    fs::{File, Kiocb, LocalFile},
    iov::{IovIterDest, IovIterSource},
    new_mutex, new_poll_condvar,
    prelude::*,
    seq_file::{seq_print, SeqFile},
    sync::{
        atomic::{ordering::Relaxed, Atomic},
        poll::{PollCondVar, PollTable},
        static_lock_class, Arc, ArcBorrow, Mutex,
    },
};

// new: end
module! {
    type: MmapModule,
    name: "callgate_mmap",
    authors: ["callgate"],
    description: "mmap: shared memory, and rings of messages with a doorbell",
    license: "GPL",
}

// new: begin
#[pin_data]
struct MmapModule {
    // new: end
    _page: debugfs::File<PageFile>,
    #[pin]
    _shared: misc::Registration<SharedFile>,
    // new: begin
    #[pin]
    _status: misc::Registration<StatusFile>,
    #[pin]
    _channel: misc::Registration<ChannelFile>,
}

impl kernel::InPlaceModule for MmapModule {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(|| {
            // new: end
            let nothing = Arc::new((), GFP_KERNEL)?;
            let shared = Arc::new(Area::new(abi::SHARED_PAGES)?, GFP_KERNEL)?;
            // new: begin
            let status = Arc::new(Area::new(1)?, GFP_KERNEL)?;
            Ok(try_pin_init!(Self {
                // new: end
                _page: debugfs::File::new(&Dir::root(), abi::FILE, abi::FILE_MODE, nothing),
                _shared <- misc::Registration::new(abi::SHARED, abi::MODE, shared),
                // new: begin
                _status <- misc::Registration::new(abi::STATUS, abi::STATUS_MODE, status.clone()),
                _channel <- misc::Registration::new(abi::CHANNEL, abi::MODE, status),
            }? Error))
        })
    }
}

// new: end
// The HOWTO's page.

struct PageFile;

#[vtable]
impl FileOperations for PageFile {
    type Shared = ();
    type Ptr = KBox<Area>;

    fn open(_: ArcBorrow<'_, ()>, _file: &File) -> Result<KBox<Area>> {
        let page = Area::new(1)?;
        page.copy_in(0, abi::GREETING.as_bytes());
        Ok(KBox::new(page, GFP_KERNEL)?)
    }

    fn mmap<'a>(page: &'a Area, _file: &'a File) -> Result<Mapping<'a>> {
        Ok(page.map())
    }

    /// What the kernel sees in the page: text up to a NUL.
    fn read_iter(mut kiocb: Kiocb<'_, KBox<Area>>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        let page = kiocb.file();
        page.read_to(iov, kiocb.ki_pos_mut(), page.text_len())
    }

    fn llseek(_page: &Area, file: &LocalFile, offset: i64, whence: i32) -> Result<i64> {
        file::fixed_size_llseek(file, offset, whence, abi::PAGE_SIZE as i64)
    }
}

// Memory that all share.

struct SharedFile;

#[vtable]
impl FileOperations for SharedFile {
    type Shared = Area;
    type Ptr = KBox<Arc<Area>>;

    fn open(area: ArcBorrow<'_, Area>, _file: &File) -> Result<KBox<Arc<Area>>> {
        Ok(KBox::new(area.into(), GFP_KERNEL)?)
    }

    fn mmap<'a>(area: &'a Arc<Area>, _file: &'a File) -> Result<Mapping<'a>> {
        Ok(area.map())
    }
}

// new: begin
// Memory that the module writes and users read.

struct StatusFile;

#[vtable]
impl FileOperations for StatusFile {
    type Shared = Area;
    type Ptr = KBox<Arc<Area>>;

    fn open(status: ArcBorrow<'_, Area>, _file: &File) -> Result<KBox<Arc<Area>>> {
        Ok(KBox::new(status.into(), GFP_KERNEL)?)
    }

    fn mmap<'a>(status: &'a Arc<Area>, _file: &'a File) -> Result<Mapping<'a>> {
        Ok(status.map().read_only().at_once())
    }
}

// The channel.

const TO_KERNEL: Layout = layout(abi::TO_KERNEL);
const TO_USER: Layout = layout(abi::TO_USER);

const fn layout((control, data): (usize, usize)) -> Layout {
    Layout::new(control, data, abi::RING_WORDS, abi::MESSAGE_LIMIT)
}

/// Two rings in memory of their own, and the module's end of both.
#[pin_data]
struct Channel {
    area: Arc<Area>,
    #[pin]
    ends: Mutex<Echo<Arc<Area>, KVec<u8>>>,
    /// Told whenever the user may have something to do, and said so.
    #[pin]
    changed: PollCondVar,
    status: Arc<Area>,
    // new: end
    bells: Atomic<u64>,
    wakes: Atomic<u64>,
    // new: begin
}

impl Channel {
    fn new(status: Arc<Area>) -> Result<Pin<KBox<Worker<Self>>>> {
        let area = Arc::new(Area::new(abi::CHANNEL_PAGES)?, GFP_KERNEL)?;
        let ends = Echo::new(
            Consumer::new(area.clone(), TO_KERNEL),
            Producer::new(area.clone(), TO_USER),
            KVec::from_elem(0, abi::MESSAGE_LIMIT, GFP_KERNEL)?,
        );
        let channel = pin_init!(Self {
            area,
            ends <- new_mutex!(ends),
            changed <- new_poll_condvar!(),
            status,
            // new: end
            bells: Atomic::new(0),
            wakes: Atomic::new(0),
            // new: begin
        });
        let worker = Worker::new(c"callgate_mmap", static_lock_class!(), channel);
        KBox::pin_init(worker, GFP_KERNEL)
    }
}

#[vtable]
impl Work for Channel {
    /// Sends back some messages, then lets others have their turn.
    fn work(&self) -> bool {
        let mut ends = self.ends.lock();
        let mut more = Ok(true);
        for _ in 0..64 {
            more = ends.step();
            if more != Ok(true) {
                break;
            }
            self.status[abi::STATUS_ECHOED].fetch_add(1, Ordering::Relaxed);
        }
        // Both are asked, whatever the first says. If a ring is broken, whoever waits must know it.
        if ends.incoming.must_ring() | ends.outgoing.must_ring() | more.is_err() {
            // new: end
            self.wakes.fetch_add(1, Relaxed);
            // new: begin
            self.changed.notify_all();
        }
        more == Ok(true)
    }
}

/// The user wrote what it cannot mean.
fn broken(_: ring::Error) -> Error {
    EPROTO
}

struct ChannelFile;

#[vtable]
impl FileOperations for ChannelFile {
    type Shared = Area;
    type Ptr = Pin<KBox<Worker<Channel>>>;

    fn open(status: ArcBorrow<'_, Area>, _file: &File) -> Result<Self::Ptr> {
        status[abi::STATUS_OPENED].fetch_add(1, Ordering::Relaxed);
        Channel::new(status.into())
    }

    fn mmap<'a>(channel: Pin<&'a Worker<Channel>>, _file: &'a File) -> Result<Mapping<'a>> {
        Ok(channel.get_ref().area.map().at_once())
    }

    /// The user's bell: a ring has changed, and the module said that it sleeps.
    fn write_iter(kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        let mut word = [0; size_of::<u64>()];
        if iov.len() != word.len() {
            return Err(EINVAL);
        }
        file::copy_whole(iov, &mut word)?;
        if u64::from_ne_bytes(word) != abi::RING {
            return Err(EINVAL);
        }
        let channel = kiocb.file();
        // new: end
        channel.bells.fetch_add(1, Relaxed);
        // new: begin
        // Also if a ring is broken: then it finds that out, and tells all who wait.
        channel.start();
        let mut ends = channel.ends.lock();
        ends.incoming.waiting().map_err(broken)?;
        ends.outgoing.waiting().map_err(broken)?;
        Ok(word.len())
    }

    /// Waits until there is a message for the user, and says how many bytes there are.
    fn read_iter(kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        if iov.len() < size_of::<u64>() {
            return Err(EINVAL);
        }
        let channel = kiocb.file();
        let mut ends = channel.ends.lock();
        let words = loop {
            ends.outgoing.other_sleeps();
            ends.incoming.waiting().map_err(broken)?;
            match ends.outgoing.waiting().map_err(broken)? {
                0 if file::is_nonblocking(&kiocb) => return Err(EAGAIN),
                0 => {}
                words => break words,
            }
            if channel.changed.wait_interruptible(&mut ends) {
                return Err(ERESTARTSYS);
            }
        };
        drop(ends);
        let bytes = ((words * size_of::<u64>()) as u64).to_ne_bytes();
        match iov.copy_to_iter(&bytes) {
            copied if copied == bytes.len() => Ok(copied),
            _ => Err(EFAULT),
        }
    }

    fn poll(channel: Pin<&Worker<Channel>>, file: &File, table: PollTable<'_>) -> u32 {
        // Registered, said that somebody sleeps, and only then looked: a change in between is not missed.
        table.register_wait(file, &channel.get_ref().changed);
        let mut ends = channel.ends.lock();
        ends.outgoing.other_sleeps();
        ends.incoming.other_sleeps();
        let mut ready = 0;
        match ends.outgoing.waiting() {
            Ok(0) => {}
            Ok(_) => ready |= file::EPOLLIN | file::EPOLLRDNORM,
            Err(_) => ready |= file::EPOLLERR,
        }
        match ends.incoming.has_room() {
            Ok(false) => {}
            Ok(true) => ready |= file::EPOLLOUT | file::EPOLLWRNORM,
            Err(_) => ready |= file::EPOLLERR,
        }
        ready
    }

    // new: end
    fn show_fdinfo(channel: Pin<&Worker<Channel>>, m: &SeqFile) {
        seq_print!(m, "callgate_bells:\t{}\n", channel.bells.load(Relaxed));
        seq_print!(m, "callgate_wakes:\t{}\n", channel.wakes.load(Relaxed));
    }
    // new: begin
}
// new: end
