// SPDX-License-Identifier: MIT OR Apache-2.0

//! What whoever is signalled by the kernel can rely on, tried by being signalled.
//!
//! These run in the lab's VM as root, each in a process of its own, with the module loaded.

// new: begin
use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use callgate::Errno;
use callgate::kmsg::Log;
use callgate::module;
use callgate::signal::{self, Blocked, Code, Fd, Handled, Received, Signal};
use callgate::testing::Refusals;
use callgate::testing::faults::{at_each_place, at_last_places};
use callgate::testing::memory::{Guarded, Hole};
use callgate::testing::numbers::NO_NUMBERS;
use callgate::testing::process::Idle;
use callgate::testing::tools::{self, Tool};
use callgate::testing::unload::{Use, cycles, while_used};
use callgate::testing::worker::Worker;
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::process::{Pid, getpid};
use rustix::thread::gettid;

use super::abi::{FILE, GATE, MAX_COUNT, RECEIVER, SIGNAL, VALUE};

/// Every wait ends here at the latest; it is generous, because an emulated debug kernel is slow.
const LIMIT: Duration = Duration::from_secs(30);

/// How long it takes to be sure that no signal comes. They come at once or not at all.
const AT_ONCE: Duration = Duration::from_millis(20);

const MODULE: &str = "callgate_signal";
const MODULE_FILE: &str = "/modules/callgate_signal.ko";

const ROOT: &str = "/sys/kernel/debug";

/// A normal signal that nobody else uses.
const NORMAL: i32 = rustix::process::Signal::USR1.as_raw();

fn sig(number: i32) -> Signal {
    Signal::new(number).unwrap()
}

// new: end
fn howtos_file() -> String {
    format!("{ROOT}/{FILE}")
}

// new: begin
fn receiver_file() -> String {
    format!("{ROOT}/{GATE}/{RECEIVER}")
}

fn open(path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
}

// new: end
/// What one write(2) to the HOWTO's file is answered.
fn howto(bytes: impl AsRef<[u8]>) -> Result<usize, Errno> {
    rustix::io::write(open(&howtos_file(), OFlags::WRONLY)?, bytes.as_ref())
}

// new: begin
/// The file that remembers a receiver, open.
struct Sender(OwnedFd);

impl Sender {
    fn new() -> Self {
        Self(open(&receiver_file(), OFlags::RDWR).unwrap())
    }

    fn to(number: Pid) -> Self {
        let sender = Self::new();
        sender.register(number).unwrap();
        sender
    }

    fn tell(&self, command: impl AsRef<[u8]>) -> Result<usize, Errno> {
        rustix::io::write(&self.0, command.as_ref())
    }

    fn register(&self, number: Pid) -> Result<usize, Errno> {
        self.tell(format!("register {number}"))
    }

    fn send(&self, signal: i32, value: i32, count: usize) -> Result<usize, Errno> {
        self.tell(format!("send {signal} {value} {count}"))
    }

    /// How many of the last ones the kernel took.
    fn sent(&self) -> usize {
        let mut text = [0; 16];
        let len = rustix::io::pread(&self.0, &mut text, 0).unwrap();
        let text = std::str::from_utf8(&text[..len]).unwrap();
        text.strip_suffix('\n').unwrap().parse().unwrap()
    }
}

/// What the kernel sends: nobody, by no process.
fn from_kernel(signal: i32, value: i32) -> Received {
    Received { signal: sig(signal), code: Code::Queue, value, pid: 0, uid: 0 }
}

fn values(blocked: &Blocked) -> Vec<i32> {
    std::iter::from_fn(|| blocked.wait(Duration::ZERO).unwrap())
        .map(|received| received.value)
        .collect()
}

/// A program that does nothing, or executes another when it is told.
struct Program(Child);

impl Program {
    /// `line` is for the shell, which first says that it is there and then waits for a line.
    fn new(line: &str, user: u32) -> Self {
        let mut child = Command::new("/bin/bash")
            .args(["-c", &format!("echo; read; {line}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .uid(user)
            .gid(user)
            .spawn()
            .unwrap();
        rustix::io::read(child.stdout.as_mut().unwrap(), &mut [0; 1]).unwrap();
        Self(child)
    }

    fn idle() -> Self {
        Self::new("", 0)
    }

    fn number(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// Lets it go on, until it is called `name`.
    fn becomes(&mut self, name: &str) {
        self.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        let path = format!("/proc/{}/comm", self.number());
        let end = Instant::now() + LIMIT;
        while fs::read_to_string(&path).unwrap().trim_end() != name {
            assert!(Instant::now() < end, "it did not execute {name}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_there(&mut self) -> bool {
        thread::sleep(AT_ONCE);
        self.0.try_wait().unwrap().is_none()
    }

    /// The signal that it died of.
    fn died_of(&mut self) -> Option<i32> {
        self.0.wait().unwrap().signal()
    }

    /// Ended, but not reaped.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        let path = format!("/proc/{}/stat", self.number());
        while !fs::read_to_string(&path).unwrap().contains(") Z ") {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn load() {
    module::load(MODULE_FILE, "").unwrap();
}

fn unload() {
    module::unload(MODULE).unwrap();
}

#[test]
fn the_program_runs() {
    super::program::main().unwrap();
}

// new: end
// ---- The HOWTO's exchange -----------------------------------------------------------------------

#[test]
fn the_files_are_where_they_should_be() {
    let files = format!("stat -c '%a %u %g %F' {} {}", howtos_file(), receiver_file());
    let empty = "regular empty file";
    assert_eq!(tools::shell(&files).success(), format!("200 0 0 {empty}\n600 0 0 {empty}\n"));
}

#[test]
fn a_handler_gets_the_signal_with_its_value() {
    let handled = Handled::new(sig(SIGNAL)).unwrap();
    let number = gettid().to_string();
    assert_eq!(howto(&number), Ok(number.len()));
    assert_eq!(handled.wait(LIMIT).unwrap(), Some(from_kernel(SIGNAL, VALUE)));
    assert_eq!(handled.wait(AT_ONCE).unwrap(), None);
}

#[test]
fn a_thread_that_waits_gets_it() {
    let blocked = Blocked::new(&[sig(SIGNAL)]).unwrap();
    let number = gettid();
    let other = thread::spawn(move || howto(number.to_string()));
    assert_eq!(blocked.wait(LIMIT).unwrap(), Some(from_kernel(SIGNAL, VALUE)));
    assert!(other.join().unwrap().is_ok());
}

#[test]
fn a_file_gives_it() {
    let blocked = Blocked::new(&[sig(SIGNAL)]).unwrap();
    let fd = Fd::new(&blocked).unwrap();
    assert_eq!(fd.wait(AT_ONCE).unwrap(), None);
    howto(gettid().to_string()).unwrap();
    assert_eq!(fd.wait(LIMIT).unwrap(), Some(from_kernel(SIGNAL, VALUE)));
}

#[test]
fn the_shell_gets_it() {
    let line = format!("trap 'echo received' {SIGNAL}; echo $$ > {}; echo end", howtos_file());
    assert_eq!(tools::shell(&line).success(), "received\nend\n");
}

#[test]
fn the_module_says_whom_it_signals() {
    let blocked = Blocked::new(&[sig(SIGNAL)]).unwrap();
    let mut log = Log::from_now().unwrap();
    howto(gettid().to_string()).unwrap();
    assert!(log.wait_for(&format!("callgate_signal: pid = {}", gettid()), LIMIT).unwrap());
    assert_eq!(howto("-5"), Err(Errno::NODEV));
    assert!(log.wait_for("callgate_signal: pid = -5", LIMIT).unwrap());
    assert!(log.wait_for("callgate_signal: no such pid", LIMIT).unwrap());
    assert_eq!(values(&blocked), [VALUE]);
}

#[test]
fn a_number_may_be_written_in_some_ways() {
    let blocked = Blocked::new(&[sig(SIGNAL)]).unwrap();
    let number = gettid();
    let ways = [
        format!("{number}"),
        format!("{number}\n"),
        format!("+{number}"),
        format!("{number:010}"),
        format!("{number:09}\n"),
    ];
    for way in &ways {
        assert_eq!(howto(way), Ok(way.len()), "{way:?}");
    }
    assert_eq!(values(&blocked).len(), ways.len());
    assert_eq!(howto(""), Ok(0));
    let file = open(&howtos_file(), OFlags::WRONLY).unwrap();
    assert_eq!(Hole::Unmapped.write(&file, 0), Ok(0));
    assert_eq!(values(&blocked), [0; 0]);
}

#[test]
fn all_that_the_receiver_sees_is_meant_for_it() {
    let blocked = Blocked::new(&[sig(SIGNAL)]).unwrap();
    Sender::to(gettid()).send(SIGNAL, -1, 1).unwrap();
    let mut expected = [0; 128];
    expected[..4].copy_from_slice(&SIGNAL.to_ne_bytes());
    expected[8..12].copy_from_slice(&(-1_i32).to_ne_bytes());
    expected[24..28].copy_from_slice(&(-1_i32).to_ne_bytes());
    assert_eq!(blocked.wait_for_bytes(LIMIT).unwrap(), expected);
}

// ---- Many signals -------------------------------------------------------------------------------

// new: begin
#[test]
fn normal_signals_coalesce() {
    let blocked = Blocked::new(&[sig(NORMAL)]).unwrap();
    let sender = Sender::to(gettid());
    for first in [5, 7000] {
        sender.send(NORMAL, first, 100).unwrap();
        assert_eq!(sender.sent(), 100);
        // The first one came; those after it were lost, with their values.
        assert_eq!(values(&blocked), [first]);
    }
}

#[test]
fn real_time_signals_are_queued_in_order() {
    let blocked = Blocked::new(&[sig(SIGNAL)]).unwrap();
    let sender = Sender::to(gettid());
    sender.send(SIGNAL, 5, 100).unwrap();
    assert_eq!(sender.sent(), 100);
    assert_eq!(values(&blocked), (5..105).collect::<Vec<_>>());
}

// new: end
#[test]
fn the_lowest_number_comes_first() {
    let numbers = [64, SIGNAL, 40, NORMAL];
    let blocked = Blocked::new(&numbers.map(sig)).unwrap();
    let sender = Sender::to(gettid());
    for number in numbers {
        sender.send(number, number, 2).unwrap();
    }
    assert_eq!(values(&blocked), [NORMAL, 40, 41, SIGNAL, SIGNAL + 1, 64, 65]);
}

// new: begin
#[test]
fn a_handler_is_called_for_each() {
    let handled = Handled::new(sig(SIGNAL)).unwrap();
    Sender::to(gettid()).send(SIGNAL, 1, 500).unwrap();
    for value in 1..=500 {
        assert_eq!(handled.wait(LIMIT).unwrap(), Some(from_kernel(SIGNAL, value)));
    }
    assert_eq!(handled.lost(), 0);
}

// new: end
#[test]
fn values_are_all_that_an_int_can_be() {
    let blocked = Blocked::new(&[sig(SIGNAL)]).unwrap();
    let sender = Sender::to(gettid());
    sender.send(SIGNAL, i32::MAX, 2).unwrap();
    sender.send(SIGNAL, -1, 2).unwrap();
    assert_eq!(values(&blocked), [i32::MAX, i32::MIN, -1, 0]);
}

// new: begin
/// How many signals are pending for this user.
fn pending() -> usize {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let queue = status.lines().find_map(|line| line.strip_prefix("SigQ:\t")).unwrap();
    queue.split('/').next().unwrap().parse().unwrap()
}

#[test]
fn the_queue_has_a_limit() {
    const MOST: usize = 50;
    let blocked = Blocked::new(&[sig(NORMAL), sig(SIGNAL)]).unwrap();
    let sender = Sender::to(gettid());
    let room = MOST - pending();
    signal::set_limit(MOST as u64).unwrap();
    assert_eq!(sender.send(SIGNAL, 0, room + 10), Err(Errno::AGAIN));
    assert_eq!(sender.sent(), room);
    // new: end
    assert_eq!(howto(gettid().to_string()), Err(Errno::AGAIN));
    // new: begin
    // A normal signal comes all the same, but without its value.
    sender.send(NORMAL, 7, 1).unwrap();
    let normal = Received { code: Code::User, value: 0, ..from_kernel(NORMAL, 0) };
    assert_eq!(blocked.wait(LIMIT).unwrap(), Some(normal));

    let expected: Vec<_> = (0..).take(room).collect();
    assert_eq!(values(&blocked), expected);
    sender.send(SIGNAL, 0, room).unwrap();
    assert_eq!(values(&blocked), expected, "there is room again");
}

#[test]
fn several_senders_lose_nothing() {
    const EACH: usize = 100;
    let blocked = Blocked::new(&[sig(SIGNAL)]).unwrap();
    let (me, begin) = (gettid(), Barrier::new(4));
    thread::scope(|scope| {
        for first in [0, 1000, 2000, 3000] {
            let begin = &begin;
            scope.spawn(move || {
                let sender = Sender::to(me);
                begin.wait();
                sender.send(SIGNAL, first, EACH).unwrap();
            });
        }
    });
    let mut all = values(&blocked);
    for first in [0, 1000, 2000, 3000] {
        let of_one: Vec<_> = all.extract_if(.., |value| *value / 1000 == first / 1000).collect();
        assert_eq!(of_one, (first..).take(EACH).collect::<Vec<_>>());
    }
    assert_eq!(all, [0; 0]);
}

// new: end
// ---- The right receiver -------------------------------------------------------------------------

#[test]
fn one_thread_gets_it_and_no_other() {
    let blocked = Blocked::new(&[sig(SIGNAL)]).unwrap();
    let (tell, told) = mpsc::channel();
    let other = Worker::spawn(move || {
        let blocked = Blocked::new(&[sig(SIGNAL)]).unwrap();
        tell.send(()).unwrap();
        (blocked.wait(LIMIT).unwrap(), blocked.wait(AT_ONCE).unwrap())
    });
    told.recv().unwrap();
    howto(other.thread().to_string()).unwrap();
    assert_eq!(other.finish(LIMIT), (Some(from_kernel(SIGNAL, VALUE)), None));
    assert_eq!(blocked.wait(AT_ONCE).unwrap(), None);
}

#[test]
fn a_process_number_is_its_first_thread() {
    let mut program = Program::idle();
    howto(program.number().to_string()).unwrap();
    assert_eq!(program.died_of(), Some(SIGNAL));
}

#[test]
fn any_signal_can_be_sent() {
    for number in [1, 9, 15, 34, 64] {
        let mut program = Program::idle();
        Sender::to(program.number()).send(number, 0, 1).unwrap();
        assert_eq!(program.died_of(), Some(number));
    }
}

#[test]
fn who_ignores_a_signal_is_left_alone() {
    let mut program = Program::new(&format!("trap '' {SIGNAL}; exec sleep 1000"), 0);
    program.becomes("sleep");
    let sender = Sender::to(program.number());
    sender.send(SIGNAL, 0, 10).unwrap();
    assert_eq!(sender.sent(), 10);
    assert!(program.is_there());
}

// new: begin
#[test]
fn who_has_ended_gets_none() {
    let mut program = Program::idle();
    let (sender, number) = (Sender::to(program.number()), program.number());
    program.kill();
    assert_eq!(sender.send(SIGNAL, 0, 3), Err(Errno::SRCH), "it is not reaped yet");
    assert_eq!(sender.sent(), 0);
    // new: end
    assert_eq!(howto(number.to_string()), Err(Errno::NODEV), "it is not reaped yet");
    // new: begin
    assert_eq!(program.died_of(), Some(9));
    assert_eq!(sender.send(SIGNAL, 0, 3), Err(Errno::SRCH));
    // new: end
    assert_eq!(howto(number.to_string()), Err(Errno::NODEV));
    // new: begin
    assert_eq!(Sender::new().register(number), Err(Errno::NODEV));
}

// new: end
#[test]
fn a_thread_that_has_ended_gets_none() {
    let worker = Worker::spawn(|| Sender::to(gettid()));
    let number = worker.thread();
    let sender = worker.finish(LIMIT);
    let end = Instant::now() + LIMIT;
    while fs::exists(format!("/proc/self/task/{number}")).unwrap() {
        assert!(Instant::now() < end);
    }
    assert_eq!(sender.send(SIGNAL, 0, 1), Err(Errno::SRCH));
}

#[test]
fn whoever_has_the_number_next_gets_none() {
    let mut program = Program::idle();
    let (sender, number) = (Sender::to(program.number()), program.number());
    program.kill();
    program.died_of();
    let mut next = Idle::with_number(number).unwrap();
    assert_eq!(next.number(), number);
    assert_eq!(sender.send(SIGNAL, 0, 3), Err(Errno::SRCH));
    thread::sleep(AT_ONCE);
    assert!(next.ended().unwrap().is_none());
    // It would have, had it been meant.
    howto(number.to_string()).unwrap();
    let end = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = next.ended().unwrap() {
            break status;
        }
        assert!(Instant::now() < end);
    };
    assert_eq!(status.terminating_signal(), Some(SIGNAL));
}

// new: begin
#[test]
fn another_program_in_the_same_process_gets_none() {
    let mut program = Program::new("exec sleep 1000", 0);
    let sender = Sender::to(program.number());
    program.becomes("sleep");
    assert_eq!(sender.send(SIGNAL, 0, 3), Err(Errno::SRCH));
    assert!(program.is_there());
    // It would have, had it been meant.
    sender.register(program.number()).unwrap();
    sender.send(SIGNAL, 0, 1).unwrap();
    assert_eq!(program.died_of(), Some(SIGNAL));
}

// new: end
#[test]
fn a_set_user_id_program_gets_none() {
    const SLEEP: &str = "/tmp/callgate_sleep";
    fs::copy("/bin/sleep", SLEEP).unwrap();
    fs::set_permissions(SLEEP, fs::Permissions::from_mode(0o4755)).unwrap();
    let mut program = Program::new(&format!("exec {SLEEP} 1000"), 65534);
    let sender = Sender::to(program.number());
    program.becomes("callgate_sleep");
    let status = fs::read_to_string(format!("/proc/{}/status", program.number())).unwrap();
    assert!(status.contains("Uid:\t65534\t0\t0\t0\n"), "{status}");
    assert_eq!(sender.send(SIGNAL, 0, 3), Err(Errno::SRCH));
    assert!(program.is_there());
    fs::remove_file(SLEEP).unwrap();
}

#[test]
fn who_forks_stays_the_receiver_alone() {
    let line = format!("trap 'echo received' {SIGNAL}; sleep 1000 & echo $!; read; jobs -r %1");
    let mut program = Program::new(&line, 0);
    let sender = Sender::to(program.number());
    let output = program.0.stdout.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(output));
    program.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let child = lines.next().unwrap().unwrap();
    sender.send(SIGNAL, 0, 1).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "received");
    let command = fs::read_to_string(format!("/proc/{child}/comm")).unwrap();
    assert!(["sleep\n", "bash\n"].contains(&command.as_str()), "{command}");
    let child = Pid::from_raw(child.parse().unwrap()).unwrap();
    rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
}

// new: begin
#[test]
fn each_open_file_has_a_receiver_of_its_own() {
    // It would inherit what is blocked.
    let mut program = Program::idle();
    let blocked = Blocked::new(&[sig(SIGNAL)]).unwrap();
    let (one, other) = (Sender::to(gettid()), Sender::to(program.number()));
    one.send(SIGNAL, 1, 1).unwrap();
    assert!(program.is_there());
    assert_eq!((one.sent(), other.sent()), (1, 0));
    other.send(SIGNAL, 2, 1).unwrap();
    assert_eq!(program.died_of(), Some(SIGNAL));
    assert_eq!(values(&blocked), [1]);
    // Another number takes the place of the first, also one that is nobody's.
    assert_eq!(one.tell("register 0"), Err(Errno::NODEV));
    assert_eq!(one.send(SIGNAL, 1, 1), Err(Errno::NODEV));
    assert_eq!(values(&blocked), [0; 0]);
}

// new: end
#[test]
fn a_number_is_that_of_the_namespace_it_is_said_in() {
    // The shell is 1 there, and nobody is what we are here.
    let me = getpid();
    let inside = |line: &str| {
        let line = line.replace("FILE", &howtos_file());
        Tool::new("unshare").args(["--pid", "--fork", "bash", "-c", &line]).run()
    };
    let line = format!("trap 'echo received' {SIGNAL}; echo $$; echo $$ > FILE; echo end");
    assert_eq!(inside(&line).success(), "1\nreceived\nend\n");
    assert_eq!(inside(&format!("echo {me} > FILE; exit $?")).answer(), Err(Errno::NODEV));
}

#[test]
fn a_receiver_in_another_namespace_is_reached_from_here() {
    let line = format!("exec unshare --pid --fork bash -c 'trap \"exit 7\" {SIGNAL}; echo; read'");
    let mut program = Program::new(&line, 0);
    program.becomes("unshare");
    rustix::io::read(program.0.stdout.as_mut().unwrap(), &mut [0; 1]).unwrap();
    let children = format!("/proc/{0}/task/{0}/children", program.number());
    let child = match fs::read_to_string(children) {
        Ok(children) => children.trim().to_owned(),
        Err(_) => Tool::new("ps")
            .args(["-o", "pid=", "--ppid", &program.number().to_string()])
            .run()
            .success()
            .trim()
            .to_owned(),
    };
    let sender = Sender::to(Pid::from_raw(child.parse().unwrap()).unwrap());
    sender.send(SIGNAL, 0, 1).unwrap();
    assert_eq!(program.0.wait().unwrap().code(), Some(7));
    assert_eq!(sender.send(SIGNAL, 0, 1), Err(Errno::SRCH), "it went with its namespace");
}

// ---- Bad input ----------------------------------------------------------------------------------

#[test]
fn what_is_no_process_is_refused() {
    let blocked = Blocked::new(&[sig(SIGNAL)]).unwrap();
    let mut refusals = Refusals::new();
    for (bytes, errno) in NO_NUMBERS {
        // Octal is no matter here; and what no number can hold is more than fits.
        let errno = match bytes {
            b"08" => Errno::NODEV,
            _ if errno == Errno::RANGE => Errno::INVAL,
            _ => errno,
        };
        let shown = String::from_utf8_lossy(bytes);
        refusals.case(&format!("{shown:?}"), errno, howto(bytes));
    }
    for (text, errno) in [
        ("00000000001", Errno::INVAL),
        ("-999999999\n", Errno::INVAL),
        ("0x1", Errno::INVAL),
        ("2147483648", Errno::RANGE),
        ("4294967297", Errno::RANGE),
        ("9999999999", Errno::RANGE),
        ("2147483647", Errno::NODEV),
        ("4194304", Errno::NODEV),
        ("0", Errno::NODEV),
        ("+0", Errno::NODEV),
        ("-0", Errno::NODEV),
        ("-1", Errno::NODEV),
        ("-999999999", Errno::NODEV),
        // A thread of the kernel's own.
        ("2", Errno::NODEV),
    ] {
        refusals.case(text, errno, howto(text));
    }
    let number = format!("-{}", gettid());
    refusals.case("a group", Errno::NODEV, howto(number));
    refusals.case("a page", Errno::INVAL, howto([b'1'; 4096]));
    refusals.finish();
    assert_eq!(values(&blocked), [0; 0]);
}

// new: begin
#[test]
fn commands_that_make_no_sense_are_refused() {
    let blocked = Blocked::new(&[sig(SIGNAL)]).unwrap();
    let mut refusals = Refusals::new();
    let sender = Sender::new();
    refusals.case("nobody to send to", Errno::NODEV, sender.tell("send 44 1 1"));
    sender.register(gettid()).unwrap();
    for (command, errno) in [
        ("\n", Errno::INVAL),
        ("register", Errno::INVAL),
        ("register x", Errno::INVAL),
        ("register 1 1", Errno::INVAL),
        ("register 2147483648", Errno::RANGE),
        ("send 44 1", Errno::INVAL),
        ("send 44 1 1 1", Errno::INVAL),
        ("send 0 1 1", Errno::INVAL),
        ("send 65 1 1", Errno::INVAL),
        ("send 44 2147483648 1", Errno::RANGE),
        ("send 44 1 0", Errno::INVAL),
        ("kill 44", Errno::INVAL),
        // new: end
        (" ", Errno::INVAL),
        ("\0", Errno::INVAL),
        ("44", Errno::INVAL),
        ("register\n", Errno::INVAL),
        ("register ", Errno::INVAL),
        ("register 0x1", Errno::INVAL),
        ("register  1", Errno::INVAL),
        ("register 1 ", Errno::INVAL),
        ("register 1\n\n", Errno::INVAL),
        ("register 1\0", Errno::INVAL),
        (" register 1", Errno::INVAL),
        ("Register 1", Errno::INVAL),
        ("registered 1", Errno::INVAL),
        ("register\t1", Errno::INVAL),
        ("register -", Errno::INVAL),
        ("register -2147483649", Errno::RANGE),
        ("send", Errno::INVAL),
        ("send 44", Errno::INVAL),
        ("send 44 1 ", Errno::INVAL),
        ("send 44  1 1", Errno::INVAL),
        ("send 44 1 one", Errno::INVAL),
        ("send 44 1.0 1", Errno::INVAL),
        ("send 0x2c 1 1", Errno::INVAL),
        ("send -1 1 1", Errno::INVAL),
        ("send -44 1 1", Errno::INVAL),
        ("send 128 1 1", Errno::INVAL),
        ("send 300 1 1", Errno::INVAL),
        ("send 2147483648 1 1", Errno::RANGE),
        ("send 44 -2147483649 1", Errno::RANGE),
        ("send 44 1 2147483648", Errno::RANGE),
        ("send 44 1 -1", Errno::INVAL),
        // new: begin
    ] {
        refusals.case(&format!("{command:?}"), errno, sender.tell(command));
    }
    let many = format!("send 44 1 {}", MAX_COUNT + 1);
    refusals.case("too many", Errno::INVAL, sender.tell(many));
    // new: end
    let long = format!("send 44 1 {:055}", 1);
    refusals.case("65 bytes", Errno::INVAL, sender.tell(&long));
    // new: begin
    refusals.case("no text", Errno::INVAL, sender.tell(b"send 44 1 \xff"));
    refusals.finish();
    assert_eq!(values(&blocked), [0; 0]);
    // new: end
    // None of them took the receiver away; and so long may it be.
    assert_eq!(sender.tell(long.replacen('0', "", 1)), Ok(64));
    assert_eq!(sender.tell(""), Ok(0));
    assert_eq!(values(&blocked), [1]);
    // new: begin
}

// new: end
#[test]
fn memory_that_ends_or_is_not_there_is_refused() {
    let blocked = Blocked::new(&[sig(SIGNAL)]).unwrap();
    let mut refusals = Refusals::new();
    let (file, sender) = (open(&howtos_file(), OFlags::WRONLY).unwrap(), Sender::to(gettid()));
    let number = Guarded::holding(gettid().to_string().as_bytes()).unwrap();
    let len = number.bytes().len();
    refusals.case("beyond the end", Errno::FAULT, number.write(&file, len + 1));
    let command = Guarded::holding(b"send 44 1 1").unwrap();
    refusals.case("beyond the end", Errno::FAULT, command.write(&sender.0, 12));
    for hole in Hole::ALL {
        // There, zeroes can be read.
        let errno = if hole == Hole::ReadOnly { Errno::INVAL } else { Errno::FAULT };
        refusals.case(&format!("{hole:?}"), errno, hole.write(&file, 4));
        refusals.case(&format!("{hole:?}"), errno, hole.write(&sender.0, 4));
        refusals.case(&format!("{hole:?}"), Errno::FAULT, hole.read(&sender.0, 4));
    }
    refusals.finish();
    assert_eq!(values(&blocked), [0; 0]);
    assert_eq!(number.write(&file, len), Ok(len));
    assert_eq!(values(&blocked), [VALUE]);
}

#[test]
fn the_files_can_do_nothing_else() {
    let mut refusals = Refusals::new();
    let file = open(&howtos_file(), OFlags::RDWR).unwrap();
    refusals.case("read", Errno::INVAL, rustix::io::read(&file, &mut [0; 4]));
    refusals.case("lseek", Errno::SPIPE, rustix::fs::seek(&file, SeekFrom::Start(0)));
    refusals.case("pwrite", Errno::SPIPE, rustix::io::pwrite(&file, b"1", 1));
    let writable = open(&howtos_file(), OFlags::WRONLY).unwrap();
    refusals.case("read", Errno::BADF, rustix::io::read(&writable, &mut [0; 4]));
    let readable = open(&receiver_file(), OFlags::RDONLY).unwrap();
    refusals.case("write", Errno::BADF, rustix::io::write(&readable, b"register 1"));
    for path in [howtos_file(), receiver_file()] {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        refusals.case("create", Errno::EXIST, open(&path, flags));
        refusals.case("directory", Errno::NOTDIR, open(&path, OFlags::DIRECTORY));
        refusals.case("unlink", Errno::PERM, rustix::fs::unlink(&path));
        let other = format!("{path}2");
        refusals.case("rename", Errno::PERM, rustix::fs::rename(&path, &other));
    }
    refusals.finish();
    let fd = Sender::to(gettid());
    assert_eq!(rustix::io::pwrite(&fd.0, b"register 0", 99), Err(Errno::NODEV), "the offset is no matter");
}

// new: begin
#[test]
fn strangers_are_kept_out() {
    let mut refusals = Refusals::new();
    for path in [
        // new: end
        howtos_file(),
        // new: begin
        receiver_file(),
    ] {
        for flags in ["r", "w", "rw"] {
            let line = format!("exec 3{}{path}", if flags == "r" { "<" } else { ">" });
            let nobody = Tool::shell(&line).user(65534, 65534).run();
            refusals.case(&format!("{path} {flags}"), Errno::ACCESS, nobody.answer());
        }
    }
    refusals.finish();
}

// new: end
#[test]
fn debugfs_mounted_read_only_is_not_written() {
    let mount = |options: &str| Tool::new("mount").args(["-o", options, ROOT]).run().success();
    mount("remount,ro");
    let refused = [howtos_file(), receiver_file()].map(|path| open(&path, OFlags::WRONLY));
    mount("remount,rw,mode=700");
    for refused in refused {
        assert_eq!(refused.map(drop), Err(Errno::ROFS));
    }
}

// ---- Without memory -----------------------------------------------------------------------------

#[test]
fn it_survives_every_failure() {
    let blocked = Blocked::new(&[sig(SIGNAL)]).unwrap();
    let sender = Sender::to(gettid());
    at_each_place(
        || sender.send(SIGNAL, 1, 3),
        |place, result| {
            assert!(
                matches!(result, Ok(_) | Err(Errno::AGAIN | Errno::FAULT)),
                "place {place}: {result:?}"
            );
            let came = values(&blocked).len();
            // A fault in the copy came before anything was sent, so the count is that of the last one.
            assert!(result == Err(Errno::FAULT) || came == sender.sent(), "place {place}");
        },
    );
    let number = gettid().to_string();
    at_each_place(
        || open(&receiver_file(), OFlags::RDWR).map(Sender).and_then(|sender| {
            sender.tell(format!("register {number}"))
        }),
        |place, result| {
            let expected = matches!(result, Ok(_) | Err(Errno::NOMEM | Errno::FAULT | Errno::NODEV));
            assert!(expected, "place {place}: {result:?}");
        },
    );
}

#[test]
fn a_load_that_fails_leaves_nothing() {
    unload();
    let mut failed = 0;
    let places = at_last_places(
        40,
        || module::load(MODULE_FILE, "").map_err(|error| error.errno()),
        |place, loaded| match loaded {
            // A file that could not be made is no error for debugfs.
            Ok(()) => unload(),
            Err(errno) => {
                failed += 1;
                assert_eq!(errno, Some(Errno::NOMEM), "place {place}");
                assert!(!fs::exists(howtos_file()).unwrap(), "place {place}");
            }
        },
    );
    load();
    assert!(places.is_none() || failed > 0);
    let blocked = Blocked::new(&[sig(SIGNAL)]).unwrap();
    howto(gettid().to_string()).unwrap();
    assert_eq!(values(&blocked), [VALUE]);
}

// ---- Unloading ----------------------------------------------------------------------------------

#[test]
fn an_open_file_keeps_the_module() {
    for path in [howtos_file(), receiver_file()] {
        let file = open(&path, OFlags::WRONLY).unwrap();
        let refused = module::unload(MODULE).unwrap_err();
        assert_eq!(refused.errno(), Some(Errno::AGAIN), "{path}");
        drop(file);
    }
    unload();
    let mut refusals = Refusals::new();
    refusals.case("gone", Errno::NOENT, howto("1"));
    refusals.case("gone", Errno::NOENT, open(&receiver_file(), OFlags::RDWR));
    refusals.finish();
    load();
}

// new: begin
#[test]
fn signals_outlive_the_module() {
    let blocked = Blocked::new(&[sig(SIGNAL)]).unwrap();
    for cycle in 0..cycles() {
        Sender::to(gettid()).send(SIGNAL, 0, 20).unwrap();
        unload();
        if cycle % 2 == 0 {
            assert_eq!(values(&blocked), (0..20).collect::<Vec<_>>());
        }
        load();
        if cycle % 2 == 1 {
            assert_eq!(values(&blocked), (0..20).collect::<Vec<_>>());
        }
    }
}

// new: end
#[test]
fn who_waits_may_wait_while_the_module_goes_and_comes() {
    for _ in 0..cycles() {
        let (tell, told) = mpsc::channel();
        let waiter = Worker::spawn(move || {
            let blocked = Blocked::new(&[sig(SIGNAL)]).unwrap();
            tell.send(()).unwrap();
            blocked.wait(LIMIT).unwrap()
        });
        told.recv().unwrap();
        unload();
        load();
        howto(waiter.thread().to_string()).unwrap();
        assert_eq!(waiter.finish(LIMIT), Some(from_kernel(SIGNAL, VALUE)));
    }
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

#[test]
fn it_unloads_from_under_those_who_ask() {
    let ask = || {
        let blocked = Blocked::new(&[sig(SIGNAL)]).unwrap();
        let asked = howto(gettid().to_string());
        let came = values(&blocked);
        assert_eq!(came.len(), usize::from(asked.is_ok()));
        used(&asked)
    };
    while_used(MODULE, MODULE_FILE, LIMIT, &[&ask, &ask]);
}

#[test]
fn it_unloads_from_under_senders_and_receivers() {
    let signal = || {
        let blocked = Blocked::new(&[sig(SIGNAL)]).unwrap();
        let sent = open(&receiver_file(), OFlags::RDWR).map(Sender).map(|sender| {
            sender.register(gettid()).unwrap();
            sender.send(SIGNAL, 0, 10).unwrap();
            assert_eq!(sender.sent(), 10);
            assert_eq!(values(&blocked).len(), 10);
        });
        used(&sent)
    };
    let ask = || used(&howto("0").or_else(|errno| match errno {
        Errno::NODEV => Ok(0),
        errno => Err(errno),
    }));
    while_used(MODULE, MODULE_FILE, LIMIT, &[&signal, &ask]);
}
