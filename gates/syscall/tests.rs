// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a user of the two calls can rely on.
//!
//! These run in the lab's VM as root, each in a process of its own. There is no module: the calls are
//! part of the kernel. Any process may make them, and what is logged is limited for all together; so a
//! test that looks for a line calls until it is there.

use std::fs;
use std::hint;
use std::mem::offset_of;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use callgate::Errno;
use callgate::compat;
use callgate::kmsg::{Log, Origin};
use callgate::syscall::{Error, Extensible, FREE, InPlace, Number};
use callgate::testing::Refusals;
use callgate::testing::faults::at_each_place;
use callgate::testing::memory::{Guarded, Hole, Shared, page_size};
use callgate::testing::tools::Tool;
use callgate::testing::worker::{Watchdog, as_nobody};
use zerocopy::IntoBytes;

use super::abi::{
    CAPACITY, GREETING_SIZE_V0, Greeting, MOST_REPEATS, MYSYSCALL, MYSYSCALL2, QUIET,
};
use super::program::{self, HOWTO, TODAY};

/// Every wait ends here at the latest; it is generous, because an emulated debug kernel is slow.
const LIMIT: Duration = Duration::from_secs(30);

/// A test that takes longer than this has lost its way.
const TOO_LONG: Duration = Duration::from_secs(160);

/// What buffers are filled with, to see what the kernel changed.
const CANARY: u8 = 0xaa;

/// The HOWTO's answer, and today's.
const STRING: &[u8] = b"hello world\0";
const ANSWER: &[u8] = b"hello world";

/// Size of [`Greeting`].
const SIZE: usize = 40;

type Answer = Result<usize, Errno>;

/// The HOWTO's call on memory that ends after `bytes`, with this `len`; and what the memory is then.
fn mysyscall(bytes: &[u8], len: i32) -> (Answer, Vec<u8>) {
    let mut memory = Guarded::holding(bytes).unwrap();
    let answer = memory.syscall(HOWTO.number(), 0, register(len), 0);
    (answer, memory.bytes().to_vec())
}

/// A C `int` as it is in a register.
fn register(len: i32) -> u64 {
    len.cast_unsigned().into()
}

/// `bytes` behind which there are canaries, 300 bytes in all.
fn with_canaries(bytes: &[u8]) -> Vec<u8> {
    let mut all = vec![CANARY; 300];
    all[..bytes.len()].copy_from_slice(bytes);
    all
}

/// A greeting with its message and the room for its answer, each in memory that ends behind it.
struct Letter {
    greeting: Greeting,
    message: Guarded,
    room: Guarded,
}

impl Letter {
    /// `message`, and room for `room` bytes, which are canaries.
    fn new(message: &[u8], room: usize) -> Self {
        let message = Guarded::holding(message).unwrap();
        let room = Guarded::holding(&vec![CANARY; room]).unwrap();
        let greeting = Greeting {
            message: message.address(0),
            message_len: message.bytes().len() as u64,
            answer: room.address(0),
            answer_len: room.bytes().len() as u64,
            ..Greeting::default()
        };
        Self { greeting, message, room }
    }

    /// One that is answered.
    fn good() -> Self {
        Self::new(b"hi", ANSWER.len())
    }

    /// Makes the call, unlogged, with the struct as it is.
    fn send(&self) -> Answer {
        send(self.greeting.as_bytes(), SIZE, QUIET)
    }

    /// Makes the call with the struct changed so.
    fn with(&self, change: impl FnOnce(&mut Greeting)) -> Answer {
        let mut greeting = self.greeting;
        change(&mut greeting);
        send(greeting.as_bytes(), SIZE, QUIET)
    }

    fn room_is_untouched(&self) -> bool {
        self.room.bytes().iter().all(|byte| *byte == CANARY)
    }
}

/// Today's call with a struct that ends after `bytes`, of which it says that there are `size`.
fn send(bytes: &[u8], size: usize, flags: u32) -> Answer {
    let mut memory = Guarded::holding(bytes).unwrap();
    memory.syscall(TODAY.number(), 0, size as u64, flags.into())
}

/// `greeting` with zeroes behind it, `size` bytes in all; or less of it.
fn sized(greeting: &Greeting, size: usize) -> Vec<u8> {
    let mut bytes = greeting.as_bytes().to_vec();
    bytes.resize(size, 0);
    bytes
}

/// Whether `call`, made again and again, has the kernel log `line`.
fn is_logged(line: &str, call: impl Fn()) -> bool {
    let mut log = Log::from_now().unwrap();
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        call();
        if log.wait_for(line, Duration::from_millis(300)).unwrap() {
            return true;
        }
    }
    false
}

/// What the kernel logs of our calls during `work`, which must not be more than it may in a second.
fn logged_during(work: impl FnOnce()) -> Vec<String> {
    // The last test may have used up this second's lines.
    thread::sleep(Duration::from_millis(1100));
    let mut log = Log::from_now().unwrap();
    work();
    let mut lines = Vec::new();
    while let Some(record) = log.next(Duration::ZERO).unwrap() {
        if record.origin == Origin::Kernel && record.text.starts_with("mysyscall: ") {
            lines.push(record.text);
        }
    }
    lines
}

/// Calls `work` over and over while another thread does so with `disturb`: as often as that, and longer if
/// it has not yet said that it has seen enough.
fn while_disturbed(at_least: u32, disturb: impl Fn() + Sync, mut work: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    let work = || {
        let mut calls = 0;
        while !work() || calls < at_least {
            calls += 1;
            assert!(Instant::now() < end, "it makes no difference after {calls} calls");
        }
    };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                disturb();
            }
        });
        // The other thread must be told in any case, or the scope would wait for it for ever.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        outcome.unwrap();
    });
}

/// Holds what was stored for as long as it takes to be seen.
fn for_a_while() {
    for _ in 0..200 {
        hint::spin_loop();
    }
}

// ---- The kernel ---------------------------------------------------------------------------------

#[test]
fn the_numbers_are_those_of_the_patch() {
    let patch = include_str!("../../kernel/patches/system-calls.patch");
    for (number, name) in [(MYSYSCALL, "mysyscall"), (MYSYSCALL2, "mysyscall2")] {
        let line = format!("\n+{number}\tcommon\t{name}\t\tsys_{name}\n");
        assert!(patch.contains(&line), "no `{}` in the patch", line.trim());
    }
    assert_eq!((MYSYSCALL, MYSYSCALL2), (473, 474));
}

#[test]
fn the_calls_are_the_kernels_own() {
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap();
    for name in ["__x64_sys_mysyscall", "__x64_sys_mysyscall2"] {
        let line = symbols.lines().find(|line| line.split_whitespace().nth(2) == Some(name));
        let line = line.unwrap_or_else(|| panic!("the kernel has no {name}"));
        assert_eq!(line.split_whitespace().count(), 3, "it names no module: {line}");
    }
}

#[test]
fn the_numbers_next_to_ours_are_nobodys() {
    for number in FREE.filter(|number| ![MYSYSCALL, MYSYSCALL2].contains(number)) {
        let missing = Err(Error::Missing { number });
        assert_eq!(InPlace::new(number).call(&mut [0; 300]), missing);
    }
}

#[test]
fn the_program_says_what_to_do_about_a_kernel_without_the_calls() {
    let howto = program::howto(InPlace::new(511)).unwrap_err();
    let today = Extensible::new(510, offset_of!(Greeting, message), offset_of!(Greeting, answer));
    let today = program::today(&today).unwrap_err();
    for (error, number) in [(howto, 511), (today, 510)] {
        let known = error.downcast_ref::<Error>().unwrap();
        assert_eq!(known, &Error::Missing { number });
        assert_eq!(known.errno(), Some(Errno::NOSYS));
        let said = error.to_string();
        assert!(said.contains(&format!("no system call {number}: boot one that")), "{said}");
    }
}

#[test]
fn the_program_runs() {
    program::main().unwrap();
}

#[test]
fn a_program_of_32_bits_finds_no_such_call() {
    assert!(compat::is_available(), "this kernel needs CONFIG_IA32_EMULATION=y");
    for number in [MYSYSCALL, MYSYSCALL2, 511] {
        let answer = Number::new(number).call_as_32_bit();
        assert_eq!(answer, Err(Errno::NOSYS), "{number}");
    }
}

#[test]
fn a_client_that_nobody_here_wrote_can_call_it() {
    let script = r#"
        my $buffer = "hi kernel" . "\0" x 191;
        my $len = syscall(473, $buffer, length $buffer);
        print "$len ", unpack("Z*", $buffer), "\n";
        $! = 0;
        my $answer = "." x 20;
        my $greeting = pack("PQPQ", "hi", 2, $answer, 20);
        $len = syscall(474, $greeting, length $greeting, 1);
        print "$len $answer\n";
        $len = syscall(474, $greeting, length $greeting, 2);
        print "$len $!\n";
    "#;
    let said = Tool::new("perl").args(["-e", script]).user(65534, 65534).run().success();
    assert_eq!(said, "12 hello world\n11 hello world.........\n-1 Invalid argument\n");
}

// ---- The HOWTO's call ---------------------------------------------------------------------------

#[test]
fn the_howtos_exchange() {
    let said_hi = || {
        let mut buffer = with_canaries(b"hi kernel\0");
        assert_eq!(HOWTO.call(&mut buffer), Ok(12));
        assert_eq!(&buffer[..12], STRING);
        assert!(buffer[12..].iter().all(|byte| *byte == CANARY), "it wrote more than it said");
    };
    assert!(is_logged("mysyscall: hi kernel", said_hi));
}

#[test]
fn strings_of_every_length_are_taken_up_to_the_limit() {
    for len in 0..=250 {
        let mut string = vec![b's'; len];
        string.push(0);
        let mut buffer = with_canaries(&string);
        let answer = HOWTO.call(&mut buffer).map_err(|error| error.errno());
        // The HOWTO's strings count their NUL.
        if len < CAPACITY {
            assert_eq!(answer, Ok(12), "{len} bytes");
            assert_eq!(&buffer[..12], STRING);
            string.resize(12.max(string.len()), CANARY);
            assert_eq!(&buffer[12..string.len()], &string[12..], "{len} bytes");
        } else {
            assert_eq!(answer, Err(Some(Errno::INVAL)), "{len} bytes");
            assert_eq!(buffer, with_canaries(&string), "{len} bytes");
        }
    }
}

#[test]
fn len_is_honoured() {
    // The memory ends where `len` says; the string is empty.
    for len in 0..=40 {
        let before = [&[0][..len.min(1)], &vec![CANARY; len.saturating_sub(1)]].concat();
        let (answer, after) = mysyscall(&before, i32::try_from(len).unwrap());
        match len {
            0 => assert_eq!(answer, Err(Errno::INVAL)),
            1..12 => assert_eq!(answer, Err(Errno::RANGE), "{len}"),
            _ => assert_eq!(answer, Ok(12), "{len}"),
        }
        let expected = if len < 12 { before } else { [STRING, &before[12..]].concat() };
        assert_eq!(after, expected, "{len}");
    }
}

#[test]
fn a_nul_behind_len_is_none() {
    for len in 0..=199_u8 {
        let mut buffer = with_canaries(&vec![b'x'; len.into()]);
        buffer[usize::from(len)] = 0;
        let before = buffer.clone();
        let (answer, after) = mysyscall(&buffer, len.into());
        assert_eq!((answer, after), (Err(Errno::INVAL), before), "{len}");
    }
}

#[test]
fn more_than_the_limit_is_not_even_looked_at() {
    // Readable up to the limit, where the memory ends, though `len` promises more.
    let mut string = vec![b'x'; CAPACITY];
    string[CAPACITY - 1] = 0;
    for len in [200, 201, 4096, i32::MAX] {
        assert_eq!(mysyscall(&string, len).0, Ok(12), "{len}");
    }
    let unterminated = [b'x'; CAPACITY];
    for len in [200, 201, 4096, i32::MAX] {
        assert_eq!(mysyscall(&unterminated, len).0, Err(Errno::INVAL), "{len}");
    }
}

#[test]
fn what_is_left_in_the_upper_half_of_a_register_does_not_count() {
    let mut memory = Guarded::holding(&with_canaries(b"hi\0")).unwrap();
    let dirt = 0xdead_beef_0000_0000;
    assert_eq!(memory.syscall(HOWTO.number(), 0, dirt | 0x12c, dirt), Ok(12));
    let letter = Letter::good();
    let mut memory = Guarded::holding(letter.greeting.as_bytes()).unwrap();
    let flags = dirt | u64::from(QUIET);
    assert_eq!(memory.syscall(TODAY.number(), 0, SIZE as u64, flags), Ok(ANSWER.len()));
    // A size is as wide as a register.
    let size = dirt | SIZE as u64;
    assert_eq!(memory.syscall(TODAY.number(), 0, size, flags), Err(Errno::TOOBIG));
}

#[test]
fn a_buffer_that_ends_early_is_refused_at_every_byte() {
    for there in 0..CAPACITY {
        // A NUL is in it; but `len` bytes were promised.
        let before = vec![0; there];
        let (answer, after) = mysyscall(&before, i32::try_from(there).unwrap() + 1);
        assert_eq!((answer, after), (Err(Errno::FAULT), before), "{there}");
    }
}

// ---- Today's call -------------------------------------------------------------------------------

#[test]
fn a_message_is_logged_and_answered() {
    let greet = || {
        let mut answer = with_canaries(b"");
        let len = TODAY.call(&Greeting::default(), b"good morning", &mut answer, 0).unwrap();
        assert_eq!(&answer[..len], ANSWER);
        assert_eq!(answer, with_canaries(ANSWER));
    };
    assert!(is_logged("mysyscall: good morning", greet));
}

#[test]
fn a_quiet_message_is_not_logged() {
    let lines = logged_during(|| {
        for _ in 0..5 {
            assert_eq!(Letter::good().send(), Ok(ANSWER.len()));
        }
        let mut answer = [0; 11];
        TODAY.call(&Greeting::default(), b"loud", &mut answer, 0).unwrap();
    });
    assert_eq!(lines, ["mysyscall: loud"]);
}

#[test]
fn messages_of_every_length_are_taken_up_to_the_limit() {
    for len in 0..=250 {
        let letter = Letter::new(&vec![b'm'; len], ANSWER.len());
        let expected = if len <= CAPACITY { Ok(ANSWER.len()) } else { Err(Errno::INVAL) };
        assert_eq!(letter.send(), expected, "{len} bytes");
        assert_eq!(letter.room_is_untouched(), len > CAPACITY, "{len} bytes");
    }
}

#[test]
fn the_answer_is_given_as_often_as_is_asked() {
    for repeat in 0..=MOST_REPEATS {
        let all = ANSWER.repeat(1 + repeat as usize);
        let letter = Letter::new(b"again", all.len());
        assert_eq!(letter.with(|greeting| greeting.repeat = repeat), Ok(all.len()));
        assert_eq!(letter.room.bytes(), all);
    }
}

#[test]
fn no_room_asks_for_the_length_and_does_nothing_else() {
    let lines = logged_during(|| {
        for repeat in 0..=MOST_REPEATS {
            let arguments = Greeting { repeat, ..Greeting::default() };
            let len = TODAY.call(&arguments, b"just asking", &mut [], 0).unwrap();
            assert_eq!(len, 11 * (1 + repeat as usize));
        }
        // Wherever the room is that there is not.
        let nowhere = Hole::NonCanonical.with_address(|answer| {
            Letter::good().with(|greeting| (greeting.answer, greeting.answer_len) = (answer, 0))
        });
        assert_eq!(nowhere, Ok(11));
    });
    assert_eq!(lines, [""; 0]);
}

#[test]
fn room_that_is_too_small_is_said_so_at_every_byte() {
    for repeat in [0, 1, MOST_REPEATS] {
        let needed = 11 * (1 + repeat as usize);
        for room in 1..needed {
            let letter = Letter::new(b"hi", room);
            let answer = letter.with(|greeting| greeting.repeat = repeat);
            assert_eq!(answer, Err(Errno::RANGE), "{room} of {needed}");
            assert!(letter.room_is_untouched());
        }
    }
    let letter = Letter::good();
    let plenty = letter.with(|greeting| greeting.answer_len = u64::MAX);
    assert_eq!(plenty, Ok(11), "no more is touched than is needed");
}

#[test]
fn memory_that_ends_early_is_refused_at_every_byte() {
    let needed = 11 * (1 + MOST_REPEATS as usize);
    for there in 0..needed {
        let mut letter = Letter::new(b"hi", there);
        letter.greeting.answer_len = needed as u64;
        let answer = letter.with(|greeting| greeting.repeat = MOST_REPEATS);
        assert_eq!(answer, Err(Errno::FAULT), "an answer with {there} bytes");
    }
    for there in 0..CAPACITY {
        let mut letter = Letter::new(&vec![b'm'; there], 11);
        letter.greeting.message_len = CAPACITY as u64;
        assert_eq!(letter.send(), Err(Errno::FAULT), "a message with {there} bytes");
        assert!(letter.room_is_untouched(), "a message with {there} bytes");
    }
    let letter = Letter::good();
    for there in 0..SIZE {
        let bytes = &letter.greeting.as_bytes()[..there];
        assert_eq!(send(bytes, SIZE, QUIET), Err(Errno::FAULT), "a struct with {there} bytes");
    }
}

#[test]
fn a_program_of_any_version_is_served() {
    let letter = Letter::good();
    for size in 0..=page_size() + 8 {
        let expected = match size {
            0..GREETING_SIZE_V0 => Err(Errno::INVAL),
            _ if size <= page_size() => Ok(ANSWER.len()),
            _ => Err(Errno::TOOBIG),
        };
        // Every size around those that matter, and some between.
        if size < 100 || size + 20 > page_size() || size % 97 == 0 {
            let bytes = sized(&letter.greeting, size);
            assert_eq!(send(&bytes, size, QUIET), expected, "{size} bytes");
        }
    }
    for size in [1 << 16, 1 << 32, usize::MAX / 2 + 1, usize::MAX] {
        let answer = send(letter.greeting.as_bytes(), size, QUIET);
        assert_eq!(answer, Err(Errno::TOOBIG), "{size} bytes");
    }
}

#[test]
fn what_an_old_program_does_not_know_is_zero() {
    let mut greeting = Letter::new(b"hi", 11).greeting;
    (greeting.repeat, greeting.reserved) = (u32::MAX, u32::MAX);
    let letter = Letter::new(b"hi", 11);
    (greeting.message, greeting.answer) = (letter.message.address(0), letter.room.address(0));
    // What lies behind the size is not looked at.
    assert_eq!(send(greeting.as_bytes(), GREETING_SIZE_V0, QUIET), Ok(11));
    // A size within a field leaves the rest of it zero; these are its lowest bytes.
    greeting.repeat = 0xffff_0000;
    assert_eq!(send(greeting.as_bytes(), GREETING_SIZE_V0 + 2, QUIET), Ok(11));
    assert_eq!(send(greeting.as_bytes(), GREETING_SIZE_V0 + 3, QUIET), Err(Errno::INVAL));

    let mut answer = [0; 11];
    let newer = Greeting { repeat: 1, ..Greeting::default() };
    let len = TODAY.call_sized(GREETING_SIZE_V0, &newer, b"hi", &mut answer, QUIET);
    assert_eq!((len, &answer[..]), (Ok(11), ANSWER));
}

#[test]
fn what_the_kernel_does_not_know_must_be_zero_at_every_byte() {
    let size = 256;
    for at in SIZE..size {
        let letter = Letter::good();
        let mut bytes = sized(&letter.greeting, size);
        bytes[at] = 1;
        assert_eq!(send(&bytes, size, QUIET), Err(Errno::TOOBIG), "byte {at}");
        assert!(letter.room_is_untouched(), "byte {at}");
        assert_eq!(send(&bytes, at, QUIET), Ok(11), "byte {at} is behind the end");
    }
    let letter = Letter::good();
    let mut bytes = sized(&letter.greeting, page_size());
    bytes[page_size() - 1] = 0x80;
    assert_eq!(send(&bytes, page_size(), QUIET), Err(Errno::TOOBIG));
    // Something unknown is said before it is noticed that the rest is missing.
    assert_eq!(send(&bytes[page_size() - 8..], page_size(), QUIET), Err(Errno::FAULT));
    let mut bytes = sized(&letter.greeting, SIZE + 8);
    assert_eq!(send(&bytes, SIZE + 16, QUIET), Err(Errno::FAULT));
    bytes[SIZE] = 1;
    assert_eq!(send(&bytes, SIZE + 16, QUIET), Err(Errno::TOOBIG));
}

#[test]
fn memory_may_overlap_as_it_likes() {
    // The answer goes over the message.
    let letter = Letter::new(b"eleven byte", 0);
    let over = |greeting: &mut Greeting| (greeting.answer, greeting.answer_len) = (greeting.message, 11);
    assert_eq!(letter.with(over), Ok(11));
    assert_eq!(letter.message.bytes(), ANSWER);
    // And over the struct itself, which has been read by then.
    let mut memory = Guarded::holding(Letter::good().greeting.as_bytes()).unwrap();
    let message = Guarded::holding(b"hi").unwrap();
    let greeting = Greeting {
        message: message.address(0),
        message_len: 2,
        answer: memory.address(0),
        answer_len: SIZE as u64,
        repeat: 2,
        reserved: 0,
    };
    memory.bytes_mut().copy_from_slice(greeting.as_bytes());
    assert_eq!(memory.syscall(TODAY.number(), 0, SIZE as u64, QUIET.into()), Ok(33));
    assert_eq!(memory.bytes()[..33], ANSWER.repeat(3));
    assert_eq!(memory.bytes()[33..], greeting.as_bytes()[33..]);
}

// ---- Refusals -----------------------------------------------------------------------------------

#[test]
fn bad_buffers_get_the_errno_they_deserve() {
    let mut table = Refusals::new();
    let x = |len: usize| vec![b'x'; len];
    for (what, bytes, len, errno) in [
        ("no length", &b"hi\0"[..], 0, Errno::INVAL),
        ("-1", b"hi\0", -1, Errno::INVAL),
        ("the least length", b"hi\0", i32::MIN, Errno::INVAL),
        ("no NUL in 1 byte", b"h", 1, Errno::INVAL),
        ("no NUL in 11 bytes", &x(11), 11, Errno::INVAL),
        ("no NUL in 12 bytes", &x(12), 12, Errno::INVAL),
        ("no NUL in 199 bytes", &x(199), 199, Errno::INVAL),
        ("no NUL in 200 bytes", &x(200), 200, Errno::INVAL),
        ("a NUL as byte 201", &[&x(200)[..], b"\0"].concat(), 201, Errno::INVAL),
        ("a NUL as byte 4000", &[&x(3999)[..], b"\0"].concat(), 4000, Errno::INVAL),
        ("the NUL just behind len", b"hi\0", 2, Errno::INVAL),
        ("room for the NUL alone", b"\0", 1, Errno::RANGE),
        ("one byte too little room", b"hi kernel\0.", 11, Errno::RANGE),
        ("one byte less than promised", b"hi kernel\0.", 12, Errno::FAULT),
        ("nothing of what was promised", b"", 1, Errno::FAULT),
        ("a long promise", b"hi kernel\0..", i32::MAX, Errno::FAULT),
    ] {
        let (answer, after) = mysyscall(bytes, len);
        table.case(what, errno, answer);
        assert_eq!(after, bytes, "{what}: it changed the buffer");
    }
    for hole in Hole::ALL {
        // Zeroes can be read from one of them: an empty string, which cannot be overwritten.
        let call = |len| hole.syscall(HOWTO.number(), len, 0);
        table.case(&format!("{hole:?}"), Errno::FAULT, call(200));
        table.case(&format!("{hole:?}, 12 bytes"), Errno::FAULT, call(12));
        table.case(&format!("{hole:?}, no bytes"), Errno::INVAL, call(0));
        let short = if hole == Hole::ReadOnly { Errno::RANGE } else { Errno::FAULT };
        table.case(&format!("{hole:?}, 11 bytes"), short, call(11));
    }
    table.finish();
}

#[test]
fn bad_structs_get_the_errno_they_deserve() {
    let mut table = Refusals::new();
    let letter = Letter::good();
    for bit in 1..32 {
        let flags = 1 << bit;
        let bytes = letter.greeting.as_bytes();
        table.case(&format!("flag {flags:#x}"), Errno::INVAL, send(bytes, SIZE, flags));
        table.case(&format!("QUIET and {flags:#x}"), Errno::INVAL, send(bytes, SIZE, flags | QUIET));
        let reserved = letter.with(|greeting| greeting.reserved = flags);
        table.case(&format!("reserved {flags:#x}"), Errno::INVAL, reserved);
        let message_len = letter.with(|greeting| greeting.message_len = 2 | 1 << (bit + 31));
        table.case(&format!("bit {} of the length", bit + 31), Errno::INVAL, message_len);
    }
    for repeat in [MOST_REPEATS + 1, 1 << 16, 1 << 31, u32::MAX] {
        let answer = letter.with(|greeting| greeting.repeat = repeat);
        table.case(&format!("{repeat} repeats"), Errno::INVAL, answer);
    }
    for message_len in [201, 256, 1 << 31, u64::MAX] {
        let answer = letter.with(|greeting| greeting.message_len = message_len);
        table.case(&format!("a message of {message_len} bytes"), Errno::INVAL, answer);
    }
    for answer_len in [1, 10] {
        let answer = letter.with(|greeting| greeting.answer_len = answer_len);
        table.case(&format!("room for {answer_len} bytes"), Errno::RANGE, answer);
    }
    for hole in Hole::ALL {
        let at_struct = hole.syscall(TODAY.number(), SIZE as u64, QUIET.into());
        // Of the hole that can be read, all zeroes: an empty message, and the question for a length.
        if hole == Hole::ReadOnly {
            assert_eq!(at_struct, Ok(11), "a call that writes nothing needs nothing writable");
        } else {
            table.case(&format!("struct at {hole:?}"), Errno::FAULT, at_struct);
            let message = |address| letter.with(|greeting| greeting.message = address);
            let message = hole.with_address(message);
            table.case(&format!("message at {hole:?}"), Errno::FAULT, message);
        }
        let answer = hole.with_address(|address| letter.with(|greeting| greeting.answer = address));
        table.case(&format!("answer at {hole:?}"), Errno::FAULT, answer);
        let size = hole.syscall(TODAY.number(), 31, QUIET.into());
        table.case(&format!("too small a struct at {hole:?}"), Errno::INVAL, size);
        let size = hole.syscall(TODAY.number(), page_size() as u64 + 1, QUIET.into());
        table.case(&format!("too large a struct at {hole:?}"), Errno::TOOBIG, size);
        let flags = hole.syscall(TODAY.number(), SIZE as u64, 2);
        table.case(&format!("an unknown flag, and {hole:?}"), Errno::INVAL, flags);
    }
    let last = letter.with(|greeting| greeting.message = u64::MAX);
    table.case("a message that wraps around", Errno::FAULT, last);
    let last = letter.with(|greeting| greeting.answer = u64::MAX);
    table.case("an answer that wraps around", Errno::FAULT, last);
    assert!(letter.room_is_untouched());
    table.finish();
}

#[test]
fn what_is_refused_is_not_logged() {
    let lines = logged_during(|| {
        assert_eq!(mysyscall(b"refused\0", 8).0, Err(Errno::RANGE));
        assert_eq!(mysyscall(b"refused", 7).0, Err(Errno::INVAL));
        assert_eq!(Hole::ReadOnly.syscall(HOWTO.number(), 200, 0), Err(Errno::FAULT));
        let letter = Letter::new(b"refused", 11);
        let bytes = letter.greeting.as_bytes();
        assert_eq!(send(bytes, SIZE, 2), Err(Errno::INVAL));
        assert_eq!(send(bytes, 31, 0), Err(Errno::INVAL));
        let mut unwritable = letter.greeting;
        unwritable.answer = 8;
        assert_eq!(send(unwritable.as_bytes(), SIZE, 0), Err(Errno::FAULT));
    });
    assert_eq!(lines, [""; 0]);
}

// ---- The log ------------------------------------------------------------------------------------

#[test]
fn nobody_writes_lines_of_others_into_the_log() {
    let sly = "x\nmysyscall: y\r\u{1b}[31m\\";
    let escaped = r"mysyscall: x\nmysyscall: y\r\x1b[31m\\";
    let greet = |call: &dyn Fn()| assert!(is_logged(escaped, call));
    // A backslash of the log's own makes its reader show `\` as `\x5c`; either way it is one line.
    greet(&|| {
        TODAY.call(&Greeting::default(), sly.as_bytes(), &mut [0; 11], 0).unwrap();
    });
    greet(&|| {
        let mut buffer = with_canaries(sly.as_bytes());
        buffer[sly.len()] = 0;
        HOWTO.call(&mut buffer).unwrap();
    });
}

#[test]
fn calling_a_lot_does_not_flood_the_log() {
    const CALLS: u32 = 500;
    let _watchdog = Watchdog::new(TOO_LONG);
    let start = Instant::now();
    let lines = logged_during(|| {
        for _ in 0..CALLS {
            assert_eq!(HOWTO.call(&mut with_canaries(b"flood\0")), Ok(12));
        }
    });
    // Ten a second; and of the first and the last second perhaps only a part.
    let most = 10 * (start.elapsed().as_secs() + 2);
    assert!(!lines.is_empty() && lines.len() as u64 <= most, "{} lines", lines.len());
}

// ---- Others at the same time --------------------------------------------------------------------

#[test]
fn anybody_may_call() {
    let answers = as_nobody(|| {
        let mut buffer = with_canaries(b"hi\0");
        let howto = HOWTO.call(&mut buffer);
        (howto, buffer, Letter::good().send(), Letter::good().with(|greeting| greeting.repeat = 99))
    });
    assert_eq!(answers, (Ok(12), with_canaries(STRING), Ok(11), Err(Errno::INVAL)));
}

#[test]
fn a_string_that_changes_during_the_call_is_taken_as_it_was_once() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let page = Shared::new().unwrap();
    let (mut taken, mut refused) = (0, 0);
    // The 50th word has the last byte that is looked at: now a NUL is in it, and now not.
    let last = &page.words()[49];
    let flip = || {
        for value in [u32::MAX, 0] {
            last.store(value, Ordering::Relaxed);
            for_a_while();
        }
    };
    while_disturbed(2000, flip, || {
        for word in &page.words()[..49] {
            word.store(u32::from_ne_bytes(*b"yyyy"), Ordering::Relaxed);
        }
        match page.syscall(HOWTO.number(), 4096, 0) {
            Ok(12) => taken += 1,
            Err(Errno::INVAL) => refused += 1,
            other => panic!("{other:?}"),
        }
        taken > 0 && refused > 0
    });
    println!("{taken} taken, {refused} refused");
}

#[test]
fn a_struct_that_changes_during_the_call_is_taken_as_it_was_once() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let page = Shared::new().unwrap();
    let largest = 11 * (1 + MOST_REPEATS as usize);
    let mut letter = Letter::new(b"hi", largest);
    let (message, room) = (letter.message.address(0), letter.room.address(0));
    letter.greeting = Greeting { message, message_len: 2, answer: room, ..letter.greeting };
    page.store(letter.greeting.as_bytes());
    let word = |field: usize| &page.words()[field / 4];
    let (message_len, repeat) =
        (word(offset_of!(Greeting, message_len)), word(offset_of!(Greeting, repeat)));
    let unknown = word(SIZE + 8);
    let flip = || {
        for (field, other, value) in
            [(message_len, u32::MAX, 2), (repeat, MOST_REPEATS, 0), (unknown, 1, 0)]
        {
            field.store(other, Ordering::Relaxed);
            for_a_while();
            field.store(value, Ordering::Relaxed);
            for_a_while();
        }
    };
    let mut seen = [0; 4];
    while_disturbed(3000, flip, || {
        letter.room.bytes_mut().fill(CANARY);
        let answer = page.syscall(TODAY.number(), 64, QUIET.into());
        let (kind, written) = match answer {
            Ok(11) => (0, 11),
            Ok(len) if len == largest => (1, len),
            Err(Errno::INVAL) => (2, 0),
            Err(Errno::TOOBIG) => (3, 0),
            other => panic!("{other:?}"),
        };
        seen[kind] += 1;
        let (said, rest) = letter.room.bytes().split_at(written);
        assert_eq!(said, ANSWER.repeat(written / 11), "as long as was said");
        assert!(rest.iter().all(|byte| *byte == CANARY), "{answer:?}, and more was written");
        seen.iter().all(|count| *count > 0)
    });
    println!("short, long, EINVAL, E2BIG: {seen:?}");
}

#[test]
fn callers_do_not_see_one_another() {
    const EACH: u32 = 100;
    let _watchdog = Watchdog::new(TOO_LONG);
    thread::scope(|scope| {
        for repeat in 0..4 {
            scope.spawn(move || {
                let expected = ANSWER.repeat(1 + repeat as usize);
                let letter = Letter::new(&[b'm'; CAPACITY], expected.len());
                for _ in 0..EACH {
                    assert_eq!(letter.with(|greeting| greeting.repeat = repeat), Ok(expected.len()));
                    assert_eq!(letter.room.bytes(), expected);
                    let mut buffer = with_canaries(b"hi\0");
                    assert_eq!(HOWTO.call(&mut buffer), Ok(12));
                    assert_eq!(buffer, with_canaries(STRING));
                }
            });
        }
    });
}

#[test]
fn a_copy_that_fails_anywhere_fails_the_call() {
    let mut memory = Guarded::holding(&with_canaries(b"hi\0")).unwrap();
    // The first call of a process also asks for the kernel's release, which must not fail.
    assert_eq!(memory.syscall(HOWTO.number(), 0, 300, 0), Ok(12));
    let places = at_each_place(
        || memory.syscall(HOWTO.number(), 0, 300, 0),
        |place, answer| assert!(matches!(answer, Ok(12) | Err(Errno::FAULT)), "{place}: {answer:?}"),
    );
    if let Some(places) = places {
        assert!(places >= 2, "one copy in and one out");
        assert_eq!(memory.bytes(), with_canaries(STRING));
    }

    let letter = Letter::new(b"hi", 33);
    let mut greeting = letter.greeting;
    greeting.repeat = 2;
    let mut memory = Guarded::holding(&sized(&greeting, 64)).unwrap();
    let mut failed = 0;
    let places = at_each_place(
        || memory.syscall(TODAY.number(), 0, 64, QUIET.into()),
        |place, answer| {
            assert!(matches!(answer, Ok(33) | Err(Errno::FAULT)), "{place}: {answer:?}");
            failed += usize::from(answer.is_err());
        },
    );
    if let Some(places) = places {
        assert!(places >= 5, "the struct, the message, the answer three times");
        assert!(failed >= 5, "{failed} failed");
        assert_eq!(letter.room.bytes(), ANSWER.repeat(3));
    }
}
