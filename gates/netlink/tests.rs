// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a user of the gate's own netlink protocol can rely on, tried through sockets.
//!
//! These run in the lab's VM as root, each in a process of its own, with the module loaded.

// new: begin
use std::fs;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use callgate::Errno;
use callgate::kmsg::Log;
use callgate::module;
use callgate::netlink::{self, Attributes, Socket};
use callgate::testing::Refusals;
use callgate::testing::faults::{at_each_place, at_last_places};
use callgate::testing::memory::Hole;
use callgate::testing::namespace::Network;
use callgate::testing::tools;
use callgate::testing::unload::{Away, Use, cycles, while_used};
use callgate::testing::worker::{Watchdog, as_nobody};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, SendFlags, SocketType, bind, sendto, socket};

use super::abi::{self, PROTOCOL, PROTOCOLS, kind};

/// Every wait ends here at the latest; it is generous, because an emulated debug kernel is slow.
const LIMIT: Duration = Duration::from_secs(30);

/// A test that takes longer than this has lost its way.
const TOO_LONG: Duration = Duration::from_secs(160);

/// Long enough to see that nothing comes: what the kernel sends is there when the call that made it
/// send that is over.
const SOON: Duration = Duration::from_millis(50);

const MODULE: &str = "callgate_netlink";
const MODULE_FILE: &str = "/modules/callgate_netlink.ko";

// new: end
// `NLM_F_*`.
const REQUEST: u16 = 1;
const ACK: u16 = 4;

// new: begin
const NESTED: u16 = 0x8000;

fn client() -> Socket {
    try_client(PROTOCOL).unwrap()
}

fn try_client(protocol: u32) -> Result<Socket, netlink::Error> {
    Socket::new(protocol.cast_signed(), 0)
}

fn msg(text: &str) -> Attributes {
    Attributes::new().string(abi::MSG, text)
}

fn errno(error: &netlink::Error) -> Errno {
    error.errno().unwrap_or_else(|| panic!("{error}"))
}

/// What a request is answered.
fn call(client: &mut Socket, kind: u16, attributes: &Attributes) -> Result<(), Errno> {
    client.request(kind, attributes.as_bytes()).map(drop).map_err(|error| errno(&error))
}

/// How many messages this network namespace has sent.
fn count(client: &mut Socket) -> u32 {
    let replies = client.request(kind::COUNT, &[]).unwrap();
    let [reply] = &replies[..] else { panic!("{replies:?}") };
    assert_eq!(reply.kind, kind::COUNT);
    Attributes::from_bytes(&*reply.payload).get_number(abi::COUNT).unwrap()
}

// new: end
/// A socket of any protocol and type, which no wrapper has prepared.
fn bare(protocol: u32, of_type: SocketType) -> Result<OwnedFd, Errno> {
    let protocol = std::num::NonZeroU32::new(protocol).map(Protocol::from_raw);
    socket(AddressFamily::NETLINK, of_type, protocol)
}

// ---- Requests and answers -----------------------------------------------------------------------

// new: begin
#[test]
fn a_message_is_answered() {
    drop(Away::new(MODULE, MODULE_FILE));
    let (mut client, mut log) = (client(), Log::from_now().unwrap());
    let replies = client.request(kind::ECHO, msg("hello from userspace").as_bytes()).unwrap();
    let [reply] = &replies[..] else { panic!("{replies:?}") };
    assert_eq!((reply.kind, reply.port), (kind::ECHO, client.port()));
    assert_eq!(reply.payload, msg("hello world from kernel space").as_bytes());
    assert!(log.wait_for("received: hello from userspace", LIMIT).unwrap());
}

// new: end
#[test]
fn a_flood_does_not_fill_the_log() {
    let _watchdog = Watchdog::new(TOO_LONG);
    drop(Away::new(MODULE, MODULE_FILE));
    let mut log = Log::from_now().unwrap();
    let start = Instant::now();
    as_nobody(|| {
        let mut client = client();
        (0..1000).for_each(|_| call(&mut client, kind::ECHO, &msg("flood")).unwrap());
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

// new: begin
#[test]
fn the_program_runs() {
    super::program::main().unwrap();
}

#[test]
fn requests_are_counted_and_refused_ones_are_not() {
    let mut client = client();
    let before = count(&mut client);
    for _ in 0..5 {
        call(&mut client, kind::ECHO, &msg("hello")).unwrap();
        assert_eq!(call(&mut client, kind::ECHO, &Attributes::new()), Err(Errno::INVAL));
    }
    assert_eq!(count(&mut client), before + 5);
}

#[test]
fn many_may_send_at_once() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let before = count(&mut client());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = client();
                (0..100).for_each(|_| call(&mut client, kind::ECHO, &msg("hello")).unwrap());
            });
        }
    });
    assert_eq!(count(&mut client()), before + 400);
}

// new: end
#[test]
fn nobody_checks_what_the_protocol_does_not() {
    let mut client = client();
    let message = msg("hello");
    // In generic netlink all of these are reserved.
    for flags in [0x2, 0x10, 0x20, 0x100, 0x300, 0x400, 0x800, 0x8000] {
        let sequence = client.send(kind::ECHO, REQUEST | ACK | flags, message.as_bytes()).unwrap();
        client.replies(sequence, &[]).unwrap();
    }
    // Netlink's own messages are acknowledged, and that is all.
    for own in 0..16 {
        let sequence = client.send(own, REQUEST | ACK, message.as_bytes()).unwrap();
        assert!(client.replies(sequence, &[]).unwrap().records.is_empty());
    }
}

// ---- What is refused ----------------------------------------------------------------------------

// new: begin
#[test]
fn bad_requests_are_refused() {
    let mut client = client();
    let mut table = Refusals::new();
    for unknown in [19, 20, 100, 0x7fff, u16::MAX] {
        let answer = call(&mut client, unknown, &msg("hello"));
        table.case(&format!("kind {unknown}"), Errno::OPNOTSUPP, answer);
    }
    let new = Attributes::new;
    let long = "x".repeat(usize::from(abi::MSG_MAX) + 1);
    let good = msg("hello");
    let torn = |bytes: &[u8]| Attributes::from_bytes([good.as_bytes(), bytes].concat());
    let wrong = [
        ("no message", new()),
        ("a message without a NUL", new().bytes(abi::MSG, b"hello")),
        ("a message of no bytes", new().bytes(abi::MSG, b"")),
        ("a number", new().number(abi::MSG, u32::MAX)),
        ("a message too long", msg(&long)),
        ("a nest", new().bytes(abi::MSG | NESTED, b"hello\0\0\0")),
        ("an unknown attribute", msg("hello").flag(2)),
        ("the largest unknown attribute", msg("hello").flag(0x3fff)),
        ("padding", msg("hello").bytes(0, b"")),
        ("a good message, then a bad one", msg("hello").flag(abi::MSG)),
        ("a bad message, then a good one", new().flag(abi::MSG).string(abi::MSG, "hello")),
        ("a good one and a byte", torn(b"\0")),
        ("a good one and half a header", torn(b"\x08\0\x01")),
        ("a length of 3", Attributes::from_bytes(*b"\x03\0\x01\0")),
        ("a length beyond the message", Attributes::from_bytes(*b"\xff\xff\x01\0hey\0")),
    ];
    for kind in [kind::ECHO, kind::SAY] {
        for (what, attributes) in &wrong {
            let answer = call(&mut client, kind, attributes);
            table.case(&format!("{what}, to {kind}"), Errno::INVAL, answer);
        }
    }
    table.case("count something", Errno::INVAL, call(&mut client, kind::COUNT, &good));
    table.case("count a byte", Errno::INVAL, call(&mut client, kind::COUNT, &torn(b"\0")));
    as_nobody(|| {
        let mut client = self::client();
        table.case("say", Errno::PERM, call(&mut client, kind::SAY, &good));
        table.case("say nothing", Errno::PERM, call(&mut client, kind::SAY, &new()));
        call(&mut client, kind::ECHO, &good).unwrap();
    });
    table.finish();
}

#[test]
fn a_refusal_names_the_attribute() {
    let mut client = client();
    let mut refusal = |attributes: &Attributes| {
        match client.request(kind::ECHO, attributes.as_bytes()) {
            Err(netlink::Error::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refusal(&Attributes::new()).missing, Some(abi::MSG));
    let unknown = refusal(&msg("hello").flag(7));
    assert_eq!(unknown.attribute, [7]);
    assert_eq!(unknown.message.as_deref(), Some("Unknown attribute type"));
}

// new: end
#[test]
fn bad_sockets_and_datagrams_are_refused() {
    let mut table = Refusals::new();
    for protocol in [PROTOCOLS, 33, 64, 1000, i32::MAX as u32, u32::MAX] {
        let answer = bare(protocol, SocketType::RAW).map(drop);
        table.case(&format!("protocol {protocol}"), Errno::PROTONOSUPPORT, answer);
    }
    for of_type in [SocketType::STREAM, SocketType::SEQPACKET, SocketType::RDM] {
        let answer = bare(PROTOCOL, of_type).map(drop);
        table.case(&format!("{of_type:?}"), Errno::SOCKTNOSUPPORT, answer);
    }
    for group in [0, 33, 1000, u32::MAX] {
        let answer = client().join(group).map_err(|error| errno(&error));
        table.case(&format!("join {group}"), Errno::INVAL, answer);
    }

    let (first, second) = (client(), bare(PROTOCOL, SocketType::DGRAM).unwrap());
    let address = SocketAddrNetlink::new;
    table.case("a number taken", Errno::ADDRINUSE, bind(&second, &address(first.port(), 0)));
    bind(&second, &address(77, 0)).unwrap();
    table.case("a number of two", Errno::INVAL, bind(&second, &address(78, 0)));
    let send = |socket: &OwnedFd, bytes: &[u8], to| {
        sendto(socket, bytes, SendFlags::empty(), &address(to, 0)).map(drop)
    };
    let whole = client().frame(kind::ECHO, REQUEST, msg("hello").as_bytes());
    table.case("to nobody", Errno::CONNREFUSED, send(&second, &whole, 4_000_000));
    table.case("no bytes", Errno::NODATA, send(&second, b"", 0));
    let huge = vec![0; 16 << 20];
    table.case("too many bytes", Errno::MSGSIZE, send(&second, &huge, 0));
    for hole in Hole::ALL {
        if hole != Hole::ReadOnly {
            table.case(&format!("from {hole:?}"), Errno::FAULT, hole.write(&first, 64));
        }
    }
    as_nobody(|| {
        let client = client();
        table.case("join", Errno::PERM, client.join(abi::GROUP).map_err(|error| errno(&error)));
        let bare = bare(PROTOCOL, SocketType::RAW).unwrap();
        table.case("bind to a group", Errno::PERM, bind(&bare, &address(0, abi::GROUP)));
        table.case("to another user", Errno::PERM, send(&bare, &whole, first.port()));
    });
    table.finish();
}

#[test]
fn torn_datagrams_are_passed_over() {
    let mut client = client();
    let before = count(&mut client);
    let whole = client.frame(kind::ECHO, REQUEST | ACK, msg("hello").as_bytes());
    let len = u32::try_from(whole.len()).unwrap();
    for length in [0, 15, len + 4, u32::MAX] {
        let mut bytes = whole.clone();
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        client.send_bytes(&bytes).unwrap();
    }
    for length in [1, 4, 15] {
        client.send_bytes(&whole[..length]).unwrap();
    }
    // No request.
    client.send(kind::ECHO, 0, msg("hello").as_bytes()).unwrap();
    assert_eq!(client.receive_within(SOON).unwrap(), None);
    assert_eq!(count(&mut client), before);
}

// ---- The group ----------------------------------------------------------------------------------

// new: begin
#[test]
fn all_listeners_hear_what_is_said() {
    let mut client = client();
    let mut listeners = [self::client(), self::client(), self::client()];
    for listener in &listeners[..2] {
        listener.join(abi::GROUP).unwrap();
    }
    for text in ["one", "two"] {
        call(&mut client, kind::SAY, &msg(text)).unwrap();
    }
    for listener in &mut listeners[..2] {
        for text in ["one", "two"] {
            let heard = listener.receive().unwrap();
            assert_eq!((heard.kind, heard.sequence, heard.port), (kind::SAY, 0, 0));
            assert_eq!(heard.payload, msg(text).as_bytes());
        }
        listener.leave(abi::GROUP).unwrap();
    }
    call(&mut client, kind::SAY, &msg("three")).unwrap();
    for listener in &mut listeners {
        assert_eq!(listener.receive_within(SOON).unwrap(), None);
    }
}

#[test]
fn a_slow_listener_is_told_that_it_missed_something() {
    let (mut client, mut slow) = (client(), client());
    slow.join(abi::GROUP).unwrap();
    slow.set_receive_buffer(4096).unwrap();
    for _ in 0..200 {
        call(&mut client, kind::SAY, &msg("news")).unwrap();
    }
    assert!(matches!(slow.receive(), Err(netlink::Error::Lost)));
    let mut old = 0;
    while slow.receive_within(SOON).unwrap().is_some() {
        old += 1;
    }
    assert!((1..200).contains(&old), "{old}");
    call(&mut client, kind::SAY, &msg("the latest")).unwrap();
    assert_eq!(slow.receive().unwrap().payload, msg("the latest").as_bytes());
}

// new: end
// ---- Network namespaces -------------------------------------------------------------------------

// new: begin
#[test]
fn each_network_namespace_has_its_own_count_and_listeners() {
    let other = Network::new().unwrap();
    let (mut here, mut there) = (client(), other.enter(client));
    let (mut listener, mut foreign_listener) = (client(), other.enter(client));
    listener.join(abi::GROUP).unwrap();
    foreign_listener.join(abi::GROUP).unwrap();
    let before = count(&mut here);
    call(&mut there, kind::ECHO, &msg("hello")).unwrap();
    assert_eq!((count(&mut here), count(&mut there)), (before, 1));
    call(&mut there, kind::SAY, &msg("there")).unwrap();
    assert_eq!(foreign_listener.receive().unwrap().payload, msg("there").as_bytes());
    assert_eq!(listener.receive_within(SOON).unwrap(), None);
}

// new: end
// ---- The limit ----------------------------------------------------------------------------------

#[test]
fn there_are_32_protocols_and_a_number_has_one_owner() {
    let away = Away::new(MODULE, MODULE_FILE);
    let load = |protocol: u32| {
        module::load(MODULE_FILE, &format!("protocol={protocol}")).map_err(|e| e.errno().unwrap())
    };
    let mut table = Refusals::new();
    for none in [PROTOCOLS, 33, 255, u32::MAX] {
        table.case(&format!("protocol {none}"), Errno::PROTONOSUPPORT, load(none));
    }
    // `NETLINK_USERSOCK`, by which users speak to each other, has no socket of the kernel's: it would be
    // given away, and again, and those who have sockets of it would keep no module.
    let users = try_client(2).unwrap();
    table.case("protocol 2", Errno::BUSY, load(2));
    drop(users);
    table.case("protocol 2, of which nobody has a socket", Errno::BUSY, load(2));
    // `NETLINK_ROUTE` and `NETLINK_GENERIC` are somebody's everywhere.
    for taken in [0, 16] {
        table.case(&format!("protocol {taken}"), Errno::NOMEM, load(taken));
    }
    table.finish();
    for protocol in [17, 30] {
        assert_eq!(try_client(protocol).map(drop).unwrap_err().errno(), Some(Errno::PROTONOSUPPORT));
        load(protocol).unwrap();
        call(&mut try_client(protocol).unwrap(), kind::ECHO, &msg("hello")).unwrap();
        assert_eq!(try_client(PROTOCOL).map(drop).unwrap_err().errno(), Some(Errno::PROTONOSUPPORT));
        module::unload(MODULE).unwrap();
    }
    drop(away);
    client();
}

#[test]
fn tools_see_the_kernels_socket() {
    // sk Eth Pid Groups …: the kernel's own has number 0.
    let table = fs::read_to_string("/proc/net/netlink").unwrap();
    let has = |table: &str| {
        let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.any(|fields| fields[1] == "31" && fields[2] == "0")
    };
    assert!(has(&table), "{table}");
    let parameter = tools::shell("cat /proc/net/netlink").success();
    assert!(has(&parameter));
    let away = Away::new(MODULE, MODULE_FILE);
    assert!(!has(&fs::read_to_string("/proc/net/netlink").unwrap()));
    drop(away);
}

// ---- Without memory -----------------------------------------------------------------------------

#[test]
fn any_allocation_may_fail() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let client = std::cell::RefCell::new(client());
    let listener = self::client();
    listener.join(abi::GROUP).unwrap();
    let message = msg("hello");
    for kind in [kind::ECHO, kind::SAY] {
        let places = at_each_place(
            // All is done in this call. To wait for the answer would ask for the time, which must not fail.
            || client.borrow_mut().send(kind, REQUEST | ACK, message.as_bytes()),
            |place, sent| {
                let expected = [Some(Errno::NOBUFS), Some(Errno::NOMEM), Some(Errno::FAULT)];
                let result = sent.and_then(|sequence| client.borrow_mut().replies(sequence, &[]));
                if let Err(error) = result {
                    assert!(expected.contains(&error.errno()), "place {place}: {error}");
                }
                call(&mut client.borrow_mut(), kind, &message).unwrap();
            },
        );
        assert!(places.is_none_or(|places| places > 3), "{places:?}");
    }
}

#[test]
fn a_load_that_fails_leaves_nothing() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let other = Network::new().unwrap();
    let away = Away::new(MODULE, MODULE_FILE);
    let mut loads = Vec::new();
    let places = at_last_places(
        60,
        || module::load(MODULE_FILE, "").map_err(|error| error.errno()),
        |_, loaded| {
            assert_eq!(try_client(PROTOCOL).is_ok(), loaded.is_ok(), "{loaded:?}");
            assert_eq!(other.enter(|| try_client(PROTOCOL)).is_ok(), loaded.is_ok(), "{loaded:?}");
            if loaded.is_ok() {
                module::unload(MODULE).unwrap();
            }
            loads.push(loaded);
        },
    );
    drop(away);
    let failed = loads.iter().filter(|loaded| loaded.is_err()).count();
    println!("{failed} loads failed");
    assert!(places.is_none() || failed > 8, "{loads:?}");
    call(&mut client(), kind::ECHO, &msg("hello")).unwrap();
}

#[test]
fn a_load_that_fails_waits_for_those_who_send() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let (_other, done) = (Network::new().unwrap(), AtomicBool::new(false));
    let (away, answered) = (Away::new(MODULE, MODULE_FILE), AtomicUsize::new(0));
    let mut failed = 0;
    let places = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if echo() == Use::Reached {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let places = at_last_places(
            40,
            || module::load(MODULE_FILE, ""),
            |_, loaded| {
                if loaded.is_err() {
                    failed += 1;
                    return;
                }
                // So that they are at it when the next one fails.
                let before = answered.load(Ordering::Relaxed);
                while answered.load(Ordering::Relaxed) == before {
                    thread::yield_now();
                }
                // Refused while somebody has a socket.
                while module::unload(MODULE).is_err() {}
            },
        );
        done.store(true, Ordering::Relaxed);
        places
    });
    drop(away);
    println!("{failed} loads failed, {} requests were answered", answered.into_inner());
    assert!(places.is_none() || failed > 4, "{failed}");
    call(&mut client(), kind::ECHO, &msg("hello")).unwrap();
}

// ---- Unloading ----------------------------------------------------------------------------------

// new: begin
#[test]
fn an_open_socket_keeps_the_module() {
    let unload = || module::unload(MODULE).map_err(|error| error.errno().unwrap());
    for _ in 0..cycles() {
        let listener = client();
        listener.join(abi::GROUP).unwrap();
        assert_eq!(unload(), Err(Errno::AGAIN));
        drop(listener);
        assert_eq!(unload(), Ok(()));
        assert_eq!(try_client(PROTOCOL).map(drop).unwrap_err().errno(), Some(Errno::PROTONOSUPPORT));
        module::load(MODULE_FILE, "").unwrap();
    }
}

/// Does something with the protocol, if it is there.
fn try_it(what: impl Fn(&mut Socket) -> Result<(), netlink::Error>) -> Use {
    // Without a socket, or somebody would always have one.
    thread::sleep(Duration::from_millis(2));
    match try_client(PROTOCOL).and_then(|mut client| what(&mut client)) {
        Ok(()) => Use::Reached,
        Err(error) => match error.errno() {
            // It is not there, or not live yet and about to be.
            Some(Errno::PROTONOSUPPORT | Errno::CONNREFUSED) => Use::Missed,
            _ => panic!("{error}"),
        },
    }
}

fn echo() -> Use {
    try_it(|client| client.request(kind::COUNT, &[]).map(drop))
}

// new: end
fn say() -> Use {
    try_it(|client| client.request(kind::SAY, msg("hello").as_bytes()).map(drop))
}

fn listen() -> Use {
    try_it(|client| {
        client.join(abi::GROUP)?;
        client.receive_within(Duration::from_millis(1)).map(drop)
    })
}

// new: begin
#[test]
fn it_unloads_while_requests_are_sent() {
    let _watchdog = Watchdog::new(TOO_LONG);
    while_used(MODULE, MODULE_FILE, LIMIT, &[&echo]);
}

// new: end
#[test]
fn it_unloads_while_others_listen() {
    let _watchdog = Watchdog::new(TOO_LONG);
    while_used(MODULE, MODULE_FILE, LIMIT, &[&listen]);
}

#[test]
fn it_unloads_while_everything_is_done() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let elsewhere = Network::new().unwrap();
    let there = || elsewhere.enter(echo);
    let users: [&(dyn Fn() -> Use + Sync); 3] = [&say, &listen, &there];
    while_used(MODULE, MODULE_FILE, LIMIT, &users);
}
