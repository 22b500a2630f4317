// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a user of the commands can rely on, tried on both nodes and as both kinds of caller.
//!
//! These run in the lab's VM as root, each in a process of its own, with the module loaded.

// new: begin
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use callgate::Errno;
use callgate::chardev::{self, Device};
use callgate::compat::{self, As32Bit};
use callgate::ioctl::{
    Buffer, Error, Exchange, Extensible, FromKernel, NoArgument, StringFromKernel, StringToKernel,
    Target, ToKernel, with_size,
};
use callgate::kmsg::Log;
use callgate::module;
use callgate::testing::Refusals;
use callgate::testing::memory::{self, Guarded, Hole, Shared};
use callgate::testing::worker::{Watchdog, Worker};
use rustix::fs::OFlags;
use rustix::process::{Gid, Uid};
use zerocopy::IntoBytes as _;

use super::abi::{self, MESSAGE_CAPACITY, Message, STATUS_RESET, STATUS_SIZE_V0, Status};

// new: end
const WRITE: StringToKernel = StringToKernel::new(abi::WRITE, MESSAGE_CAPACITY);
const READ: StringFromKernel = StringFromKernel::new(abi::READ, MESSAGE_CAPACITY);
// new: begin
const CLEAR: NoArgument = NoArgument::new(abi::CLEAR);
const SET: ToKernel<Message> = ToKernel::new(abi::SET);
const GET: FromKernel<Message> = FromKernel::new(abi::GET);
const EXCHANGE: Exchange<Message> = Exchange::new(abi::EXCHANGE);
const STATUS: Extensible<Status> = Extensible::new(abi::STATUS);

/// Every wait ends here at the latest; it is generous, because an emulated debug kernel is slow.
const LIMIT: Duration = Duration::from_secs(30);

/// A test that takes longer than this has lost its way.
const TOO_LONG: Duration = Duration::from_secs(160);

const MODULE: &str = "callgate_ioctl";
const MODULE_FILE: &str = "/modules/callgate_ioctl.ko";

/// What buffers are filled with, to see what the kernel changed.
const CANARY: u8 = 0xaa;

// new: end
/// The HOWTO's device, open, with its node, which goes when this does.
struct Howto(Device, #[expect(dead_code, reason = "only to be dropped")] Watchdog);

impl Howto {
    fn new() -> Self {
        make_howto_node();
        Self(Device::open(abi::HOWTO_NODE).unwrap(), Watchdog::new(TOO_LONG))
    }
}

impl Drop for Howto {
    fn drop(&mut self) {
        let _ = chardev::remove_node(abi::HOWTO_NODE);
    }
}

fn make_howto_node() {
    let major = chardev::major(abi::DRIVER).unwrap();
    chardev::make_node(abi::HOWTO_NODE, major, abi::HOWTO_MINOR, 0o600).unwrap();
}

// new: begin
/// Runs a check as a 64-bit and as a 32-bit caller; each time on a cleared device.
macro_rules! each_way {
    ($check:expr) => {{
        assert!(compat::is_available(), "this kernel needs CONFIG_IA32_EMULATION=y");
        // new: end
        let howto = Howto::new();
        // new: begin
        let store = Device::open(abi::STORE_NODE).unwrap();
        for (node, device) in [
            // new: end
            (abi::HOWTO_NODE, &howto.0),
            // new: begin
            (abi::STORE_NODE, &store),
        ] {
            println!("{node}, 64-bit caller");
            CLEAR.call(device).unwrap();
            $check(device);
            println!("{node}, 32-bit caller");
            CLEAR.call(device).unwrap();
            $check(&As32Bit(device));
            CLEAR.call(device).unwrap();
        }
    }};
}

/// The device, open.
struct Store(Device, #[expect(dead_code, reason = "only to be dropped")] Watchdog);

impl AsFd for Store {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The device, open and cleared.
fn store() -> Store {
    let store = Store(Device::open(abi::STORE_NODE).unwrap(), Watchdog::new(TOO_LONG));
    CLEAR.call(&store).unwrap();
    store
}

/// `bytes` as a message; the bytes that do not count are zero.
fn message(bytes: &[u8]) -> Message {
    let mut message = Message { len: u32::try_from(bytes.len()).unwrap(), bytes: [0; 200] };
    message.bytes[..bytes.len()].copy_from_slice(bytes);
    message
}

/// Sends a command that no type describes, with `payload` at the start of its buffer and canaries
/// behind it, and returns what the driver made of it.
fn issue(target: &impl Target, number: u32, payload: &[u8]) -> (Result<i32, Errno>, Buffer) {
    let mut buffer = Buffer::new(&[CANARY; Buffer::SIZE]);
    buffer.bytes_mut()[..payload.len()].copy_from_slice(payload);
    let result = target.issue(number, &mut buffer);
    (result, buffer)
}

// new: end
fn refusal(target: &impl Target, number: u32, payload: &[u8]) -> Result<i32, Errno> {
    issue(target, number, payload).0
}

// new: begin
fn status(target: &impl Target) -> Status {
    STATUS.call(target, &Status::default()).unwrap()
}

// new: end
// ---- Numbers ------------------------------------------------------------------------------------

#[test]
fn the_numbers_are_the_howtos() {
    assert_eq!((abi::READ, abi::WRITE), (0x8004_4700, 0x4004_4701));
}

#[test]
fn every_command_answers_zero() {
    fn check(target: &impl Target) {
        let (zeroes, set) = ([0; 204], message(b"x"));
        for (number, payload) in [
            (abi::WRITE, &b"hello\0"[..]),
            (abi::READ, &[]),
            (abi::CLEAR, &[]),
            (abi::SET, set.as_bytes()),
            (abi::GET, &[]),
            (abi::EXCHANGE, set.as_bytes()),
            (abi::STATUS, &zeroes),
        ] {
            assert_eq!(issue(target, number, payload).0, Ok(0), "{number:#x}");
        }
    }
    each_way!(check);
}

// ---- The HOWTO's commands -----------------------------------------------------------------------

#[test]
fn a_string_written_is_read_back() {
    fn check(target: &impl Target) {
        WRITE.call(target, c"hello world").unwrap();
        assert_eq!(READ.call(target).unwrap().as_c_str(), c"hello world");
        assert_eq!(READ.call(target).unwrap().as_c_str(), c"hello world");
    }
    each_way!(check);
}

#[test]
fn before_any_write_the_string_is_empty() {
    fn check(target: &impl Target) {
        assert_eq!(READ.call(target).unwrap().as_c_str(), c"");
        assert_eq!(GET.call(target).unwrap(), message(b""));
    }
    module::unload(MODULE).unwrap();
    module::load(MODULE_FILE, "").unwrap();
    let store = Device::open(abi::STORE_NODE).unwrap();
    check(&store);
    each_way!(check);
}

#[test]
fn storing_is_logged_with_the_length() {
    // A new device has not used up what it may log in a second.
    module::unload(MODULE).unwrap();
    module::load(MODULE_FILE, "").unwrap();
    let store = store();
    let mut log = Log::from_now().unwrap();
    WRITE.call(&store, c"hello world").unwrap();
    assert!(log.wait_for("callgate_ioctl: message stored, 11 bytes", LIMIT).unwrap());
    SET.call(&store, &message(&[b'x'; 200])).unwrap();
    assert!(log.wait_for("callgate_ioctl: message stored, 200 bytes", LIMIT).unwrap());
    EXCHANGE.call(&store, &message(b"")).unwrap();
    assert!(log.wait_for("callgate_ioctl: message stored, 0 bytes", LIMIT).unwrap());
}

#[test]
fn storing_a_lot_does_not_flood_the_log() {
    const STORES: u32 = 500;
    let store = store();
    let mut log = Log::from_now().unwrap();
    let start = Instant::now();
    for _ in 0..STORES {
        SET.call(&store, &message(b"flood")).unwrap();
    }
    // Ten a second; and of the first and the last second perhaps only a part.
    let most = 10 * (start.elapsed().as_secs() + 2);
    let mut lines = 0;
    while let Some(record) = log.next(Duration::ZERO).unwrap() {
        lines += u64::from(record.text.contains("message stored"));
    }
    assert!(lines <= most, "{lines} lines, and not at most {most}");
    assert_eq!(status(&store).stores, u64::from(STORES), "all are counted");
}

#[test]
fn strings_of_every_length_survive() {
    fn check(target: &impl Target) {
        for len in (0..MESSAGE_CAPACITY).step_by(13).chain([1, 198, 199]) {
            let mut string = vec![b's'; len];
            string.push(0);
            let string = CStr::from_bytes_with_nul(&string).unwrap();
            WRITE.call(target, string).unwrap();
            assert_eq!(READ.call(target).unwrap().as_c_str(), string, "{len} bytes");
            assert_eq!(status(target).message_len as usize, len);
        }
    }
    each_way!(check);
}

#[test]
fn what_follows_the_nul_is_not_stored() {
    fn check(target: &impl Target) {
        assert_eq!(refusal(target, abi::WRITE, b"short\0and secret"), Ok(0));
        assert_eq!(GET.call(target).unwrap(), message(b"short"));
    }
    each_way!(check);
}

#[test]
fn reading_changes_nothing_behind_the_nul_but_to_zero() {
    fn check(target: &impl Target) {
        WRITE.call(target, c"a long message that was there before").unwrap();
        WRITE.call(target, c"hello").unwrap();
        let (result, buffer) = issue(target, abi::READ, &[]);
        assert_eq!(result, Ok(0));
        let (string, rest) = buffer.bytes().split_at(6);
        assert_eq!(string, b"hello\0");
        let (within, beyond) = rest.split_at(MESSAGE_CAPACITY - 6);
        assert!(within.iter().all(|byte| [0, CANARY].contains(byte)), "{within:x?}");
        assert!(beyond.iter().all(|byte| *byte == CANARY), "it moved more than it may");
    }
    each_way!(check);
}

#[test]
fn a_string_may_end_where_memory_ends() {
    fn check(target: &impl Target) {
        let mut string = Guarded::holding(b"on the edge\0").unwrap();
        assert_eq!(string.ioctl(target, abi::WRITE, 0), Ok(0));
        assert_eq!(READ.call(target).unwrap().as_c_str(), c"on the edge");
        let mut only_nul = Guarded::holding(b"\0").unwrap();
        assert_eq!(only_nul.ioctl(target, abi::WRITE, 0), Ok(0));
        assert_eq!(READ.call(target).unwrap().as_c_str(), c"");
        let mut room = Guarded::new(MESSAGE_CAPACITY).unwrap();
        assert_eq!(string.ioctl(target, abi::WRITE, 0), Ok(0));
        assert_eq!(room.ioctl(target, abi::READ, 0), Ok(0));
        assert_eq!(&room.bytes()[..12], b"on the edge\0");
    }
    each_way!(check);
}

#[test]
fn a_string_that_runs_off_the_end_is_not_stored() {
    fn check(target: &impl Target) {
        WRITE.call(target, c"before").unwrap();
        for len in [0, 1, 11, 199] {
            let mut string = Guarded::holding(&vec![b'x'; len]).unwrap();
            assert_eq!(string.ioctl(target, abi::WRITE, 0), Err(Errno::FAULT), "{len} bytes");
            assert_eq!(READ.call(target).unwrap().as_c_str(), c"before", "{len} bytes");
        }
        let mut room = Guarded::new(5).unwrap();
        assert_eq!(room.ioctl(target, abi::READ, 0), Err(Errno::FAULT), "no room for the NUL");
    }
    each_way!(check);
}

#[test]
fn a_message_with_no_room_for_the_nul_cannot_be_read_as_a_string() {
    fn check(target: &impl Target) {
        SET.call(target, &message(&[b'x'; 199])).unwrap();
        assert_eq!(READ.call(target).unwrap().as_bytes(), [b'x'; 199]);
        SET.call(target, &message(&[b'x'; 200])).unwrap();
        let (result, buffer) = issue(target, abi::READ, &[]);
        assert_eq!(result, Err(Errno::MSGSIZE));
        assert!(buffer.bytes().iter().all(|byte| *byte == CANARY), "nothing was moved");
        assert_eq!(GET.call(target).unwrap(), message(&[b'x'; 200]));
    }
    each_way!(check);
}

// ---- The four kinds of argument -----------------------------------------------------------------

// new: begin
#[test]
fn a_message_set_is_got_back() {
    fn check(target: &impl Target) {
        for len in [0, 1, 11, 199, 200] {
            let bytes: Vec<u8> = (0..len).collect();
            SET.call(target, &message(&bytes)).unwrap();
            assert_eq!(GET.call(target).unwrap(), message(&bytes), "{len} bytes");
        }
    }
    each_way!(check);
}

// new: end
#[test]
fn strings_and_messages_are_the_same_store() {
    fn check(target: &impl Target) {
        WRITE.call(target, c"from a string").unwrap();
        assert_eq!(GET.call(target).unwrap(), message(b"from a string"));
        SET.call(target, &message(b"from a struct")).unwrap();
        assert_eq!(READ.call(target).unwrap().as_c_str(), c"from a struct");
    }
    each_way!(check);
}

// new: begin
#[test]
fn bytes_beyond_the_length_do_not_travel() {
    fn check(target: &impl Target) {
        SET.call(target, &message(&[b'o'; 200])).unwrap();
        let mut sent = message(b"hello");
        sent.bytes[5..].fill(b's');
        SET.call(target, &sent).unwrap();
        let (result, buffer) = issue(target, abi::GET, &[]);
        assert_eq!(result, Ok(0));
        assert_eq!(&buffer.bytes()[..204], message(b"hello").as_bytes());
        assert!(buffer.bytes()[204..].iter().all(|byte| *byte == CANARY));
        assert_eq!(EXCHANGE.call(target, &sent).unwrap(), message(b"hello"));
    }
    each_way!(check);
}

#[test]
fn a_message_too_long_changes_nothing() {
    fn check(target: &impl Target) {
        SET.call(target, &message(b"before")).unwrap();
        for len in [201, 204, 256, 1 << 16, 1 << 31, u32::MAX] {
            let too_long = Message { len, bytes: [b'x'; 200] };
            let set = SET.call(target, &too_long).unwrap_err().errno();
            let exchange = EXCHANGE.call(target, &too_long).unwrap_err().errno();
            assert_eq!((set, exchange), (Some(Errno::INVAL), Some(Errno::INVAL)), "{len}");
            assert_eq!(GET.call(target).unwrap(), message(b"before"), "{len}");
        }
    }
    each_way!(check);
}

#[test]
fn an_exchange_gives_the_message_it_replaced() {
    fn check(target: &impl Target) {
        assert_eq!(EXCHANGE.call(target, &message(b"one")).unwrap(), message(b""));
        assert_eq!(EXCHANGE.call(target, &message(b"two")).unwrap(), message(b"one"));
        assert_eq!(EXCHANGE.call(target, &message(&[3; 200])).unwrap(), message(b"two"));
        assert_eq!(EXCHANGE.call(target, &message(b"")).unwrap(), message(&[3; 200]));
        assert_eq!(GET.call(target).unwrap(), message(b""));
    }
    each_way!(check);
}

// new: end
#[test]
fn an_exchange_that_cannot_answer_has_stored_nevertheless() {
    fn check(target: &impl Target) {
        SET.call(target, &message(b"lost")).unwrap();
        // All zeroes can be read there, which is a valid message.
        assert_eq!(Hole::ReadOnly.ioctl(target, abi::EXCHANGE), Err(Errno::FAULT));
        let expected = Status { stores: 2, refused: 1, ..Status::default() };
        assert_eq!(status(target), expected);
        assert_eq!(GET.call(target).unwrap(), message(b""));
    }
    each_way!(check);
}

#[test]
fn payloads_may_end_where_memory_ends_and_stand_at_any_address() {
    fn check(target: &impl Target) {
        let bytes = message(b"edge");
        for shift in [0, 1, 2, 3] {
            let mut room = Guarded::new(204 + shift).unwrap();
            room.bytes_mut()[..204].copy_from_slice(bytes.as_bytes());
            assert_eq!(room.ioctl(target, abi::SET, 0), Ok(0));
            room.bytes_mut().fill(CANARY);
            assert_eq!(room.ioctl(target, abi::GET, shift), Ok(0));
            assert_eq!(&room.bytes()[shift..], bytes.as_bytes(), "{shift} bytes off");
        }
        for len in [0, 4, 203] {
            let mut short = Guarded::new(len).unwrap();
            for number in [abi::SET, abi::GET, abi::EXCHANGE] {
                let result = short.ioctl(target, number, 0);
                assert_eq!(result, Err(Errno::FAULT), "{number:#x} with {len} bytes");
            }
        }
        assert_eq!(GET.call(target).unwrap(), bytes);
    }
    each_way!(check);
}

#[test]
fn clearing_forgets_message_and_counters() {
    fn check(target: &impl Target) {
        WRITE.call(target, c"to be forgotten").unwrap();
        READ.call(target).unwrap();
        assert_eq!(refusal(target, 0x4777, &[]), Err(Errno::NOTTY));
        CLEAR.call(target).unwrap();
        assert_eq!(status(target), Status::default());
        assert_eq!(GET.call(target).unwrap(), message(b""));
    }
    each_way!(check);
}

#[test]
fn clearing_does_not_look_at_its_argument() {
    fn check(target: &impl Target) {
        for hole in Hole::LOW {
            assert_eq!(hole.ioctl(target, abi::CLEAR), Ok(0), "{hole:?}");
        }
    }
    each_way!(check);
}

// ---- The struct that can grow -------------------------------------------------------------------

#[test]
fn the_status_counts_what_happened() {
    fn check(target: &impl Target) {
        assert_eq!(status(target), Status::default());
        WRITE.call(target, c"hello").unwrap();
        SET.call(target, &message(b"hello world")).unwrap();
        READ.call(target).unwrap();
        GET.call(target).unwrap();
        GET.call(target).unwrap();
        assert_eq!(refusal(target, 0x4777, &[]), Err(Errno::NOTTY));
        let expected = Status { flags: 0, message_len: 11, stores: 2, loads: 3, refused: 1 };
        assert_eq!(status(target), expected);
        EXCHANGE.call(target, &message(b"four")).unwrap();
        let expected = Status { message_len: 4, stores: 3, loads: 4, ..expected };
        assert_eq!(status(target), expected);
        assert_eq!(status(target), expected, "asking does not count");
    }
    each_way!(check);
}

#[test]
fn every_refusal_counts_as_one() {
    fn check(target: &impl Target) {
        let too_long = Message { len: 201, bytes: [0; 200] };
        let flags = Status { flags: 2, ..Status::default() };
        let refusals = [
            refusal(target, abi::SET, too_long.as_bytes()),
            refusal(target, abi::WRITE, &[b'x'; 200]),
            refusal(target, abi::STATUS, flags.as_bytes()),
            refusal(target, with_size(abi::SET, 4), &[]),
            Hole::Null.ioctl(target, abi::GET),
            Hole::Null.ioctl(target, abi::WRITE),
        ];
        for (refusal, n) in refusals.into_iter().zip(1..) {
            assert!(refusal.is_err(), "number {n}");
        }
        assert_eq!(status(target), Status { refused: 6, ..Status::default() });
    }
    each_way!(check);
}

#[test]
fn both_nodes_count_and_store_for_themselves() {
    let howto = Howto::new();
    let store = store();
    CLEAR.call(&howto.0).unwrap();
    SET.call(&howto.0, &message(b"the HOWTO's")).unwrap();
    SET.call(&store, &message(b"today's")).unwrap();
    assert_eq!(GET.call(&howto.0).unwrap(), message(b"the HOWTO's"));
    assert_eq!(GET.call(&store).unwrap(), message(b"today's"));
    assert_eq!((status(&howto.0).stores, status(&store).stores), (1, 1));
}

// new: begin
#[test]
fn all_who_open_a_node_share_its_message() {
    let (first, second) = (store(), Device::open(abi::STORE_NODE).unwrap());
    SET.call(&first, &message(b"shared")).unwrap();
    drop(first);
    assert_eq!(GET.call(&As32Bit(&second)).unwrap(), message(b"shared"));
}

// new: end
#[test]
fn a_program_of_version_0_sees_what_it_knows() {
    fn check(target: &impl Target) {
        WRITE.call(target, c"hello").unwrap();
        READ.call(target).unwrap();
        let number = with_size(abi::STATUS, STATUS_SIZE_V0);
        let (result, buffer) = issue(target, number, &[0; STATUS_SIZE_V0]);
        assert_eq!(result, Ok(0));
        let known = Status { message_len: 5, stores: 1, ..Status::default() };
        assert_eq!(&buffer.bytes()[..16], &known.as_bytes()[..16]);
        let beyond = &buffer.bytes()[16..];
        assert!(beyond.iter().all(|byte| *byte == CANARY), "it knows of 16 bytes only");
        assert_eq!(STATUS.call_sized(target, 16, &Status::default()).unwrap(), known);
        let mut edge = Guarded::new(STATUS_SIZE_V0).unwrap();
        assert_eq!(edge.ioctl(target, number, 0), Ok(0));
    }
    each_way!(check);
}

#[test]
fn a_program_between_two_versions_gets_what_it_has_room_for() {
    fn check(target: &impl Target) {
        WRITE.call(target, c"hello").unwrap();
        READ.call(target).unwrap();
        let whole = status(target);
        for size in STATUS_SIZE_V0..=size_of::<Status>() {
            let (result, buffer) = issue(target, with_size(abi::STATUS, size), &vec![0; size]);
            assert_eq!(result, Ok(0), "{size} bytes");
            assert_eq!(buffer.bytes()[..size], whole.as_bytes()[..size], "{size} bytes");
            assert_eq!(buffer.bytes()[size], CANARY, "{size} bytes");
        }
    }
    each_way!(check);
}

// new: begin
#[test]
fn a_program_of_the_future_is_served_while_it_asks_for_nothing_new() {
    fn check(target: &impl Target) {
        SET.call(target, &message(b"hello")).unwrap();
        for size in [33, 40, 63, 64, 65, 96, 97, 4096, Buffer::SIZE - 1] {
            let (result, buffer) = issue(target, with_size(abi::STATUS, size), &vec![0; size]);
            assert_eq!(result, Ok(0), "{size} bytes");
            assert_eq!(&buffer.bytes()[..32], status(target).as_bytes(), "{size} bytes");
            assert!(buffer.bytes()[32..size].iter().all(|byte| *byte == 0), "{size} bytes");
            assert!(buffer.bytes()[size..].iter().all(|byte| *byte == CANARY), "{size} bytes");
        }
    }
    each_way!(check);
}

// new: end
#[test]
fn a_reset_gives_the_counters_one_last_time() {
    fn check(target: &impl Target) {
        for size in [STATUS_SIZE_V0, size_of::<Status>()] {
            WRITE.call(target, c"hello").unwrap();
            READ.call(target).unwrap();
            let reset = Status { flags: STATUS_RESET, ..Status::default() };
            let last = STATUS.call_sized(target, size, &reset).unwrap();
            assert_eq!((last.flags, last.message_len, last.stores), (0, 5, 1), "{size} bytes");
            assert_eq!(status(target), Status { message_len: 5, ..Status::default() });
            assert_eq!(READ.call(target).unwrap().as_c_str(), c"hello", "the message stays");
            CLEAR.call(target).unwrap();
        }
    }
    each_way!(check);
}

#[test]
fn a_refused_reset_resets_nothing() {
    fn check(target: &impl Target) {
        WRITE.call(target, c"hello").unwrap();
        let both = Status { flags: STATUS_RESET | 2, ..Status::default() };
        assert_eq!(refusal(target, abi::STATUS, both.as_bytes()), Err(Errno::INVAL));
        let reset = Status { flags: STATUS_RESET, ..Status::default() };
        // Not all of a future question can be read.
        let mut short = Guarded::holding(reset.as_bytes()).unwrap();
        let future = short.ioctl(target, with_size(abi::STATUS, 40), 0);
        assert_eq!(future, Err(Errno::FAULT));
        assert_eq!(status(target).stores, 1);
    }
    each_way!(check);
}

// ---- Bad input ----------------------------------------------------------------------------------

#[test]
fn bad_input_is_refused() {
    fn check(target: &impl Target) {
        WRITE.call(target, c"unharmed").unwrap();
        let mut table = Refusals::new();
        unknown_numbers(&mut table, target);
        bad_payloads(&mut table, target);
        bad_addresses(&mut table, target);
        table.finish();
        assert_eq!(READ.call(target).unwrap().as_c_str(), c"unharmed");
        assert_eq!(status(target).stores, 1, "no refused command stored anything");
    }
    each_way!(check);
}

/// Numbers that nearly are commands.
fn unknown_numbers(table: &mut Refusals, target: &impl Target) {
    let valid = message(b"never stored");
    let mut case = |what: &str, number: u32| {
        let result = refusal(target, number, valid.as_bytes());
        table.case(&format!("{what} ({number:#010x})"), Errno::NOTTY, result);
    };
    for number in [0, 0x4707, 0x47ff, 0x8004_4707, 0xffff_ffff, 0x5401, 0x541b] {
        case("unknown", number);
    }
    for (name, number) in [
        ("READ", abi::READ),
        ("WRITE", abi::WRITE),
        ("SET", abi::SET),
        ("GET", abi::GET),
        ("EXCHANGE", abi::EXCHANGE),
    ] {
        case(&format!("{name} of size 0"), with_size(number, 0));
        case(&format!("{name} of size 8"), with_size(number, 8));
        case(&format!("{name} of the largest size"), with_size(number, 0x3fff));
        case(&format!("{name} in no direction"), number & 0x3fff_ffff);
        case(&format!("{name} in the other direction"), number ^ 0xc000_0000);
        case(&format!("{name} of another type"), number ^ 0x0100);
    }
    case("SET, one byte short", with_size(abi::SET, 203));
    case("SET, one byte long", with_size(abi::SET, 205));
    case("CLEAR of size 4", with_size(abi::CLEAR, 4));
    case("CLEAR to the kernel", abi::CLEAR | 0x4000_0000);
    case("CLEAR from the kernel", abi::CLEAR | 0x8000_0000);
    case("STATUS to the kernel", abi::STATUS & 0x7fff_ffff);
    case("STATUS from the kernel", abi::STATUS & 0xbfff_ffff);
    case("STATUS in no direction", abi::STATUS & 0x3fff_ffff);
}

/// Commands whose payload makes no sense.
fn bad_payloads(table: &mut Refusals, target: &impl Target) {
    let mut case = |what: &str, errno, number, payload: &[u8]| {
        table.case(what, errno, refusal(target, number, payload));
    };
    case("WRITE without a NUL", Errno::INVAL, abi::WRITE, &[b'x'; 4096]);
    case("WRITE, its NUL one byte late", Errno::INVAL, abi::WRITE, &nul_at(200));
    case("WRITE, its NUL far too late", Errno::INVAL, abi::WRITE, &nul_at(4095));
    for len in [201, 255, 1 << 24, 1 << 31, u32::MAX] {
        let message = Message { len, bytes: [b'x'; 200] };
        case(&format!("SET of {len} bytes"), Errno::INVAL, abi::SET, message.as_bytes());
        case(&format!("EXCHANGE of {len} bytes"), Errno::INVAL, abi::EXCHANGE, message.as_bytes());
    }
    let none = Status::default();
    for (what, question) in [
        ("an unknown flag", Status { flags: 2, ..none }),
        ("the highest flag", Status { flags: 1 << 31, ..none }),
        ("all flags", Status { flags: u32::MAX, ..none }),
        ("a message length", Status { message_len: 1, ..none }),
        ("stores", Status { stores: 1, ..none }),
        ("loads", Status { loads: 1 << 63, ..none }),
        ("refused", Status { refused: 1, ..none }),
    ] {
        let what = format!("STATUS with {what}");
        case(&what, Errno::INVAL, abi::STATUS, question.as_bytes());
    }
    for size in [0, 1, 4, 8, 15] {
        let number = with_size(abi::STATUS, size);
        case(&format!("STATUS of {size} bytes"), Errno::INVAL, number, &[0; 16]);
    }
    for (size, at) in [(33, 32), (40, 32), (40, 39), (64, 63), (4096, 4095), (0x3fff, 0x3ffe)] {
        let mut question = vec![0; size];
        question[at] = 1;
        let what = format!("STATUS of {size} bytes, byte {at} not zero");
        case(&what, Errno::TOOBIG, with_size(abi::STATUS, size), &question);
    }
}

/// Commands whose argument points nowhere.
fn bad_addresses(table: &mut Refusals, target: &impl Target) {
    for hole in Hole::LOW {
        for (name, number) in [("READ", abi::READ), ("GET", abi::GET), ("STATUS", abi::STATUS)] {
            table.case(&format!("{name} at {hole:?}"), Errno::FAULT, hole.ioctl(target, number));
        }
        if hole != Hole::ReadOnly {
            for (name, number) in
                [("WRITE", abi::WRITE), ("SET", abi::SET), ("EXCHANGE", abi::EXCHANGE)]
            {
                let result = hole.ioctl(target, number);
                table.case(&format!("{name} at {hole:?}"), Errno::FAULT, result);
            }
        }
    }
    let future = with_size(abi::STATUS, 40);
    let mut cut = Guarded::new(33).unwrap();
    table.case("STATUS whose tail is cut", Errno::FAULT, cut.ioctl(target, future, 0));
    let mut cut = Guarded::new(31).unwrap();
    table.case("STATUS that is cut", Errno::FAULT, cut.ioctl(target, abi::STATUS, 0));
}

/// A string of 'x' with a NUL at that place and none before.
fn nul_at(place: usize) -> Vec<u8> {
    let mut string = vec![b'x'; 4096];
    string[place] = 0;
    string
}

#[test]
fn addresses_that_only_a_64_bit_caller_can_name_are_refused() {
    let store = store();
    let mut table = Refusals::new();
    for hole in [Hole::Kernel, Hole::NonCanonical] {
        for number in [abi::READ, abi::WRITE, abi::SET, abi::GET, abi::EXCHANGE, abi::STATUS] {
            let what = format!("{number:#x} at {hole:?}");
            table.case(&what, Errno::FAULT, hole.ioctl(&store, number));
        }
    }
    table.finish();
}

#[test]
fn calls_other_than_commands_are_refused() {
    let howto = Howto::new();
    let store = Device::open(abi::STORE_NODE).unwrap();
    let mut table = Refusals::new();
    for (node, device) in [(abi::HOWTO_NODE, &howto.0), (abi::STORE_NODE, &store)] {
        table.case("read", Errno::INVAL, device.read(&mut [0; 8]));
        table.case("write", Errno::INVAL, device.write(b"hello"));
        table.case("mmap", Errno::NODEV, memory::try_map(device));
        table.case("fsync", Errno::INVAL, rustix::fs::fsync(device));
        let reading = Device::options().read(true).open(node).unwrap();
        table.case("write, open for reading", Errno::BADF, reading.write(b"x"));
        let path = Device::options().with(OFlags::PATH).open(node).unwrap();
        table.case("GET on a mere path", Errno::BADF, refusal(&path, abi::GET, &[]));
        table.case("32-bit GET", Errno::BADF, refusal(&As32Bit(&path), abi::GET, &[]));
    }
    let pipe = std::io::pipe().unwrap().0;
    table.case("GET on a pipe", Errno::NOTTY, refusal(&pipe, abi::GET, &[]));
    let null = Device::open("/dev/null").unwrap();
    table.case("GET on /dev/null", Errno::NOTTY, refusal(&null, abi::GET, &[]));
    table.finish();
}

#[test]
fn a_refusal_tells_number_errno_and_what_to_do() {
    let null = Device::open("/dev/null").unwrap();
    let error = GET.call(&null).unwrap_err();
    assert_eq!(error, Error::Refused { number: abi::GET, errno: Errno::NOTTY });
    assert!(error.to_string().contains("0x80cc4704"), "{error}");
}

// ---- Several callers at once --------------------------------------------------------------------

#[test]
fn a_length_that_changes_during_the_call_does_no_harm() {
    fn check(target: &(impl Target + Sync)) {
        let payload = Shared::new().unwrap();
        payload.store(message(b"abc").as_bytes());
        let done = AtomicBool::new(false);
        let (mut stored, mut refused) = (0, 0);
        thread::scope(|scope| {
            scope.spawn(|| {
                let len = &payload.words()[0];
                while !done.load(Ordering::Relaxed) {
                    len.store(u32::MAX, Ordering::Relaxed);
                    len.store(3, Ordering::Relaxed);
                }
            });
            // The other thread must be told in any case, or the scope would wait for it for ever.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for _ in 0..250 {
                    match payload.ioctl(target, abi::SET) {
                        Ok(0) => stored += 1,
                        Err(Errno::INVAL) => refused += 1,
                        other => panic!("{other:?}"),
                    }
                    let now = GET.call(target).unwrap();
                    let expected = if stored == 0 { message(b"") } else { message(b"abc") };
                    assert_eq!(now, expected);
                }
            }));
            done.store(true, Ordering::Relaxed);
            outcome.unwrap();
        });
        println!("{stored} stored, {refused} refused");
        let Status { stores, refused: counted, .. } = status(target);
        assert_eq!((stores, counted), (stored, refused));
    }
    each_way!(check);
}

#[test]
fn of_many_exchanges_no_message_is_lost_or_doubled() {
    const EACH: u32 = 100;
    let store = store();
    let mut seen: Vec<u32> = thread::scope(|scope| {
        let callers: Vec<_> = (0..4_u32)
            .map(|caller| {
                let store = &store;
                scope.spawn(move || {
                    let swap = |n: u32| {
                        let mine = message(&(caller * EACH + n + 1).to_le_bytes());
                        let old = if caller % 2 == 0 {
                            EXCHANGE.call(store, &mine)
                        } else {
                            EXCHANGE.call(&As32Bit(store), &mine)
                        };
                        number_in(&old.unwrap())
                    };
                    (0..EACH).map(swap).collect::<Vec<_>>()
                })
            })
            .collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    seen.push(number_in(&GET.call(&store).unwrap()));
    seen.sort_unstable();
    // 0 is the empty message that was there first.
    assert_eq!(seen, (0..=4 * EACH).collect::<Vec<_>>());
    let counted = status(&store);
    assert_eq!((counted.stores, counted.loads), (u64::from(4 * EACH), u64::from(4 * EACH) + 1));
}

/// The number that a message of four bytes holds, 0 for an empty one.
fn number_in(message: &Message) -> u32 {
    assert!([0, 4].contains(&message.len), "{message:?}");
    u32::from_le_bytes(message.bytes[..4].try_into().unwrap())
}

#[test]
fn readers_see_whole_messages_while_writers_replace_them() {
    let store = store();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0_u32;
            while !done.load(Ordering::Relaxed) || seen == 0 {
                let now = GET.call(&store).unwrap();
                // Message n is n bytes of value n.
                let value = u8::try_from(now.len).unwrap();
                assert_eq!(now, message(&vec![value; value.into()]));
                seen += 1;
            }
        });
        let writers: Vec<_> = (0..2_u8)
            .map(|_| {
                scope.spawn(|| {
                    for value in (1..=200).cycle().take(300) {
                        SET.call(&store, &message(&vec![value; value.into()])).unwrap();
                    }
                })
            })
            .collect();
        let ends: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
        for end in ends {
            end.unwrap();
        }
    });
}

#[test]
fn resets_never_lose_a_count() {
    let store = store();
    let done = AtomicBool::new(false);
    let reset = Status { flags: STATUS_RESET, ..Status::default() };
    let collected = thread::scope(|scope| {
        let collector = scope.spawn(|| {
            let mut collected = 0;
            while !done.load(Ordering::Relaxed) {
                collected += STATUS.call(&store, &reset).unwrap().stores;
            }
            collected
        });
        for _ in 0..300 {
            SET.call(&store, &message(b"x")).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        collector.join().unwrap()
    });
    assert_eq!(collected + status(&store).stores, 300);
}

// ---- The module ---------------------------------------------------------------------------------

// new: begin
#[test]
fn the_nodes_permissions_keep_strangers_out() {
    let opened = Worker::spawn(|| {
        let (user, group) = (Uid::from_raw(65534), Gid::from_raw(65534));
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_res_gid(group, group, group).unwrap();
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        Device::open(abi::STORE_NODE).map(drop).map_err(|error| error.errno())
    });
    assert_eq!(opened.finish(LIMIT), Err(Some(Errno::ACCESS)));
    let mode = rustix::fs::stat(abi::STORE_NODE).unwrap().st_mode & 0o7777;
    assert_eq!(mode, u32::from(abi::STORE_MODE));
}

// new: end
#[test]
fn the_misc_device_bears_its_name() {
    assert!(Path::new("/sys/class/misc").join(abi::STORE_NAME).exists());
}

// new: begin
#[test]
fn an_open_file_keeps_the_module_loaded() {
    // new: end
    make_howto_node();
    keeps_the_module_loaded(abi::HOWTO_NODE);
    chardev::remove_node(abi::HOWTO_NODE).unwrap();
    // new: begin
    keeps_the_module_loaded(abi::STORE_NODE);
}

fn keeps_the_module_loaded(node: &str) {
    let device = Device::open(node).unwrap();
    let refused = module::unload(MODULE).map_err(|error| error.errno());
    drop(device);
    assert_eq!(refused, Err(Some(Errno::AGAIN)), "{node}");
    module::unload(MODULE).unwrap();
    let (listed, there) =
        (module::is_loaded(MODULE).unwrap(), Path::new(abi::STORE_NODE).exists());
    module::load(MODULE_FILE, "").unwrap();
    assert!(!listed && !there, "module and node go together");
    assert!(module::is_loaded(MODULE).unwrap() && Path::new(abi::STORE_NODE).exists());
}

#[test]
fn loading_twice_is_refused_and_harmless() {
    let store = store();
    SET.call(&store, &message(b"unimpressed")).unwrap();
    let refused = module::load(MODULE_FILE, "").map_err(|error| error.errno());
    assert_eq!(refused, Err(Some(Errno::EXIST)));
    assert_eq!(GET.call(&store).unwrap(), message(b"unimpressed"));
}

// new: end
#[test]
fn loading_logs_how_to_make_the_node() {
    let mut log = Log::from_now().unwrap();
    module::unload(MODULE).unwrap();
    module::load(MODULE_FILE, "").unwrap();
    let major = chardev::major(abi::DRIVER).unwrap();
    for line in [
        format!("cdev example: assigned major: {major}"),
        format!("create node with mknod /dev/cdev_example c {major} 0"),
    ] {
        assert!(log.wait_for(&line, LIMIT).unwrap(), "{line}");
    }
}
