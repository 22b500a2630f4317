// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a user of the two files in `/proc/example` can rely on.
//!
//! These run in the lab's VM as root, each in a process of its own, with the module loaded.

// new: begin
use std::fs::{self, Permissions};
use std::io::{IoSlice, IoSliceMut, SeekFrom};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use callgate::Errno;
use callgate::chardev::Device;
use callgate::ioctl::{Buffer, Target};
use callgate::kmsg::{Log, Origin};
use callgate::module;
use callgate::procfs::{Entry, Proc};
use callgate::testing::Refusals;
use callgate::testing::faults::{at_each_place, at_last_places};
use callgate::testing::memory::{self, Guarded, Hole};
use callgate::testing::tools::{self, Tool};
use callgate::testing::unload::{self, Use, while_used};
use callgate::testing::worker::{Watchdog, Worker};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, FallocateFlags, Mode, OFlags};
use rustix::io::ReadWriteFlags;
use rustix::pipe::SpliceFlags;
use rustix::process::{Gid, Uid};

use super::abi::{FIRST_LIMIT, SECOND_LIMIT};

/// Every wait ends here at the latest; it is generous, because an emulated debug kernel is slow.
const LIMIT: Duration = Duration::from_secs(30);

// new: end
/// A test that takes longer than this has lost its way.
const TOO_LONG: Duration = Duration::from_secs(160);

// new: begin
const MODULE: &str = "callgate_procfs";
const MODULE_FILE: &str = "/modules/callgate_procfs.ko";

const DIRECTORY: &str = "/proc/example";
// new: end
const FIRST: &str = "/proc/example/first";
// new: begin
const SECOND: &str = "/proc/example/second";

// new: end
/// What the HOWTO's file reads as.
const GREETING: &[u8] = b"hello world: first file private data\n";

fn first() -> Entry {
    Proc::find().unwrap().entry("example/first")
}

// new: begin
fn second() -> Entry {
    Proc::find().unwrap().entry("example/second")
}

/// The file that keeps, with `value` in it.
fn holding(value: &[u8]) -> Entry {
    second().write(value).unwrap();
    second()
}

/// What one read of up to `len` bytes gives.
fn read(file: &Device, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    let len = file.read(&mut bytes)?;
    bytes.truncate(len);
    Ok(bytes)
}

/// All from the position on, by reads of `len` bytes.
fn rest(file: &Device, len: usize) -> Result<Vec<u8>, Errno> {
    let mut all = Vec::new();
    loop {
        let part = read(file, len)?;
        if part.is_empty() {
            return Ok(all);
        }
        all.extend(part);
    }
}

fn position(file: &Device) -> u64 {
    file.seek(SeekFrom::Current(0)).unwrap()
}

/// Bytes of which no two pages, and no two neighbours, are alike.
fn pattern(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

/// Unloads the module and loads it again: everything it holds is new.
fn reload() {
    module::unload(MODULE).unwrap();
    module::load(MODULE_FILE, "").unwrap();
}

// new: end
/// The next `count` lines that the module logs.
fn logged(log: &mut Log, count: usize) -> Vec<String> {
    let end = Instant::now() + LIMIT;
    let mut lines = Vec::new();
    while lines.len() < count {
        let left = end.saturating_duration_since(Instant::now());
        let record = log.next(left).unwrap().expect("the module logs what it gets");
        if record.origin == Origin::Kernel
            && let Some(line) = record.text.strip_prefix("callgate_procfs: ")
        {
            lines.push(line.to_owned());
        }
    }
    lines
}

// new: begin
/// Does `work` as user and group 65534, without any privilege. Credentials belong to a thread; this
/// one ends with them.
fn as_stranger<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    Worker::spawn(move || {
        let (user, group) = (Uid::from_raw(65534), Gid::from_raw(65534));
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_res_gid(group, group, group).unwrap();
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        work()
    })
    .finish(LIMIT)
}

/// The errno that opening was refused with.
fn opened(file: &Entry, flags: OFlags) -> Result<(), Errno> {
    file.open(flags).map(drop).map_err(|error| error.errno().unwrap())
}

// new: end
// ---- Where they are -----------------------------------------------------------------------------

#[test]
fn the_directory_lists_both_files() {
    let proc = Proc::find().unwrap();
    assert_eq!(proc.entry("example").list().unwrap(), ["first", "second"]);
    assert!(proc.entry(".").list().unwrap().contains(&"example".to_owned()));
    assert_eq!(tools::shell("ls /proc/example").success(), "first\nsecond\n");
}

// new: begin
#[test]
fn anybody_reads_and_root_writes() {
    for (path, mode) in [
        (DIRECTORY, 0o40_555),
        // new: end
        (FIRST, 0o100_644),
        // new: begin
        (SECOND, 0o100_644),
    ] {
        let metadata = fs::metadata(path).unwrap();
        let shown = (metadata.mode(), metadata.uid(), metadata.gid(), metadata.len());
        assert_eq!(shown, (mode, 0, 0, 0), "{path}");
    }
    holding(b"for all eyes");
    assert_eq!(as_stranger(|| second().read().unwrap()), b"for all eyes");
    assert_eq!(as_stranger(|| opened(&second(), OFlags::WRONLY)), Err(Errno::ACCESS));
    // new: end
    assert_eq!(as_stranger(|| first().read().unwrap()), GREETING);
    // new: begin
}

// new: end
#[test]
fn what_root_changes_of_the_permissions_lasts_until_the_module_goes() {
    fs::set_permissions(SECOND, Permissions::from_mode(0o600)).unwrap();
    let refused = as_stranger(|| opened(&second(), OFlags::RDONLY));
    reload();
    assert_eq!(refused, Err(Errno::ACCESS));
    assert_eq!(fs::metadata(SECOND).unwrap().mode(), 0o100_644);
}

#[test]
fn another_procfs_has_the_same_files() {
    tools::shell("mkdir -p /tmp/other && mount -t proc proc /tmp/other").success();
    let other = Proc::at("/tmp/other").entry("example/second");
    other.write(b"from there").unwrap();
    let here = second().read();
    tools::shell("umount /tmp/other && rmdir /tmp/other").success();
    assert_eq!(here.unwrap(), b"from there");
}

// ---- The HOWTO's file ---------------------------------------------------------------------------

#[test]
fn cat_and_echo_do_what_the_howto_says() {
    let mut log = Log::from_now().unwrap();
    assert_eq!(tools::shell("cat /proc/example/first").success().as_bytes(), GREETING);
    tools::shell("echo hello kernel > /proc/example/first").success();
    assert_eq!(
        logged(&mut log, 3),
        [
            "write_first received data: hello kernel",
            "first filename first",
            "write_first data first file private data",
        ]
    );
    assert_eq!(tools::shell("cat /proc/example/first").success().as_bytes(), GREETING);
}

#[test]
fn the_greeting_has_37_bytes() {
    let greeting = first().read().unwrap();
    assert_eq!((greeting.len(), &greeting[..]), (37, GREETING));
}

#[test]
fn nobody_makes_up_lines_of_the_log() {
    let mut log = Log::from_now().unwrap();
    let forged = b"x\ncallgate_procfs: forged\r\x1b[2J\0\xff\t\"\\\n\n";
    first().write(forged).unwrap();
    assert_eq!(
        logged(&mut log, 3),
        [
            r#"write_first received data: x\ncallgate_procfs: forged\r\x1b[2J\x00\xff\t"\\n"#,
            "first filename first",
            "write_first data first file private data",
        ]
    );
}

#[test]
fn a_message_may_have_1024_bytes_and_not_one_more() {
    let mut log = Log::from_now().unwrap();
    for len in [1, FIRST_LIMIT - 1, FIRST_LIMIT] {
        first().write(&vec![b'x'; len]).unwrap();
        let lines = logged(&mut log, 3);
        // The kernel cuts a line of its log at about 1024 bytes, what goes before it included.
        let told = lines[0].strip_prefix("write_first received data: ").unwrap();
        assert_eq!(told, "x".repeat(told.len()));
        assert!(told.len() == len || (900..len).contains(&told.len()), "{len}: {}", told.len());
        assert_eq!(lines[1], "first filename first");
    }
    let refused = first().write(&[b'y'; FIRST_LIMIT + 1]).map_err(|error| error.errno());
    assert_eq!(refused, Err(Some(Errno::INVAL)));
    first().write(b"z").unwrap();
    assert_eq!(logged(&mut log, 1), ["write_first received data: z"], "nothing in between");
}

#[test]
fn writing_nothing_says_nothing() {
    let mut log = Log::from_now().unwrap();
    let file = first().open(OFlags::RDWR).unwrap();
    assert_eq!(file.write(b""), Ok(0));
    assert_eq!(file.write(b"\n"), Ok(1));
    assert_eq!(logged(&mut log, 1), ["write_first received data: "]);
}

#[test]
fn a_write_moves_no_position_and_needs_none() {
    let mut log = Log::from_now().unwrap();
    let file = first().open(OFlags::RDWR | OFlags::APPEND).unwrap();
    assert_eq!(read(&file, 6).unwrap(), b"hello ");
    assert_eq!(file.write(b"one"), Ok(3));
    assert_eq!(file.pwrite(b"two", 1 << 40), Ok(3));
    assert_eq!(position(&file), 6);
    assert_eq!(read(&file, 99).unwrap(), GREETING[6..]);
    let lines = logged(&mut log, 6);
    assert_eq!(lines[0], "write_first received data: one");
    assert_eq!(lines[3], "write_first received data: two");
}

#[test]
fn each_buffer_of_a_vectored_write_is_a_message() {
    let mut log = Log::from_now().unwrap();
    let file = first().open(OFlags::WRONLY).unwrap();
    let vector = [&b"one"[..], b"", b"two"].map(IoSlice::new);
    assert_eq!(rustix::io::writev(&file, &vector), Ok(6));
    let lines = logged(&mut log, 6);
    assert_eq!(lines[0], "write_first received data: one");
    assert_eq!(lines[3], "write_first received data: two");
}

#[test]
fn messages_of_many_writers_arrive_whole() {
    const EACH: usize = 20;
    let mut log = Log::from_now().unwrap();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            Worker::spawn(move || {
                let file = first().open(OFlags::WRONLY).unwrap();
                for count in 0..EACH {
                    let message = format!("{writer} {count} {}", "=".repeat(60));
                    assert_eq!(file.write(message.as_bytes()), Ok(message.len()));
                }
            })
        })
        .collect();
    let mut received = Vec::new();
    for line in logged(&mut log, 4 * EACH * 3) {
        if let Some(message) = line.strip_prefix("write_first received data: ") {
            received.push(message.to_owned());
        }
    }
    for writer in writers {
        writer.finish(LIMIT);
    }
    let mut expected: Vec<_> = (0..4)
        .flat_map(|writer| (0..EACH).map(move |count| format!("{writer} {count} {}", "=".repeat(60))))
        .collect();
    received.sort();
    expected.sort();
    assert_eq!(received, expected);
}

#[test]
fn reads_of_every_size_go_on_where_the_last_one_ended() {
    let file = first().open(OFlags::RDONLY).unwrap();
    for len in 1..=GREETING.len() + 1 {
        assert_eq!(file.seek(SeekFrom::Start(0)), Ok(0));
        assert_eq!(rest(&file, len).unwrap(), GREETING, "{len} bytes at a time");
        assert_eq!(position(&file), 37);
        assert_eq!(read(&file, len).unwrap(), b"");
    }
}

#[test]
fn every_position_of_the_greeting_can_be_read() {
    let file = first().open(OFlags::RDONLY).unwrap();
    for at in 0..=GREETING.len() {
        let mut bytes = [0; 64];
        let len = file.pread(&mut bytes, at as u64).unwrap();
        assert_eq!(&bytes[..len], &GREETING[at..], "pread at {at}");
        assert_eq!(file.seek(SeekFrom::Start(at as u64)), Ok(at as u64));
        assert_eq!(read(&file, 64).unwrap(), &GREETING[at..], "seek to {at}");
    }
    assert_eq!(file.pread(&mut [0], 1 << 40), Ok(0), "far behind the end");
    assert_eq!(file.seek(SeekFrom::End(-5)), Ok(32));
    assert_eq!(file.seek(SeekFrom::Current(-2)), Ok(30));
    assert_eq!(read(&file, 3).unwrap(), &GREETING[30..33]);
}

#[test]
fn each_open_file_has_a_position_of_its_own_and_its_twin_shares_it() {
    let (one, two) = (first().open(OFlags::RDONLY).unwrap(), first().open(OFlags::RDONLY).unwrap());
    let twin = one.try_clone().unwrap();
    assert_eq!(read(&one, 6).unwrap(), b"hello ");
    assert_eq!(read(&two, 5).unwrap(), b"hello");
    assert_eq!(read(&twin, 5).unwrap(), b"world");
    assert_eq!((position(&one), position(&two)), (11, 5));
}

#[test]
fn a_vectored_read_fills_buffer_after_buffer() {
    let file = first().open(OFlags::RDONLY).unwrap();
    let (mut one, mut two) = ([0; 6], [0; 5]);
    let mut vector = [&mut one[..], &mut two[..]].map(IoSliceMut::new);
    assert_eq!(rustix::io::readv(&file, &mut vector), Ok(11));
    assert_eq!((&one, &two), (b"hello ", b"world"));
}

#[test]
fn it_can_be_spliced_into_a_pipe() {
    let file = first().open(OFlags::RDONLY).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    assert_eq!(rustix::fs::sendfile(&writer, &file, None, 99), Ok(37));
    let mut bytes = [0; 99];
    assert_eq!(rustix::io::read(&reader, &mut bytes), Ok(37));
    assert_eq!(&bytes[..37], GREETING);
}

// ---- The file that keeps what is written --------------------------------------------------------

#[test]
fn a_file_just_made_is_empty() {
    reload();
    assert_eq!(second().read().unwrap(), b"");
    let file = second().open(OFlags::RDONLY).unwrap();
    assert_eq!(file.seek(SeekFrom::End(0)), Ok(0));
}

// new: begin
#[test]
fn the_shell_writes_appends_and_empties_it() {
    let cat = || tools::shell("cat /proc/example/second").success();
    tools::shell("echo one > /proc/example/second").success();
    assert_eq!(cat(), "one\n");
    tools::shell("echo two >> /proc/example/second; echo three >> /proc/example/second").success();
    assert_eq!(cat(), "one\ntwo\nthree\n");
    tools::shell("echo 4 > /proc/example/second").success();
    assert_eq!(cat(), "4\n");
    tools::shell(": > /proc/example/second").success();
    assert_eq!(cat(), "");
    tools::shell("{ echo a; echo b; } > /proc/example/second").success();
    assert_eq!(cat(), "a\nb\n");
    tools::shell("printf xyz 1<> /proc/example/second").success();
    assert_eq!(cat(), "xyz\n", "without O_TRUNC the rest stays");
}

// new: end
#[test]
fn large_values_pass_through_dd_and_cat() {
    let value = pattern(50_000);
    for size in [1000, 4096, 65536] {
        let dd = format!("dd of=/proc/example/second bs={size} status=none");
        Tool::shell(&dd).stdin(value.clone()).run().success();
        let read = Tool::new("cat").arg(SECOND).run();
        assert!(read.status.success());
        assert_eq!(read.stdout, value, "written {size} bytes at a time");
    }
    let part = "dd if=/proc/example/second bs=1000 skip=7 count=3 status=none";
    assert_eq!(Tool::shell(part).run().stdout, &value[7000..10_000]);
    let patch = "printf NEW | dd of=/proc/example/second bs=1 seek=4095 conv=notrunc status=none";
    tools::shell(patch).success();
    let patched = second().read().unwrap();
    assert_eq!(&patched[4094..4099], [&value[4094..4095], b"NEW", &value[4098..4099]].concat());
    assert_eq!(patched.len(), value.len());
}

// new: begin
#[test]
fn values_of_every_kind_of_length_survive() {
    for len in [0, 1, 2, 255, 4095, 4096, 4097, 8192, 20_000, SECOND_LIMIT - 1, SECOND_LIMIT] {
        let value = pattern(len);
        holding(&value);
        assert_eq!(second().read().unwrap(), value, "{len} bytes");
        let file = second().open(OFlags::RDONLY).unwrap();
        assert_eq!(file.seek(SeekFrom::End(0)), Ok(len as u64));
    }
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(holding(&bytes).read().unwrap(), bytes, "every value of a byte");
}

// new: end
#[test]
fn a_value_can_be_read_in_steps_of_any_size() {
    let value = pattern(SECOND_LIMIT);
    let file = holding(&value).open(OFlags::RDONLY).unwrap();
    for len in [77, 4095, 4096, 4097, 1 << 20] {
        assert_eq!(file.seek(SeekFrom::Start(0)), Ok(0));
        assert!(rest(&file, len).unwrap() == value, "{len} bytes at a time");
    }
    for at in [0, 1, 4095, 4096, 65_000, 65_535, 65_536, 65_537] {
        let mut bytes = [0; 100];
        let len = file.pread(&mut bytes, at as u64).unwrap();
        let behind = &value[at.min(value.len())..];
        assert_eq!(&bytes[..len], &behind[..behind.len().min(100)], "at {at}");
    }
}

#[test]
fn a_value_can_be_written_byte_by_byte() {
    let value = pattern(300);
    let file = second().open(OFlags::RDWR | OFlags::TRUNC).unwrap();
    for byte in &value {
        assert_eq!(file.write(&[*byte]), Ok(1));
    }
    assert_eq!(position(&file), 300);
    assert_eq!(second().read().unwrap(), value);
}

#[test]
fn a_write_within_changes_just_what_it_covers() {
    let file = holding(b"hello world").open(OFlags::RDWR).unwrap();
    assert_eq!(file.pwrite(b"W", 6), Ok(1));
    assert_eq!(second().read().unwrap(), b"hello World");
    assert_eq!(file.pwrite(b"LD of yours", 9), Ok(11));
    assert_eq!(second().read().unwrap(), b"hello WorLD of yours");
    assert_eq!(position(&file), 0, "pwrite(2) moves nothing");
    assert_eq!(file.seek(SeekFrom::Start(1)), Ok(1));
    assert_eq!(file.write(b"a"), Ok(1));
    assert_eq!(position(&file), 2);
    assert_eq!(second().read().unwrap(), b"hallo WorLD of yours");
}

// new: begin
#[test]
fn a_write_behind_the_end_leaves_zeroes_in_between() {
    let file = holding(b"x").open(OFlags::RDWR).unwrap();
    assert_eq!(file.pwrite(b"y", 5000), Ok(1));
    let value = second().read().unwrap();
    assert_eq!((value.len(), value[0], value[5000]), (5001, b'x', b'y'));
    assert!(value[1..5000].iter().all(|byte| *byte == 0));
    assert_eq!(file.seek(SeekFrom::End(3)), Ok(5004));
    assert_eq!(file.write(b"z"), Ok(1));
    assert_eq!(second().read().unwrap()[5000..], *b"y\0\0\0z");
}

// new: end
#[test]
fn nothing_of_an_old_value_comes_back_in_the_zeroes() {
    holding(&[0xff; 10_000]);
    let file = holding(b"short").open(OFlags::RDWR).unwrap();
    assert_eq!(file.pwrite(b"end", 9_997), Ok(3));
    assert!(second().read().unwrap()[5..9_997].iter().all(|byte| *byte == 0));
}

#[test]
fn appending_goes_to_the_end_wherever_the_position_is() {
    let file = holding(b"one").open(OFlags::RDWR | OFlags::APPEND).unwrap();
    assert_eq!(read(&file, 1).unwrap(), b"o");
    assert_eq!(file.write(b"two"), Ok(3));
    assert_eq!(position(&file), 6);
    assert_eq!(file.pwrite(b"three", 0), Ok(5));
    assert_eq!(second().read().unwrap(), b"onetwothree");
    // fcntl(2) changes it on an open file.
    rustix::fs::fcntl_setfl(&file, OFlags::empty()).unwrap();
    assert_eq!(file.pwrite(b"ONE", 0), Ok(3));
    rustix::fs::fcntl_setfl(&file, OFlags::APPEND).unwrap();
    assert_eq!(file.write(b"four"), Ok(4));
    assert_eq!(second().read().unwrap(), b"ONEtwothreefour");
}

// new: begin
#[test]
fn it_grows_to_its_limit_and_not_beyond() {
    let file = holding(b"").open(OFlags::RDWR).unwrap();
    let whole = pattern(SECOND_LIMIT);
    assert_eq!(file.pwrite(b"x", SECOND_LIMIT as u64), Err(Errno::FBIG));
    assert_eq!(second().read().unwrap(), b"", "not even zeroes");
    assert_eq!(file.pwrite(b"x", SECOND_LIMIT as u64 - 1), Ok(1));
    assert_eq!(file.write(&whole), Ok(SECOND_LIMIT));
    assert_eq!(file.write(b"x"), Err(Errno::FBIG));
    assert_eq!(second().read().unwrap(), whole);
    let dd = "dd if=/dev/zero of=/proc/example/second bs=4096 count=17 status=none";
    assert_eq!(tools::shell(dd).answer(), Err(Errno::FBIG));
    assert_eq!(second().read().unwrap().len(), SECOND_LIMIT);
}

// new: end
#[test]
fn a_write_that_does_not_fit_changes_nothing() {
    let file = holding(b"before").open(OFlags::RDWR).unwrap();
    for (at, len) in [(0, SECOND_LIMIT + 1), (1, SECOND_LIMIT), (SECOND_LIMIT - 1, 2)] {
        assert_eq!(file.pwrite(&vec![b'x'; len], at as u64), Err(Errno::FBIG), "{len} at {at}");
        assert_eq!(second().read().unwrap(), b"before", "{len} at {at}");
    }
}

// new: begin
#[test]
fn a_write_that_faults_changes_nothing() {
    let file = holding(b"before").open(OFlags::RDWR).unwrap();
    let short = Guarded::holding(b"hello").unwrap();
    assert_eq!(short.write(&file, 6), Err(Errno::FAULT));
    assert_eq!(short.write(&file, 4000), Err(Errno::FAULT));
    assert_eq!((second().read().unwrap(), position(&file)), (b"before".to_vec(), 0));
    assert_eq!(short.write(&file, 5), Ok(5));
    assert_eq!(second().read().unwrap(), b"helloe");
}

// new: end
#[test]
fn a_read_that_faults_part_way_reports_what_it_moved() {
    let file = holding(b"hello world").open(OFlags::RDONLY).unwrap();
    let mut short = Guarded::new(5).unwrap();
    let reported = short.read(&file, 11).unwrap_or(0);
    assert!(reported <= 5);
    assert_eq!(short.bytes()[..reported], b"hello"[..reported]);
    assert_eq!(position(&file), reported as u64);
    assert_eq!(rest(&file, 99).unwrap(), b"hello world"[reported..]);
}

// new: begin
#[test]
fn whoever_opens_with_trunc_replaces_the_value_without_a_gap() {
    let old = holding(b"the old value").open(OFlags::RDONLY).unwrap();
    let new = second().open(OFlags::RDWR | OFlags::TRUNC).unwrap();
    assert_eq!(rest(&old, 99).unwrap(), b"the old value", "nothing has happened yet");
    assert_eq!(second().read().unwrap(), b"the old value");
    assert_eq!(rest(&new, 99).unwrap(), b"", "but for who will replace it");
    assert_eq!(new.seek(SeekFrom::End(0)), Ok(0));
    assert_eq!(new.write(b"new"), Ok(3));
    assert_eq!(second().read().unwrap(), b"new");
    assert_eq!(new.write(b"er"), Ok(2));
    assert_eq!(second().read().unwrap(), b"newer");
    drop(new);
    assert_eq!(second().read().unwrap(), b"newer");
}

// new: end
#[test]
fn whoever_opens_with_trunc_and_writes_nothing_empties_it() {
    holding(b"the old value");
    let emptying = second().open(OFlags::WRONLY | OFlags::TRUNC).unwrap();
    assert_eq!(second().read().unwrap(), b"the old value");
    assert_eq!(emptying.write(b""), Ok(0));
    assert_eq!(emptying.write(&vec![0; SECOND_LIMIT + 1]), Err(Errno::FBIG));
    assert_eq!(second().read().unwrap(), b"the old value");
    drop(emptying);
    assert_eq!(second().read().unwrap(), b"");
}

#[test]
fn truncate_succeeds_and_does_nothing() {
    let file = holding(b"value").open(OFlags::RDWR).unwrap();
    // procfs takes every change of attributes, and knows nothing of a size.
    assert_eq!(rustix::fs::ftruncate(&file, 0), Ok(()));
    tools::shell("truncate -s 2 /proc/example/second").success();
    assert_eq!(second().read().unwrap(), b"value");
}

// new: begin
#[test]
fn a_reader_sees_one_value_from_beginning_to_end() {
    let reader = holding(b"hello world").open(OFlags::RDONLY).unwrap();
    assert_eq!(read(&reader, 6).unwrap(), b"hello ");
    holding(b"HELLO");
    assert_eq!(read(&reader, 99).unwrap(), b"world");
    assert_eq!(reader.seek(SeekFrom::End(0)), Ok(11), "its end is where it was");
    let mut bytes = [0; 3];
    assert_eq!(reader.pread(&mut bytes, 8), Ok(3));
    assert_eq!(&bytes, b"rld");
    assert_eq!(reader.seek(SeekFrom::Start(0)), Ok(0));
    assert_eq!(rest(&reader, 2).unwrap(), b"HELLO", "from the start it is the new one");
    assert_eq!(reader.seek(SeekFrom::End(0)), Ok(5));
}

// new: end
#[test]
fn a_writer_sees_what_it_has_written() {
    let file = holding(b"hello world").open(OFlags::RDWR).unwrap();
    assert_eq!(read(&file, 6).unwrap(), b"hello ");
    assert_eq!(file.write(b"WORLD!"), Ok(6));
    let mut bytes = [0; 99];
    assert_eq!(file.pread(&mut bytes, 6), Ok(6));
    assert_eq!(&bytes[..6], b"WORLD!");
}

// new: begin
#[test]
fn concurrent_readers_see_whole_values_only() {
    // A value is one letter, as often as belongs to it.
    let value = |letter: u8| vec![letter; 1 + 800 * usize::from(letter - b'a')];
    let done = Arc::new(AtomicBool::new(false));
    holding(&value(b'a'));
    let readers: Vec<_> = [7, 1000, 1 << 16]
        .map(|step| {
            let done = Arc::clone(&done);
            Worker::spawn(move || {
                let file = second().open(OFlags::RDONLY).unwrap();
                let mut seen = [0_usize; 26];
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(file.seek(SeekFrom::Start(0)), Ok(0));
                    let value_read = rest(&file, step).unwrap();
                    let letter = *value_read.first().expect("it is never empty");
                    assert!(value_read == value(letter), "{} of {letter}", value_read.len());
                    seen[usize::from(letter - b'a')] += 1;
                }
                seen
            })
        })
        .into();
    let writers: Vec<_> = [b'a'..=b'm', b'n'..=b'z']
        .into_iter()
        .map(|letters| {
            Worker::spawn(move || {
                for _ in 0..10 {
                    for letter in letters.clone() {
                        second().write(&value(letter)).unwrap();
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.finish(LIMIT);
    }
    done.store(true, Ordering::Relaxed);
    let seen: Vec<_> = readers.into_iter().map(|reader| reader.finish(LIMIT)).collect();
    let different = seen.iter().flatten().filter(|count| **count > 0).count();
    assert!(different > 3, "the readers saw the value change: {seen:?}");
}

#[test]
fn nothing_that_is_appended_gets_lost() {
    const EACH: usize = 100;
    holding(b"");
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            Worker::spawn(move || {
                let file = second().open(OFlags::WRONLY | OFlags::APPEND).unwrap();
                for count in 0..EACH {
                    let line = format!("{writer} {count}\n");
                    assert_eq!(file.write(line.as_bytes()), Ok(line.len()));
                }
            })
        })
        .collect();
    for writer in writers {
        writer.finish(LIMIT);
    }
    let mut lines = vec![Vec::new(); 4];
    for line in second().records::<String>().unwrap() {
        let line = line.unwrap();
        let (writer, count) = line.split_once(' ').unwrap();
        lines[writer.parse::<usize>().unwrap()].push(count.parse::<usize>().unwrap());
    }
    assert_eq!(lines, vec![(0..EACH).collect::<Vec<_>>(); 4]);
}

// new: end
// ---- Bad input ----------------------------------------------------------------------------------

#[test]
fn the_first_file_refuses_bad_input() {
    let mut log = Log::from_now().unwrap();
    let file = first().open(OFlags::RDWR).unwrap();
    let (reading, writing) =
        (first().open(OFlags::RDONLY).unwrap(), first().open(OFlags::WRONLY).unwrap());
    let mut table = Refusals::new();

    for len in [1025, 1026, 2048, 4095, 4096, 4097, 65_536, 1 << 20] {
        table.case(&format!("write {len} bytes"), Errno::INVAL, file.write(&vec![b'x'; len]));
    }
    table.case("pwrite 1025 bytes", Errno::INVAL, file.pwrite(&[b'x'; 1025], 0));
    let too_long = [b'x'; 1025];
    let vector = [IoSlice::new(&too_long)];
    table.case("writev 1025 bytes", Errno::INVAL, rustix::io::writev(&file, &vector));
    for to in [
        SeekFrom::Start(38),
        SeekFrom::Start(u64::MAX),
        SeekFrom::Start(1 << 63),
        SeekFrom::Current(38),
        SeekFrom::Current(-1),
        SeekFrom::Current(i64::MIN),
        SeekFrom::End(1),
        SeekFrom::End(-38),
        SeekFrom::End(i64::MIN),
        SeekFrom::End(i64::MAX),
    ] {
        table.case(&format!("seek {to:?}"), Errno::INVAL, file.seek(to));
    }
    let (data, hole) = (rustix::fs::SeekFrom::Data(0), rustix::fs::SeekFrom::Hole(0));
    table.case("seek for data", Errno::INVAL, rustix::fs::seek(&file, data));
    table.case("seek for a hole", Errno::INVAL, rustix::fs::seek(&file, hole));
    refusals_of_both(&mut table, &file, &reading, &writing);
    table.finish();

    assert_eq!(position(&file), 0);
    first().write(b"after all that").unwrap();
    assert_eq!(logged(&mut log, 1), ["write_first received data: after all that"]);
}

#[test]
fn the_second_file_refuses_bad_input() {
    let limit = i64::try_from(SECOND_LIMIT).unwrap();
    let file = holding(b"precious").open(OFlags::RDWR).unwrap();
    let (reading, writing) =
        (second().open(OFlags::RDONLY).unwrap(), second().open(OFlags::WRONLY).unwrap());
    let mut table = Refusals::new();

    for len in [SECOND_LIMIT + 1, 2 * SECOND_LIMIT, 1 << 20] {
        table.case(&format!("write {len} bytes"), Errno::FBIG, file.write(&vec![b'x'; len]));
    }
    for (at, len) in [
        (SECOND_LIMIT as u64, 1),
        (SECOND_LIMIT as u64 - 1, 2),
        (1, SECOND_LIMIT),
        (1 << 32, 1),
        (1 << 40, 1),
        (i64::MAX as u64 - 1, 1),
    ] {
        let refused = file.pwrite(&vec![b'x'; len], at);
        table.case(&format!("pwrite {len} bytes at {at}"), Errno::FBIG, refused);
    }
    for len in [1, SECOND_LIMIT] {
        let refused = file.pwrite(&vec![b'x'; len], i64::MAX as u64);
        table.case(&format!("pwrite {len} bytes beyond any position"), Errno::INVAL, refused);
    }
    for to in [
        SeekFrom::Start(SECOND_LIMIT as u64 + 1),
        SeekFrom::Start(u64::MAX),
        SeekFrom::Start(1 << 63),
        SeekFrom::Current(limit + 1),
        SeekFrom::Current(-1),
        SeekFrom::End(limit - 7),
        SeekFrom::End(-9),
        SeekFrom::End(i64::MIN),
        SeekFrom::End(i64::MAX),
    ] {
        table.case(&format!("seek {to:?}"), Errno::INVAL, file.seek(to));
    }
    for at in [8, 9, SECOND_LIMIT as u64, i64::MAX as u64] {
        let (data, hole) = (rustix::fs::SeekFrom::Data(at), rustix::fs::SeekFrom::Hole(at));
        table.case(&format!("data from {at}"), Errno::NXIO, rustix::fs::seek(&file, data));
        table.case(&format!("a hole from {at}"), Errno::NXIO, rustix::fs::seek(&file, hole));
    }
    refusals_of_both(&mut table, &file, &reading, &writing);
    table.finish();

    assert_eq!(position(&file), 0);
    assert_eq!(second().read().unwrap(), b"precious");
}

/// What neither file can do.
fn refusals_of_both(table: &mut Refusals, file: &Device, reading: &Device, writing: &Device) {
    for offset in [u64::MAX, 1 << 63] {
        table.case("pread before the start", Errno::INVAL, file.pread(&mut [0], offset));
        table.case("pwrite before the start", Errno::INVAL, file.pwrite(&[0], offset));
    }
    for bad in Hole::ALL {
        table.case(&format!("read to {bad:?}"), Errno::FAULT, bad.read(file, 5));
        if bad != Hole::ReadOnly {
            table.case(&format!("write from {bad:?}"), Errno::FAULT, bad.write(file, 5));
        }
    }
    let short = Guarded::holding(b"hello").unwrap();
    table.case("write part from nowhere", Errno::FAULT, short.write(file, 6));
    table.case("read, open for writing", Errno::BADF, writing.read(&mut [0]));
    table.case("pread, open for writing", Errno::BADF, writing.pread(&mut [0], 0));
    table.case("write, open for reading", Errno::BADF, reading.write(b"x"));
    table.case("pwrite, open for reading", Errno::BADF, reading.pwrite(b"x", 0));
    let nowait = rustix::io::preadv2(
        file,
        &mut [IoSliceMut::new(&mut [0])],
        0,
        ReadWriteFlags::NOWAIT,
    );
    table.case("read without waiting", Errno::OPNOTSUPP, nowait);
    let append = rustix::io::pwritev2(file, &[IoSlice::new(b"x")], 0, ReadWriteFlags::APPEND);
    table.case("append for once", Errno::OPNOTSUPP, append);
    for number in [0x4700, 0x5401, 0x8004_4700, 0x4004_4701, 0xffff_ffff] {
        let refused = file.issue(number, &mut Buffer::new(&[]));
        table.case(&format!("ioctl {number:#x}"), Errno::NOTTY, refused);
    }
    table.case("mmap", Errno::IO, memory::try_map(file));
    table.case("fsync", Errno::INVAL, rustix::fs::fsync(file));
    table.case("fdatasync", Errno::INVAL, rustix::fs::fdatasync(file));
    let reserved = rustix::fs::fallocate(file, FallocateFlags::empty(), 0, 100);
    table.case("fallocate", Errno::OPNOTSUPP, reserved);
    let (pipe, filled) = std::io::pipe().unwrap();
    rustix::io::write(&filled, b"x").unwrap();
    let spliced = rustix::pipe::splice(&pipe, None, file, None, 1, SpliceFlags::empty());
    table.case("splice into it", Errno::INVAL, spliced);
    let greeting = first().open(OFlags::RDONLY).unwrap();
    let sent = rustix::fs::sendfile(file, &greeting, None, 5);
    table.case("sendfile into it", Errno::INVAL, sent);
}

#[test]
fn the_directory_refuses_bad_input() {
    let proc = Proc::find().unwrap();
    let path = |name: &str| format!("{DIRECTORY}/{name}");
    let mode = Mode::from_raw_mode(0o644);
    let mut table = Refusals::new();

    for name in ["third", "First", "first ", "firs", "firstx", "\u{7f}", "first\n", &"x".repeat(256)] {
        let refused = opened(&proc.entry(path(name)), OFlags::RDONLY);
        table.case(&format!("open {name:?}"), Errno::NOENT, refused);
    }
    table.case("open first/x", Errno::NOTDIR, opened(&proc.entry(path("first/x")), OFlags::RDONLY));
    table.case("open first/", Errno::NOTDIR, opened(&proc.entry(path("first/")), OFlags::RDONLY));
    table.case("open first as a directory", Errno::NOTDIR, opened(&first(), OFlags::DIRECTORY));
    let directory = proc.entry("example");
    table.case("open example to write", Errno::ISDIR, opened(&directory, OFlags::WRONLY));
    let listing = directory.open(OFlags::RDONLY).unwrap();
    table.case("read example", Errno::ISDIR, listing.read(&mut [0]));
    table.case("write example", Errno::BADF, listing.write(b"x"));
    let pathless = first().open(OFlags::PATH).unwrap();
    table.case("read a mere path", Errno::BADF, pathless.read(&mut [0]));
    table.case("write a mere path", Errno::BADF, pathless.write(b"x"));
    table.case("seek a mere path", Errno::BADF, pathless.seek(SeekFrom::Start(0)));

    let create = OFlags::CREATE | OFlags::WRONLY;
    table.case("create third", Errno::NOENT, opened(&proc.entry(path("third")), create));
    let exclusive = opened(&first(), create | OFlags::EXCL);
    table.case("create first", Errno::EXIST, exclusive);
    table.case("mkdir third", Errno::NOENT, rustix::fs::mkdir(path("third"), mode));
    table.case("mkdir first", Errno::EXIST, rustix::fs::mkdir(path("first"), mode));
    table.case("symlink", Errno::NOENT, rustix::fs::symlink("first", path("third")));
    table.case("link", Errno::NOENT, rustix::fs::link(FIRST, path("third")));
    table.case("link over", Errno::EXIST, rustix::fs::link(FIRST, SECOND));
    let fifo = rustix::fs::mknodat(CWD, path("third"), rustix::fs::FileType::Fifo, mode, 0);
    table.case("mkfifo", Errno::NOENT, fifo);
    table.case("unlink", Errno::PERM, rustix::fs::unlink(FIRST));
    table.case("rmdir", Errno::PERM, rustix::fs::rmdir(DIRECTORY));
    table.case("rmdir a file", Errno::NOTDIR, rustix::fs::rmdir(FIRST));
    table.case("unlink the directory", Errno::ISDIR, rustix::fs::unlink(DIRECTORY));
    table.case("rename", Errno::NOENT, rustix::fs::rename(FIRST, path("third")));
    table.case("rename over", Errno::PERM, rustix::fs::rename(FIRST, SECOND));
    table.finish();
    assert_eq!(directory.list().unwrap(), ["first", "second"]);
}

#[test]
fn a_stranger_is_kept_out_of_writing() {
    holding(b"precious");
    as_stranger(|| {
        let mut table = Refusals::new();
        for file in [first(), second()] {
            for flags in [
                OFlags::WRONLY,
                OFlags::RDWR,
                OFlags::WRONLY | OFlags::APPEND,
                OFlags::RDONLY | OFlags::TRUNC,
                OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC,
            ] {
                let what = format!("open {} {flags:?}", file.path().display());
                table.case(&what, Errno::ACCESS, opened(&file, flags));
            }
            let mode = Mode::from_raw_mode(0o666);
            table.case("chmod", Errno::PERM, rustix::fs::chmod(file.path(), mode));
            let me = Some(Uid::from_raw(65534));
            table.case("chown", Errno::PERM, rustix::fs::chown(file.path(), me, None));
            table.case("unlink", Errno::ACCESS, rustix::fs::unlink(file.path()));
        }
        table.finish();
    });
    let echo = Tool::shell("echo x > /proc/example/second").user(65534, 65534).run();
    assert_eq!(echo.answer(), Err(Errno::ACCESS));
    assert_eq!(second().read().unwrap(), b"precious");
}

#[test]
fn a_read_only_mount_lets_nobody_write() {
    holding(b"precious");
    tools::shell("mkdir -p /tmp/ro && mount -t proc -o ro proc /tmp/ro").success();
    let mut table = Refusals::new();
    for name in ["example/first", "example/second"] {
        let file = Proc::at("/tmp/ro").entry(name);
        for flags in [
            OFlags::WRONLY,
            OFlags::RDWR,
            OFlags::WRONLY | OFlags::APPEND,
            OFlags::RDONLY | OFlags::TRUNC,
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC,
        ] {
            table.case(&format!("open {name} {flags:?}"), Errno::ROFS, opened(&file, flags));
        }
        let mode = Mode::from_raw_mode(0o666);
        table.case("chmod", Errno::ROFS, rustix::fs::chmod(file.path(), mode));
    }
    let echo = tools::shell("echo x > /tmp/ro/example/second").answer();
    let read = Proc::at("/tmp/ro").entry("example/second").read();
    tools::shell("umount /tmp/ro && rmdir /tmp/ro").success();
    table.finish();
    assert_eq!(echo, Err(Errno::ROFS));
    assert_eq!(read.unwrap(), b"precious");
    assert_eq!(second().read().unwrap(), b"precious");
}

#[test]
fn the_kernel_accepts_what_it_need_not_refuse() {
    let file = holding(b"value").open(OFlags::RDWR).unwrap();
    // No byte is to be moved, so no address is looked at.
    assert_eq!(Hole::Null.read(&file, 0), Ok(0));
    assert_eq!(Hole::Null.write(&file, 0), Ok(0));
    for flags in [
        OFlags::RDWR | OFlags::NONBLOCK,
        OFlags::RDWR | OFlags::EXCL,
        OFlags::WRONLY | OFlags::CREATE,
        OFlags::RDWR | OFlags::SYNC,
    ] {
        assert_eq!(opened(&second(), flags), Ok(()), "{flags:?}");
    }
    // There is nothing to wait for: poll(2) says at once that both can be done.
    let mut fds = [PollFd::new(&file, PollFlags::IN | PollFlags::OUT)];
    let moment = Timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut fds, Some(&moment)), Ok(1));
    assert_eq!(fds[0].revents(), PollFlags::IN | PollFlags::OUT);
    assert_eq!(second().read().unwrap(), b"value");
}

// ---- While the module comes and goes ------------------------------------------------------------

#[test]
fn unloading_takes_the_directory_away() {
    module::unload(MODULE).unwrap();
    let loaded = module::is_loaded(MODULE).unwrap();
    let gone = !Path::new(DIRECTORY).exists();
    let first = opened(&first(), OFlags::RDONLY);
    let again = module::unload(MODULE).map_err(|error| error.errno());
    module::load(MODULE_FILE, "").unwrap();
    assert!(!loaded && gone);
    assert_eq!(first, Err(Errno::NOENT));
    assert_eq!(again, Err(Some(Errno::NOENT)));
    assert_eq!(self::first().read().unwrap(), GREETING);
}

#[test]
fn an_open_file_does_not_keep_the_module() {
    let file = second().open(OFlags::RDWR).unwrap();
    let users = |list: String| -> String {
        let line = list.lines().find(|line| line.starts_with("callgate_procfs ")).unwrap();
        line.split(' ').nth(2).unwrap().to_owned()
    };
    assert_eq!(users(fs::read_to_string("/proc/modules").unwrap()), "0");
    assert_eq!(tools::shell("rmmod callgate_procfs < /proc/example/second").success(), "");
    module::load(MODULE_FILE, "").unwrap();
    assert_eq!(file.read(&mut [0]), Err(Errno::IO));
}

#[test]
fn a_file_opened_before_is_dead_after_an_unload() {
    let files = [first(), second()].map(|file| file.open(OFlags::RDWR).unwrap());
    holding(b"value");
    assert_eq!(read(&files[1], 2).unwrap(), b"va");
    let directory = Proc::find().unwrap().entry("example").open(OFlags::RDONLY).unwrap();
    let path = first().open(OFlags::PATH).unwrap();
    module::unload(MODULE).unwrap();
    let mut table = Refusals::new();
    for round in ["unloaded", "loaded again"] {
        for file in &files {
            table.case(&format!("{round}: read"), Errno::IO, file.read(&mut [0]));
            table.case(&format!("{round}: pread"), Errno::IO, file.pread(&mut [0], 3));
            table.case(&format!("{round}: write"), Errno::IO, file.write(b"x"));
            table.case(&format!("{round}: pwrite"), Errno::IO, file.pwrite(b"x", 3));
            table.case(&format!("{round}: mmap"), Errno::IO, memory::try_map(file));
            for to in [SeekFrom::Start(0), SeekFrom::Current(0), SeekFrom::End(0)] {
                table.case(&format!("{round}: seek {to:?}"), Errno::INVAL, file.seek(to));
            }
            let ioctl = file.issue(0x4700, &mut Buffer::new(&[]));
            table.case(&format!("{round}: ioctl"), Errno::NOTTY, ioctl);
            // What the kernel keeps for itself works on.
            assert!(rustix::fs::fstat(file).is_ok());
            assert!(file.try_clone().is_ok());
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let within = rustix::fs::openat(&directory, "first", flags, Mode::empty());
        table.case(&format!("{round}: open in the old directory"), Errno::NOENT, within);
        let reopened = opened(
            &Proc::at("/proc/self/fd").entry(raw(&path).to_string()),
            OFlags::RDONLY,
        );
        table.case(&format!("{round}: open by the old path"), Errno::NOENT, reopened);
        if round == "unloaded" {
            module::load(MODULE_FILE, "").unwrap();
        }
    }
    drop(files);
    table.finish();
    assert_eq!(first().read().unwrap(), GREETING);
    assert_eq!(second().read().unwrap(), b"");
}

fn raw(device: &Device) -> i32 {
    device.as_fd().as_raw_fd()
}

#[test]
fn a_directory_that_somebody_is_in_goes_all_the_same() {
    rustix::process::chdir(DIRECTORY).unwrap();
    reload();
    let left: Vec<_> = fs::read_dir(".").unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    rustix::process::chdir("/").unwrap();
    assert_eq!(fs::read_dir(DIRECTORY).unwrap().count(), 2);
}

// new: begin
#[test]
fn a_value_waiting_to_be_replaced_goes_with_the_module() {
    holding(b"value");
    let replacing = second().open(OFlags::RDWR | OFlags::TRUNC).unwrap();
    reload();
    holding(b"another");
    assert_eq!(replacing.write(b"late"), Err(Errno::IO));
    drop(replacing);
    assert_eq!(second().read().unwrap(), b"another", "closing it empties nothing any more");
}

// new: end
#[test]
fn loading_twice_is_refused_and_harmless() {
    holding(b"unimpressed");
    let refused = module::load(MODULE_FILE, "").map_err(|error| error.errno());
    assert_eq!(refused, Err(Some(Errno::EXIST)));
    assert_eq!(second().read().unwrap(), b"unimpressed");
}

/// The kernel would `WARN` about the name; a clean log is part of what this run is judged by.
#[test]
fn another_module_cannot_have_the_same_name_in_proc() {
    // The same module under another name, as the kernel tells them apart by that alone.
    let mut image = fs::read(MODULE_FILE).unwrap();
    let (name, other) = (MODULE.as_bytes(), b"callgate_procfz");
    let places: Vec<_> =
        (0..image.len()).filter(|at| image[*at..].starts_with(name)).collect();
    for at in places {
        image[at..at + name.len()].copy_from_slice(other);
    }
    fs::write("/tmp/other.ko", image).unwrap();
    holding(b"mine");
    let refused = module::load("/tmp/other.ko", "").map_err(|error| error.errno());
    if module::must_be_signed() {
        // It no longer is what was signed.
        assert_eq!(refused, Err(Some(Errno::KEYREJECTED)));
        return;
    }
    // Its init fails with EEXIST, which the kernel keeps for a module that is there already.
    assert_eq!(refused, Err(Some(Errno::BUSY)));
    assert_eq!(second().read().unwrap(), b"mine");

    // With the name free, there is nothing wrong with it; and now it is ours that is refused.
    module::unload(MODULE).unwrap();
    let loaded = module::load("/tmp/other.ko", "").map_err(|error| error.errno());
    let refused = module::load(MODULE_FILE, "").map_err(|error| error.errno());
    let unloaded = module::unload("callgate_procfz").map_err(|error| error.errno());
    module::load(MODULE_FILE, "").unwrap();
    assert_eq!((loaded, refused, unloaded), (Ok(()), Err(Some(Errno::BUSY)), Ok(())));
}

#[test]
fn lack_of_memory_is_reported_and_changes_nothing() {
    let value = pattern(10_000);
    let file = holding(b"old");
    let places = at_each_place(
        || opened(&file, OFlags::RDWR | OFlags::TRUNC),
        |place, result| {
            let now = second().read().unwrap();
            match result {
                Ok(()) => assert_eq!(now, b"", "place {place}"),
                Err(Errno::NOMEM | Errno::FAULT) => assert_eq!(now, b"old", "place {place}"),
                Err(errno) => panic!("place {place}: {errno:?}"),
            }
            holding(b"old");
        },
    );
    assert!(places.is_none_or(|places| places >= 3));

    let file = second().open(OFlags::RDWR).unwrap();
    let places = at_each_place(
        || file.pwrite(&value, 0),
        |place, result| {
            let now = second().read().unwrap();
            match result {
                Ok(len) => assert!(len == value.len() && now == value, "place {place}"),
                Err(Errno::NOMEM | Errno::FAULT) => assert_eq!(now, b"old", "place {place}"),
                Err(errno) => panic!("place {place}: {errno:?}"),
            }
            holding(b"old");
        },
    );
    assert!(places.is_none_or(|places| places >= 3));
}

#[test]
fn a_module_that_fails_to_load_leaves_nothing_behind() {
    let _watchdog = Watchdog::new(TOO_LONG);
    module::unload(MODULE).unwrap();
    at_last_places(
        24,
        || module::load(MODULE_FILE, "").is_ok(),
        |place, loaded| {
            assert_eq!(loaded, Path::new(DIRECTORY).exists(), "place {place}");
            if loaded {
                assert_eq!(first().read().unwrap(), GREETING, "place {place}");
                module::unload(MODULE).unwrap();
            }
        },
    );
    module::load(MODULE_FILE, "").unwrap();
    assert_eq!(first().read().unwrap(), GREETING);
}

/// Whether one use of the module reached it. What it may answer while it goes is `EIO`, and `ENOENT`
/// to who opens.
fn outcome<T>(result: &Result<T, Errno>) -> Use {
    match result {
        Ok(_) => Use::Reached,
        Err(Errno::IO | Errno::NOENT) => {
            // So that who loads the module gets to run.
            std::thread::sleep(Duration::from_millis(1));
            Use::Missed
        }
        Err(errno) => panic!("{errno:?}"),
    }
}

fn open(file: &Entry, flags: OFlags) -> Result<Device, Errno> {
    file.open(flags).map_err(|error| error.errno().unwrap())
}

fn use_first() -> Use {
    outcome(&open(&first(), OFlags::RDWR).and_then(|file| {
        let greeting = rest(&file, 5)?;
        assert_eq!(greeting, GREETING);
        file.write(b"here I am")
    }))
}

fn write_second() -> Use {
    outcome(&open(&second(), OFlags::WRONLY | OFlags::TRUNC).and_then(|file| {
        file.write(&pattern(10_000))?;
        file.write(b"more")
    }))
}

fn read_second() -> Use {
    outcome(&open(&second(), OFlags::RDONLY).and_then(|file| {
        let value = rest(&file, 999)?;
        assert!([0, 10_000, 10_004].contains(&value.len()), "{}", value.len());
        Ok(())
    }))
}

#[test]
fn it_unloads_while_files_are_open() {
    let _watchdog = Watchdog::new(TOO_LONG);
    for cycle in 0..unload::cycles() {
        let files: Vec<_> = (0..4)
            .flat_map(|_| [first(), second()])
            .map(|file| file.open(OFlags::RDWR | OFlags::TRUNC).unwrap())
            .collect();
        assert_eq!(rest(&files[cycle % 2], 10).unwrap().len(), [37, 0][cycle % 2]);
        reload();
        for file in &files {
            assert_eq!(file.read(&mut [0]), Err(Errno::IO), "cycle {cycle}");
        }
    }
}

#[test]
fn it_unloads_while_files_are_read() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let cycles = while_used(MODULE, MODULE_FILE, LIMIT, &[&read_second, &read_second]);
    assert_eq!(cycles.refused, 0, "nothing keeps this module");
}

#[test]
fn it_unloads_while_files_are_written() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let cycles = while_used(MODULE, MODULE_FILE, LIMIT, &[&write_second, &write_second]);
    assert_eq!(cycles.refused, 0, "nothing keeps this module");
}

#[test]
fn it_unloads_while_everything_is_done() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let list = || match Proc::find().unwrap().entry("example").list() {
        Ok(_) => Use::Reached,
        Err(error) => outcome::<()>(&Err(error.errno().unwrap())),
    };
    let users: [&(dyn Fn() -> Use + Sync); 4] = [&use_first, &write_second, &read_second, &list];
    let cycles = while_used(MODULE, MODULE_FILE, LIMIT, &users);
    assert_eq!(cycles.refused, 0, "nothing keeps this module");
}
