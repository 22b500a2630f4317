// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a user of the files in debugfs can rely on, tried through their names.
//!
//! These run in the lab's VM as root, each in a process of its own, with the module loaded.

// new: begin
use std::fmt::Debug;
use std::fs;
use std::io::{IoSlice, SeekFrom};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use callgate::Errno;
use callgate::chardev::Device;
use callgate::debugfs::{Debugfs, Entry, Error, File, Hex, Kind, Value};
use callgate::kmsg::Log;
use callgate::module;
use callgate::testing::Refusals;
use callgate::testing::inspect::Call;
use callgate::testing::memory::{Guarded, Hole, try_map};
use callgate::testing::tools::{self, Tool};
// new: end
use callgate::testing::unload::{self, Use, while_used};
// new: begin
use callgate::testing::worker::{Watchdog, Worker, as_nobody};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};

use super::abi::{
    AGAIN, BLOB, BYTES, CONTROL, COUNT, DIRECTORY, FILE, GATE, MAKE, MESSAGE, MESSAGE_LIMIT,
    REMOVE, STR, TEN_DIGITS, TREE, TREE_PATH, U32_ARRAY, VALUES,
};

/// Every wait ends here at the latest; it is generous, because an emulated debug kernel is slow.
const LIMIT: Duration = Duration::from_secs(30);

/// A test that takes longer than this has lost its way.
const TOO_LONG: Duration = Duration::from_secs(160);

const MODULE: &str = "callgate_debugfs";
const MODULE_FILE: &str = "/modules/callgate_debugfs.ko";
const ROOT: &str = "/sys/kernel/debug";

// new: end
/// Files of unsigned numbers, their width, and whether they show hexadecimal.
const UNSIGNED: [(&str, u32, bool); 11] = [
    ("u8", 8, false),
    ("u16", 16, false),
    ("u32", 32, false),
    ("u64", 64, false),
    ("size_t", 64, false),
    ("ulong", 64, false),
    ("x8", 8, true),
    ("x16", 16, true),
    ("x32", 32, true),
    ("x64", 64, true),
    ("xul", 64, true),
];

/// Everything in the directory of values.
const ALL_VALUES: [&str; 16] = [
    "atomic_t",
    "blob",
    "bool",
    "size_t",
    "str",
    "u16",
    "u32",
    "u32_array",
    "u64",
    "u8",
    "ulong",
    "x16",
    "x32",
    "x64",
    "x8",
    "xul",
];

// ---- Help ---------------------------------------------------------------------------------------

// new: begin
/// The module is loaded anew, and there is an end for the test.
fn fresh() -> Watchdog {
    let watchdog = Watchdog::new(TOO_LONG);
    module::unload(MODULE).unwrap();
    load();
    watchdog
}

// new: end
fn command(command: &str) -> Result<(), Errno> {
    let taken = write(&in_gate(CONTROL), command.as_bytes())?;
    assert_eq!(taken, command.len());
    Ok(())
}

fn myfile() -> String {
    format!("{ROOT}/{FILE}")
}

fn message() -> String {
    format!("{ROOT}/{DIRECTORY}/{FILE}")
}

fn in_gate(name: &str) -> String {
    format!("{ROOT}/{GATE}/{name}")
}

// new: begin
fn in_tree(name: &str) -> String {
    format!("{ROOT}/{TREE_PATH}/{name}")
}

fn value(name: &str) -> String {
    in_tree(&format!("{VALUES}/{name}"))
}

fn open(path: &str) -> Device {
    Device::open(path).unwrap()
}

fn try_open(path: &str, flags: OFlags) -> Result<Device, Errno> {
    Ok(rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())?.into())
}

/// What one read of a file from its beginning gives.
fn read(path: &str) -> Result<String, Errno> {
    Ok(String::from_utf8(rest(&try_open(path, OFlags::RDONLY)?, 4096)?).unwrap())
}

/// What one read of up to `len` bytes gives.
fn rest(file: &Device, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    let len = file.read(&mut bytes)?;
    bytes.truncate(len);
    Ok(bytes)
}

/// What one write to a file at its beginning is answered.
fn write(path: &str, bytes: &[u8]) -> Result<usize, Errno> {
    try_open(path, OFlags::WRONLY)?.write(bytes)
}

/// Writes `text`, all of which must be taken, and gives what the file holds then.
fn put(path: &str, text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    assert_eq!(write(path, text), Ok(text.len()), "{path} {:?}", String::from_utf8_lossy(text));
    read(path).unwrap()
}

// new: end
fn shown(number: u64, bits: u32, hex: bool) -> String {
    if hex {
        format!("0x{number:0digits$x}\n", digits = bits as usize / 4)
    } else {
        format!("{number}\n")
    }
}

// new: begin
fn position(file: &Device) -> u64 {
    file.seek(SeekFrom::Current(0)).unwrap()
}

fn poll(file: &Device) -> PollFlags {
    let mut fds = [PollFd::new(file, PollFlags::IN | PollFlags::OUT)];
    rustix::event::poll(&mut fds, Some(&Timespec::default())).unwrap();
    fds[0].revents()
}

// new: end
/// debugfs mounted with other options, until this is dropped.
struct Remounted;

impl Remounted {
    fn new(options: &str) -> Self {
        Tool::new("mount").args(["-o", &format!("remount,{options}"), ROOT]).run().success();
        Self
    }
}

impl Drop for Remounted {
    fn drop(&mut self) {
        Tool::new("mount").args(["-o", "remount,rw,mode=700", ROOT]).run().success();
    }
}

// new: begin
fn load() {
    module::load(MODULE_FILE, "").unwrap();
}

// new: end
// ---- The HOWTO's files --------------------------------------------------------------------------

#[test]
fn both_of_the_howtos_files_are_there() {
    for path in [myfile(), message()] {
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert!(metadata.is_file(), "{path}");
        assert_eq!(metadata.mode() & 0o7777, 0o644, "{path}");
        assert_eq!((metadata.uid(), metadata.gid()), (0, 0), "{path}");
    }
    let directory = fs::symlink_metadata(format!("{ROOT}/{DIRECTORY}")).unwrap();
    assert_eq!((directory.is_dir(), directory.mode() & 0o7777), (true, 0o755));
}

#[test]
fn a_module_just_loaded_holds_zero_and_nothing() {
    module::unload(MODULE).unwrap();
    load();
    assert_eq!(read(&myfile()).unwrap(), "0\n");
    assert_eq!(read(&message()).unwrap(), "");
}

#[test]
fn every_u8_is_set_and_got() {
    for number in 0..=255 {
        assert_eq!(put(&myfile(), number.to_string()), format!("{number}\n"));
    }
}

#[test]
fn the_number_outlives_who_wrote_it_and_is_one_for_all() {
    let (one, other) = (open(&myfile()), open(&myfile()));
    assert_eq!(one.write(b"17"), Ok(2));
    assert_eq!(rest(&other, 99).unwrap(), b"17\n");
    drop((one, other));
    assert_eq!(read(&myfile()).unwrap(), "17\n");
}

#[test]
fn the_program_runs() {
    super::program::main().unwrap();
    assert_eq!(read(&myfile()).unwrap(), "42\n");
    assert_eq!(read(&message()).unwrap(), "hello world");
}

// ---- Numbers by one line ------------------------------------------------------------------------

#[test]
fn there_is_a_file_of_every_one_line_type() {
    let _fresh = fresh();
    let mut names: Vec<_> = fs::read_dir(value(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ALL_VALUES);
    for name in ALL_VALUES {
        let mode = if ["str", "u32_array"].contains(&name) { 0o444 } else { 0o644 };
        assert_eq!(fs::metadata(value(name)).unwrap().mode() & 0o7777, mode, "{name}");
    }
}

#[test]
fn unsigned_numbers_have_their_form_to_the_letter() {
    let _fresh = fresh();
    for (name, bits, hex) in UNSIGNED {
        let max = u64::MAX >> (64 - bits);
        for number in [0, 1, 9, 10, 0x7f, max / 2, max / 2 + 1, max - 1, max] {
            let expected = shown(number, bits, hex);
            assert_eq!(put(&value(name), number.to_string()), expected, "{name}");
        }
    }
    assert_eq!(put(&value("x8"), "10"), "0x0a\n");
    assert_eq!(put(&value("x16"), "10"), "0x000a\n");
    assert_eq!(put(&value("x32"), "10"), "0x0000000a\n");
    assert_eq!(put(&value("x64"), "10"), "0x000000000000000a\n");
}

#[test]
fn a_number_that_is_too_large_is_cut_to_its_width() {
    let _fresh = fresh();
    for (name, bits, hex) in UNSIGNED.into_iter().filter(|(_, bits, _)| *bits < 64) {
        let beyond = 1_u64 << bits;
        for (number, cut) in [(beyond, 0), (beyond + 5, 5), (u64::MAX, beyond - 1)] {
            let expected = shown(cut, bits, hex);
            assert_eq!(put(&value(name), number.to_string()), expected, "{name}");
        }
    }
    assert_eq!(put(&myfile(), "256"), "0\n");
}

// new: begin
#[test]
fn an_atomic_t_is_signed() {
    let _fresh = fresh();
    let path = value("atomic_t");
    for number in [0, 1, -1, i32::MAX, i32::MIN] {
        assert_eq!(put(&path, number.to_string()), format!("{number}\n"));
    }
    assert_eq!(put(&path, "-0"), "0\n");
    assert_eq!(put(&path, "-0x10"), "-16\n");
    assert_eq!(put(&path, "2147483648"), "-2147483648\n");
    assert_eq!(put(&path, "9223372036854775807"), "-1\n");
    assert_eq!(put(&path, "-9223372036854775808"), "0\n");
}

// new: end
#[test]
fn numbers_are_taken_in_three_bases_with_a_plus_and_a_newline() {
    let _fresh = fresh();
    for (name, bits, hex) in UNSIGNED {
        for (text, number) in [
            ("5", 5),
            ("5\n", 5),
            ("+5", 5),
            ("0005", 5),
            ("017", 15),
            ("0x1f", 31),
            ("0X1F\n", 31),
            ("+0x7", 7),
            ("0", 0),
        ] {
            assert_eq!(put(&value(name), text), shown(number, bits, hex), "{name} {text:?}");
        }
    }
}

#[test]
fn of_a_number_only_23_bytes_up_to_a_nul_are_looked_at() {
    let _fresh = fresh();
    let path = value("u32");
    assert_eq!(put(&path, format!("{:023}", 7)), "7\n");
    assert_eq!(put(&path, format!("{:023}9", 6)), "6\n");
    assert_eq!(put(&path, format!("{:022}\nnot looked at", 5)), "5\n");
    assert_eq!(put(&path, "4\0 nor this"), "4\n");
    let memory = Guarded::holding(format!("{:023}", 3).as_bytes()).unwrap();
    assert_eq!(memory.write(open(&path), 24), Ok(24), "byte 24 is not even copied");
    assert_eq!(read(&path).unwrap(), "3\n");
}

#[test]
fn what_is_no_number_is_refused_and_changes_nothing() {
    let _fresh = fresh();
    let mut refusals = Refusals::new();
    let signed = [("atomic_t", 32, false)];
    for (name, bits, hex) in UNSIGNED.into_iter().chain(signed) {
        let path = value(name);
        assert_eq!(put(&path, "77"), shown(77, bits, hex));
        let mut case = |text: &str, errno| {
            refusals.case(&format!("{name} {text:?}"), errno, write(&path, text.as_bytes()));
        };
        for text in [
            "", "\n", " ", "\0", "\0x", " 5", "5 ", "\t5", "5\n\n", "\n5", "5\r\n", "5 6", "5,",
            "5.0", "+", "-", "--5", "+-5", "-+5", "- 5", "0x", "0xg", "x5", "08", "0b1", "5a",
            "1e3", "abc", "0o7", "5_0", "\u{ff15}", "NaN",
        ] {
            case(text, Errno::INVAL);
        }
        if name == "atomic_t" {
            case("9223372036854775808", Errno::RANGE);
            case("-9223372036854775809", Errno::RANGE);
        } else {
            case("-0", Errno::INVAL);
            case("-1", Errno::INVAL);
            case("18446744073709551616", Errno::RANGE);
            case("0x10000000000000000", Errno::RANGE);
            case("02000000000000000000000", Errno::RANGE);
        }
        case("99999999999999999999999", Errno::RANGE);
        assert_eq!(read(&path).unwrap(), shown(77, bits, hex), "{name}");
    }
    refusals.finish();
}

#[test]
fn a_number_from_memory_that_is_not_there_is_refused() {
    let _fresh = fresh();
    let mut refusals = Refusals::new();
    for name in ["u8", "x64", "atomic_t"] {
        let path = value(name);
        let before = put(&path, "77");
        for hole in Hole::ALL {
            // What can be read of this one is a NUL, which ends a number before it began.
            let errno = if hole == Hole::ReadOnly { Errno::INVAL } else { Errno::FAULT };
            refusals.case(&format!("{name} {hole:?}"), errno, hole.write(open(&path), 2));
        }
        for mapped in [1, 4] {
            let memory = Guarded::holding(&b"12345"[..mapped]).unwrap();
            let answer = memory.write(open(&path), mapped + 1);
            refusals.case(&format!("{name} {mapped} bytes there"), Errno::FAULT, answer);
        }
        assert_eq!(read(&path).unwrap(), before);
    }
    refusals.finish();
}

// new: begin
#[test]
fn a_number_is_read_whole_however_short_the_reads() {
    let _fresh = fresh();
    let path = value("size_t");
    put(&path, "1234567");
    let file = open(&path);
    assert_eq!(rest(&file, 3).unwrap(), b"123");
    put(&path, "99");
    for byte in *b"4567\n" {
        assert_eq!(rest(&file, 1).unwrap(), [byte], "what was begun goes on");
    }
    assert_eq!(rest(&file, 9).unwrap(), b"");
    assert_eq!(read(&path).unwrap(), "99\n");
}

// new: end
#[test]
fn a_read_to_nowhere_does_not_lose_a_number() {
    let _fresh = fresh();
    put(&value("u16"), "4711");
    let mut refusals = Refusals::new();
    let file = open(&value("u16"));
    for hole in Hole::ALL {
        refusals.case(&format!("{hole:?}"), Errno::FAULT, hole.read(&file, 9));
    }
    refusals.finish();
    assert_eq!(rest(&file, 0).unwrap(), b"");
    assert_eq!(rest(&file, 9).unwrap(), b"4711\n");
}

#[test]
fn a_number_has_no_positions() {
    let _fresh = fresh();
    let mut refusals = Refusals::new();
    for name in ["u8", "u64", "x32", "size_t", "atomic_t", "u32_array"] {
        let file = Device::options().read(true).write(true).open(value(name)).unwrap();
        for to in [SeekFrom::Start(0), SeekFrom::Current(0), SeekFrom::End(0)] {
            refusals.case(&format!("{name} {to:?}"), Errno::SPIPE, file.seek(to));
        }
        refusals.case(&format!("{name} pread"), Errno::SPIPE, file.pread(&mut [0], 0));
        refusals.case(&format!("{name} pwrite"), Errno::SPIPE, file.pwrite(b"1", 0));
        refusals.case(&format!("{name} pwrite at 1"), Errno::SPIPE, file.pwrite(b"1", 1));
    }
    refusals.finish();
}

// new: begin
#[test]
fn each_write_is_a_number_of_its_own() {
    let _fresh = fresh();
    let file = open(&value("size_t"));
    for number in [12, 3, 456] {
        assert_eq!(file.write(number.to_string().as_bytes()), Ok(number.to_string().len()));
        assert_eq!(read(&value("size_t")).unwrap(), format!("{number}\n"));
    }
    let vector = [&b"7"[..], b"8"].map(IoSlice::new);
    assert_eq!(rustix::io::writev(&file, &vector), Ok(2), "a write for each buffer");
    assert_eq!(read(&value("size_t")).unwrap(), "8\n");
    assert_eq!(put(&value("x32"), "10"), "0x0000000a\n");
}

// new: end
#[test]
fn the_module_and_a_user_change_a_number_at_the_same_time() {
    const ROUNDS: u64 = 500;
    const FAR: u64 = u64::MAX / 2;
    let _fresh = fresh();
    let path = value("u64");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut last, mut seen) = (0, 0_u32);
            while !done.load(Ordering::Relaxed) || seen == 0 {
                let number: u64 = read(&path).unwrap().trim().parse().unwrap();
                assert!(number >= last, "{number} after {last}");
                assert!(number <= ROUNDS || (FAR..=FAR + ROUNDS).contains(&number), "{number}");
                last = number;
                seen += 1;
            }
        });
        for round in 0..ROUNDS {
            if round == ROUNDS / 2 {
                write(&path, FAR.to_string().as_bytes()).unwrap();
            }
            command(COUNT).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    assert_eq!(read(&path).unwrap(), format!("{}\n", FAR + ROUNDS / 2));
}

#[test]
fn what_a_user_wrote_is_what_the_module_goes_on_with() {
    let _fresh = fresh();
    put(&value("u64"), "0xffffffffffffffff");
    command(COUNT).unwrap();
    assert_eq!(read(&value("u64")).unwrap(), "0\n");
}

// ---- Other values by one line -------------------------------------------------------------------

#[test]
fn a_bool_is_y_or_n() {
    let _fresh = fresh();
    let path = value("bool");
    for text in
        ["1", "y", "Y", "t", "T", "on", "On", "ON", "1\n", "yes\n", "true", "enable", "y\0n"]
    {
        write(&path, b"0").unwrap();
        assert_eq!(put(&path, text), "Y\n", "{text:?}");
    }
    for text in ["0", "n", "N", "f", "F", "of", "off", "OFF\n", "no", "false", "disable", "0x1"] {
        write(&path, b"1").unwrap();
        assert_eq!(put(&path, text), "N\n", "{text:?}");
    }
}

#[test]
fn what_is_no_bool_is_ignored_without_an_error() {
    let _fresh = fresh();
    let path = value("bool");
    for before in ["Y\n", "N\n"] {
        assert_eq!(put(&path, before), before);
        for text in ["", "\n", " y", " n", "2", "-1", "o", "oops", "maybe", "\0y", "+1", "\u{ff19}"]
        {
            assert_eq!(put(&path, text), before, "{text:?}");
        }
        // A bad address too, unless it is so bad that nobody even looks.
        for hole in Hole::LOW {
            assert_eq!(hole.write(open(&path), 2), Ok(2), "{hole:?}");
            assert_eq!(read(&path).unwrap(), before, "{hole:?}");
        }
        assert_eq!(Hole::Kernel.write(open(&path), 2), Err(Errno::FAULT));
    }
}

#[test]
fn a_bool_has_positions_but_a_write_does_not_care() {
    let _fresh = fresh();
    let file = open(&value("bool"));
    assert_eq!(file.write(b"y"), Ok(1));
    assert_eq!(position(&file), 0);
    assert_eq!(file.pwrite(b"n", 1), Ok(1));
    assert_eq!(rest(&file, 1).unwrap(), b"N");
    assert_eq!(rest(&file, 9).unwrap(), b"\n");
    assert_eq!(file.seek(SeekFrom::Start(0)), Ok(0));
    assert_eq!(rest(&file, 9).unwrap(), b"N\n");
    let mut byte = [0];
    assert_eq!((file.pread(&mut byte, 1), byte), (Ok(1), *b"\n"));
    assert_eq!(file.pread(&mut byte, 2), Ok(0));
}

#[test]
fn a_string_reads_with_a_newline_and_stays() {
    let _fresh = fresh();
    let path = value("str");
    assert_eq!(read(&path).unwrap(), format!("{STR}\n"));
    let file = open(&path);
    assert_eq!(file.seek(SeekFrom::Start(2)), Ok(2));
    assert_eq!(rest(&file, 3).unwrap(), b"str");
    let mut refusals = Refusals::new();
    for text in ["", "x", "x\n"] {
        refusals.case(&format!("write {text:?}"), Errno::INVAL, file.write(text.as_bytes()));
    }
    refusals.case("pwrite", Errno::INVAL, file.pwrite(b"x", 8));
    refusals.case("read to nowhere", Errno::FAULT, Hole::Null.read(&file, 4));
    refusals.finish();
    assert_eq!(read(&path).unwrap(), format!("{STR}\n"));
}

#[test]
fn a_blob_is_bytes_at_any_offset() {
    let _fresh = fresh();
    let file = open(&value("blob"));
    assert_eq!(rest(&file, 99).unwrap(), BLOB);
    assert_eq!(rest(&file, 99).unwrap(), b"");
    assert_eq!(file.pwrite(b"ab", 3), Ok(2));
    assert_eq!(file.seek(SeekFrom::Start(2)), Ok(2));
    assert_eq!(rest(&file, 4).unwrap(), [2, b'a', b'b', 0xfd]);
    assert_eq!(position(&file), 6);
    assert_eq!(file.write(b"xyz"), Ok(2), "as much as there is room for");
    assert_eq!(file.write(b"z"), Ok(0), "none at the end");
    assert_eq!(file.pwrite(b"z", 1 << 40), Ok(0), "nor beyond");
    let mut all = [0; 9];
    assert_eq!(file.pread(&mut all, 0), Ok(8));
    assert_eq!(all[..8], [0, 1, 2, b'a', b'b', 0xfd, b'x', b'y']);
    assert_eq!(file.pread(&mut all, 8), Ok(0));
}

#[test]
fn of_a_blob_what_could_not_be_copied_becomes_zero() {
    let _fresh = fresh();
    let file = open(&value("blob"));
    let mut expected = BLOB;
    for (at, hole) in [(1, Hole::Null), (3, Hole::Unmapped)] {
        assert_eq!(file.seek(SeekFrom::Start(at)), Ok(at));
        assert_eq!(hole.write(&file, 2), Err(Errno::FAULT), "{hole:?}");
        assert_eq!(position(&file), at);
        let at = usize::try_from(at).unwrap();
        expected[at..at + 2].fill(0);
    }
    assert_eq!(rest(&open(&value("blob")), 99).unwrap(), expected);
    let memory = Guarded::holding(b"abc").unwrap();
    let taken = memory.write(open(&value("blob")), 5).unwrap_or(0);
    assert!(taken <= 3, "{taken}");
    expected[..5].fill(0);
    expected[..taken].copy_from_slice(&b"abc"[..taken]);
    assert_eq!(rest(&open(&value("blob")), 99).unwrap(), expected);
}

#[test]
fn the_mode_keeps_others_out_but_not_root() {
    let _fresh = fresh();
    fs::set_permissions(value("blob"), fs::Permissions::from_mode(0o444)).unwrap();
    assert_eq!(open(&value("blob")).write(b"root"), Ok(4));
}

#[test]
fn an_array_is_as_it_was_when_it_was_opened() {
    let _fresh = fresh();
    let path = value("u32_array");
    let file = Device::options().read(true).open(&path).unwrap();
    command(COUNT).unwrap();
    let line = |numbers: [u32; 4]| format!("{}\n", numbers.map(|n| n.to_string()).join(" "));
    assert_eq!(rest(&file, 5).unwrap(), line(U32_ARRAY).as_bytes()[..5]);
    assert_eq!(rest(&file, 99).unwrap(), line(U32_ARRAY).as_bytes()[5..]);
    assert_eq!(read(&path).unwrap(), line(U32_ARRAY.map(|n| n + 1)));
    assert_eq!(open(&path).write(b"1 2 3 4\n"), Err(Errno::INVAL));
}

#[test]
fn an_array_of_numbers_of_ten_digits_has_no_newline() {
    let _fresh = fresh();
    assert_eq!(read(&in_tree(TEN_DIGITS)).unwrap(), "4294967295 4294967295");
}

// ---- A file with operations of its own ----------------------------------------------------------

// new: begin
/// The file of a message, open, with `text` in it, and nothing read yet.
fn holding(text: &[u8]) -> Device {
    let file = open(&message());
    assert_eq!(file.write(text), Ok(text.len()));
    assert_eq!(file.seek(SeekFrom::Start(0)), Ok(0));
    file
}

/// The whole message, without moving the position.
fn contents(file: &Device) -> Vec<u8> {
    let mut bytes = [0xaa; MESSAGE_LIMIT + 56];
    let len = file.pread(&mut bytes, 0).unwrap();
    assert!(bytes[len..].iter().all(|byte| *byte == 0xaa), "bytes beyond the count changed");
    bytes[..len].to_vec()
}

#[test]
fn a_message_of_every_length_is_given_back_and_nothing_else() {
    let file = open(&message());
    for len in (1..=MESSAGE_LIMIT).rev() {
        let text = vec![u8::try_from(len).unwrap(); len];
        assert_eq!(file.pwrite(&text, 0), Ok(len));
        assert_eq!(contents(&file), text);
    }
}

#[test]
fn a_message_that_is_too_long_is_refused_and_changes_nothing() {
    let file = holding(b"the old one");
    let mut refusals = Refusals::new();
    for len in [201, 202, 4096, 1 << 20] {
        refusals.case(&format!("{len} bytes"), Errno::INVAL, file.write(&vec![b'x'; len]));
    }
    for (offset, len) in [(1, 200), (11, 190), (2, 199)] {
        let answer = file.pwrite(&vec![b'x'; len], offset);
        refusals.case(&format!("{len} bytes at {offset}"), Errno::INVAL, answer);
    }
    for offset in [12, 13, 199, 200, 201, 1 << 40, u64::try_from(i64::MAX).unwrap()] {
        refusals.case(&format!("a gap before {offset}"), Errno::INVAL, file.pwrite(b"x", offset));
    }
    refusals.case("at a negative offset", Errno::INVAL, file.pwrite(b"x", u64::MAX));
    let vector = [&[b'x'; 150][..], &[b'y'; 51]].map(IoSlice::new);
    refusals.case("201 bytes in two", Errno::INVAL, rustix::io::writev(&file, &vector));
    for hole in Hole::ALL.into_iter().filter(|hole| *hole != Hole::ReadOnly) {
        refusals.case(&format!("from {hole:?}"), Errno::FAULT, hole.write(&file, 3));
    }
    for mapped in [1, 10, 199] {
        let memory = Guarded::holding(&vec![b'n'; mapped]).unwrap();
        let answer = memory.write(&file, mapped + 1);
        refusals.case(&format!("{mapped} bytes there"), Errno::FAULT, answer);
    }
    refusals.finish();
    assert_eq!(contents(&file), b"the old one");
    assert_eq!(position(&file), 0);
}

#[test]
fn a_write_keeps_what_is_before_its_offset_and_replaces_the_rest() {
    let file = holding(b"hello world");
    assert_eq!(file.pwrite(b"there", 6), Ok(5));
    assert_eq!(contents(&file), b"hello there");
    assert_eq!(file.pwrite(b"i", 1), Ok(1));
    assert_eq!(contents(&file), b"hi");
    assert_eq!(file.pwrite(b" again", 2), Ok(6));
    assert_eq!(contents(&file), b"hi again");
    assert_eq!(position(&file), 0);
    assert_eq!(file.write(b"ho"), Ok(2));
    assert_eq!(contents(&file), b"ho");
    assert_eq!(file.write(b" ho"), Ok(3), "from where the last write ended");
    assert_eq!(contents(&file), b"ho ho");
}

// new: end
#[test]
fn what_is_appended_goes_to_the_end() {
    let file = holding(b"one");
    let appending = try_open(&message(), OFlags::WRONLY | OFlags::APPEND).unwrap();
    assert_eq!(appending.write(b" two"), Ok(4));
    assert_eq!(file.pwrite(b"1", 0), Ok(1));
    assert_eq!(appending.write(b" 2"), Ok(2));
    assert_eq!(contents(&file), b"1 2");
}

#[test]
fn writing_nothing_changes_nothing() {
    let file = holding(b"still here");
    assert_eq!(file.write(b""), Ok(0));
    assert_eq!(file.pwrite(b"", 1 << 40), Ok(0));
    assert_eq!(contents(&file), b"still here");
}

#[test]
fn opening_to_truncate_leaves_the_message() {
    let file = holding(b"still here");
    drop(try_open(&message(), OFlags::WRONLY | OFlags::TRUNC).unwrap());
    assert_eq!(contents(&file), b"still here");
}

#[test]
fn short_reads_go_on_where_the_last_one_ended() {
    let file = holding(b"hello world");
    for part in [&b"hell"[..], b"o wo", b"rld", b""] {
        assert_eq!(rest(&file, 4).unwrap(), part);
    }
    assert_eq!(position(&file), 11);
    assert_eq!(rest(&open(&message()), 99).unwrap(), b"hello world");
}

#[test]
fn seeking_stays_within_the_message() {
    let file = holding(b"hello world");
    for (to, then) in [
        (SeekFrom::Start(11), 11),
        (SeekFrom::Current(-5), 6),
        (SeekFrom::End(0), 11),
        (SeekFrom::End(-11), 0),
        (SeekFrom::Start(4), 4),
    ] {
        assert_eq!(file.seek(to), Ok(then), "{to:?}");
    }
    let mut refusals = Refusals::new();
    for to in [
        SeekFrom::Start(12),
        SeekFrom::Start(u64::MAX),
        SeekFrom::Current(8),
        SeekFrom::Current(-5),
        SeekFrom::End(1),
        SeekFrom::End(-12),
        SeekFrom::End(i64::MIN),
    ] {
        refusals.case(&format!("{to:?}"), Errno::INVAL, file.seek(to));
    }
    refusals.finish();
    assert_eq!(rest(&file, 99).unwrap(), b"o world");
}

#[test]
fn a_read_to_nowhere_says_so_and_does_not_move() {
    let file = holding(b"hello world");
    for hole in Hole::ALL {
        assert_eq!(hole.read(&file, 5), Err(Errno::FAULT), "{hole:?}");
    }
    assert_eq!(rest(&file, 99).unwrap(), b"hello world");
}

// new: begin
#[test]
fn readers_see_whole_messages_while_writers_replace_them() {
    drop(holding(&[1]));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers = [(); 2].map(|()| {
            scope.spawn(|| {
                let file = open(&message());
                let mut seen = 0_u32;
                while !done.load(Ordering::Relaxed) || seen == 0 {
                    let text = contents(&file);
                    // Message n is n bytes of value n.
                    assert_eq!(text, vec![text[0]; usize::from(text[0])]);
                    seen += 1;
                }
            })
        });
        let writers = [1_u8, 2].map(|writer| {
            scope.spawn(move || {
                let file = open(&message());
                for round in 0..500_u32 {
                    let len = u8::try_from(round * 37 % 198).unwrap() + writer;
                    assert_eq!(file.pwrite(&vec![len; len.into()], 0), Ok(len.into()));
                }
            })
        });
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
fn poll_finds_a_message_and_wakes_who_waits_for_one() {
    let _fresh = fresh();
    let file = open(&in_tree(MESSAGE));
    assert_eq!(poll(&file), PollFlags::OUT, "there is room, and no message");
    let waiting = file.try_clone().unwrap();
    // At its own limit it would look again, and find the message without having been woken.
    let waiter = Worker::spawn(move || waiting.wait_readable(2 * LIMIT));
    waiter.wait_until_asleep_in(Call::Poll, LIMIT);
    assert_eq!(write(&in_tree(MESSAGE), b"wake up"), Ok(7));
    assert_eq!(waiter.finish(LIMIT), Ok(true));
    assert_eq!(poll(&file), PollFlags::IN | PollFlags::OUT);
}

// new: end
#[test]
fn what_the_files_cannot_do_is_refused() {
    let _fresh = fresh();
    let mut refusals = Refusals::new();
    let (message, number) = (message(), value("u32"));
    for path in [&message, &number] {
        let (reader, writer) = (OFlags::RDONLY, OFlags::WRONLY);
        let (reader, writer) = (try_open(path, reader).unwrap(), try_open(path, writer).unwrap());
        refusals.case("read, open to write", Errno::BADF, writer.read(&mut [0]));
        refusals.case("write, open to read", Errno::BADF, reader.write(b"1"));
        refusals.case("map", Errno::NODEV, try_map(&reader));
        refusals.case("ioctl", Errno::NOTTY, Hole::Null.ioctl(&reader, 0x4711));
        refusals.case("open directly", Errno::INVAL, try_open(path, OFlags::DIRECT));
        refusals.case("open as a directory", Errno::NOTDIR, try_open(path, OFlags::DIRECTORY));
        refusals.case("make", Errno::EXIST, try_open(path, OFlags::CREATE | OFlags::EXCL));
        refusals.case("look below", Errno::NOTDIR, try_open(&format!("{path}/x"), OFlags::RDONLY));
        refusals.case("remove", Errno::PERM, rustix::fs::unlink(path.as_str()));
        let renamed = rustix::fs::renameat_with(
            CWD,
            path.as_str(),
            CWD,
            format!("{path}2"),
            RenameFlags::empty(),
        );
        refusals.case("rename", Errno::PERM, renamed);
        refusals.case("link", Errno::PERM, rustix::fs::link(path.as_str(), format!("{path}2")));
    }
    let directory = format!("{ROOT}/{DIRECTORY}");
    let inside = format!("{directory}/new");
    refusals.case("write a directory", Errno::ISDIR, try_open(&directory, OFlags::WRONLY));
    refusals.case("make a file", Errno::ACCESS, try_open(&inside, OFlags::CREATE | OFlags::RDWR));
    refusals.case("mkdir", Errno::PERM, rustix::fs::mkdir(inside.as_str(), Mode::RWXU));
    refusals.case("symlink", Errno::PERM, rustix::fs::symlink("x", inside.as_str()));
    refusals.case("rmdir", Errno::PERM, rustix::fs::rmdir(directory.as_str()));
    refusals.case("open what is not there", Errno::NOENT, try_open(&inside, OFlags::RDONLY));
    refusals.finish();
}

// ---- A list -------------------------------------------------------------------------------------

fn listed(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| format!("{byte:#04x}\n").into_bytes()).map(char::from).collect()
}

#[test]
fn the_list_has_a_line_for_each_byte_that_the_module_sees() {
    let _fresh = fresh();
    let path = in_tree(BYTES);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o444);
    assert_eq!(read(&path).unwrap(), listed(&BLOB));
    open(&value("blob")).pwrite(b"AB", 6).unwrap();
    assert_eq!(read(&path).unwrap(), listed(&[&BLOB[..6], b"AB"].concat()));
}

#[test]
fn the_list_is_read_in_any_portions_and_from_any_position() {
    let _fresh = fresh();
    let path = in_tree(BYTES);
    let whole = listed(&BLOB);
    for portion in [1, 3, 5, 4096, 1 << 20] {
        let file = try_open(&path, OFlags::RDONLY).unwrap();
        let mut all = Vec::new();
        loop {
            match rest(&file, portion).unwrap() {
                part if part.is_empty() => break,
                part => all.extend(part),
            }
        }
        assert_eq!(String::from_utf8(all).unwrap(), whole, "{portion} at a time");
    }
    let file = try_open(&path, OFlags::RDONLY).unwrap();
    for offset in [0, 1, 7, 39, 40, 41, 4096] {
        let mut bytes = [0; 99];
        let len = file.pread(&mut bytes, offset).unwrap();
        let rest = whole.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        assert_eq!(&bytes[..len], rest.as_bytes(), "at {offset}");
    }
    assert_eq!(file.seek(SeekFrom::Start(5)), Ok(5));
    assert_eq!(rest(&file, 4).unwrap(), b"0x01");
    assert_eq!(file.seek(SeekFrom::End(0)), Err(Errno::INVAL));
    assert_eq!(open(&path).write(b"x"), Err(Errno::INVAL));
}

// ---- What comes and goes ------------------------------------------------------------------------

#[test]
fn other_commands_are_refused() {
    let _fresh = fresh();
    let mut refusals = Refusals::new();
    for text in [
        "",
        "\n",
        "mak",
        "makes",
        "make ",
        " make",
        "MAKE",
        "make\n\n",
        "make\0",
        "remove count",
        "0123456789abcde",
        "0123456789abcdef",
        "0123456789abcdef0",
    ] {
        refusals.case(&format!("{text:?}"), Errno::INVAL, command(text));
    }
    refusals.case("4096 bytes", Errno::INVAL, write(&in_gate(CONTROL), &[b'x'; 4096]));
    refusals.case("make again", Errno::EXIST, command(MAKE));
    command("remove\n").unwrap();
    refusals.case("remove again", Errno::NOENT, command(REMOVE));
    refusals.case("count what is not there", Errno::NOENT, command(COUNT));
    command("make\n").unwrap();
    let control = open(&in_gate(CONTROL));
    refusals.case("read", Errno::INVAL, control.read(&mut [0]));
    refusals.case("seek", Errno::SPIPE, control.seek(SeekFrom::Start(0)));
    refusals.case("pwrite", Errno::SPIPE, control.pwrite(b"count", 0));
    refusals.case("from nowhere", Errno::FAULT, Hole::Unmapped.write(&control, 5));
    refusals.finish();
}

#[test]
fn a_name_that_is_taken_is_logged_and_harms_nobody() {
    let _watchdog = Watchdog::new(TOO_LONG);
    put(&myfile(), "99");
    drop(holding(b"untouched"));
    let mut log = Log::from_now().unwrap();
    command(AGAIN).unwrap();
    for name in [FILE, DIRECTORY] {
        let line = format!("'{name}' already exists in '/'");
        assert!(log.wait_for(&line, LIMIT).unwrap(), "{line}");
    }
    assert_eq!(read(&myfile()).unwrap(), "99\n");
    assert_eq!(read(&message()).unwrap(), "untouched");
    let names = fs::read_dir(format!("{ROOT}/{DIRECTORY}")).unwrap().count();
    assert_eq!(names, 1);
}

/// One of each kind of file, open.
fn one_of_each() -> Vec<(&'static str, Device)> {
    ALL_VALUES
        .map(|name| (name, open(&value(name))))
        .into_iter()
        .chain([MESSAGE, BYTES].map(|name| (name, open(&in_tree(name)))))
        .collect()
}

/// Every call on files that were open when they were removed.
fn assert_removed(files: &[(&str, Device)]) {
    let mut refusals = Refusals::new();
    for (name, file) in files {
        match *name {
            "u32_array" => {
                let copy = "0 1 1000 1000000\n";
                assert_eq!(rest(file, 99).unwrap(), copy.as_bytes(), "the copy is its own");
                refusals.case("write u32_array", Errno::INVAL, file.write(b"1"));
                continue;
            }
            "str" | BYTES => refusals.case("write", Errno::INVAL, file.write(b"1")),
            _ => refusals.case(&format!("write {name}"), Errno::IO, file.write(b"1")),
        }
        refusals.case(&format!("read {name}"), Errno::IO, file.read(&mut [0; 99]));
        if [MESSAGE, BYTES].contains(name) {
            refusals.case(&format!("seek {name}"), Errno::IO, file.seek(SeekFrom::Start(0)));
            refusals.case(&format!("pread {name}"), Errno::IO, file.pread(&mut [0; 99], 0));
        }
    }
    refusals.finish();
}

#[test]
fn open_files_survive_their_removal() {
    let _fresh = fresh();
    let files = one_of_each();
    write(&in_tree(MESSAGE), b"gone soon").unwrap();
    command(REMOVE).unwrap();
    assert_removed(&files);
    for (name, _) in &files {
        assert_eq!(read(&value(name)), Err(Errno::NOENT), "{name}");
    }
    assert_eq!(fs::read_dir(in_tree("")).unwrap().count(), 0);
    command(MAKE).unwrap();
    put(&value("u8"), "5");
    // `u32_array` was read to its end.
    let files: Vec<_> = files.into_iter().filter(|(name, _)| *name != "u32_array").collect();
    assert_removed(&files);
    assert_eq!(read(&value("u8")).unwrap(), "5\n");
    assert_eq!(read(&in_tree(MESSAGE)).unwrap(), "");
}

#[test]
fn what_had_been_read_of_a_removed_file_is_not_given_again() {
    let _fresh = fresh();
    put(&value("u32"), "123456");
    let (number, list) = (open(&value("u32")), open(&in_tree(BYTES)));
    assert_eq!(rest(&number, 3).unwrap(), b"123");
    assert_eq!(rest(&list, 7).unwrap(), b"0x00\n0x");
    command(REMOVE).unwrap();
    assert_eq!(number.read(&mut [0; 9]), Err(Errno::IO));
    assert_eq!(list.read(&mut [0; 9]), Err(Errno::IO));
}

#[test]
fn poll_on_a_removed_file_hangs_up() {
    let _fresh = fresh();
    let file = open(&in_tree(MESSAGE));
    command(REMOVE).unwrap();
    assert_eq!(poll(&file), PollFlags::HUP);
}

#[test]
fn a_waiter_outlives_the_file_it_waits_for() {
    let _fresh = fresh();
    let file = open(&in_tree(MESSAGE));
    let waiter = Worker::spawn(move || file.wait_readable(Duration::from_millis(500)));
    waiter.wait_until_asleep_in(Call::Poll, LIMIT);
    command(REMOVE).unwrap();
    command(MAKE).unwrap();
    assert_eq!(waiter.finish(LIMIT), Ok(false));
}

#[test]
fn files_are_removed_while_they_are_read_and_written() {
    let _fresh = fresh();
    let done = AtomicBool::new(false);
    let numbers = ["u8", "x64", "atomic_t", "bool", "str", "blob", "u32_array"].map(value);
    let others = [in_tree(MESSAGE), in_tree(BYTES)];
    thread::scope(|scope| {
        let users: Vec<_> = [&numbers[..], &others]
            .map(|paths| {
                let done = &done;
                scope.spawn(move || {
                    let (mut reached, mut missed) = (0_u32, 0_u32);
                    while !done.load(Ordering::Relaxed) {
                        for path in paths {
                            let used = try_open(path, OFlags::RDWR).and_then(|file| {
                                match file.write(b"1") {
                                    Ok(_) | Err(Errno::INVAL) => {}
                                    Err(errno) => return Err(errno),
                                }
                                file.read(&mut [0; 99])
                            });
                            match used {
                                Ok(_) => reached += 1,
                                Err(Errno::NOENT | Errno::IO) => missed += 1,
                                Err(errno) => panic!("{path}: {errno}"),
                            }
                        }
                    }
                    (reached, missed)
                })
            })
            .into_iter()
            .collect();
        for _ in 0..40 {
            command(REMOVE).unwrap();
            command(MAKE).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        for user in users {
            let (reached, missed) = user.join().unwrap();
            println!("{reached} reached, {missed} missed");
            assert!(reached > 0);
        }
    });
}

#[test]
fn two_who_make_and_remove_do_not_get_in_each_others_way() {
    let _fresh = fresh();
    thread::scope(|scope| {
        for own in [MAKE, REMOVE] {
            scope.spawn(move || {
                for _ in 0..50 {
                    match command(own) {
                        Ok(()) | Err(Errno::EXIST | Errno::NOENT) => {}
                        Err(errno) => panic!("{own}: {errno}"),
                    }
                }
            });
        }
    });
    drop(fresh());
    assert_eq!(fs::read_dir(value("")).unwrap().count(), ALL_VALUES.len());
}

// ---- Unloading ----------------------------------------------------------------------------------

// new: begin
fn unload() -> Result<(), Option<Errno>> {
    module::unload(MODULE).map_err(|error| error.errno())
}

#[test]
fn a_file_with_code_of_the_module_keeps_it_loaded() {
    let _fresh = fresh();
    let file = open(&in_tree(MESSAGE));
    assert_eq!(unload(), Err(Some(Errno::AGAIN)));
    drop(file);
    // new: end
    for path in [message(), in_gate(CONTROL), in_tree(BYTES)] {
        let file = open(&path);
        assert_eq!(unload(), Err(Some(Errno::AGAIN)), "{path}");
        drop(file);
    }
    let removed = [open(&in_tree(MESSAGE)), open(&in_tree(BYTES))];
    command(REMOVE).unwrap();
    for file in removed {
        assert_eq!(unload(), Err(Some(Errno::AGAIN)), "even if it was removed");
        drop(file);
    }
    command(MAKE).unwrap();
    // new: begin
    // That of a value has none.
    let file = open(&value("size_t"));
    assert_eq!(unload(), Ok(()));
    assert_eq!(file.read(&mut [0; 9]), Err(Errno::IO));
    load();
}

// new: end
#[test]
fn a_file_of_one_value_does_not_and_survives() {
    let _fresh = fresh();
    let files: Vec<_> = ALL_VALUES.map(|name| (name, open(&value(name)))).into_iter().collect();
    let howto = open(&myfile());
    assert_eq!(unload(), Ok(()));
    assert_removed(&files);
    assert_eq!(howto.read(&mut [0; 9]), Err(Errno::IO));
    assert_eq!(howto.write(b"1"), Err(Errno::IO));
    load();
    assert_eq!(howto.read(&mut [0; 9]), Err(Errno::IO), "another module's file");
    assert_eq!(read(&myfile()).unwrap(), "0\n");
}

#[test]
fn unloading_removes_everything() {
    let _fresh = fresh();
    let inside = fs::File::open(in_tree(VALUES)).unwrap();
    std::env::set_current_dir(in_tree(VALUES)).unwrap();
    assert_eq!(unload(), Ok(()));
    for path in [myfile(), message(), format!("{ROOT}/{DIRECTORY}"), in_gate(""), in_gate(TREE)] {
        assert!(!Path::new(&path).exists(), "{path}");
    }
    let seen = fs::read_dir(".").map_or(0, Iterator::count);
    assert_eq!(seen, 0, "who stands in a directory that is gone sees nothing");
    assert_eq!(try_open("u8", OFlags::RDONLY).map(drop), Err(Errno::NOENT));
    drop(inside);
    std::env::set_current_dir("/").unwrap();
    load();
}

/// What became of a use, which may have come too early or too late.
fn used<T>(result: &Result<T, Errno>) -> Use {
    // Or the module would be in use all the time.
    thread::sleep(Duration::from_micros(500));
    match result {
        Ok(_) => Use::Reached,
        Err(Errno::NOENT | Errno::NXIO | Errno::IO) => Use::Missed,
        Err(errno) => panic!("{errno}"),
    }
}

fn read_bytes(path: &str) -> Result<Vec<u8>, Errno> {
    rest(&try_open(path, OFlags::RDONLY)?, 99)
}

fn unload_from_under(users: &[&(dyn Fn() -> Use + Sync)]) {
    while_used(MODULE, MODULE_FILE, TOO_LONG, users);
}

#[test]
fn it_unloads_from_under_users_of_its_numbers() {
    let (one, all) = (myfile(), ["u8", "bool", "str", "blob", "u32_array"].map(value));
    let writer = || used(&write(&one, b"7"));
    let reader = || used(&all.iter().try_for_each(|path| read_bytes(path).map(drop)));
    unload_from_under(&[&writer, &reader]);
}

#[test]
fn it_unloads_from_under_writers_and_readers_of_a_message() {
    let path = message();
    let writer = || used(&write(&path, b"hello"));
    let reader = || used(&read_bytes(&path));
    unload_from_under(&[&writer, &reader]);
}

#[test]
fn it_unloads_from_under_readers_of_a_list() {
    let path = in_tree(BYTES);
    let reader = || used(&read_bytes(&path));
    unload_from_under(&[&reader, &reader]);
}

#[test]
fn it_unloads_from_under_who_waits_for_a_message() {
    let path = in_tree(MESSAGE);
    let waiter = || {
        let wait = |file: Device| file.wait_readable(Duration::from_millis(2));
        used(&try_open(&path, OFlags::RDONLY).and_then(wait))
    };
    let writer = || used(&write(&path, b"wake up"));
    unload_from_under(&[&waiter, &writer]);
}

#[test]
fn it_unloads_while_its_files_come_and_go() {
    let (control, number) = (in_gate(CONTROL), value("u64"));
    let commander = || {
        for command in [REMOVE, MAKE, COUNT] {
            let answer = used(&write(&control, command.as_bytes()));
            if answer == Use::Missed {
                return answer;
            }
        }
        Use::Reached
    };
    let reader = || used(&read_bytes(&number));
    unload_from_under(&[&commander, &reader]);
}

#[test]
fn it_unloads_while_somebody_looks_around() {
    let debugfs = Debugfs::find().unwrap();
    let walker = || {
        let entries = debugfs.tree("").unwrap();
        let seen = entries.iter().any(|entry| entry.path == Path::new(GATE));
        used(&seen.then_some(()).ok_or(Errno::NOENT))
    };
    unload_from_under(&[&walker]);
}

#[test]
fn it_unloads_with_files_of_one_value_open_all_the_time() {
    let path = myfile();
    for _ in 0..unload::cycles() {
        let file = open(&path);
        let reader = Worker::spawn(move || {
            loop {
                match file.write(b"3") {
                    Ok(_) => {}
                    Err(errno) => return errno,
                }
            }
        });
        assert_eq!(unload(), Ok(()));
        assert_eq!(reader.finish(LIMIT), Errno::IO);
        load();
    }
}

// ---- Who may ------------------------------------------------------------------------------------

#[test]
fn debugfs_is_roots_unless_it_is_mounted_otherwise() {
    let _fresh = fresh();
    let may = |path: String, flags| as_nobody(move || try_open(&path, flags).map(drop));
    let mut refusals = Refusals::new();
    for path in [myfile(), message(), value("str"), in_tree(BYTES), in_gate(CONTROL)] {
        for flags in [OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR] {
            refusals.case(&format!("{path} {flags:?}"), Errno::ACCESS, may(path.clone(), flags));
        }
    }
    let remounted = Remounted::new("mode=755");
    for path in [myfile(), message(), value("str"), in_tree(BYTES)] {
        assert_eq!(may(path.clone(), OFlags::RDONLY), Ok(()), "{path}");
        refusals.case(&path, Errno::ACCESS, may(path.clone(), OFlags::WRONLY));
    }
    refusals.case(CONTROL, Errno::ACCESS, may(in_gate(CONTROL), OFlags::RDONLY));
    drop(remounted);
    refusals.case("as before", Errno::ACCESS, may(myfile(), OFlags::RDONLY));
    refusals.finish();
}

#[test]
fn debugfs_mounted_read_only_is_not_written() {
    let _fresh = fresh();
    put(&value("u8"), "5");
    let _remounted = Remounted::new("ro");
    let mut refusals = Refusals::new();
    for path in [myfile(), message(), value("u8"), in_gate(CONTROL)] {
        for flags in [OFlags::WRONLY, OFlags::RDWR, OFlags::RDONLY | OFlags::TRUNC] {
            refusals.case(&format!("{path} {flags:?}"), Errno::ROFS, try_open(&path, flags));
        }
    }
    refusals.finish();
    assert_eq!(read(&value("u8")).unwrap(), "5\n");
}

// ---- Ordinary tools -----------------------------------------------------------------------------

#[test]
fn cat_and_echo_are_all_one_needs() {
    let _fresh = fresh();
    let (number, message, bool) = (myfile(), message(), value("bool"));
    let script = format!(
        "echo 99 > {number}; echo 'hello world' > {message}; echo on > {bool}
         cat {number} {message} {bool} {} {}
         echo short > {message}; echo more >> {message}; cat {message}",
        value("str"),
        in_tree(BYTES),
    );
    let expected =
        format!("99\nhello world\nY\n{STR}\n{bytes}short\nmore\n", bytes = listed(&BLOB));
    assert_eq!(tools::shell(&script).success(), expected);
}

#[test]
fn a_refusal_reaches_the_shell() {
    let _fresh = fresh();
    let mut refusals = Refusals::new();
    for (line, errno) in [
        (format!("echo nonsense > {}", myfile()), Errno::INVAL),
        (format!("echo 18446744073709551616 > {}", myfile()), Errno::RANGE),
        (format!("printf %201s x > {}", message()), Errno::INVAL),
        (format!("echo make > {}", in_gate(CONTROL)), Errno::EXIST),
        (format!("cat {}", in_gate(CONTROL)), Errno::INVAL),
        (format!("echo x > {}", in_gate("no_such")), Errno::ACCESS),
    ] {
        refusals.case(&line, errno, tools::shell(&line).answer());
    }
    let nobody = Tool::new("cat").arg(myfile()).user(65534, 65534).run();
    refusals.case("nobody's cat", Errno::ACCESS, nobody.answer());
    refusals.finish();
}

#[test]
fn dd_writes_a_message_in_pieces_and_a_blob_in_the_middle() {
    let _fresh = fresh();
    let text: String = ('a'..='z').cycle().take(MESSAGE_LIMIT).collect();
    Tool::new("dd")
        .args([format!("of={}", message()), "bs=64".into(), "conv=notrunc".into()])
        .stdin(text.clone())
        .run()
        .success();
    assert_eq!(read(&message()).unwrap(), text);
    Tool::new("dd")
        .args([
            format!("of={}", value("blob")),
            "bs=1".into(),
            "seek=3".into(),
            "conv=notrunc".into(),
        ])
        .stdin("xy")
        .run()
        .success();
    let mut expected = BLOB;
    expected[3..5].copy_from_slice(b"xy");
    assert_eq!(rest(&open(&value("blob")), 99).unwrap(), expected);
}

#[test]
fn find_and_grep_look_around() {
    let _fresh = fresh();
    put(&value("u16"), "4711");
    let found = tools::shell(&format!("grep -rs 4711 {} || true", in_gate(""))).success();
    assert_eq!(found, format!("{}:4711\n", value("u16")));
    let found = tools::shell(&format!("find {ROOT}/{GATE} -type f | wc -l")).success();
    assert_eq!(found.trim(), (ALL_VALUES.len() + 4).to_string());
    let stat = Tool::new("stat").args(["-f", "-c", "%T", ROOT]).run().success();
    assert_eq!(stat.trim(), "debugfs");
}

#[test]
fn rmmod_and_modprobe_take_the_files_away_and_bring_them_back() {
    tools::module_tree();
    Tool::new("rmmod").arg(MODULE).run().success();
    assert_eq!(tools::shell(&format!("cat {}", myfile())).answer(), Err(Errno::NOENT));
    Tool::new("modprobe").arg(MODULE).run().success();
    assert_eq!(Tool::new("cat").arg(myfile()).run().success(), "0\n");
}

// ---- The typed client ---------------------------------------------------------------------------

fn there_and_back<T: Value + PartialEq + Debug>(file: &File, value: &T) {
    file.set(value).unwrap();
    assert_eq!(file.get::<T>().unwrap(), *value);
}

#[test]
fn the_client_gets_and_sets_every_type() {
    let _fresh = fresh();
    let debugfs = Debugfs::find().unwrap();
    assert_eq!(debugfs.root(), Path::new(ROOT));
    let file = |name: &str| debugfs.file(format!("{GATE}/{TREE}/{VALUES}/{name}"));
    there_and_back(&file("u8"), &u8::MAX);
    there_and_back(&file("u16"), &u16::MAX);
    there_and_back(&file("u32"), &u32::MAX);
    there_and_back(&file("u64"), &u64::MAX);
    there_and_back(&file("size_t"), &usize::MAX);
    there_and_back(&file("ulong"), &u64::MAX);
    there_and_back(&file("x8"), &Hex(0xa_u8));
    there_and_back(&file("x16"), &Hex(0xa_u16));
    there_and_back(&file("x32"), &Hex(0xa_u32));
    there_and_back(&file("x64"), &Hex(0xa_u64));
    there_and_back(&file("xul"), &Hex(0xa_usize));
    there_and_back(&file("atomic_t"), &i32::MIN);
    there_and_back(&file("bool"), &true);
    there_and_back(&file("bool"), &false);
    assert_eq!(file("str").get::<String>().unwrap(), STR);
    assert_eq!(file("u32_array").get::<Vec<u32>>().unwrap(), U32_ARRAY);
    let ten_digits = debugfs.file(format!("{GATE}/{TREE}/{TEN_DIGITS}"));
    assert_eq!(ten_digits.get::<Vec<u32>>().unwrap(), [u32::MAX; 2]);
    file("blob").write(b"12345678").unwrap();
    assert_eq!(file("blob").read().unwrap(), b"12345678");
}

#[test]
fn the_client_says_what_is_wrong_and_what_to_do() {
    let _fresh = fresh();
    let debugfs = Debugfs::find().unwrap();
    let file = |name: &str| debugfs.file(format!("{GATE}/{TREE}/{VALUES}/{name}"));
    file("u16").set(&256_u16).unwrap();
    let error = file("u16").get::<u8>().unwrap_err();
    assert!(matches!(error, Error::Parse { .. }));
    assert!(
        error.to_string().ends_with(r#"holds "256\n", which is no u8: read it as bytes"#),
        "{error}"
    );
    assert!(matches!(file("x16").get::<u16>(), Err(Error::Parse { .. })));
    assert!(matches!(file("u16").get::<bool>(), Err(Error::Parse { .. })));
    assert!(matches!(file("u16").get::<Hex<u16>>(), Err(Error::Parse { .. })));
    let error = file("blob").write(b"123456789").unwrap_err();
    assert!(matches!(error, Error::Short { taken: 8, len: 9, .. }), "{error}");
    let error = file("no_such").get::<u8>().unwrap_err();
    assert_eq!(error.errno(), Some(Errno::NOENT));
    assert!(error.to_string().ends_with("load the module that makes it"), "{error}");
    let error = file("u8").write(b"x").unwrap_err();
    assert_eq!(error.errno(), Some(Errno::INVAL));
    let (path, root) = (file("u8"), debugfs.clone());
    let error = as_nobody(move || path.get::<u8>()).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::ACCESS));
    assert!(error.to_string().contains("run as root"), "{error}");
    assert_eq!(as_nobody(move || root.has(FILE)).unwrap_err().errno(), Some(Errno::ACCESS));
}

#[test]
fn the_client_lists_a_tree() {
    let _fresh = fresh();
    let debugfs = Debugfs::find().unwrap();
    let entries = debugfs.tree(GATE).unwrap();
    let entry = |path: &str, kind, mode| Entry { path: Path::new(GATE).join(path), kind, mode };
    let values = format!("{TREE}/{VALUES}");
    for expected in [
        entry(CONTROL, Kind::File, 0o200),
        entry(TREE, Kind::Directory, 0o755),
        entry(&values, Kind::Directory, 0o755),
        entry(&format!("{values}/u8"), Kind::File, 0o644),
        entry(&format!("{values}/str"), Kind::File, 0o444),
        entry(&format!("{TREE}/{MESSAGE}"), Kind::File, 0o644),
        entry(&format!("{TREE}/{BYTES}"), Kind::File, 0o444),
        entry(&format!("{TREE}/{TEN_DIGITS}"), Kind::File, 0o444),
    ] {
        assert!(entries.contains(&expected), "{expected:?} in {entries:?}");
    }
    assert_eq!(entries.len(), 6 + ALL_VALUES.len());
    assert!(entries.is_sorted_by(|a, b| a.path < b.path));
    assert!(debugfs.has(FILE).unwrap() && !debugfs.has("no_such").unwrap());
    assert!(!debugfs.has(format!("{FILE}/below")).unwrap());
    assert_eq!(debugfs.tree("no_such").unwrap_err().errno(), Some(Errno::NOENT));
    assert_eq!(debugfs.tree(FILE).unwrap_err().errno(), Some(Errno::NOTDIR));
}

#[test]
fn the_client_reads_and_writes_the_kernels_own_files() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let debugfs = Debugfs::find().unwrap();
    let nr_migrate = debugfs.file("sched/nr_migrate");
    let before: u32 = nr_migrate.get().unwrap();
    there_and_back(&nr_migrate, &(before + 1));
    there_and_back(&nr_migrate, &before);
    let fault_around: u64 = debugfs.file("fault_around_bytes").get().unwrap();
    assert!(fault_around.is_power_of_two());
    // Neither has a `get` nor minds what it is set to.
    let clear = debugfs.file("clear_warn_once");
    assert_eq!(clear.get::<u64>().unwrap_err().errno(), Some(Errno::ACCESS));
    clear.set(&1_u64).unwrap();
    let sleep_time = debugfs.file("sleep_time").read().unwrap();
    assert!(sleep_time.starts_with(b"      time (secs)"));
    // The debug kernel's way to have calls fail, here never.
    if debugfs.has("fail_usercopy").unwrap() {
        let file = |name: &str| debugfs.file(format!("fail_usercopy/{name}"));
        assert_eq!(file("probability").get::<u64>().unwrap(), 0);
        let times: i32 = file("times").get().unwrap();
        there_and_back(&file("times"), &-1);
        there_and_back(&file("times"), &times);
        there_and_back(&file("task-filter"), &true);
        there_and_back(&file("task-filter"), &false);
    }
    let entries = debugfs.tree("").unwrap();
    for path in ["bdi", "sched/nr_migrate", FILE] {
        assert!(entries.iter().any(|entry| entry.path == Path::new(path)), "{path}");
    }
}

#[test]
fn the_client_finds_debugfs_wherever_it_is_mounted() {
    let place = std::env::temp_dir().join("callgate debugfs");
    fs::create_dir(&place).unwrap();
    Tool::new("umount").arg(ROOT).run().success();
    let error = Debugfs::find().unwrap_err();
    assert!(matches!(error, Error::Mount(_)));
    assert!(error.to_string().contains("mount -t debugfs debugfs /sys/kernel/debug"), "{error}");
    Tool::new("mount").args(["-t", "debugfs", "none"]).arg(&place).run().success();
    let debugfs = Debugfs::find().unwrap();
    assert_eq!(debugfs.root(), place);
    there_and_back(&debugfs.file(FILE), &21_u8);
    Tool::new("mount").args(["-t", "debugfs", "none", ROOT]).run().success();
    assert_eq!(Debugfs::find().unwrap().root(), Path::new(ROOT));
    assert_eq!(read(&myfile()).unwrap(), "21\n", "there is only one debugfs");
    Tool::new("umount").arg(&place).run().success();
}
