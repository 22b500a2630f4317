// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a reader of `/proc/sequence` and `/proc/sequence_list` can rely on, also while the list changes.
//!
//! These run in the lab's VM as root, each in a process of its own, with the module loaded.

// new: begin
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{IoSlice, IoSliceMut, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use callgate::Errno;
use callgate::chardev::Device;
use callgate::ioctl::{Buffer, Target};
use callgate::module;
use callgate::procfs::{Entry, Proc};
use callgate::testing::Refusals;
use callgate::testing::faults::at_each_place;
use callgate::testing::memory::{self, Guarded, Hole};
use callgate::testing::tools::{self, Killed, Tool};
use callgate::testing::unload::{self, Use, while_used};
use callgate::testing::worker::{Watchdog, Worker};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::ReadWriteFlags;
use rustix::process::{Gid, Uid};

use super::abi::{CONTROL, CONTROL_LIMIT, LIST, SEQUENCE};

/// Every wait ends here at the latest; it is generous, because an emulated debug kernel is slow.
const LIMIT: Duration = Duration::from_secs(30);

/// A test that takes longer than this has lost its way.
const TOO_LONG: Duration = Duration::from_secs(160);

const MODULE: &str = "callgate_seq_file";
const MODULE_FILE: &str = "/modules/callgate_seq_file.ko";

// new: end
/// How many records the large list has.
const MANY: u64 = 100_001;

// new: begin
fn entry(name: &str) -> Entry {
    Proc::find().unwrap().entry(name)
}

/// `name`, open for reading.
fn open(name: &str) -> Device {
    entry(name).open(OFlags::RDONLY).unwrap()
}

/// The errno that opening was refused with.
fn opened(file: &Entry, flags: OFlags) -> Result<Device, Errno> {
    file.open(flags).map_err(|error| error.errno().unwrap())
}

/// What one read of up to `len` bytes gives.
fn read(file: &Device, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    let len = file.read(&mut bytes)?;
    bytes.truncate(len);
    Ok(bytes)
}

/// All from the position on, by reads of `step` bytes.
fn rest(file: &Device, step: usize) -> Result<Vec<u8>, Errno> {
    let (mut all, mut part) = (Vec::new(), vec![0; step]);
    loop {
        match file.read(&mut part)? {
            0 => return Ok(all),
            len => all.extend_from_slice(&part[..len]),
        }
    }
}

// new: end
/// Exactly `len` bytes, by reads of `step` bytes.
fn exactly(file: &Device, len: usize, step: usize) -> Vec<u8> {
    let mut all = vec![0; len];
    let mut have = 0;
    while have < len {
        let part = &mut all[have..len.min(have + step)];
        let read = file.read(part).unwrap();
        assert!(read > 0, "the end after {have} bytes");
        have += read;
    }
    all
}

fn position(file: &Device) -> u64 {
    file.seek(SeekFrom::Current(0)).unwrap()
}

/// The numbers from 0 up to `end`, as `/proc/sequence` has them.
fn numbers(end: u64) -> Vec<u8> {
    (0..end).fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "{number}");
        text
    }).into_bytes()
}

// new: begin
/// Unloads the module and loads it again: the list is empty.
fn reload() {
    module::unload(MODULE).unwrap();
    module::load(MODULE_FILE, "").unwrap();
}

/// One write to the control file.
fn control(commands: impl AsRef<[u8]>) -> Result<usize, Errno> {
    entry(CONTROL).open(OFlags::WRONLY).unwrap().write(commands.as_ref())
}

/// Has all these commands carried out, in as many writes as it takes.
fn carry_out(commands: &str) {
    let file = entry(CONTROL).open(OFlags::WRONLY).unwrap();
    let mut left = commands.as_bytes();
    while !left.is_empty() {
        let done = file.write(left).unwrap();
        assert!(done > 0);
        left = &left[done..];
    }
}

fn list() -> String {
    let bytes = entry(LIST).read().unwrap();
    String::from_utf8(bytes).unwrap()
}

/// A record of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    number: u64,
    text: String,
}

impl FromStr for Record {
    type Err = Errno;

    fn from_str(line: &str) -> Result<Self, Errno> {
        let (number, text) = line.split_once('\t').ok_or(Errno::INVAL)?;
        Ok(Self {
            number: number.parse().map_err(|_| Errno::INVAL)?,
            text: text.to_owned(),
        })
    }
}

fn parse(bytes: &[u8]) -> Vec<Record> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

// new: end
/// Makes a list of `MANY` records without a text, and gives what it reads as.
fn large_list() -> Vec<u8> {
    reload();
    let (mut commands, mut list) = (String::new(), String::new());
    for number in 0..MANY {
        let _ = writeln!(commands, "add {number}");
        let _ = writeln!(list, "{number}\t");
    }
    carry_out(&commands);
    list.into_bytes()
}

/// Whether this kernel checks whatever it does, and is slow for it.
fn is_debug_kernel() -> bool {
    Path::new("/sys/kernel/debug/kmemleak").exists()
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

// new: end
// ---- The numbers --------------------------------------------------------------------------------

#[test]
fn tools_read_the_numbers() {
    assert_eq!(tools::shell("head -n 5 /proc/sequence").success(), "0\n1\n2\n3\n4\n");
    let line = tools::shell("sed -n '10000{p;q}' /proc/sequence").success();
    assert_eq!(line, "9999\n");
    // The example of the kernel's documentation: two parts by two programs make a whole.
    let parts = "dd if=/proc/sequence count=1 status=none; dd if=/proc/sequence skip=1 count=1 status=none";
    assert_eq!(tools::shell(parts).success().as_bytes(), &numbers(1000)[..1024]);
    let sum = tools::shell("head -c 20000 /proc/sequence | md5sum").success();
    let expected = Tool::new("md5sum").stdin(&numbers(9999)[..20_000]).run().success();
    assert_eq!(sum, expected);
    let cat = Tool::new("cat").arg("/proc/sequence").limit(Duration::from_secs(1)).run();
    assert!(cat.killed.is_some(), "it has no end");
    assert!(cat.stdout.starts_with(&numbers(1000)));
}

// new: begin
#[test]
fn anybody_reads_the_files_and_root_alone_writes_commands() {
    for (name, mode) in [
        // new: end
        (SEQUENCE, 0o100_444),
        // new: begin
        (LIST, 0o100_444),
        (CONTROL, 0o100_200),
    ] {
        let metadata = fs::metadata(entry(name).path()).unwrap();
        let shown = (metadata.mode(), metadata.uid(), metadata.gid(), metadata.len());
        assert_eq!(shown, (mode, 0, 0, 0), "{name}");
    }
    carry_out("add 12345 for all eyes\n");
    let seen = as_stranger(list);
    carry_out("remove 12345\n");
    assert!(seen.contains("12345\tfor all eyes\n"));
    let refused = as_stranger(|| opened(&entry(CONTROL), OFlags::WRONLY).map(drop));
    assert_eq!(refused, Err(Errno::ACCESS));
    // new: end
    assert_eq!(as_stranger(|| read(&open(SEQUENCE), 4).unwrap()), b"0\n1\n");
    // new: begin
}

// new: end
#[test]
fn the_numbers_come_in_order_far_beyond_a_page() {
    let records = entry(SEQUENCE).records::<u64>().unwrap();
    for (expected, number) in (0..50_000).zip(records) {
        assert_eq!(number.unwrap(), expected);
    }
}

#[test]
fn the_numbers_can_be_read_in_steps_of_any_size() {
    let expected = numbers(10_000);
    for step in [1, 2, 3, 7, 100, 4095, 4096, 4097, 1 << 20] {
        let read = exactly(&open(SEQUENCE), 30_000, step);
        assert!(read == expected[..30_000], "{step} bytes at a time");
    }
}

#[test]
fn one_read_gives_at_most_what_the_buffer_holds() {
    let file = open(SEQUENCE);
    let first = read(&file, 1 << 20).unwrap();
    assert!((4080..=4096).contains(&first.len()), "{}", first.len());
    assert_eq!(first.last(), Some(&b'\n'), "only whole records are put into the buffer");
    assert_eq!(read(&file, 0).unwrap(), b"");
    assert_eq!(position(&file), first.len() as u64);
}

#[test]
fn every_position_can_be_sought_and_read() {
    let expected = numbers(2000);
    let file = open(SEQUENCE);
    for at in (0..5000).step_by(7).chain(4090..4100) {
        assert_eq!(file.seek(SeekFrom::Start(at as u64)), Ok(at as u64));
        assert_eq!(read(&file, 20).unwrap(), expected[at..at + 20], "from {at}");
        assert_eq!(position(&file), at as u64 + 20);
    }
    assert_eq!(file.seek(SeekFrom::Start(100)), Ok(100));
    assert_eq!(file.seek(SeekFrom::Current(50)), Ok(150));
    assert_eq!(file.seek(SeekFrom::Current(-140)), Ok(10));
    assert_eq!(exactly(&file, 4500, 1000), expected[10..4510]);
}

#[test]
fn positioned_reads_leave_the_position_alone() {
    let expected = numbers(200_000);
    let file = open(SEQUENCE);
    assert_eq!(exactly(&file, 5000, 5000), expected[..5000]);
    for at in [0, 1, 4095, 4096, 4999, 5000, 5001, 1_000_000] {
        let mut bytes = [0; 50];
        assert_eq!(file.pread(&mut bytes, at as u64), Ok(50));
        assert_eq!(bytes[..], expected[at..at + 50], "at {at}");
        assert_eq!(position(&file), 5000);
    }
    assert_eq!(exactly(&file, 5000, 99), expected[5000..10_000], "and nothing is lost");
}

#[test]
fn each_open_file_counts_for_itself_and_twins_share() {
    let (one, two) = (open(SEQUENCE), open(SEQUENCE));
    let twin = one.try_clone().unwrap();
    assert_eq!(read(&one, 2).unwrap(), b"0\n");
    assert_eq!(read(&two, 4).unwrap(), b"0\n1\n");
    assert_eq!(read(&twin, 2).unwrap(), b"1\n");
    assert_eq!(read(&one, 2).unwrap(), b"2\n");
    assert_eq!((position(&twin), position(&two)), (6, 4));
}

#[test]
fn threads_that_share_a_file_share_out_its_numbers() {
    let file = Arc::new(open(SEQUENCE));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let file = Arc::clone(&file);
            Worker::spawn(move || {
                let parts = (0..200).map(|_| exactly(&file, 2, 2));
                parts.collect::<Vec<_>>()
            })
        })
        .collect();
    let mut bytes: Vec<_> =
        readers.into_iter().flat_map(|reader| reader.finish(LIMIT)).flatten().collect();
    let mut expected = numbers(1000)[..1600].to_vec();
    bytes.sort_unstable();
    expected.sort_unstable();
    assert!(bytes == expected, "each byte went to just one of them");
}

#[test]
fn a_vectored_read_fills_buffer_after_buffer() {
    let (mut one, mut two) = ([0; 3], [0; 5]);
    let mut vector = [&mut one[..], &mut two[..]].map(IoSliceMut::new);
    assert_eq!(rustix::io::readv(open(SEQUENCE), &mut vector), Ok(8));
    assert_eq!((&one, &two), (b"0\n1", b"\n2\n3\n"));
}

#[test]
fn the_numbers_can_be_spliced_into_a_pipe() {
    let (reader, writer) = std::io::pipe().unwrap();
    assert_eq!(rustix::fs::sendfile(&writer, open(SEQUENCE), None, 1000), Ok(1000));
    let mut bytes = [0; 1000];
    assert_eq!(rustix::io::read(&reader, &mut bytes), Ok(1000));
    assert_eq!(bytes[..], numbers(1000)[..1000]);
}

#[test]
fn a_read_that_faults_loses_no_number() {
    let file = open(SEQUENCE);
    let expected = numbers(2000);
    for hole in Hole::ALL {
        assert_eq!(hole.read(&file, 100), Err(Errno::FAULT), "{hole:?}");
    }
    let mut short = Guarded::new(5).unwrap();
    let mut at = 0;
    for _ in 0..20 {
        match short.read(&file, 11) {
            Ok(len) => {
                assert_eq!(short.bytes()[..len], expected[at..at + len]);
                at += len;
            }
            Err(errno) => assert_eq!(errno, Errno::FAULT),
        }
    }
    assert_eq!(position(&file), at as u64);
    assert_eq!(exactly(&file, 3000, 77), expected[at..at + 3000]);
}

/// A terabyte ahead the kernel would count for hours. It must let go of who is killed.
#[test]
fn whoever_seeks_too_far_can_be_killed() {
    for line in [
        "exec dd if=/proc/sequence of=/dev/null bs=1 count=1 skip=1T status=none",
        "exec dd if=/proc/sequence of=/dev/null bs=1 count=1 skip=8000000T status=none",
    ] {
        let seeker = Tool::shell(line).limit(Duration::from_millis(300)).run();
        assert_eq!(seeker.killed, Some(Killed::TimeLimit), "{seeker}");
    }
}

// ---- The list -----------------------------------------------------------------------------------

// new: begin
#[test]
fn echo_changes_the_list_and_cat_shows_it() {
    reload();
    let cat = || tools::shell("cat /proc/sequence_list").success();
    assert_eq!(cat(), "");
    tools::shell("echo add 20 twenty > /proc/sequence_control").success();
    tools::shell("echo add 3 > /proc/sequence_control").success();
    tools::shell("printf 'add 100 one  hundred \\nadd 0 zero' > /proc/sequence_control").success();
    assert_eq!(cat(), "0\tzero\n3\t\n20\ttwenty\n100\tone  hundred \n");
    tools::shell("echo remove 3 > /proc/sequence_control").success();
    assert_eq!(cat(), "0\tzero\n20\ttwenty\n100\tone  hundred \n");
    let twice = tools::shell("echo add 20 again > /proc/sequence_control").answer();
    assert_eq!(twice, Err(Errno::EXIST));
    let missing = tools::shell("echo remove 3 > /proc/sequence_control").answer();
    assert_eq!(missing, Err(Errno::NOENT));
    let third = tools::shell("sed -n 3p /proc/sequence_list").success();
    assert_eq!(third, "100\tone  hundred \n");
}

// new: end
#[test]
fn a_list_just_made_is_empty() {
    carry_out("add 7 seven\n");
    reload();
    let file = open(LIST);
    assert_eq!(read(&file, 100).unwrap(), b"");
    assert_eq!(file.seek(SeekFrom::Start(100)), Ok(100), "one may seek behind the end");
    assert_eq!(read(&file, 100).unwrap(), b"");
}

#[test]
fn records_are_in_the_order_of_their_numbers_up_to_the_largest() {
    reload();
    let all = [u64::MAX - 1, 0, 1 << 63, 1, (1 << 63) - 1, 1 << 32, 10, 9, 1 << 62];
    for number in all {
        carry_out(&format!("add {number} {number:x}\n"));
    }
    let mut sorted = all;
    sorted.sort_unstable();
    let expected: String =
        sorted.iter().fold(String::new(), |text, number| text + &format!("{number}\t{number:x}\n"));
    for step in [1, 30, 4096] {
        let file = open(LIST);
        let bytes = rest(&file, step).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), expected, "{step} bytes at a time");
        assert_eq!(read(&file, 1).unwrap(), b"");
    }
}

// new: begin
#[test]
fn texts_are_shown_with_escapes() {
    reload();
    carry_out("add 1 tab\there \\ \"quoted\" gr\u{fc}n \0 \x1b[2J\r\nadd 2 next\n");
    let shown = r#"1	tab\there \ "quoted" gr\xc3\xbcn \x00 \x1b[2J\r"#;
    assert_eq!(list(), format!("{shown}\n2\tnext\n"), "one record, one line");
}

// new: end
/// In one test, because the debug kernel takes a while to make the list.
#[test]
fn a_hundred_thousand_records_are_read_in_steps_of_any_size_and_from_anywhere() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let expected = large_list();
    let end = expected.len();
    let file = open(LIST);
    assert!(rest(&file, 1 << 20).unwrap() == expected, "a megabyte at a time");
    assert_eq!(read(&file, 1 << 20).unwrap(), b"", "and that is the end");
    // The debug kernel takes a minute for as many reads as the list has bytes.
    let by_byte = if is_debug_kernel() { 10_000 } else { end };
    let file = open(LIST);
    assert!(exactly(&file, by_byte, 1) == expected[..by_byte], "one byte at a time");
    assert!(rest(&file, 4096).unwrap() == expected[by_byte..], "and then by the page");

    for at in [4095, 500_001, end - 50] {
        let part = &expected[at..end.min(at + 100)];
        let mut bytes = [0; 100];
        let len = file.pread(&mut bytes, at as u64).unwrap();
        assert_eq!(&bytes[..len], part, "pread at {at}");
        assert_eq!(file.seek(SeekFrom::Start(at as u64)), Ok(at as u64));
        assert_eq!(read(&file, 100).unwrap(), part, "seek to {at}");
    }
    assert_eq!(file.pread(&mut [0], 1 << 40), Ok(0), "far behind the end");
    assert_eq!(file.seek(SeekFrom::Start(end as u64)), Ok(end as u64));
    assert_eq!(read(&file, 1).unwrap(), b"");
    reload();
}

#[test]
fn a_positioned_read_between_two_others_changes_nothing_for_them() {
    reload();
    let commands: String = (0..2000).fold(String::new(), |text, number| text + &format!("add {number}\n"));
    carry_out(&commands);
    let expected = list().into_bytes();
    let file = open(LIST);
    let mut all = Vec::new();
    loop {
        let part = read(&file, 1000).unwrap();
        if part.is_empty() {
            break;
        }
        all.extend(part);
        let middle = expected.len() / 2;
        let mut bytes = [0; 10];
        assert_eq!(file.pread(&mut bytes, middle as u64), Ok(10));
        assert_eq!(bytes, expected[middle..middle + 10]);
    }
    assert!(all == expected);
}

#[test]
fn a_record_larger_than_the_buffer_is_shown_whole() {
    reload();
    let lengths = [0, 1, 4089, 4090, 4091, 4092, 4093, 4094, 20_000];
    let (mut commands, mut expected) = (String::new(), String::new());
    for (number, len) in lengths.into_iter().enumerate() {
        // The text tells by every byte where it belongs.
        let text: String = ('a'..='z').cycle().skip(number).take(len).collect();
        let _ = writeln!(commands, "add {} {text}\nadd {} small", 2 * number, 2 * number + 1);
        let _ = writeln!(expected, "{}\t{text}\n{}\tsmall", 2 * number, 2 * number + 1);
    }
    carry_out(&commands);
    for step in [1, 4095, 4096, 4097, 1 << 20] {
        let read = rest(&open(LIST), step).unwrap();
        assert!(read == expected.as_bytes(), "{step} bytes at a time");
    }
    let file = open(LIST);
    for at in (0..expected.len()).step_by(3001) {
        assert_eq!(file.seek(SeekFrom::Start(at as u64)), Ok(at as u64));
        let bytes = exactly(&file, 10.min(expected.len() - at), 10);
        assert_eq!(bytes, &expected.as_bytes()[at..expected.len().min(at + 10)], "from {at}");
    }
}

#[test]
fn a_record_may_need_a_megabyte_of_buffer() {
    reload();
    // Shown as four characters each.
    let text = "\x01".repeat(CONTROL_LIMIT - 10);
    carry_out(&format!("add 1 {text}\n"));
    let expected = format!("1\t{}\n", "\\x01".repeat(text.len()));
    assert!(list() == expected);
    assert!(rest(&open(LIST), 4096).unwrap() == expected.as_bytes());
}

// new: begin
#[test]
fn a_reader_goes_on_behind_a_record_that_is_gone() {
    reload();
    carry_out("add 10 a\nadd 20 b\nadd 30 c\nadd 40 d\nadd 50 e\n");
    let file = open(LIST);
    assert_eq!(read(&file, 5).unwrap(), b"10\ta\n");
    carry_out("remove 10\n");
    assert_eq!(read(&file, 5).unwrap(), b"20\tb\n", "the last one read is gone");
    carry_out("remove 30\n");
    assert_eq!(read(&file, 5).unwrap(), b"40\td\n", "the next one is gone");
    carry_out("remove 20\nremove 40\nremove 50\n");
    assert_eq!(read(&file, 5).unwrap(), b"", "all are gone");
    carry_out("add 10 a\nadd 45 z\nadd 60 f\n");
    assert_eq!(rest(&file, 5).unwrap(), b"60\tf\n", "what comes behind is read");
    assert_eq!(file.seek(SeekFrom::Start(0)), Ok(0));
    assert_eq!(rest(&file, 99).unwrap(), b"10\ta\n45\tz\n60\tf\n");
}

// new: end
#[test]
fn a_reader_at_the_end_sees_what_is_added_behind() {
    reload();
    let file = open(LIST);
    assert_eq!(read(&file, 99).unwrap(), b"");
    for number in [0_u64, 1, 5, 1 << 40] {
        carry_out(&format!("add {number} x\n"));
        assert_eq!(rest(&file, 99).unwrap(), format!("{number}\tx\n").as_bytes());
        assert_eq!(read(&file, 99).unwrap(), b"");
    }
    carry_out("add 3 x\n");
    assert_eq!(read(&file, 99).unwrap(), b"", "but not what is added before");
}

// new: begin
#[test]
fn half_a_record_read_is_read_to_its_end() {
    reload();
    carry_out("add 1 one\nadd 2 two\n");
    let file = open(LIST);
    assert_eq!(read(&file, 3).unwrap(), b"1\to");
    carry_out("remove 1\nadd 1 changed\n");
    assert_eq!(read(&file, 3).unwrap(), b"ne\n");
    assert_eq!(rest(&file, 99).unwrap(), b"2\ttwo\n");
}

/// Even numbers are there all the time; odd ones come and go. A reader must see each even one just once,
/// and none twice.
#[test]
fn a_reader_misses_nothing_and_sees_nothing_twice_while_the_list_changes() {
    const EVEN: u64 = 3000;
    let _watchdog = Watchdog::new(TOO_LONG);
    reload();
    let text = |number: u64| "x".repeat(usize::try_from(number % 97).unwrap());
    let mut commands = String::new();
    for number in (0..2 * EVEN).step_by(2) {
        let _ = writeln!(commands, "add {number} {}", text(number));
    }
    carry_out(&commands);

    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = [1, 3]
        .map(|first| {
            let done = Arc::clone(&done);
            Worker::spawn(move || {
                let file = entry(CONTROL).open(OFlags::WRONLY).unwrap();
                // Every fourth number, in an order that has nothing to do with that of the list.
                let mixed = || (0..EVEN / 2).map(|count| first + 4 * (count * 7919 % (EVEN / 2)));
                while !done.load(Ordering::Relaxed) {
                    for number in mixed() {
                        let line = format!("add {number} {}", text(number));
                        assert_eq!(file.write(line.as_bytes()), Ok(line.len()));
                    }
                    for number in mixed() {
                        let line = format!("remove {number}");
                        assert_eq!(file.write(line.as_bytes()), Ok(line.len()));
                    }
                }
            })
        })
        .into();
    let readers: Vec<_> = [50, 1000, 4096, 1 << 20]
        .into_iter()
        .map(|step| {
            Worker::spawn(move || {
                let mut odd = 0;
                for _ in 0..3 {
                    let records = parse(&rest(&open(LIST), step).unwrap());
                    assert!(
                        records.is_sorted_by(|one, two| one.number < two.number),
                        "{step}: in order, none twice"
                    );
                    assert!(records.iter().all(|record| record.text == text(record.number)));
                    let even = records.iter().filter(|record| record.number % 2 == 0);
                    let missing = EVEN - even.count() as u64;
                    assert_eq!(missing, 0, "{step}: missing");
                    odd += records.len() as u64 - EVEN;
                }
                odd
            })
        })
        .collect();
    let odd: Vec<_> = readers.into_iter().map(|reader| reader.finish(2 * LIMIT)).collect();
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.finish(LIMIT);
    }
    assert!(odd.iter().any(|count| *count > 0), "the list did change: {odd:?}");
}

// new: end
#[test]
fn many_writers_make_one_list() {
    reload();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            Worker::spawn(move || {
                for number in (writer..400).step_by(4) {
                    carry_out(&format!("add {number} by {writer}\n"));
                }
                for number in (writer..400).step_by(8) {
                    carry_out(&format!("remove {number}\n"));
                }
            })
        })
        .collect();
    for writer in writers {
        writer.finish(2 * LIMIT);
    }
    let records = entry(LIST).records::<Record>().unwrap();
    let records: BTreeMap<_, _> =
        records.map(|record| record.unwrap()).map(|record| (record.number, record.text)).collect();
    let expected = (0..400).filter(|number| number % 8 >= 4);
    let expected: BTreeMap<_, _> =
        expected.map(|number| (number, format!("by {}", number % 4))).collect();
    assert_eq!(records, expected);
}

// ---- Commands -----------------------------------------------------------------------------------

// new: begin
#[test]
fn lines_are_carried_out_up_to_one_that_fails() {
    reload();
    let commands = "add 1 one\nadd 2 two\nadd 1 again\nadd 3 three\n";
    assert_eq!(control(commands), Ok(20), "the first two lines");
    assert_eq!(list(), "1\tone\n2\ttwo\n");
    assert_eq!(control(&commands[20..]), Err(Errno::EXIST));
    assert_eq!(list(), "1\tone\n2\ttwo\n", "nothing behind it");
    let cat = Tool::shell("cat > /proc/sequence_control").stdin("remove 2\nremove 2\nremove 1\n");
    assert_eq!(cat.run().answer(), Err(Errno::NOENT), "a tool writes on, and sees it");
    assert_eq!(list(), "1\tone\n");
}

// new: end
#[test]
fn a_write_that_is_too_long_is_cut_between_lines() {
    reload();
    let line = format!("{}\n", "x".repeat(99));
    let commands: String = (0..1000).fold(String::new(), |text, number| {
        text + &format!("add {number:04} {line}")
    });
    let done = control(&commands).unwrap();
    assert!((CONTROL_LIMIT - 109..=CONTROL_LIMIT).contains(&done), "{done}");
    assert_eq!(&commands[done - 1..done], "\n");
    carry_out(&commands[done..]);
    assert_eq!(list().lines().count(), 1000);
}

// new: begin
#[test]
fn the_longest_line_fits_and_one_byte_more_does_not() {
    reload();
    let longest = format!("add 1 {}", "x".repeat(CONTROL_LIMIT - 6));
    assert_eq!(longest.len(), CONTROL_LIMIT);
    assert_eq!(control(&longest), Ok(CONTROL_LIMIT));
    assert_eq!(list().len(), "1\t\n".len() + CONTROL_LIMIT - 6);
    let too_long = format!("add 2 {}", "x".repeat(CONTROL_LIMIT - 5));
    assert_eq!(control(&too_long), Err(Errno::INVAL));
    assert_eq!(control(format!("add 3\n{longest}")), Ok(6), "what comes before it is done");
    assert_eq!(list().lines().count(), 2);
}

// new: end
#[test]
fn a_command_may_be_written_in_several_buffers_only_line_by_line() {
    reload();
    let file = entry(CONTROL).open(OFlags::WRONLY).unwrap();
    let vector = [&b"add 1 one\n"[..], b"", b"add 2 two\n"].map(IoSlice::new);
    assert_eq!(rustix::io::writev(&file, &vector), Ok(20));
    let vector = [&b"add 3"[..], b"3 three\n"].map(IoSlice::new);
    assert_eq!(rustix::io::writev(&file, &vector), Ok(5), "each buffer is a write");
    assert_eq!(list(), "1\tone\n2\ttwo\n3\t\n");
}

#[test]
fn numbers_are_taken_in_some_more_forms() {
    reload();
    for (form, number) in
        [("0", 0), ("007", 7), ("+8", 8), ("18446744073709551614", u64::MAX - 1), ("+00", 0)]
    {
        assert_eq!(control(format!("add {form} x")), Ok(form.len() + 6), "{form}");
        assert_eq!(list(), format!("{number}\tx\n"), "{form}");
        assert_eq!(control(format!("remove {form}\n")), Ok(form.len() + 8), "{form}");
    }
    assert_eq!(control("add 5 "), Ok(6));
    assert_eq!(control("add 6  two spaces "), Ok(18));
    assert_eq!(list(), "5\t\n6\t two spaces \n", "the text is all behind one space");
    assert_eq!(control(""), Ok(0), "nothing to do");
}

#[test]
fn bad_commands_are_refused() {
    reload();
    carry_out("add 1 one\nadd 2 two\n");
    let file = entry(CONTROL).open(OFlags::WRONLY).unwrap();
    let mut table = Refusals::new();
    for line in [
        "\n",
        " ",
        "\0",
        "add",
        "add\n",
        "add ",
        "add  3",
        "add 3x",
        "add x",
        "add x 3",
        "add -1",
        "add -0",
        "add - 0",
        "add +",
        "add +-3",
        "add 0x10",
        "add 3.0",
        "add 1e3",
        "add 3,4",
        "add 3\t4",
        "add 3\r",
        "add 3\0",
        "add 3\0 x",
        "add \u{0663}",
        " add 3",
        "\tadd 3",
        "ADD 3",
        "Add 3",
        "addd 3",
        "ad 3",
        "add\t3",
        "\u{feff}add 3",
        "insert 3",
        "remove",
        "remove ",
        "remove x",
        "remove  1",
        "remove 1 ",
        "remove 1 one",
        "remove -1",
        "remove 0x1",
        "remove 1\0",
        "remove 1\r\n",
        "Remove 1",
        "rm 1",
        "list",
        "1",
        "1\tone",
    ] {
        table.case(&format!("{line:?}"), Errno::INVAL, file.write(line.as_bytes()));
    }
    for number in ["18446744073709551615", "18446744073709551616", "99999999999999999999999", "0036893488147419103232"] {
        for command in ["add", "remove"] {
            let line = format!("{command} {number}\n");
            table.case(&line, Errno::RANGE, file.write(line.as_bytes()));
        }
    }
    for line in ["add 1", "add 1 other\n", "add +1", "add 01 x", "add 2 \n"] {
        table.case(line, Errno::EXIST, file.write(line.as_bytes()));
    }
    for line in ["remove 0", "remove 3\n", "remove 12", "remove 18446744073709551614"] {
        table.case(line, Errno::NOENT, file.write(line.as_bytes()));
    }
    table.case("not UTF-8", Errno::INVAL, file.write(b"add \xff"));
    table.case("not UTF-8 at all", Errno::INVAL, file.write(b"\xff\xfe\n"));
    for len in [CONTROL_LIMIT + 1, 1 << 20] {
        let line = vec![b'x'; len];
        table.case(&format!("a line of {len} bytes"), Errno::INVAL, file.write(&line));
    }
    table.finish();
    assert_eq!(list(), "1\tone\n2\ttwo\n");
}

#[test]
fn the_control_file_refuses_bad_use() {
    reload();
    carry_out("add 1 one\n");
    let file = entry(CONTROL).open(OFlags::RDWR).unwrap();
    let reading = entry(CONTROL).open(OFlags::RDONLY).unwrap();
    let writing = entry(CONTROL).open(OFlags::WRONLY).unwrap();
    let mut table = Refusals::new();
    table.case("read", Errno::IO, file.read(&mut [0]));
    table.case("read, open for reading", Errno::IO, reading.read(&mut [0]));
    table.case("read, open for writing", Errno::BADF, writing.read(&mut [0]));
    table.case("write, open for reading", Errno::BADF, reading.write(b"add 2"));
    for offset in [0, 1, 1 << 40] {
        table.case("pread", Errno::SPIPE, file.pread(&mut [0], offset));
        table.case("pwrite", Errno::SPIPE, file.pwrite(b"add 2", offset));
    }
    for to in [SeekFrom::Start(0), SeekFrom::Current(0), SeekFrom::End(0), SeekFrom::Start(9)] {
        table.case(&format!("seek {to:?}"), Errno::SPIPE, file.seek(to));
    }
    for hole in Hole::ALL {
        match hole {
            Hole::ReadOnly => table.case("write zeroes", Errno::INVAL, hole.write(&file, 5)),
            _ => table.case(&format!("write from {hole:?}"), Errno::FAULT, hole.write(&file, 5)),
        }
    }
    let short = Guarded::holding(b"add 2\nadd 3\n").unwrap();
    table.case("write part from nowhere", Errno::FAULT, short.write(&file, 13));
    table.case("mmap", Errno::IO, memory::try_map(&file));
    table.case("ioctl", Errno::NOTTY, file.issue(0x4700, &mut Buffer::new(&[])));
    table.case("fsync", Errno::INVAL, rustix::fs::fsync(&file));
    table.case("open as a directory", Errno::NOTDIR, opened(&entry(CONTROL), OFlags::DIRECTORY));
    table.finish();
    assert_eq!(list(), "1\tone\n", "of a write that faults nothing is done");
}

#[test]
fn the_files_that_list_refuse_bad_use() {
    carry_out("add 7654321 x\n");
    let mut table = Refusals::new();
    for name in [SEQUENCE, LIST] {
        let file = entry(name).open(OFlags::RDWR).unwrap();
        let reading = open(name);
        let writing = entry(name).open(OFlags::WRONLY).unwrap();
        table.case("write", Errno::IO, file.write(b"x"));
        table.case("write, open for writing", Errno::IO, writing.write(b"x"));
        table.case("write nothing", Errno::IO, file.write(b""));
        table.case("write, open for reading", Errno::BADF, reading.write(b"x"));
        table.case("pwrite", Errno::SPIPE, file.pwrite(b"x", 0));
        table.case("read, open for writing", Errno::BADF, writing.read(&mut [0]));
        table.case("pread, open for writing", Errno::BADF, writing.pread(&mut [0], 0));
        for to in [
            SeekFrom::End(0),
            SeekFrom::End(-1),
            SeekFrom::End(1),
            SeekFrom::Start(u64::MAX),
            SeekFrom::Start(1 << 63),
            SeekFrom::Current(-1),
            SeekFrom::Current(i64::MIN),
        ] {
            table.case(&format!("{name}: seek {to:?}"), Errno::INVAL, file.seek(to));
        }
        let (data, hole) = (rustix::fs::SeekFrom::Data(0), rustix::fs::SeekFrom::Hole(0));
        table.case("seek for data", Errno::INVAL, rustix::fs::seek(&file, data));
        table.case("seek for a hole", Errno::INVAL, rustix::fs::seek(&file, hole));
        for offset in [u64::MAX, 1 << 63] {
            table.case("pread before the start", Errno::INVAL, file.pread(&mut [0], offset));
        }
        for hole in Hole::ALL {
            table.case(&format!("{name}: read to {hole:?}"), Errno::FAULT, hole.read(&file, 5));
        }
        let mut byte = [0];
        let buffers = &mut [IoSliceMut::new(&mut byte)];
        let nowait = rustix::io::preadv2(&file, buffers, 0, ReadWriteFlags::NOWAIT);
        table.case("read without waiting", Errno::OPNOTSUPP, nowait);
        table.case("mmap", Errno::IO, memory::try_map(&file));
        table.case("ioctl", Errno::NOTTY, file.issue(0x4700, &mut Buffer::new(&[])));
        table.case("fsync", Errno::INVAL, rustix::fs::fsync(&file));
        let directory = opened(&entry(name), OFlags::DIRECTORY);
        table.case("open as a directory", Errno::NOTDIR, directory);
        assert_eq!(position(&file), 0);
    }
    carry_out("remove 7654321\n");
    table.finish();
}

#[test]
fn a_stranger_writes_nothing() {
    as_stranger(|| {
        let mut table = Refusals::new();
        for name in [SEQUENCE, LIST, CONTROL] {
            for flags in [OFlags::WRONLY, OFlags::RDWR, OFlags::WRONLY | OFlags::TRUNC] {
                let refused = opened(&entry(name), flags);
                table.case(&format!("open {name} {flags:?}"), Errno::ACCESS, refused);
            }
        }
        table.case("open to read", Errno::ACCESS, opened(&entry(CONTROL), OFlags::RDONLY));
        table.finish();
    });
    let echo = Tool::shell("echo add 1 > /proc/sequence_control").user(65534, 65534).run();
    assert_eq!(echo.answer(), Err(Errno::ACCESS));
}

#[test]
fn a_read_only_mount_takes_no_commands() {
    tools::shell("mkdir -p /tmp/ro && mount -t proc -o ro proc /tmp/ro").success();
    let refused = [SEQUENCE, LIST, CONTROL].map(|name| {
        opened(&Proc::at("/tmp/ro").entry(name), OFlags::WRONLY).map(drop)
    });
    let numbers = Proc::at("/tmp/ro").entry(SEQUENCE).open(OFlags::RDONLY).unwrap();
    let first = read(&numbers, 4);
    drop(numbers);
    tools::shell("umount /tmp/ro && rmdir /tmp/ro").success();
    assert_eq!(refused, [Err(Errno::ROFS); 3]);
    assert_eq!(first.unwrap(), b"0\n1\n");
}

#[test]
fn there_is_nothing_to_wait_for() {
    let file = open(SEQUENCE);
    let mut fds = [PollFd::new(&file, PollFlags::IN)];
    let moment = Timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut fds, Some(&moment)), Ok(1));
    assert_eq!(Hole::Null.read(&file, 0), Ok(0), "no byte is to be moved, so no address is looked at");
}

#[test]
fn the_kernels_own_sequences_are_read_by_the_same_client() {
    let modules = entry("modules").records::<String>().unwrap();
    let modules: Vec<_> = modules.map(|line| line.unwrap()).collect();
    assert!(modules.iter().any(|line| line.starts_with("callgate_seq_file ")), "{modules:?}");
    let symbols = entry("kallsyms");
    let count = symbols.records::<String>().unwrap().count();
    assert!(count > 10_000);
    let wc = tools::shell("wc -l < /proc/kallsyms").success();
    assert_eq!(wc, format!("{count}\n"));
    let uptime: f64 = entry("uptime").text().unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(uptime > 0.0);
}

// ---- While the module comes and goes ------------------------------------------------------------

// new: begin
#[test]
fn a_file_opened_before_is_dead_after_an_unload() {
    reload();
    carry_out("add 424242 x\n");
    let files = [
        open(LIST),
        // new: end
        open(SEQUENCE),
        // new: begin
    ];
    assert_eq!(read(&files[0], 3).unwrap(), b"424");
    let control = entry(CONTROL).open(OFlags::WRONLY).unwrap();
    module::unload(MODULE).unwrap();
    let mut table = Refusals::new();
    for round in ["unloaded", "loaded again"] {
        for file in &files {
            table.case(&format!("{round}: read"), Errno::IO, file.read(&mut [0]));
            table.case(&format!("{round}: pread"), Errno::IO, file.pread(&mut [0], 3));
            table.case(&format!("{round}: seek"), Errno::INVAL, file.seek(SeekFrom::Start(0)));
            table.case(&format!("{round}: mmap"), Errno::IO, memory::try_map(file));
        }
        table.case(&format!("{round}: write"), Errno::IO, control.write(b"add 1"));
        if round == "unloaded" {
            for name in [
                // new: end
                SEQUENCE,
                // new: begin
                LIST,
                CONTROL,
            ] {
                let refused = opened(&entry(name), OFlags::RDONLY);
                table.case(&format!("open {name}"), Errno::NOENT, refused);
            }
            module::load(MODULE_FILE, "").unwrap();
        }
    }
    drop((files, control));
    table.finish();
    assert_eq!(list(), "");
}

// new: end
#[test]
fn unloading_with_a_large_list_open_frees_it() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let mut commands = String::new();
    reload();
    for number in 0..5000 {
        let _ = writeln!(commands, "add {number} {number}");
    }
    carry_out(&commands);
    let files: Vec<_> = (0..10).map(|_| open(LIST)).collect();
    for (count, file) in files.iter().enumerate() {
        assert!(!read(file, 1 + count * 1000).unwrap().is_empty());
    }
    reload();
    for file in &files {
        assert_eq!(file.read(&mut [0]), Err(Errno::IO));
    }
}

#[test]
fn lack_of_memory_loses_no_record_and_doubles_none() {
    reload();
    let text = "x".repeat(10_000);
    carry_out(&format!("add 1 one\nadd 2 {text}\nadd 3 three\n"));
    let expected = list();
    let mut buffer = vec![1; 1 << 16];
    let file = entry(LIST);
    // The kernel's buffer grows twice in this. A read that fails is tried again.
    let places = at_each_place(
        || {
            let file = opened(&file, OFlags::RDONLY)?;
            let mut have = 0;
            for _ in 0..20 {
                match file.read(&mut buffer[have..]) {
                    Ok(0) => break,
                    Ok(len) => have += len,
                    Err(Errno::NOMEM | Errno::FAULT) => {}
                    Err(errno) => return Err(errno),
                }
            }
            Ok(buffer[..have].to_vec())
        },
        |place, result| match result {
            Ok(read) => assert!(read == expected.as_bytes(), "place {place}"),
            Err(Errno::NOMEM | Errno::FAULT) => {}
            Err(errno) => panic!("place {place}: {errno:?}"),
        },
    );
    assert!(places.is_none_or(|places| places >= 5));

    let file = entry(CONTROL).open(OFlags::WRONLY).unwrap();
    let places = at_each_place(
        || file.write(b"add 10 ten\n"),
        |place, result| match result {
            Ok(len) => assert_eq!((len, file.write(b"remove 10")), (11, Ok(9)), "place {place}"),
            Err(Errno::NOMEM | Errno::FAULT) => {
                assert_eq!(file.write(b"remove 10"), Err(Errno::NOENT), "place {place}");
            }
            Err(errno) => panic!("place {place}: {errno:?}"),
        },
    );
    assert!(places.is_none_or(|places| places >= 4));
    assert_eq!(list(), expected);
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

fn use_numbers() -> Use {
    outcome(&opened(&entry(SEQUENCE), OFlags::RDONLY).and_then(|file| {
        let mut bytes = Vec::new();
        for _ in 0..5 {
            bytes.extend(read(&file, 1000)?);
        }
        assert!(numbers(2000).starts_with(&bytes));
        // lseek(2) has EINVAL for a file that is gone.
        match file.seek(SeekFrom::Start(100)) {
            Err(Errno::INVAL) => Err(Errno::IO),
            result => result,
        }
    }))
}

fn use_list() -> Use {
    outcome(&opened(&entry(LIST), OFlags::RDONLY).and_then(|file| {
        let records = parse(&rest(&file, 1000)?);
        assert!(records.is_sorted_by(|one, two| one.number < two.number));
        Ok(())
    }))
}

fn change_list() -> Use {
    let commands: String =
        (0..100).fold(String::new(), |text, number| text + &format!("add {number} {number}\n"));
    outcome(&opened(&entry(CONTROL), OFlags::WRONLY).and_then(|file| {
        match file.write(commands.as_bytes()) {
            Err(Errno::EXIST) => {}
            result => assert!(result? > 0),
        }
        for number in 0..100 {
            match file.write(format!("remove {number}").as_bytes()) {
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }))
}

#[test]
fn it_unloads_while_files_are_open() {
    let _watchdog = Watchdog::new(TOO_LONG);
    for cycle in 0..unload::cycles() {
        carry_out("add 1 one\nadd 2 two\n");
        let files: Vec<_> = [SEQUENCE, LIST].into_iter().cycle().take(8).map(open).collect();
        for (count, file) in files.iter().enumerate() {
            assert!(!read(file, 1 + count).unwrap().is_empty());
        }
        reload();
        for file in &files {
            assert_eq!(file.read(&mut [0]), Err(Errno::IO), "cycle {cycle}");
        }
    }
}

#[test]
fn it_unloads_while_files_are_read() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let cycles = while_used(MODULE, MODULE_FILE, LIMIT, &[&use_numbers, &use_numbers]);
    assert_eq!(cycles.refused, 0, "nothing keeps this module");
}

#[test]
fn it_unloads_while_the_list_is_changed() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let cycles = while_used(MODULE, MODULE_FILE, LIMIT, &[&change_list, &change_list]);
    assert_eq!(cycles.refused, 0, "nothing keeps this module");
}

#[test]
fn it_unloads_while_everything_is_done() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let users: [&(dyn Fn() -> Use + Sync); 4] = [&use_numbers, &use_list, &change_list, &use_list];
    let cycles = while_used(MODULE, MODULE_FILE, LIMIT, &users);
    assert_eq!(cycles.refused, 0, "nothing keeps this module");
}
