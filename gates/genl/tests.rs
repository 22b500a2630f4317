// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a user of the family `CONTROL_EXMPL` can rely on, tried through netlink sockets.
//!
//! These run in the lab's VM as root, each in a process of its own, with the module loaded.

// new: begin
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use callgate::Errno;
use callgate::genl::{self, Checked, Client, Family, Listener, Reply, controller};
use callgate::kmsg::Log;
use callgate::module;
use callgate::netlink::{self, Attributes, Message};
use callgate::testing::Refusals;
use callgate::testing::faults::{at_each_place, at_last_places};
use callgate::testing::namespace::Network;
use callgate::testing::tools::{Tool, module_tree};
use callgate::testing::unload::{Away, Use, cycles, while_used};
use callgate::testing::worker::{Watchdog, as_nobody};

use super::abi::{self, NUMBER_MAX, RECORDS_MAX, command, kind, record};

/// Every wait ends here at the latest; it is generous, because an emulated debug kernel is slow.
const LIMIT: Duration = Duration::from_secs(30);

/// A test that takes longer than this has lost its way.
const TOO_LONG: Duration = Duration::from_secs(160);

/// Long enough to see that nothing comes: what the kernel sends is there when the call that made it
/// send that is over.
const SOON: Duration = Duration::from_millis(50);

const MODULE: &str = "callgate_genl";
const MODULE_FILE: &str = "/modules/callgate_genl.ko";

const FAMILY: &str = "CONTROL_EXMPL";
const RECORDS: &str = "records";

// `NLM_F_*`.
const REQUEST: u16 = 1;
const DUMP_INTR: u16 = 0x10;
const DUMP: u16 = 0x300;

// new: end
const MULTI: u16 = 2;
const ACK: u16 = 4;
const ECHO: u16 = 8;
const ROOT: u16 = 0x100;
const MATCH: u16 = 0x200;
const CREATE: u16 = 0x400;

/// How many records a long list has.
const MANY: u32 = 100_001;

const ECHOES: &str = "echoes";

const NESTED: u16 = 0x8000;
const NET_BYTEORDER: u16 = 0x4000;

// new: begin
/// A client, and the family that it found.
struct Control {
    client: Client,
    family: Family,
    _watchdog: Watchdog,
}

impl Control {
    fn new() -> Self {
        let mut client = Client::new().unwrap();
        let family = client.family(FAMILY).unwrap();
        Self { client, family, _watchdog: Watchdog::new(TOO_LONG) }
    }

    /// The same, with no records.
    fn fresh() -> Self {
        drop(Away::new(MODULE, MODULE_FILE));
        Self::new()
    }

    /// What a command is answered.
    fn call(&mut self, command: u8, attributes: &Attributes) -> Result<Vec<Reply>, genl::Error> {
        self.client.call(&self.family, command, attributes)
    }

    /// The errno of that.
    fn refused(&mut self, command: u8, attributes: &Attributes) -> Result<(), Errno> {
        self.call(command, attributes).map(drop).map_err(|error| errno(&error))
    }

    /// All that the kernel says of that.
    fn refusal(&mut self, command: u8, attributes: &Attributes) -> netlink::Refusal {
        let error = self.call(command, attributes).unwrap_err();
        error.refusal().cloned().unwrap_or_else(|| panic!("{error}"))
    }

    fn refused_dump(&mut self, command: u8, attributes: &Attributes) -> Result<(), Errno> {
        self.client.dump(&self.family, command, attributes).map(drop).map_err(|error| errno(&error))
    }

    // new: end
    /// What these bytes behind the netlink header are answered.
    fn raw(&mut self, kind: u16, flags: u16, payload: &[u8]) -> Result<(), Errno> {
        let socket = self.client.socket();
        let sequence = socket.send(kind, flags, payload).unwrap();
        let end = socket.replies(sequence, payload);
        end.map(drop).map_err(|error| error.errno().unwrap_or_else(|| panic!("{error}")))
    }

    /// What `echo` answers to these bytes, where there should be attributes.
    fn raw_echo(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let payload = [&[command::ECHO, 1, 0, 0], bytes].concat();
        self.raw(self.family.id, REQUEST | ACK, &payload)
    }
    // new: begin

    fn add(&mut self, first: u32, count: u32, text: &str) {
        self.call(command::ADD, &some(first, count, text)).unwrap();
    }

    fn remove(&mut self, number: u32) {
        self.call(command::REMOVE, &number_of(number)).unwrap();
    }

    fn list(&mut self) -> BTreeMap<u32, String> {
        let dump = self.client.dump(&self.family, command::GET, &Attributes::new()).unwrap();
        assert!(dump.consistent);
        let records = dump.records.iter().map(|reply| record_of(&reply.attributes));
        let records: Vec<_> = records.collect();
        assert!(records.is_sorted_by(|a, b| a.0 < b.0), "in order, and each once");
        records.into_iter().collect()
    }
}

fn errno(error: &genl::Error) -> Errno {
    error.errno().unwrap_or_else(|| panic!("{error}"))
}

// new: end
fn msg(text: &str) -> Attributes {
    Attributes::new().string(abi::MSG, text)
}

// new: begin
fn number_of(number: u32) -> Attributes {
    Attributes::new().number(abi::NUMBER, number)
}

fn one(number: u32, text: &str) -> Attributes {
    Attributes::new().number(record::NUMBER, number).string(record::TEXT, text)
}

fn in_record(inner: &Attributes) -> Attributes {
    Attributes::new().nest(abi::RECORD, inner)
}

fn some(first: u32, count: u32, text: &str) -> Attributes {
    in_record(&one(first, text)).number(abi::COUNT, count)
}

fn record_of(attributes: &Attributes) -> (u32, String) {
    let record = attributes.get_nest(abi::RECORD).unwrap();
    let text = record.get_string(record::TEXT).unwrap();
    (record.get_number(record::NUMBER).unwrap(), text.to_owned())
}

#[test]
fn the_program_runs() {
    drop(Away::new(MODULE, MODULE_FILE));
    super::program::main().unwrap();
}

// new: end
// ---- The HOWTO's exchange -----------------------------------------------------------------------

#[test]
fn the_echo_answers_as_in_the_howto() {
    let mut control = Control::fresh();
    assert_eq!((control.family.name.as_str(), control.family.version), (FAMILY, 1));
    let mut log = Log::from_now().unwrap();
    let replies = control.call(command::ECHO, &msg("hello from userspace")).unwrap();
    let [reply] = &replies[..] else { panic!("{replies:?}") };
    assert_eq!((reply.command, reply.version), (1, 1));
    let answer = Attributes::new().string(1, "hello world from kernel space");
    assert_eq!(reply.attributes, answer);
    assert!(log.wait_for("received: hello from userspace", LIMIT).unwrap());
}

#[test]
fn a_flood_does_not_fill_the_log() {
    let mut control = Control::fresh();
    let mut log = Log::from_now().unwrap();
    let start = Instant::now();
    as_nobody(|| {
        (0..1000).for_each(|_| drop(control.call(command::ECHO, &msg("flood")).unwrap()));
    });
    let seconds = start.elapsed().as_secs();
    let mut lines = 0;
    while let Some(record) = log.next(Duration::ZERO).unwrap() {
        lines += u64::from(record.text.contains("received: flood"));
    }
    // The first and the last second are parts of one.
    let most = 10 * (seconds + 2);
    assert!((10..=most).contains(&lines), "{lines} lines in {seconds} s");
}

#[test]
fn the_reply_has_the_number_of_the_request_and_goes_to_its_sender() {
    let mut control = Control::new();
    let port = control.client.socket().port();
    for _ in 0..3 {
        let payload = genl::payload(command::ECHO, 1, &msg("hello"));
        let socket = control.client.socket();
        let sequence = socket.send(control.family.id, REQUEST | ACK, &payload).unwrap();
        for kind in [control.family.id, 2] {
            let message = socket.receive().unwrap();
            assert_eq!((message.kind, message.sequence, message.port), (kind, sequence, port));
        }
    }
}

#[test]
fn what_is_not_as_the_policy_says_never_reaches_the_handler() {
    let mut control = Control::fresh();
    let mut log = Log::from_now().unwrap();
    for (what, attributes) in wrong_messages() {
        assert_eq!(control.refused(command::ECHO, &attributes), Err(Errno::INVAL), "{what}");
    }
    control.call(command::ECHO, &msg("the last")).unwrap();
    while let Some(record) = log.next(LIMIT).unwrap() {
        if let Some((_, received)) = record.text.split_once("received: ") {
            assert_eq!(received, "the last");
            break;
        }
    }
}

/// What `echo` must refuse with `EINVAL`.
fn wrong_messages() -> Vec<(&'static str, Attributes)> {
    let new = Attributes::new;
    let long = "x".repeat(usize::from(abi::MSG_MAX) + 1);
    vec![
        ("no message", new()),
        ("a message without a NUL", new().bytes(abi::MSG, b"hello")),
        ("a message of no bytes", new().bytes(abi::MSG, b"")),
        ("a number without a zero byte", new().number(abi::MSG, u32::MAX)),
        ("a message that is too long", msg(&long)),
        ("a longer one without a NUL", new().bytes(abi::MSG, long.repeat(9).as_bytes())),
        ("a nest", new().bytes(abi::MSG | NESTED, b"hello\0\0\0")),
        ("an attribute of another command", msg("hello").number(abi::COUNT, 1_u32)),
        ("an unknown attribute", msg("hello").flag(100)),
        ("the largest unknown attribute", msg("hello").flag(0x3fff)),
        ("padding", msg("hello").bytes(0, b"")),
        ("a good message, then a bad one", msg("hello").number(abi::MSG, u32::MAX)),
        ("a bad message, then a good one", new().bytes(abi::MSG, b"").string(abi::MSG, "hello")),
    ]
}

#[test]
fn what_the_kernel_does_not_mind_is_accepted() {
    let mut control = Control::new();
    let family = control.family.id;
    let longest = "x".repeat(usize::from(abi::MSG_MAX));
    for attributes in [
        msg(""),
        msg(&longest),
        // The last one counts.
        msg("first").string(abi::MSG, "last"),
        // Nothing on the wire says that this is a number.
        Attributes::new().number(abi::MSG, 0x0063_6261_u32),
        Attributes::new().bytes(abi::MSG, b"more\0after the NUL"),
        Attributes::new().bytes(abi::MSG | NET_BYTEORDER, b"hello\0"),
    ] {
        control.call(command::ECHO, &attributes).unwrap();
    }
    // Nobody looks at the version.
    for version in [0, 2, 255] {
        let payload = genl::payload(command::ECHO, version, &msg("hello"));
        control.raw(family, REQUEST | ACK, &payload).unwrap();
        control.raw(family, REQUEST | ACK | ECHO, &payload).unwrap();
    }
}

// ---- What is refused, and what is said of it ------------------------------------------------------

// new: begin
#[test]
fn bad_attributes_are_refused() {
    let mut control = Control::fresh();
    let mut table = Refusals::new();
    // new: end
    for (what, attributes) in wrong_messages() {
        table.case(what, Errno::INVAL, control.refused(command::ECHO, &attributes));
    }

    let good = msg("hello");
    let good = good.as_bytes();
    for (what, bytes) in [
        ("one byte", &b"\x08"[..]),
        ("half a header", b"\x08\0\x01"),
        ("a length of 0", b"\0\0\x01\0"),
        ("a length of 3", b"\x03\0\x01\0"),
        ("a length beyond the message", b"\xff\xff\x01\0hello\0\0\0"),
        ("a good one and a byte", &[good, b"\0"].concat()),
        ("a good one and three bytes", &[good, b"\0\0\0"].concat()),
        ("a good one and a torn header", &[good, b"\x0c\0\x01\0"].concat()),
    ] {
        table.case(what, Errno::INVAL, control.raw_echo(bytes));
    }
    // new: begin

    let text = "x".repeat(usize::from(abi::TEXT_MAX) + 1);
    let new = Attributes::new;
    // new: end
    let torn = new().bytes(abi::RECORD | NESTED, one(1, "a").as_bytes().split_at(9).0);
    // new: begin
    for (what, errno, attributes) in [
        ("no record", Errno::INVAL, new().number(abi::COUNT, 1_u32)),
        ("an empty record", Errno::INVAL, in_record(&new())),
        ("no text", Errno::INVAL, in_record(&new().number(record::NUMBER, 1_u32))),
        ("number 0", Errno::RANGE, in_record(&one(0, "a"))),
        ("a number too large", Errno::RANGE, in_record(&one(NUMBER_MAX + 1, "a"))),
        ("a number of 8 bytes", Errno::INVAL, in_record(&one(1, "a").number(1, 1_u64))),
        ("a text too long", Errno::INVAL, in_record(&one(1, &text))),
        ("a text without a NUL", Errno::INVAL, in_record(&one(1, "a").bytes(2, b"abc"))),
        ("what no record has", Errno::INVAL, in_record(&one(1, "a").flag(3))),
        ("a count too large", Errno::RANGE, some(1, RECORDS_MAX + 1, "a")),
        ("a last number too large", Errno::RANGE, some(NUMBER_MAX, 2, "a")),
        // new: end
        ("no nest", Errno::INVAL, new().bytes(abi::RECORD, one(1, "a").as_bytes())),
        ("no number", Errno::INVAL, in_record(&new().string(record::TEXT, "a"))),
        ("the largest u32", Errno::RANGE, in_record(&one(u32::MAX, "a"))),
        ("a number of 1 byte", Errno::INVAL, in_record(&one(1, "a").number(1, 1_u8))),
        ("a number of no bytes", Errno::INVAL, in_record(&one(1, "a").flag(1))),
        ("a number as a nest", Errno::INVAL, in_record(&one(1, "a").bytes(1 | NESTED, b"abcd"))),
        ("a torn nest", Errno::INVAL, torn),
        ("a nest of 3 bytes", Errno::RANGE, new().bytes(abi::RECORD | NESTED, b"\x03\0\x01")),
        ("count 0", Errno::RANGE, some(1, 0, "a")),
        ("a count of 2 bytes", Errno::INVAL, in_record(&one(1, "a")).number(abi::COUNT, 1_u16)),
        ("a flag with a value", Errno::RANGE, some(1, 1, "a").bytes(abi::REPLACE, b"1")),
        // new: begin
    ] {
        table.case(what, errno, control.refused(command::ADD, &attributes));
    }

    let (remove, get) = (command::REMOVE, command::GET);
    table.case("remove nothing", Errno::INVAL, control.refused(remove, &new()));
    table.case("remove what is not there", Errno::NOENT, control.refused(remove, &number_of(1)));
    table.case("get nothing", Errno::INVAL, control.refused(get, &new()));
    table.case("get what is not there", Errno::NOENT, control.refused(get, &number_of(1)));
    let from = new().number(abi::FROM, 1_u32);
    table.case("get with what is for dumps", Errno::INVAL, control.refused(get, &from));
    let dump = control.refused_dump(get, &number_of(1));
    table.case("a dump with what is not for dumps", Errno::INVAL, dump);
    let dump = control.refused_dump(get, &new().number(abi::FROM, 1_u16));
    table.case("a dump from 2 bytes", Errno::INVAL, dump);
    assert!(control.list().is_empty(), "nothing was added");
    table.finish();
}

// new: end
#[test]
fn values_out_of_range_are_refused() {
    let mut control = Control::new();
    let mut table = Refusals::new();
    let new = Attributes::new;
    for (what, attributes) in [
        ("u16 0", new().number(kind::U16, 0_u16)),
        ("u16 1001", new().number(kind::U16, 1001_u16)),
        ("u32 0", new().number(kind::U32, 0_u32)),
        ("u32 100001", new().number(kind::U32, 100_001_u32)),
        ("u64 0", new().number(kind::U64, 0_u64)),
        ("u64 2^40+1", new().number(kind::U64, (1_u64 << 40) + 1)),
        ("s16 -1001", new().number(kind::S16, -1001_i16)),
        ("s16 1001", new().number(kind::S16, 1001_i16)),
        ("s32 -100001", new().number(kind::S32, -100_001_i32)),
        ("s32 100001", new().number(kind::S32, 100_001_i32)),
        ("s64 -2^40-1", new().number(kind::S64, -(1_i64 << 40) - 1)),
        ("s64 2^40+1", new().number(kind::S64, (1_i64 << 40) + 1)),
        ("3 bytes", new().bytes(kind::BYTES, &[0; 3])),
        ("9 bytes", new().bytes(kind::BYTES, &[0; 9])),
        ("a flag with a value", new().bytes(kind::FLAG, b"1")),
    ] {
        table.case(what, Errno::RANGE, control.refused(command::KINDS, &attributes));
    }
    for (number, length) in (kind::U8..=kind::S64).zip([1, 2, 4, 8].into_iter().cycle()) {
        for wrong in [length - 1, length + 1] {
            let attributes = new().bytes(number, &vec![1; wrong]);
            let what = format!("attribute {number} of {wrong} bytes");
            table.case(&what, Errno::INVAL, control.refused(command::KINDS, &attributes));
        }
    }
    table.finish();
}

#[test]
fn bad_headers_are_refused() {
    let mut control = Control::new();
    let family = control.family.id;
    let mut table = Refusals::new();
    let payload = |command, reserved: u16| {
        let [low, high] = reserved.to_ne_bytes();
        [&[command, 1, low, high], msg("hello").as_bytes()].concat()
    };
    let good = payload(command::ECHO, 0);
    for command in [0, command::ADDED, command::HEARD, 100, 255] {
        let answer = control.raw(family, REQUEST | ACK, &payload(command, 0));
        table.case(&format!("command {command}"), Errno::OPNOTSUPP, answer);
    }
    for command in [command::ECHO, command::ADD, command::KINDS] {
        let answer = control.raw(family, REQUEST | DUMP, &payload(command, 0));
        table.case(&format!("a dump of command {command}"), Errno::OPNOTSUPP, answer);
    }
    for reserved in [1, 0x100, 0xffff] {
        let answer = control.raw(family, REQUEST | ACK, &payload(command::ECHO, reserved));
        table.case(&format!("reserved bits {reserved:#x}"), Errno::INVAL, answer);
    }
    for flags in [MULTI, DUMP_INTR, 0x20, ROOT, MATCH, CREATE, 0x800, 0x8000] {
        let answer = control.raw(family, REQUEST | ACK | flags, &good);
        table.case(&format!("flags {flags:#x}"), Errno::INVAL, answer);
    }
    for length in 0..4 {
        let answer = control.raw(family, REQUEST | ACK, &good[..length]);
        table.case(&format!("{length} bytes of a header"), Errno::INVAL, answer);
    }
    for kind in [15, 17, family + 1, 1023, u16::MAX] {
        if kind >= 16 {
            let answer = control.raw(kind, REQUEST | ACK, &good);
            table.case(&format!("family {kind}"), Errno::NOENT, answer);
        }
    }
    table.finish();
}

#[test]
fn what_is_no_request_is_not_answered_or_not_carried_out() {
    let mut control = Control::fresh();
    let family = control.family.id;
    let mut log = Log::from_now().unwrap();
    let payload = genl::payload(command::ECHO, 1, &msg("nobody hears this"));
    // Acknowledged, as it asks for that, and nothing else.
    control.raw(family, ACK, &payload).unwrap();
    let socket = control.client.socket();
    socket.send(family, 0, &payload).unwrap();
    // Shorter than a header, or longer than the datagram.
    let whole = socket.frame(family, REQUEST | ACK, &payload);
    let len = u32::try_from(whole.len()).unwrap();
    for length in [0, 15, len + 4, u32::MAX] {
        let mut bytes = whole.clone();
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        socket.send_bytes(&bytes).unwrap();
    }
    for length in [0, 1, 15] {
        let _ = socket.send_bytes(&whole[..length]);
    }
    assert_eq!(socket.receive_within(SOON).unwrap(), None);
    control.call(command::ECHO, &msg("somebody hears this")).unwrap();
    while let Some(record) = log.next(LIMIT).unwrap() {
        assert!(!record.text.contains("nobody hears"), "{record:?}");
        if record.text.contains("somebody hears") {
            break;
        }
    }
}

#[test]
fn several_requests_may_be_in_one_datagram() {
    let mut control = Control::new();
    let socket = control.client.socket();
    let payload = |text| genl::payload(command::ECHO, 1, &text);
    let family = control.family.id;
    let good = socket.frame(family, REQUEST | ACK, &payload(msg("hello")));
    let bad = socket.frame(family, REQUEST | ACK, &payload(Attributes::new()));
    let datagram = [&good[..], &bad, &good].concat();
    socket.send_bytes(&datagram).unwrap();
    let kinds: Vec<_> = (0..5).map(|_| socket.receive().unwrap().kind).collect();
    assert_eq!(kinds, [family, 2, 2, family, 2]);
}

// new: begin
#[test]
fn a_refusal_names_the_attribute_and_says_why() {
    let mut control = Control::fresh();
    control.add(1, 1, "there");
    let (record, number, text) = (abi::RECORD, record::NUMBER, record::TEXT);

    let refusal = control.refusal(command::ADD, &some(1, 1, "again"));
    assert_eq!(refusal.errno, Errno::EXIST);
    assert_eq!(refusal.message.as_deref(), Some("there is such a record already"));
    assert_eq!(refusal.attribute, [record, number]);

    let refusal = control.refusal(command::GET, &number_of(2));
    assert_eq!(refusal.message.as_deref(), Some("there is no such record"));
    assert_eq!((refusal.attribute, refusal.missing), (vec![abi::NUMBER], None));

    let refusal = control.refusal(command::ADD, &some(NUMBER_MAX, 2, "a"));
    assert_eq!(refusal.message.as_deref(), Some("the last number would be too large"));
    assert_eq!(refusal.attribute, [abi::COUNT]);

    // What is missing, and from where.
    // new: end
    let refusal = control.refusal(command::ECHO, &Attributes::new());
    assert_eq!((refusal.missing, refusal.missing_from), (Some(abi::MSG), vec![]));
    // new: begin
    let refusal = control.refusal(command::ADD, &in_record(&Attributes::new().number(number, 1_u32)));
    assert_eq!((refusal.missing, refusal.missing_from), (Some(text), vec![record]));

    // What the kernel itself says of what no handler has seen.
    let refusal = control.refusal(command::ADD, &in_record(&one(0, "a")));
    assert_eq!(refusal.message.as_deref(), Some("integer out of range"));
    assert_eq!(refusal.attribute, [record, number]);
    // new: end
    let refusal = control.refusal(command::ECHO, &msg("hello").flag(9));
    assert_eq!(refusal.message.as_deref(), Some("Unknown attribute type"));
    assert_eq!(refusal.attribute, [9]);
    // new: begin
}

// new: end
#[test]
fn a_refusal_of_a_dump_says_as_much() {
    let mut control = Control::new();
    let wrong = number_of(1);
    let error = control.client.dump(&control.family, command::GET, &wrong).unwrap_err();
    let refusal = error.refusal().unwrap();
    assert_eq!(refusal.errno, Errno::INVAL);
    assert_eq!(refusal.attribute, [abi::NUMBER]);
    assert!(refusal.message.is_some());
}

// new: begin
#[test]
fn only_administrators_change_records() {
    let mut control = Control::fresh();
    control.add(1, 1, "mine");
    let mut table = Refusals::new();
    as_nobody(|| {
        let mut control = Control::new();
        let add = some(2, 1, "a");
        table.case("add", Errno::PERM, control.refused(command::ADD, &add));
        table.case("remove", Errno::PERM, control.refused(command::REMOVE, &number_of(1)));
        // Also if nothing is right about it.
        table.case("a bad remove", Errno::PERM, control.refused(command::REMOVE, &add));
        assert_eq!(control.list().len(), 1);
        // new: end
        control.call(command::ECHO, &msg("hello")).unwrap();
        // Nor may others be written to, or heard.
        let mut join = |group| control.client.socket().join(group).map_err(|e| e.errno().unwrap());
        table.case("join", Errno::PERM, join(control.family.group(ECHOES).unwrap()));
        // new: begin
        Listener::new(&control.family, &[RECORDS]).unwrap();
    });
    // new: end
    let mut join = |group| control.client.socket().join(group).map_err(|e| e.errno().unwrap());
    for group in [0, 100_000, u32::MAX] {
        table.case(&format!("join group {group}"), Errno::INVAL, join(group));
    }
    // new: begin
    table.finish();
}

// new: end
// ---- Attributes of each kind --------------------------------------------------------------------

#[test]
fn attributes_of_each_kind_come_back_as_they_went() {
    let mut control = Control::new();
    for (sign, bytes) in [(1, &b"1234"[..]), (-1, b"12345678")] {
        let attributes = Attributes::new()
            .number(kind::U8, u8::MAX)
            .number(kind::U16, 1000_u16)
            .number(kind::U32, 100_000_u32)
            .number(kind::U64, 1_u64 << 40)
            .number(kind::S8, i8::MIN)
            .number(kind::S16, 1000_i16 * sign)
            .number(kind::S32, 100_000_i32 * i32::from(sign))
            .number(kind::S64, (1_i64 << 40) * i64::from(sign))
            .bytes(kind::BYTES, bytes)
            .flag(kind::FLAG)
            .nest(kind::NEST, &one(7, "seven"));
        let replies = control.call(command::KINDS, &attributes).unwrap();
        let [reply] = &replies[..] else { panic!("{replies:?}") };
        assert_eq!(reply.attributes, attributes);
    }
    let replies = control.call(command::KINDS, &Attributes::new()).unwrap();
    assert_eq!(replies[0].attributes, Attributes::new());
}

#[test]
fn the_controller_shows_what_each_command_is_checked_for() {
    let mut control = Control::new();
    let policies = control.client.policies(&control.family).unwrap();
    let policy = |command: u8, dump: bool| {
        let (call, list) = policies.commands[&u16::from(command)];
        let index = if dump { list } else { call }.unwrap();
        &policies.policies[&u16::try_from(index).unwrap()]
    };
    let numbers = |command, dump| policy(command, dump).keys().copied().collect::<Vec<_>>();
    assert_eq!(numbers(command::ECHO, false), [abi::MSG]);
    assert_eq!(numbers(command::ADD, false), [abi::RECORD, abi::COUNT, abi::REPLACE]);
    // One command, two policies.
    assert_eq!(numbers(command::GET, false), [abi::NUMBER]);
    assert_eq!(numbers(command::GET, true), [abi::FROM]);

    let msg = &policy(command::ECHO, false)[&abi::MSG];
    assert_eq!((msg.kind, msg.max_length), (12, Some(u32::from(abi::MSG_MAX))));
    let add = policy(command::ADD, false);
    let range = |checked: &Checked| (checked.min.unwrap(), checked.max.unwrap());
    assert_eq!(range(&add[&abi::COUNT]), (1, i128::from(RECORDS_MAX)));
    let nested = u16::try_from(add[&abi::RECORD].nested.unwrap()).unwrap();
    let inner = &policies.policies[&nested];
    assert_eq!(range(&inner[&record::NUMBER]), (1, i128::from(NUMBER_MAX)));
    assert_eq!(inner[&record::TEXT].max_length, Some(u32::from(abi::TEXT_MAX)));

    let kinds = policy(command::KINDS, false);
    assert_eq!(kinds.len(), 11);
    let full: i128 = 1 << 40;
    for (number, bounds) in [
        (kind::U16, (1, 1000)),
        (kind::U32, (1, 100_000)),
        (kind::U64, (1, full)),
        (kind::S16, (-1000, 1000)),
        (kind::S32, (-100_000, 100_000)),
        (kind::S64, (-full, full)),
    ] {
        assert_eq!(range(&kinds[&number]), bounds, "{number}");
    }
    let bytes = &kinds[&kind::BYTES];
    assert_eq!((bytes.min_length, bytes.max_length), (Some(4), Some(8)));
}

#[test]
fn the_controller_knows_commands_and_groups() {
    let control = Control::new();
    let (perm, call, list, policy) = (0x10, 2, 4, 8);
    let expected = BTreeMap::from([
        (command::ECHO, call | policy),
        (command::ADD, call | policy | perm),
        (command::REMOVE, call | policy | perm),
        (command::GET, call | list | policy),
        (command::KINDS, call | policy),
    ]);
    assert_eq!(control.family.commands, expected);
    let groups: Vec<_> = control.family.groups.keys().collect();
    assert_eq!(groups, [ECHOES, RECORDS]);
    assert!(matches!(control.family.group("none"), Err(genl::Error::NoGroup { .. })));
    let missing = Client::new().unwrap().family("NO_SUCH_FAMILY").unwrap_err();
    assert!(matches!(missing, genl::Error::NoFamily { .. }), "{missing}");
}

// ---- Records and dumps --------------------------------------------------------------------------

// new: begin
#[test]
fn records_are_added_found_replaced_and_removed() {
    let mut control = Control::fresh();
    control.add(5, 1, "five");
    control.add(1, 3, "few");
    let get = |control: &mut Control, number| {
        let replies = control.call(command::GET, &number_of(number)).unwrap();
        record_of(&replies[0].attributes)
    };
    assert_eq!(get(&mut control, 5), (5, "five".to_owned()));
    assert_eq!(get(&mut control, 2), (2, "few".to_owned()));
    let all = |pairs: &[(u32, &str)]| -> BTreeMap<u32, String> {
        pairs.iter().map(|(number, text)| (*number, (*text).to_owned())).collect()
    };
    assert_eq!(control.list(), all(&[(1, "few"), (2, "few"), (3, "few"), (5, "five")]));
    // All or nothing.
    assert_eq!(control.refused(command::ADD, &some(4, 2, "new")), Err(Errno::EXIST));
    assert_eq!(control.list().len(), 4);
    control.call(command::ADD, &some(4, 2, "new").flag(abi::REPLACE)).unwrap();
    control.remove(1);
    assert_eq!(control.refused(command::REMOVE, &number_of(1)), Err(Errno::NOENT));
    assert_eq!(control.list(), all(&[(2, "few"), (3, "few"), (4, "new"), (5, "new")]));
    let from = Attributes::new().number(abi::FROM, 4_u32);
    let dump = control.client.dump(&control.family, command::GET, &from).unwrap();
    assert_eq!(dump.records.len(), 2);
}

// new: end
#[test]
fn a_dump_has_more_than_100_000_records() {
    let mut control = Control::fresh();
    control.add(1, MANY, "one of many");
    let list = control.list();
    assert!(list.keys().copied().eq(1..=MANY));
    assert!(list.values().all(|text| text == "one of many"));
    // As many as there may be, and no more.
    control.add(MANY + 1, RECORDS_MAX - MANY, "more");
    let one_more = some(NUMBER_MAX, 1, "one more");
    let refusal = control.refusal(command::ADD, &one_more);
    assert_eq!((refusal.errno, refusal.attribute), (Errno::NOSPC, vec![abi::COUNT]));
    assert_eq!(refusal.message.as_deref(), Some("there would be too many records"));
    // In place of others there may.
    control.call(command::ADD, &some(1, MANY, "new").flag(abi::REPLACE)).unwrap();
}

// new: begin
/// Sends a request for a dump, and receives what comes with the first buffer.
fn begin_dump(control: &mut Control) -> (u32, Vec<Message>) {
    let payload = genl::payload(command::GET, 1, &Attributes::new());
    let socket = control.client.socket();
    let sequence = socket.send(control.family.id, REQUEST | DUMP, &payload).unwrap();
    let first = vec![socket.receive().unwrap()];
    (sequence, first)
}

/// The rest of it, up to its end, and whether it was consistent.
fn end_dump(control: &mut Control, mut messages: Vec<Message>) -> (Vec<u32>, bool) {
    let mut consistent = true;
    loop {
        let message = control.client.socket().receive().unwrap();
        consistent &= message.flags & DUMP_INTR == 0;
        if message.kind == 3 {
            break;
        }
        messages.push(message);
    }
    let numbers = messages.iter().map(|message| {
        record_of(&Attributes::from_bytes(&message.payload[genl::HEADER..])).0
    });
    (numbers.collect(), consistent)
}

#[test]
fn a_dump_goes_on_while_records_change_and_says_so() {
    let (mut reader, mut writer) = (Control::fresh(), Control::new());
    writer.add(1, 10_000, "stays");
    let (_, first) = begin_dump(&mut reader);
    // Of those that the reader has seen, of those to come, and at the end.
    writer.remove(1);
    writer.remove(9_999);
    writer.add(20_000, 1, "new");
    writer.add(1, 1, "back");
    let (numbers, consistent) = end_dump(&mut reader, first);
    assert!(!consistent);
    assert!(numbers.is_sorted_by(|a, b| a < b), "in order, and each once");
    let expected = (1..=10_000).filter(|number| *number != 9_999).chain([20_000]);
    assert!(numbers.into_iter().eq(expected));
    // Nothing changes, so it is consistent.
    let (_, first) = begin_dump(&mut reader);
    assert!(end_dump(&mut reader, first).1);
}

// new: end
#[test]
fn dumps_and_changes_may_come_all_at_once() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let mut control = Control::fresh();
    // These stay, the others come and go.
    control.add(1, 2000, "stays");
    thread::scope(|scope| {
        for first in [10_000, 20_000] {
            scope.spawn(move || {
                let mut control = Control::new();
                for turn in 0..50 {
                    control.add(first + turn, 10, "goes");
                    (first + turn..first + turn + 10).for_each(|number| control.remove(number));
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let mut control = Control::new();
                let none = Attributes::new();
                for _ in 0..10 {
                    let dump = control.client.dump(&control.family, command::GET, &none).unwrap();
                    let numbers = dump.records.iter().map(|reply| record_of(&reply.attributes).0);
                    let numbers: Vec<_> = numbers.collect();
                    assert!(numbers.is_sorted_by(|a, b| a < b));
                    assert!(numbers.into_iter().take(2000).eq(1..=2000));
                }
            });
        }
    });
    assert_eq!(control.list().len(), 2000);
}

#[test]
fn a_socket_has_one_dump_at_a_time() {
    let mut control = Control::fresh();
    control.add(1, 10_000, "one of many");
    let (_, first) = begin_dump(&mut control);
    let payload = genl::payload(command::GET, 1, &Attributes::new());
    let family = control.family.id;
    let socket = control.client.socket();
    let second = socket.send(family, REQUEST | DUMP, &payload).unwrap();
    // The refusal comes in between. What belongs to the first dump goes on.
    let (mut messages, mut refused) = (first, false);
    loop {
        let message = socket.receive().unwrap();
        if message.sequence == second {
            assert_eq!(message.payload[..4], (-Errno::BUSY.raw_os_error()).to_ne_bytes());
            refused = true;
        } else if message.kind == 3 {
            break;
        } else {
            messages.push(message);
        }
    }
    assert!(refused);
    assert_eq!(messages.len(), 10_000);
}

// ---- Notifications ------------------------------------------------------------------------------

// new: begin
#[test]
fn all_listeners_hear_of_each_change_in_order() {
    let mut control = Control::fresh();
    let listeners = (0..3).map(|_| Listener::new(&control.family, &[RECORDS]).unwrap());
    let mut listeners: Vec<_> = listeners.collect();
    for number in 1..=20 {
        control.add(number, 1, "new");
        control.remove(number);
    }
    for listener in &mut listeners {
        for number in 1..=20 {
            let heard = listener.next(LIMIT).unwrap().unwrap();
            assert_eq!((heard.command, heard.sequence, heard.port), (command::ADDED, 0, 0));
            assert_eq!(heard.attributes, some(number, 1, "new"));
            let heard = listener.next(LIMIT).unwrap().unwrap();
            assert_eq!(heard.command, command::REMOVED);
            assert_eq!(heard.attributes, number_of(number));
        }
        assert_eq!(listener.next(SOON).unwrap(), None);
    }
    // What was refused is no news, and who has left hears nothing.
    let group = control.family.group(RECORDS).unwrap();
    listeners[0].socket().leave(group).unwrap();
    assert_eq!(control.refused(command::REMOVE, &number_of(1)), Err(Errno::NOENT));
    assert_eq!(listeners[1].next(SOON).unwrap(), None);
    control.add(1, 1, "new");
    assert_eq!(listeners[0].next(SOON).unwrap(), None);
    assert!(listeners[1].next(LIMIT).unwrap().is_some());
}

// new: end
#[test]
fn administrators_hear_what_others_say() {
    let mut control = Control::fresh();
    let mut listener = Listener::new(&control.family, &[RECORDS, ECHOES]).unwrap();
    as_nobody(|| Control::new().call(command::ECHO, &msg("a secret")).map(drop).unwrap());
    let heard = listener.next(LIMIT).unwrap().unwrap();
    assert_eq!((heard.command, heard.attributes), (command::HEARD, msg("a secret")));
    control.add(1, 1, "new");
    assert_eq!(listener.next(LIMIT).unwrap().unwrap().command, command::ADDED);
}

#[test]
fn a_slow_listener_is_told_what_it_missed_and_recovers() {
    let mut control = Control::fresh();
    let mut slow = Listener::new(&control.family, &[RECORDS]).unwrap();
    let mut fast = Listener::new(&control.family, &[RECORDS]).unwrap();
    slow.socket().set_receive_buffer(4096).unwrap();
    let count = 200;
    for number in 1..=count {
        control.add(number, 1, "news");
        assert!(fast.next(LIMIT).unwrap().is_some(), "this one keeps up");
    }

    // It is told first, then gets what had found room.
    let error = slow.next(LIMIT).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::NOBUFS));
    assert!(matches!(error, genl::Error::Netlink(netlink::Error::Lost)), "{error}");
    let mut old = 0;
    while slow.next(SOON).unwrap().is_some() {
        old += 1;
    }
    assert!((1..count).contains(&old), "{old}");
    // What there is, it learns from a dump; and of what comes after, as ever.
    assert_eq!(control.list().len(), count as usize);
    control.remove(7);
    let heard = slow.next(LIMIT).unwrap().unwrap();
    assert_eq!((heard.command, heard.attributes), (command::REMOVED, number_of(7)));
}

// ---- Network namespaces -------------------------------------------------------------------------

// new: begin
#[test]
fn each_network_namespace_has_its_own_records_and_listeners() {
    let mut here = Control::fresh();
    let mut listener = Listener::new(&here.family, &[RECORDS]).unwrap();
    let other = Network::new().unwrap();
    let mut there = other.enter(Control::new);
    let mut foreign_listener = other.enter(|| Listener::new(&there.family, &[RECORDS]).unwrap());
    assert_eq!(there.family, here.family);

    here.add(1, 1, "here");
    there.add(1, 2, "there");
    assert_eq!(here.list().len(), 1);
    assert_eq!(there.list().len(), 2);
    for (listener, text) in [(&mut listener, "here"), (&mut foreign_listener, "there")] {
        let heard = listener.next(LIMIT).unwrap().unwrap();
        assert_eq!(record_of(&heard.attributes), (1, text.to_owned()));
        assert_eq!(listener.next(SOON).unwrap(), None);
    }
    // A new one has none.
    let third = Network::new().unwrap();
    assert!(third.enter(|| Control::new().list()).is_empty());
}

// new: end
#[test]
fn namespaces_come_and_go_with_records_and_listeners_in_them() {
    let _watchdog = Watchdog::new(TOO_LONG);
    for _ in 0..5 {
        let net = Network::new().unwrap();
        let control = net.enter(|| {
            let mut control = Control::new();
            control.add(1, 1000, "of a short life");
            begin_dump(&mut control);
            control
        });
        let _listener = net.enter(|| Listener::new(&control.family, &[RECORDS, ECHOES]).unwrap());
    }
}

// ---- Tools that nobody here wrote -----------------------------------------------------------------

#[test]
fn genl_of_iproute2_knows_the_family() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let family = Control::new().family;
    let one = Tool::new("genl").args(["ctrl", "get", "name", FAMILY]).run().success();
    assert!(one.contains(&format!("Name: {FAMILY}")), "{one}");
    assert!(one.contains(&format!("ID: {:#x}  Version: 0x1  header size: 0", family.id)), "{one}");
    for (name, id) in &family.groups {
        assert!(one.contains(&format!("ID-{id:#x}  name: {name}")), "{one}");
    }
    for command in family.commands.keys() {
        assert!(one.contains(&format!("ID-{command:#x}")), "{one}");
    }
    let all = Tool::new("genl").args(["ctrl", "list"]).run().success();
    assert!(all.contains(&format!("Name: {FAMILY}")) && all.contains("Name: nlctrl"), "{all}");
    let policy = Tool::new("genl").args(["ctrl", "policy", "name", FAMILY]).run().success();
    for text in ["type:NUL_STRING max len:255", "type:NESTED", "range:[1, 1000000]"] {
        let there = policy.contains(text) || policy.contains(&text.replace("range:[1, ", "1 ... "));
        println!("{text}: {there}");
    }
    assert!(policy.contains("NUL_STRING") && policy.contains("NESTED"), "{policy}");
}

#[test]
fn libnls_tools_know_the_family() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let family = Control::new().family;
    let list = Tool::new("genl-ctrl-list").arg("--details").run().success();
    let from = list.find(FAMILY).unwrap_or_else(|| panic!("{list}"));
    let text = &list[from..];
    assert!(list[..from].ends_with(&format!("{:#06x} ", family.id)), "{list}");
    for name in [RECORDS, ECHOES] {
        assert!(text.contains(name), "{text}");
    }
    println!("{text}");
}

#[test]
fn the_kernels_own_python_client_speaks_by_the_specification() {
    drop(Away::new(MODULE, MODULE_FILE));
    let spec = "/tmp/control_exmpl.yaml";
    fs::write(spec, include_str!("control_exmpl.yaml")).unwrap();
    let cli = module_tree().join("build/tools/net/ynl/pyynl/cli.py");
    // All in one call, as Python takes long to start in the VM.
    let run = |arguments: &[&str]| {
        let ynl = Tool::new("/usr/bin/python3").arg(&cli).args(["--spec", spec, "--no-schema"]);
        ynl.args(["--output-json"]).args(arguments).limit(TOO_LONG).run()
    };
    let record = r#"{"record": {"number": 3, "text": "from python"}, "count": 2}"#;
    let said = run(&["--multi", "echo", r#"{"msg": "hello"}"#, "--multi", "add", record]).success();
    assert!(said.contains("hello world from kernel space"), "{said}");
    let list = run(&["--dump", "get"]).success();
    assert!(list.contains(r#"{"record": {"number": 3, "text": "from python"}}"#), "{list}");
    assert!(list.contains(r#"{"record": {"number": 4, "text": "from python"}}"#), "{list}");
    assert_eq!(Control::new().list().len(), 2);
}

#[test]
fn the_specification_says_what_abi_rs_says() {
    let spec = include_str!("control_exmpl.yaml");
    for (name, value) in [
        ("msg-max", u32::from(abi::MSG_MAX)),
        ("text-max", u32::from(abi::TEXT_MAX)),
        ("number-max", NUMBER_MAX),
        ("records-max", RECORDS_MAX),
    ] {
        assert!(spec.contains(&format!("    name: {name}\n    value: {value}\n")), "{name}");
    }
}

// ---- Without memory -----------------------------------------------------------------------------

#[test]
fn any_allocation_may_fail() {
    let control = Mutex::new(Control::fresh());
    let listener = Listener::new(&control.lock().unwrap().family, &[RECORDS]).unwrap();
    let add = genl::payload(command::ADD, 1, &some(1, 3, "new"));
    let family = control.lock().unwrap().family.id;
    let places = at_each_place(
        // All is done in this call. To wait for the answer would ask for the time, which must not fail.
        || control.lock().unwrap().client.socket().send(family, REQUEST | ACK, &add),
        |place, sent| {
            let mut control = control.lock().unwrap();
            let result = sent.and_then(|sequence| control.client.socket().replies(sequence, &add));
            // What could not be acknowledged may have been done all the same.
            let there = control.list().len();
            match result {
                Ok(_) => assert_eq!(there, 3, "place {place}"),
                Err(netlink::Error::Refused(refusal)) => {
                    assert_eq!((refusal.errno, there), (Errno::NOMEM, 0), "place {place}");
                }
                Err(error) => {
                    let expected = [Some(Errno::NOBUFS), Some(Errno::NOMEM), Some(Errno::FAULT)];
                    assert!(expected.contains(&error.errno()), "place {place}: {error}");
                }
            }
            if there > 0 {
                (1..=3).for_each(|number| control.remove(number));
            }
        },
    );
    drop(listener);
    assert!(places.is_none_or(|places| places > 5), "{places:?}");
}

#[test]
fn a_load_that_fails_leaves_nothing() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let away = Away::new(MODULE, MODULE_FILE);
    let mut loads = Vec::new();
    let places = at_last_places(
        60,
        || module::load(MODULE_FILE, "").map_err(|error| error.errno()),
        |_, loaded| {
            let there = Client::new().unwrap().family(FAMILY).is_ok();
            assert_eq!(there, loaded.is_ok(), "{loaded:?}");
            if loaded.is_ok() {
                module::unload(MODULE).unwrap();
            }
            loads.push(loaded);
        },
    );
    drop(away);
    let failed = loads.iter().filter(|loaded| loaded.is_err()).count();
    println!("{failed} loads failed");
    assert!(places.is_none() || failed > 5, "{loads:?}");
    assert!(Control::new().list().is_empty());
}

// ---- Unloading ----------------------------------------------------------------------------------

#[test]
fn the_family_comes_and_goes() {
    let mut control = Control::new();
    let notify = control.client.family(controller::NAME).unwrap();
    let mut listener = Listener::new(&notify, &[controller::GROUP]).unwrap();
    let away = Away::new(MODULE, MODULE_FILE);
    let echo = msg("hello");
    assert_eq!(control.refused(command::ECHO, &echo), Err(Errno::NOENT));
    assert!(matches!(control.client.family(FAMILY), Err(genl::Error::NoFamily { .. })));
    drop(away);
    let new = control.client.family(FAMILY).unwrap();
    // `CTRL_CMD_*`: both groups, the family; the family, both groups.
    let heard = (0..6).map(|_| listener.next(LIMIT).unwrap().unwrap());
    let heard: Vec<_> = heard
        .inspect(|heard| assert_eq!(heard.attributes.get_string(2).unwrap(), FAMILY))
        .map(|heard| heard.command)
        .collect();
    assert_eq!(heard, [8, 8, 2, 1, 7, 7]);
    control.family = new;
    control.call(command::ECHO, &echo).unwrap();
}

#[test]
fn a_dump_keeps_the_module() {
    let mut control = Control::fresh();
    control.add(1, 10_000, "one of many");
    let (_, first) = begin_dump(&mut control);
    let unload = || module::unload(MODULE).map_err(|error| error.errno().unwrap());
    assert_eq!(unload(), Err(Errno::AGAIN));
    assert_eq!(end_dump(&mut control, first).0.len(), 10_000);
    assert_eq!(unload(), Ok(()));
    module::load(MODULE_FILE, "").unwrap();
    // Or until who began it is gone.
    let mut control = Control::new();
    control.add(1, 10_000, "one of many");
    begin_dump(&mut control);
    assert_eq!(unload(), Err(Errno::AGAIN));
    drop(control);
    assert_eq!(unload(), Ok(()));
    module::load(MODULE_FILE, "").unwrap();
}

#[test]
fn it_unloads_while_listeners_are_joined() {
    let _watchdog = Watchdog::new(TOO_LONG);
    for cycle in 0..cycles() {
        let mut control = Control::fresh();
        let groups = [RECORDS, ECHOES];
        let listeners = (0..4).map(|_| Listener::new(&control.family, &groups).unwrap());
        let mut listeners: Vec<_> = listeners.collect();
        control.add(1, 1, "new");
        drop(Away::new(MODULE, MODULE_FILE));
        control.family = control.client.family(FAMILY).unwrap();
        control.add(1, 1, "not for them");
        for listener in &mut listeners {
            let heard = listener.next(LIMIT).unwrap().unwrap();
            assert_eq!(record_of(&heard.attributes), (1, "new".to_owned()), "cycle {cycle}");
            // They are no members any more, of whatever has the numbers of the groups now.
            let nothing = listener.socket().receive_within(Duration::ZERO).unwrap();
            assert_eq!(nothing, None, "cycle {cycle}");
        }
    }
}

// new: begin
/// Does something with the family, if it is there.
fn try_it(what: impl Fn(&mut Client, &Family) -> Result<(), genl::Error>) -> Use {
    let mut client = Client::new().unwrap();
    let done = client.family(FAMILY).and_then(|family| what(&mut client, &family));
    match done {
        Ok(()) => Use::Reached,
        // It went, or is not live yet.
        Err(error) => match error.errno() {
            Some(Errno::NOENT | Errno::PROTONOSUPPORT | Errno::INVAL) => Use::Missed,
            _ => panic!("{error}"),
        },
    }
}

// new: end
fn call() -> Use {
    try_it(|client, family| client.call(family, command::KINDS, &Attributes::new()).map(drop))
}

// new: begin
fn change() -> Use {
    try_it(|client, family| {
        let add = some(1, 100, "new").flag(abi::REPLACE);
        client.call(family, command::ADD, &add).map(drop)
    })
}

fn list() -> Use {
    try_it(|client, family| client.dump(family, command::GET, &Attributes::new()).map(drop))
}

// new: end
fn policies() -> Use {
    try_it(|client, family| client.policies(family).map(drop))
}

fn listen() -> Use {
    try_it(|_, family| {
        let mut listener = Listener::new(family, &[RECORDS])?;
        listener.next(Duration::from_millis(1)).map(drop)
    })
}

#[test]
fn it_unloads_while_commands_are_called() {
    let _watchdog = Watchdog::new(TOO_LONG);
    while_used(MODULE, MODULE_FILE, LIMIT, &[&call, &change]);
}

// new: begin
#[test]
fn it_unloads_while_lists_are_read() {
    let _watchdog = Watchdog::new(TOO_LONG);
    while_used(MODULE, MODULE_FILE, LIMIT, &[&change, &list]);
}

// new: end
#[test]
fn it_unloads_while_everything_is_done() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let elsewhere = Network::new().unwrap();
    let there = || elsewhere.enter(change);
    let users: [&(dyn Fn() -> Use + Sync); 5] = [&change, &list, &policies, &listen, &there];
    while_used(MODULE, MODULE_FILE, LIMIT, &users);
    assert!(Path::new("/sys/module").join(MODULE).exists());
}
