// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a user of the settings below `/proc/sys` can rely on, tried through their files.
//!
//! These run in the lab's VM as root, each in a process of its own, with the module loaded.

// new: begin
use std::collections::BTreeSet;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use callgate::Errno;
use callgate::attribute;
use callgate::kmsg::Log;
use callgate::module;
use callgate::sysctl::{self, Permissions, Setting};
use callgate::testing::Refusals;
use callgate::testing::faults::at_last_places;
use callgate::testing::memory::{self, Guarded, Hole};
use callgate::testing::namespace::Network;
use callgate::testing::tools::{self, Tool};
use callgate::testing::unload::{self, Away, Use};
use callgate::testing::worker::as_nobody;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::process::Uid;

use super::abi::{FIRST, MAX, MIN, MODES, STRING_SIZE};

/// Every wait ends here at the latest; it is generous, because an emulated debug kernel is slow.
const LIMIT: Duration = Duration::from_secs(30);

/// Enough to make a race likely.
const TURNS: usize = 1000;

/// Nobody waits longer for as many turns.
const ENOUGH: Duration = Duration::from_secs(4);

const MODULE: &str = "callgate_sysctl";
const MODULE_FILE: &str = "/modules/callgate_sysctl.ko";

// new: end
/// The HOWTO's two settings.
const VALUES: [&str; 2] = ["net.test.value1", "net.test.value2"];

// new: begin
/// The settings for all, and whether they can be written.
const SETTINGS: &[(&str, bool)] = &[
    ("dev.callgate.uint", true),
    ("dev.callgate.ints", true),
    ("dev.callgate.string", true),
    ("dev.callgate.mode", true),
    ("dev.callgate.changes", false),
    // new: end
    ("dev.callgate.int", true),
    ("dev.callgate.ulong", true),
    ("dev.callgate.u8", true),
    ("dev.callgate.bool", true),
    ("dev.callgate.limits", false),
    // new: begin
];

/// The names of all settings.
fn names() -> impl Iterator<Item = &'static str> {
    SETTINGS
        .iter()
        .map(|(name, _)| *name)
        // new: end
        .chain(VALUES)
        // new: begin
}

fn setting(name: &str) -> Setting {
    Setting::named(name).unwrap()
}

fn text(name: &str) -> String {
    setting(name).text().unwrap()
}

fn set(name: &str, value: &str) {
    setting(name).set(value).unwrap();
}

/// Unloads the module and loads it again: all settings are as they are to begin with.
fn reload() {
    drop(Away::new(MODULE, MODULE_FILE));
}

fn open(name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::open(setting(name).path(), flags | OFlags::CLOEXEC, Mode::empty())
}

/// What one write(2) of `bytes` is answered.
fn put(name: &str, bytes: &[u8]) -> Result<usize, Errno> {
    put_at(name, bytes, 0)
}

/// What one write of `bytes` at `offset` is answered.
fn put_at(name: &str, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
    rustix::io::pwrite(open(name, OFlags::WRONLY)?, bytes, offset)
}

/// What one read of at most `len` bytes from `offset` gives.
fn take(name: &str, len: usize, offset: u64) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    let len = rustix::io::pread(open(name, OFlags::RDONLY)?, &mut bytes, offset)?;
    bytes.truncate(len);
    Ok(bytes)
}

// new: end
// ---- The HOWTO's two numbers --------------------------------------------------------------------

#[test]
fn the_howtos_files_are_where_it_says() {
    let found: Vec<_> = sysctl::list("net.test").unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(found, VALUES);
    let directory = tools::shell("stat -c '%a %u %g %F' /proc/sys/net/test").success();
    assert_eq!(directory, "555 0 0 directory\n");
    for name in VALUES {
        let permissions =
            Permissions { mode: 0o644, owner: 0, group: 0, readable: true, writable: true };
        assert_eq!(setting(name).permissions().unwrap(), permissions, "{name}");
    }
}

#[test]
fn they_begin_within_their_range_and_anew_with_each_load() {
    for _ in 0..2 {
        reload();
        for (name, first) in VALUES.into_iter().zip(FIRST) {
            assert_eq!(setting(name).get::<i32>().unwrap(), first, "{name}");
            assert!((MIN..=MAX).contains(&first));
            set(name, "20");
        }
    }
}

#[test]
fn every_number_of_the_range_is_kept_and_no_other() {
    for name in VALUES {
        let setting = setting(name);
        for value in -25..=45 {
            let before: i32 = setting.get().unwrap();
            let result = setting.set(value).map_err(|error| error.errno());
            let after: i32 = setting.get().unwrap();
            if (MIN..=MAX).contains(&value) {
                assert_eq!((result, after), (Ok(()), value), "{name}");
            } else {
                assert_eq!((result, after), (Err(Some(Errno::INVAL)), before), "{name}: {value}");
            }
        }
    }
}

#[test]
fn the_two_are_independent() {
    set(VALUES[0], "12");
    set(VALUES[1], "18");
    assert_eq!(VALUES.map(text), ["12", "18"]);
    set(VALUES[0], "13");
    assert_eq!(VALUES.map(text), ["13", "18"]);
}

#[test]
fn a_number_may_be_written_in_many_ways() {
    let spaces = [b' '; 4000];
    for (bytes, value) in [
        (&b"15"[..], "15"),
        (b"16\n", "16"),
        (b" 17", "17"),
        (b"18 ", "18"),
        (b"\t19\t", "19"),
        (b"\n\n11\n\n", "11"),
        (b"\x0b\x0c\r12", "12"),
        (b"\xa013", "13"),
        (b"0xf", "15"),
        (b"0X10", "16"),
        (b"0x0000000000000011", "17"),
        (b"024", "20"),
        (b"000000000000000000024", "20"),
        (&[&spaces[..], b"14"].concat(), "14"),
        (&[b"15", &spaces[..]].concat(), "15"),
    ] {
        // What 21 bytes and more begin with must not look like a number that goes on.
        if bytes == b"000000000000000000024" {
            assert_eq!(put(VALUES[0], bytes), Err(Errno::INVAL));
            assert_eq!(put(VALUES[0], &bytes[1..]), Ok(20));
        } else {
            assert_eq!(put(VALUES[0], bytes), Ok(bytes.len()), "{:?}", bytes.escape_ascii());
        }
        assert_eq!(text(VALUES[0]), value, "{:?}", bytes.escape_ascii().to_string());
    }
}

#[test]
fn of_a_write_only_the_first_page_counts() {
    set(VALUES[0], "15");
    let page = memory::page_size();
    let mut bytes = vec![b' '; 2 * page];
    bytes[page + 1..page + 3].copy_from_slice(b"16");
    assert_eq!(put(VALUES[0], &bytes), Err(Errno::INVAL), "nothing in it");
    bytes[..2].copy_from_slice(b"17");
    assert_eq!(put(VALUES[0], &bytes), Ok(2 * page));
    assert_eq!(text(VALUES[0]), "17");
}

#[test]
fn what_is_read_can_be_written_back() {
    for name in names() {
        let setting = setting(name);
        if !setting.permissions().unwrap().writable {
            continue;
        }
        let value = take(name, 100, 0).unwrap();
        assert!(value.ends_with(b"\n"), "{name}");
        assert_eq!(put(name, &value), Ok(value.len()), "{name}");
        assert_eq!(take(name, 100, 0).unwrap(), value, "{name}");
    }
}

// ---- One of each type ---------------------------------------------------------------------------

#[test]
fn there_is_a_setting_of_each_type() {
    reload();
    let found: BTreeSet<_> =
        sysctl::list("dev.callgate").unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(found, SETTINGS.iter().map(|(name, _)| (*name).to_owned()).collect());
    let values = ["1", "0\t0\t0\t0", "hello world", "off", "0", "-1", "0", "0", "0", "10\t11"];
    assert_eq!(SETTINGS.iter().map(|(name, _)| text(name)).collect::<Vec<_>>(), values);
    for (name, writable) in SETTINGS.iter().copied() {
        let permissions = setting(name).permissions().unwrap();
        let mode = match name {
            "dev.callgate.string" => 0o600,
            _ if writable => 0o644,
            _ => 0o444,
        };
        assert_eq!(permissions.mode, mode, "{name}");
        assert_eq!((permissions.readable, permissions.writable), (true, writable), "{name}");
    }
}

// new: begin
/// What is written, and what is read after it.
fn check(name: &str, cases: &[(&str, &str)]) {
    for (written, read) in cases {
        assert_eq!(put(name, written.as_bytes()), Ok(written.len()), "{name}: {written}");
        assert_eq!(text(name), *read, "{name}: {written}");
    }
}

// new: end
#[test]
fn an_int_has_a_sign_and_32_bits() {
    check(
        "dev.callgate.int",
        &[
            ("2147483647", "2147483647"),
            ("-2147483648", "-2147483648"),
            ("-0", "0"),
            ("-0x10", "-16"),
            ("-010", "-8"),
            ("0x7fffffff", "2147483647"),
            ("-0x80000000", "-2147483648"),
        ],
    );
}

// new: begin
#[test]
fn the_unsigned_are_unsigned_and_have_their_own_bounds() {
    check("dev.callgate.uint", &[("1", "1"), ("1000", "1000"), ("0x3e8", "1000")]);
    for refused in ["0", "1001", "-1", "4294967297", "many"] {
        assert_eq!(put("dev.callgate.uint", refused.as_bytes()), Err(Errno::INVAL), "{refused}");
        assert_eq!(text("dev.callgate.uint"), "1000", "{refused}");
    }
    // new: end
    check("dev.callgate.u8", &[("0", "0"), ("200", "200"), ("0310", "200")]);
    let most = usize::MAX.to_string();
    check(
        "dev.callgate.ulong",
        &[("0", "0"), (&most, &most), ("0xffffffffffffffff", &most), ("4294967296", "4294967296")],
    );
    // new: begin
}

// new: end
#[test]
fn a_bool_is_any_number() {
    check(
        "dev.callgate.bool",
        &[("1", "1"), ("0", "0"), ("2", "1"), ("0x0", "0"), ("-1", "1"), ("-0", "0"), ("256", "1")],
    );
}

// new: begin
#[test]
fn an_array_takes_as_many_numbers_as_come() {
    let ints = setting("dev.callgate.ints");
    for separated in ["1 2 3 4", "1\t2\t3\t4", "1\n2\n3\n4\n", " 1  2 \t 3 \n 4 "] {
        ints.set("0 0 0 0").unwrap();
        assert_eq!(put("dev.callgate.ints", separated.as_bytes()), Ok(separated.len()));
        assert_eq!(take("dev.callgate.ints", 100, 0).unwrap(), b"1\t2\t3\t4\n");
    }
    ints.set_values(&[5]).unwrap();
    assert_eq!(ints.values::<u8>().unwrap(), [5, 2, 3, 4], "the others stay");
    ints.set_values(&[6, 7]).unwrap();
    assert_eq!(ints.values::<u8>().unwrap(), [6, 7, 3, 4]);
}

// new: end
#[test]
fn numbers_beyond_the_last_are_not_taken() {
    assert_eq!(put("dev.callgate.ints", b"9 8 7 6 5"), Ok(8));
    assert_eq!(text("dev.callgate.ints"), "9\t8\t7\t6");
    assert_eq!(put("net.test.value1", b"15 16\n"), Ok(3));
    assert_eq!(text("net.test.value1"), "15");
    let error = setting("dev.callgate.ints").set_values(&[1, 2, 3, 4, 5]).unwrap_err();
    assert!(
        matches!(error, sysctl::Error::Value(attribute::Error::Short { taken: 8, len: 10, .. })),
        "{error:?}"
    );
}

// new: begin
#[test]
fn numbers_before_a_refused_one_are_changed() {
    set("dev.callgate.ints", "0 0 0 0");
    for (written, read) in [
        ("1 2 x 4", "1\t2\t0\t0"),
        ("3 101", "3\t2\t0\t0"),
        ("4 5 6 -1", "4\t5\t6\t0"),
        ("7,8", "4\t5\t6\t0"),
    ] {
        assert_eq!(put("dev.callgate.ints", written.as_bytes()), Err(Errno::INVAL), "{written}");
        assert_eq!(text("dev.callgate.ints"), read, "{written}");
    }
}

#[test]
fn a_string_is_kept_up_to_what_ends_it() {
    let longest = "x".repeat(STRING_SIZE - 1);
    let longer = "x".repeat(STRING_SIZE);
    let page = "x".repeat(2 * memory::page_size());
    check(
        "dev.callgate.string",
        &[
            ("hello", "hello"),
            ("hello\n", "hello"),
            ("\n", ""),
            ("two words\n", "two words"),
            (" as it is\t", " as it is\t"),
            ("one\ntwo\n", "one"),
            ("one\0two", "one"),
            ("\0", ""),
            ("gru\u{df}", "gru\u{df}"),
            (&longest, &longest),
            (&longer, &longest),
            (&page, &longest),
        ],
    );
    assert_eq!(put("dev.callgate.string", b"\xff\x01\x7f"), Ok(3));
    assert_eq!(take("dev.callgate.string", 100, 0).unwrap(), b"\xff\x01\x7f\n");
}

// new: end
#[test]
fn a_string_goes_on_where_a_write_is() {
    let name = "dev.callgate.string";
    let longest = format!("heLp{}", "!".repeat(STRING_SIZE - 5));
    for (bytes, offset, then) in [
        (&b"hello"[..], 0, "hello"),
        (b" world", 5, "hello world"),
        (b"L", 2, "heL"),
        (b"far off", 4, "heL"),
        (b"p", 3, "heLp"),
        (&[b'!'; STRING_SIZE], 4, &longest),
        (b"?", STRING_SIZE - 1, &longest),
        (b"?", STRING_SIZE, &longest),
        (b"?", 1 << 40, &longest),
        (b"\n", 4, "heLp"),
    ] {
        assert_eq!(put_at(name, bytes, offset as u64), Ok(bytes.len()), "{offset}");
        assert_eq!(text(name), then, "{:?} at {offset}", bytes.escape_ascii().to_string());
    }
    // The position moves along.
    let file = open(name, OFlags::WRONLY).unwrap();
    for part in [&b"a"[..], b"bc", b"def"] {
        assert_eq!(rustix::io::write(&file, part), Ok(part.len()));
    }
    assert_eq!(text(name), "abcdef");
}

// new: begin
#[test]
fn the_module_is_told_of_a_new_mode_and_only_of_a_new_one() {
    reload();
    let mut log = Log::from_now().unwrap();
    set("dev.callgate.mode", "on");
    assert!(log.wait_for("hello world: off -> on", LIMIT).unwrap());
    set("dev.callgate.mode", "on");
    assert_eq!(put("dev.callgate.mode", b"nonsense"), Err(Errno::INVAL));
    set("dev.callgate.string", "that is new");
    set("dev.callgate.mode", "auto");
    assert!(log.wait_for("that is new: on -> auto", LIMIT).unwrap(), "it reads the string, too");
    assert_eq!(text("dev.callgate.mode"), "auto");
    assert_eq!(text("dev.callgate.changes"), "2");
    for mode in MODES {
        check("dev.callgate.mode", &[(mode, mode), (&format!("{mode}\n"), mode)]);
    }
    assert_eq!(text("dev.callgate.changes"), "5");
}

#[test]
fn what_is_only_to_be_read_is_so_for_root_too() {
    for (name, _) in SETTINGS.iter().filter(|(_, writable)| !writable) {
        let before = text(name);
        let error = setting(name).set(1).unwrap_err();
        assert!(matches!(error, sysctl::Error::ReadOnly { .. }), "{error:?}");
        assert_eq!(error.errno(), Some(Errno::ACCESS));
        assert_eq!(text(name), before);
    }
}

// new: end
#[test]
fn the_module_sees_what_was_written() {
    for (one, other) in [("10", "20"), ("15", "15"), ("20", "10")] {
        set(VALUES[0], one);
        set(VALUES[1], other);
        assert_eq!(text("dev.callgate.limits"), format!("{one}\t{other}"));
    }
}

// ---- Reading and writing in parts ---------------------------------------------------------------

#[test]
fn a_number_is_written_at_the_start_or_ignored() {
    for name in ["net.test.value1", "dev.callgate.ints", "dev.callgate.u8", "dev.callgate.bool"] {
        let before = text(name);
        for offset in [1, 2, 100, 1 << 40] {
            for bytes in [&b"1"[..], b"17\n", b"nonsense", b""] {
                assert_eq!(put_at(name, bytes, offset), Ok(bytes.len()), "{name} at {offset}");
            }
        }
        assert_eq!(text(name), before, "{name}");
    }
    // So a second write to an open file does nothing, unless it goes back.
    let file = open(VALUES[0], OFlags::WRONLY).unwrap();
    assert_eq!(rustix::io::write(&file, b"11\n"), Ok(3));
    assert_eq!(rustix::io::write(&file, b"12\n"), Ok(3));
    assert_eq!(text(VALUES[0]), "11");
    assert_eq!(rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)), Ok(0));
    assert_eq!(rustix::io::write(&file, b"13\n"), Ok(3));
    assert_eq!(text(VALUES[0]), "13");
}

#[test]
fn without_strict_writes_the_offset_does_not_matter() {
    struct Strict;
    impl Drop for Strict {
        fn drop(&mut self) {
            set("kernel.sysctl_writes_strict", "1");
        }
    }
    let _strict = Strict;
    set("kernel.sysctl_writes_strict", "-1");
    assert_eq!(put_at(VALUES[0], b"16", 7), Ok(2));
    assert_eq!(text(VALUES[0]), "16");
    assert_eq!(put_at("dev.callgate.string", b"all of it", 7), Ok(9));
    assert_eq!(text("dev.callgate.string"), "all of it");
    assert_eq!(put_at("dev.callgate.mode", b"on", 7), Err(Errno::INVAL), "not for attributes");
}

#[test]
fn a_number_read_in_parts_ends_after_the_first() {
    set(VALUES[0], "15");
    set("dev.callgate.ints", "1 2 3 4");
    for (name, whole) in [(VALUES[0], "15\n"), ("dev.callgate.ints", "1\t2\t3\t4\n")] {
        for len in 1..10 {
            let first = &whole.as_bytes()[..len.min(whole.len())];
            assert_eq!(take(name, len, 0).unwrap(), first, "{name}");
            assert_eq!(take(name, len, len as u64).unwrap(), b"", "{name}");
        }
    }
}

#[test]
fn a_string_and_a_mode_can_be_read_in_parts() {
    set("dev.callgate.string", "hello world");
    set("dev.callgate.mode", "auto");
    for (name, whole) in [("dev.callgate.string", "hello world\n"), ("dev.callgate.mode", "auto\n")]
    {
        for len in 1..15 {
            let file = open(name, OFlags::RDONLY).unwrap();
            let (mut all, mut part) = (Vec::new(), vec![0; len]);
            loop {
                let read = rustix::io::read(&file, &mut part).unwrap();
                if read == 0 {
                    break;
                }
                assert_eq!(read, len.min(whole.len() - all.len()), "{name}");
                all.extend_from_slice(&part[..read]);
            }
            assert_eq!(all, whole.as_bytes(), "{name}, {len} at a time");
        }
        for offset in 0..=whole.len() {
            assert_eq!(take(name, 100, offset as u64).unwrap(), &whole.as_bytes()[offset..]);
        }
        assert_eq!(take(name, 100, 1 << 40).unwrap(), b"");
    }
}

#[test]
fn nothing_is_read_and_written_by_no_bytes() {
    for name in names() {
        let before = text(name);
        assert_eq!(take(name, 0, 0).unwrap(), b"", "{name}");
        if setting(name).permissions().unwrap().writable {
            assert_eq!(put(name, b""), Ok(0), "{name}");
            assert_eq!(put_at(name, b"", 5), Ok(0), "{name}");
        }
        assert_eq!(text(name), before, "{name}");
    }
}

#[test]
fn an_open_file_can_be_read_again_and_sees_changes() {
    set(VALUES[0], "11");
    let open = setting(VALUES[0]).open(OFlags::RDWR).unwrap();
    for value in [12, 13, 14] {
        open.write(format!("{value}\n").as_bytes()).unwrap();
        assert_eq!(open.get::<i32>().unwrap(), value);
        assert_eq!(setting(VALUES[0]).get::<i32>().unwrap(), value);
    }
    // Truncating, as the shell does, is taken for granted.
    assert!(rustix::fs::ftruncate(&open, 0).is_ok());
    let truncated = open_raw(VALUES[0], OFlags::WRONLY | OFlags::TRUNC);
    assert_eq!(rustix::io::write(truncated, b"15"), Ok(2));
    let appended = open_raw(VALUES[0], OFlags::WRONLY | OFlags::APPEND);
    assert_eq!(rustix::io::write(appended, b"16"), Ok(2));
    assert_eq!(open.get::<i32>().unwrap(), 16);
}

fn open_raw(name: &str, flags: OFlags) -> OwnedFd {
    open(name, flags).unwrap()
}

#[test]
fn nobody_can_wait_for_a_change() {
    let file = open(VALUES[0], OFlags::RDONLY).unwrap();
    let interest = PollFlags::IN | PollFlags::OUT | PollFlags::PRI;
    let ready = |file: &OwnedFd| {
        let mut fds = [PollFd::new(file, interest)];
        rustix::event::poll(&mut fds, Some(&Timespec::default())).unwrap();
        fds[0].revents()
    };
    assert_eq!(ready(&file), PollFlags::IN | PollFlags::OUT, "always ready, whatever happens");
    set(VALUES[0], "19");
    assert_eq!(ready(&file), PollFlags::IN | PollFlags::OUT);
}

// ---- Bad input ----------------------------------------------------------------------------------

/// What no number looks like.
const NONSENSE: [&[u8]; 31] = [
    b"\n",
    b" ",
    b"\t\n ",
    b"\0",
    b"-",
    b"+",
    b"x",
    b"+15",
    b"--15",
    b"- 15",
    b"15x",
    b"15.0",
    b"15,16",
    b"15\0",
    b"15\x0016",
    b"\x0015",
    b"15\r\n",
    b"15\x0b",
    b"15\xa0",
    b"0x",
    b"0x \n",
    b"0b1111",
    b"08",
    b"1e1",
    b"fifteen",
    b"'15'",
    b"\xef\xbc\x91\xef\xbc\x95",
    b"99999999999999999999",
    b"18446744073709551616",
    b"0x10000000000000000",
    b"0000000000000000000015",
];

#[test]
fn numbers_refuse_bad_input_and_keep_their_value() {
    let before = [
        ("net.test.value1", "15"),
        ("net.test.value2", "16"),
        ("dev.callgate.int", "-7"),
        ("dev.callgate.ints", "1\t2\t3\t4"),
        ("dev.callgate.uint", "17"),
        ("dev.callgate.ulong", "18"),
        ("dev.callgate.u8", "19"),
        ("dev.callgate.bool", "1"),
    ];
    let mut table = Refusals::new();
    for (name, value) in before {
        set(name, value);
        for bytes in NONSENSE {
            let what = format!("{name}: {}", bytes.escape_ascii());
            table.case(&what, Errno::INVAL, put(name, bytes));
        }
    }
    // One beyond what the type, or the range, has.
    for (name, values) in [
        ("net.test.value1", &["9", "21", "0", "1", "-0", "-15", "4294967311"][..]),
        ("dev.callgate.int", &["2147483648", "-2147483649", "0xffffffff", "020000000000"]),
        ("dev.callgate.ints", &["-1", "101", "4294967297"]),
        ("dev.callgate.uint", &["0", "1001", "-1", "-0", "4294967295", "4294967296"]),
        ("dev.callgate.ulong", &["-1", "-0", "01777777777777777777777"]),
        ("dev.callgate.u8", &["201", "255", "256", "-1", "-0", "4294967296"]),
        ("dev.callgate.bool", &["y", "on", "true", "2147483648", "-2147483649"]),
    ] {
        for value in values {
            table.case(&format!("{name}: {value}"), Errno::INVAL, put(name, value.as_bytes()));
        }
    }
    table.finish();
    assert_eq!(before.map(|(name, _)| text(name)), before.map(|(_, value)| value));
}

// new: begin
#[test]
fn a_mode_refuses_what_is_none() {
    set("dev.callgate.mode", "auto");
    let mut table = Refusals::new();
    for bytes in [
        &b"\n"[..],
        b" ",
        b"\0",
        b"O",
        b"of",
        b"offf",
        b"OFF",
        b" off",
        b"off ",
        b"off\n\n",
        b"\noff",
        b"off\0",
        b"off\0\n",
        b"off\r\n",
        b"off on",
        b"off\non\n",
        b"0",
        b"1",
        b"\xff",
        &[b'o'; 5000],
    ] {
        let what = bytes[..bytes.len().min(20)].escape_ascii().to_string();
        table.case(&what, Errno::INVAL, put("dev.callgate.mode", bytes));
    }
    for offset in [1, 4, 5, 1 << 40] {
        let refused = put_at("dev.callgate.mode", b"off", offset);
        table.case(&format!("at {offset}"), Errno::INVAL, refused);
    }
    table.finish();
    assert_eq!(text("dev.callgate.mode"), "auto");
}

// new: end
#[test]
fn bad_addresses_and_lengths_are_refused_and_change_nothing() {
    let before: Vec<_> = names().map(text).collect();
    let mut table = Refusals::new();
    for name in names() {
        let file = open(name, OFlags::RDONLY).unwrap();
        for hole in Hole::ALL {
            table.case(&format!("{name}: read to {hole:?}"), Errno::FAULT, hole.read(&file, 100));
        }
        let mut memory = Guarded::new(1).unwrap();
        table.case(&format!("{name}: no room"), Errno::FAULT, memory.read(&file, 100));
        table.case(&format!("{name}: not to write"), Errno::BADF, rustix::io::write(&file, b"1"));
        let Ok(file) = open(name, OFlags::WRONLY) else { continue };
        for hole in Hole::ALL.into_iter().filter(|hole| *hole != Hole::ReadOnly) {
            table.case(&format!("{name}: from {hole:?}"), Errno::FAULT, hole.write(&file, 2));
        }
        // As much as is there would be a value.
        let memory = Guarded::holding(b"12").unwrap();
        table.case(&format!("{name}: cut off"), Errno::FAULT, memory.write(&file, 3));
        let huge = vec![b'1'; 4 << 20];
        table.case(&format!("{name}: 4 MiB"), Errno::NOMEM, rustix::io::write(&file, &huge));
        table.case(&format!("{name}: not to read"), Errno::BADF, rustix::io::read(&file, &mut [0]));
        for offset in [u64::MAX, 1 << 63] {
            let refused = rustix::io::pwrite(&file, b"12", offset);
            table.case(&format!("{name}: before the start"), Errno::INVAL, refused);
        }
    }
    table.finish();
    assert_eq!(names().map(text).collect::<Vec<_>>(), before);
}

#[test]
fn what_files_below_proc_sys_cannot_do_is_refused() {
    let mut table = Refusals::new();
    let path = |name| setting(name).path().to_owned();
    let errno =
        |result: std::io::Result<()>| result.map_err(|error| Errno::from_io_error(&error).unwrap());
    for name in [VALUES[0], "dev.callgate.int", "dev.callgate.mode"] {
        let path = path(name);
        let beside = path.with_file_name("another");
        let file = open(name, OFlags::RDWR).unwrap();
        table.case("map", Errno::NODEV, memory::try_map(&file));
        table.case("ioctl", Errno::NOTTY, Hole::Unmapped.ioctl(&file, 0x5401));
        table.case("fsync", Errno::INVAL, rustix::fs::fsync(&file));
        table.case("chmod", Errno::PERM, rustix::fs::chmod(&path, Mode::from_raw_mode(0o666)));
        let root = Uid::from_raw(1);
        table.case("chown", Errno::PERM, rustix::fs::chown(&path, Some(root), None));
        table.case("remove", Errno::ACCESS, rustix::fs::unlink(&path));
        table.case("rename", Errno::NOENT, rustix::fs::rename(&path, &beside));
        table.case("link", Errno::NOENT, rustix::fs::link(&path, &beside));
        table.case("create", Errno::NOENT, errno(fs::write(&beside, "1")));
        table.case("make a directory", Errno::NOENT, errno(fs::create_dir(&beside)));
        table.case(
            "remove directory",
            Errno::ACCESS,
            errno(fs::remove_dir(path.parent().unwrap())),
        );
        table.case("open as a directory", Errno::NOTDIR, open(name, OFlags::DIRECTORY).map(drop));
        table.case("create anew", Errno::EXIST, {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
            rustix::fs::open(&path, flags, Mode::RUSR).map(drop)
        });
        table.case("write a directory", Errno::ISDIR, {
            rustix::fs::open(path.parent().unwrap(), OFlags::WRONLY, Mode::empty()).map(drop)
        });
        let run = std::process::Command::new(&path).spawn();
        table.case("run", Errno::ACCESS, errno(run.map(drop)));
        let before_start = rustix::fs::SeekFrom::Current(-1);
        table.case("seek", Errno::INVAL, rustix::fs::seek(&file, before_start));
    }
    table.finish();
}

#[test]
fn a_read_only_mount_keeps_writers_out() {
    let before = text(VALUES[0]);
    let lines = "mkdir -p /tmp/proc && mount -t proc -o ro proc /tmp/proc && \
                 cat /tmp/proc/sys/net/test/value1 && echo 12 > /tmp/proc/sys/net/test/value1";
    let ran = tools::shell(lines);
    assert_eq!(ran.stdout, format!("{before}\n").as_bytes(), "{ran}");
    assert_eq!(ran.answer(), Err(Errno::ROFS));
    let error = Setting::below(Path::new("/tmp/proc/sys"), VALUES[0].parse().unwrap());
    assert_eq!(error.set(12).unwrap_err().errno(), Some(Errno::ROFS));
    tools::shell("umount /tmp/proc").success();
    assert_eq!(text(VALUES[0]), before);
}

// new: begin
#[test]
fn strangers_read_what_they_may_and_write_nothing() {
    let before: Vec<_> = names().map(text).collect();
    let mut table = Refusals::new();
    for name in names() {
        let permissions = as_nobody(move || setting(name).permissions().unwrap());
        assert_eq!(permissions.readable, name != "dev.callgate.string", "{name}");
        assert!(!permissions.writable, "{name}");
        table.case(&format!("write {name}"), Errno::ACCESS, as_nobody(move || put(name, b"12")));
    }
    let read = as_nobody(|| take("dev.callgate.string", 100, 0));
    table.case("read a string of root's", Errno::ACCESS, read);
    table.finish();
    // new: end
    assert_eq!(as_nobody(|| text(VALUES[0])), text(VALUES[0]));
    // new: begin
    assert_eq!(names().map(text).collect::<Vec<_>>(), before);
}

// new: end
#[test]
fn who_uses_an_open_file_counts_and_not_who_opened_it() {
    set(VALUES[0], "15");
    let mut table = Refusals::new();
    for name in names() {
        let Ok(file) = open(name, OFlags::RDWR) else { continue };
        let written = as_nobody(move || rustix::io::write(&file, b"12"));
        table.case(&format!("write {name}"), Errno::PERM, written);
    }
    let file = open("dev.callgate.string", OFlags::RDONLY).unwrap();
    let read = as_nobody(move || rustix::io::read(&file, &mut [0; 100]));
    table.case("read a string of root's", Errno::PERM, read);
    table.finish();
    let file = open(VALUES[0], OFlags::RDONLY).unwrap();
    let read = as_nobody(move || rustix::io::read(&file, &mut [0; 100]));
    assert_eq!(read, Ok(3), "what all may read can be");
    assert_eq!(text(VALUES[0]), "15");
}

// ---- Namespaces ---------------------------------------------------------------------------------

#[test]
fn a_second_network_namespace_has_values_of_its_own() {
    set(VALUES[0], "12");
    set(VALUES[1], "13");
    let other = Network::new().unwrap();
    let inside = other.enter(|| {
        let before = VALUES.map(text);
        set(VALUES[0], "19");
        assert_eq!(put(VALUES[1], b"21"), Err(Errno::INVAL), "the range is the same");
        (before, VALUES.map(text), text("dev.callgate.limits"))
    });
    let first = FIRST.map(|value| value.to_string());
    assert_eq!(inside.0, first, "it begins anew");
    assert_eq!(inside.1, ["19", "11"]);
    assert_eq!(inside.2, "19\t11", "and so the module sees it");
    assert_eq!(VALUES.map(text), ["12", "13"]);
    assert_eq!(text("dev.callgate.limits"), "12\t13");
    set(VALUES[0], "14");
    assert_eq!(other.enter(|| VALUES.map(text)), ["19", "11"]);
}

#[test]
fn a_file_belongs_to_the_namespace_it_was_opened_in() {
    set(VALUES[0], "12");
    let other = Network::new().unwrap();
    let theirs = other.enter(|| open(VALUES[0], OFlags::RDWR).unwrap());
    let ours = open(VALUES[0], OFlags::RDWR).unwrap();
    assert_eq!(rustix::io::write(&theirs, b"17"), Ok(2));
    assert_eq!(text(VALUES[0]), "12");
    assert_eq!(other.enter(|| text(VALUES[0])), "17");
    assert_eq!(other.enter(|| rustix::io::write(&ours, b"18")), Ok(2));
    assert_eq!(text(VALUES[0]), "18");
    assert_eq!(other.enter(|| text(VALUES[0])), "17");
}

#[test]
fn settings_outside_of_net_are_the_same_for_all() {
    let other = Network::new().unwrap();
    for (name, value) in [("dev.callgate.int", "42"), ("dev.callgate.mode", "on")] {
        set(name, value);
        assert_eq!(other.enter(|| text(name)), value, "{name}");
    }
    other.enter(|| set("dev.callgate.int", "43"));
    assert_eq!(text("dev.callgate.int"), "43");
}

#[test]
fn namespaces_that_were_there_first_get_theirs_with_the_module() {
    let other = Network::new().unwrap();
    other.enter(|| set(VALUES[0], "19"));
    let away = Away::new(MODULE, MODULE_FILE);
    let gone = other.enter(|| setting(VALUES[0]).text().unwrap_err().errno());
    let listed = other.enter(|| sysctl::list("net.test").unwrap_err().errno());
    drop(away);
    assert_eq!((gone, listed), (Some(Errno::NOENT), Some(Errno::NOENT)));
    assert_eq!(other.enter(|| text(VALUES[0])), FIRST[0].to_string());
    assert_eq!(other.enter(|| sysctl::list("net.test").unwrap().len()), 2);
}

#[test]
fn a_namespace_takes_its_values_with_it() {
    let other = Network::new().unwrap();
    let file = other.enter(|| open(VALUES[0], OFlags::RDWR).unwrap());
    assert_eq!(rustix::io::pread(&file, &mut [0; 100], 0), Ok(3));
    drop(other);
    // The kernel takes it down when it finds the time.
    let end = Instant::now() + LIMIT;
    while rustix::io::pread(&file, &mut [0; 100], 0).is_ok() {
        assert!(Instant::now() < end, "the values are still there");
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(rustix::io::pread(&file, &mut [0; 100], 0), Err(Errno::NOENT));
    assert_eq!(rustix::io::pwrite(&file, b"12", 0), Err(Errno::NOENT));
}

#[test]
fn many_namespaces_have_one_value_each() {
    let namespaces: Vec<_> = (0..12).map(|_| Network::new().unwrap()).collect();
    let values: Vec<_> = (MIN..=MAX).cycle().take(namespaces.len()).collect();
    for (namespace, value) in namespaces.iter().zip(&values) {
        namespace.enter(|| set(VALUES[1], &value.to_string()));
    }
    for (namespace, value) in namespaces.iter().zip(&values) {
        assert_eq!(namespace.enter(|| text(VALUES[1])), value.to_string());
    }
}

#[test]
fn root_of_a_user_namespace_may_set_what_belongs_to_its_network() {
    set(VALUES[0], "12");
    let before = text("dev.callgate.int");
    let nobody = |options: &str, line: &str| {
        let line = format!("unshare --user --map-root-user {options} bash -c '{line}'");
        Tool::shell(&line).user(65534, 65534).run()
    };
    let value1 = "/proc/sys/net/test/value1";
    let inside = nobody("--net", &format!("id -u; cat {value1}; echo 17 > {value1}; cat {value1}"));
    assert_eq!(inside.success(), "0\n10\n17\n");
    let owner = nobody("--net", &format!("stat -c %u:%a {value1} /proc/sys/dev/callgate/int"));
    assert_eq!(owner.success(), "0:644\n65534:644\n", "its own file, and one of somebody unknown");
    let beyond = nobody("--net", &format!("echo 21 > {value1}"));
    assert_eq!(beyond.answer(), Err(Errno::INVAL));
    let theirs = nobody("--net", "echo 1 > /proc/sys/dev/callgate/int");
    assert_eq!(theirs.answer(), Err(Errno::ACCESS), "that is not its network's");
    let others = nobody("", &format!("cat {value1}; echo 17 > {value1}"));
    assert_eq!(others.stdout, b"12\n", "without a network of its own it sees that of all");
    assert_eq!(others.answer(), Err(Errno::ACCESS));
    assert_eq!((text(VALUES[0]), text("dev.callgate.int")), ("12".into(), before));
}

// ---- Ordinary tools -----------------------------------------------------------------------------

#[test]
fn cat_and_echo_are_all_one_needs() {
    let path = "/proc/sys/net/test/value1";
    tools::shell(&format!("echo 15 > {path}")).success();
    assert_eq!(Tool::new("cat").arg(path).run().success(), "15\n");
    tools::shell(&format!("echo 16 >> {path}")).success();
    assert_eq!(Tool::new("cat").arg(path).run().success(), "16\n");
    assert_eq!(Tool::new("tee").arg(path).stdin("17").run().success(), "17");
    assert_eq!(text(VALUES[0]), "17");
    for refused in ["9", "21", "x", ""] {
        let ran = tools::shell(&format!("echo {refused} > {path}"));
        assert_eq!(ran.answer(), Err(Errno::INVAL), "{refused:?}");
    }
    assert_eq!(text(VALUES[0]), "17");
    // bash writes what was not taken once more, where it is ignored.
    tools::shell(&format!("echo 18 19 > {path}")).success();
    assert_eq!(text(VALUES[0]), "18");
    let one = Tool::new("dd").args([&format!("if={path}"), "bs=1", "status=none"]).run();
    assert_eq!(one.success(), "1", "a byte at a time there is only one");
}

#[test]
fn sysctl_reads_and_sets_by_either_name() {
    let sysctl = |arguments: &[&str]| Tool::new("sysctl").args(arguments).run();
    assert_eq!(sysctl(&["net.test.value1=15"]).success(), "net.test.value1 = 15\n");
    assert_eq!(sysctl(&["-w", "net.test.value2=16"]).success(), "net.test.value2 = 16\n");
    assert_eq!(
        sysctl(&["net.test.value1", "net/test/value2"]).success(),
        "net.test.value1 = 15\nnet.test.value2 = 16\n"
    );
    assert_eq!(sysctl(&["-n", "net/test/value1"]).success(), "15\n");
    assert_eq!(sysctl(&["net.test"]).success(), "net.test.value1 = 15\nnet.test.value2 = 16\n");
    sysctl(&["-q", "-w", "dev.callgate.ints=1 2 3 4", "dev.callgate.string=two words"]).success();
    assert_eq!(sysctl(&["-n", "dev.callgate.ints"]).success(), "1\t2\t3\t4\n");
    assert_eq!(sysctl(&["-n", "dev.callgate.string"]).success(), "two words\n");
    assert_eq!(sysctl(&["net.test.value1=21"]).answer(), Err(Errno::INVAL));
    assert_eq!(sysctl(&["net.test.value3"]).answer(), Err(Errno::NOENT));
    assert_eq!(text(VALUES[0]), "15");
}

#[test]
fn sysctl_lists_what_we_list() {
    let theirs = Tool::new("sysctl").args(["-a", "-N"]).run().success();
    let theirs: BTreeSet<&str> = theirs.lines().collect();
    let ours: Vec<_> = sysctl::all().unwrap().iter().map(ToString::to_string).collect();
    // It keeps back what it considers outdated, and what nobody can read.
    for name in &theirs {
        assert!(ours.iter().any(|ours| ours == name), "{name}");
    }
    for name in names() {
        assert!(theirs.contains(name) && ours.iter().any(|ours| ours == name), "{name}");
    }
    let all = Tool::new("sysctl").arg("-a").run().success();
    let line = format!("net.test.value1 = {}", text(VALUES[0]));
    assert!(all.lines().any(|found| found == line));
}

#[test]
fn sysctl_restores_from_a_file_what_a_reload_forgot() {
    let values = [
        ("net.test.value1", "13"),
        ("net.test.value2", "19"),
        ("dev.callgate.int", "-12"),
        ("dev.callgate.ints", "4\t3\t2\t1"),
        ("dev.callgate.uint", "1000"),
        ("dev.callgate.ulong", "18446744073709551615"),
        ("dev.callgate.u8", "200"),
        ("dev.callgate.bool", "1"),
        ("dev.callgate.string", "kept for later"),
        ("dev.callgate.mode", "auto"),
    ];
    for (name, value) in values {
        set(name, value);
    }
    let names = values.map(|(name, _)| name).join(" ");
    tools::shell(&format!("sysctl {names} > /tmp/saved.conf")).success();
    reload();
    for (name, value) in values {
        assert_ne!(text(name), value, "{name} is forgotten");
    }
    Tool::new("sysctl").args(["-p", "/tmp/saved.conf"]).run().success();
    for (name, value) in values {
        assert_eq!(text(name), value, "{name}");
    }
    // One bad line does not keep the others from being set.
    let lines = "# a comment\n; another\nnet.test.value1 = 99\nnet.test.value2=10\n";
    let ran = Tool::new("sysctl").args(["-p", "-"]).stdin(lines).run();
    assert!(!ran.status.success(), "{ran}");
    assert_eq!(ran.answer(), Err(Errno::INVAL));
    assert_eq!(VALUES.map(text), ["13", "10"]);
}

#[test]
fn modinfo_says_what_the_module_is() {
    let said = Tool::new("modinfo").args(["-F", "description", MODULE_FILE]).run().success();
    assert_eq!(said, "sysctl: settings below /proc/sys, for all or for each network namespace\n");
}

// ---- The typed client ---------------------------------------------------------------------------

#[test]
fn the_client_reads_the_kernels_own_settings() {
    assert_eq!(text("kernel.ostype"), "Linux");
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    assert_eq!(text("kernel/osrelease"), release);
    let levels: Vec<i32> = setting("kernel.printk").values().unwrap();
    assert_eq!(levels.len(), 4);
    setting("kernel.printk").set_values(&levels).unwrap();
    assert_eq!(setting("kernel.printk").values::<i32>().unwrap(), levels);
    let panic: i32 = setting("kernel.panic_on_oops").get().unwrap();
    assert_eq!(setting("kernel.panic_on_oops").flag().unwrap(), panic != 0);
    assert!(setting("fs.file-max").get::<u64>().unwrap() > 0);
    assert!(sysctl::list("net").unwrap().iter().any(|name| name.to_string() == "net.core"));
}

#[test]
fn the_client_reads_and_writes_every_type() {
    setting("dev.callgate.ulong").set(usize::MAX).unwrap();
    assert_eq!(setting("dev.callgate.ulong").get::<usize>().unwrap(), usize::MAX);
    setting("dev.callgate.int").set(i32::MIN).unwrap();
    assert_eq!(setting("dev.callgate.int").get::<i32>().unwrap(), i32::MIN);
    for value in [true, false] {
        setting("dev.callgate.bool").set_flag(value).unwrap();
        assert_eq!(setting("dev.callgate.bool").flag().unwrap(), value);
    }
    setting("dev.callgate.ints").set_values(&[4, 3, 2, 1]).unwrap();
    assert_eq!(setting("dev.callgate.ints").values::<u8>().unwrap(), [4, 3, 2, 1]);
    let error = setting("dev.callgate.ints").get::<u8>().unwrap_err();
    let said =
        "/proc/sys/dev/callgate/ints holds \"4\\t3\\t2\\t1\", which is no u8: read it as text";
    assert_eq!(error.to_string(), said);
}

#[test]
fn the_clients_errors_say_what_to_do() {
    let error = |name: &str, value| setting(name).set(value).unwrap_err();
    for (error, errno, said) in [
        (
            error("net.test.value3", 1),
            Errno::NOENT,
            "there is no setting net.test.value3: load the module that has it, and look at `sysctl -aN`",
        ),
        (
            error("kernel.ostype", 1),
            Errno::ACCESS,
            "kernel.ostype is only to be read: not even root can write it",
        ),
        (
            error("net.test.value1", 21),
            Errno::INVAL,
            "cannot write /proc/sys/net/test/value1: Invalid argument (os error 22); the kernel does \
             not take this value: see what the file holds",
        ),
        (
            as_nobody(|| setting("net.test.value1").set(15).unwrap_err()),
            Errno::ACCESS,
            "cannot open /proc/sys/net/test/value1: Permission denied (os error 13); its permissions \
             keep you out: run as its owner or root",
        ),
    ] {
        assert_eq!((error.errno(), error.to_string().as_str()), (Some(errno), said));
    }
}

// ---- Several at a time --------------------------------------------------------------------------

// new: begin
/// Runs all of `work` over and over, each in a thread of its own, until each has had many turns, or
/// until it has been enough on a slow machine.
fn together(work: &[&(dyn Fn() + Sync)]) {
    let end = Instant::now() + ENOUGH;
    let busy = AtomicUsize::new(work.len());
    thread::scope(|scope| {
        for work in work {
            scope.spawn(|| {
                let mut turns = 0;
                while busy.load(Ordering::Relaxed) > 0 && Instant::now() < end {
                    work();
                    turns += 1;
                    if turns == TURNS {
                        busy.fetch_sub(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}

#[test]
fn readers_see_whole_strings_while_writers_replace_them() {
    let name = "dev.callgate.string";
    let strings = [b'a', b'b'].map(|byte| [byte; STRING_SIZE - 1]);
    let files = strings.map(|_| open(name, OFlags::WRONLY).unwrap());
    let write = |which: usize| {
        let (file, string) = (&files[which], &strings[which]);
        move || assert_eq!(rustix::io::pwrite(file, string, 0), Ok(string.len()))
    };
    write(0)();
    let read = || {
        let read = take(name, STRING_SIZE, 0).unwrap();
        assert!(
            strings.iter().any(|string| read.strip_suffix(b"\n") == Some(&string[..])),
            "{:?}",
            read.escape_ascii().to_string()
        );
    };
    together(&[&write(0), &write(1), &read, &read]);
}

// new: end
#[test]
fn nobody_ever_sees_a_number_out_of_range() {
    let write = |value: i32| {
        move || {
            let result = put(VALUES[0], value.to_string().as_bytes());
            assert_eq!(result.is_ok(), (MIN..=MAX).contains(&value), "{value}");
        }
    };
    let read = || {
        let value: i32 = setting(VALUES[0]).get().unwrap();
        assert!((MIN..=MAX).contains(&value), "{value}");
        let seen: Vec<i32> = setting("dev.callgate.limits").values().unwrap();
        assert!((MIN..=MAX).contains(&seen[0]), "{seen:?}");
    };
    together(&[&write(MIN), &write(MAX), &write(MIN - 1), &write(MAX + 1), &read, &read]);
}

#[test]
fn no_change_of_mode_is_lost() {
    reload();
    let mut log = Log::from_now().unwrap();
    let count = || setting("dev.callgate.changes").get::<usize>().unwrap();
    let begin = &Barrier::new(MODES.len());
    thread::scope(|scope| {
        for start in 0..MODES.len() {
            scope.spawn(move || {
                let file = open("dev.callgate.mode", OFlags::WRONLY).unwrap();
                begin.wait();
                for mode in MODES.into_iter().cycle().skip(start).take(150) {
                    assert_eq!(rustix::io::pwrite(&file, mode.as_bytes(), 0), Ok(mode.len()));
                }
            });
        }
    });
    set("dev.callgate.mode", "off");
    let mut logged = 0;
    let mut mode = "off".to_owned();
    while logged < count() {
        let record = log.next(LIMIT).unwrap().expect("every change is logged");
        if let Some((from, to)) = record
            .text
            .strip_prefix("callgate_sysctl: hello world: ")
            .and_then(|text| text.split_once(" -> "))
        {
            assert_eq!(from, mode, "a change between is missing");
            assert_ne!(to, mode, "that is no change");
            to.clone_into(&mut mode);
            logged += 1;
        }
    }
    assert_eq!(mode, "off");
}

// ---- Coming and going ---------------------------------------------------------------------------

// new: begin
#[test]
fn an_open_file_does_not_keep_the_module_and_is_dead_without_it() {
    let files: Vec<_> = names()
        .map(|name| open(name, OFlags::RDONLY).unwrap())
        .chain([open("dev.callgate.ints", OFlags::RDWR).unwrap()])
        .collect();
    let directory = fs::File::open("/proc/sys/dev/callgate").unwrap();
    let away = Away::new(MODULE, MODULE_FILE);
    let mut table = Refusals::new();
    let mut use_all = |when: &str| {
        for file in &files {
            table.case(&format!("read {when}"), Errno::NOENT, rustix::io::read(file, &mut [0; 9]));
            table.case(&format!("stat {when}"), Errno::NOENT, rustix::fs::fstat(file).map(drop));
            let mut fds = [PollFd::new(file, PollFlags::IN)];
            rustix::event::poll(&mut fds, Some(&Timespec::default())).unwrap();
            assert_eq!(fds[0].revents(), PollFlags::ERR | PollFlags::HUP);
        }
        let write = rustix::io::write(files.last().unwrap(), b"15");
        table.case(&format!("write {when}"), Errno::NOENT, write);
        let inside = rustix::fs::openat(&directory, "ints", OFlags::RDONLY, Mode::empty());
        table.case(&format!("open below {when}"), Errno::NOENT, inside.map(drop));
        let mut entries = [MaybeUninit::uninit(); 1024];
        let mut entries = RawDir::new(&directory, &mut entries);
        let listed = entries.next().unwrap();
        table.case(&format!("list {when}"), Errno::NOENT, listed.map(drop));
    };
    use_all("while it is away");
    let reopened = open("dev.callgate.ints", OFlags::RDONLY);
    let listed = Path::new("/proc/sys/dev/callgate").exists();
    drop(away);
    use_all("when it is back");
    table.case("open while it is away", Errno::NOENT, reopened.map(drop));
    table.finish();
    assert!(!listed);
    assert_eq!(text("dev.callgate.ints"), "0\t0\t0\t0", "a new file is alive");
}

// new: end
#[test]
fn loading_twice_is_refused_and_harmless() {
    set(VALUES[0], "18");
    let refused = module::load(MODULE_FILE, "").map_err(|error| error.errno());
    assert_eq!(refused, Err(Some(Errno::EXIST)));
    assert_eq!(text(VALUES[0]), "18");
}

/// Lets others run: the kernel waits for every processor before it lets go of a module, and those who
/// never rest make that long.
fn rest() {
    thread::sleep(Duration::from_micros(300));
}

/// One read or write of a setting that may go at any moment.
fn use_once(name: &str, bytes: Option<&[u8]>) -> Use {
    rest();
    let result = match bytes {
        None => take(name, 100, 0).map(drop),
        Some(bytes) => put(name, bytes).map(drop),
    };
    match result {
        Ok(()) => Use::Reached,
        Err(Errno::NOENT) => Use::Missed,
        Err(errno) => panic!("{name}: {errno}"),
    }
}

/// Opens a setting once, and uses it until it is dead, or for long enough.
fn use_open(name: &str) -> Use {
    let file = match open(name, OFlags::RDWR) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Use::Missed,
        Err(errno) => panic!("{name}: {errno}"),
    };
    for _ in 0..100 {
        rest();
        let read = rustix::io::pread(&file, &mut [0; 100], 0).map(drop);
        let written = rustix::io::pwrite(&file, b"15", 0).map(drop);
        match read.and(written) {
            Ok(()) | Err(Errno::INVAL) => {}
            Err(Errno::NOENT) => break,
            Err(errno) => panic!("{name}: {errno}"),
        }
    }
    Use::Reached
}

/// Unloads the module again and again while `users` use it, which does not keep it.
fn unload_while(users: &[&(dyn Fn() -> Use + Sync)]) {
    let done = unload::while_used(MODULE, MODULE_FILE, LIMIT, users);
    assert_eq!(done.refused, 0, "use keeps it loaded");
}

#[test]
fn it_can_go_while_numbers_are_read_and_written() {
    unload_while(&[&|| use_once(VALUES[0], None), &|| use_once(VALUES[1], Some(b"15")), &|| {
        use_once("dev.callgate.limits", None)
    }]);
}

#[test]
fn it_can_go_while_texts_are_read_and_written() {
    unload_while(&[
        &|| use_once("dev.callgate.string", Some(&[b'x'; 1000])),
        &|| use_once("dev.callgate.string", None),
        &|| use_once("dev.callgate.mode", Some(b"on")),
    ]);
}

#[test]
fn it_can_go_while_a_number_stays_open() {
    unload_while(&[&|| use_open(VALUES[0]), &|| use_open("dev.callgate.u8")]);
}

#[test]
fn it_can_go_while_a_text_stays_open() {
    unload_while(&[&|| use_open("dev.callgate.string"), &|| use_open("dev.callgate.mode")]);
}

#[test]
fn it_can_go_while_it_is_looked_up() {
    let look = |name: &str| {
        rest();
        setting(name).permissions().map_or(Use::Missed, |_| Use::Reached)
    };
    unload_while(&[&|| look(VALUES[0]), &|| look("dev.callgate.int")]);
}

#[test]
fn it_can_go_while_it_is_listed() {
    let list = |name: &str| {
        rest();
        sysctl::list(name).map_or(Use::Missed, |_| Use::Reached)
    };
    unload_while(&[&|| list("net.test"), &|| list("dev.callgate"), &|| list("dev")]);
}

#[test]
fn it_can_go_while_namespaces_come_and_go() {
    let come_and_go = || {
        let namespace = Network::new().unwrap();
        namespace.enter(|| use_once(VALUES[0], Some(b"15")))
    };
    unload_while(&[&come_and_go, &come_and_go]);
}

#[test]
fn it_can_go_while_another_namespace_uses_it() {
    let other = Network::new().unwrap();
    unload_while(&[&|| other.enter(|| use_once(VALUES[0], Some(b"15"))), &|| {
        other.enter(|| use_open(VALUES[1]))
    }]);
}

#[test]
fn a_load_that_runs_out_of_memory_leaves_nothing_behind() {
    let other = Network::new().unwrap();
    let away = Away::new(MODULE, MODULE_FILE);
    let done = AtomicBool::new(false);
    // What was loaded, and whether there was anything to be seen of it.
    let mut loads = Vec::new();
    let places = thread::scope(|scope| {
        // Somebody is always inside when a registration that was made is taken back.
        for name in [VALUES[0], "dev.callgate.mode"] {
            let done = &done;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    use_once(name, None);
                }
            });
        }
        let places = at_last_places(
            50,
            || module::load(MODULE_FILE, "").map_err(|error| error.errno()),
            |_, loaded| {
                let there = ["/proc/sys/net/test", "/proc/sys/dev/callgate"]
                    .map(|directory| Path::new(directory).exists());
                loads.push((loaded, there));
                while loaded.is_ok() && module::unload(MODULE).is_err() {}
            },
        );
        done.store(true, Ordering::Relaxed);
        places
    });
    drop(away);
    for (place, (loaded, there)) in loads.iter().enumerate() {
        match loaded {
            Ok(()) => assert_eq!(*there, [true; 2], "place {place}"),
            // When C refuses a table it does not say that it was out of memory, so that is EEXIST,
            // which a module may not fail with: EBUSY is put in its place.
            Err(errno) => {
                let expected = [Some(Errno::NOMEM), Some(Errno::BUSY), Some(Errno::FAULT)];
                assert!(expected.contains(errno), "place {place}: {errno:?}");
                assert_eq!(*there, [false; 2], "place {place}");
            }
        }
    }
    let failed = loads.iter().filter(|(loaded, _)| loaded.is_err()).count();
    println!("{failed} loads failed");
    assert!(places.is_none() || failed > 8, "{loads:?}");
    assert_eq!(text(VALUES[0]), FIRST[0].to_string());
    assert_eq!(other.enter(|| text(VALUES[1])), FIRST[1].to_string());
}

// ---- Help ---------------------------------------------------------------------------------------

