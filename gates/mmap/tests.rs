// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a user of the gate's memory can rely on, tried by mapping it.
//!
//! These run in the lab's VM as root, each in a process of its own, with the module loaded.

// new: begin
use std::fs;
use std::io::SeekFrom;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use callgate::Errno;
use callgate::chardev::Device;
use callgate::mmap::{Channel, Error, Mapping, View, options};
use callgate::module;
use callgate::ring::{Consumer, Producer, Words as _};
use callgate::testing::Refusals;
use callgate::testing::faults::{at_each_place, at_last_places};
use callgate::testing::inspect::{self, Call};
use callgate::testing::memory::{Guarded, Hole, try_map, try_map_as};
use callgate::testing::process::Forked;
use callgate::testing::signal::{self, Caught, Then};
use callgate::testing::tools::Tool;
use callgate::testing::unload::{Use, while_used};
use callgate::testing::worker::{Watchdog, Worker, as_nobody};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::mm::{Advice, MprotectFlags};

use super::abi::{
    CHANNEL_PAGES, FILE_MODE, GREETING, MESSAGE_LIMIT, MODE, PAGE_SIZE, PAGE_WORDS, RING,
    RING_WORDS, SHARED_PAGES, STATUS_ECHOED, STATUS_MODE, STATUS_OPENED, TO_KERNEL, TO_USER,
};
use super::program::RINGS;

/// Every wait ends here at the latest; it is generous, because an emulated debug kernel is slow.
const LIMIT: Duration = Duration::from_secs(30);

/// A test that takes longer than this has lost its way.
const TOO_LONG: Duration = Duration::from_secs(160);

/// How long to watch for what must not happen.
const MOMENT: Duration = Duration::from_millis(30);

const MODULE: &str = "callgate_mmap";
const MODULE_FILE: &str = "/modules/callgate_mmap.ko";

const STATUS: &str = "/dev/callgate_mmap_status";
const CHANNEL: &str = "/dev/callgate_mmap";

// new: end
const EXAMPLE: &str = "/sys/kernel/debug/mmap_example";
const SHARED: &str = "/dev/callgate_mmap_shared";

/// The signal for memory that is not there.
const SIGBUS: i32 = 7;

const READ: i32 = 1;
const WRITE: i32 = 2;
const EXEC: i32 = 4;
const MAP_SHARED: i32 = 1;
const MAP_PRIVATE: i32 = 2;
const MAP_SHARED_VALIDATE: i32 = 3;
const MAP_SYNC: i32 = 0x8_0000;

// ---- Help ---------------------------------------------------------------------------------------

// new: begin
fn open(path: &str) -> Device {
    Device::open(path).unwrap()
}

// new: end
fn map(path: &str, pages: usize) -> Mapping {
    options().map(open(path), pages * PAGE_SIZE).unwrap()
}

// new: begin
fn view(path: &str, pages: usize) -> View {
    let device = Device::options().read(true).open(path).unwrap();
    options().view(device, pages * PAGE_SIZE).unwrap()
}

// new: end
fn private(path: &str, pages: usize) -> Mapping {
    let device = Device::options().read(true).open(path).unwrap();
    options().private().map(device, pages * PAGE_SIZE).unwrap()
}

fn get(memory: &impl AsRef<View>, at: usize) -> u64 {
    memory.as_ref().load(at, Ordering::Relaxed)
}

fn put(memory: &Mapping, at: usize, value: u64) {
    memory.words()[at].store(value, Ordering::Relaxed);
}

// new: begin
/// Unloads the module and loads it again: everything it holds is new.
fn reload() {
    module::unload(MODULE).unwrap();
    module::load(MODULE_FILE, "").unwrap();
}

fn unload_refused() -> Option<Errno> {
    module::unload(MODULE).unwrap_err().errno()
}

fn errno<T>(result: Result<T, Error>) -> Result<T, Errno> {
    result.map_err(|error| error.errno().unwrap_or_else(|| panic!("{error}")))
}

fn channel() -> Channel {
    Channel::open(CHANNEL, RINGS).unwrap()
}

/// Sends a message, and gives what comes back.
fn exchange(channel: &mut Channel, message: &[u8]) -> Vec<u8> {
    channel.send(message, LIMIT).unwrap();
    receive(channel)
}

fn receive(channel: &mut Channel) -> Vec<u8> {
    let mut buffer = vec![0xee; MESSAGE_LIMIT];
    let len = channel.receive(&mut buffer, LIMIT).unwrap();
    buffer.truncate(len);
    buffer
}

fn ready(file: impl AsFd) -> PollFlags {
    let all = PollFlags::IN | PollFlags::OUT;
    let mut fds = [PollFd::new(&file, all)];
    rustix::event::poll(&mut fds, Some(&Timespec::default())).unwrap();
    fds[0].revents()
}

/// Waits until `done`.
fn wait_until(what: &str, done: impl Fn() -> bool) {
    let end = std::time::Instant::now() + LIMIT;
    while !done() {
        assert!(std::time::Instant::now() < end, "it never came to be that {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

// new: end
fn counted(channel: &Channel, field: &str) -> u64 {
    inspect::fdinfo(channel, field).unwrap().unwrap().parse().unwrap()
}

// new: begin
fn ring(file: impl AsFd) -> Result<usize, Errno> {
    rustix::io::write(file, &RING.to_ne_bytes())
}

// new: end
/// Numbers as if at random, by Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
}

/// A checksum that the order matters to: Fletcher's.
#[derive(Debug, Default, PartialEq, Eq)]
struct Checksum(u64, u64);

impl Checksum {
    fn add(&mut self, message: &[u8]) {
        for byte in message {
            self.0 = (self.0 + u64::from(*byte) + 1) % 0xffff_ffff;
            self.1 = (self.1 + self.0) % 0xffff_ffff;
        }
    }
}

// new: begin
#[test]
fn the_program_runs() {
    let _watchdog = Watchdog::new(TOO_LONG);
    super::program::main().unwrap();
}

// new: end
// ---- The HOWTO's page ---------------------------------------------------------------------------

#[test]
fn the_file_is_where_the_howto_has_it() {
    let stat = fs::metadata(EXAMPLE).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.uid()), (u32::from(FILE_MODE), 0));
    let answer = Tool::new("cat").arg(EXAMPLE).run().success();
    assert_eq!(answer, GREETING);
}

#[test]
fn a_page_has_the_greeting_and_is_else_zero() {
    let bytes = map(EXAMPLE, 1).as_ref().bytes(0, PAGE_SIZE);
    assert_eq!(&bytes[..GREETING.len()], GREETING.as_bytes());
    assert!(bytes[GREETING.len()..].iter().all(|byte| *byte == 0), "stale bytes");
}

#[test]
fn the_kernel_sees_what_the_program_writes() {
    let file = open(EXAMPLE);
    let page = options().map(&file, PAGE_SIZE).unwrap();
    page.copy_in(0, b"hello from *user* this is file: mmap_example");
    let mut seen = [0; PAGE_SIZE];
    let len = file.read(&mut seen).unwrap();
    assert_eq!(&seen[..len], b"hello from *user* this is file: mmap_example");
    assert_eq!(file.read(&mut seen), Ok(0), "that is the end");
    // The whole page, without a NUL.
    page.copy_in(0, &[b'x'; PAGE_SIZE]);
    assert_eq!(file.pread(&mut seen, 0), Ok(PAGE_SIZE));
    assert_eq!(seen, [b'x'; PAGE_SIZE]);
    page.copy_in(0, &[0; 8]);
    assert_eq!(file.pread(&mut seen, 0), Ok(0));
}

#[test]
fn each_open_has_a_page_of_its_own() {
    let (one, two) = (map(EXAMPLE, 1), map(EXAMPLE, 1));
    put(&one, 0, 7);
    assert_eq!(get(&two, 0), u64::from_ne_bytes(*b"hello fr"));
}

#[test]
fn mappings_of_one_open_share_its_page() {
    let file = open(EXAMPLE);
    let one = options().map(&file, PAGE_SIZE).unwrap();
    let two = options().view(&file, PAGE_SIZE).unwrap();
    put(&one, 7, 7);
    assert_eq!(two.load(7, Ordering::Relaxed), 7);
}

#[test]
fn a_private_mapping_is_a_copy() {
    let file = open(EXAMPLE);
    let shared = options().map(&file, PAGE_SIZE).unwrap();
    let private = options().private().map(&file, PAGE_SIZE).unwrap();
    put(&shared, 7, 1);
    assert_eq!(get(&private, 7), 1, "as long as it was not written to");
    put(&private, 7, 2);
    put(&shared, 7, 3);
    assert_eq!((get(&shared, 7), get(&private, 7)), (3, 2));
    let mut seen = [0; PAGE_SIZE];
    put(&private, 0, 0);
    assert_eq!(file.pread(&mut seen, 0), Ok(GREETING.len()), "the kernel sees the shared one");
}

#[test]
fn a_mapping_needs_no_descriptor() {
    let page = map(EXAMPLE, 1);
    // The descriptor was closed before the page was touched for the first time.
    assert_eq!(get(&page, 0), u64::from_ne_bytes(*b"hello fr"));
    assert_eq!(unload_refused(), Some(Errno::AGAIN), "a mapping keeps the module");
    drop(page);
    reload();
}

#[test]
fn beyond_the_end_is_nothing() {
    let _watchdog = Watchdog::new(TOO_LONG);
    for (path, pages) in [(EXAMPLE, 1), (SHARED, SHARED_PAGES)] {
        let memory = map(path, pages + 1);
        let end = pages * PAGE_SIZE;
        assert!(memory.as_ref().is_there(end - 1).unwrap(), "{path}");
        assert!(!memory.as_ref().is_there(end).unwrap(), "{path}");
        let touch = |write: bool| {
            let child = Forked::new(|| {
                if write {
                    put(&memory, end / 8, 1);
                }
                u8::from(get(&memory, end / 8) != 0)
            });
            child.unwrap().wait(LIMIT).signal()
        };
        assert_eq!(touch(false), Some(SIGBUS), "{path}");
        assert_eq!(touch(true), Some(SIGBUS), "{path}");
        put(&memory, end / 8 - 1, 1);
    }
}

#[test]
fn an_offset_far_beyond_the_end_is_nothing_either() {
    let file = open(SHARED);
    for offset in [SHARED_PAGES as u64, 1 << 20, (1 << 51) - 1] {
        let view = options().offset(offset * PAGE_SIZE as u64).view(&file, PAGE_SIZE).unwrap();
        assert!(!view.is_there(0).unwrap(), "{offset}");
    }
}

// ---- Memory that all share ----------------------------------------------------------------------

#[test]
fn all_who_open_it_share_its_pages() {
    reload();
    let (one, two) = (map(SHARED, SHARED_PAGES), map(SHARED, SHARED_PAGES));
    for at in 0..SHARED_PAGES * PAGE_WORDS {
        assert_eq!(get(&one, at), 0, "it was not zeroed");
        put(&one, at, at as u64 + 1);
    }
    for at in 0..SHARED_PAGES * PAGE_WORDS {
        assert_eq!(get(&two, at), at as u64 + 1);
    }
    drop((one, two));
    assert_eq!(get(&map(SHARED, 1), 0), 1, "it stays when all have gone");
    reload();
    assert_eq!(get(&map(SHARED, 1), 0), 0, "but not when the module has");
}

#[test]
fn an_offset_finds_its_page() {
    let all = map(SHARED, SHARED_PAGES);
    let file = open(SHARED);
    for page in 0..SHARED_PAGES {
        put(&all, page * PAGE_WORDS, 100 + page as u64);
        let one = options().offset((page * PAGE_SIZE) as u64).view(&file, PAGE_SIZE).unwrap();
        assert_eq!(one.load(0, Ordering::Relaxed), 100 + page as u64);
    }
}

#[test]
fn a_part_can_be_unmapped() {
    for (path, pages) in [(SHARED, SHARED_PAGES), (CHANNEL, CHANNEL_PAGES)] {
        let memory = map(path, pages);
        let last = pages * PAGE_WORDS - 1;
        put(&memory, 3, 3);
        put(&memory, last, 4);
        let (first, rest) = memory.split(PAGE_SIZE);
        let (middle, end) = rest.split((pages - 2) * PAGE_SIZE);
        drop(middle);
        assert_eq!((get(&first, 3), get(&end, PAGE_WORDS - 1)), (3, 4), "{path}");
        drop(first);
        assert_eq!(unload_refused(), Some(Errno::AGAIN), "{path}: the last part keeps the module");
        put(&end, PAGE_WORDS - 2, 5);
        assert_eq!(get(&end, PAGE_WORDS - 2), 5, "{path}");
    }
    reload();
}

#[test]
fn fork_shares_what_is_shared() {
    let _watchdog = Watchdog::new(TOO_LONG);
    for (path, pages) in [(EXAMPLE, 1), (SHARED, SHARED_PAGES), (CHANNEL, CHANNEL_PAGES)] {
        let memory = map(path, pages);
        let at = pages * PAGE_WORDS - 1;
        put(&memory, at, 1);
        let child = Forked::new(|| {
            let seen = get(&memory, at);
            put(&memory, at, 2);
            u8::try_from(seen).unwrap()
        });
        assert_eq!(child.unwrap().wait(LIMIT).code(), Some(1), "{path}");
        assert_eq!(get(&memory, at), 2, "{path}");
    }
}

#[test]
fn fork_copies_what_is_private() {
    let _watchdog = Watchdog::new(TOO_LONG);
    for (path, pages) in [(EXAMPLE, 1), (SHARED, SHARED_PAGES), (STATUS, 1), (CHANNEL, 1)] {
        let memory = private(path, pages);
        put(&memory, 9, 1);
        let child = Forked::new(|| {
            let seen = get(&memory, 9);
            put(&memory, 9, 2);
            u8::from(seen == 1 && get(&memory, 9) == 2)
        });
        assert_eq!(child.unwrap().wait(LIMIT).code(), Some(1), "{path}");
        assert_eq!(get(&memory, 9), 1, "{path}");
    }
}

#[test]
fn a_child_keeps_the_module_by_its_mapping() {
    let memory = map(SHARED, 1);
    let (reader, writer) = std::io::pipe().unwrap();
    let child = Forked::new(|| {
        // Its own copy of the other end would keep this from ending.
        rustix::io::read(&reader, &mut [0; 1]).map_or(1, |_| 0)
    })
    .unwrap();
    drop(memory);
    assert_eq!(unload_refused(), Some(Errno::AGAIN));
    rustix::io::write(&writer, b"x").unwrap();
    assert_eq!(child.wait(LIMIT).code(), Some(0));
    reload();
}

#[test]
fn memory_can_be_moved() {
    for (path, pages) in [(EXAMPLE, 1), (SHARED, SHARED_PAGES), (CHANNEL, CHANNEL_PAGES)] {
        let mut memory = map(path, pages);
        let at = pages * PAGE_WORDS - 1;
        put(&memory, at, 1);
        let before = memory.as_ref().address();
        memory.relocate().unwrap();
        assert_ne!(memory.as_ref().address(), before, "{path}");
        assert_eq!(get(&memory, at), 1, "{path}");
        put(&memory, at, 2);
        assert_eq!(get(&memory, at), 2, "{path}");
    }
    let mut memory = view(STATUS, 1);
    memory.relocate().unwrap();
    assert!(memory.load(STATUS_OPENED, Ordering::Relaxed) > 0);
}

#[test]
fn memory_can_become_smaller_and_not_larger() {
    for (path, pages) in [(EXAMPLE, 2), (SHARED, 2), (CHANNEL, CHANNEL_PAGES)] {
        let mut memory = map(path, pages);
        let grown = errno(memory.resize((pages + 1) * PAGE_SIZE));
        assert_eq!(grown, Err(Errno::FAULT), "{path}");
        put(&memory, 0, 7);
        memory.resize(PAGE_SIZE).unwrap();
        assert_eq!(get(&memory, 0), 7, "{path}");
        assert_eq!(errno(memory.resize(2 * PAGE_SIZE)), Err(Errno::FAULT), "{path}");
    }
}

#[test]
fn neighbours_do_not_become_one() {
    let file = open(SHARED);
    let maps = || fs::read_to_string("/proc/self/maps").unwrap().matches(SHARED).count();
    let halves = [0, 2].map(|page: usize| {
        options().offset((page * PAGE_SIZE) as u64).map(&file, 2 * PAGE_SIZE).unwrap()
    });
    assert_eq!(maps(), 2);
    put(&halves[0], 0, 1);
    put(&halves[1], 0, 2);
    drop(halves);
    assert_eq!(maps(), 0);
}

#[test]
fn what_is_dropped_from_memory_is_found_again() {
    for (path, pages) in [(EXAMPLE, 1), (SHARED, SHARED_PAGES), (CHANNEL, CHANNEL_PAGES)] {
        let memory = map(path, pages);
        put(&memory, 9, 7);
        memory.as_ref().advise(Advice::LinuxDontNeed).unwrap();
        assert_eq!(get(&memory, 9), 7, "{path}");
    }
    let shared = map(SHARED, 1);
    let private = private(SHARED, 1);
    put(&shared, 9, 7);
    put(&private, 9, 8);
    private.as_ref().advise(Advice::LinuxDontNeed).unwrap();
    assert_eq!(get(&private, 9), 7, "the copy is gone, what was copied is there");
}

#[test]
fn it_is_not_in_a_core_dump_and_stays_so() {
    for (path, pages) in [(EXAMPLE, 1), (SHARED, SHARED_PAGES), (STATUS, 1), (CHANNEL, 1)] {
        let memory = view(path, pages);
        assert_eq!(memory.advise(Advice::LinuxDoDump), Err(Errno::INVAL), "{path}");
        memory.advise(Advice::LinuxDontDump).unwrap();
    }
}

#[test]
fn what_the_kernel_lent_outlives_mapping_file_and_module() {
    let (reader, writer) = std::io::pipe().unwrap();
    let memory = map(SHARED, 2);
    memory.copy_in(0, &[b'a'; 2 * PAGE_SIZE]);
    assert_eq!(memory.as_ref().lend(2 * PAGE_SIZE, &writer), Ok(2 * PAGE_SIZE));
    // The pages, not a copy of what was in them.
    memory.copy_in(PAGE_WORDS, &[b'b'; PAGE_SIZE]);
    drop(memory);
    reload();
    let other = map(SHARED, SHARED_PAGES);
    other.copy_in(0, &[b'c'; SHARED_PAGES * PAGE_SIZE]);
    let mut bytes = vec![0; 2 * PAGE_SIZE];
    let mut len = 0;
    while len < bytes.len() {
        len += rustix::io::read(&reader, &mut bytes[len..]).unwrap();
    }
    assert!(bytes[..PAGE_SIZE].iter().all(|byte| *byte == b'a'));
    assert!(bytes[PAGE_SIZE..].iter().all(|byte| *byte == b'b'));
}

#[test]
fn several_threads_touch_it_for_the_first_time() {
    for (path, pages) in [(SHARED, SHARED_PAGES), (CHANNEL, CHANNEL_PAGES)] {
        for _ in 0..20 {
            let memory = map(path, pages);
            let before = (0..pages).map(|page| get(&memory, page * PAGE_WORDS + 20)).sum::<u64>();
            let _ = memory.as_ref().advise(Advice::LinuxDontNeed);
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for page in 0..pages {
                            memory.words()[page * PAGE_WORDS + 20].fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
            });
            let sum: u64 = (0..pages).map(|page| get(&memory, page * PAGE_WORDS + 20)).sum();
            assert_eq!(sum, before + 4 * pages as u64, "{path}");
        }
    }
}

// ---- Memory that the module writes --------------------------------------------------------------

// new: begin
#[test]
fn the_counters_count() {
    reload();
    let status = view(STATUS, 1);
    let read = |at| status.load(at, Ordering::Relaxed);
    assert_eq!((read(STATUS_OPENED), read(STATUS_ECHOED)), (0, 0));
    let mut channel = channel();
    assert_eq!(read(STATUS_OPENED), 1);
    for _ in 0..3 {
        exchange(&mut channel, b"count me");
    }
    wait_until("three were counted", || read(STATUS_ECHOED) == 3);
    assert_eq!(read(STATUS_OPENED), 1);
}

#[test]
fn what_is_read_only_stays_so() {
    let device = open(STATUS); // root may open it for writing, too
    assert_eq!(errno(options().map(&device, PAGE_SIZE)).map(drop), Err(Errno::ACCESS));
    let page = options().view(&device, PAGE_SIZE).unwrap();
    assert_eq!(errno(page.into_writable()).map(drop), Err(Errno::ACCESS));
    let mut page = options().view(&device, PAGE_SIZE).unwrap();
    for how in [MprotectFlags::WRITE, MprotectFlags::READ | MprotectFlags::WRITE] {
        assert_eq!(page.may_be(how), Err(Errno::ACCESS));
    }
    assert_eq!(page.may_be(MprotectFlags::empty()), Ok(()));
    // new: end
    // Nor may a debugger, which may write to a program's text.
    let memory = fs::OpenOptions::new().read(true).write(true).open("/proc/self/mem").unwrap();
    let before = page.load(STATUS_OPENED, Ordering::Relaxed);
    let written = memory.write_at(&[0xff; 8], page.address() as u64);
    assert!(written.is_err(), "{written:?}");
    let mut bytes = [0; 8];
    memory.read_exact_at(&mut bytes, page.address() as u64).unwrap();
    assert_eq!(u64::from_ne_bytes(bytes), before);
    // new: begin
}

// new: end
#[test]
fn a_private_copy_of_the_counters_may_be_written_to() {
    let status = view(STATUS, 1);
    let copy = private(STATUS, 1);
    let before = status.load(STATUS_OPENED, Ordering::Relaxed);
    put(&copy, STATUS_OPENED, 1 << 40);
    let _channel = channel();
    assert_eq!(status.load(STATUS_OPENED, Ordering::Relaxed), before + 1);
    assert_eq!(get(&copy, STATUS_OPENED), 1 << 40);
}

#[test]
fn what_is_mapped_at_once_is_there_after_a_fork() {
    let status = view(STATUS, 1);
    let _channel = channel();
    let opened = status.load(STATUS_OPENED, Ordering::Relaxed);
    let child = Forked::new(|| u8::from(status.load(STATUS_OPENED, Ordering::Relaxed) == opened));
    assert_eq!(child.unwrap().wait(LIMIT).code(), Some(1));
}

// ---- The channel --------------------------------------------------------------------------------

// new: begin
#[test]
fn messages_come_back_as_they_were() {
    let mut channel = channel();
    for len in [0, 1, 7, 8, 9, 63, 64, 65, 1000, 4088, 4095, MESSAGE_LIMIT] {
        let message: Vec<u8> = (0..=250).cycle().take(len).collect();
        assert_eq!(exchange(&mut channel, &message), message, "{len} bytes");
    }
}

/// Both rings run full, so that the kernel waits for messages and for room in turn.
#[test]
fn who_sends_first_and_collects_later_gets_everything() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let (mut sender, mut receiver) = channel().split();
    let mut buffer = [0; MESSAGE_LIMIT];
    let message = |number: u32| {
        let mut bytes = vec![0; 4 + 997 * (number as usize % 4)];
        bytes[..4].copy_from_slice(&number.to_ne_bytes());
        bytes
    };
    let (mut sent, mut collected) = (0, 0);
    for _ in 0..30 {
        while sender.try_send(&message(sent)).unwrap() {
            sent += 1;
        }
        while collected < sent {
            let len = receiver.receive(&mut buffer, LIMIT).unwrap();
            assert_eq!(buffer[..len], message(collected), "message {collected} of {sent}");
            collected += 1;
        }
    }
    assert!(sent > 1000, "{sent}");
}

#[test]
fn a_message_that_is_too_long_is_refused_and_harmless() {
    let mut channel = channel();
    let refused = channel.send(&[0; MESSAGE_LIMIT + 1], LIMIT);
    assert!(matches!(refused, Err(Error::TooLong { limit: MESSAGE_LIMIT })), "{refused:?}");
    channel.send(b"hello", LIMIT).unwrap();
    let refused = channel.receive(&mut [0; 4], LIMIT);
    assert!(matches!(refused, Err(Error::TooLong { .. })), "{refused:?}");
    assert_eq!(receive(&mut channel), b"hello", "it stayed");
}

#[test]
fn each_open_has_rings_of_its_own() {
    let (mut one, mut two) = (channel(), channel());
    one.send(b"one", LIMIT).unwrap();
    two.send(b"two", LIMIT).unwrap();
    assert_eq!(receive(&mut two), b"two");
    assert_eq!(receive(&mut one), b"one");
    let nothing = one.receive(&mut [0; MESSAGE_LIMIT], MOMENT);
    assert!(matches!(nothing, Err(Error::TimedOut(_))), "{nothing:?}");
}

// new: end
/// Two threads and the kernel's, on two CPUs; the rings are full or empty most of the time.
#[test]
fn a_flood_comes_back_whole_and_in_order() {
    const BYTES: usize = 3 << 20;

    let _watchdog = Watchdog::new(TOO_LONG);
    assert!(thread::available_parallelism().unwrap().get() >= 2, "there must be two CPUs");
    let channel = channel();
    let file = channel.as_fd().try_clone_to_owned().unwrap();
    let (mut sender, mut receiver) = channel.split();
    let sending = Worker::spawn(move || {
        let (mut random, mut sum) = (Random(0x9e37_79b9_7f4a_7c15), Checksum::default());
        let (mut bytes, mut messages) = (0, 0);
        let mut message = vec![0; MESSAGE_LIMIT];
        while bytes < BYTES {
            let len = 1 + random.below(MESSAGE_LIMIT);
            for word in message[..len].chunks_mut(8) {
                let number = random.next().to_ne_bytes();
                word.copy_from_slice(&number[..word.len()]);
            }
            sum.add(&message[..len]);
            sender.send(&message[..len], LIMIT).unwrap();
            bytes += len;
            messages += 1;
        }
        sender.send(b"", LIMIT).unwrap(); // the end
        (sum, bytes, messages)
    });
    let receiving = Worker::spawn(move || {
        let mut sum = Checksum::default();
        let (mut bytes, mut messages) = (0, 0);
        let mut message = vec![0; MESSAGE_LIMIT];
        loop {
            let len = receiver.receive(&mut message, LIMIT).unwrap();
            if len == 0 {
                break (sum, bytes, messages);
            }
            sum.add(&message[..len]);
            bytes += len;
            messages += 1;
        }
    });
    let sent = sending.finish(TOO_LONG);
    let came_back = receiving.finish(TOO_LONG);
    let field = |name| inspect::fdinfo(&file, name).unwrap().unwrap();
    println!(
        "{} messages, {} bytes each way; bells {}, wakes {}",
        sent.2,
        sent.1,
        field("callgate_bells"),
        field("callgate_wakes"),
    );
    assert_eq!(sent, came_back);
}

// new: begin
/// One message on its way at a time: each side sleeps for each message, and must be woken.
#[test]
fn no_bell_is_missed() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let mut channel = channel();
    for round in 0..2000_u32 {
        assert_eq!(exchange(&mut channel, &round.to_ne_bytes()), round.to_ne_bytes());
    }
}

// new: end
#[test]
fn a_bell_is_rung_only_for_who_sleeps() {
    let mut channel = channel();
    assert_eq!(counted(&channel, "callgate_bells"), 0);
    channel.send(b"wake up", LIMIT).unwrap();
    assert_eq!(counted(&channel, "callgate_bells"), 1, "the kernel slept");
    // Until the kernel can send nothing more back; then it waits for room, and for no message.
    fill(&mut channel);
    let bells = counted(&channel, "callgate_bells");
    // A short one still has room. No bell: the kernel would not come for it.
    channel.send(b"", LIMIT).unwrap();
    assert_eq!(counted(&channel, "callgate_bells"), bells);
    assert_eq!(receive(&mut channel), b"wake up");
    assert_eq!(counted(&channel, "callgate_bells"), bells + 1, "it was told that there is room");
    for _ in 0..MESSAGES_WHEN_FULL {
        assert_eq!(receive(&mut channel), FILLING);
    }
    assert_eq!(receive(&mut channel), b"");
}

/// A message of 512 words, with its length: a word less than the longest.
const FILLING: [u8; MESSAGE_LIMIT - 8] = [7; MESSAGE_LIMIT - 8];

/// How many of those there are when there is no room for the longest: 15 in each ring, and one in between.
const MESSAGES_WHEN_FULL: usize = 31;

/// Sends until nothing more goes, and the kernel sleeps.
fn fill(channel: &mut Channel) {
    for _ in 0..MESSAGES_WHEN_FULL {
        // To wait for room is to wait for room for the longest, which the last ones do not need.
        let sent = (0..1000).any(|_| channel.send(&FILLING, MOMENT).is_ok());
        assert!(sent, "there is no room");
    }
    let memory = channel.memory();
    let word = |at| memory.load(at, Ordering::Acquire);
    wait_until("the rings are full", || {
        word(TO_KERNEL.0) - word(TO_KERNEL.0 + 8) == 15 * 512 && word(TO_USER.0 + 1) == 1
    });
}

#[test]
fn poll_tells_of_messages_and_of_room() {
    let mut channel = channel();
    assert_eq!(ready(&channel), PollFlags::OUT);
    channel.send(b"x", LIMIT).unwrap();
    wait_until("a message is there", || ready(&channel).contains(PollFlags::IN));
    receive(&mut channel);
    assert_eq!(ready(&channel), PollFlags::OUT);
    fill(&mut channel);
    assert_eq!(ready(&channel), PollFlags::IN, "no room for any message");
    for _ in 0..4 {
        receive(&mut channel);
    }
    wait_until("there is room", || ready(&channel).contains(PollFlags::OUT));
}

#[test]
fn epoll_tells_each_message_once_if_it_is_asked_to() {
    let mut channel = channel();
    let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let flags = EventFlags::IN | EventFlags::ET;
    epoll::add(&set, &channel, EventData::new_u64(7), flags).unwrap();
    let wait = |limit: Duration| {
        let mut events = Vec::with_capacity(4);
        let limit = Timespec::try_from(limit).unwrap();
        epoll::wait(&set, rustix::buffer::spare_capacity(&mut events), Some(&limit)).unwrap()
    };
    assert_eq!(wait(MOMENT), 0);
    for _ in 0..5 {
        channel.send(b"x", LIMIT).unwrap();
        assert_eq!(wait(LIMIT), 1);
        receive(&mut channel);
    }
}

// new: begin
#[test]
fn a_read_sleeps_until_there_is_a_message() {
    let mut channel = channel();
    let file = Device::from(channel.as_fd().try_clone_to_owned().unwrap());
    let reader = Worker::spawn(move || {
        let mut word = [0; 8];
        file.read(&mut word).map(|len| (len, u64::from_ne_bytes(word)))
    });
    reader.wait_until_asleep_in(Call::Read, LIMIT);
    channel.send(b"hello ring", LIMIT).unwrap();
    // A word for the length, and two for ten bytes.
    assert_eq!(reader.finish(LIMIT), Ok((8, 24)));
    assert_eq!(receive(&mut channel), b"hello ring");
}

// new: end
#[test]
fn a_read_that_sleeps_can_be_interrupted() {
    let _caught = Caught::new(Then::Fail).unwrap();
    let channel = channel();
    let file = Device::from(channel.as_fd().try_clone_to_owned().unwrap());
    let reader = Worker::spawn(move || file.read(&mut [0; 8]));
    reader.wait_until_asleep_in(Call::Read, LIMIT);
    signal::interrupt(reader.thread()).unwrap();
    assert_eq!(reader.finish(LIMIT), Err(Errno::INTR));
}

#[test]
fn memory_and_file_of_a_channel_go_separately() {
    let device = open(CHANNEL);
    let memory = options().map(&device, RINGS.len).unwrap();
    let mut producer = Producer::new(&memory, RINGS.to_kernel);
    let mut consumer = Consumer::new(&memory, RINGS.to_user);
    producer.push(b"last words").unwrap();
    assert!(producer.must_ring(), "the kernel sleeps from the start");
    ring(&device).unwrap();
    drop(device);
    // Nobody can ring any more, but the work that was begun is done, and the module is kept.
    let mut buffer = [0; MESSAGE_LIMIT];
    wait_until("it is back", || memory.load(TO_USER.0, Ordering::Acquire) != 0);
    assert_eq!(consumer.pop(&mut buffer), Ok(10));
    assert_eq!(&buffer[..10], b"last words");
    assert_eq!(unload_refused(), Some(Errno::AGAIN));
    drop(memory);
    reload();
}

#[test]
fn a_channel_is_closed_in_the_middle_of_its_work() {
    for _ in 0..50 {
        let channel = channel();
        let mut producer = Producer::new(channel.memory(), RINGS.to_kernel);
        while producer.push(&[7; 500]).is_ok() {}
        ring(&channel).unwrap();
        drop(channel);
    }
    reload();
}

// ---- A hostile peer -----------------------------------------------------------------------------

/// What somebody may put in place of a position, or of anything else.
fn nonsense(truth: u64) -> [u64; 10] {
    [
        truth.wrapping_sub(1),
        truth.wrapping_add(1),
        truth.wrapping_add(RING_WORDS as u64 + 1),
        truth.wrapping_sub(RING_WORDS as u64),
        1 << 31,
        u64::from(u32::MAX),
        1 << 32,
        1 << 63,
        u64::MAX,
        0xaaaa_aaaa_aaaa_aaaa,
    ]
}

// new: begin
/// Whether the kernel takes what is in the memory for nonsense.
fn is_broken(file: impl AsFd) -> bool {
    ready(file).contains(PollFlags::ERR)
}

// new: end
/// A channel through which three messages went, with another on its way back.
fn used_channel() -> (Channel, Device) {
    let mut channel = channel();
    for _ in 0..3 {
        exchange(&mut channel, b"hello ring");
    }
    channel.send(b"waiting", LIMIT).unwrap();
    wait_until("it is back", || ready(&channel).contains(PollFlags::IN));
    // The kernel is done with it, and sleeps.
    wait_until("it sleeps", || channel.memory().load(TO_KERNEL.0 + 9, Ordering::Relaxed) == 1);
    let file = channel.as_fd().try_clone_to_owned().unwrap();
    (channel, file.into())
}

/// Every word of control, with every nonsense. The kernel either finds it out or is not concerned: it never
/// sends what was not sent, and others do not notice.
#[test]
fn no_word_of_control_harms_the_kernel() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let mut bystander = channel();
    let (mut broke, mut passed) = (0, 0);
    for at in 0..32 {
        for value in nonsense(11) {
            let (channel, file) = used_channel();
            let truth = channel.memory().load(at, Ordering::Relaxed);
            channel.memory().store(at, value, Ordering::Release);
            let rung = ring(&file);
            let position = [TO_KERNEL.0, TO_USER.0 + 8].contains(&at);
            let mut word = [0; 8];
            if rung == Err(Errno::PROTO) || is_broken(&file) {
                assert!(position, "word {at} with {value:#x}: the kernel must not read it");
                assert!(file.read(&mut word).is_err(), "word {at} with {value:#x}");
                broke += 1;
            } else {
                // What the kernel does not read, or what could be true, changes nothing for it.
                assert_eq!(rung, Ok(8), "word {at} with {value:#x}");
                assert_eq!(file.read(&mut word), Ok(8), "word {at} with {value:#x}");
                passed += 1;
            }
            let possible = value == truth || (position && value.wrapping_sub(truth) <= 2);
            if position && !possible {
                wait_until("the kernel finds it out", || {
                    let _ = ring(&file);
                    is_broken(&file)
                });
            }
        }
        assert_eq!(exchange(&mut bystander, b"still here"), b"still here");
    }
    println!("{broke} were found out, {passed} did not concern the kernel");
    assert!(broke >= 14, "{broke}");
}

// new: begin
#[test]
fn no_length_of_a_message_harms_the_kernel() {
    for len in [MESSAGE_LIMIT as u64 + 1, 1 << 16, 1 << 32, 1 << 63, u64::MAX, 9] {
        let channel = channel();
        let memory = channel.memory();
        memory.store(TO_KERNEL.1, len, Ordering::Relaxed);
        // Two words: a length, and up to 8 bytes.
        memory.store(TO_KERNEL.0, 2, Ordering::Release);
        let rung = ring(&channel);
        assert!(matches!(rung, Ok(8) | Err(Errno::PROTO)), "{rung:?}");
        wait_until("the kernel finds it out", || ring(&channel) == Err(Errno::PROTO));
        memory.store(TO_KERNEL.1, 8, Ordering::Release);
        assert_eq!(ring(&channel), Err(Errno::PROTO), "{len}: and does not forget");
        assert!(is_broken(&channel));
        assert_eq!(memory.load(TO_USER.0, Ordering::Acquire), 0, "nothing was sent back");
    }
}

// new: end
#[test]
fn who_sleeps_is_told_that_the_ring_is_broken() {
    let (channel, other) = (channel(), channel());
    let twin = |channel: &Channel| Device::from(channel.as_fd().try_clone_to_owned().unwrap());
    let (reading, polling) = (twin(&channel), twin(&other));
    let reader = Worker::spawn(move || reading.read(&mut [0; 8]));
    let poller = Worker::spawn(move || {
        let mut fds = [PollFd::new(&polling, PollFlags::IN)];
        rustix::event::poll(&mut fds, None).map(|_| fds[0].revents())
    });
    reader.wait_until_asleep_in(Call::Read, LIMIT);
    poller.wait_until_asleep_in(Call::Poll, LIMIT);
    // A position of the ring that the sleepers wait for, and of the other one.
    channel.memory().store(TO_USER.0 + 8, 1 << 40, Ordering::Release);
    other.memory().store(TO_KERNEL.0, 1 << 40, Ordering::Release);
    let _ = ring(&other);
    assert_eq!(poller.finish(LIMIT), Ok(PollFlags::ERR));
    let mut producer = Producer::new(channel.memory(), RINGS.to_kernel);
    producer.push(b"to find it out").unwrap();
    let _ = ring(&channel);
    assert_eq!(reader.finish(LIMIT), Err(Errno::PROTO));
}

#[test]
fn the_program_does_not_believe_the_memory_either() {
    let lie = |channel: &Channel, at: usize| {
        channel.memory().store(at, 1 << 40, Ordering::Release);
    };
    // It looks when it knows of no more room.
    let mut full = channel();
    exchange(&mut full, b"x");
    fill(&mut full);
    lie(&full, TO_KERNEL.0 + 8);
    let refused = full.send(&[7; MESSAGE_LIMIT], LIMIT);
    assert!(matches!(refused, Err(Error::Broken)), "{refused:?}");
    let mut empty = channel();
    exchange(&mut empty, b"x");
    lie(&empty, TO_USER.0);
    let refused = empty.receive(&mut [0; MESSAGE_LIMIT], LIMIT);
    assert!(matches!(refused, Err(Error::Broken)), "{refused:?}");
}

/// One thread writes numbers at random over the memory while others use the channel.
#[test]
fn memory_that_changes_at_any_moment_harms_nobody() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut bystander = channel();
    for round in 0..40 {
        let channel = channel();
        let memory = channel.memory();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let mut random = Random(random.next());
            let done = &done;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let value = match random.below(3) {
                        0 => random.next(),
                        1 => random.next() % (2 * RING_WORDS as u64),
                        _ => random.next() % 600,
                    };
                    // Most often the words of control, and the lengths of the first messages.
                    let at = match random.below(4) {
                        0 => random.below(CHANNEL_PAGES * PAGE_WORDS),
                        1 => TO_KERNEL.1 + random.below(64),
                        _ => random.below(32),
                    };
                    // In the first rounds nothing is broken before something has gone wrong.
                    let at = if round % 2 == 0 && at < 32 { TO_KERNEL.1 + at } else { at };
                    memory.store(at, value, Ordering::Release);
                }
            });
            let mut producer = Producer::new(memory, RINGS.to_kernel);
            let mut consumer = Consumer::new(memory, RINGS.to_user);
            let mut buffer = [0; MESSAGE_LIMIT];
            for len in 0..200 {
                let _ = producer.push(&vec![7; len]);
                let _ = ring(&channel);
                let _ = ready(&channel);
                let _ = consumer.pop(&mut buffer);
            }
            done.store(true, Ordering::Relaxed);
        });
        drop(channel);
        assert_eq!(exchange(&mut bystander, b"still here"), b"still here", "round {round}");
    }
}

// ---- Bad input ----------------------------------------------------------------------------------

#[test]
fn bad_mappings_are_refused() {
    let mut table = Refusals::new();
    let opened = |path: &str, read, write| {
        Device::options().read(read).write(write).open(path).unwrap()
    };
    for path in [EXAMPLE, SHARED, STATUS, CHANNEL] {
        let file = open(path);
        let mut refuse = |what: &str, errno, len, protection, flags, offset| {
            let result = try_map_as(&file, len, protection, flags, offset);
            table.case(&format!("{path}: {what}"), errno, result);
        };
        refuse("nothing", Errno::INVAL, 0, READ, MAP_SHARED, 0);
        refuse("half a page in", Errno::INVAL, PAGE_SIZE, READ, MAP_SHARED, 2048);
        refuse("an odd offset", Errno::INVAL, PAGE_SIZE, READ, MAP_SHARED, 1);
        refuse("before the start", Errno::INVAL, PAGE_SIZE, READ, MAP_SHARED, -1);
        refuse("neither shared nor private", Errno::INVAL, PAGE_SIZE, READ, 0, 0);
        refuse("too much", Errno::NOMEM, usize::MAX - PAGE_SIZE, READ, MAP_SHARED, 0);
        refuse("half the address space", Errno::NOMEM, 1 << 62, READ, MAP_SHARED, 0);
        refuse("code", Errno::ACCESS, PAGE_SIZE, READ | EXEC, MAP_SHARED, 0);
        refuse("private code", Errno::ACCESS, PAGE_SIZE, READ | EXEC, MAP_PRIVATE, 0);
        let flags = MAP_SHARED_VALIDATE | MAP_SYNC;
        refuse("as persistent memory", Errno::OPNOTSUPP, PAGE_SIZE, READ, flags, 0);

        let mut page = options().view(&file, PAGE_SIZE).unwrap();
        let how = MprotectFlags::READ | MprotectFlags::EXEC;
        table.case(&format!("{path}: made code"), Errno::ACCESS, page.may_be(how));
        let dump = page.advise(Advice::LinuxDoDump);
        table.case(&format!("{path}: to be dumped"), Errno::INVAL, dump);

        let writing = opened(path, false, true);
        let result = try_map_as(&writing, PAGE_SIZE, READ, MAP_SHARED, 0);
        table.case(&format!("{path}: open for writing only"), Errno::ACCESS, result);
        let result = try_map_as(&writing, PAGE_SIZE, WRITE, MAP_PRIVATE, 0);
        table.case(&format!("{path}: write-only, private"), Errno::ACCESS, result);
        let reading = opened(path, true, false);
        let result = try_map_as(&reading, PAGE_SIZE, READ | WRITE, MAP_SHARED, 0);
        table.case(&format!("{path}: open for reading only"), Errno::ACCESS, result);
        let mut page = options().view(&reading, PAGE_SIZE).unwrap();
        let how = MprotectFlags::READ | MprotectFlags::WRITE;
        table.case(&format!("{path}: made writable"), Errno::ACCESS, page.may_be(how));
    }
    for (path, pages) in [(STATUS, 1), (CHANNEL, CHANNEL_PAGES)] {
        let file = open(path);
        let mut refuse = |what: &str, pages: usize, offset: usize| {
            let offset = i64::try_from(offset * PAGE_SIZE).unwrap();
            let result = try_map_as(&file, pages * PAGE_SIZE, READ, MAP_SHARED, offset);
            table.case(&format!("{path}: {what}"), Errno::NXIO, result);
        };
        refuse("a page too many", pages + 1, 0);
        refuse("one page further", pages, 1);
        refuse("behind the end", 1, pages);
        refuse("far behind the end", 1, 1 << 40);
        refuse("at the very last page", 1, (1 << 51) - 1);
    }
    table.finish();
}

// new: begin
#[test]
fn bad_calls_are_refused() {
    let mut table = Refusals::new();
    let channel = open(CHANNEL);
    for len in [0, 1, 7, 9, 16, 4096] {
        table.case(&format!("ring with {len} bytes"), Errno::INVAL, channel.write(&vec![1; len]));
    }
    for value in [0, 2, 1 << 32, 1 << 56, u64::MAX] {
        let bytes = value.to_ne_bytes();
        table.case(&format!("ring with {value:#x}"), Errno::INVAL, channel.write(&bytes));
    }
    for hole in Hole::ALL.into_iter().filter(|hole| *hole != Hole::ReadOnly) {
        table.case(&format!("ring from {hole:?}"), Errno::FAULT, hole.write(&channel, 8));
    }
    table.case("ring from read-only zeroes", Errno::INVAL, Hole::ReadOnly.write(&channel, 8));
    let half = Guarded::holding(&RING.to_ne_bytes()[..4]).unwrap();
    table.case("ring from half a word", Errno::FAULT, half.write(&channel, 8));
    for len in [0, 1, 7] {
        let result = channel.read(&mut vec![0; len]);
        table.case(&format!("read to {len} bytes"), Errno::INVAL, result);
    }
    let nonblocking = Device::options().read(true).write(true).nonblocking().open(CHANNEL).unwrap();
    table.case("read nothing", Errno::AGAIN, nonblocking.read(&mut [0; 8]));

    // new: end
    let (full, file) = used_channel();
    for hole in Hole::ALL {
        table.case(&format!("read to {hole:?}"), Errno::FAULT, hole.read(&file, 8));
    }
    let mut half = Guarded::new(4).unwrap();
    table.case("read to half a word", Errno::FAULT, half.read(&file, 8));
    drop(full);

    for (path, device) in [SHARED, STATUS].map(|path| (path, open(path))) {
        table.case(&format!("read {path}"), Errno::INVAL, device.read(&mut [0; 8]));
        table.case(&format!("write {path}"), Errno::INVAL, device.write(&[0; 8]));
    }
    for path in [SHARED, STATUS, CHANNEL] {
        let device = open(path);
        table.case(&format!("seek {path}"), Errno::SPIPE, device.seek(SeekFrom::Start(0)));
        table.case(&format!("pread {path}"), Errno::SPIPE, device.pread(&mut [0; 8], 0));
        table.case(&format!("ftruncate {path}"), Errno::INVAL, rustix::fs::ftruncate(&device, 0));
        table.case(&format!("fsync {path}"), Errno::INVAL, rustix::fs::fsync(&device));
    }
    let page = open(EXAMPLE);
    table.case("write the page", Errno::INVAL, page.write(b"x"));
    for to in [SeekFrom::Start(4097), SeekFrom::Current(-1), SeekFrom::End(1)] {
        table.case(&format!("seek {to:?}"), Errno::INVAL, page.seek(to));
    }
    for hole in Hole::ALL {
        table.case(&format!("read the page to {hole:?}"), Errno::FAULT, hole.read(&page, 8));
    }
    let reading = Device::options().read(true).open(CHANNEL).unwrap();
    table.case("ring, open for reading", Errno::BADF, ring(&reading));
    let writing = Device::options().write(true).open(CHANNEL).unwrap();
    table.case("read, open for writing", Errno::BADF, writing.read(&mut [0; 8]));
    let path = OFlags::PATH;
    let path = Device::options().with(path).open(format!("/dev/{}", super::abi::CHANNEL)).unwrap();
    table.case("map a mere path", Errno::BADF, try_map(&path));
    for path in [SHARED, EXAMPLE] {
        table.case(&format!("{path} by a stranger"), Errno::ACCESS, open_unprivileged(path));
    }
    // new: begin
    table.case("opened by a stranger", Errno::ACCESS, open_unprivileged(CHANNEL));
    table.finish();

    // new: end
    assert_eq!(open_unprivileged_for_reading(STATUS), Ok(()), "all may see the counters");
    // new: begin
    let mut channel = self::channel();
    assert_eq!(exchange(&mut channel, b"fine"), b"fine", "and nothing has changed");
}

// new: end
#[test]
fn the_nodes_have_the_modes_that_they_should() {
    for (path, mode) in [(SHARED, MODE), (STATUS, STATUS_MODE), (CHANNEL, MODE)] {
        let stat = fs::metadata(path).unwrap();
        assert_eq!((stat.mode() & 0o7777, stat.uid()), (u32::from(mode), 0), "{path}");
    }
}

// new: begin
fn open_unprivileged(path: &'static str) -> Result<(), Errno> {
    as_nobody(move || {
        Device::open(path).map(drop).map_err(|error| error.errno().unwrap())
    })
}

// new: end
fn open_unprivileged_for_reading(path: &'static str) -> Result<(), Errno> {
    as_nobody(move || {
        let device = Device::options().read(true).open(path);
        let device = device.map_err(|error| error.errno().unwrap())?;
        errno(options().view(device, PAGE_SIZE)).map(drop)
    })
}

// ---- Faults, loading and unloading --------------------------------------------------------------

#[test]
fn no_memory_is_an_errno() {
    let _watchdog = Watchdog::new(TOO_LONG);
    for (path, pages) in [(EXAMPLE, 1), (SHARED, SHARED_PAGES), (CHANNEL, CHANNEL_PAGES)] {
        at_each_place(
            || {
                let device = Device::open(path).map_err(|error| error.errno().unwrap())?;
                errno(options().map(device, pages * PAGE_SIZE)).map(drop)
            },
            |place, result| {
                // The path is copied as well, and that may fail, too.
                let expected = matches!(result, Ok(()) | Err(Errno::NOMEM | Errno::FAULT));
                assert!(expected, "{place}: {result:?}");
            },
        );
    }
    assert_eq!(exchange(&mut channel(), b"fine"), b"fine");
}

#[test]
fn loading_fails_cleanly_wherever_memory_runs_out() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let mut loaded = 0;
    module::unload(MODULE).unwrap();
    at_last_places(
        60,
        || module::load(MODULE_FILE, "").map_err(|error| error.errno()),
        |place, result| match result {
            // debugfs ignores it, as does what the kernel only announces.
            Ok(()) => {
                loaded += 1;
                module::unload(MODULE).unwrap();
            }
            Err(errno) => assert_eq!(errno, Some(Errno::NOMEM), "{place}"),
        },
    );
    module::load(MODULE_FILE, "").unwrap();
    assert_eq!(exchange(&mut channel(), b"fine"), b"fine", "{loaded} of them loaded");
}

#[test]
fn an_open_file_keeps_the_module_loaded() {
    for path in [EXAMPLE, SHARED, STATUS, CHANNEL] {
        let device = open(path);
        assert_eq!(unload_refused(), Some(Errno::AGAIN), "{path}");
        drop(device);
        reload();
    }
}

// new: begin
#[test]
fn a_mapping_keeps_the_module_loaded() {
    for path in [
        // new: end
        EXAMPLE,
        SHARED,
        // new: begin
        STATUS,
        CHANNEL,
    ] {
        let memory = view(path, 1);
        assert_eq!(unload_refused(), Some(Errno::AGAIN), "{path}");
        let _ = memory.load(0, Ordering::Relaxed);
        assert_eq!(unload_refused(), Some(Errno::AGAIN), "{path}");
        drop(memory);
        reload();
    }
}

// new: end
#[test]
fn a_sleeping_reader_keeps_the_module_loaded() {
    let mut channel = channel();
    let file = Device::from(channel.as_fd().try_clone_to_owned().unwrap());
    let reader = Worker::spawn(move || file.read(&mut [0; 8]));
    reader.wait_until_asleep_in(Call::Read, LIMIT);
    assert_eq!(unload_refused(), Some(Errno::AGAIN));
    channel.send(b"x", LIMIT).unwrap();
    assert_eq!(reader.finish(LIMIT), Ok(8));
}

#[test]
fn unloading_takes_all_of_it_away() {
    module::unload(MODULE).unwrap();
    for path in [EXAMPLE, SHARED, STATUS, CHANNEL] {
        assert!(!Path::new(path).exists(), "{path}");
    }
    module::load(MODULE_FILE, "").unwrap();
    for path in [EXAMPLE, SHARED, STATUS, CHANNEL] {
        assert!(Path::new(path).exists(), "{path}");
    }
}

#[test]
fn loading_twice_is_refused_and_harmless() {
    let refused = module::load(MODULE_FILE, "").map_err(|error| error.errno());
    assert_eq!(refused, Err(Some(Errno::EXIST)));
    assert_eq!(exchange(&mut channel(), b"unimpressed"), b"unimpressed");
}

/// What a use came to: whoever is there when the module is not finds no file, or a file that cannot be
/// opened. Then there is a moment without, or the module would be in use all the time.
fn used<T>(result: Result<T, Error>) -> Use {
    thread::sleep(Duration::from_millis(4));
    match result {
        Ok(_) => Use::Reached,
        Err(error) => match error.errno() {
            Some(Errno::NOENT | Errno::NXIO | Errno::NODEV) => Use::Missed,
            _ => panic!("{error}"),
        },
    }
}

fn try_open(path: &str) -> Result<Device, Error> {
    let what = format!("open {path}");
    Device::open(path).map_err(|error| Error::Refused { what, errno: error.errno().unwrap() })
}

/// Maps a file, and touches its pages when its descriptor is closed already.
fn touch(path: &str, pages: usize) -> Result<u64, Error> {
    let memory = options().private().map(try_open(path)?, pages * PAGE_SIZE)?;
    Ok((0..pages).map(|page| get(&memory, page * PAGE_WORDS)).sum())
}

fn talk() -> Result<(), Error> {
    let mut channel = Channel::open(CHANNEL, RINGS)?;
    for message in [&b"one"[..], b"two", b"three"] {
        channel.send(message, LIMIT)?;
    }
    let mut buffer = [0; MESSAGE_LIMIT];
    channel.receive(&mut buffer, LIMIT)?;
    assert_eq!(&buffer[..3], b"one");
    // It is closed with messages still on their way.
    Ok(())
}

fn unload_from_under(users: &[&(dyn Fn() -> Use + Sync)]) {
    let _watchdog = Watchdog::new(TOO_LONG);
    while_used(MODULE, MODULE_FILE, TOO_LONG, users);
}

#[test]
fn it_unloads_when_nobody_is_there() {
    unload_from_under(&[]);
}

#[test]
fn it_unloads_from_under_who_maps_a_page_of_his_own() {
    let user = || used(touch(EXAMPLE, 1));
    unload_from_under(&[&user, &user]);
}

#[test]
fn it_unloads_from_under_who_maps_what_is_shared() {
    let shared = || used(touch(SHARED, SHARED_PAGES));
    let status = || used(touch(STATUS, 1));
    unload_from_under(&[&shared, &status]);
}

#[test]
fn it_unloads_from_under_who_talks_to_it() {
    let user = || used(talk());
    unload_from_under(&[&user, &user]);
}

#[test]
fn it_unloads_from_under_all_at_once() {
    let page = || used(touch(EXAMPLE, 1));
    let shared = || used(touch(SHARED, SHARED_PAGES));
    let talker = || used(talk());
    unload_from_under(&[&page, &shared, &talker]);
}
