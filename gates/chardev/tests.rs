// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a user of the two character devices can rely on, tried through their nodes.
//!
//! These run in the lab's VM as root, each in a process of its own, with the module loaded.

// new: begin
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{IoSlice, IoSliceMut, SeekFrom};
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use callgate::Errno;
use callgate::chardev::{self, Device};
// new: end
use callgate::ioctl::{Buffer, Target};
// new: begin
use callgate::kmsg::Log;
use callgate::module;
use callgate::testing::Refusals;
use callgate::testing::inspect::{self, Call};
use callgate::testing::memory::{self, Guarded, Hole};
use callgate::testing::signal::{self, Caught, Then};
use callgate::testing::worker::{Watchdog, Worker};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::process::{Gid, Pid, Uid};

use super::abi::{
    DRIVER, HOWTO_MINOR, HOWTO_NODE, MESSAGE_CAPACITY, PIPE_CAPACITY, PIPE_MODE, PIPE_NAME,
    PIPE_NODE,
};

/// Every wait ends here at the latest; it is generous, because an emulated debug kernel is slow.
const LIMIT: Duration = Duration::from_secs(30);

/// A test that takes longer than this has lost its way.
const TOO_LONG: Duration = Duration::from_secs(160);

/// How long to watch for what must not happen.
const MOMENT: Duration = Duration::from_millis(30);

const MODULE: &str = "callgate_chardev";
// new: end
const MODULE_FILE: &str = "/modules/callgate_chardev.ko";

/// The longest message: one byte is kept for a NUL.
const LONGEST: usize = MESSAGE_CAPACITY - 1;

// ---- The HOWTO's device -------------------------------------------------------------------------

/// The HOWTO's device, open, with its node, which goes when this does.
struct Howto(Device, #[expect(dead_code, reason = "only to be dropped")] Watchdog);

impl Howto {
    fn new() -> Self {
        make_howto_node(0o600);
        Self(Device::open(HOWTO_NODE).unwrap(), Watchdog::new(TOO_LONG))
    }

    /// With `message` in it, and nothing read yet.
    fn holding(message: &[u8]) -> Self {
        let howto = Self::new();
        assert_eq!(howto.write(message), Ok(message.len()));
        assert_eq!(howto.seek(SeekFrom::Start(0)), Ok(0));
        howto
    }

    /// The whole message, without moving the position.
    fn message(&self) -> Vec<u8> {
        let mut bytes = [0xaa; MESSAGE_CAPACITY + 56];
        let len = self.pread(&mut bytes, 0).unwrap();
        assert!(bytes[len..].iter().all(|byte| *byte == 0xaa), "bytes beyond the count changed");
        bytes[..len].to_vec()
    }
}

impl Deref for Howto {
    type Target = Device;

    fn deref(&self) -> &Device {
        &self.0
    }
}

impl Drop for Howto {
    fn drop(&mut self) {
        let _ = chardev::remove_node(HOWTO_NODE);
    }
}

fn make_howto_node(mode: u32) {
    chardev::make_node(HOWTO_NODE, chardev::major(DRIVER).unwrap(), HOWTO_MINOR, mode).unwrap();
}

// new: begin
/// What one read of up to `len` bytes gives.
fn read(device: &Device, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    let len = device.read(&mut bytes)?;
    bytes.truncate(len);
    Ok(bytes)
}

// new: end
fn position(device: &Device) -> u64 {
    device.seek(SeekFrom::Current(0)).unwrap()
}

/// Unloads the module and loads it again: everything it holds is new.
fn reload() {
    module::unload(MODULE).unwrap();
    module::load(MODULE_FILE, "").unwrap();
}

#[test]
fn the_driver_has_a_major_that_the_kernel_chose() {
    let major = chardev::major(DRIVER).unwrap();
    assert!(
        (234..=254).contains(&major) || (384..=511).contains(&major),
        "{major} is not from the kernel's dynamic range"
    );
}

#[test]
fn loading_logs_how_to_make_the_node() {
    let mut log = Log::from_now().unwrap();
    reload();
    let major = chardev::major(DRIVER).unwrap();
    for line in [
        format!("cdev example: assigned major: {major}"),
        format!("create node with mknod /dev/cdev_example c {major} 0"),
    ] {
        assert!(log.wait_for(&line, LIMIT).unwrap(), "{line}");
    }
}

#[test]
fn a_message_written_is_read_back() {
    let howto = Howto::new();
    assert_eq!(howto.write(b"hello world"), Ok(11));
    assert_eq!(read(&howto, MESSAGE_CAPACITY).unwrap(), b"hello world");
    assert_eq!(read(&howto, MESSAGE_CAPACITY).unwrap(), b"");
}

#[test]
fn a_device_just_loaded_is_empty() {
    reload();
    let howto = Howto::new();
    assert_eq!(read(&howto, MESSAGE_CAPACITY).unwrap(), b"");
    assert_eq!(howto.seek(SeekFrom::End(0)), Ok(0));
}

#[test]
fn the_message_outlives_who_wrote_it() {
    drop(Howto::holding(b"left behind"));
    assert_eq!(Howto::new().message(), b"left behind");
}

#[test]
fn the_driver_has_one_minor_only() {
    let _howto = Howto::new();
    let major = chardev::major(DRIVER).unwrap();
    for minor in [1, 2, 255, (1 << 20) - 1] {
        let node = "/dev/callgate_test_minor";
        chardev::make_node(node, major, minor, 0o600).unwrap();
        let opened = Device::open(node).map(drop).map_err(|error| error.errno());
        chardev::remove_node(node).unwrap();
        assert_eq!(opened, Err(Some(Errno::NXIO)), "minor {minor}");
    }
}

#[test]
fn a_node_with_an_old_major_is_made_anew() {
    chardev::make_node(HOWTO_NODE, 1, 3, 0o666).unwrap();
    let howto = Howto::holding(b"no longer /dev/null");
    assert_eq!(howto.message(), b"no longer /dev/null");
    let metadata = fs::metadata(HOWTO_NODE).unwrap();
    let number = rustix::fs::makedev(chardev::major(DRIVER).unwrap(), HOWTO_MINOR);
    assert_eq!((metadata.rdev(), metadata.mode() & 0o7777), (number, 0o600));
}

#[test]
fn the_longest_message_fits_and_one_byte_more_changes_nothing() {
    let longest = [b'x'; LONGEST];
    let howto = Howto::holding(&longest);
    assert_eq!(howto.message(), longest);
    for len in [MESSAGE_CAPACITY, MESSAGE_CAPACITY + 1, 4096, 1 << 20] {
        assert_eq!(howto.write(&vec![b'y'; len]), Err(Errno::INVAL), "{len} bytes");
        assert_eq!(howto.message(), longest, "{len} bytes");
    }
}

#[test]
fn every_byte_value_survives() {
    let bytes: Vec<u8> = (0..=255).collect();
    for part in [&bytes[..128], &bytes[128..]] {
        assert_eq!(Howto::holding(part).message(), part);
    }
}

#[test]
fn every_length_survives() {
    let howto = Howto::new();
    for len in 1..=LONGEST {
        let message = vec![u8::try_from(len).unwrap(); len];
        assert_eq!(howto.write(&message), Ok(len));
        assert_eq!(howto.message(), message, "{len} bytes");
    }
}

#[test]
fn writing_nothing_changes_nothing() {
    let howto = Howto::holding(b"still here");
    assert_eq!(read(&howto, 3).unwrap(), b"sti");
    assert_eq!(howto.write(b""), Ok(0));
    assert_eq!(howto.message(), b"still here");
    assert_eq!(position(&howto), 3);
}

#[test]
fn a_write_replaces_the_whole_message_wherever_the_position_is() {
    let howto = Howto::holding(b"a rather long message");
    assert_eq!(howto.seek(SeekFrom::Start(9)), Ok(9));
    assert_eq!(howto.write(b"short"), Ok(5));
    assert_eq!(howto.message(), b"short");
    assert_eq!(position(&howto), 0);
    assert_eq!(read(&howto, 99).unwrap(), b"short");
    assert_eq!(howto.write(b"again"), Ok(5));
    assert_eq!(read(&howto, 99).unwrap(), b"again");
}

#[test]
fn a_positioned_write_replaces_the_message_and_keeps_the_position() {
    let howto = Howto::holding(b"a rather long message");
    assert_eq!(howto.seek(SeekFrom::Start(2)), Ok(2));
    for offset in [0, 5, 199, 1 << 40] {
        let message = format!("written at {offset}");
        assert_eq!(howto.pwrite(message.as_bytes(), offset), Ok(message.len()));
        assert_eq!(howto.message(), message.as_bytes());
        assert_eq!(position(&howto), 2);
    }
}

#[test]
fn appending_replaces_the_message_too() {
    let howto = Howto::holding(b"first");
    let appending =
        Device::options().write(true).with(OFlags::APPEND).open(HOWTO_NODE).unwrap();
    assert_eq!(appending.write(b"second"), Ok(6));
    assert_eq!(howto.message(), b"second");
    assert_eq!(appending.write(b"third"), Ok(5));
    assert_eq!(howto.message(), b"third");
}

#[test]
fn a_shells_redirection_works() {
    let howto = Howto::holding(b"before");
    let redirected = Device::options()
        .write(true)
        .with(OFlags::CREATE | OFlags::TRUNC)
        .open(HOWTO_NODE)
        .unwrap();
    assert_eq!(howto.message(), b"before", "opening with O_TRUNC does not touch a device");
    assert_eq!(redirected.write(b"after\n"), Ok(6));
    assert_eq!(fs::read(HOWTO_NODE).unwrap(), b"after\n");
}

#[test]
fn short_reads_go_on_where_the_last_one_ended() {
    let howto = Howto::holding(b"hello world");
    let mut parts = Vec::new();
    loop {
        let part = read(&howto, 4).unwrap();
        if part.is_empty() {
            break;
        }
        parts.push(part);
    }
    assert_eq!(parts, [&b"hell"[..], b"o wo", b"rld"]);
    assert_eq!(position(&howto), 11);
    assert_eq!(read(&howto, 0).unwrap(), b"");
}

#[test]
fn each_open_file_has_a_position_of_its_own() {
    let howto = Howto::holding(b"hello world");
    let other = Device::open(HOWTO_NODE).unwrap();
    assert_eq!(read(&howto, 6).unwrap(), b"hello ");
    assert_eq!(read(&other, 5).unwrap(), b"hello");
    assert_eq!(read(&howto, 6).unwrap(), b"world");
    assert_eq!(read(&other, 6).unwrap(), b" world");
}

#[test]
fn duplicated_descriptors_share_one_position() {
    let howto = Howto::holding(b"hello world");
    let twin = howto.try_clone().unwrap();
    assert_eq!(read(&howto, 6).unwrap(), b"hello ");
    assert_eq!(position(&twin), 6);
    assert_eq!(read(&twin, 6).unwrap(), b"world");
    assert_eq!(position(&howto), 11);
    drop(twin);
    assert_eq!(howto.seek(SeekFrom::Start(0)), Ok(0));
    assert_eq!(read(&howto, 5).unwrap(), b"hello");
}

#[test]
fn a_child_process_shares_the_position() {
    const NAME: &str = "a_child_process_shares_the_position";
    if is_child() {
        let mut bytes = [0; 6];
        assert_eq!(rustix::io::read(std::io::stdin(), &mut bytes), Ok(6));
        assert_eq!(&bytes, b"hello ");
        return;
    }
    let howto = Howto::holding(b"hello world");
    let child = start_child(NAME, howto.try_clone().unwrap());
    assert!(wait_for_child(child).success());
    assert_eq!(position(&howto), 6);
    assert_eq!(read(&howto, 6).unwrap(), b"world");
}

#[test]
fn positioned_reads_leave_the_position_alone() {
    let howto = Howto::holding(b"hello world");
    assert_eq!(howto.seek(SeekFrom::Start(2)), Ok(2));
    for (offset, expected) in
        [(0, &b"hello"[..]), (6, b"world"), (10, b"d"), (11, b""), (12, b""), (1 << 40, b"")]
    {
        let mut bytes = [0; 5];
        let len = howto.pread(&mut bytes, offset).unwrap();
        assert_eq!(&bytes[..len], expected, "at {offset}");
        assert_eq!(position(&howto), 2);
    }
}

#[test]
fn seeking_stays_within_the_message() {
    let howto = Howto::holding(b"hello world");
    for (from, to, then) in [
        (0, SeekFrom::Start(0), 0),
        (0, SeekFrom::Start(11), 11),
        (5, SeekFrom::Start(3), 3),
        (5, SeekFrom::Current(0), 5),
        (5, SeekFrom::Current(6), 11),
        (5, SeekFrom::Current(-5), 0),
        (5, SeekFrom::End(0), 11),
        (5, SeekFrom::End(-1), 10),
        (5, SeekFrom::End(-11), 0),
    ] {
        assert_eq!(howto.seek(SeekFrom::Start(from)), Ok(from));
        assert_eq!(howto.seek(to), Ok(then), "{to:?} from {from}");
        let rest = &b"hello world"[usize::try_from(then).unwrap()..];
        assert_eq!(read(&howto, 99).unwrap(), rest, "{to:?} from {from}");
    }
}

#[test]
fn a_refused_seek_does_not_move() {
    let howto = Howto::holding(b"hello world");
    assert_eq!(howto.seek(SeekFrom::Start(4)), Ok(4));
    for to in [
        SeekFrom::Start(12),
        SeekFrom::Start(u64::MAX),
        SeekFrom::Current(8),
        SeekFrom::Current(-5),
        SeekFrom::Current(i64::MAX),
        SeekFrom::Current(i64::MIN),
        SeekFrom::End(1),
        SeekFrom::End(-12),
        SeekFrom::End(i64::MAX),
        SeekFrom::End(i64::MIN),
    ] {
        assert_eq!(howto.seek(to), Err(Errno::INVAL), "{to:?}");
        assert_eq!(position(&howto), 4, "{to:?}");
    }
}

#[test]
fn a_position_beyond_a_message_that_shrank_is_the_end() {
    let howto = Howto::holding(b"hello world");
    assert_eq!(howto.seek(SeekFrom::End(0)), Ok(11));
    assert_eq!(Device::open(HOWTO_NODE).unwrap().write(b"hi"), Ok(2));
    assert_eq!(read(&howto, 99).unwrap(), b"");
    assert_eq!(howto.seek(SeekFrom::Start(0)), Ok(0));
    assert_eq!(read(&howto, 99).unwrap(), b"hi");
}

#[test]
fn a_vectored_read_fills_one_buffer_after_the_other() {
    let howto = Howto::holding(b"hello world");
    let (mut first, mut second, mut third) = ([0; 6], [0; 3], [0; 9]);
    let mut vector = [&mut first[..], &mut second[..], &mut third[..]].map(IoSliceMut::new);
    assert_eq!(rustix::io::readv(&howto.0, &mut vector), Ok(11));
    assert_eq!((&first, &second, &third[..2]), (b"hello ", b"wor", &b"ld"[..]));
}

#[test]
fn a_vectored_write_is_one_message() {
    let howto = Howto::new();
    let vector = [&b"hello"[..], b"", b" ", b"world"].map(IoSlice::new);
    assert_eq!(rustix::io::writev(&howto.0, &vector), Ok(11));
    assert_eq!(howto.message(), b"hello world");
}

#[test]
fn a_vectored_write_that_is_too_long_changes_nothing() {
    let howto = Howto::holding(b"before");
    let vector = [&[b'x'; 150][..], &[b'y'; 50]].map(IoSlice::new);
    assert_eq!(rustix::io::writev(&howto.0, &vector), Err(Errno::INVAL));
    assert_eq!(howto.message(), b"before");
}

#[test]
fn a_message_that_faults_part_way_leaves_the_old_one() {
    let howto = Howto::holding(b"the old message");
    for mapped in [0, 1, 5, 10, 100] {
        let message = Guarded::holding(&vec![b'n'; mapped]).unwrap();
        assert_eq!(message.write(&*howto, mapped + 1), Err(Errno::FAULT), "{mapped} bytes there");
        assert_eq!(howto.message(), b"the old message", "{mapped} bytes there");
    }
    let whole = Guarded::holding(b"up to the last byte of a page").unwrap();
    assert_eq!(whole.write(&*howto, 29), Ok(29));
    assert_eq!(howto.message(), b"up to the last byte of a page");
}

#[test]
fn a_read_that_faults_at_once_says_so_and_does_not_move() {
    let howto = Howto::holding(b"hello world");
    assert_eq!(read(&howto, 6).unwrap(), b"hello ");
    for hole in Hole::ALL {
        assert_eq!(hole.read(&*howto, 5), Err(Errno::FAULT), "{hole:?}");
        assert_eq!(position(&howto), 6, "{hole:?}");
    }
    assert_eq!(read(&howto, 99).unwrap(), b"world");
}

#[test]
fn a_read_that_faults_part_way_moves_just_as_far_as_it_reports() {
    let howto = Howto::holding(b"hello world");
    for mapped in [1, 5, 10] {
        assert_eq!(howto.seek(SeekFrom::Start(0)), Ok(0));
        let mut buffer = Guarded::new(mapped).unwrap();
        let reported = match buffer.read(&*howto, 11) {
            Ok(0) => panic!("an end of file where there is none"),
            Ok(len) => len,
            Err(errno) => {
                assert_eq!(errno, Errno::FAULT);
                0
            }
        };
        assert!(reported <= mapped, "only {mapped} bytes fitted");
        assert_eq!(buffer.bytes()[..reported], b"hello world"[..reported]);
        assert_eq!(position(&howto), u64::try_from(reported).unwrap());
    }
    let mut exact = Guarded::new(11).unwrap();
    assert_eq!(howto.seek(SeekFrom::Start(0)), Ok(0));
    assert_eq!(exact.read(&*howto, 200), Ok(11));
    assert_eq!(exact.bytes(), b"hello world");
}

#[test]
fn readers_see_whole_messages_while_writers_replace_them() {
    let howto = Howto::holding(&[1; 1]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = 0_u32;
                    while !done.load(Ordering::Relaxed) || seen == 0 {
                        let message = howto.message();
                        // Message n is n bytes of value n.
                        let expected = vec![message[0]; usize::from(message[0])];
                        assert_eq!(message, expected);
                        seen += 1;
                    }
                })
            })
            .collect();
        let writers: Vec<_> = (0..2_u8)
            .map(|writer| {
                scope.spawn(move || {
                    let device = Device::open(HOWTO_NODE).unwrap();
                    for round in 0..1000_u32 {
                        let value = u8::try_from(round * 37 % 198).unwrap() + 1 + writer;
                        assert_eq!(
                            device.write(&vec![value; value.into()]),
                            Ok(usize::from(value))
                        );
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

#[test]
fn the_nodes_permissions_decide_who_may_open_the_howto_device() {
    let howto = Howto::new();
    assert_eq!(open_unprivileged(HOWTO_NODE), Err(Some(Errno::ACCESS)));
    make_howto_node(0o666);
    assert_eq!(open_unprivileged(HOWTO_NODE), Ok(()));
    drop(howto);
}

// ---- Today's device -----------------------------------------------------------------------------

// new: begin
/// The pipe, open and empty, and emptied again in the end.
struct Fifo(Device, #[expect(dead_code, reason = "only to be dropped")] Watchdog);

impl Fifo {
    fn new() -> Self {
        drain();
        Self(Device::open(PIPE_NODE).unwrap(), Watchdog::new(TOO_LONG))
    }

    /// With as many bytes in it as fit.
    fn full() -> Self {
        let fifo = Self::new();
        assert_eq!(fifo.write(&[b'f'; PIPE_CAPACITY]), Ok(PIPE_CAPACITY));
        fifo
    }
}

impl Deref for Fifo {
    type Target = Device;

    fn deref(&self) -> &Device {
        &self.0
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        drain();
    }
}

fn drain() {
    let device = Device::options().read(true).nonblocking().open(PIPE_NODE).unwrap();
    while device.read(&mut [0; PIPE_CAPACITY]).is_ok() {}
}

/// Another open file of the pipe, which does not wait.
fn nonblocking() -> Device {
    Device::options().read(true).write(true).nonblocking().open(PIPE_NODE).unwrap()
}

/// Everything that is in the pipe.
fn contents() -> Vec<u8> {
    let device = nonblocking();
    let mut all = Vec::new();
    loop {
        match read(&device, PIPE_CAPACITY) {
            Ok(part) => {
                assert!(!part.is_empty(), "an empty read of a pipe that has no end");
                all.extend(part);
            }
            Err(errno) => {
                assert_eq!(errno, Errno::AGAIN);
                return all;
            }
        }
    }
}

/// `len` bytes in which no short stretch comes twice soon.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| u8::try_from((n * 7 + n / 251) % 251).unwrap()).collect()
}

fn write_all(device: &Device, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let written = device.write(bytes).unwrap();
        assert!(written > 0, "a write of {} bytes that wrote none", bytes.len());
        bytes = &bytes[written..];
    }
}

fn poll(device: &Device) -> PollFlags {
    let mut fds = [PollFd::new(device, PollFlags::IN | PollFlags::OUT)];
    rustix::event::poll(&mut fds, Some(&Timespec::default())).unwrap();
    fds[0].revents()
}

// new: end
fn counters(device: &Device) -> (u64, u64) {
    let count = |field| inspect::fdinfo(device, field).unwrap().expect(field).parse().unwrap();
    (count("callgate_read"), count("callgate_written"))
}

// new: begin
/// A worker that sleeps in a read of up to `len` bytes.
fn sleeping_reader(len: usize) -> Worker<Result<Vec<u8>, Errno>> {
    let device = Device::open(PIPE_NODE).unwrap();
    let reader = Worker::spawn(move || read(&device, len));
    reader.wait_until_asleep_in(Call::Read, LIMIT);
    reader
}

/// A worker that sleeps in a write of `bytes`.
fn sleeping_writer(bytes: Vec<u8>) -> Worker<Result<usize, Errno>> {
    let device = Device::open(PIPE_NODE).unwrap();
    let writer = Worker::spawn(move || device.write(&bytes));
    writer.wait_until_asleep_in(Call::Write, LIMIT);
    writer
}

#[test]
fn the_node_appears_by_itself() {
    let metadata = fs::symlink_metadata(PIPE_NODE).unwrap();
    assert!(metadata.file_type().is_char_device());
    assert_eq!(metadata.mode() & 0o7777, u32::from(PIPE_MODE));
    assert_eq!((metadata.uid(), metadata.gid()), (0, 0));
    let number = fs::read_to_string(format!("/sys/class/misc/{PIPE_NAME}/dev")).unwrap();
    let (major, minor) =
        (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
    assert_eq!(number.trim(), format!("{major}:{minor}"));
    assert_eq!(major, 10, "a misc device has major 10");
}

// new: end
#[test]
fn bytes_come_out_in_the_order_they_went_in() {
    let fifo = Fifo::new();
    assert_eq!(fifo.write(b"hello "), Ok(6));
    assert_eq!(fifo.write(b"world"), Ok(5));
    assert_eq!(read(&fifo, 4).unwrap(), b"hell");
    assert_eq!(read(&fifo, 99).unwrap(), b"o world");
    assert_eq!(contents(), b"");
}

#[test]
fn every_byte_value_passes() {
    let fifo = Fifo::new();
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(fifo.write(&bytes), Ok(256));
    assert_eq!(read(&fifo, 999).unwrap(), bytes);
}

#[test]
fn all_who_open_it_share_one_queue() {
    let fifo = Fifo::new();
    let reader = Device::options().read(true).open(PIPE_NODE).unwrap();
    let writer = Device::options().write(true).open(PIPE_NODE).unwrap();
    assert_eq!(writer.write(b"across"), Ok(6));
    assert_eq!(read(&reader, 3).unwrap(), b"acr");
    assert_eq!(read(&fifo, 3).unwrap(), b"oss");
}

#[test]
fn bytes_wait_for_a_reader_that_comes_later() {
    drain();
    assert_eq!(Device::open(PIPE_NODE).unwrap().write(b"kept"), Ok(4));
    assert_eq!(contents(), b"kept");
}

// new: begin
#[test]
fn it_holds_its_capacity_and_not_a_byte_more() {
    let fifo = Fifo::full();
    assert_eq!(nonblocking().write(b"x"), Err(Errno::AGAIN));
    assert_eq!(read(&fifo, 1).unwrap(), b"f");
    assert_eq!(nonblocking().write(b"xy"), Ok(1));
    assert_eq!(nonblocking().write(b"y"), Err(Errno::AGAIN));
    let mut expected = vec![b'f'; PIPE_CAPACITY - 1];
    expected.push(b'x');
    assert_eq!(contents(), expected);
}

// new: end
#[test]
fn bytes_stay_in_order_at_every_offset() {
    let fifo = Fifo::new();
    let bytes = pattern(PIPE_CAPACITY);
    for step in [1, 511, 1024, 2047, 4095] {
        for _ in 0..9 {
            assert_eq!(fifo.write(&bytes[..step]), Ok(step));
            assert_eq!(read(&fifo, PIPE_CAPACITY).unwrap(), &bytes[..step]);
            assert_eq!(fifo.write(&bytes), Ok(PIPE_CAPACITY));
            assert_eq!(contents(), bytes);
        }
    }
}

// new: begin
#[test]
fn without_waiting_an_empty_device_says_again() {
    let _fifo = Fifo::new();
    assert_eq!(read(&nonblocking(), 1), Err(Errno::AGAIN));
}

// new: end
#[test]
fn without_waiting_a_write_takes_what_fits() {
    let _fifo = Fifo::new();
    let bytes = pattern(PIPE_CAPACITY + 100);
    let device = nonblocking();
    assert_eq!(device.write(&bytes[..100]), Ok(100));
    assert_eq!(device.write(&bytes[100..]), Ok(PIPE_CAPACITY - 100));
    assert_eq!(device.write(b"x"), Err(Errno::AGAIN));
    assert_eq!(contents(), bytes[..PIPE_CAPACITY]);
}

#[test]
fn waiting_can_be_switched_off_and_on_while_open() {
    let fifo = Fifo::new();
    let flags = rustix::fs::fcntl_getfl(&fifo.0).unwrap();
    rustix::fs::fcntl_setfl(&fifo.0, flags | OFlags::NONBLOCK).unwrap();
    assert_eq!(read(&fifo, 1), Err(Errno::AGAIN));
    rustix::fs::fcntl_setfl(&fifo.0, flags).unwrap();
    let twin = fifo.try_clone().unwrap();
    let reader = Worker::spawn(move || read(&twin, 1));
    reader.wait_until_asleep_in(Call::Read, LIMIT);
    assert_eq!(fifo.write(b"x"), Ok(1));
    assert_eq!(reader.finish(LIMIT).unwrap(), b"x");
}

#[test]
fn moving_nothing_never_waits() {
    let fifo = Fifo::new();
    assert_eq!(read(&fifo, 0).unwrap(), b"", "empty");
    assert_eq!(fifo.write(b""), Ok(0), "empty");
    assert_eq!(nonblocking().read(&mut []), Ok(0), "empty, without waiting");
    let full = Fifo::full();
    assert_eq!(full.write(b""), Ok(0), "full");
    assert_eq!(nonblocking().write(b""), Ok(0), "full, without waiting");
}

#[test]
fn a_blocked_read_is_woken_by_a_writer() {
    let fifo = Fifo::new();
    let reader = sleeping_reader(99);
    assert_eq!(fifo.write(b"wake up"), Ok(7));
    assert_eq!(reader.finish(LIMIT).unwrap(), b"wake up");
}

#[test]
fn a_blocked_read_stays_asleep_while_nothing_comes() {
    let fifo = Fifo::new();
    let reader = sleeping_reader(99);
    assert_eq!(fifo.write(b""), Ok(0));
    assert!(!reader.ends_within(MOMENT));
    assert_eq!(fifo.write(b"x"), Ok(1));
    assert_eq!(reader.finish(LIMIT).unwrap(), b"x");
}

#[test]
fn a_blocked_write_is_woken_by_a_reader() {
    let fifo = Fifo::full();
    let writer = sleeping_writer(b"tail".to_vec());
    assert!(!writer.ends_within(MOMENT));
    assert_eq!(read(&fifo, 10).unwrap(), [b'f'; 10]);
    assert_eq!(writer.finish(LIMIT), Ok(4));
    let mut expected = vec![b'f'; PIPE_CAPACITY - 10];
    expected.extend(b"tail");
    assert_eq!(contents(), expected);
}

// new: begin
#[test]
fn a_blocking_write_waits_until_all_of_it_is_in() {
    let fifo = Fifo::new();
    let bytes = pattern(3 * PIPE_CAPACITY + 17);
    let writer = sleeping_writer(bytes.clone());
    let mut received = Vec::new();
    while received.len() < bytes.len() {
        received.extend(read(&fifo, 1000).unwrap());
    }
    assert_eq!(writer.finish(LIMIT), Ok(bytes.len()));
    assert_eq!(received, bytes);
    assert_eq!(contents(), b"");
}

// new: end
#[test]
fn all_blocked_readers_wake_in_the_end() {
    let fifo = Fifo::new();
    let readers: Vec<_> = (0..4).map(|_| sleeping_reader(1)).collect();
    assert_eq!(fifo.write(b"abcd"), Ok(4));
    let mut received: Vec<_> =
        readers.into_iter().flat_map(|reader| reader.finish(LIMIT).unwrap()).collect();
    received.sort_unstable();
    assert_eq!(received, b"abcd");
}

#[test]
fn all_blocked_writers_wake_in_the_end() {
    let fifo = Fifo::full();
    let writers: Vec<_> = (b'a'..=b'd').map(|byte| sleeping_writer(vec![byte])).collect();
    assert_eq!(read(&fifo, 4).unwrap(), b"ffff");
    for writer in writers {
        assert_eq!(writer.finish(LIMIT), Ok(1));
    }
    let mut tail = contents().split_off(PIPE_CAPACITY - 4);
    tail.sort_unstable();
    assert_eq!(tail, b"abcd");
}

// new: begin
#[test]
fn a_signal_ends_a_blocked_read() {
    let fifo = Fifo::new();
    let _caught = Caught::new(Then::Fail).unwrap();
    let reader = sleeping_reader(1);
    signal::interrupt(reader.thread()).unwrap();
    assert_eq!(reader.finish(LIMIT), Err(Errno::INTR));
    assert_eq!(fifo.write(b"x"), Ok(1));
    assert_eq!(contents(), b"x", "the interrupted read took nothing");
}

// new: end
#[test]
fn a_signal_ends_a_blocked_write() {
    let _fifo = Fifo::full();
    let _caught = Caught::new(Then::Fail).unwrap();
    let writer = sleeping_writer(b"never written".to_vec());
    signal::interrupt(writer.thread()).unwrap();
    assert_eq!(writer.finish(LIMIT), Err(Errno::INTR));
    assert_eq!(contents(), [b'f'; PIPE_CAPACITY], "the interrupted write left nothing");
}

#[test]
fn a_signal_in_the_middle_of_a_write_tells_how_far_it_came() {
    let _fifo = Fifo::new();
    let _caught = Caught::new(Then::Fail).unwrap();
    let bytes = pattern(PIPE_CAPACITY + 100);
    let writer = sleeping_writer(bytes.clone());
    signal::interrupt(writer.thread()).unwrap();
    assert_eq!(writer.finish(LIMIT), Ok(PIPE_CAPACITY));
    assert_eq!(contents(), bytes[..PIPE_CAPACITY]);
}

#[test]
fn a_signal_tells_how_far_a_write_came_even_between_two_pieces() {
    let fifo = Fifo::new();
    let _caught = Caught::new(Then::Fail).unwrap();
    let bytes = pattern(3 * PIPE_CAPACITY);
    let writer = sleeping_writer(bytes.clone());
    // Makes room for a part of what the writer has at hand.
    let mut received = read(&fifo, 10).unwrap();
    writer.wait_until_asleep_in(Call::Write, LIMIT);
    signal::interrupt(writer.thread()).unwrap();
    let reported = writer.finish(LIMIT).unwrap();
    received.extend(contents());
    assert!([PIPE_CAPACITY, PIPE_CAPACITY + 10].contains(&reported), "{reported}");
    assert_eq!(received, bytes[..reported]);
}

#[test]
fn a_blocked_read_goes_on_after_a_signal_that_restarts_it() {
    let fifo = Fifo::new();
    let _caught = Caught::new(Then::Restart).unwrap();
    let reader = sleeping_reader(1);
    for _ in 0..5 {
        signal::interrupt(reader.thread()).unwrap();
        assert!(!reader.ends_within(MOMENT));
    }
    assert_eq!(fifo.write(b"x"), Ok(1));
    assert_eq!(reader.finish(LIMIT).unwrap(), b"x");
}

#[test]
fn a_killed_reader_leaves_the_device_usable() {
    const NAME: &str = "a_killed_reader_leaves_the_device_usable";
    if is_child() {
        let _ = rustix::io::read(std::io::stdin(), &mut [0; 1]);
        panic!("the read came back");
    }
    let fifo = Fifo::new();
    let mut child = start_child(NAME, fifo.try_clone().unwrap());
    assert!(any_thread_sleeps_in_read(&child), "the child does not sleep in its read");
    child.kill().unwrap();
    assert_eq!(wait_for_child(child).code(), None, "killed by a signal");
    assert_eq!(fifo.write(b"mine"), Ok(4));
    assert_eq!(contents(), b"mine");
}

#[test]
fn closing_one_descriptor_does_not_disturb_a_read_on_its_twin() {
    let fifo = Fifo::new();
    let first = Device::open(PIPE_NODE).unwrap();
    let twin = first.try_clone().unwrap();
    let reader = Worker::spawn(move || read(&twin, 9));
    reader.wait_until_asleep_in(Call::Read, LIMIT);
    drop(first);
    assert!(!reader.ends_within(MOMENT));
    assert_eq!(fifo.write(b"x"), Ok(1));
    assert_eq!(reader.finish(LIMIT).unwrap(), b"x");
}

// new: begin
#[test]
fn poll_tells_what_would_not_wait() {
    let fifo = Fifo::new();
    assert_eq!(poll(&fifo), PollFlags::OUT, "empty");
    assert_eq!(fifo.write(b"x"), Ok(1));
    assert_eq!(poll(&fifo), PollFlags::IN | PollFlags::OUT, "one byte");
    assert_eq!(fifo.write(&[b'y'; PIPE_CAPACITY - 2]), Ok(PIPE_CAPACITY - 2));
    assert_eq!(poll(&fifo), PollFlags::IN | PollFlags::OUT, "one byte free");
    assert_eq!(fifo.write(b"z"), Ok(1));
    assert_eq!(poll(&fifo), PollFlags::IN, "full");
    contents();
    assert_eq!(poll(&fifo), PollFlags::OUT, "empty again");
}

// new: end
#[test]
fn poll_tells_a_file_only_what_it_is_open_for() {
    let fifo = Fifo::new();
    assert_eq!(fifo.write(b"x"), Ok(1));
    let reading = Device::options().read(true).open(PIPE_NODE).unwrap();
    let writing = Device::options().write(true).open(PIPE_NODE).unwrap();
    assert_eq!((poll(&reading), poll(&writing)), (PollFlags::IN, PollFlags::OUT));
}

// new: begin
#[test]
fn poll_is_woken_by_a_writer() {
    let fifo = Fifo::new();
    assert_eq!(fifo.wait_readable(MOMENT), Ok(false));
    let device = Device::options().read(true).open(PIPE_NODE).unwrap();
    let poller = Worker::spawn(move || device.wait_readable(LIMIT));
    poller.wait_until_asleep_in(Call::Poll, LIMIT);
    assert_eq!(fifo.write(b"x"), Ok(1));
    assert_eq!(poller.finish(LIMIT), Ok(true));
}

// new: end
#[test]
fn poll_is_woken_by_a_reader() {
    let fifo = Fifo::full();
    assert_eq!(fifo.wait_writable(MOMENT), Ok(false));
    let device = Device::options().write(true).open(PIPE_NODE).unwrap();
    let poller = Worker::spawn(move || device.wait_writable(LIMIT));
    poller.wait_until_asleep_in(Call::Poll, LIMIT);
    assert_eq!(read(&fifo, 1).unwrap(), b"f");
    assert_eq!(poller.finish(LIMIT), Ok(true));
}

#[test]
fn one_poll_watches_both_ends() {
    let _fifo = Fifo::new();
    let reader = Device::options().read(true).open(PIPE_NODE).unwrap();
    let writer = Device::options().write(true).open(PIPE_NODE).unwrap();
    let both = || {
        let mut fds =
            [PollFd::new(&reader, PollFlags::IN), PollFd::new(&writer, PollFlags::OUT)];
        rustix::event::poll(&mut fds, Some(&Timespec::default())).unwrap();
        fds.map(|fd| !fd.revents().is_empty())
    };
    assert_eq!(both(), [false, true]);
    write_all(&writer, b"x");
    assert_eq!(both(), [true, true]);
    write_all(&writer, &[b'y'; PIPE_CAPACITY - 1]);
    assert_eq!(both(), [true, false]);
}

/// The events epoll has to tell within `limit`, in one set.
fn epoll_events(epoll: &OwnedFd, limit: Duration) -> EventFlags {
    let mut events = Vec::with_capacity(4);
    let limit = Timespec::try_from(limit).unwrap();
    epoll::wait(epoll, rustix::buffer::spare_capacity(&mut events), Some(&limit)).unwrap();
    assert!(events.len() <= 1, "one device was registered");
    events.first().map_or(EventFlags::empty(), |event| event.flags)
}

fn epoll_on(device: &Device, flags: EventFlags) -> OwnedFd {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    epoll::add(&epoll, device, EventData::new_u64(0), flags).unwrap();
    epoll
}

#[test]
fn level_triggered_epoll_tells_as_long_as_it_holds() {
    let fifo = Fifo::new();
    let epoll = epoll_on(&fifo, EventFlags::IN);
    assert_eq!(epoll_events(&epoll, MOMENT), EventFlags::empty());
    assert_eq!(fifo.write(b"xy"), Ok(2));
    for _ in 0..3 {
        assert_eq!(epoll_events(&epoll, LIMIT), EventFlags::IN);
    }
    assert_eq!(read(&fifo, 2).unwrap(), b"xy");
    assert_eq!(epoll_events(&epoll, MOMENT), EventFlags::empty());
}

#[test]
fn edge_triggered_epoll_tells_each_arrival_once() {
    let fifo = Fifo::new();
    let epoll = epoll_on(&fifo, EventFlags::IN | EventFlags::ET);
    assert_eq!(epoll_events(&epoll, MOMENT), EventFlags::empty());
    for round in 0..3 {
        // From the second round on something is there already, and still there is news.
        assert_eq!(fifo.write(b"x"), Ok(1));
        assert_eq!(epoll_events(&epoll, LIMIT), EventFlags::IN, "round {round}");
        assert_eq!(epoll_events(&epoll, MOMENT), EventFlags::empty(), "round {round}");
    }
    assert_eq!(contents(), b"xxx");
    assert_eq!(epoll_events(&epoll, MOMENT), EventFlags::empty());
    assert_eq!(fifo.write(b"x"), Ok(1));
    assert_eq!(epoll_events(&epoll, LIMIT), EventFlags::IN);
}

#[test]
fn edge_triggered_epoll_tells_when_room_appears() {
    let fifo = Fifo::full();
    let epoll = epoll_on(&fifo, EventFlags::OUT | EventFlags::ET);
    assert_eq!(epoll_events(&epoll, MOMENT), EventFlags::empty());
    assert_eq!(read(&fifo, 1).unwrap(), b"f");
    assert_eq!(epoll_events(&epoll, LIMIT), EventFlags::OUT);
    assert_eq!(epoll_events(&epoll, MOMENT), EventFlags::empty());
}

#[test]
fn epoll_wakes_a_sleeping_waiter() {
    let fifo = Fifo::new();
    let device = Device::open(PIPE_NODE).unwrap();
    let waiter = Worker::spawn(move || {
        let epoll = epoll_on(&device, EventFlags::IN | EventFlags::ET);
        epoll_events(&epoll, LIMIT)
    });
    waiter.wait_until_asleep_in(Call::EpollWait, LIMIT);
    assert_eq!(fifo.write(b"x"), Ok(1));
    assert_eq!(waiter.finish(LIMIT), EventFlags::IN);
}

#[test]
fn closing_a_device_that_epoll_watches_ends_the_watch() {
    let fifo = Fifo::new();
    let watched = Device::open(PIPE_NODE).unwrap();
    let epoll = epoll_on(&watched, EventFlags::IN);
    drop(watched);
    assert_eq!(fifo.write(b"x"), Ok(1));
    assert_eq!(epoll_events(&epoll, MOMENT), EventFlags::empty());
}

// new: begin
#[test]
fn who_holds_it_exclusively_is_alone() {
    drain();
    let exclusive = Device::options().read(true).write(true).exclusive();
    let refused = |options: chardev::Options| {
        let error = options.open(PIPE_NODE).map(drop).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::BUSY), "{options:?}");
        assert!(error.to_string().contains("exclusively"), "{error}");
    };
    let everyone = [
        Device::options().read(true),
        Device::options().write(true),
        Device::options().read(true).write(true).nonblocking(),
        exclusive,
    ];

    let holder = exclusive.open(PIPE_NODE).unwrap();
    everyone.into_iter().for_each(refused);
    assert_eq!(holder.write(b"alone"), Ok(5));
    assert_eq!(read(&holder, 9).unwrap(), b"alone");

    let twin = holder.try_clone().unwrap();
    drop(holder);
    everyone.into_iter().for_each(refused);
    drop(twin);

    let first = Device::open(PIPE_NODE).unwrap();
    refused(exclusive);
    let second = Device::open(PIPE_NODE).unwrap();
    drop(first);
    refused(exclusive);
    drop(second);
    drop(exclusive.open(PIPE_NODE).unwrap());
    drop(Device::open(PIPE_NODE).unwrap());
}

// new: end
#[test]
fn of_many_who_want_it_exclusively_one_at_a_time_gets_it() {
    let (holders, wins) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    match Device::options().read(true).exclusive().open(PIPE_NODE) {
                        Ok(device) => {
                            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                            thread::yield_now();
                            holders.fetch_sub(1, Ordering::SeqCst);
                            wins.fetch_add(1, Ordering::SeqCst);
                            drop(device);
                        }
                        Err(error) => assert_eq!(error.errno(), Some(Errno::BUSY)),
                    }
                }
            });
        }
    });
    assert!(wins.into_inner() > 0, "nobody ever got it");
    drop(Device::options().read(true).exclusive().open(PIPE_NODE).unwrap());
}

#[test]
fn each_open_file_counts_what_it_moved() {
    let fifo = Fifo::new();
    let other = nonblocking();
    assert_eq!((counters(&fifo), counters(&other)), ((0, 0), (0, 0)));
    assert_eq!(fifo.write(b"hello"), Ok(5));
    assert_eq!(read(&other, 2).unwrap(), b"he");
    assert_eq!((counters(&fifo), counters(&other)), ((0, 5), (2, 0)));
    assert_eq!(read(&fifo, 99).unwrap(), b"llo");
    assert_eq!((counters(&fifo), counters(&other)), ((3, 5), (2, 0)));

    // Only what really moved counts.
    assert_eq!(read(&other, 9), Err(Errno::AGAIN));
    assert_eq!(Hole::Unmapped.write(&other, 9), Err(Errno::FAULT));
    assert_eq!(other.write(&[b'x'; PIPE_CAPACITY + 9]), Ok(PIPE_CAPACITY));
    assert_eq!(other.write(b"x"), Err(Errno::AGAIN));
    assert_eq!(Hole::Unmapped.read(&other, 9), Err(Errno::FAULT));
    assert_eq!(counters(&other), (2, 4096));
    assert_eq!(counters(&fifo), (3, 5));

    // Twins are one open file.
    let twin = fifo.try_clone().unwrap();
    assert_eq!(read(&twin, 7).unwrap().len(), 7);
    assert_eq!((counters(&fifo), counters(&twin)), ((10, 5), (10, 5)));
}

#[test]
fn a_child_process_writes_on_its_parents_account() {
    const NAME: &str = "a_child_process_writes_on_its_parents_account";
    if is_child() {
        assert_eq!(rustix::io::write(std::io::stdin(), b"from below"), Ok(10));
        return;
    }
    let fifo = Fifo::new();
    let child = start_child(NAME, fifo.try_clone().unwrap());
    assert!(wait_for_child(child).success());
    assert_eq!(read(&fifo, 99).unwrap(), b"from below");
    assert_eq!(counters(&fifo), (10, 10));
}

// new: begin
#[test]
fn each_writers_bytes_stay_in_order() {
    const WRITERS: u8 = 4;
    const EACH: usize = 1500;
    let fifo = Fifo::new();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            Worker::spawn(move || {
                let device = Device::open(PIPE_NODE).unwrap();
                // Two bits say who, six bits say when.
                let bytes: Vec<_> =
                    (0..EACH).map(|n| writer << 6 | u8::try_from(n % 64).unwrap()).collect();
                for part in bytes.chunks(37) {
                    write_all(&device, part);
                }
            })
        })
        .collect();
    let mut next = [0; WRITERS as usize];
    let mut total = 0;
    while total < usize::from(WRITERS) * EACH {
        assert!(fifo.wait_readable(LIMIT).unwrap(), "{total} bytes came, then no more");
        let part = read(&fifo, 777).unwrap();
        total += part.len();
        for byte in part {
            let writer = usize::from(byte >> 6);
            assert_eq!(usize::from(byte & 63), next[writer] % 64, "writer {writer}");
            next[writer] += 1;
        }
    }
    assert_eq!(next, [EACH; WRITERS as usize]);
    for writer in writers {
        writer.finish(LIMIT);
    }
    assert_eq!(contents(), b"");
}

// new: end
#[test]
fn no_byte_is_lost_or_doubled_between_many_readers_and_writers() {
    const WRITERS: usize = 3;
    const READERS: usize = 3;
    let _fifo = Fifo::new();
    let message = pattern(5003);
    let expected_len = WRITERS * message.len();
    let received = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..READERS)
        .map(|reader| {
            let received = Arc::clone(&received);
            Worker::spawn(move || {
                let device = nonblocking();
                let mut seen = BTreeMap::<u8, usize>::new();
                let end = Instant::now() + LIMIT;
                while received.load(Ordering::SeqCst) < expected_len && Instant::now() < end {
                    match read(&device, 61 + 100 * reader) {
                        Ok(part) => {
                            received.fetch_add(part.len(), Ordering::SeqCst);
                            for byte in part {
                                *seen.entry(byte).or_default() += 1;
                            }
                        }
                        Err(errno) => {
                            assert_eq!(errno, Errno::AGAIN);
                            // Another reader may be faster, so this wait may be in vain.
                            device.wait_readable(MOMENT).unwrap();
                        }
                    }
                }
                seen
            })
        })
        .collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let message = message.clone();
            Worker::spawn(move || {
                let device = Device::open(PIPE_NODE).unwrap();
                for part in message.chunks(29 + 1000 * writer) {
                    assert_eq!(device.write(part), Ok(part.len()));
                }
            })
        })
        .collect();
    for writer in writers {
        writer.finish(LIMIT);
    }
    let mut seen = BTreeMap::<u8, usize>::new();
    for reader in readers {
        for (byte, count) in reader.finish(2 * LIMIT) {
            *seen.entry(byte).or_default() += count;
        }
    }
    let mut expected = BTreeMap::<u8, usize>::new();
    for byte in message {
        *expected.entry(byte).or_default() += WRITERS;
    }
    assert_eq!(seen, expected);
    assert_eq!(contents(), b"");
}

#[test]
fn a_vectored_read_gives_what_is_there() {
    let fifo = Fifo::new();
    assert_eq!(fifo.write(b"hello"), Ok(5));
    let twin = fifo.try_clone().unwrap();
    let reader = Worker::spawn(move || {
        let (mut first, mut second) = ([0; 5], [0; 5]);
        let mut vector = [&mut first[..], &mut second[..]].map(IoSliceMut::new);
        rustix::io::readv(&twin, &mut vector).map(|len| (len, first))
    });
    assert!(reader.ends_within(LIMIT), "it must not wait for the second buffer");
    assert_eq!(reader.finish(LIMIT), Ok((5, *b"hello")));
}

#[test]
fn a_vectored_write_goes_in_whole() {
    let fifo = Fifo::new();
    let vector = [&b"hello"[..], b"", b" world"].map(IoSlice::new);
    assert_eq!(rustix::io::writev(&fifo.0, &vector), Ok(11));
    let (mut first, mut second) = ([0; 6], [0; 9]);
    let mut vector = [&mut first[..], &mut second[..]].map(IoSliceMut::new);
    assert_eq!(rustix::io::readv(&fifo.0, &mut vector), Ok(11));
    assert_eq!((&first, &second[..5]), (b"hello ", &b"world"[..]));
}

// new: begin
#[test]
fn a_read_that_faults_loses_nothing() {
    let fifo = Fifo::new();
    for hole in Hole::ALL {
        assert_eq!(fifo.write(b"precious"), Ok(8));
        assert_eq!(hole.read(&*fifo, 8), Err(Errno::FAULT), "{hole:?}");
        assert_eq!(contents(), b"precious", "{hole:?}");
    }
}

// new: end
#[test]
fn a_read_that_faults_part_way_loses_nothing_it_does_not_report() {
    let fifo = Fifo::new();
    assert_eq!(fifo.write(b"hello world"), Ok(11));
    let mut five = Guarded::new(5).unwrap();
    let reported = match five.read(&*fifo, 11) {
        Ok(len) => len,
        Err(errno) => {
            assert_eq!(errno, Errno::FAULT);
            0
        }
    };
    assert!(reported <= 5, "only five bytes fitted");
    let rest = contents();
    assert_eq!([&five.bytes()[..reported], &rest[..]].concat(), b"hello world");
}

#[test]
fn a_write_that_faults_part_way_leaves_just_what_it_reports() {
    let fifo = Fifo::new();
    let five = Guarded::holding(b"hello").unwrap();
    let reported = match five.write(&*fifo, 11) {
        Ok(len) => len,
        Err(errno) => {
            assert_eq!(errno, Errno::FAULT);
            0
        }
    };
    assert!(reported <= 5, "only five bytes were there");
    assert_eq!(contents(), b"hello"[..reported]);
}

#[test]
fn a_write_from_nowhere_says_so_without_waiting_for_room() {
    let fifo = Fifo::full();
    for hole in Hole::ALL.into_iter().filter(|hole| *hole != Hole::ReadOnly) {
        assert_eq!(hole.write(&*fifo, 1), Err(Errno::FAULT), "{hole:?}");
        assert_eq!(hole.write(nonblocking(), 1), Err(Errno::FAULT), "{hole:?}, without waiting");
    }
    assert_eq!(contents(), [b'f'; PIPE_CAPACITY]);
}

#[test]
fn a_long_write_that_faults_reports_what_went_in_before() {
    let fifo = Fifo::new();
    let bytes = pattern(PIPE_CAPACITY + 100);
    let memory = Guarded::holding(&bytes).unwrap();
    let device = Device::open(PIPE_NODE).unwrap();
    let writer = Worker::spawn(move || memory.write(&device, PIPE_CAPACITY + 200));
    writer.wait_until_asleep_in(Call::Write, LIMIT);
    let mut received = read(&fifo, PIPE_CAPACITY).unwrap();
    let reported = writer.finish(LIMIT).unwrap();
    received.extend(contents());
    assert!(reported >= PIPE_CAPACITY, "{reported}");
    assert_eq!(received, bytes[..reported]);
}

// new: begin
#[test]
fn the_pipes_permissions_keep_strangers_out() {
    assert_eq!(open_unprivileged(PIPE_NODE), Err(Some(Errno::ACCESS)));
}

// new: end
// ---- Both ---------------------------------------------------------------------------------------

#[test]
fn the_howto_device_refuses_bad_input() {
    let howto = Howto::holding(b"hello world");
    let reading = Device::options().read(true).open(HOWTO_NODE).unwrap();
    let writing = Device::options().write(true).open(HOWTO_NODE).unwrap();
    let mut table = Refusals::new();

    for len in [200, 201, 255, 256, 4095, 4096, 65536] {
        table.case(&format!("write {len} bytes"), Errno::INVAL, howto.write(&vec![0; len]));
    }
    table.case("pwrite 200 bytes", Errno::INVAL, howto.pwrite(&[0; 200], 0));
    for to in [
        SeekFrom::Start(12),
        SeekFrom::Start(u64::MAX),
        SeekFrom::Start(1 << 63),
        SeekFrom::Current(12),
        SeekFrom::Current(-1),
        SeekFrom::End(1),
        SeekFrom::End(-12),
        SeekFrom::End(i64::MIN),
        SeekFrom::End(i64::MAX),
    ] {
        table.case(&format!("seek {to:?}"), Errno::INVAL, howto.seek(to));
    }
    let (data, hole) = (rustix::fs::SeekFrom::Data(0), rustix::fs::SeekFrom::Hole(0));
    table.case("seek for data", Errno::INVAL, rustix::fs::seek(&howto.0, data));
    table.case("seek for a hole", Errno::INVAL, rustix::fs::seek(&howto.0, hole));
    for offset in [u64::MAX, 1 << 63] {
        table.case("pread before the start", Errno::INVAL, howto.pread(&mut [0], offset));
        table.case("pwrite before the start", Errno::INVAL, howto.pwrite(&[0], offset));
    }
    for bad in Hole::ALL {
        table.case(&format!("read to {bad:?}"), Errno::FAULT, bad.read(&*howto, 11));
        if bad != Hole::ReadOnly {
            table.case(&format!("write from {bad:?}"), Errno::FAULT, bad.write(&*howto, 11));
        }
    }
    table.case("read, open for writing", Errno::BADF, writing.read(&mut [0]));
    table.case("pread, open for writing", Errno::BADF, writing.pread(&mut [0], 0));
    table.case("write, open for reading", Errno::BADF, reading.write(b"x"));
    table.case("pwrite, open for reading", Errno::BADF, reading.pwrite(b"x", 0));
    refusals_of_both(&mut table, &howto);
    table.finish();

    assert_eq!(howto.message(), b"hello world", "no refused call changed the message");
    assert_eq!(position(&howto), 0, "nor the position");
}

#[test]
fn todays_device_refuses_bad_input() {
    let fifo = Fifo::new();
    assert_eq!(fifo.write(b"hello world"), Ok(11));
    let reading = Device::options().read(true).open(PIPE_NODE).unwrap();
    let writing = Device::options().write(true).open(PIPE_NODE).unwrap();
    let mut table = Refusals::new();

    for to in [SeekFrom::Start(0), SeekFrom::Start(1), SeekFrom::Current(0), SeekFrom::End(0)] {
        table.case(&format!("seek {to:?}"), Errno::SPIPE, fifo.seek(to));
    }
    for offset in [0, 1, 4096] {
        table.case("pread", Errno::SPIPE, fifo.pread(&mut [0], offset));
        table.case("pwrite", Errno::SPIPE, fifo.pwrite(&[0], offset));
    }
    table.case("pread before the start", Errno::INVAL, fifo.pread(&mut [0], u64::MAX));
    table.case("pwrite before the start", Errno::INVAL, fifo.pwrite(&[0], u64::MAX));
    for bad in Hole::ALL {
        table.case(&format!("read to {bad:?}"), Errno::FAULT, bad.read(&*fifo, 11));
        if bad != Hole::ReadOnly {
            table.case(&format!("write from {bad:?}"), Errno::FAULT, bad.write(&*fifo, 11));
        }
    }
    table.case("read, open for writing", Errno::BADF, writing.read(&mut [0]));
    table.case("write, open for reading", Errno::BADF, reading.write(b"x"));
    table.case("read nothing, open for writing", Errno::BADF, writing.read(&mut []));
    table.case("write nothing, open for reading", Errno::BADF, reading.write(b""));
    refusals_of_both(&mut table, &fifo);
    let full = nonblocking();
    assert_eq!(full.write(&[b'x'; PIPE_CAPACITY]), Ok(PIPE_CAPACITY - 11));
    table.case("write when full", Errno::AGAIN, full.write(b"x"));
    table.finish();

    let left = contents();
    assert_eq!((&left[..11], left.len()), (&b"hello world"[..], PIPE_CAPACITY));
}

/// What neither device can do.
fn refusals_of_both(table: &mut Refusals, device: &Device) {
    for number in [0, 0x4700, 0x5401, 0x541b, 0x8004_4700, 0x4004_4701, 0xffff_ffff] {
        let mut buffer = Buffer::new(&[]);
        let refusal = device.issue(number, &mut buffer);
        table.case(&format!("ioctl {number:#x}"), Errno::NOTTY, refusal);
    }
    table.case("mmap", Errno::NODEV, memory::try_map(device));
    table.case("fsync", Errno::INVAL, rustix::fs::fsync(device));
    table.case("ftruncate", Errno::INVAL, rustix::fs::ftruncate(device, 0));
    let path = Device::options().with(OFlags::PATH).open(format!("/proc/self/fd/{}", raw(device)));
    let path = path.unwrap();
    table.case("read a mere path", Errno::BADF, path.read(&mut [0]));
    table.case("write a mere path", Errno::BADF, path.write(&[0]));
    let directory = Device::options().with(OFlags::DIRECTORY);
    let opened = directory.open(format!("/proc/self/fd/{}", raw(device)));
    let errno = opened.map(drop).map_err(|error| error.errno().unwrap());
    table.case("open as a directory", Errno::NOTDIR, errno);
}

fn raw(device: &Device) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(&device.as_fd())
}

#[test]
fn an_open_file_keeps_the_module_loaded() {
    for node in [HOWTO_NODE, PIPE_NODE] {
        make_howto_node(0o600);
        let device = Device::open(node).unwrap();
        let refused = module::unload(MODULE).map_err(|error| error.errno());
        let twin = device.try_clone().unwrap();
        drop(device);
        let refused_again = module::unload(MODULE).map_err(|error| error.errno());
        drop(twin);
        chardev::remove_node(HOWTO_NODE).unwrap();
        assert_eq!(refused, Err(Some(Errno::AGAIN)), "{node}");
        assert_eq!(refused_again, Err(Some(Errno::AGAIN)), "{node}: its twin is open");
        assert!(module::is_loaded(MODULE).unwrap());
        reload();
    }
}

// new: begin
#[test]
fn a_sleeping_reader_keeps_the_module_loaded() {
    let fifo = Fifo::new();
    let reader = sleeping_reader(1);
    let refused = module::unload(MODULE).map_err(|error| error.errno());
    assert_eq!(refused, Err(Some(Errno::AGAIN)));
    assert_eq!(fifo.write(b"x"), Ok(1));
    assert_eq!(reader.finish(LIMIT).unwrap(), b"x");
}

// new: end
#[test]
fn unloading_takes_driver_and_node_away() {
    make_howto_node(0o600);
    module::unload(MODULE).unwrap();
    let loaded = module::is_loaded(MODULE).unwrap();
    let node = Path::new(PIPE_NODE).exists();
    let driver = chardev::major(DRIVER).is_ok();
    let opened = Device::open(HOWTO_NODE).map(drop).map_err(|error| error.errno());
    chardev::remove_node(HOWTO_NODE).unwrap();
    let again = module::unload(MODULE).map_err(|error| error.errno());
    module::load(MODULE_FILE, "").unwrap();

    assert!(!loaded, "it is not listed");
    assert!(!node, "its own node is gone");
    assert!(!driver, "its major is free");
    assert_eq!(opened, Err(Some(Errno::NXIO)), "the user's node leads nowhere");
    assert_eq!(again, Err(Some(Errno::NOENT)), "it cannot be unloaded twice");
    assert!(Path::new(PIPE_NODE).exists() && chardev::major(DRIVER).is_ok(), "and all is back");
}

#[test]
fn loading_twice_is_refused_and_harmless() {
    let refused = module::load(MODULE_FILE, "").map_err(|error| error.errno());
    assert_eq!(refused, Err(Some(Errno::EXIST)));
    let howto = Howto::holding(b"unimpressed");
    assert_eq!(howto.message(), b"unimpressed");
}

#[test]
fn it_can_be_loaded_again_and_again() {
    for round in 0..5 {
        reload();
        let howto = Howto::new();
        assert_eq!(howto.message(), b"", "round {round}");
        assert_eq!(howto.write(b"x"), Ok(1));
        let fifo = Device::open(PIPE_NODE).unwrap();
        assert_eq!(poll(&fifo), PollFlags::OUT, "round {round}");
        assert_eq!(fifo.write(b"x"), Ok(1));
    }
    drain();
}

// ---- Help ---------------------------------------------------------------------------------------

// new: begin
/// Whether a thread of user and group 65534, without any privilege, can open `node`. Credentials
/// belong to a thread; this one ends with them.
fn open_unprivileged(node: &'static str) -> Result<(), Option<Errno>> {
    Worker::spawn(move || {
        let (user, group) = (Uid::from_raw(65534), Gid::from_raw(65534));
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_res_gid(group, group, group).unwrap();
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        Device::open(node).map(drop).map_err(|error| error.errno())
    })
    .finish(LIMIT)
}

// new: end
/// Says to a test that it runs in a child process of itself.
const CHILD: &str = "CALLGATE_TEST_CHILD";

fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

/// Runs the test `name` of this file in another process, with `device` as its standard input.
fn start_child(name: &str, device: Device) -> Child {
    Command::new("/proc/self/exe")
        .args(["--exact", &format!("chardev::tests::{name}"), "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .stdin(Stdio::from(OwnedFd::from(device)))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn wait_for_child(mut child: Child) -> ExitStatus {
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("the child was not done after {LIMIT:?}");
}

/// Waits until some thread of `child` sleeps in a read.
fn any_thread_sleeps_in_read(child: &Child) -> bool {
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        let threads = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
        for thread in threads {
            let thread = thread.unwrap().file_name().into_string().unwrap().parse().unwrap();
            let thread = Pid::from_raw(thread).unwrap();
            if inspect::wait_until_asleep_in(thread, Call::Read, Duration::ZERO) {
                return true;
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    false
}
