// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a user of the protocol can rely on.
//!
//! These run in the lab's VM as root, each in a process of its own, with the module loaded. Most make a
//! wire of their own, a pair of veth devices, of which one end is asked and the other asks. A thread that
//! has such a wire stays on its CPU, and so its frames come in the order in which they were sent.

// new: begin
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use callgate::Errno;
use callgate::kmsg::{Log, Origin};
use callgate::link::{Link, Veth};
use callgate::module;
use callgate::packet::{Address, Frame, Socket, To, ethernet_header};
use callgate::testing::Refusals;
use callgate::testing::faults::at_last_places;
use callgate::testing::memory::{Guarded, Hole};
use callgate::testing::namespace::Network;
use callgate::testing::tools::{self, Tool};
use callgate::testing::unload::{self, Use, while_used};
use callgate::testing::worker::{Watchdog, as_nobody};
use rustix::thread::CpuSet;
use zerocopy::{FromBytes as _, IntoBytes};

use super::abi::{
    ANSWER, COUNT, Counts, ECHO, ETHER_TYPE, GREETING, HELLO, Header, TEXT_CAPACITY, VERSION,
};
use super::program::{self, message, parse, wait_until_running};

/// Every wait ends here at the latest; it is generous, because an emulated debug kernel is slow.
const LIMIT: Duration = Duration::from_secs(30);

/// How long a test waits for what must not come.
const MOMENT: Duration = Duration::from_millis(50);

/// A test that takes longer than this has lost its way.
const TOO_LONG: Duration = Duration::from_secs(160);

const MODULE: &str = "callgate_packet";
const MODULE_FILE: &str = "/modules/callgate_packet.ko";

/// Nobody's address; the second bit says that it was not given out by the IEEE.
const STRANGER: Address = Address([0x02, 0, 0, 0, 0, 0x77]);

/// A wire, and a socket at our end of it.
struct Wire {
    pair: Veth,
    socket: Socket,
    sequence: AtomicU32,
    _watchdog: Watchdog,
}

impl Wire {
    /// One that carries frames, and whose other end the module listens to.
    fn new() -> Self {
        Self::with_mtu(1500)
    }

    fn with_mtu(mtu: u16) -> Self {
        stay_on_this_cpu();
        // What a test left behind that was given up.
        if Link::find("cg0").is_ok() {
            tools::shell("ip link del cg0").success();
        }
        let pair = Veth::new(["cg0", "cg1"]).unwrap();
        for end in pair.ends() {
            end.set_mtu(mtu).unwrap();
            end.up().unwrap();
        }
        pair.ends().iter().for_each(|end| wait_until_running(end).unwrap());
        let socket = Socket::datagrams(&pair.ends()[0], ETHER_TYPE).unwrap();
        let sequence = AtomicU32::new(1);
        let wire = Self { pair, socket, sequence, _watchdog: Watchdog::new(TOO_LONG) };
        // The very first frames may come too early for the other end.
        let end = Instant::now() + LIMIT;
        while wire.try_ask(COUNT, b"", MOMENT).is_none() {
            assert!(Instant::now() < end, "nobody answers");
        }
        wire
    }

    fn ours(&self) -> &Link {
        &self.pair.ends()[0]
    }

    /// The address of the other end.
    fn theirs(&self) -> Address {
        self.pair.ends()[1].address().unwrap()
    }

    /// Asks, and waits for the answer.
    fn try_ask(&self, kind: u8, payload: &[u8], limit: Duration) -> Option<Vec<u8>> {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        self.socket.send(self.theirs(), &message(kind, sequence, payload)).unwrap();
        let frame = self.answer_to(sequence, limit)?;
        let (header, rest) = parse(&frame.bytes).unwrap();
        assert_eq!((header.version, header.kind), (VERSION, kind | ANSWER));
        assert_eq!((frame.to, frame.from), (To::Us, self.theirs()));
        Some(rest.to_vec())
    }

    /// The frame that answers the question with this number.
    fn answer_to(&self, sequence: u32, limit: Duration) -> Option<Frame> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let frame = self.socket.receive(left).unwrap()?;
            match parse(&frame.bytes) {
                Some((header, _)) if header.sequence == sequence => return Some(frame),
                _ => {}
            }
        }
    }

    fn ask(&self, kind: u8, payload: &[u8]) -> Vec<u8> {
        self.try_ask(kind, payload, LIMIT).expect("an answer")
    }

    /// What the module has answered and ignored.
    fn counts(&self) -> (u64, u64) {
        let counts = Counts::read_from_bytes(&self.ask(COUNT, b"")).unwrap();
        (counts.answered.get(), counts.ignored.get())
    }

    /// A socket at our end that sends whole frames.
    fn raw(&self) -> Socket {
        Socket::frames(self.ours(), ETHER_TYPE).unwrap()
    }

    /// A frame from our end to the other.
    fn frame(&self, payload: &[u8]) -> Vec<u8> {
        let header = ethernet_header(self.theirs(), self.ours().address().unwrap(), ETHER_TYPE);
        [&header, payload].concat()
    }

    /// Sends a frame, and returns what it brought: how many answers, and how many more are ignored.
    fn outcome(&self, raw: &Socket, frame: &[u8]) -> (usize, u64) {
        while self.socket.receive(Duration::ZERO).unwrap().is_some() {}
        let (_, before) = self.counts();
        raw.send_frame(frame).unwrap();
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        self.socket.send(self.theirs(), &message(COUNT, sequence, b"")).unwrap();
        // What comes before the answer to the second is an answer to the first.
        let mut answers = 0;
        loop {
            let frame = self.socket.receive(LIMIT).unwrap().expect("an answer to the second");
            let (header, rest) = parse(&frame.bytes).unwrap();
            if header.sequence == sequence {
                let counts = Counts::read_from_bytes(rest).unwrap();
                return (answers, counts.ignored.get() - before);
            }
            answers += 1;
        }
    }
}

/// Keeps this thread on one CPU.
fn stay_on_this_cpu() {
    let mut set = CpuSet::new();
    set.set(rustix::thread::sched_getcpu());
    rustix::thread::sched_setaffinity(None, &set).unwrap();
}

/// Lets this thread, and those that it starts from now on, run on all CPUs again: so the module is called on
/// several at once, and not on the one where it is unloaded.
fn run_anywhere() {
    let mut set = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|cpu| set.set(cpu));
    rustix::thread::sched_setaffinity(None, &set).unwrap();
}

/// `len` bytes that are not all the same.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 256).to_le_bytes()[0]).collect()
}

/// What the module logs of texts during `work`, in a second of its own.
fn logged_during(work: impl FnOnce()) -> Vec<String> {
    thread::sleep(Duration::from_millis(1100));
    let mut log = Log::from_now().unwrap();
    work();
    let mut lines = Vec::new();
    while let Some(record) = log.next(Duration::ZERO).unwrap() {
        let said = record.text.strip_prefix("callgate_packet: received: ");
        if let (Origin::Kernel, Some(said)) = (record.origin, said) {
            lines.push(said.to_owned());
        }
    }
    lines
}

// new: end
// ---- The protocol -------------------------------------------------------------------------------

// new: begin
#[test]
fn the_program_runs() {
    program::main().unwrap();
    program::main().unwrap();
}

#[test]
fn a_greeting_is_logged_and_answered() {
    let wire = Wire::new();
    let lines = logged_during(|| {
        assert_eq!(wire.ask(HELLO, b"hello from userspace"), GREETING);
    });
    assert_eq!(lines, ["hello from userspace"]);
}

#[test]
fn texts_of_every_length_are_taken_up_to_the_limit() {
    let wire = Wire::new();
    for len in 0..=TEXT_CAPACITY {
        assert_eq!(wire.ask(HELLO, &bytes(len)), GREETING, "{len} bytes");
    }
    for len in [TEXT_CAPACITY + 1, TEXT_CAPACITY + 2, 1000, 1492] {
        let frame = wire.frame(&message(HELLO, 0, &bytes(len)));
        assert_eq!(wire.outcome(&wire.raw(), &frame), (0, 1), "{len} bytes");
    }
}

#[test]
fn an_echo_of_every_length_comes_back_the_same() {
    let wire = Wire::new();
    for len in (0..1492).step_by(17).chain([1, 37, 38, 39, 45, 46, 47, 1491, 1492]) {
        assert_eq!(wire.ask(ECHO, &bytes(len)), bytes(len), "{len} bytes");
    }
}

// new: end
#[test]
fn a_frame_in_pieces_comes_back_the_same() {
    // Beyond a page, a packet socket puts nothing but the Ethernet header in one piece.
    let wire = Wire::with_mtu(16_000);
    for len in [3000, 4000, 4080, 4096, 5000, 8000, 8192, 12_000, 15_991, 15_992] {
        assert_eq!(wire.ask(ECHO, &bytes(len)), bytes(len), "{len} bytes");
        // What is not all there is seen in pieces as well.
        let mut short = message(ECHO, 0, &bytes(len));
        short.pop();
        assert_eq!(wire.outcome(&wire.raw(), &wire.frame(&short)), (0, 1), "{len} bytes");
    }
}

#[test]
fn an_answer_that_is_longer_than_the_link_allows_is_none() {
    // A frame may be a VLAN tag longer than the receiver's MTU; the answer may not.
    let wire = Wire::new();
    wire.ours().set_mtu(2000).unwrap();
    let raw = wire.raw();
    let frame = |extra: usize| wire.frame(&message(ECHO, 0, &bytes(1492 + extra)));
    for (extra, outcome) in [(0, (1, 0)), (1, (0, 1)), (4, (0, 1))] {
        assert_eq!(wire.outcome(&raw, &frame(extra)), outcome, "{extra} bytes more than the MTU");
    }
    for extra in [5, 100] {
        let sent = raw.send_frame(&frame(extra)).map_err(|error| error.errno());
        assert_eq!(sent, Err(Errno::NOBUFS), "{extra} bytes more than the MTU");
    }
}

// new: begin
#[test]
fn padding_is_not_echoed() {
    let wire = Wire::new();
    let raw = wire.raw();
    for padding in [1, 38, 46, 1000] {
        let sequence = wire.sequence.fetch_add(1, Ordering::Relaxed);
        let payload = [message(ECHO, sequence, b"short"), vec![0xee; padding]].concat();
        raw.send_frame(&wire.frame(&payload)).unwrap();
        let answer = wire.answer_to(sequence, LIMIT).unwrap();
        assert_eq!(answer.bytes, message(ECHO | ANSWER, sequence, b"short"), "{padding} bytes");
    }
}

#[test]
fn all_may_be_asked_at_once() {
    let wire = Wire::new();
    let sequence = wire.sequence.fetch_add(1, Ordering::Relaxed);
    let question = message(ECHO, sequence, b"anybody?");
    wire.socket.send(Address::BROADCAST, &question).unwrap();
    let answer = wire.answer_to(sequence, LIMIT).unwrap();
    assert_eq!((answer.to, answer.from), (To::Us, wire.theirs()), "the answer is for us alone");
}

// new: end
#[test]
fn a_program_that_writes_headers_itself_reads_them_too() {
    let wire = Wire::new();
    let raw = wire.raw();
    let ours = wire.ours().address().unwrap();
    raw.send_frame(&wire.frame(&message(ECHO, 9, b"raw"))).unwrap();
    let answer = raw.receive(LIMIT).unwrap().unwrap();
    let header = ethernet_header(ours, wire.theirs(), ETHER_TYPE);
    assert_eq!(answer.bytes, [&header[..], &message(ECHO | ANSWER, 9, b"raw")].concat());
    assert_eq!((answer.from, answer.to, answer.link), (wire.theirs(), To::Us, wire.ours().index()));
}

#[test]
fn sequence_numbers_come_back_as_they_were() {
    let wire = Wire::new();
    for sequence in [0, 1, 0x0102_0304, 0x8000_0000, u32::MAX] {
        wire.socket.send(wire.theirs(), &message(ECHO, sequence, b"")).unwrap();
        assert!(wire.answer_to(sequence, LIMIT).is_some(), "{sequence:#x}");
    }
}

// new: begin
#[test]
fn questions_and_nonsense_are_counted() {
    let wire = Wire::new();
    let (answered, ignored) = wire.counts();
    wire.ask(ECHO, b"1");
    wire.ask(HELLO, b"2");
    wire.socket.send(wire.theirs(), b"nonsense").unwrap();
    // The question itself was not yet answered when it was counted, but is when the next one is.
    assert_eq!(wire.counts(), (answered + 3, ignored + 1));
    assert_eq!(wire.counts(), (answered + 4, ignored + 1));
}

// new: end
#[test]
fn loopback_works_as_well() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let lo = Link::find("lo").unwrap();
    lo.up().unwrap();
    let socket = Socket::datagrams(&lo, ETHER_TYPE).unwrap();
    socket.send(Address([0; 6]), &message(ECHO, 5, b"myself")).unwrap();
    let end = Instant::now() + LIMIT;
    loop {
        assert!(Instant::now() < end);
        // Our own question comes by, too.
        let frame = socket.receive(LIMIT).unwrap().unwrap();
        let (header, rest) = parse(&frame.bytes).unwrap();
        if header.kind == ECHO | ANSWER {
            assert_eq!(rest, b"myself");
            break;
        }
    }
}

// ---- What is no question ------------------------------------------------------------------------

// new: begin
#[test]
fn malformed_questions_are_ignored_and_counted() {
    let wire = Wire::new();
    let raw = wire.raw();
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    let good = message(ECHO, 7, b"payload");
    for len in 0..good.len() {
        cases.push((format!("{len} bytes"), good[..len].to_vec()));
    }
    for version in [0, 2, 3, 0x7f, 0xff] {
        let mut bad = good.clone();
        bad[0] = version;
        cases.push((format!("version {version}"), bad));
    }
    for kind in [0, 4, 5, 0x40, 0x7f] {
        cases.push((format!("kind {kind}"), message(kind, 7, b"payload")));
    }
    for len in [8_u16, 9, 0x700, 0x7fff, u16::MAX] {
        let mut bad = good.clone();
        bad[2..4].copy_from_slice(&len.to_be_bytes());
        cases.push((format!("a length of {len} for 7 bytes"), bad));
    }
    for kind in [HELLO, ECHO, COUNT] {
        let mut bad = message(kind, 7, b"");
        bad[3] = 1;
        cases.push((format!("a length of 1 for nothing, kind {kind}"), bad));
    }
    for len in [TEXT_CAPACITY + 1, 255, 256, 1400] {
        cases.push((format!("a text of {len} bytes"), message(HELLO, 7, &bytes(len))));
    }
    for len in [1, 16, 1000] {
        cases.push((format!("a count of {len} bytes"), message(COUNT, 7, &bytes(len))));
    }
    cases.push(("all ones".into(), vec![0xff; 100]));
    cases.push(("all zeroes".into(), vec![0; 100]));
    let mut wrong = Vec::new();
    for (what, payload) in &cases {
        let outcome = wire.outcome(&raw, &wire.frame(payload));
        if outcome != (0, 1) {
            wrong.push(format!("{what}: {outcome:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!("{} frames ignored as they must be", cases.len());
    assert!(cases.len() >= 40);
}

// new: end
#[test]
fn who_cannot_be_answered_is_ignored() {
    let wire = Wire::new();
    let raw = wire.raw();
    for from in [Address::BROADCAST, Address([1, 0, 0, 0, 0, 1]), Address([0x33, 0x33, 0, 0, 0, 1])] {
        let header = ethernet_header(wire.theirs(), from, ETHER_TYPE);
        for question in [message(ECHO, 7, b"hi"), message(HELLO, 7, b"hi"), message(COUNT, 7, b"")] {
            let frame = [&header[..], &question].concat();
            assert_eq!(wire.outcome(&raw, &frame), (0, 1), "from {from}");
        }
    }
}

// new: begin
#[test]
fn what_is_for_others_is_none_of_its_business() {
    let wire = Wire::new();
    let raw = wire.raw();
    let ours = wire.ours().address().unwrap();
    let question = message(ECHO, 7, b"hi");
    let group = Address([1, 0, 0, 0, 0, 1]);
    for (what, to, ether_type) in [
        ("a stranger", STRANGER, ETHER_TYPE),
        ("a group", group, ETHER_TYPE),
        ("the sender", ours, ETHER_TYPE),
        ("the next type", wire.theirs(), ETHER_TYPE + 1),
        ("IPv4", wire.theirs(), 0x0800),
        ("a length", wire.theirs(), 100),
    ] {
        let frame = [&ethernet_header(to, ours, ether_type)[..], &question].concat();
        assert_eq!(wire.outcome(&raw, &frame), (0, 0), "{what}");
    }
}

#[test]
fn answers_are_not_answered() {
    let wire = Wire::new();
    let raw = wire.raw();
    for kind in [HELLO, ECHO, COUNT, 0, 0x7f] {
        let frame = wire.frame(&message(kind | ANSWER, 7, b""));
        assert_eq!(wire.outcome(&raw, &frame), (0, 0), "{kind}");
    }
}

// new: end
#[test]
fn a_frame_with_a_vlan_tag_is_for_that_vlan() {
    let wire = Wire::new();
    let raw = wire.raw();
    let tagged = |tags: &[(u16, u16)]| {
        let mut frame = wire.frame(&[])[..12].to_vec();
        for (kind, tag) in tags {
            frame.extend(kind.to_be_bytes());
            frame.extend(tag.to_be_bytes());
        }
        frame.extend(ETHER_TYPE.to_be_bytes());
        frame.extend(message(ECHO, 7, b"tagged"));
        frame
    };
    // A tag with the number 0 is a priority, and belongs to no VLAN.
    for (tags, outcome) in [
        (&[(0x8100, 0x0000)][..], (1, 0)),
        (&[(0x8100, 0xe000)], (1, 0)),
        (&[(0x8100, 0x0001)], (0, 0)),
        (&[(0x8100, 0x0fff)], (0, 0)),
        (&[(0x8100, 0xe005)], (0, 0)),
        (&[(0x88a8, 0x0005)], (0, 0)),
        (&[(0x88a8, 0x0005), (0x8100, 0x0006)], (0, 0)),
    ] {
        assert_eq!(wire.outcome(&raw, &tagged(tags)), outcome, "{tags:x?}");
    }
    // A tag that is not all there.
    let frame = tagged(&[(0x8100, 5)]);
    for len in 14..18 {
        assert_eq!(wire.outcome(&raw, &frame[..len]), (0, 0), "{len} bytes");
    }
}

// ---- The socket ---------------------------------------------------------------------------------

#[test]
fn bad_calls_get_the_errno_they_deserve() {
    let wire = Wire::new();
    let raw = wire.raw();
    let mut table = Refusals::new();
    let (_, ignored) = wire.counts();
    for len in 0..14 {
        let frame = &wire.frame(b"")[..len];
        let sent = raw.send_frame(frame).map_err(|error| error.errno());
        table.case(&format!("{len} bytes of a header"), Errno::INVAL, sent);
    }
    for extra in [1, 2, 100, 60_000] {
        let sent = wire.socket.send(wire.theirs(), &bytes(1500 + extra));
        table.case(&format!("{extra} bytes too many"), Errno::MSGSIZE, sent.map_err(|e| e.errno()));
        let sent = raw.send_frame(&wire.frame(&bytes(1504 + extra)));
        table.case(&format!("raw, {extra} too many"), Errno::MSGSIZE, sent.map_err(|e| e.errno()));
    }
    for hole in Hole::ALL {
        if hole != Hole::ReadOnly {
            table.case(&format!("a frame at {hole:?}"), Errno::FAULT, hole.write(&raw, 60));
        }
    }
    let frame = wire.frame(&message(ECHO, 7, b"hi"));
    for there in [0, 1, 13, 14, 15, 21, 23] {
        let memory = Guarded::holding(&frame[..there]).unwrap();
        let sent = memory.write(&raw, frame.len());
        table.case(&format!("a frame with {there} bytes of {}", frame.len()), Errno::FAULT, sent);
    }
    for name in ["", "no-such-link", "a-name-of-16-byt", "two words", "a/b", "cg0\0"] {
        let no_name = ["", "a-name-of-16-byt", "cg0\0"].contains(&name);
        let errno = if no_name { Errno::INVAL } else { Errno::NODEV };
        table.case(&format!("{name:?}"), errno, Link::find(name).map_err(|error| error.errno()));
        let made = Veth::new([name, "cg9"]).map_err(|error| error.errno());
        if name == "no-such-link" {
            made.unwrap();
        } else {
            table.case(&format!("{name:?} for a new one"), Errno::INVAL, made);
        }
    }
    for names in [["cg0", "cg9"], ["cg9", "cg0"], ["cg0", "cg1"], ["cg9", "cg9"]] {
        let made = Veth::new(names).map(drop).map_err(|error| error.errno());
        table.case(&format!("{names:?}"), Errno::EXIST, made);
    }
    assert_eq!(wire.counts().1, ignored, "nothing of that reached the module");
    table.finish();
}

#[test]
fn strangers_open_no_packet_sockets() {
    let opened = as_nobody(|| {
        let lo = Link::find("lo").unwrap();
        let errno = |socket: callgate::packet::Result<Socket>| {
            socket.map(drop).map_err(|error| error.errno())
        };
        (
            errno(Socket::datagrams(&lo, ETHER_TYPE)),
            errno(Socket::frames(&lo, ETHER_TYPE)),
            Veth::new(["cg8", "cg9"]).map(drop).map_err(|error| error.errno()),
            lo.set_mtu(1000).map_err(|error| error.errno()),
        )
    });
    let refused = Err(Errno::PERM);
    assert_eq!(opened, (refused, refused, refused, refused));
}

#[test]
fn a_device_that_is_off_or_gone_is_said_so() {
    let wire = Wire::new();
    tools::shell("ip link set cg0 down").success();
    let sent = wire.socket.send(wire.theirs(), b"x").map_err(|error| error.errno());
    assert_eq!(sent, Err(Errno::NETDOWN));
    let received = wire.socket.receive(LIMIT).map_err(|error| error.errno());
    assert_eq!(received, Err(Errno::NETDOWN));
    wire.ours().up().unwrap();
    wait_until_running(wire.ours()).unwrap();
    let end = Instant::now() + LIMIT;
    while wire.try_ask(ECHO, b"back", MOMENT).is_none() {
        assert!(Instant::now() < end, "it comes back");
    }
    let theirs = wire.theirs();
    tools::shell("ip link del cg1").success();
    let sent = wire.socket.send(theirs, b"x").map_err(|error| error.errno());
    assert_eq!(sent, Err(Errno::NXIO));
}

#[test]
fn devices_of_other_tools_do_as_well() {
    let _watchdog = Watchdog::new(TOO_LONG);
    tools::shell(
        "ip link add tool0 type veth peer name tool1; ip link set tool0 up; ip link set tool1 up",
    )
    .success();
    let [ours, theirs] = ["tool0", "tool1"].map(|name| Link::find(name).unwrap());
    wait_until_running(&ours).unwrap();
    wait_until_running(&theirs).unwrap();
    let listed = Tool::new("ip").args(["-o", "link", "show", "tool1"]).run().success();
    let address = theirs.address().unwrap();
    assert!(listed.contains(&address.to_string()), "{listed} has no {address}");
    let socket = Socket::datagrams(&ours, ETHER_TYPE).unwrap();
    let end = Instant::now() + LIMIT;
    let answer = loop {
        assert!(Instant::now() < end);
        socket.send(address, &message(ECHO, 1, b"tools")).unwrap();
        if let Some(frame) = socket.receive(MOMENT).unwrap() {
            break frame;
        }
    };
    assert_eq!(answer.bytes, message(ECHO | ANSWER, 1, b"tools"));
    tools::shell("ip link del tool0").success();
    assert_eq!(Link::find("tool1").unwrap_err().errno(), Errno::NODEV, "they go together");
}

#[test]
fn a_client_that_nobody_here_wrote_is_answered() {
    let wire = Wire::new();
    let script = format!(
        r#"
        use Socket;
        my $index = {};
        socket(my $s, 17, SOCK_DGRAM, 0) or die "socket: $!";
        my $own = pack("SnlSCCa8", 17, 0x88b5, $index, 0, 0, 0, "");
        bind($s, $own) or die "bind: $!";
        my $to = pack("SnlSCCa8", 17, 0x88b5, $index, 0, 0, 6, "\xff" x 6);
        send($s, pack("CCnN", 1, 1, 4, 77) . "perl", 0, $to) or die "send: $!";
        recv($s, my $answer, 2000, 0) // die "recv: $!";
        my ($version, $kind, $len, $sequence, $text) = unpack("CCnNa*", $answer);
        print "$version $kind $sequence ", substr($text, 0, $len), "\n";
        "#,
        wire.ours().index()
    );
    let said = Tool::new("perl").args(["-e", &script]).run().success();
    assert_eq!(said, "1 129 77 hello world from kernel space\n");
}

// ---- The log ------------------------------------------------------------------------------------

// new: begin
#[test]
fn nobody_on_the_network_writes_lines_of_others_into_the_log() {
    let wire = Wire::new();
    let lines = logged_during(|| {
        wire.ask(HELLO, b"x\nforged: received: y\r\x1b[31m");
        wire.ask(HELLO, b"\0");
    });
    assert_eq!(lines, [r"x\nforged: received: y\r\x1b[31m", r"\x00"]);
}

// new: end
#[test]
fn greeting_a_lot_does_not_flood_the_log() {
    let wire = Wire::new();
    let start = Instant::now();
    let lines = logged_during(|| {
        for _ in 0..300 {
            wire.ask(HELLO, b"flood");
        }
    });
    let most = 10 * (start.elapsed().as_secs() + 2);
    assert!(!lines.is_empty() && lines.len() as u64 <= most, "{} lines", lines.len());
}

// ---- Others at the same time --------------------------------------------------------------------

#[test]
fn who_watches_the_wire_sees_the_same_frames() {
    // A second listener to each end: the kernel hands all of them the same memory.
    let wire = Wire::with_mtu(9000);
    let at_their_end = Socket::datagrams(&wire.pair.ends()[1], ETHER_TYPE).unwrap();
    let at_ours = wire.raw();
    for len in [0, 100, 1400, 5000, 8992] {
        assert_eq!(wire.ask(ECHO, &bytes(len)), bytes(len));
        let question = at_their_end.receive(LIMIT).unwrap().unwrap();
        let (header, seen) = parse(&question.bytes).unwrap();
        assert_eq!((header.kind, seen), (ECHO, &bytes(len)[..]));
        let answer = at_ours.receive(LIMIT).unwrap().unwrap();
        let (header, seen) = parse(&answer.bytes[14..]).unwrap();
        assert_eq!((header.kind, seen), (ECHO | ANSWER, &bytes(len)[..]));
    }
}

// new: begin
#[test]
fn each_network_namespace_counts_for_itself() {
    let count = || {
        let wire = Wire::new();
        for _ in 0..5 {
            wire.ask(ECHO, b"inside");
        }
        wire.counts()
    };
    let wire = Wire::new();
    let before = wire.counts();
    let [one, other] = [Network::new().unwrap(), Network::new().unwrap()];
    for network in [&one, &other] {
        let (answered, ignored) = network.enter(count);
        // The questions before the wire worked are among them.
        assert!((6..20).contains(&answered), "{answered}");
        assert_eq!(ignored, 0);
    }
    let (again, _) = one.enter(count);
    assert!(again > 6, "it goes on where it was");
    assert_eq!(wire.counts(), (before.0 + 1, before.1), "and nothing of that is counted here");
}

// new: end
#[test]
fn a_network_namespace_may_go_while_it_is_asked() {
    let _watchdog = Watchdog::new(TOO_LONG);
    for _ in 0..3 {
        let network = Network::new().unwrap();
        network.enter(|| {
            let wire = Wire::new();
            for _ in 0..50 {
                wire.socket.send(wire.theirs(), &message(ECHO, 1, &bytes(1000))).unwrap();
            }
            // Its devices go with it, and whatever is on its way; a socket would keep it.
            let Wire { pair, .. } = wire;
            std::mem::forget(pair);
        });
        drop(network);
    }
}

/// What became of a flood of questions.
struct Flood {
    /// For each question, whether it was answered.
    seen: Vec<bool>,
    answered: u32,
    /// What the module has ignored, as it last said.
    ignored: u64,
}

impl Flood {
    const FIRST: u32 = 1 << 20;

    /// Receives what there is until nothing more comes within `limit`.
    fn collect(&mut self, socket: &Socket, payload: &[u8], limit: Duration) {
        while let Some(frame) = socket.receive(limit).unwrap() {
            let (header, rest) = parse(&frame.bytes).unwrap();
            if header.kind == COUNT | ANSWER {
                self.ignored = Counts::read_from_bytes(rest).unwrap().ignored.get();
            } else if let Some(number) = header.sequence.get().checked_sub(Self::FIRST) {
                assert_eq!((header.kind, rest), (ECHO | ANSWER, payload));
                let seen = &mut self.seen[number as usize];
                assert!(!*seen, "answered twice");
                *seen = true;
                self.answered += 1;
            }
        }
    }
}

#[test]
fn of_a_flood_each_question_is_answered_or_counted_as_lost() {
    const FRAMES: u32 = 2000;
    let wire = Wire::new();
    let payload = bytes(500);
    let (_, before) = wire.counts();
    let mut flood = Flood { seen: vec![false; FRAMES as usize], answered: 0, ignored: before };
    let start = Instant::now();
    let mut refused = 0;
    for number in 0..FRAMES {
        match wire.socket.send(wire.theirs(), &message(ECHO, Flood::FIRST + number, &payload)) {
            Ok(()) => {}
            Err(error) if error.errno() == Errno::NOBUFS => refused += 1,
            Err(error) => panic!("{error}"),
        }
        // Seldom enough for the socket's buffer to overflow now and then.
        if number % 256 == 255 {
            flood.collect(&wire.socket, &payload, Duration::ZERO);
        }
    }
    let took = start.elapsed();
    flood.collect(&wire.socket, &payload, MOMENT);
    wire.socket.send(wire.theirs(), &message(COUNT, 0, b"")).unwrap();
    flood.collect(&wire.socket, &payload, MOMENT);
    let (answered, lost) = (flood.answered, wire.socket.lost().unwrap());
    let unsent = u32::try_from(flood.ignored - before).unwrap();
    println!(
        "{FRAMES} questions in {took:?}: {answered} answered, {refused} refused, {unsent} answers not sent, \
         {lost} without room in the socket"
    );
    assert_eq!(answered + refused + unsent + lost, FRAMES);
    assert!(answered > 0);
    assert_eq!(wire.ask(ECHO, b"still there"), b"still there");
}

#[test]
fn two_who_ask_at_once_get_their_own_answers() {
    let wire = Wire::new();
    run_anywhere();
    thread::scope(|scope| {
        for who in 0..3_u8 {
            let wire = &wire;
            scope.spawn(move || {
                let socket = Socket::datagrams(wire.ours(), ETHER_TYPE).unwrap();
                let theirs = wire.theirs();
                for turn in 0..200 {
                    let sequence = u32::from(who) << 24 | 0x80_0000 | turn;
                    let payload = vec![who; 100 + usize::from(who) * 300];
                    let ask = || socket.send(theirs, &message(ECHO, sequence, &payload)).unwrap();
                    ask();
                    let end = Instant::now() + LIMIT;
                    loop {
                        assert!(Instant::now() < end, "no answer");
                        // The answers to the others may have left no room for ours.
                        let Some(frame) = socket.receive(MOMENT).unwrap() else {
                            ask();
                            continue;
                        };
                        let (header, rest) = parse(&frame.bytes).unwrap();
                        if header.sequence == sequence {
                            assert_eq!(rest, payload);
                            break;
                        }
                    }
                }
            });
        }
    });
}

// ---- The module ---------------------------------------------------------------------------------

// new: begin
#[test]
fn without_the_module_nobody_answers() {
    let wire = Wire::new();
    module::unload(MODULE).unwrap();
    assert_eq!(wire.try_ask(ECHO, b"gone?", MOMENT), None);
    module::load(MODULE_FILE, "").unwrap();
    assert_eq!(wire.ask(ECHO, b"back"), b"back");
    assert_eq!(wire.counts(), (1, 0), "it begins anew");
}

// new: end
#[test]
fn it_is_listed_while_it_is_there() {
    let listed = || {
        let list = std::fs::read_to_string("/proc/net/ptype").unwrap();
        list.lines().filter(|line| line.starts_with("88b5")).count()
    };
    assert_eq!(listed(), 1);
    module::unload(MODULE).unwrap();
    let after = listed();
    module::load(MODULE_FILE, "").unwrap();
    assert_eq!(after, 0);
}

#[test]
fn loading_that_fails_leaves_nothing_behind() {
    module::unload(MODULE).unwrap();
    let mut failed = 0;
    let places = at_last_places(
        40,
        || module::load(MODULE_FILE, ""),
        |place, result| match result {
            Ok(()) => module::unload(MODULE).unwrap(),
            Err(error) => {
                failed += 1;
                assert_eq!(error.errno(), Some(Errno::NOMEM), "{place}: {error}");
            }
        },
    );
    println!("{failed} loads failed");
    assert!(places.is_none() || failed > 0);
    module::load(MODULE_FILE, "").unwrap();
    assert_eq!(Wire::new().ask(ECHO, b"works"), b"works");
}

#[test]
fn it_unloads_while_sockets_are_open() {
    let wire = Wire::new();
    while_used(MODULE, MODULE_FILE, LIMIT, &[]);
    assert_eq!(wire.ask(ECHO, b"works"), b"works");
}

// new: begin
/// A question in a loop of others, which may go unanswered.
fn try_echo(wire: &Mutex<Wire>, payload: &[u8]) -> Use {
    let wire = wire.lock().unwrap();
    match wire.try_ask(ECHO, payload, MOMENT) {
        Some(_) => Use::Reached,
        None => Use::Missed,
    }
}

#[test]
fn it_unloads_while_it_answers() {
    let wire = Mutex::new(Wire::new());
    run_anywhere();
    while_used(MODULE, MODULE_FILE, LIMIT, &[&|| try_echo(&wire, &bytes(100))]);
    assert_eq!(wire.into_inner().unwrap().ask(ECHO, b"works"), b"works");
}

// new: end
#[test]
fn it_unloads_in_a_flood() {
    let wire = Wire::with_mtu(9000);
    let theirs = wire.theirs();
    run_anywhere();
    let flood = |len: usize| {
        let question = message(ECHO, 1, &bytes(len));
        for _ in 0..8 {
            let _ = wire.socket.send(theirs, &question);
        }
        // Who loads and unloads wants a CPU as well.
        thread::sleep(Duration::from_millis(10));
        let mut answers = 0;
        while wire.socket.receive(Duration::ZERO).unwrap().is_some() {
            answers += 1;
        }
        if answers > 0 { Use::Reached } else { Use::Missed }
    };
    while_used(MODULE, MODULE_FILE, LIMIT, &[&|| flood(60), &|| flood(8000)]);
    // Thousands of answers may still be queued.
    while wire.socket.receive(Duration::ZERO).unwrap().is_some() {}
    assert_eq!(wire.ask(ECHO, b"works"), b"works");
}

#[test]
fn it_unloads_while_network_namespaces_come_and_go() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let come_and_go = || {
        let asked = Network::new().unwrap().enter(|| {
            let pair = Veth::up(["cg0", "cg1"]).unwrap();
            let [ours, theirs] = pair.ends();
            wait_until_running(ours).unwrap();
            let socket = Socket::datagrams(ours, ETHER_TYPE).unwrap();
            let _ = socket.send(theirs.address().unwrap(), &message(ECHO, 1, b"hi"));
            socket.receive(Duration::from_millis(5)).unwrap()
        });
        if asked.is_some() { Use::Reached } else { Use::Missed }
    };
    // Nobody need be reached: a namespace is gone so soon.
    let reached = AtomicBool::new(false);
    while_used(
        MODULE,
        MODULE_FILE,
        LIMIT,
        &[&|| {
            let used = come_and_go();
            reached.fetch_or(used == Use::Reached, Ordering::Relaxed);
            Use::Reached
        }],
    );
    println!("cycles: {}, reached: {reached:?}", unload::cycles());
    let header = Header { version: VERSION, kind: ECHO, len: 0.into(), sequence: 3.into() };
    let wire = Wire::new();
    wire.socket.send(wire.theirs(), header.as_bytes()).unwrap();
    assert!(wire.answer_to(3, LIMIT).is_some());
}
