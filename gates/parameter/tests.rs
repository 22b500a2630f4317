// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a user of module parameters can rely on, tried by loading the module and through its files.
//!
//! These run in the lab's VM as root, each in a process of its own, with the module loaded.

// new: begin
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::IoSlice;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use callgate::Errno;
use callgate::attribute::{Attribute, Open};
use callgate::kmsg::Log;
use callgate::module;
use callgate::parameter::{Arguments, Error, Flag, List, Parameters};
use callgate::testing::Refusals;
use callgate::testing::inspect::{self, Call};
use callgate::testing::memory::{Guarded, Hole};
use callgate::testing::tools::{self, Tool};
// new: end
use callgate::testing::unload::{self, Use};
// new: begin
use callgate::testing::worker::{Watchdog, Worker, as_nobody};
use rustix::fs::OFlags;

use super::abi::{LIST_MAX, Limits, NAMES_MAX};

/// Every wait ends here at the latest; it is generous, because an emulated debug kernel is slow.
const LIMIT: Duration = Duration::from_secs(30);

/// A test that takes longer than this has lost its way.
const TOO_LONG: Duration = Duration::from_secs(160);

/// How long to watch for what must not happen.
const MOMENT: Duration = Duration::from_millis(30);

const MODULE: &str = "callgate_parameter";
const MODULE_FILE: &str = "/modules/callgate_parameter.ko";

/// The longest string that a `charp` holds.
const LONGEST: usize = 1024;

// new: end
/// Every parameter with a file, its permissions, and what it holds at first: `None` if not even root
/// can read it.
const FILES: [(&str, u32, Option<&str>); 19] = [
    ("byte", 0o644, Some("0")),
    ("charp", 0o644, Some("hello")),
    ("fixed", 0o444, Some("2")),
    ("flag", 0o644, Some("N")),
    ("limits", 0o644, Some("-2147483648..2147483647")),
    ("list", 0o644, Some("1,2,3")),
    ("llong", 0o644, Some("0")),
    ("long", 0o644, Some("0")),
    ("names", 0o644, Some("")),
    ("pause", 0o644, Some("0")),
    ("root_only", 0o600, Some("3")),
    ("s8", 0o644, Some("0")),
    ("secret", 0o200, None),
    ("short", 0o644, Some("0")),
    ("uint", 0o644, Some("0")),
    ("ullong", 0o644, Some("0")),
    ("ulong", 0o644, Some("0")),
    ("ushort", 0o644, Some("0")),
    ("value", 0o644, Some("0")),
];

/// A value of each kind that every parameter takes, as it is given and as it is shown.
const TAKEN: &[(&str, &str, &str)] = &[
    ("value", "5", "5"),
    ("value", "+5", "5"),
    ("value", "-5", "-5"),
    ("value", "-0", "0"),
    ("value", "007", "7"),
    ("value", "0x1F", "31"),
    ("value", "0X1f", "31"),
    ("value", "-0x10", "-16"),
    ("value", "017", "15"),
    ("value", "2147483647", "2147483647"),
    ("value", "-2147483648", "-2147483648"),
    ("value", "0x7fffffff", "2147483647"),
    ("value", "00000000000000000000000000000000000000001", "1"),
    ("byte", "0", "0"),
    ("byte", "255", "255"),
    ("byte", "0xff", "255"),
    ("byte", "+1", "1"),
    ("s8", "127", "127"),
    ("s8", "-128", "-128"),
    ("short", "32767", "32767"),
    ("short", "-32768", "-32768"),
    ("ushort", "65535", "65535"),
    ("uint", "4294967295", "4294967295"),
    ("long", "9223372036854775807", "9223372036854775807"),
    ("long", "-9223372036854775808", "-9223372036854775808"),
    ("ulong", "18446744073709551615", "18446744073709551615"),
    ("llong", "9223372036854775807", "9223372036854775807"),
    ("llong", "-9223372036854775808", "-9223372036854775808"),
    ("ullong", "18446744073709551615", "18446744073709551615"),
    ("ullong", "0xffffffffffffffff", "18446744073709551615"),
    ("ullong", "01777777777777777777777", "18446744073709551615"),
    ("flag", "1", "Y"),
    ("flag", "0", "N"),
    ("flag", "y", "Y"),
    ("flag", "n", "N"),
    ("flag", "Y", "Y"),
    ("flag", "N", "N"),
    ("flag", "true", "Y"),
    ("flag", "False", "N"),
    ("flag", "on", "Y"),
    ("flag", "OFF", "N"),
    ("flag", "enable", "Y"),
    ("flag", "disable", "N"),
    // As the kernel has it, the first letters are enough.
    ("flag", "yesterday", "Y"),
    ("flag", "0x1", "N"),
    ("value", "0", "0"),
    ("limits", "0..0", "0..0"),
    ("limits", "-1..1", "-1..1"),
    ("limits", "+0..+7", "0..7"),
    ("limits", "-0..007", "0..7"),
    ("limits", "-2147483648..2147483647", "-2147483648..2147483647"),
    ("charp", "x", "x"),
    ("charp", "", ""),
    ("charp", "two words", "two words"),
    ("charp", " spaces stay ", " spaces stay "),
    ("charp", "a\tb", "a\tb"),
    ("charp", "two\nlines", "two\nlines"),
    ("charp", "a=b,c=d", "a=b,c=d"),
    ("charp", "--", "--"),
    ("charp", "0", "0"),
    ("charp", "caf\u{e9} \u{e0} la carte", "caf\u{e9} \u{e0} la carte"),
    ("charp", "\u{1f980}", "\u{1f980}"),
    ("list", "7", "7"),
    ("list", "1,2,3,4,5,6,7,8", "1,2,3,4,5,6,7,8"),
    ("list", "-1,0x10,010", "-1,16,8"),
    ("list", "2147483647,-2147483648", "2147483647,-2147483648"),
    // A newline ends each number, as in C's arrays.
    ("list", "1\n,2", "1,2"),
    ("names", "red", "red"),
    ("names", "red,green,blue,black", "red,green,blue,black"),
    ("names", "dark red,light green", "dark red,light green"),
    ("names", ",,,", ",,,"),
    ("names", "", ""),
    ("names", "a,", "a,"),
    ("root_only", "10", "10"),
    ("pause", "1", "1"),
    ("pause", "0", "0"),
];

/// Values that a parameter refuses, at any time, and by what.
const REFUSED: &[(&str, &str, Errno)] = &[
    ("value", "", Errno::INVAL),
    ("value", " ", Errno::INVAL),
    ("value", " 5", Errno::INVAL),
    ("value", "5 ", Errno::INVAL),
    ("value", "\t5", Errno::INVAL),
    ("value", "5 6", Errno::INVAL),
    ("value", "\n", Errno::INVAL),
    ("value", "\n5", Errno::INVAL),
    ("value", "5\n\n", Errno::INVAL),
    ("value", "5\r\n", Errno::INVAL),
    ("value", "5\n6", Errno::INVAL),
    ("value", "5,6", Errno::INVAL),
    ("value", "five", Errno::INVAL),
    ("value", "5x", Errno::INVAL),
    ("value", "x5", Errno::INVAL),
    ("value", "-", Errno::INVAL),
    ("value", "+", Errno::INVAL),
    ("value", "--5", Errno::INVAL),
    ("value", "+-5", Errno::INVAL),
    ("value", "-+5", Errno::INVAL),
    ("value", "- 5", Errno::INVAL),
    ("value", "5-", Errno::INVAL),
    ("value", "0x", Errno::INVAL),
    ("value", "0xg", Errno::INVAL),
    ("value", "x1f", Errno::INVAL),
    ("value", "1f", Errno::INVAL),
    ("value", "08", Errno::INVAL),
    ("value", "0b1", Errno::INVAL),
    ("value", "0o7", Errno::INVAL),
    ("value", "1e3", Errno::INVAL),
    ("value", "1.0", Errno::INVAL),
    ("value", "1_000", Errno::INVAL),
    ("value", "\u{663}", Errno::INVAL),
    ("value", "\u{ff15}", Errno::INVAL),
    ("value", "0x5-", Errno::INVAL),
    ("value", "2147483648", Errno::RANGE),
    ("value", "-2147483649", Errno::RANGE),
    ("value", "0x80000000", Errno::RANGE),
    ("value", "4294967296", Errno::RANGE),
    ("value", "9223372036854775808", Errno::RANGE),
    ("value", "99999999999999999999999999999999", Errno::RANGE),
    ("byte", "256", Errno::RANGE),
    ("byte", "-1", Errno::INVAL),
    ("byte", "-0", Errno::INVAL),
    ("byte", "a", Errno::INVAL),
    ("s8", "128", Errno::RANGE),
    ("s8", "-129", Errno::RANGE),
    ("short", "32768", Errno::RANGE),
    ("short", "-32769", Errno::RANGE),
    ("ushort", "65536", Errno::RANGE),
    ("ushort", "-1", Errno::INVAL),
    ("uint", "4294967296", Errno::RANGE),
    ("uint", "-1", Errno::INVAL),
    ("long", "9223372036854775808", Errno::RANGE),
    ("long", "-9223372036854775809", Errno::RANGE),
    ("ulong", "18446744073709551616", Errno::RANGE),
    ("ulong", "-1", Errno::INVAL),
    ("llong", "9223372036854775808", Errno::RANGE),
    ("llong", "-9223372036854775809", Errno::RANGE),
    ("ullong", "18446744073709551616", Errno::RANGE),
    ("ullong", "0x10000000000000000", Errno::RANGE),
    ("ullong", "-0", Errno::INVAL),
    ("flag", "", Errno::INVAL),
    ("flag", " 1", Errno::INVAL),
    ("flag", "2", Errno::INVAL),
    ("flag", "-1", Errno::INVAL),
    ("flag", "o", Errno::INVAL),
    ("flag", "\n", Errno::INVAL),
    ("limits", "", Errno::INVAL),
    ("limits", "..", Errno::INVAL),
    ("limits", "5", Errno::INVAL),
    ("limits", "5..", Errno::INVAL),
    ("limits", "..5", Errno::INVAL),
    ("limits", "0.5", Errno::INVAL),
    ("limits", "0...5", Errno::INVAL),
    ("limits", "0..5..9", Errno::INVAL),
    ("limits", "0 .. 5", Errno::INVAL),
    ("limits", " 0..5", Errno::INVAL),
    ("limits", "0..5 ", Errno::INVAL),
    ("limits", "0x0..0x5", Errno::INVAL),
    ("limits", "0..=5", Errno::INVAL),
    ("limits", "5..0", Errno::INVAL),
    ("limits", "0..\u{663}", Errno::INVAL),
    ("limits", "0..2147483648", Errno::RANGE),
    ("limits", "-2147483649..0", Errno::RANGE),
    // `value` is 0 and must stay within.
    ("limits", "1..2", Errno::RANGE),
    ("limits", "-2..-1", Errno::RANGE),
    ("list", "", Errno::INVAL),
    ("list", ",", Errno::INVAL),
    ("list", "1,", Errno::INVAL),
    ("list", ",1", Errno::INVAL),
    ("list", "1,,2", Errno::INVAL),
    ("list", "1, 2", Errno::INVAL),
    ("list", "1;2", Errno::INVAL),
    ("list", "1,x", Errno::INVAL),
    ("list", "1,2147483648", Errno::RANGE),
    ("list", "1,2,3,4,5,6,7,8,9", Errno::INVAL),
    ("names", "1,2,3,4,5", Errno::INVAL),
    ("names", ",,,,", Errno::INVAL),
    ("pause", "1001", Errno::RANGE),
    ("pause", "65536", Errno::RANGE),
];

// new: begin
/// The module, loaded for this test, and loaded again after it should it have gone.
struct Loaded(#[expect(dead_code, reason = "only to be dropped")] Watchdog);

impl Loaded {
    /// With all its parameters as they are at first.
    fn new() -> Self {
        Self::with("")
    }

    /// With these parameters, as on the command line of insmod(8).
    fn with(arguments: &str) -> Self {
        let loaded = Self(Watchdog::new(TOO_LONG));
        load(arguments).unwrap();
        loaded
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let _ = module::load(MODULE_FILE, "");
    }
}

/// Loads the module anew, with these parameters.
fn load(arguments: &str) -> Result<(), Errno> {
    match unload() {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => panic!("cannot unload: {errno}"),
    }
    module::load(MODULE_FILE, arguments).map_err(|error| error.errno().unwrap())
}

fn unload() -> Result<(), Errno> {
    module::unload(MODULE).map_err(|error| error.errno().unwrap())
}

fn parameters() -> Parameters {
    Parameters::of(MODULE).unwrap()
}

/// What the file of `name` holds, to the byte.
fn read(name: &str) -> Result<Vec<u8>, Errno> {
    let attribute = parameters().attribute(name).unwrap();
    attribute.read().map_err(|error| error.errno().unwrap())
}

/// What `name` is, without the newline that must be there.
fn shown(name: &str) -> String {
    let mut text = String::from_utf8(read(name).unwrap()).unwrap();
    assert_eq!(text.pop(), Some('\n'), "{name}");
    text
}

/// Writes these bytes to the file of `name`, by one write(2).
fn write(name: &str, bytes: &[u8]) -> Result<(), Errno> {
    let attribute = parameters().attribute(name).unwrap();
    attribute.write(bytes).map_err(|error| error.errno().unwrap())
}

// new: end
fn open(name: &str, flags: OFlags) -> Open {
    parameters().attribute(name).unwrap().open(flags).unwrap()
}

// new: begin
fn arguments(name: &str, value: &str) -> String {
    Arguments::new().set(name, value).unwrap().as_str().to_owned()
}

// new: end
/// All that can be read.
fn everything() -> Vec<(&'static str, String)> {
    let readable = FILES.iter().filter(|(_, _, at_first)| at_first.is_some());
    readable.map(|(name, ..)| (*name, shown(name))).collect()
}

// ---- When the module is loaded ------------------------------------------------------------------

#[test]
fn every_parameter_has_its_file_its_mode_and_its_value() {
    let _loaded = Loaded::new();
    let names: Vec<_> = FILES.iter().map(|(name, ..)| *name).collect();
    assert_eq!(parameters().names().unwrap(), names);
    for (name, mode, at_first) in FILES {
        assert_eq!(parameters().mode(name).unwrap(), mode, "{name}");
        match at_first {
            Some(value) => assert_eq!(shown(name), value, "{name}"),
            None => assert_eq!(read(name), Err(Errno::ACCESS), "{name}"),
        }
    }
}

#[test]
fn every_value_can_be_given_when_the_module_is_loaded() {
    let _loaded = Loaded::new();
    // Many to a load, one of each parameter, as loads take their time; but the value is judged by its
    // limits.
    let same = |a: &str, b| a == b || [a, b] == ["value", "limits"] || [a, b] == ["limits", "value"];
    let mut left: Vec<_> = TAKEN.to_vec();
    while !left.is_empty() {
        let mut now: Vec<(&str, &str, &str)> = Vec::new();
        left.retain(|case| {
            let first = !now.iter().any(|(name, ..)| same(name, case.0));
            if first {
                now.push(*case);
            }
            !first
        });
        let given = now.iter().fold(Arguments::new(), |all, (name, value, _)| {
            all.set(name, value).unwrap()
        });
        load(given.as_str()).unwrap();
        for (name, value, expected) in now {
            assert_eq!(shown(name), expected, "{name}={value:?}");
        }
    }
}

// new: begin
#[test]
fn what_the_module_was_loaded_with_is_there_before_init() {
    let mut log = Log::from_now().unwrap();
    let _loaded = Loaded::with("value=-7 charp=\"two words\" list=4,5");
    for line in [
        "callgate_parameter: value was 0, and is -7 now",
        "callgate_parameter: loaded with value -7",
        "callgate_parameter: charp \"two words\", list [4, 5]",
    ] {
        assert!(log.wait_for(line, LIMIT).unwrap(), "{line}");
    }
}

// new: end
#[test]
fn each_load_begins_with_the_initial_values() {
    let _loaded = Loaded::with("value=3 charp=mine list=9 flag fixed=7");
    load("").unwrap();
    for (name, _, at_first) in FILES {
        assert_eq!(at_first, at_first.map(|_| shown(name)).as_deref(), "{name}");
    }
}

#[test]
fn a_flag_is_set_by_its_name_alone_and_nothing_else_is() {
    let _loaded = Loaded::with("flag");
    assert_eq!(shown("flag"), "Y");
    let mut refusals = Refusals::new();
    for name in ["value", "byte", "charp", "list", "names", "limits", "hidden", "secret"] {
        refusals.case(name, Errno::INVAL, load(name));
    }
    refusals.case("flag=", Errno::INVAL, load("flag="));
    refusals.finish();
}

#[test]
fn a_dash_in_a_name_is_an_underscore() {
    let _loaded = Loaded::with("root-only=11");
    assert_eq!(shown("root_only"), "11");
    load("root_only=12").unwrap();
    assert_eq!(shown("root_only"), "12");
}

// new: begin
#[test]
fn values_with_spaces_are_quoted_in_either_way() {
    let _loaded = Loaded::new();
    for given in [
        "charp=\"two words\" value=1",
        "\"charp=two words\" value=1",
        "  charp=\"two words\"   value=1  ",
        "charp=\"two words\"\tvalue=1",
        "charp=\"two words\"\nvalue=1",
        "value=1 charp=\"two words",
    ] {
        load(given).unwrap();
        assert_eq!((shown("charp").as_str(), shown("value").as_str()), ("two words", "1"), "{given}");
    }
}

// new: end
#[test]
fn an_unquoted_space_ends_a_value() {
    let mut log = Log::from_now().unwrap();
    let _loaded = Loaded::with("charp=two words");
    assert_eq!(shown("charp"), "two");
    assert!(log.wait_for("unknown parameter 'words' ignored", LIMIT).unwrap());
    // To the kernel, the byte 0xa0 is a space, and it is half of this letter.
    load("charp=voil\u{e0} list=4").unwrap();
    assert_eq!(read("charp").unwrap(), b"voil\xc3\n");
    assert_eq!(shown("list"), "4");
}

#[test]
fn a_parameter_that_the_module_does_not_have_is_ignored() {
    let mut log = Log::from_now().unwrap();
    let _loaded = Loaded::with("no_such=1 value=2 VALUE=3 valu=4 values=5 value.=6 =7");
    assert_eq!(shown("value"), "2");
    for name in ["no_such", "VALUE", "valu", "values", "value."] {
        let line = format!("callgate_parameter: unknown parameter '{name}' ignored");
        assert!(log.wait_for(&line, LIMIT).unwrap(), "{name}");
    }
}

#[test]
fn what_comes_after_two_dashes_is_ignored() {
    let mut log = Log::from_now().unwrap();
    let _loaded = Loaded::with("value=1 -- value=2 charp=x");
    assert_eq!((shown("value").as_str(), shown("charp").as_str()), ("1", "hello"));
    assert!(log.wait_for("parameters 'value=2 charp=x' after `--' ignored", LIMIT).unwrap());
}

#[test]
fn given_twice_the_last_one_stays_and_the_module_hears_of_both() {
    let mut log = Log::from_now().unwrap();
    let _loaded = Loaded::with("value=1 charp=first value=2 charp=second names=a,b names=c");
    assert_eq!((shown("value").as_str(), shown("charp").as_str()), ("2", "second"));
    assert_eq!(shown("names"), "c");
    for line in ["value was 0, and is 1 now", "value was 1, and is 2 now"] {
        assert!(log.wait_for(line, LIMIT).unwrap(), "{line}");
    }
}

/// Loads the module with each of these, which must fail. Loading takes its time; so there are several
/// tests of this, each with some.
fn keep_the_module_out<'a>(cases: impl Iterator<Item = &'a (&'a str, &'a str, Errno)>) {
    let _loaded = Loaded::new();
    let mut refusals = Refusals::new();
    for (name, value, errno) in cases {
        let case = format!("{name}={value:?}");
        refusals.case(&case, *errno, load(&arguments(name, value)));
        assert!(!module::is_loaded(MODULE).unwrap(), "{case}");
        assert!(!Path::new("/sys/module").join(MODULE).exists(), "{case}");
    }
    refusals.finish();
}

#[test]
fn no_number_keeps_the_module_out() {
    keep_the_module_out(REFUSED.iter().filter(|(name, ..)| *name == "value").step_by(2));
}

#[test]
fn a_number_out_of_range_keeps_the_module_out() {
    let other = |name| !["value", "flag", "limits", "list", "names", "pause"].contains(&name);
    let hidden = [("hidden", "4294967296", Errno::RANGE), ("fixed", "-1", Errno::INVAL)];
    keep_the_module_out(REFUSED.iter().filter(|(name, ..)| other(name)).chain(&hidden));
}

#[test]
fn what_is_no_flag_no_limits_and_no_list_keeps_the_module_out() {
    let these = |name| ["flag", "limits", "list", "names", "pause"].contains(&name);
    keep_the_module_out(REFUSED.iter().filter(|(name, ..)| these(name)).step_by(2));
}

#[test]
fn a_string_too_long_keeps_the_module_out() {
    let too_long = "x".repeat(LONGEST + 1);
    let one_is = format!("a,{too_long},c");
    keep_the_module_out(
        [
            ("charp", too_long.as_str(), Errno::NOSPC),
            ("secret", &too_long, Errno::NOSPC),
            ("names", &too_long, Errno::NOSPC),
            ("names", &one_is, Errno::NOSPC),
        ]
        .iter(),
    );
}

#[test]
fn the_log_says_which_value_kept_the_module_out() {
    let _loaded = Loaded::new();
    let mut log = Log::from_now().unwrap();
    assert_eq!(load("byte=256"), Err(Errno::RANGE));
    assert!(log.wait_for("`256' invalid for parameter `byte'", LIMIT).unwrap());
}

#[test]
fn of_several_values_refused_the_last_one_gives_the_error() {
    let _loaded = Loaded::new();
    let mut log = Log::from_now().unwrap();
    assert_eq!(load("value=x byte=256 charp=good uint=-1 byte=300"), Err(Errno::RANGE));
    assert_eq!(load("byte=256 uint=-1 value=5"), Err(Errno::INVAL));
    // The hook heard of one that was good, though the module never came.
    assert!(log.wait_for("value was 0, and is 5 now", LIMIT).unwrap());
    assert!(!module::is_loaded(MODULE).unwrap());
}

#[test]
fn a_long_line_of_parameters_is_taken() {
    let many: Vec<_> = (0..100).map(|number| format!("charp={number} list={number},{number}")).collect();
    let _loaded = Loaded::with(&many.join(" "));
    assert_eq!((shown("charp").as_str(), shown("list").as_str()), ("99", "99,99"));
}

#[test]
fn a_parameter_without_a_file_is_given_when_the_module_is_loaded_only() {
    let mut log = Log::from_now().unwrap();
    let _loaded = Loaded::with("hidden=123");
    assert!(log.wait_for("hidden 123", LIMIT).unwrap());
    let error = parameters().get::<u32>("hidden").unwrap_err();
    assert!(matches!(error, Error::NoParameter { .. }), "{error}");
    assert!(error.to_string().contains("byte, charp, fixed"), "{error}");
}

// ---- Through the files --------------------------------------------------------------------------

#[test]
fn every_value_can_be_written_and_is_shown() {
    let _loaded = Loaded::new();
    for (name, value, expected) in TAKEN.iter().copied() {
        for ending in ["\n", ""] {
            if value.is_empty() && ending.is_empty() {
                continue; // A write of nothing is none.
            }
            write(name, format!("{value}{ending}").as_bytes())
                .unwrap_or_else(|errno| panic!("{name}: {value:?}: {errno}"));
            assert_eq!(shown(name), expected, "{name}: {value:?}");
        }
    }
}

#[test]
fn a_value_refused_leaves_the_old_one() {
    let given = "byte=7 s8=-7 short=-77 ushort=77 uint=777 long=-7777 ulong=7777 llong=-7 ullong=7 \
                 flag limits=-3..3 charp=old list=9,8,7 names=x,y root_only=77";
    let _loaded = Loaded::with(given);
    let before = everything();
    let mut refusals = Refusals::new();
    for (name, value, errno) in REFUSED.iter().copied() {
        if value.is_empty() {
            continue; // A write of nothing is none.
        }
        let case = format!("{name}: {value:?}");
        let old = before.iter().find(|(other, _)| *other == name).unwrap();
        refusals.case(&case, errno, write(name, value.as_bytes()));
        assert_eq!(shown(name), old.1, "{case}");
    }
    for name in ["byte", "list", "limits", "flag", "value"] {
        refusals.case(name, Errno::INVAL, write(name, b"\xff\xfe"));
        refusals.case(name, Errno::INVAL, write(name, b"\0"));
        refusals.case(name, Errno::INVAL, write(name, &[b'x'; 4096]));
    }
    for len in [LONGEST + 1, 2000, 4095, 4096] {
        refusals.case("charp", Errno::NOSPC, write("charp", &vec![b'x'; len]));
        refusals.case("names", Errno::NOSPC, write("names", &vec![b'x'; len]));
    }
    refusals.finish();
    assert_eq!(everything(), before);
}

// new: begin
#[test]
fn a_string_has_1024_bytes_at_most_and_a_newline_does_not_count() {
    let longest = "x".repeat(LONGEST);
    let _loaded = Loaded::with(&arguments("charp", &longest));
    assert_eq!(shown("charp"), longest);
    let other = "y".repeat(LONGEST);
    write("charp", other.as_bytes()).unwrap();
    assert_eq!(shown("charp"), other);
    write("charp", format!("{longest}\n").as_bytes()).unwrap();
    assert_eq!(shown("charp"), longest);
    assert_eq!(write("charp", format!("{longest}\n\n").as_bytes()), Err(Errno::NOSPC));
    assert_eq!(shown("charp"), longest);
}

// new: end
#[test]
fn a_newline_at_the_end_is_no_part_of_a_string_and_others_are() {
    let _loaded = Loaded::new();
    for (written, read_back) in [
        (&b"x\n"[..], &b"x\n"[..]),
        (b"x", b"x\n"),
        (b"x\n\n", b"x\n\n"),
        (b"\n", b"\n"),
        (b"\n\n", b"\n\n"),
        (b" \n", b" \n"),
        (b"\xff\x80\x01\n", b"\xff\x80\x01\n"),
    ] {
        write("charp", written).unwrap();
        assert_eq!(read("charp").unwrap(), read_back, "{written:?}");
    }
}

#[test]
fn what_is_behind_a_nul_is_not_seen() {
    let _loaded = Loaded::new();
    for (name, written, value) in [
        ("value", &b"12\0"[..], "12"),
        ("value", b"13\0junk", "13"),
        ("value", b"14\n\0\n", "14"),
        ("charp", b"one\0two", "one"),
        ("charp", b"\0", ""),
        ("list", b"4,5\0,6", "4,5"),
        ("flag", b"y\0n", "Y"),
    ] {
        write(name, written).unwrap();
        assert_eq!(shown(name), value, "{name}: {written:?}");
    }
}

#[test]
fn writing_nothing_changes_nothing() {
    let _loaded = Loaded::with("value=5 charp=x");
    let mut log = Log::from_now().unwrap();
    for name in ["value", "charp", "flag", "list"] {
        let before = shown(name);
        assert_eq!(rustix::io::write(open(name, OFlags::WRONLY), b""), Ok(0));
        assert_eq!(shown(name), before);
    }
    assert!(!log.wait_for("value was", MOMENT).unwrap());
}

// new: begin
#[test]
fn an_array_is_replaced_as_a_whole_or_not_at_all() {
    let _loaded = Loaded::new();
    let most: Vec<i32> = (1..).take(LIST_MAX).collect();
    parameters().set("list", List(most.clone())).unwrap();
    assert_eq!(parameters().get::<List<i32>>("list").unwrap(), List(most.clone()));
    // Where a number is refused, those before it are not taken either.
    for refused in ["9,x", "9,9,9,", "9,2147483648", "9,9,9,9,9,9,9,9,9"] {
        assert!(write("list", refused.as_bytes()).is_err(), "{refused}");
        assert_eq!(parameters().get::<List<i32>>("list").unwrap(), List(most.clone()));
    }
    // new: end
    let names: Vec<String> = (0..NAMES_MAX).map(|n| format!("{n}").repeat(LONGEST / 2)).collect();
    parameters().set("names", List(names.clone())).unwrap();
    assert_eq!(shown("names"), names.join(","));
    assert_eq!(write("names", b"a,b,c,d,e"), Err(Errno::INVAL));
    assert_eq!(shown("names"), names.join(","));
    // new: begin
}

// new: end
#[test]
fn a_value_longer_than_a_page_can_be_given_but_not_shown() {
    let long = "x".repeat(LONGEST);
    let _loaded = Loaded::with(&arguments("names", &[long.as_str(); NAMES_MAX].join(",")));
    assert_eq!(read("names"), Err(Errno::OVERFLOW));
    // With the commas and the newline, a byte less than a page is the most that sysfs shows.
    let most = 4095 - NAMES_MAX - (NAMES_MAX - 1) * LONGEST;
    for (len, expected) in [(most, Ok(4095)), (most + 1, Err(Errno::OVERFLOW))] {
        let mut names = [long.as_str(); NAMES_MAX];
        names[0] = &long[..len];
        write("names", names.join(",").as_bytes()).unwrap();
        assert_eq!(read("names").map(|text| text.len()), expected, "{len}");
    }
    write("names", b"short again\n").unwrap();
    assert_eq!(shown("names"), "short again");
}

#[test]
fn a_write_is_the_whole_value_wherever_the_position_is() {
    let _loaded = Loaded::new();
    let file = open("value", OFlags::RDWR);
    for (offset, text) in [(0, "1"), (1, "22"), (100, "3"), (4096, "4"), (1 << 40, "-5")] {
        assert_eq!(rustix::io::pwrite(&file, text.as_bytes(), offset), Ok(text.len()), "{offset}");
        assert_eq!(shown("value"), text, "at {offset}");
    }
    // One after the other through one open file: each is a value.
    for text in ["7", "8\n", "9"] {
        assert_eq!(rustix::io::write(&file, text.as_bytes()), Ok(text.len()));
        assert_eq!(shown("value"), text.trim_end());
    }
    let appending = open("value", OFlags::WRONLY | OFlags::APPEND | OFlags::TRUNC);
    assert_eq!(rustix::io::write(&appending, b"10"), Ok(2));
    assert_eq!(shown("value"), "10");
    let vector = [&b"1"[..], b"", b"2", b"3\n"].map(IoSlice::new);
    assert_eq!(rustix::io::writev(&file, &vector), Ok(4));
    assert_eq!(shown("value"), "123");
}

#[test]
fn of_more_than_a_page_the_first_page_is_the_value() {
    let _loaded = Loaded::with("value=5");
    let mut long = vec![b'0'; 4096];
    long.extend_from_slice(b"77\n");
    let file = open("value", OFlags::WRONLY);
    assert_eq!(rustix::io::write(&file, &long), Ok(4096));
    assert_eq!(shown("value"), "0");
    // And what is left of it is another value: so do echo(1) and cat(1) go on.
    assert_eq!(rustix::io::write(&file, &long[4096..]), Ok(3));
    assert_eq!(shown("value"), "77");
    let error = parameters().attribute("value").unwrap().write(&long).unwrap_err();
    assert!(error.to_string().contains("took 4096 of 4099 bytes"), "{error}");
}

#[test]
fn reads_of_any_size_see_one_value() {
    let _loaded = Loaded::with("charp=\"hello world\"");
    let file = open("charp", OFlags::RDONLY);
    let mut text = Vec::new();
    let mut byte = [0];
    while rustix::io::read(&file, &mut byte).unwrap() == 1 {
        // Meanwhile it changes, which a reader sees who begins anew.
        write("charp", b"something else").unwrap();
        text.push(byte[0]);
    }
    assert_eq!(text, b"hello world\n");
    assert_eq!(rustix::io::read(&file, &mut byte), Ok(0));
    let mut part = [0; 4];
    assert_eq!(rustix::io::pread(&file, &mut part, 5), Ok(4));
    assert_eq!(&part, b"hing");
    assert_eq!(rustix::io::pread(&file, &mut part, 1 << 20), Ok(0));
    assert_eq!(rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)), Ok(0));
    assert_eq!(rustix::io::read(&file, &mut part), Ok(4));
    assert_eq!(&part, b"some");
}

#[test]
fn memory_that_faults_is_told_and_changes_nothing() {
    let _loaded = Loaded::with("value=5 charp=old");
    for name in ["value", "charp"] {
        let file = open(name, OFlags::RDWR);
        for hole in Hole::ALL {
            if hole != Hole::ReadOnly {
                assert_eq!(hole.write(&file, 1), Err(Errno::FAULT), "{name}: {hole:?}");
            }
            assert_eq!(hole.read(&file, 1), Err(Errno::FAULT), "{name}: {hole:?}");
        }
        let partly = Guarded::holding(b"12").unwrap();
        assert_eq!(partly.write(&file, 3), Err(Errno::FAULT), "{name}");
        assert_eq!(partly.write(&file, 4096), Err(Errno::FAULT), "{name}");
    }
    assert_eq!((shown("value").as_str(), shown("charp").as_str()), ("5", "old"));
    let whole = Guarded::holding(b"12").unwrap();
    assert_eq!(whole.write(open("value", OFlags::WRONLY), 2), Ok(2));
    assert_eq!(shown("value"), "12");
}

// ---- Who may --------------------------------------------------------------------------------------

#[test]
fn everybody_else_may_what_the_mode_says() {
    let _loaded = Loaded::new();
    let mut refusals = Refusals::new();
    for (name, mode, at_first) in FILES {
        let (written, read_back) = as_nobody(move || (write(name, b"1"), read(name)));
        refusals.case(&format!("{name} written by nobody"), Errno::ACCESS, written);
        if mode & 0o004 == 0 {
            refusals.case(&format!("{name} read by nobody"), Errno::ACCESS, read_back);
        } else {
            let at_first = format!("{}\n", at_first.unwrap());
            assert_eq!(read_back, Ok(at_first.into_bytes()), "{name}");
        }
    }
    refusals.case(
        "loaded by nobody",
        Errno::PERM,
        as_nobody(|| module::load(MODULE_FILE, "value=1").map_err(|error| error.errno().unwrap())),
    );
    refusals.finish();
    assert_eq!(shown("value"), "0");
}

// new: begin
#[test]
fn a_file_given_away_belongs_to_its_new_owner() {
    let _loaded = Loaded::new();
    let path = parameters().attribute("value").unwrap().path().to_owned();
    std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
    assert_eq!(as_nobody(|| write("value", b"5")), Ok(()));
    assert_eq!(shown("value"), "5");
    // The owner is that of this file, and goes with it.
    load("").unwrap();
    assert_eq!(as_nobody(|| write("value", b"6")), Err(Errno::ACCESS));
}

// new: end
#[test]
fn root_keeps_to_the_mode_that_the_module_gave() {
    let _loaded = Loaded::with("fixed=5 secret=sesame");
    let mut refusals = Refusals::new();
    refusals.case("fixed written", Errno::ACCESS, write("fixed", b"6"));
    refusals.case("secret read", Errno::ACCESS, read("secret"));
    // Opened even so, it is still not to be had.
    for name in ["fixed", "secret"] {
        let path = parameters().attribute(name).unwrap().path().to_owned();
        fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
    }
    refusals.case("fixed written after chmod", Errno::IO, write("fixed", b"6"));
    refusals.case("secret read after chmod", Errno::PERM, read("secret"));
    refusals.finish();
    assert_eq!(shown("fixed"), "5");
    assert_eq!(write("secret", b"another"), Ok(()));
    assert!(parameters().is_writable("secret").unwrap());
}

#[test]
fn files_can_be_neither_made_nor_removed_nor_mapped() {
    let _loaded = Loaded::new();
    let directory = Path::new("/sys/module").join(MODULE).join("parameters");
    let errno = |result: std::io::Result<()>| {
        result.map_err(|error| Errno::from_io_error(&error).unwrap())
    };
    let mut refusals = Refusals::new();
    let made = fs::write(directory.join("new"), "1");
    refusals.case("a new file", Errno::ACCESS, errno(made));
    refusals.case("a new directory", Errno::PERM, errno(fs::create_dir(directory.join("new"))));
    let value = directory.join("value");
    refusals.case("removing", Errno::PERM, errno(fs::remove_file(&value)));
    refusals.case("renaming", Errno::PERM, errno(fs::rename(&value, directory.join("v"))));
    refusals.case("a directory read as a file", Errno::ISDIR, errno(fs::read(&directory).map(drop)));
    let file = open("value", OFlags::RDWR);
    refusals.case("mapping", Errno::NODEV, callgate::testing::memory::try_map(&file));
    refusals.finish();
    assert_eq!(shown("value"), "0");
}

// ---- The hook -----------------------------------------------------------------------------------

// new: begin
#[test]
fn the_module_hears_of_each_new_value_and_of_none_refused() {
    let _loaded = Loaded::new();
    let mut log = Log::from_now().unwrap();
    for (text, line) in [
        ("5", "value was 0, and is 5 now"),
        ("5", "value was 5, and is 5 now"),
        ("-6", "value was 5, and is -6 now"),
    ] {
        write("value", text.as_bytes()).unwrap();
        assert!(log.wait_for(line, LIMIT).unwrap(), "{line}");
    }
    assert_eq!(write("value", b"x"), Err(Errno::INVAL));
    write("limits", b"-10..0").unwrap();
    assert_eq!(write("value", b"1"), Err(Errno::RANGE));
    assert!(!log.wait_for("value was", MOMENT).unwrap());
}

#[test]
fn a_hook_judges_by_the_other_parameters() {
    let _loaded = Loaded::with("value=15 limits=10..20");
    for (value, taken) in [(10, true), (9, false), (20, true), (21, false), (15, true)] {
        let set = parameters().set("value", value).map_err(|error| error.errno());
        assert_eq!(set, if taken { Ok(()) } else { Err(Some(Errno::RANGE)) }, "{value}");
    }
    for (limits, taken) in [("15..15", true), ("16..20", false), ("0..14", false), ("0..15", true)] {
        let set = parameters().set("limits", limits).map_err(|error| error.errno());
        assert_eq!(set, if taken { Ok(()) } else { Err(Some(Errno::RANGE)) }, "{limits}");
    }
    assert_eq!(parameters().get::<Limits>("limits").unwrap().to_string(), "0..15");
    assert_eq!(shown("value"), "15");
}

#[test]
fn when_the_module_is_loaded_they_are_judged_one_after_the_other() {
    let _loaded = Loaded::new();
    assert_eq!(load("limits=10..20"), Err(Errno::RANGE));
    assert_eq!(load("limits=10..20 value=15"), Err(Errno::RANGE));
    assert_eq!(load("value=21 limits=10..20"), Err(Errno::RANGE));
    assert_eq!(load("value=15 limits=10..20"), Ok(()));
    assert_eq!((shown("value").as_str(), shown("limits").as_str()), ("15", "10..20"));
}

// new: end
/// Has the hook of `pause` sleep, and calls `then` with the task that waits for it, again and again until
/// it was in time.
fn while_a_hook_sleeps(mut then: impl FnMut(&Worker<Result<usize, Errno>>) -> bool) {
    let in_time = (0..100).any(|_| {
        let setting = Worker::spawn(|| {
            rustix::io::write(open("pause", OFlags::WRONLY), PAUSE.as_bytes())
        });
        let asleep = inspect::wait_until_asleep_in(setting.thread(), Call::Write, MOMENT);
        let in_time = asleep && then(&setting);
        assert_eq!(setting.finish(LIMIT), Ok(PAUSE.len()));
        in_time
    });
    assert!(in_time, "never in time");
}

/// How long it sleeps, in milliseconds, and a newline.
const PAUSE: &str = "200\n";

#[test]
fn while_a_hook_runs_the_parameters_stand_still() {
    let _loaded = Loaded::new();
    while_a_hook_sleeps(|setting| {
        let reader = Worker::spawn(|| rustix::io::read(open("value", OFlags::RDONLY), &mut [0; 9]));
        let writer = Worker::spawn(|| rustix::io::write(open("charp", OFlags::WRONLY), b"new"));
        let both_wait = inspect::wait_until_asleep_in(reader.thread(), Call::Read, MOMENT)
            && inspect::wait_until_asleep_in(writer.thread(), Call::Write, MOMENT);
        // Parameters of other modules have locks of their own.
        Parameters::of("printk").unwrap().get::<Flag>("time").unwrap();
        let in_time = both_wait && !setting.ends_within(Duration::ZERO);
        assert_eq!(reader.finish(LIMIT), Ok(2));
        assert_eq!(writer.finish(LIMIT), Ok(3));
        in_time
    });
    assert_eq!((shown("pause").as_str(), shown("charp").as_str()), ("200", "new"));
}

// ---- Several at once ------------------------------------------------------------------------------

/// Calls `work` again and again, until it is told to stop.
struct Again {
    stop: Arc<AtomicBool>,
    worker: Worker<u64>,
}

impl Again {
    fn new(mut work: impl FnMut(u64) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let worker = Worker::spawn(move || {
            let mut rounds = 0;
            while !stopped.load(Ordering::Relaxed) {
                work(rounds);
                rounds += 1;
            }
            rounds
        });
        Self { stop, worker }
    }

    /// How often it was.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.worker.finish(LIMIT)
    }
}

#[test]
fn readers_see_whole_values_while_writers_change_them() {
    let _loaded = Loaded::with("charp=a list=1 value=1");
    let writers = [0, 1].map(|writer: u64| {
        Again::new(move |round| {
            let number = (round * 2 + writer) % 26;
            let letter = char::from(b'a' + u8::try_from(number).unwrap());
            let len = usize::try_from(number * 40 + 1).unwrap();
            write("charp", letter.to_string().repeat(len).as_bytes()).unwrap();
            let items = usize::try_from(number).unwrap() % LIST_MAX + 1;
            parameters().set("list", List(vec![number; items])).unwrap();
            write("value", if number.is_multiple_of(2) { b"-2147483648" } else { b"1" }).unwrap();
        })
    });
    for _ in 0..300 {
        let text = shown("charp");
        let letter = text.as_bytes()[0];
        assert!(text.bytes().all(|byte| byte == letter), "{text}");
        assert_eq!(text.len(), usize::from(letter - b'a') * 40 + 1);
        let List(list) = parameters().get::<List<u64>>("list").unwrap();
        assert!(list.iter().all(|number| *number == list[0]), "{list:?}");
        assert!(["1", "-2147483648"].contains(&shown("value").as_str()));
    }
    for writer in writers {
        assert!(writer.stop() > 0);
    }
}

// ---- Unloading ------------------------------------------------------------------------------------

#[test]
fn files_open_do_not_keep_the_module_and_are_dead_afterwards() {
    let _loaded = Loaded::new();
    let files: Vec<_> = FILES
        .iter()
        .map(|(name, mode, _)| {
            let flags = match mode & 0o600 {
                0o400 => OFlags::RDONLY,
                0o200 => OFlags::WRONLY,
                _ => OFlags::RDWR,
            };
            (*name, *mode, open(name, flags))
        })
        .collect();
    let begun = open("charp", OFlags::RDONLY);
    assert_eq!(rustix::io::read(&begun, &mut [0; 2]), Ok(2));
    assert_eq!(unload(), Ok(()));
    let mut refusals = Refusals::new();
    // The module comes back, and its files do; these stay dead.
    for when in ["after unloading", "after loading again"] {
        for (name, mode, file) in &files {
            if mode & 0o400 != 0 {
                let case = format!("{name} read {when}");
                refusals.case(&case, Errno::NODEV, rustix::io::pread(file, &mut [0; 9], 0));
            }
            if mode & 0o200 != 0 {
                let case = format!("{name} written {when}");
                refusals.case(&case, Errno::NODEV, rustix::io::write(file, b"1"));
            }
        }
        load("").unwrap();
    }
    refusals.finish();
    // What had been read of a value by then is the reader's.
    let mut rest = [0; 9];
    let len = rustix::io::read(&begun, &mut rest).unwrap();
    assert_eq!(&rest[..len], b"llo\n");
    assert_eq!(shown("value"), "0");
}

// new: begin
#[test]
fn unloading_takes_the_files_away() {
    let _loaded = Loaded::new();
    let parameters = parameters();
    assert_eq!(unload(), Ok(()));
    let error = parameters.get::<i32>("value").unwrap_err();
    assert_eq!(error.errno(), Some(Errno::NOENT));
    assert!(matches!(Parameters::of(MODULE), Err(Error::NoModule(_))));
    assert_eq!(unload(), Err(Errno::NOENT));
}

// new: end
#[test]
fn unloading_waits_for_a_hook() {
    let _loaded = Loaded::new();
    while_a_hook_sleeps(|setting| {
        let in_time = !setting.ends_within(Duration::ZERO);
        assert_eq!(unload(), Ok(()));
        load("").unwrap();
        in_time
    });
}

#[test]
fn modules_come_and_go_with_files_open_and_strings_set() {
    let _loaded = Loaded::new();
    let mut kept = Vec::new();
    for round in 0..unload::cycles() {
        let text = "x".repeat(round * 40 % 1000);
        load(&format!("charp=\"{text}\" names={text},y secret={text} list=1,2")).unwrap();
        kept.push(open("charp", OFlags::RDWR));
        write("names", b"a,b,c").unwrap();
        assert_eq!(shown("charp"), text);
    }
    assert_eq!(unload(), Ok(()));
    for file in &kept {
        assert_eq!(rustix::io::write(file, b"x"), Err(Errno::NODEV));
    }
}

/// The file of one of four parameters, whether it is there or not, and a value for it. Three of the four
/// have theirs on the heap.
fn any_file(round: usize) -> (Attribute, &'static str) {
    let (name, value) = [
        ("charp", "a string on the heap"),
        ("list", "1,2,3"),
        ("limits", "-1..1"),
        ("names", "a,b"),
    ][round % 4];
    (Attribute::at(path(name)), value)
}

/// Whether a call that failed with this reached the module; if not, it must be because that was not there.
fn reached(errno: Option<Errno>) -> Use {
    // Users that never sleep would keep both CPUs from the one who loads and unloads.
    thread::sleep(Duration::from_micros(100));
    match errno {
        None => Use::Reached,
        Some(Errno::NODEV | Errno::NOENT) => Use::Missed,
        Some(errno) => panic!("{errno}"),
    }
}

fn read_any(round: usize) -> Use {
    let (file, _) = any_file(round);
    reached(file.read().err().and_then(|error| error.errno()))
}

fn write_any(round: usize) -> Use {
    let (file, value) = any_file(round);
    reached(file.write(value.as_bytes()).err().and_then(|error| error.errno()))
}

/// Goes on with what is open, when that may be dead.
fn keep_using_any(round: usize) -> Use {
    let (file, value) = any_file(round);
    let Ok(file) = file.open(OFlags::RDWR) else {
        return Use::Missed;
    };
    for _ in 0..5 {
        reached(rustix::io::write(&file, value.as_bytes()).err());
        reached(rustix::io::pread(&file, &mut [0; 99], 0).err());
    }
    Use::Reached
}

/// Has the module come and go while two threads each do this over and over.
fn come_and_go_during(uses: [fn(usize) -> Use; 2]) {
    let _loaded = Loaded::new();
    let rounds = AtomicUsize::new(0);
    let [first, second] =
        uses.map(|user| { let rounds = &rounds; move || user(rounds.fetch_add(1, Ordering::Relaxed)) });
    let cycles = unload::while_used(MODULE, MODULE_FILE, LIMIT, &[&first, &second]);
    assert_eq!(cycles.refused, 0, "a file that is open keeps no module");
}

#[test]
fn modules_come_and_go_while_files_are_read() {
    come_and_go_during([read_any, read_any]);
}

#[test]
fn modules_come_and_go_while_files_are_written() {
    come_and_go_during([write_any, write_any]);
}

#[test]
fn modules_come_and_go_while_files_are_read_and_written() {
    come_and_go_during([read_any, write_any]);
}

#[test]
fn modules_come_and_go_while_open_files_are_used_on() {
    come_and_go_during([keep_using_any, keep_using_any]);
}

#[test]
fn modules_that_cannot_be_loaded_leave_nothing_behind() {
    let _loaded = Loaded::new();
    let reader = Again::new(|round| {
        read_any(usize::try_from(round).unwrap());
    });
    for round in 0..unload::cycles() {
        let text = "x".repeat(round % 100 + 500);
        let given = format!("charp={text} names={text},{text} value={} secret={text} list=1,2", round % 10);
        assert_eq!(load(&format!("{given} byte=-1")), Err(Errno::INVAL));
    }
    assert!(reader.stop() > 0);
    assert!(!module::is_loaded(MODULE).unwrap());
    load("").unwrap();
    assert_eq!(shown("charp"), "hello");
}

// ---- Ordinary tools -------------------------------------------------------------------------------

fn path(name: &str) -> String {
    format!("/sys/module/{MODULE}/parameters/{name}")
}

#[test]
fn modinfo_shows_names_descriptions_and_types() {
    let described = "\
        value:a test value (int)\n\
        limits:the values that value may have, as LOW..HIGH (limits)\n\
        byte:an integer of 8 bits (byte)\n\
        s8:the same with a sign (s8)\n\
        short:16 bits with a sign (short)\n\
        ushort:16 bits (ushort)\n\
        uint:32 bits (uint)\n\
        long:as wide as a register, with a sign (long)\n\
        ulong:as wide as a register (ulong)\n\
        llong:64 bits with a sign (llong)\n\
        ullong:64 bits (ullong)\n\
        flag:yes or no (bool)\n\
        charp:a string (charp)\n\
        list:up to 8 numbers (array of int)\n\
        names:up to 4 strings (array of charp)\n\
        hidden:given when the module is loaded, and without a file (uint)\n\
        fixed:given when the module is loaded, and only read afterwards (uint)\n\
        root_only:for root's eyes (uint)\n\
        secret:written, and never read (charp)\n\
        pause:how many milliseconds it takes to set this (ushort)\n";
    let sorted = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    tools::module_tree();
    for module in [MODULE, MODULE_FILE] {
        let shown = Tool::new("modinfo").args(["-p", module]).run().success();
        assert_eq!(sorted(&shown), sorted(described));
        assert_eq!(shown.lines().count(), FILES.len() + 1);
    }
}

#[test]
fn insmod_gives_parameters_and_tells_why_it_cannot() {
    let _loaded = Loaded::new();
    let insmod = |arguments: &[&str]| {
        assert_eq!(unload(), Ok(()));
        let ran = Tool::new("insmod").arg(MODULE_FILE).args(arguments).run();
        let _ = module::load(MODULE_FILE, "");
        ran
    };
    let refused = insmod(&["value=4", "byte=256"]);
    assert_eq!(refused.answer(), Err(Errno::RANGE));
    let refused = insmod(&["value=four"]);
    assert!(refused.stderr.contains("Invalid parameters"), "{refused}");
    assert_eq!(unload(), Ok(()));
    let line = format!("insmod {MODULE_FILE} value=-4 flag charp='\"two words\"' list=1,0x10 no_such=1");
    tools::shell(&line).success();
    let values = ["value", "flag", "charp", "list"].map(shown);
    assert_eq!(values, ["-4", "Y", "two words", "1,16"]);
}

#[test]
fn modprobe_gives_the_parameters_of_its_configuration_and_of_its_command_line() {
    let _loaded = Loaded::new();
    let configuration = "/etc/modprobe.d/callgate-test.conf";
    tools::module_tree();
    assert_eq!(unload(), Ok(()));
    fs::create_dir_all("/etc/modprobe.d").unwrap();
    fs::write(configuration, "options callgate_parameter value=7 charp=\"two words\"\n").unwrap();
    let probed = Tool::new("modprobe").arg(MODULE).run();
    let values = ["value", "charp"].map(shown);
    let removed = Tool::new("modprobe").args(["-r", MODULE]).run();
    let again = Tool::new("modprobe").args(["callgate-parameter", "value=8", "root-only=9"]).run();
    let and = ["value", "root_only"].map(shown);
    fs::remove_file(configuration).unwrap();
    for ran in [probed, removed, again] {
        assert_eq!(ran.success(), "");
    }
    assert_eq!((values, and), (["7", "two words"].map(Into::into), ["8", "9"].map(Into::into)));
    assert_eq!(unload(), Ok(()));
    let refused = Tool::new("modprobe").args([MODULE, "value=99999999999"]).run();
    assert_eq!(refused.answer(), Err(Errno::RANGE));
    Tool::new("modprobe").args([MODULE, "charp=three more words"]).run().success();
    assert_eq!(shown("charp"), "three more words");
}

#[test]
fn cat_and_echo_read_and_write() {
    let _loaded = Loaded::new();
    let value = path("value");
    assert_eq!(Tool::new("cat").arg(&value).run().success(), "0\n");
    assert_eq!(tools::shell(&format!("echo 5 > {value}; cat {value}")).success(), "5\n");
    assert_eq!(tools::shell(&format!("echo -n 6 > {value}; cat {value}")).success(), "6\n");
    assert_eq!(tools::shell(&format!("echo 7 | tee {value}; cat {value}")).success(), "7\n7\n");
    let charp = path("charp");
    assert_eq!(tools::shell(&format!("echo two words > {charp}; cat {charp}")).success(), "two words\n");
    // One write, and no number; where the shell's own printf makes two of it, and so two values.
    let two_lines = format!("env printf '1\\n2\\n' > {value}");
    assert_eq!(tools::shell(&two_lines).answer(), Err(Errno::INVAL));
    let mut refusals = Refusals::new();
    for (name, text, errno) in [
        ("value", "five", Errno::INVAL),
        ("value", "", Errno::INVAL),
        ("value", "5 6", Errno::INVAL),
        ("value", "2147483648", Errno::RANGE),
        ("byte", "-1", Errno::INVAL),
        ("fixed", "1", Errno::ACCESS),
        ("hidden", "1", Errno::ACCESS),
        ("no_such", "1", Errno::ACCESS),
    ] {
        let ran = tools::shell(&format!("echo '{text}' > {}", path(name)));
        refusals.case(&format!("echo '{text}' > {name}"), errno, ran.answer());
    }
    refusals.case("cat secret", Errno::ACCESS, Tool::new("cat").arg(path("secret")).run().answer());
    refusals.case("cat hidden", Errno::NOENT, Tool::new("cat").arg(path("hidden")).run().answer());
    for (what, command) in [("cat", "cat "), ("echo", "echo 1 > ")] {
        let ran = Tool::shell(&format!("{command}{}", path("root_only"))).user(65534, 65534).run();
        refusals.case(&format!("{what} root_only by nobody"), Errno::ACCESS, ran.answer());
    }
    refusals.finish();
    assert_eq!(shown("value"), "7");
}

#[test]
fn a_file_system_mounted_read_only_keeps_the_value() {
    let _loaded = Loaded::with("value=5");
    let value = path("value");
    let line = format!("mount -o remount,bind,ro /sys && cat {value} && echo 6 > {value}");
    let ran = Tool::new("unshare").args(["--mount", "bash", "-c", &line]).run();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "5\n");
    assert_eq!(ran.answer(), Err(Errno::ROFS));
    assert_eq!(shown("value"), "5");
    assert_eq!(write("value", b"6"), Ok(()), "it was read-only in there alone");
}

// ---- The program, and parameters of others --------------------------------------------------------

// new: begin
#[test]
fn the_program_sets_what_it_says() {
    let _loaded = Loaded::new();
    for _ in 0..2 {
        super::program::main().unwrap();
        assert_eq!((shown("value").as_str(), shown("limits").as_str()), ("42", "0..100"));
        assert_eq!((shown("flag").as_str(), shown("charp").as_str()), ("Y", "hello world"));
        assert_eq!(parameters().get::<List<u8>>("list").unwrap(), List(vec![4, 5, 6, 7]));
    }
}

// new: end
#[test]
fn parameters_are_read_as_the_types_they_are() {
    let _loaded = Loaded::with("flag charp=\"two words\" limits=-1..1 list=-1,2 s8=-128");
    let all = parameters();
    assert_eq!(all.get::<Flag>("flag").unwrap(), Flag(true));
    assert_eq!(all.get::<String>("charp").unwrap(), "two words");
    assert_eq!(all.get::<Limits>("limits").unwrap().to_string(), "-1..1");
    assert_eq!(all.get::<List<i64>>("list").unwrap(), List(vec![-1, 2]));
    assert_eq!(all.get::<i8>("s8").unwrap(), -128);
    let error = all.get::<u8>("s8").unwrap_err();
    assert!(error.to_string().contains("holds \"-128\", which is no u8"), "{error}");
    all.set("flag", Flag(false)).unwrap();
    all.set("charp", "").unwrap();
    assert_eq!(read("flag").unwrap(), b"N\n");
    assert_eq!(read("charp").unwrap(), b"\n");
    let error = all.set("value", 2).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::RANGE));
    assert!(error.to_string().contains("out of range"), "{error}");
    assert_eq!(all.set("fixed", 1).unwrap_err().errno(), Some(Errno::ACCESS));
}

// new: begin
#[test]
fn what_arguments_quote_arrives_as_it_is() {
    let _loaded = Loaded::new();
    for text in ["", "x", "two words", "\t", " \u{a0} ", "voil\u{e0}", "a=b", "--", "it's", "back\\slash"] {
        let given = Arguments::new().set("value", 3).unwrap().set("charp", text).unwrap();
        load(given.flag("flag").unwrap().as_str()).unwrap();
        assert_eq!(shown("charp"), text);
        assert_eq!((shown("value").as_str(), shown("flag").as_str()), ("3", "Y"), "{text:?}");
    }
}

// new: end
#[test]
fn the_parameters_of_modules_that_are_built_in_are_the_same_to_the_client() {
    let printk = Parameters::of("printk").unwrap();
    let Flag(time) = printk.get("time").unwrap();
    assert!(printk.is_writable("time").unwrap());
    for flag in [Flag(!time), Flag(time)] {
        printk.set("time", flag).unwrap();
        assert_eq!(printk.get::<Flag>("time").unwrap(), flag);
    }
    let kernel = Parameters::of("kernel").unwrap();
    assert!(kernel.names().unwrap().iter().any(|name| name == "panic"));
    assert_eq!(kernel.get::<i32>("panic").unwrap(), -1);
    let module = Parameters::of("module").unwrap();
    assert_eq!(module.set("async_probe", "maybe").unwrap_err().errno(), Some(Errno::INVAL));
}
