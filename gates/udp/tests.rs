// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a user of the kernel's port can rely on.
//!
//! These run in the lab's VM as root, each in a process of its own, with the module loaded.

// new: begin
use std::collections::BTreeSet;
use std::fs;
use std::io::SeekFrom;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use callgate::Errno;
use callgate::chardev::Device;
use callgate::kmsg::{Log, Origin};
use callgate::module;
use callgate::testing::Refusals;
use callgate::testing::elsewhere::{Elsewhere, THERE};
use callgate::testing::faults::{at_each_place, at_last_places};
use callgate::testing::memory::{self, Guarded, Hole};
use callgate::testing::namespace::{self, Network};
use callgate::testing::tools::{self, Tool};
use callgate::testing::unload::{Use, while_used};
use callgate::testing::worker::as_nobody;
use callgate::udp::{self, Received};
use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with, sockopt,
};

use super::abi::{GREET_LIMIT, GREETING, GREETINGS, LARGEST, LOGGED, LOWEST_PORT, MESSAGE, PORT, PROGRAM_PORT};

/// Every wait ends here at the latest; it is generous, because an emulated debug kernel is slow.
const LIMIT: Duration = Duration::from_secs(30);

/// How long one waits for what is not to come.
const NEVER: Duration = Duration::from_millis(100);

/// A cycle of unloading takes less.
const TOO_LONG: Duration = Duration::from_secs(80);

// new: end
/// The issue's flood.
const FLOOD: u32 = 10_000;

// new: begin
const MODULE: &str = "callgate_udp";
const MODULE_FILE: &str = "/modules/callgate_udp.ko";

const GREET: &str = "/sys/kernel/debug/callgate_udp/greet";
const ANSWERED: &str = "/sys/kernel/debug/callgate_udp/datagrams/answered";
const UNANSWERED: &str = "/sys/kernel/debug/callgate_udp/datagrams/unanswered";

/// The kernel, by both families of addresses.
const KERNEL: [SocketAddr; 2] = [KERNEL4, KERNEL6];
const KERNEL4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);
const KERNEL6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), PORT);

// new: end
fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

// new: begin
/// A socket on this machine, of the same family as `of`.
fn client(of: SocketAddr) -> UdpSocket {
    namespace::bring_up("lo").unwrap();
    UdpSocket::bind(SocketAddr::new(
        if of.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() },
        0,
    ))
    .unwrap()
}

// new: end
fn errno<T>(result: std::io::Result<T>) -> Result<T, Errno> {
    result.map_err(|error| Errno::from_io_error(&error).unwrap())
}

// new: begin
/// The next datagram, if one comes in time: from whom, and what.
fn heard(socket: &UdpSocket, limit: Duration) -> Option<(SocketAddr, Vec<u8>)> {
    let mut buffer = vec![0; 65536];
    let Received { len, from } = udp::receive(socket, &mut buffer, limit).unwrap()?;
    buffer.truncate(len);
    Some((from, buffer))
}

/// Sends, and waits for the answer, which must be from the address it was sent to.
fn ask(socket: &UdpSocket, to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    assert_eq!(socket.send_to(bytes, to).unwrap(), bytes.len());
    let (from, answer) = heard(socket, LIMIT).expect("the kernel answers");
    assert_eq!((from.ip(), from.port()), (to.ip(), to.port()));
    answer
}

// new: end
/// This column of what the network stack counts of its input, for all CPUs: 1 is what it dropped, 11 what
/// has not come to any socket yet.
fn softnet(column: usize) -> u64 {
    let statistics = fs::read_to_string("/proc/net/softnet_stat").unwrap();
    let count = |cpu: &str| u64::from_str_radix(cpu.split_whitespace().nth(column).unwrap(), 16);
    statistics.lines().map(|cpu| count(cpu).unwrap()).sum()
}

// new: begin
/// That the kernel is there, and has nothing else to say.
fn check(socket: &UdpSocket, to: SocketAddr) {
    assert_eq!(ask(socket, to, b"are you there?"), b"are you there?");
}

// new: end
/// The same after a flood, of which nobody has waited for the end: what finds the queue full is lost.
fn check_after_flood() {
    let end = Instant::now() + LIMIT;
    let queued = || {
        let listed = udp::sockets().unwrap();
        let ours = listed.iter().filter(|entry| entry.local.port() == PORT);
        ours.map(|entry| entry.queued).sum::<u64>()
    };
    // First what may still come into the queue.
    while softnet(11) > 0 || queued() > 0 {
        assert!(Instant::now() < end, "{} bytes are not received", queued());
        thread::sleep(Duration::from_millis(1));
    }
    for kernel in KERNEL {
        check(&client(kernel), kernel);
    }
}

// new: begin
fn number(path: &str) -> u64 {
    fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

/// Waits until the number in the file `path` is `wanted`: a datagram is counted just after it is answered.
fn wait_for(path: &str, wanted: u64) {
    let end = Instant::now() + LIMIT;
    while number(path) < wanted {
        assert!(Instant::now() < end, "{} instead of {wanted}", number(path));
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(number(path), wanted);
}

fn open_greet() -> Result<Device, Errno> {
    rustix::fs::open(GREET, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map(Device::from)
}

fn greet(whom: &str) -> Result<usize, Errno> {
    open_greet()?.write(whom.as_bytes())
}

/// That `socket` hears the greetings, all of them and nothing else, from the kernel at `from`.
fn check_greetings(socket: &UdpSocket, from: SocketAddr) {
    for count in 0..GREETINGS {
        let (by, greeting) = heard(socket, LIMIT).unwrap_or_else(|| panic!("only {count}"));
        assert_eq!((by.ip(), by.port()), (from.ip(), from.port()));
        assert_eq!(greeting, GREETING);
    }
    assert_eq!(heard(socket, NEVER), None);
}

/// Unloads the module and loads it again: everything it holds is new.
fn reload() {
    module::unload(MODULE).unwrap();
    module::load(MODULE_FILE, "").unwrap();
}

fn load() -> Result<(), Errno> {
    module::load(MODULE_FILE, "").map_err(|error| error.errno().unwrap())
}

/// The next line that the module logs, if one comes in time.
fn logged(log: &mut Log, limit: Duration) -> Option<String> {
    let end = Instant::now() + limit;
    loop {
        let record = log.next(end.saturating_duration_since(Instant::now())).unwrap()?;
        if record.origin == Origin::Kernel
            && let Some(line) = record.text.strip_prefix("callgate_udp: ")
        {
            return Some(line.to_owned());
        }
    }
}

// new: end
/// A wire to another network namespace: `cg0` here, `cg1` there.
struct Wire {
    // Cut before the namespace is left, with which it would go in its own time.
    _cut: Cut,
    there: Network,
}

impl Wire {
    const HERE: [&str; 3] = ["10.55.0.1", "fd00:55::1", "fe80::55:1"];
    const THERE: [&str; 3] = ["10.55.0.2", "fd00:55::2", "fe80::55:2"];

    fn new() -> Self {
        let there = Network::new().unwrap();
        let path = format!("/proc/{}/fd/{}", std::process::id(), there.as_fd().as_raw_fd());
        tools::shell(&format!("ip link add cg0 type veth peer name cg1 netns {path}")).success();
        let wire = Self { _cut: Cut, there };
        Self::set_up("cg0", Self::HERE);
        wire.there.enter(|| Self::set_up("cg1", Self::THERE));
        wire
    }

    fn set_up(interface: &str, [v4, v6, link_local]: [&str; 3]) {
        tools::shell(&format!(
            "ip link set {interface} addrgenmode none && ip link set {interface} up && \
             ip addr add {v4}/24 dev {interface} && \
             ip addr add {v6}/64 dev {interface} nodad && \
             ip addr add {link_local}/64 dev {interface} nodad"
        ))
        .success();
        namespace::bring_up("lo").unwrap();
    }

    /// The port `port` at `ip`, one of the addresses on the other side of `interface`.
    fn at(ip: &str, port: u16, interface: &str) -> SocketAddr {
        match ip.parse().unwrap() {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                let index = rustix::net::netdevice::name_to_index(
                    UdpSocket::bind("127.0.0.1:0").unwrap(),
                    interface,
                );
                SocketAddrV6::new(ip, port, 0, index.unwrap()).into()
            }
            ip => SocketAddr::new(ip, port),
        }
    }

    fn is_there() -> bool {
        fs::read_to_string("/proc/thread-self/net/dev").unwrap().contains("cg0:")
    }
}

/// Takes the wire away when it is dropped.
struct Cut;

impl Drop for Cut {
    fn drop(&mut self) {
        if Wire::is_there() {
            tools::shell("ip link del cg0").success();
        }
    }
}

// ---- The HOWTO's exchange -----------------------------------------------------------------------

// new: begin
#[test]
fn the_kernel_says_what_it_is_told_and_logs_it() {
    reload();
    let mut log = Log::from_now().unwrap();
    namespace::bring_up("lo").unwrap();
    let socket = UdpSocket::bind(("0.0.0.0", PROGRAM_PORT)).unwrap();
    assert_eq!(ask(&socket, KERNEL4, MESSAGE), b"hello world\0");
    assert_eq!(logged(&mut log, LIMIT).unwrap(), "message len: 12 message: hello world");
}

#[test]
fn the_kernel_speaks_first_ten_times() {
    for kernel in KERNEL {
        let socket = client(kernel);
        let own = socket.local_addr().unwrap().to_string();
        assert_eq!(greet(&own), Ok(own.len()));
        check_greetings(&socket, kernel);
    }
}

// new: end
#[test]
fn echo_greets_whom_it_names() {
    let socket = client(KERNEL4);
    let own = socket.local_addr().unwrap();
    tools::shell(&format!("echo {own} > {GREET}")).success();
    check_greetings(&socket, KERNEL4);
    assert_eq!(tools::shell(&format!("echo nobody > {GREET}")).answer(), Err(Errno::INVAL));
}

#[test]
fn a_shell_talks_to_the_kernel() {
    let _up = client(KERNEL4);
    for host in ["127.0.0.1", "::1"] {
        let said = tools::shell(&format!(
            "exec 3<>/dev/udp/{host}/{PORT} && printf 'hello world' >&3 && head -c 11 <&3"
        ));
        assert_eq!(said.success(), "hello world", "{host}");
    }
}

#[test]
fn the_ports_are_listed_like_any_other() {
    reload();
    let listed = udp::sockets().unwrap();
    for local in ["0.0.0.0:5555", "[::]:5555"] {
        let entry = listed.iter().find(|entry| entry.local == address(local)).expect(local);
        assert_eq!((entry.user, entry.queued, entry.dropped), (0, 0, 0), "{local}");
        assert_eq!(entry.remote.port(), 0);
    }
    let shown = Tool::new("ss").args(["-Hlun", "sport = :5555"]).run().success();
    assert_eq!(shown.lines().count(), 2, "{shown}");
}

// ---- Whom it answers ----------------------------------------------------------------------------

// new: begin
#[test]
fn the_answer_comes_from_the_address_that_was_asked() {
    let _up = client(KERNEL4);
    for ip in ["127.0.0.1", "127.0.0.2", "127.1.2.3", "127.255.255.254"] {
        let to = SocketAddr::new(ip.parse().unwrap(), PORT);
        // From an address that is neither, and connected: so it hears from nobody else.
        let socket = UdpSocket::bind("127.7.7.7:0").unwrap();
        socket.connect(to).unwrap();
        socket.send(b"hello").unwrap();
        assert_eq!(heard(&socket, LIMIT), Some((to, b"hello".to_vec())));
    }
    tools::shell("ip addr add fd00:77::7/128 dev lo nodad && ip addr add fd00:77::8/128 dev lo nodad")
        .success();
    for ip in ["::1", "fd00:77::7", "fd00:77::8"] {
        let to = SocketAddr::new(ip.parse().unwrap(), PORT);
        let socket = UdpSocket::bind("[fd00:77::7]:0").unwrap();
        socket.connect(to).unwrap();
        socket.send(b"hello").unwrap();
        assert_eq!(heard(&socket, LIMIT), Some((to, b"hello".to_vec())));
    }
    tools::shell("ip addr del fd00:77::7/128 dev lo && ip addr del fd00:77::8/128 dev lo").success();
}

#[test]
fn everybody_gets_their_own_answers() {
    let clients: Vec<_> = (0..40_u8).map(|n| (n, client(KERNEL[usize::from(n % 2)]))).collect();
    for round in 0..3 {
        for (n, socket) in &clients {
            socket.send_to(&[*n, round], KERNEL[usize::from(n % 2)]).unwrap();
        }
        for (n, socket) in &clients {
            let (from, answer) = heard(socket, LIMIT).unwrap();
            assert_eq!((from, &answer[..]), (KERNEL[usize::from(n % 2)], &[*n, round][..]));
        }
    }
    for (_, socket) in &clients {
        assert_eq!(heard(socket, Duration::ZERO), None);
    }
}

// new: end
#[test]
fn a_stranger_is_answered_too() {
    let _up = client(KERNEL4);
    as_nobody(|| {
        for kernel in KERNEL {
            let any: IpAddr =
                if kernel.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            check(&UdpSocket::bind((any, 0)).unwrap(), kernel);
        }
    });
}

#[test]
fn a_socket_of_both_families_reaches_both() {
    let _up = client(KERNEL4);
    let socket = UdpSocket::bind("[::]:0").unwrap();
    check(&socket, KERNEL6);
    check(&socket, address("[::ffff:127.0.0.1]:5555"));
    check(&socket, address("[::ffff:127.3.2.1]:5555"));
}

#[test]
fn a_broadcast_is_answered_from_an_address_of_our_own() {
    let socket = client(KERNEL4);
    socket.set_broadcast(true).unwrap();
    socket.send_to(b"anybody?", "127.255.255.255:5555").unwrap();
    let (from, answer) = heard(&socket, LIMIT).unwrap();
    assert_eq!((from, &answer[..]), (KERNEL4, &b"anybody?"[..]));
}

#[test]
fn who_has_gone_meanwhile_is_no_trouble() {
    let before = number(ANSWERED);
    for kernel in KERNEL {
        for _ in 0..50 {
            // The answer finds nobody, and the network says so to the kernel's socket.
            client(kernel).send_to(b"and gone", kernel).unwrap();
        }
        check(&client(kernel), kernel);
    }
    wait_for(ANSWERED, before + 102);
}

// new: begin
#[test]
fn ports_of_services_are_not_answered() {
    let _up = client(KERNEL4);
    for kernel in KERNEL {
        let before = number(UNANSWERED);
        for port in [1, 7, 19, 53, 1022, LOWEST_PORT - 1] {
            let service = UdpSocket::bind((kernel.ip(), port)).unwrap();
            service.send_to(b"forever?", kernel).unwrap();
            assert_eq!(heard(&service, Duration::from_millis(20)), None, "{port}");
        }
        wait_for(UNANSWERED, before + 6);
        check(&UdpSocket::bind((kernel.ip(), LOWEST_PORT)).unwrap(), kernel);
    }
}

#[test]
fn the_kernel_does_not_talk_to_itself() {
    let _up = client(KERNEL4);
    for kernel in ["127.0.0.1:5555", "[::1]:5555", "127.0.0.9:5555"] {
        let (answered, unanswered) = (number(ANSWERED), number(UNANSWERED));
        greet(kernel).unwrap();
        wait_for(UNANSWERED, unanswered + GREETINGS as u64);
        thread::sleep(NEVER);
        assert_eq!(number(UNANSWERED), unanswered + GREETINGS as u64);
        assert_eq!(number(ANSWERED), answered);
    }
}

// new: end
/// Sends a UDP header as it is, with `bytes` behind it, to the kernel.
fn send_raw(header: [u16; 4], bytes: &[u8]) {
    let family = AddressFamily::INET;
    let raw = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::UDP)).unwrap();
    let mut packet: Vec<u8> = header.iter().flat_map(|field| field.to_be_bytes()).collect();
    packet.extend(bytes);
    sendto(&raw, &packet, SendFlags::empty(), &KERNEL4).unwrap();
}

#[test]
fn a_sender_that_lies_about_its_port_is_not_answered() {
    let socket = client(KERNEL4);
    let (answered, unanswered) = (number(ANSWERED), number(UNANSWERED));
    // From port 5555, as another machine with this module would; from no port; from another's.
    send_raw([PORT, PORT, 8 + 5, 0], b"hello");
    send_raw([0, PORT, 8 + 5, 0], b"hello");
    send_raw([7, PORT, 8, 0], b"");
    wait_for(UNANSWERED, unanswered + 3);
    thread::sleep(NEVER);
    assert_eq!((number(ANSWERED), number(UNANSWERED)), (answered, unanswered + 3));
    // Who is named as the sender gets the answer, whoever it was.
    send_raw([socket.local_addr().unwrap().port(), PORT, 8 + 5, 0], b"hello");
    assert_eq!(heard(&socket, LIMIT), Some((KERNEL4, b"hello".to_vec())));
}

#[test]
fn what_is_no_datagram_does_not_reach_the_module() {
    let socket = client(KERNEL4);
    let port = socket.local_addr().unwrap().port();
    let before = (number(ANSWERED), number(UNANSWERED));
    send_raw([port, PORT, 8 + 5, 0xdead], b"wrong"); // checksum
    send_raw([port, PORT, 8 + 6, 0], b"long?"); // longer than there is
    send_raw([port, PORT, 7, 0], b"short"); // shorter than its header
    send_raw([port, PORT, 0, 0], b""); // no length
    assert_eq!(heard(&socket, NEVER), None);
    assert_eq!((number(ANSWERED), number(UNANSWERED)), before);
    // Shorter than the packet is fine: the rest does not belong to it.
    send_raw([port, PORT, 8 + 5, 0], b"hello, world");
    assert_eq!(heard(&socket, LIMIT), Some((KERNEL4, b"hello".to_vec())));
}

// ---- What is in a datagram ----------------------------------------------------------------------

// new: begin
#[test]
fn datagrams_of_every_size_come_back_up_to_the_largest() {
    for kernel in KERNEL {
        let socket = client(kernel);
        for len in (0..20).chain([100, 255, 256, 257, 1000, 1023, 1024, LARGEST - 1, LARGEST]) {
            let bytes: Vec<u8> = (0..=255).cycle().skip(len).take(len).collect();
            assert_eq!(ask(&socket, kernel, &bytes), bytes, "{len}");
        }
    }
}

#[test]
fn a_larger_one_is_lost_and_counted_and_harms_no_other() {
    reload();
    let mut log = Log::from_now().unwrap();
    for kernel in KERNEL {
        let socket = client(kernel);
        let before = number(UNANSWERED);
        for len in [LARGEST + 1, 2000, 9000, 65507] {
            assert_eq!(socket.send_to(&vec![b'x'; len], kernel).unwrap(), len);
            let line = logged(&mut log, LIMIT).unwrap_or_else(|| panic!("{len} to {kernel}"));
            assert_eq!(line, format!("message len: {len} message: {}", "x".repeat(LOGGED)));
        }
        wait_for(UNANSWERED, before + 4);
        assert_eq!(heard(&socket, Duration::ZERO), None);
        check(&socket, kernel);
        logged(&mut log, LIMIT).unwrap();
    }
}

// new: end
#[test]
fn an_empty_datagram_is_a_datagram() {
    for kernel in KERNEL {
        let socket = client(kernel);
        let before = number(ANSWERED);
        for _ in 0..5 {
            assert_eq!(ask(&socket, kernel, b""), b"");
        }
        wait_for(ANSWERED, before + 5);
    }
}

#[test]
fn what_does_not_fit_into_the_users_buffer_is_lost_to_the_user_alone() {
    let socket = client(KERNEL4);
    socket.send_to(b"a longer message", KERNEL4).unwrap();
    socket.send_to(b"next", KERNEL4).unwrap();
    let mut buffer = [b'-'; 8];
    let received = udp::receive(&socket, &mut buffer, LIMIT).unwrap();
    assert_eq!(received, Some(Received { len: 16, from: KERNEL4 }));
    assert_eq!(&buffer, b"a longer");
    assert_eq!(heard(&socket, LIMIT).unwrap().1, b"next");
}

#[test]
fn nobody_makes_up_lines_of_the_log() {
    reload();
    let mut log = Log::from_now().unwrap();
    let socket = client(KERNEL4);
    for (sent, line) in [
        (&b"x\ncallgate_udp: forged\r\x1b[2J"[..], r"len: 27 message: x\ncallgate_udp: forged\r\x1b[2J"),
        (b"\0", "len: 1 message: "),
        (b"", "len: 0 message: "),
        (b"one\0two\0", r"len: 8 message: one\x00two"),
        (b"\xff\t\"\\\n\0", r#"len: 6 message: \xff\t"\\n"#),
        (b"%s%n%p\0", "len: 7 message: %s%n%p"),
    ] {
        assert_eq!(ask(&socket, KERNEL4, sent), sent);
        assert_eq!(logged(&mut log, LIMIT).unwrap(), format!("message {line}"));
    }
}

#[test]
fn a_flood_does_not_fill_the_log() {
    reload();
    let mut log = Log::from_now().unwrap();
    let (socket, start) = (client(KERNEL4), Instant::now());
    for _ in 0..1000 {
        check(&socket, KERNEL4);
    }
    let seconds = start.elapsed().as_secs();
    let mut lines = 0;
    while logged(&mut log, NEVER).is_some() {
        lines += 1;
    }
    // The first and the last second are parts of one.
    let most = 10 * (seconds + 2);
    assert!((10..=most).contains(&lines), "{lines} lines in {seconds} s");
}

// ---- Floods -------------------------------------------------------------------------------------

/// How many datagrams the network stack has dropped before they came to any socket.
fn backlog_dropped() -> u64 {
    softnet(1)
}

/// How many datagrams the kernel's socket had no room for.
fn kernel_dropped(kernel: SocketAddr) -> u64 {
    let any = address(if kernel.is_ipv4() { "0.0.0.0:5555" } else { "[::]:5555" });
    udp::sockets().unwrap().iter().find(|entry| entry.local == any).unwrap().dropped
}

/// Where datagrams have gone.
#[derive(Debug)]
struct Flood {
    sent: u32,
    echoed: usize,
    kernel_dropped: u64,
    own_dropped: u64,
    unanswered: u64,
    backlog_dropped: u64,
}

impl Flood {
    /// Sends `count` numbered datagrams as fast as it can, and waits until each of them is accounted for:
    /// echoed, or counted by whoever dropped it.
    fn new(kernel: SocketAddr, count: u32) -> Self {
        let socket = client(kernel);
        let before = (kernel_dropped(kernel), number(UNANSWERED), backlog_dropped());
        let answered_before = number(ANSWERED);
        let mut echoed = BTreeSet::new();
        let collect = |echoed: &mut BTreeSet<u32>, limit| {
            let mut buffer = [0; LARGEST];
            let Some(received) = udp::receive(&socket, &mut buffer, limit).unwrap() else {
                return false;
            };
            assert_eq!((received.from, received.len), (kernel, 100));
            let (number, rest) = buffer[..100].split_first_chunk().unwrap();
            assert!(rest.iter().all(|byte| *byte == number[3]));
            assert!(echoed.insert(u32::from_be_bytes(*number)), "{number:?} came twice");
            true
        };
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                for number in 0..count {
                    let mut bytes = [number.to_be_bytes()[3]; 100];
                    bytes[..4].copy_from_slice(&number.to_be_bytes());
                    socket.send_to(&bytes, kernel).unwrap();
                }
            });
            while !sender.is_finished() {
                collect(&mut echoed, Duration::from_millis(1));
            }
        });
        let end = Instant::now() + LIMIT;
        loop {
            while collect(&mut echoed, Duration::ZERO) {}
            let flood = Self {
                sent: count,
                echoed: echoed.len(),
                kernel_dropped: kernel_dropped(kernel) - before.0,
                own_dropped: udp::dropped(&socket).unwrap().unwrap(),
                unanswered: number(UNANSWERED) - before.1,
                backlog_dropped: backlog_dropped() - before.2,
            };
            if flood.accounted() >= u64::from(flood.sent) {
                println!("{kernel}: {flood:?}");
                assert_eq!(flood.accounted(), u64::from(flood.sent), "{flood:?}");
                let answered = number(ANSWERED) - answered_before;
                assert!(answered >= flood.echoed as u64 + flood.own_dropped, "{answered}: {flood:?}");
                return flood;
            }
            assert!(Instant::now() < end, "{flood:?}");
            collect(&mut echoed, Duration::from_millis(10));
        }
    }

    fn accounted(&self) -> u64 {
        self.echoed as u64
            + self.kernel_dropped
            + self.own_dropped
            + self.unanswered
            + self.backlog_dropped
    }
}

#[test]
fn every_datagram_of_a_flood_is_echoed_or_counted() {
    let flood = Flood::new(KERNEL4, FLOOD);
    assert!(flood.echoed > 0, "{flood:?}");
    check(&client(KERNEL4), KERNEL4);
}

#[test]
fn every_datagram_of_a_flood_by_ipv6_is_echoed_or_counted() {
    let flood = Flood::new(KERNEL6, FLOOD / 5);
    assert!(flood.echoed > 0, "{flood:?}");
    check(&client(KERNEL6), KERNEL6);
}

#[test]
fn a_queue_without_room_drops_and_counts() {
    // A new socket has as much room as this says.
    let default = "/proc/sys/net/core/rmem_default";
    let usual = fs::read_to_string(default).unwrap();
    fs::write(default, "2304").unwrap();
    let socket = client(KERNEL4);
    reload();
    fs::write(default, usual).unwrap();
    // Nobody takes anything out of the queue while what comes is in one piece.
    let mut dropped = 0;
    for _ in 0..50 {
        let before = kernel_dropped(KERNEL4);
        let messages = thread::scope(|scope| {
            let senders: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| (0..50).filter(|_| socket.send_to(&[0; 100], KERNEL4).unwrap() == 100).count())
                })
                .collect();
            senders.into_iter().map(|sender| sender.join().unwrap()).sum::<usize>()
        });
        assert_eq!(messages, 200);
        while heard(&socket, Duration::from_millis(5)).is_some() {}
        dropped += kernel_dropped(KERNEL4) - before;
        if dropped > 0 {
            break;
        }
    }
    assert!(dropped > 0);
    check_after_flood();
    reload();
    assert_eq!(kernel_dropped(KERNEL4), 0);
}

#[test]
fn nothing_is_lost_of_what_is_sent_no_faster_than_it_is_answered() {
    let socket = client(KERNEL6);
    let (mut sent, mut echoed) = (0, 0);
    while echoed < FLOOD {
        while sent < FLOOD && sent < echoed + 32 {
            socket.send_to(&sent.to_be_bytes(), KERNEL6).unwrap();
            sent += 1;
        }
        let (_, answer) = heard(&socket, LIMIT).unwrap();
        assert_eq!(answer, echoed.to_be_bytes(), "in the order they were sent");
        echoed += 1;
    }
}

// ---- Network namespaces -------------------------------------------------------------------------

#[test]
fn nobody_in_another_namespace_gets_through() {
    let there = Network::new().unwrap();
    there.enter(|| {
        for kernel in KERNEL {
            let socket = client(kernel);
            socket.connect(kernel).unwrap();
            socket.send(b"hello?").unwrap();
            let refused = udp::receive(&socket, &mut [0; 10], LIMIT);
            assert_eq!(refused, Err(Errno::CONNREFUSED), "nobody is there");
        }
        assert!(udp::sockets().unwrap().iter().all(|entry| entry.local.port() != PORT));
        // So the port is anybody's.
        for any in ["0.0.0.0", "::"] {
            drop(UdpSocket::bind((any, PORT)).unwrap());
        }
    });
}

#[test]
fn the_other_end_of_a_wire_is_answered_and_greeted() {
    let wire = Wire::new();
    for (here, there) in Wire::HERE.into_iter().zip(Wire::THERE) {
        let kernel = wire.there.enter(|| Wire::at(here, PORT, "cg1"));
        // The port that the HOWTO's program is greeted at.
        let (socket, bound) = wire.there.enter(|| {
            let bound = Wire::at(there, PORT, "cg1");
            let socket = UdpSocket::bind(bound).unwrap();
            socket.connect(kernel).unwrap();
            (socket, bound)
        });
        // It says the port 5555 is its own, too, and is not answered.
        let before = number(UNANSWERED);
        socket.send(b"hello").unwrap();
        wait_for(UNANSWERED, before + 1);
        greet(&Wire::at(there, PORT, "cg0").to_string()).unwrap();
        check_greetings(&socket, kernel);
        drop(socket);

        let mut other = bound;
        other.set_port(PROGRAM_PORT);
        let socket = wire.there.enter(|| UdpSocket::bind(other).unwrap());
        check(&socket, kernel);
        socket.connect(kernel).unwrap();
        socket.send(&[7; LARGEST]).unwrap();
        assert_eq!(heard(&socket, LIMIT).unwrap(), (kernel, vec![7; LARGEST]));
    }
}

#[test]
fn all_nodes_on_a_wire_are_answered_from_an_address_of_our_own() {
    let wire = Wire::new();
    wire.there.enter(|| {
        let socket = UdpSocket::bind(Wire::at(Wire::THERE[2], 0, "cg1")).unwrap();
        let Ok(SocketAddr::V6(own)) = socket.local_addr() else { unreachable!() };
        let all = SocketAddrV6::new("ff02::1".parse().unwrap(), PORT, 0, own.scope_id());
        socket.send_to(b"anybody?", all).unwrap();
        let (from, answer) = heard(&socket, LIMIT).unwrap();
        assert_eq!((from, &answer[..]), (Wire::at(Wire::HERE[2], PORT, "cg1"), &b"anybody?"[..]));
    });
}

#[test]
fn it_serves_the_namespace_it_was_loaded_in() {
    let wire = Wire::new();
    module::unload(MODULE).unwrap();
    wire.there.enter(|| {
        load().unwrap();
        for kernel in KERNEL {
            check(&client(kernel), kernel);
        }
    });
    // Not this one, where the port is free now, and which only the wire leads into.
    assert!(udp::sockets().unwrap().iter().all(|entry| entry.local.port() != PORT));
    for (here, there) in Wire::HERE.into_iter().zip(Wire::THERE) {
        let socket = UdpSocket::bind(Wire::at(here, 0, "cg0")).unwrap();
        check(&socket, Wire::at(there, PORT, "cg0"));
    }
    reload();
    check(&client(KERNEL4), KERNEL4);
}

#[test]
fn a_namespace_lives_as_long_as_its_socket() {
    let wire = Wire::new();
    module::unload(MODULE).unwrap();
    wire.there.enter(|| load().unwrap());
    let kernel = Wire::at(Wire::THERE[0], PORT, "cg0");
    let socket = UdpSocket::bind(Wire::at(Wire::HERE[0], 0, "cg0")).unwrap();
    check(&socket, kernel);
    // Nobody is in it any more, nor has it open.
    let Wire { _cut, there } = wire;
    drop(there);
    thread::sleep(Duration::from_millis(300));
    assert!(Wire::is_there());
    check(&socket, kernel);
    // With the socket it goes, and the wire with it.
    module::unload(MODULE).unwrap();
    let end = Instant::now() + LIMIT;
    while Wire::is_there() {
        assert!(Instant::now() < end, "the namespace is still there");
        thread::sleep(Duration::from_millis(5));
    }
    load().unwrap();
    check(&client(KERNEL4), KERNEL4);
}

// ---- Another machine ----------------------------------------------------------------------------

#[test]
fn a_program_on_another_machine_is_answered_and_greeted_at_its_own_address() {
    reload();
    let mut log = Log::from_now().unwrap();
    let other = Elsewhere::find().unwrap().expect("the lab has joined another machine to this one");
    let there = SocketAddr::from((THERE, PROGRAM_PORT));
    let mut lines = Vec::new();
    other
        .run("udp", |line| {
            if line == "waiting to be greeted" {
                greet(&there.to_string())?;
            }
            lines.push(line.to_owned());
            Ok(())
        })
        .unwrap();
    let said = lines.iter().filter(|line| !line.contains("crossing: "));
    let mut expected = vec!["message received: hello world", "waiting to be greeted"];
    expected.extend(["message received: hallo from kernel space"; GREETINGS]);
    assert_eq!(said.collect::<Vec<_>>(), expected);
    assert_eq!(logged(&mut log, LIMIT).unwrap(), "message len: 12 message: hello world");
    // It was nobody on this machine.
    assert!(UdpSocket::bind(there).is_err());
    assert_eq!((number(ANSWERED), number(UNANSWERED)), (1, 0));
}

// ---- Ports in use -------------------------------------------------------------------------------

// new: begin
#[test]
fn it_does_not_load_while_somebody_has_the_port() {
    let _up = client(KERNEL4);
    module::unload(MODULE).unwrap();
    let mut refusals = Refusals::new();
    // The last two leave IPv4 alone: that socket was there already, and has to go again.
    for taken in ["0.0.0.0", "127.0.0.1", "127.0.0.2", "::", "::ffff:127.0.0.1", "::1"] {
        let ip: IpAddr = taken.parse().unwrap();
        let socket = UdpSocket::bind((ip, PORT)).unwrap();
        refusals.case(taken, Errno::ADDRINUSE, load());
        drop(socket);
        assert!(udp::sockets().unwrap().iter().all(|entry| entry.local.port() != PORT));
        drop(UdpSocket::bind(("0.0.0.0", PORT)).unwrap());
    }
    refusals.finish();
    load().unwrap();
    check(&client(KERNEL6), KERNEL6);
}

// new: end
#[test]
fn nobody_gets_the_port_while_it_is_loaded() {
    let _up = client(KERNEL4);
    let mut refusals = Refusals::new();
    for ip in ["0.0.0.0", "127.0.0.1", "127.0.0.2", "::", "::1", "::ffff:127.0.0.1"] {
        let to = SocketAddr::new(ip.parse().unwrap(), PORT);
        refusals.case(ip, Errno::ADDRINUSE, errno(UdpSocket::bind(to)));
        // Not even by those that would share it.
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        for port in [false, true] {
            let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None).unwrap();
            sockopt::set_socket_reuseaddr(&socket, !port).unwrap();
            sockopt::set_socket_reuseport(&socket, port).unwrap();
            let what = format!("{ip}, shared");
            refusals.case(&what, Errno::ADDRINUSE, rustix::net::bind(&socket, &to));
        }
    }
    refusals.finish();
    drop(UdpSocket::bind(("127.0.0.1", PORT + 1)).unwrap());
}

// ---- What is refused ----------------------------------------------------------------------------

// new: begin
#[test]
fn only_addresses_are_greeted() {
    let mut refusals = Refusals::new();
    let long = format!("{:>1$}", "127.0.0.1:9999", GREET_LIMIT + 1);
    for text in [
        "\n", " ", "\0", "nobody", "localhost:9999", "127.0.0.1", "127.0.0.1:", ":9999", "9999",
        // new: end
        " 127.0.0.1:9999", "127.0.0.1:9999 ", "127.0.0.1:9999\n\n", "127.0.0.1:9999\r\n",
        "127.0.0.1:9999\0", "127.0.0.1 :9999", "127.0.0.1: 9999", "127.0.0.1:+9999",
        "127.0.0.1:-1", "127.0.0.1:-0", "127.0.0.1:65536", "127.0.0.1:99999999999999999999",
        "127.0.0.1:0x270f", "127.0.0.1:9999x", "127.0.0.1:9999:9999", "127.0.0.1:http",
        "127.0.0:9999", "127.1:9999", "127.0.0.256:9999", "127.0.0.01:9999", "0x7f.0.0.1:9999",
        "2130706433:9999", "127.0.0.1.1:9999", "127.0.0.-1:9999", "127.0.0.1/8:9999",
        "127.0.0.1:9999,127.0.0.1:9998", "::1:9999", "[::1]", "[::1]:", "[::1:9999", "::1]:9999",
        "[::1]9999", "[]:9999", "[:::1]:9999", "[::1::]:9999", "[::g]:9999", "[12345::]:9999",
        "[::1%]:9999", "[::1%lo]:9999", "[::1%4294967296]:9999", "[127.0.0.1]:9999",
        "[::127.0.0.256]:9999", "\u{661}27.0.0.1:9999",
        // new: begin
        long.as_str(),
    ] {
        refusals.case(&format!("{text:?}"), Errno::INVAL, greet(text));
    }
    refusals.case("no UTF-8", Errno::INVAL, open_greet().unwrap().write(b"127.0.0.1:99\xff9"));
    refusals.case("a page", Errno::INVAL, open_greet().unwrap().write(&[b'1'; 4096]));
    refusals.finish();
}

// new: end
#[test]
fn who_cannot_be_reached_is_not_greeted() {
    let _up = client(KERNEL4);
    let mut refusals = Refusals::new();
    for (whom, answer) in [
        ("127.0.0.1:0", Errno::INVAL),
        ("[::1]:0", Errno::INVAL),
        ("127.255.255.255:9999", Errno::ACCESS),
        ("255.255.255.255:9999", Errno::NETUNREACH),
        ("192.0.2.1:9999", Errno::NETUNREACH),
        ("224.0.0.1:9999", Errno::NETUNREACH),
        ("240.0.0.1:9999", Errno::NETUNREACH),
        ("[2001:db8::1]:9999", Errno::NETUNREACH),
        ("[fe80::1]:9999", Errno::NETUNREACH),
        ("[ff02::1]:9999", Errno::NETUNREACH),
        ("[::ffff:127.0.0.1]:9999", Errno::NETUNREACH),
        ("[::ffff:0.0.0.0]:9999", Errno::NETUNREACH),
        ("[fe80::1%4294967295]:9999", Errno::NETUNREACH),
    ] {
        refusals.case(whom, answer, greet(whom));
    }
    refusals.finish();
    // What stands for no address stands for this machine.
    for (whom, kernel) in [("0.0.0.0", KERNEL4), ("[::]", KERNEL6)] {
        let socket = client(kernel);
        let port = socket.local_addr().unwrap().port();
        greet(&format!("{whom}:{port}\n")).unwrap();
        check_greetings(&socket, kernel);
    }
}

#[test]
fn forms_of_an_address_are_all_the_same() {
    let v6 = client(KERNEL6);
    let port = v6.local_addr().unwrap().port();
    for form in [
        format!("[::1]:{port}"),
        format!("[0:0:0:0:0:0:0:1]:{port}\n"),
        format!("[0000:0000:0000:0000:0000:0000:0000:0001%0]:{port:05}\n"),
        format!("[::0.0.0.1]:{port}"),
        format!("[::1%7]:{port}"),
    ] {
        assert_eq!(greet(&form), Ok(form.len()), "{form:?}");
        check_greetings(&v6, KERNEL6);
    }
}

#[test]
fn the_file_is_for_writing_alone() {
    let file = open_greet().unwrap();
    let mut refusals = Refusals::new();
    refusals.case("read(2)", Errno::BADF, file.read(&mut [0; 10]));
    let both = rustix::fs::open(GREET, OFlags::RDWR, Mode::empty()).map(Device::from).unwrap();
    refusals.case("read(2), open for both", Errno::INVAL, both.read(&mut [0; 10]));
    refusals.case("pread(2)", Errno::SPIPE, both.pread(&mut [0; 10], 0));
    refusals.case("pwrite(2)", Errno::SPIPE, file.pwrite(b"127.0.0.1:9999", 0));
    refusals.case("lseek(2)", Errno::SPIPE, file.seek(SeekFrom::Start(0)));
    refusals.case("mmap(2)", Errno::NODEV, memory::try_map(&both));
    let flags = rustix::fs::FallocateFlags::empty();
    refusals.case("fallocate(2)", Errno::OPNOTSUPP, rustix::fs::fallocate(&file, flags, 0, 1));
    refusals.case("address that is none", Errno::FAULT, Hole::Unmapped.write(&file, 10));
    let cut = Guarded::holding(b"127.0.0.1:9999").unwrap();
    refusals.case("memory that ends", Errno::FAULT, cut.write(&file, 15));
    let directory = rustix::fs::open(GREET, OFlags::WRONLY | OFlags::DIRECTORY, Mode::empty());
    refusals.case("a directory", Errno::NOTDIR, directory);
    refusals.finish();
    assert_eq!(file.write(b""), Ok(0), "nothing is written, and nobody greeted");
    assert_eq!(module::unload(MODULE).map_err(|error| error.errno()), Err(Some(Errno::AGAIN)));
}

// new: begin
#[test]
fn strangers_are_kept_out() {
    let mut refusals = Refusals::new();
    let stranger = |path: &'static str, flags| {
        as_nobody(move || rustix::fs::open(path, flags, Mode::empty()).map(drop))
    };
    refusals.case("a stranger writes", Errno::ACCESS, stranger(GREET, OFlags::WRONLY));
    refusals.case("a stranger reads", Errno::ACCESS, stranger(GREET, OFlags::RDONLY));
    for count in [ANSWERED, UNANSWERED] {
        refusals.case(count, Errno::ACCESS, stranger(count, OFlags::WRONLY));
        let file = rustix::fs::open(count, OFlags::WRONLY, Mode::empty()).map(Device::from).unwrap();
        refusals.case(&format!("root writes {count}"), Errno::ACCESS, file.write(b"0"));
    }
    refusals.finish();
}

// new: end
#[test]
fn the_network_refuses_what_is_not_to_be_sent() {
    let socket = client(KERNEL4);
    let connected = client(KERNEL4);
    connected.connect(KERNEL4).unwrap();
    let v6 = client(KERNEL6);
    let to = |bytes: &[u8], whom: &str| errno(socket.send_to(bytes, address(whom)));
    let mut refusals = Refusals::new();
    refusals.case("too large", Errno::MSGSIZE, to(&vec![0; 65508], "127.0.0.1:5555"));
    refusals.case("too large, by IPv6", Errno::MSGSIZE, errno(v6.send_to(&vec![0; 65528], KERNEL6)));
    refusals.case("no port", Errno::INVAL, to(b"x", "127.0.0.1:0"));
    refusals.case("another family", Errno::AFNOSUPPORT, to(b"x", "[::1]:5555"));
    refusals.case("a broadcast", Errno::ACCESS, to(b"x", "127.255.255.255:5555"));
    // The sender's own address is that of the loopback interface, with which it may not leave.
    refusals.case("no way there", Errno::NETUNREACH, to(b"x", "192.0.2.1:5555"));
    refusals.case("nobody named", Errno::DESTADDRREQ, errno(socket.send(b"x")));
    refusals.case("address that is none", Errno::FAULT, Hole::Unmapped.write(&connected, 10));
    let cut = Guarded::holding(b"hello").unwrap();
    refusals.case("memory that ends", Errno::FAULT, cut.write(&connected, 6));
    let urgent = rustix::net::send(&connected, b"x", SendFlags::OOB);
    refusals.case("urgent data", Errno::OPNOTSUPP, urgent);
    refusals.case("no socket", Errno::NOTSOCK, {
        let file = fs::File::open("/dev/null").unwrap();
        sendto(&file, b"x", SendFlags::empty(), &KERNEL4)
    });
    refusals.case("listen(2)", Errno::OPNOTSUPP, rustix::net::listen(&socket, 1));
    refusals.finish();
    check(&connected, KERNEL4);
}

// ---- Unloading ----------------------------------------------------------------------------------

#[test]
fn who_writes_to_nobody_is_told() {
    for kernel in KERNEL {
        let socket = client(kernel);
        socket.connect(kernel).unwrap();
        assert_eq!(socket.send(b"hello").unwrap(), 5);
        assert_eq!(heard(&socket, LIMIT), Some((kernel, b"hello".to_vec())));
        module::unload(MODULE).unwrap();
        socket.send(b"hello?").unwrap();
        assert_eq!(udp::receive(&socket, &mut [0; 10], LIMIT), Err(Errno::CONNREFUSED));
        load().unwrap();
        // The same socket reaches the new one.
        socket.send(b"hello!").unwrap();
        assert_eq!(heard(&socket, LIMIT), Some((kernel, b"hello!".to_vec())));
    }
}

/// Sends a few datagrams, and takes the answers that are there already.
fn flood_a_little(socket: &UdpSocket, kernel: SocketAddr) -> Use {
    for _ in 0..8 {
        // Refused, if the module was away at the one before.
        let _ = socket.send_to(&[1; 64], kernel);
    }
    let mut answered = Use::Missed;
    let mut buffer = [0; 64];
    while let Ok(Some(_)) = udp::receive(socket, &mut buffer, Duration::ZERO) {
        answered = Use::Reached;
    }
    answered
}

// new: begin
/// Asks, and waits a moment for the answer.
fn ask_a_little(socket: &UdpSocket, kernel: SocketAddr) -> Use {
    let _ = socket.send_to(b"hello", kernel);
    match udp::receive(socket, &mut [0; 64], Duration::from_millis(5)) {
        Ok(Some(_)) => Use::Reached,
        _ => Use::Missed,
    }
}

// new: end
/// Has the kernel greet a socket. That keeps the module in use for a moment.
fn greet_a_little(socket: &UdpSocket) -> Use {
    let answer = greet(&socket.local_addr().unwrap().to_string());
    while let Ok(Some(_)) = udp::receive(socket, &mut [0; 64], Duration::ZERO) {}
    thread::sleep(Duration::from_millis(1));
    match answer {
        Ok(_) => Use::Reached,
        Err(Errno::NOENT | Errno::NXIO | Errno::NODEV | Errno::IO) => Use::Missed,
        Err(errno) => panic!("{errno:?}"),
    }
}

// new: begin
fn unload_from_under(users: &[&(dyn Fn() -> Use + Sync)]) {
    while_used(MODULE, MODULE_FILE, TOO_LONG, users);
    // new: end
    check_after_flood();
    // new: begin
}

// new: end
#[test]
fn it_unloads_from_under_a_flood() {
    let (one, other) = (client(KERNEL4), client(KERNEL4));
    unload_from_under(&[&|| flood_a_little(&one, KERNEL4), &|| flood_a_little(&other, KERNEL4)]);
}

#[test]
fn it_unloads_from_under_a_flood_by_ipv6() {
    let (one, other) = (client(KERNEL6), client(KERNEL6));
    unload_from_under(&[&|| flood_a_little(&one, KERNEL6), &|| flood_a_little(&other, KERNEL6)]);
}

// new: begin
#[test]
fn it_unloads_from_under_who_waits_for_answers() {
    let (one, other) = (client(KERNEL4), client(KERNEL6));
    unload_from_under(&[&|| ask_a_little(&one, KERNEL4), &|| ask_a_little(&other, KERNEL6)]);
}

// new: end
#[test]
fn it_unloads_while_it_greets_and_is_flooded() {
    let (greeted, one, other) = (client(KERNEL4), client(KERNEL4), client(KERNEL6));
    unload_from_under(&[
        &|| greet_a_little(&greeted),
        &|| flood_a_little(&one, KERNEL4),
        &|| flood_a_little(&other, KERNEL6),
    ]);
}

#[test]
fn it_unloads_with_its_queue_full() {
    let socket = client(KERNEL4);
    for _ in 0..callgate::testing::unload::cycles() {
        for _ in 0..500 {
            socket.send_to(&[0; LARGEST], KERNEL4).unwrap();
        }
        reload();
    }
    check_after_flood();
}

#[test]
fn it_fails_to_load_from_under_a_flood() {
    let socket = client(KERNEL4);
    module::unload(MODULE).unwrap();
    // IPv6 fails when IPv4 is there already, and may have answered.
    let taken = UdpSocket::bind("[::1]:5555").unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                flood_a_little(&socket, KERNEL4);
            }
        });
        for _ in 0..callgate::testing::unload::cycles() {
            assert_eq!(load(), Err(Errno::ADDRINUSE));
        }
        done.store(true, Ordering::Relaxed);
    });
    drop(taken);
    load().unwrap();
    check_after_flood();
}

#[test]
fn it_loads_wholly_or_not_at_all_when_memory_runs_out() {
    let socket = client(KERNEL4);
    module::unload(MODULE).unwrap();
    let done = AtomicBool::new(false);
    let mut loads = Vec::new();
    let places = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                flood_a_little(&socket, KERNEL4);
                thread::sleep(Duration::from_millis(1));
            }
        });
        let places = at_last_places(
            60,
            || module::load(MODULE_FILE, "").map_err(|error| error.errno()),
            |_, loaded| {
                let listed = udp::sockets().unwrap();
                let ports = listed.iter().filter(|entry| entry.local.port() == PORT).count();
                loads.push((loaded, ports));
                while loaded.is_ok() && module::unload(MODULE).is_err() {}
            },
        );
        done.store(true, Ordering::Relaxed);
        places
    });
    for (place, (loaded, ports)) in loads.iter().enumerate() {
        match loaded {
            Ok(()) => assert_eq!(*ports, 2, "place {place}"),
            Err(errno) => {
                // A socket that there is no memory for is one too many to the kernel.
                let expected = [Errno::NOMEM, Errno::NOBUFS, Errno::NFILE, Errno::FAULT];
                let errno = errno.expect("the kernel says why");
                assert!(expected.contains(&errno), "place {place}: {errno:?}");
                assert_eq!(*ports, 0, "place {place}");
            }
        }
    }
    let failed = loads.iter().filter(|(loaded, _)| loaded.is_err()).count();
    println!("{failed} loads failed");
    assert!(places.is_none() || failed > 5, "{loads:?}");
    load().unwrap();
    check(&client(KERNEL4), KERNEL4);
}

#[test]
fn it_greets_with_whatever_memory_there_is() {
    let socket = client(KERNEL4);
    let own = socket.local_addr().unwrap().to_string();
    let file = open_greet().unwrap();
    let mut failed = 0;
    let places = at_each_place(
        || file.write(own.as_bytes()),
        |place, result| {
            let mut heard_of = 0;
            while heard(&socket, Duration::from_millis(1)).is_some() {
                heard_of += 1;
            }
            match result {
                Ok(_) => assert!(heard_of <= GREETINGS, "place {place}"),
                Err(Errno::NOMEM | Errno::NOBUFS | Errno::FAULT) => {
                    assert!(heard_of < GREETINGS, "place {place}");
                    failed += 1;
                }
                Err(errno) => panic!("place {place}: {errno:?}"),
            }
        },
    );
    assert!(places.is_none() || failed > 2, "{failed} of {places:?}");
    greet(&own).unwrap();
    check_greetings(&socket, KERNEL4);
}
