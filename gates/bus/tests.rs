// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a user of `my_pseudo_bus`, its devices and its driver can rely on.
//!
//! These run in the lab's VM as root, each in a process of its own, with the module loaded.

// new: begin
use std::ffi::CStr;
use std::fmt::Debug;
use std::fs;
use std::io::IoSlice;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use callgate::Errno;
use callgate::attribute::{Attribute, Open};
use callgate::bus::{self, Bus, Device, Driver};
use callgate::kmsg::Log;
use callgate::module;
use callgate::testing::Refusals;
use callgate::testing::memory::{self, Guarded, Hole};
use callgate::testing::tools::{self, Tool};
use callgate::testing::unload::{self, Use, while_used};
use callgate::testing::worker::{Watchdog, Worker};
use rustix::fs::{AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags, SeekFrom};
use rustix::process::{Gid, Uid};

use super::abi;

/// Every wait ends here at the latest; it is generous, because an emulated debug kernel is slow.
const LIMIT: Duration = Duration::from_secs(30);

/// A test that takes longer than this has lost its way.
const TOO_LONG: Duration = Duration::from_secs(160);

const MODULE: &str = "callgate_bus";
const MODULE_FILE: &str = "/modules/callgate_bus.ko";

const BUS: &str = text(abi::BUS);
const DRIVER: &str = text(abi::DRIVER);
const DEVICE: &str = text(abi::DEVICE);
// new: end
const STRANGER: &str = text(abi::STRANGER);

// new: begin
const BUS_PATH: &str = "/sys/bus/my_pseudo_bus";
const DRIVER_PATH: &str = "/sys/bus/my_pseudo_bus/drivers/my_pseudo_driver";
const DEVICE_PATH: &str = "/sys/devices/virtual/my_pseudo_bus/my_pseudo_device";
// new: end
const STRANGER_PATH: &str = "/sys/devices/virtual/my_pseudo_bus/my_strange_device";

// new: begin
/// What the kernel has a driver answer who wants to be asked again later. User space has no name for
/// it, because it never gets there.
const PROBE_DEFER: u16 = 517;

const fn text(name: &CStr) -> &str {
    match name.to_str() {
        Ok(text) => text,
        Err(_) => panic!("a name that is not UTF-8"),
    }
}

/// The bus as it is when the module has just been loaded.
fn fresh() -> Bus {
    reload();
    Bus::find(BUS).unwrap()
}

fn reload() {
    match module::unload(MODULE) {
        // A test that failed may have left it so.
        Err(error) if error.errno() == Some(Errno::NOENT) => {}
        other => other.unwrap(),
    }
    module::load(MODULE_FILE, "").unwrap();
}

/// The driver of a bus that is [`fresh`].
fn driver() -> Driver {
    fresh().driver(DRIVER).unwrap()
}

fn file(directory: &str, name: &CStr) -> Attribute {
    Attribute::at(Path::new(directory).join(text(name)))
}

fn busval() -> Attribute {
    file(BUS_PATH, abi::BUSVAL)
}

fn bound() -> Attribute {
    file(BUS_PATH, abi::BOUND)
}

fn refuse() -> Attribute {
    file(BUS_PATH, abi::REFUSE)
}

fn bind() -> Attribute {
    file(DRIVER_PATH, c"bind")
}

fn unbind() -> Attribute {
    file(DRIVER_PATH, c"unbind")
}

// new: end
fn probe() -> Attribute {
    file(BUS_PATH, c"drivers_probe")
}

// new: begin
fn open(file: &Attribute, flags: OFlags) -> Result<Open, Errno> {
    file.open(flags).map_err(|error| error.errno().unwrap())
}

/// What one write(2) of `value` comes to.
fn write(file: &Attribute, value: impl AsRef<[u8]>) -> Result<usize, Errno> {
    rustix::io::write(open(file, OFlags::WRONLY)?, value.as_ref())
}

// new: end
/// What one read(2) of up to `len` bytes gives.
fn read(file: impl AsFd, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    let len = rustix::io::read(file, &mut bytes)?;
    bytes.truncate(len);
    Ok(bytes)
}

// new: begin
/// What the kernel answered to something about the bus.
fn asked<T>(result: Result<T, bus::Error>) -> Result<T, Errno> {
    result.map_err(|error| error.errno().unwrap())
}

/// Whether the device is bound, after seeing that all who say so agree.
fn is_bound() -> bool {
    let bus = Bus::find(BUS).unwrap();
    let count: i32 = bound().get().unwrap();
    let device = bus.device(DEVICE).unwrap();
    let driver = bus.driver(DRIVER).unwrap();
    let uevent = device.object().attribute("uevent").text().unwrap();
    let seen = (device.driver().unwrap(), driver.devices().unwrap(), uevent);
    if count == 0 {
        assert_eq!(seen, (None, Vec::new(), String::new()));
    } else {
        let uevent = format!("DRIVER={DRIVER}");
        assert_eq!((count, seen), (1, (Some(DRIVER.to_owned()), vec![device], uevent)));
    }
    // new: end
    let stranger = bus.device(STRANGER).unwrap();
    assert_eq!(stranger.driver().unwrap(), None);
    // new: begin
    count == 1
}

/// Does `work` as user and group 65534, without any privilege. Credentials belong to a thread; this
/// one ends with them.
fn as_stranger<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    Worker::spawn(move || {
        let (user, group) = (Uid::from_raw(65534), Gid::from_raw(65534));
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_res_gid(group, group, group).unwrap();
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        work()
    })
    .finish(LIMIT)
}

// new: end
// ---- Where it is --------------------------------------------------------------------------------

#[test]
fn the_bus_has_the_howtos_file_and_those_that_every_bus_has() {
    let bus = fresh();
    assert!(Bus::all().unwrap().contains(&BUS.to_owned()));
    assert_eq!(bus.object().path(), Path::new(BUS_PATH));
    assert_eq!(
        bus.object().attributes().unwrap(),
        ["bound", "busval", "drivers_autoprobe", "drivers_probe", "refuse", "uevent"]
    );
    assert_eq!(bus.object().objects().unwrap(), ["devices", "drivers"]);
    assert_eq!(
        bus.driver(DRIVER).unwrap().object().attributes().unwrap(),
        ["bind", "uevent", "unbind"]
    );
    for name in [DEVICE, STRANGER] {
        let device = bus.device(name).unwrap();
        // No `modalias`: what a bus does not tell, depmod(8) cannot look for.
        assert_eq!(device.object().attributes().unwrap(), ["uevent"], "{name}");
    }
}

// new: begin
#[test]
fn anybody_reads_and_root_writes() {
    fresh();
    for (directory, name, mode) in [
        (BUS_PATH, "busval", 0o644),
        (BUS_PATH, "bound", 0o444),
        (BUS_PATH, "refuse", 0o644),
        (BUS_PATH, "drivers_autoprobe", 0o644),
        (BUS_PATH, "drivers_probe", 0o200),
        (BUS_PATH, "uevent", 0o200),
        (DRIVER_PATH, "bind", 0o200),
        (DRIVER_PATH, "unbind", 0o200),
        (DRIVER_PATH, "uevent", 0o200),
        (DEVICE_PATH, "uevent", 0o644),
    ] {
        let shown = fs::metadata(Path::new(directory).join(name)).unwrap();
        let shown = (shown.mode() & 0o7777, shown.uid(), shown.gid(), shown.len());
        assert_eq!(shown, (mode, 0, 0, 4096), "{directory}/{name}");
    }
    assert_eq!(as_stranger(|| busval().read().unwrap()), b"1\n");
    let refused = as_stranger(|| open(&busval(), OFlags::WRONLY).map(drop));
    assert_eq!(refused, Err(Errno::ACCESS));
}

// new: end
#[test]
fn links_lead_from_each_to_the_others() {
    fresh();
    let readlink = |link: String| Tool::new("readlink").arg(link).run().success();
    for (link, target) in [
        (
            format!("{BUS_PATH}/devices/{DEVICE}"),
            "../../../devices/virtual/my_pseudo_bus/my_pseudo_device\n",
        ),
        (
            format!("{BUS_PATH}/devices/{STRANGER}"),
            "../../../devices/virtual/my_pseudo_bus/my_strange_device\n",
        ),
        (
            format!("{DRIVER_PATH}/{DEVICE}"),
            "../../../../devices/virtual/my_pseudo_bus/my_pseudo_device\n",
        ),
        (
            format!("{DEVICE_PATH}/driver"),
            "../../../../bus/my_pseudo_bus/drivers/my_pseudo_driver\n",
        ),
        (format!("{DEVICE_PATH}/subsystem"), "../../../../bus/my_pseudo_bus\n"),
        (format!("{STRANGER_PATH}/subsystem"), "../../../../bus/my_pseudo_bus\n"),
    ] {
        assert_eq!(readlink(link.clone()), target, "{link}");
    }
    let list = |path: &str| Tool::new("ls").arg(path).run().success();
    assert_eq!(list(&format!("{BUS_PATH}/devices")), "my_pseudo_device\nmy_strange_device\n");
    assert_eq!(list(&format!("{BUS_PATH}/drivers")), "my_pseudo_driver\n");
    assert_eq!(list(DRIVER_PATH), "bind\nmy_pseudo_device\nuevent\nunbind\n");
    assert_eq!(list(STRANGER_PATH), "subsystem\nuevent\n");
}

#[test]
fn the_client_finds_all_of_it() {
    let bus = fresh();
    let names: Vec<_> = bus.devices().unwrap().iter().map(Device::name).collect();
    assert_eq!(names, [DEVICE, STRANGER]);
    let names: Vec<_> = bus.drivers().unwrap().iter().map(Driver::name).collect();
    assert_eq!(names, [DRIVER]);
    let device = bus.device(DEVICE).unwrap();
    assert_eq!(device.subsystem().unwrap().as_deref(), Some(BUS));
    assert_eq!(device.driver().unwrap().as_deref(), Some(DRIVER));
    let driver = bus.driver(DRIVER).unwrap();
    assert_eq!(driver.module().unwrap(), None, "see kernel/bus.rs");
    assert_eq!(driver.devices().unwrap(), [device]);

    let error = bus.device("my_device").unwrap_err();
    assert_eq!(
        error.to_string(),
        "bus my_pseudo_bus has no device my_device: these are there: my_pseudo_device, \
         my_strange_device"
    );
    let error = bus.driver("my_driver").unwrap_err();
    assert!(error.to_string().ends_with("these are there: my_pseudo_driver"), "{error}");
    let error = bus.driver(DRIVER).unwrap().bind(STRANGER).unwrap_err();
    assert!(error.to_string().contains("the driver does not want it"), "{error}");
}

#[test]
fn the_client_knows_the_kernels_own_buses() {
    let (mut devices, mut pairs) = (0, 0);
    for name in Bus::all().unwrap() {
        let bus = Bus::find(&name).unwrap();
        for device in bus.devices().unwrap() {
            assert_eq!(device.subsystem().unwrap().as_deref(), Some(&*name), "{device:?}");
            devices += 1;
        }
        for driver in bus.drivers().unwrap() {
            for device in driver.devices().unwrap() {
                assert_eq!(device.driver().unwrap(), Some(driver.name()), "{device:?}");
                pairs += 1;
            }
        }
    }
    assert!(devices > 10 && pairs > 3, "{devices} devices, {pairs} pairs");
    let driver = Bus::find("pci").unwrap().driver("virtio-pci").unwrap();
    assert_eq!(driver.module().unwrap().as_deref(), Some("virtio_pci"));
    // The VM's console, or the like: each has a driver, as the VM would not be much without.
    let virtio = Bus::find("virtio").unwrap();
    for device in virtio.devices().unwrap() {
        let driver = device.driver().unwrap().unwrap();
        assert_eq!(asked(virtio.driver(&driver).unwrap().bind(&device.name())), Err(Errno::BUSY));
    }
}

// ---- busval -------------------------------------------------------------------------------------

#[test]
fn busval_is_one_at_first() {
    fresh();
    assert_eq!(busval().read().unwrap(), b"1\n");
    assert_eq!(tools::shell("cat /sys/bus/my_pseudo_bus/busval").success(), "1\n");
}

// new: begin
#[test]
fn cat_and_echo_are_all_it_takes() {
    fresh();
    for (line, shown) in [
        ("echo 5 > busval && cat busval", "5\n"),
        ("echo -n 6 > busval && cat busval", "6\n"),
        ("printf '0x10\\n' > busval && cat busval", "16\n"),
        ("echo 7 >> busval && cat busval", "7\n"),
        ("echo -42 | tee busval && cat busval", "-42\n-42\n"),
        ("echo 8 | dd of=busval status=none && dd if=busval bs=1 status=none", "8\n"),
    ] {
        assert_eq!(tools::shell(&format!("cd {BUS_PATH} && {line}")).success(), shown, "{line}");
    }
    for (line, errno) in [
        ("echo many > busval", Errno::INVAL),
        ("echo 2147483648 > busval", Errno::RANGE),
        ("echo > busval", Errno::INVAL),
    ] {
        assert_eq!(
            tools::shell(&format!("cd {BUS_PATH} && {line}")).answer(),
            Err(errno),
            "{line}"
        );
    }
    assert_eq!(busval().read().unwrap(), b"8\n");
}

// new: end
#[test]
fn every_write_is_answered_with_its_own_length() {
    fresh();
    for value in ["1", "22", "333", "4444", "55555\n", "0x666666\n", "-1000000000"] {
        assert_eq!(write(&busval(), value), Ok(value.len()), "{value:?}");
    }
}

#[test]
fn numbers_of_every_form_are_understood() {
    fresh();
    for (text, value) in [
        ("0", 0),
        ("-0", 0),
        ("+0", 0),
        ("7\n", 7),
        ("+7\n", 7),
        ("-7\n", -7),
        ("007", 7),
        ("010", 8),
        ("-010", -8),
        ("0x1f", 31),
        ("0X1F\n", 31),
        ("-0x1f", -31),
        ("+0x1f", 31),
        ("00000000000000000000000000000000001", 1),
        ("2147483647", i32::MAX),
        ("0x7fffffff", i32::MAX),
        ("017777777777", i32::MAX),
        ("-2147483648", i32::MIN),
        ("-0x80000000", i32::MIN),
    ] {
        assert_eq!(write(&busval(), text), Ok(text.len()), "{text:?}");
        assert_eq!(busval().read().unwrap(), format!("{value}\n").as_bytes(), "{text:?}");
    }
}

#[test]
fn values_of_every_length_make_the_round_trip() {
    let bus = fresh();
    let mut value = 1_i32;
    loop {
        for value in [value, -value, value - 1, 1 - value, !value] {
            busval().set(value).unwrap();
            assert_eq!(bus.attribute("busval").get::<i32>().unwrap(), value);
        }
        match value.checked_mul(2) {
            Some(next) => value = next,
            None => break,
        }
    }
}

#[test]
fn a_write_is_the_whole_value_wherever_the_position_is() {
    fresh();
    let open = open(&busval(), OFlags::RDWR).unwrap();
    for (offset, value) in [(0, 11), (1, 22), (4095, 33), (4096, 44), (1 << 40, 55)] {
        let text = format!("{value}\n");
        assert_eq!(rustix::io::pwrite(&open, text.as_bytes(), offset), Ok(text.len()));
        assert_eq!(busval().get::<i32>().unwrap(), value, "at {offset}");
    }
    assert_eq!(rustix::io::write(&open, b"66"), Ok(2));
    assert_eq!(rustix::io::write(&open, b"77"), Ok(2));
    assert_eq!(
        busval().read().unwrap(),
        b"77\n",
        "the second write does not go on after the first"
    );
}

#[test]
fn a_vectored_write_is_one_value() {
    fresh();
    let open = open(&busval(), OFlags::WRONLY).unwrap();
    let parts = [b"-1".as_slice(), b"", b"23", b"\n"].map(IoSlice::new);
    assert_eq!(rustix::io::writev(&open, &parts), Ok(5));
    assert_eq!(busval().read().unwrap(), b"-123\n");
}

#[test]
fn writing_nothing_changes_nothing() {
    fresh();
    busval().set(5).unwrap();
    for file in [busval(), refuse(), bind(), unbind(), probe()] {
        assert_eq!(write(&file, b""), Ok(0), "{file:?}");
    }
    assert_eq!(busval().read().unwrap(), b"5\n");
    assert!(is_bound());
}

#[test]
fn opening_with_trunc_does_not_touch_the_value() {
    fresh();
    busval().set(5).unwrap();
    drop(open(&busval(), OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC).unwrap());
    assert_eq!(rustix::fs::ftruncate(open(&busval(), OFlags::RDWR).unwrap(), 0), Ok(()));
    assert_eq!(busval().read().unwrap(), b"5\n");
}

#[test]
fn a_value_can_be_read_in_steps_and_is_one_value() {
    fresh();
    busval().set(12345).unwrap();
    let slow = open(&busval(), OFlags::RDONLY).unwrap();
    assert_eq!(read(&slow, 2).unwrap(), b"12");
    busval().set(-9).unwrap();
    assert_eq!(read(&slow, 2).unwrap(), b"34", "still of the value it began with");
    assert_eq!(read(&slow, 9).unwrap(), b"5\n");
    assert_eq!(read(&slow, 9).unwrap(), b"");
    assert_eq!(rustix::fs::seek(&slow, SeekFrom::Start(0)), Ok(0));
    assert_eq!(read(&slow, 9).unwrap(), b"-9\n", "from the start on it is the new one");
}

#[test]
fn each_open_file_has_a_position_of_its_own() {
    fresh();
    busval().set(12).unwrap();
    let files = [(); 2].map(|()| open(&busval(), OFlags::RDONLY).unwrap());
    assert_eq!(read(&files[0], 1).unwrap(), b"1");
    assert_eq!(read(&files[1], 9).unwrap(), b"12\n");
    assert_eq!(read(&files[0], 9).unwrap(), b"2\n");
    for (offset, rest) in [(0, &b"12\n"[..]), (1, b"2\n"), (2, b"\n"), (3, b""), (4096, b"")] {
        let mut bytes = [0; 9];
        let len = rustix::io::pread(&files[0], &mut bytes, offset).unwrap();
        assert_eq!(&bytes[..len], rest, "from {offset} on");
    }
}

#[test]
fn readers_see_whole_values_while_several_write() {
    const VALUES: [i32; 4] = [i32::MIN, -1, 0, i32::MAX];
    let _watchdog = Watchdog::new(TOO_LONG);
    fresh();
    busval().set(0).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers = VALUES.map(|value| {
            scope.spawn(move || {
                let text = format!("{value}\n");
                let open = open(&busval(), OFlags::WRONLY).unwrap();
                for _ in 0..300 {
                    assert_eq!(rustix::io::write(&open, text.as_bytes()), Ok(text.len()));
                }
            })
        });
        let readers = [(); 2].map(|()| {
            scope.spawn(|| {
                let open = busval().open(OFlags::RDONLY).unwrap();
                while !done.load(Ordering::Relaxed) {
                    let value = open.get().unwrap();
                    assert!(VALUES.contains(&value), "{value}");
                }
            })
        });
        let written = writers.into_iter().map(ScopedJoinHandle::join).collect::<Vec<_>>();
        done.store(true, Ordering::Relaxed);
        let read = readers.into_iter().map(ScopedJoinHandle::join).collect::<Vec<_>>();
        assert!(written.into_iter().chain(read).all(|end| end.is_ok()));
    });
    assert!(VALUES.contains(&busval().get().unwrap()));
}

// ---- Binding ------------------------------------------------------------------------------------

// new: begin
#[test]
fn loading_brings_device_and_driver_together() {
    fresh();
    assert!(is_bound());
    assert_eq!(refuse().read().unwrap(), b"0\n");
    assert_eq!(bound().read().unwrap(), b"1\n");
}

#[test]
fn the_shell_parts_them_and_brings_them_together_again() {
    fresh();
    let mut log = Log::from_now().unwrap();
    tools::shell(&format!("echo {DEVICE} > {DRIVER_PATH}/unbind")).success();
    assert!(!is_bound());
    assert!(log.wait_for("callgate_bus: device given back", LIMIT).unwrap());
    let gone = Tool::new("cat").arg(format!("{DEVICE_PATH}/driver/uevent")).run();
    assert_eq!(gone.answer(), Err(Errno::NOENT));
    tools::shell(&format!("echo {DEVICE} > {DRIVER_PATH}/bind")).success();
    assert!(is_bound());
    assert!(log.wait_for("my_pseudo_driver my_pseudo_device: taken over", LIMIT).unwrap());

    let echo = |line: &str| tools::shell(&format!("cd {DRIVER_PATH} && {line}")).answer();
    assert_eq!(echo("echo my_pseudo_device > bind"), Err(Errno::BUSY));
    // new: end
    assert_eq!(echo("echo my_strange_device > bind"), Err(Errno::NODEV));
    assert_eq!(echo("echo my_strange_device > unbind"), Err(Errno::NODEV));
    // new: begin
    assert_eq!(echo("echo -n my_pseudo_device | tee unbind"), Ok(DEVICE.to_owned()));
    assert_eq!(echo("echo my_pseudo_device > unbind"), Err(Errno::NODEV));
}

#[test]
fn the_client_parts_them_and_brings_them_together_again() {
    let driver = driver();
    for _ in 0..3 {
        assert_eq!(asked(driver.bind(DEVICE)), Err(Errno::BUSY));
        assert_eq!(asked(driver.unbind(DEVICE)), Ok(()));
        assert!(!is_bound());
        assert_eq!(asked(driver.unbind(DEVICE)), Err(Errno::NODEV));
        assert_eq!(asked(driver.bind(DEVICE)), Ok(()));
        assert!(is_bound());
    }
}

// new: end
#[test]
fn nobody_is_for_the_stranger() {
    let bus = fresh();
    let driver = bus.driver(DRIVER).unwrap();
    assert_eq!(asked(driver.bind(STRANGER)), Err(Errno::NODEV));
    assert_eq!(asked(driver.unbind(STRANGER)), Err(Errno::NODEV));
    assert_eq!(asked(bus.probe(STRANGER)), Ok(()), "to find no driver is no error");
    assert!(is_bound());
}

// new: begin
#[test]
fn the_kernel_looks_for_a_driver_when_it_is_asked_to() {
    let bus = fresh();
    let driver = bus.driver(DRIVER).unwrap();
    driver.unbind(DEVICE).unwrap();
    assert_eq!(asked(bus.probe(DEVICE)), Ok(()));
    assert!(is_bound());
    assert_eq!(asked(bus.probe(DEVICE)), Ok(()), "it has a driver already, which is fine");
    assert!(is_bound());
    assert_eq!(asked(bus.probe("my_device")), Err(Errno::NODEV));
}

// new: end
#[test]
fn without_autoprobe_who_asks_is_served_all_the_same() {
    let bus = fresh();
    assert!(bus.autoprobe().unwrap());
    bus.set_autoprobe(false).unwrap();
    assert!(!bus.autoprobe().unwrap());
    let driver = bus.driver(DRIVER).unwrap();
    driver.unbind(DEVICE).unwrap();
    driver.bind(DEVICE).unwrap();
    assert!(is_bound());
    driver.unbind(DEVICE).unwrap();
    bus.probe(DEVICE).unwrap();
    assert!(is_bound());
    bus.set_autoprobe(true).unwrap();
    assert_eq!(bus.attribute("drivers_autoprobe").read().unwrap(), b"1\n");
    bus.set_autoprobe(false).unwrap();
    assert!(fresh().autoprobe().unwrap(), "a new bus begins anew");
}

// new: begin
#[test]
fn what_the_driver_answers_reaches_who_writes_to_bind() {
    let bus = fresh();
    assert_eq!(write(&unbind(), DEVICE), Ok(DEVICE.len()));
    // The first, the last, those that libraries treat in a special way, and those that the kernel
    // itself uses to restart a call.
    let errnos =
        [1, 2, 4, 5, 6, 11, 12, 16, 17, 19, 22, 28, 95, 110, 133, 512, 513, 514, 516, 4095];
    let mut table = Refusals::new();
    for errno in errnos {
        refuse().set(errno).unwrap();
        let answer = Errno::from_raw_os_error(errno);
        table.case(&format!("bind, refused with {errno}"), answer, write(&bind(), DEVICE));
        assert_eq!(asked(bus.probe(DEVICE)), Ok(()), "who asks for any driver is not told");
        assert!(!is_bound(), "{errno}");
    }
    refuse().set(PROBE_DEFER).unwrap();
    table.case("bind, put off", Errno::AGAIN, write(&bind(), DEVICE));
    table.finish();
    assert!(!is_bound());
    refuse().set(0).unwrap();
    assert_eq!(write(&bind(), DEVICE), Ok(DEVICE.len()));
    assert!(is_bound());
}

// new: end
#[test]
fn the_log_tells_of_a_probe_that_failed() {
    let driver = driver();
    driver.unbind(DEVICE).unwrap();
    refuse().set(5).unwrap();
    let mut log = Log::from_now().unwrap();
    assert_eq!(asked(driver.bind(DEVICE)), Err(Errno::IO));
    let line = "my_pseudo_driver my_pseudo_device: probe with driver my_pseudo_driver failed with \
                error -5";
    assert!(log.wait_for(line, LIMIT).unwrap());
}

#[test]
fn a_refusal_is_for_the_next_probe_not_for_who_is_bound() {
    let driver = driver();
    refuse().set(5).unwrap();
    assert!(is_bound());
    assert_eq!(asked(driver.bind(DEVICE)), Err(Errno::BUSY));
    assert_eq!(asked(driver.unbind(DEVICE)), Ok(()));
    assert_eq!(asked(driver.bind(DEVICE)), Err(Errno::IO));
}

/// The devices whose probe was put off, as debugfs lists them.
fn put_off() -> String {
    let list = "mkdir -p /tmp/debug && mount -t debugfs debugfs /tmp/debug && \
                cat /tmp/debug/devices_deferred; umount /tmp/debug && rmdir /tmp/debug";
    tools::shell(list).success()
}

#[test]
fn a_probe_that_was_put_off_waits_with_the_kernel() {
    let bus = fresh();
    write(&unbind(), DEVICE).unwrap();
    assert!(!put_off().contains(DEVICE));
    refuse().set(PROBE_DEFER).unwrap();
    bus.probe(DEVICE).unwrap();
    assert!(put_off().contains(DEVICE));
    refuse().set(0).unwrap();
    write(&bind(), DEVICE).unwrap();
    assert!(!put_off().contains(DEVICE));

    write(&unbind(), DEVICE).unwrap();
    refuse().set(PROBE_DEFER).unwrap();
    bus.probe(DEVICE).unwrap();
    assert!(put_off().contains(DEVICE));
    fresh();
    assert!(!put_off().contains(DEVICE), "it went with its module");
    assert!(is_bound());
}

#[test]
fn every_change_is_an_event() {
    fresh();
    let events = || Attribute::at("/sys/kernel/uevent_seqnum").get::<u64>().unwrap();
    let steps = [
        (unbind(), DEVICE),
        (bind(), DEVICE),
        (file(DEVICE_PATH, c"uevent"), "change"),
        (file(DEVICE_PATH, c"uevent"), "add 01234567-89ab-cdef-0123-456789abcdef KEY=value\n"),
        (file(STRANGER_PATH, c"uevent"), "offline\n"),
        (file(DRIVER_PATH, c"uevent"), "add"),
        (file(BUS_PATH, c"uevent"), "change\n"),
    ];
    for (file, text) in &steps {
        let before = events();
        assert_eq!(write(file, text), Ok(text.len()), "{file:?}");
        assert!(events() > before, "{file:?}: {text}");
    }
    let before = events();
    reload();
    // At the least: two devices, a driver and a bus are gone and there again.
    assert!(events() >= before + 8);
}

// ---- Bad input ----------------------------------------------------------------------------------

/// What no number is.
const NO_NUMBER: [&[u8]; 40] = [
    b"\n",
    b" ",
    b" 1",
    b"1 ",
    b"1 \n",
    b"\t1",
    b"1\t\n",
    b"1\n\n",
    b"\n1",
    b"1\r\n",
    b"1\n2\n",
    b"1 2",
    b"\0",
    b"1\0",
    b"1\0\n",
    b"1\n\0",
    b"\x001",
    b"1\x002",
    b"+",
    b"-",
    b"--1",
    b"++1",
    b"+-1",
    b"-+1",
    b"0x",
    b"0x\n",
    b"0xg",
    b"x1",
    b"0x 1",
    b"08",
    b"019",
    b"0b1",
    b"1e3",
    b"1.0",
    b"1,000",
    b"1_000",
    b"one",
    b"1x",
    b"\xff\xfe",
    "\u{661}".as_bytes(),
];

#[test]
fn busval_refuses_bad_input_and_keeps_its_value() {
    fresh();
    busval().set(-42).unwrap();
    let mut table = Refusals::new();
    let mut case = |errno, value: &[u8]| {
        let shown = String::from_utf8_lossy(&value[..value.len().min(30)]);
        let what = format!("{} bytes {shown:?}", value.len());
        table.case(&what, errno, write(&busval(), value));
        assert_eq!(busval().read().unwrap(), b"-42\n", "{what}");
    };
    for value in NO_NUMBER {
        case(Errno::INVAL, value);
    }
    for value in [
        "2147483648",
        "2147483648\n",
        "-2147483649",
        "0x80000000",
        "-0x80000001",
        "020000000000",
        "4294967295",
        "4294967296",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "0x10000000000000000",
        "99999999999999999999999999999999999999",
    ] {
        case(Errno::RANGE, value.as_bytes());
    }
    // A page is taken at most, and it is no number.
    case(Errno::RANGE, &[b'1'; 4096]);
    case(Errno::RANGE, &[b'1'; 4097]);
    case(Errno::RANGE, &vec![b'1'; 1 << 20]);
    case(Errno::INVAL, &[b' '; 4096]);
    case(Errno::INVAL, &[0; 4096]);
    case(Errno::INVAL, &[b'\n'; 4096]);
    case(Errno::INVAL, &[b'0'; 4095].iter().copied().chain(*b"x").collect::<Vec<_>>());
    table.finish();
}

#[test]
fn refuse_refuses_what_is_no_errno() {
    fresh();
    refuse().set(5).unwrap();
    let mut table = Refusals::new();
    let negative: [&[u8]; 4] = [b"-1", b"-0", b"-5\n", b"-4095"];
    let names: [&[u8]; 3] = [b"EIO", b"none", b"Y"];
    for value in NO_NUMBER.into_iter().chain(negative).chain(names) {
        let what = String::from_utf8_lossy(value).into_owned();
        table.case(&format!("{what:?}"), Errno::INVAL, write(&refuse(), value));
    }
    for value in
        ["4096", "0x1000", "010000", "65535", "65536", "4294967301", "18446744073709551621"]
    {
        table.case(value, Errno::RANGE, write(&refuse(), value));
    }
    table.finish();
    assert_eq!(refuse().read().unwrap(), b"5\n");
    for value in ["4095", "0xfff", "07777\n", "+4095"] {
        assert_eq!(write(&refuse(), value), Ok(value.len()));
        assert_eq!(refuse().get::<u16>().unwrap(), abi::LAST_ERRNO);
    }
}

#[test]
fn names_that_no_device_has_are_refused() {
    let other = [DEVICE, " "].concat();
    let full = other.repeat(5000 / other.len());
    let names = [
        "\n",
        " ",
        "x",
        "*",
        "-1",
        ".",
        "..",
        "/",
        "my_pseudo_devic",
        "my_pseudo_devicex",
        "my_pseudo_device ",
        " my_pseudo_device",
        "\nmy_pseudo_device",
        "my_pseudo_device\n\n",
        "my_pseudo_device\n ",
        "my_pseudo_device\r\n",
        "my_pseudo_device\tx",
        "my_pseudo_device/",
        "my_pseudo_device,my_strange_device",
        "my_pseudo_device\nmy_strange_device\n",
        "MY_PSEUDO_DEVICE",
        "my-pseudo-device",
        "my_pseudo_*",
        "\"my_pseudo_device\"",
        "my_pseudo_driver",
        "my_pseudo_bus",
        "my_pseudo_bus/my_pseudo_device",
        "../my_pseudo_device",
        DEVICE_PATH,
        "platform",
        "\0",
        "\0my_pseudo_device",
        "my_pseudo\0_device",
        &full,
    ];
    fresh();
    let mut table = Refusals::new();
    // Of a device that is bound, and of one that is not.
    for is in [true, false] {
        for file in [bind(), unbind(), probe()] {
            for name in names {
                let what = format!("{name:.40?} into {}", file.path().display());
                table.case(&what, Errno::NODEV, write(&file, name));
            }
            assert_eq!(is_bound(), is, "{file:?}");
        }
        let _ = write(&unbind(), DEVICE);
    }
    table.finish();
}

#[test]
fn events_of_no_kind_are_refused() {
    fresh();
    let mut table = Refusals::new();
    for directory in [BUS_PATH, DRIVER_PATH, DEVICE_PATH] {
        for text in [
            "\n",
            "\0",
            " ",
            "ad",
            "addd",
            "ADD",
            "add\n\n",
            "add ",
            "add x",
            "add 0123",
            "add 01234567-89ab-cdef-0123-456789abcde",
            "add 01234567-89ab-cdef-0123-456789abcdef key!=value",
            "add 01234567-89ab-cdef-0123-456789abcdef KEY=value ",
            "add 01234567-89ab-cdef-0123-456789abcdef KEY",
        ] {
            let what = format!("{text:?} into {directory}/uevent");
            table.case(&what, Errno::INVAL, write(&file(directory, c"uevent"), text));
        }
    }
    table.finish();
}

#[test]
fn bad_addresses_move_nothing() {
    fresh();
    busval().set(77).unwrap();
    let reading = [busval(), bound(), refuse()];
    let writing = [busval(), refuse(), bind(), unbind(), probe()];
    let mut table = Refusals::new();
    for hole in Hole::ALL {
        for file in &reading {
            let open = open(file, OFlags::RDONLY).unwrap();
            for len in [1, 2, 4096] {
                let what = format!("read {len} bytes of {file:?} to {hole:?}");
                table.case(&what, Errno::FAULT, hole.read(&open, len));
            }
        }
        for file in &writing {
            let open = open(file, OFlags::WRONLY).unwrap();
            for len in [1, 4096] {
                let errno = match hole {
                    // Zeroes are there, and neither a number nor a name.
                    Hole::ReadOnly if *file == busval() || *file == refuse() => Errno::INVAL,
                    Hole::ReadOnly => Errno::NODEV,
                    _ => Errno::FAULT,
                };
                let what = format!("write {len} bytes to {file:?} from {hole:?}");
                table.case(&what, errno, hole.write(&open, len));
            }
        }
    }
    let half = Guarded::holding(b"1").unwrap();
    for file in &writing {
        let open = open(file, OFlags::WRONLY).unwrap();
        table.case(&format!("{file:?}: a byte too many"), Errno::FAULT, half.write(&open, 2));
    }
    let name = Guarded::holding(DEVICE.as_bytes()).unwrap();
    let open = open(&unbind(), OFlags::WRONLY).unwrap();
    table.case("a name and what is not there", Errno::FAULT, name.write(&open, DEVICE.len() + 1));
    table.finish();
    assert_eq!(busval().read().unwrap(), b"77\n");
    assert!(is_bound());
    assert_eq!(name.write(&open, DEVICE.len()), Ok(DEVICE.len()), "just the name is fine");
    assert!(!is_bound());
}

#[test]
fn a_read_that_faults_part_way_reports_what_it_moved() {
    fresh();
    busval().set(12345).unwrap();
    let open = open(&busval(), OFlags::RDONLY).unwrap();
    let mut short = Guarded::new(3).unwrap();
    assert_eq!(short.read(&open, 4), Ok(3));
    assert_eq!(short.bytes(), b"123");
    assert_eq!(read(&open, 9).unwrap(), b"45\n");
}

#[test]
fn files_are_opened_only_for_what_they_can() {
    fresh();
    let mut table = Refusals::new();
    let mut case = |file: &Attribute, flags: OFlags| {
        let what = format!("open {} {flags:?}", file.path().display());
        table.case(&what, Errno::ACCESS, open(file, flags));
    };
    // root too is kept from these, as there is nothing behind them.
    for flags in [OFlags::WRONLY, OFlags::RDWR, OFlags::WRONLY | OFlags::TRUNC] {
        case(&bound(), flags);
    }
    for file in [bind(), unbind(), probe(), file(BUS_PATH, c"uevent"), file(DRIVER_PATH, c"uevent")]
    {
        for flags in [OFlags::RDONLY, OFlags::RDWR] {
            case(&file, flags);
        }
    }
    table.finish();

    // Also when the mode is changed.
    rustix::fs::chmod(bound().path(), Mode::from_raw_mode(0o666)).unwrap();
    let answer = write(&bound(), b"5");
    reload();
    assert_eq!(answer, Err(Errno::IO));
    assert_eq!(fs::metadata(bound().path()).unwrap().mode(), 0o100_444, "and as it was again");
}

#[test]
fn calls_that_make_no_sense_are_refused() {
    fresh();
    let open = open(&busval(), OFlags::RDWR).unwrap();
    let mut table = Refusals::new();
    table.case(
        "seek before the start",
        Errno::INVAL,
        rustix::fs::seek(&open, SeekFrom::Current(-1)),
    );
    let before = rustix::fs::seek(&open, SeekFrom::End(-4097));
    table.case("seek before the start from the end", Errno::INVAL, before);
    table.case("mmap", Errno::NODEV, memory::try_map(&open));
    let no_flags = FallocateFlags::empty();
    table.case("fallocate", Errno::OPNOTSUPP, rustix::fs::fallocate(&open, no_flags, 0, 9));
    let writing = self::open(&busval(), OFlags::WRONLY).unwrap();
    table.case("read a file open for writing", Errno::BADF, read(&writing, 1));
    let reading = self::open(&busval(), OFlags::RDONLY).unwrap();
    table.case("write a file open for reading", Errno::BADF, rustix::io::write(&reading, b"1"));

    let (path, mode) = (busval().path().to_owned(), Mode::from_raw_mode(0o644));
    let new = Path::new(BUS_PATH).join("new");
    let flags = OFlags::WRONLY | OFlags::CREATE;
    table.case("create", Errno::ACCESS, rustix::fs::open(&new, flags, mode));
    let exclusive = flags | OFlags::EXCL;
    table.case("create again", Errno::EXIST, rustix::fs::open(&path, exclusive, mode));
    let directory = OFlags::DIRECTORY;
    table.case("open as a directory", Errno::NOTDIR, rustix::fs::open(&path, directory, mode));
    let write = OFlags::WRONLY;
    table.case("open the bus for writing", Errno::ISDIR, rustix::fs::open(BUS_PATH, write, mode));
    table.case("unlink", Errno::PERM, rustix::fs::unlink(&path));
    table.case("rename", Errno::PERM, rustix::fs::rename(&path, &new));
    table.case("mkdir", Errno::PERM, rustix::fs::mkdir(&new, mode));
    table.case("rmdir", Errno::PERM, rustix::fs::rmdir(DRIVER_PATH));
    table.case("link", Errno::PERM, rustix::fs::link(&path, &new));
    table.case("symlink", Errno::PERM, rustix::fs::symlink(&path, &new));
    let fifo = rustix::fs::mknodat(CWD, &new, FileType::Fifo, mode, 0);
    table.case("mknod", Errno::PERM, fifo);
    let link = format!("{DRIVER_PATH}/{DEVICE}");
    table.case("unlink the device", Errno::PERM, rustix::fs::unlink(&link));
    let own = format!("{DRIVER_PATH}/{STRANGER}");
    table.case("link a device", Errno::PERM, rustix::fs::symlink(STRANGER_PATH, &own));
    table.finish();
    assert!(is_bound());
}

#[test]
fn a_stranger_is_kept_out_of_writing() {
    fresh();
    busval().set(77).unwrap();
    as_stranger(|| {
        let mut table = Refusals::new();
        let autoprobe = file(BUS_PATH, c"drivers_autoprobe");
        let event = file(DEVICE_PATH, c"uevent");
        for file in [busval(), bound(), refuse(), bind(), unbind(), probe(), autoprobe, event] {
            for flags in [OFlags::WRONLY, OFlags::RDWR, OFlags::RDONLY | OFlags::TRUNC] {
                let what = format!("open {} {flags:?}", file.path().display());
                table.case(&what, Errno::ACCESS, open(&file, flags));
            }
            let mode = Mode::from_raw_mode(0o666);
            table.case("chmod", Errno::PERM, rustix::fs::chmod(file.path(), mode));
            let me = Some(Uid::from_raw(65534));
            table.case("chown", Errno::PERM, rustix::fs::chown(file.path(), me, None));
            table.case("unlink", Errno::ACCESS, rustix::fs::unlink(file.path()));
        }
        table.finish();
        let error = Bus::find(BUS).unwrap().driver(DRIVER).unwrap().unbind(DEVICE).unwrap_err();
        assert!(error.to_string().ends_with("run as root"), "{error}");
    });
    for line in ["echo 1 > busval", "echo my_pseudo_device > drivers/my_pseudo_driver/unbind"] {
        let ran = Tool::shell(&format!("cd {BUS_PATH} && {line}")).user(65534, 65534).run();
        assert_eq!(ran.answer(), Err(Errno::ACCESS), "{line}");
    }
    assert_eq!(busval().read().unwrap(), b"77\n");
    assert!(is_bound());
}

#[test]
fn a_read_only_mount_lets_nobody_write() {
    fresh();
    busval().set(77).unwrap();
    tools::shell("mkdir -p /tmp/ro && mount -t sysfs -o ro sysfs /tmp/ro").success();
    let mut table = Refusals::new();
    let there =
        |file: &Attribute| Attribute::at(format!("/tmp/ro{}", &file.path().to_str().unwrap()[4..]));
    for file in [busval(), refuse(), bind(), unbind(), probe()].map(|file| there(&file)) {
        for flags in [OFlags::WRONLY, OFlags::RDWR, OFlags::WRONLY | OFlags::TRUNC] {
            let what = format!("open {} {flags:?}", file.path().display());
            table.case(&what, Errno::ROFS, open(&file, flags));
        }
        let mode = Mode::from_raw_mode(0o666);
        table.case("chmod", Errno::ROFS, rustix::fs::chmod(file.path(), mode));
    }
    let echo = tools::shell("echo 1 > /tmp/ro/bus/my_pseudo_bus/busval").answer();
    let read = there(&busval()).read();
    tools::shell("umount /tmp/ro && rmdir /tmp/ro").success();
    table.finish();
    assert_eq!(echo, Err(Errno::ROFS));
    assert_eq!(read.unwrap(), b"77\n");
    assert_eq!(busval().read().unwrap(), b"77\n");
    assert!(is_bound());
}

#[test]
fn the_kernel_accepts_what_it_need_not_refuse() {
    let bus = fresh();
    // A name ends at a newline that is the last, or at a NUL, whatever comes then.
    for name in
        ["my_pseudo_device", "my_pseudo_device\n", "my_pseudo_device\0", "my_pseudo_device\0x\n"]
    {
        assert_eq!(write(&unbind(), name), Ok(name.len()), "{name:?}");
        assert!(!is_bound());
        assert_eq!(write(&bind(), name), Ok(name.len()), "{name:?}");
        assert!(is_bound());
    }
    // A longer write is cut after a page, so the kernel does not see that there is more.
    let long = [&b"my_pseudo_device\0"[..], &[b'x'; 5000]].concat();
    assert_eq!(write(&unbind(), &long), Ok(4096));
    assert_eq!(write(&busval(), [b'0'; 5000]), Ok(4096));
    assert_eq!(busval().read().unwrap(), b"0\n");
    // Whatever does not begin with a 0 switches it on.
    for (text, on) in
        [("0", false), ("1", true), ("01", false), ("\n", true), ("0n", false), ("off", true)]
    {
        assert_eq!(write(&bus.attribute("drivers_autoprobe"), text), Ok(text.len()));
        assert_eq!(bus.autoprobe().unwrap(), on, "{text:?}");
    }
    // No byte is to be moved, so no address is looked at.
    let open = open(&busval(), OFlags::RDWR).unwrap();
    for hole in [Hole::Null, Hole::Unmapped, Hole::ReadOnly] {
        assert_eq!(hole.read(&open, 0), Ok(0));
        assert_eq!(hole.write(&open, 0), Ok(0));
    }
    assert_eq!(
        rustix::fs::accessat(CWD, busval().path(), rustix::fs::Access::WRITE_OK, AtFlags::empty()),
        Ok(())
    );
}

// ---- At the same time ---------------------------------------------------------------------------

// new: begin
#[test]
fn of_several_who_bind_at_once_one_does() {
    const THREADS: usize = 4;
    let _watchdog = Watchdog::new(TOO_LONG);
    fresh();
    let barrier = Barrier::new(THREADS);
    for round in 0..50 {
        write(&unbind(), DEVICE).unwrap();
        let all = |file: &(dyn Fn() -> Attribute + Sync)| -> Vec<_> {
            thread::scope(|scope| {
                let threads = [(); THREADS].map(|()| {
                    scope.spawn(|| {
                        let open = open(&file(), OFlags::WRONLY).unwrap();
                        barrier.wait();
                        rustix::io::write(&open, DEVICE.as_bytes())
                    })
                });
                threads.map(|thread| thread.join().unwrap()).into()
            })
        };
        let bound = all(&bind);
        let done = bound.iter().filter(|answer| answer.is_ok()).count();
        let busy = bound.iter().filter(|answer| **answer == Err(Errno::BUSY)).count();
        assert_eq!((done, busy), (1, THREADS - 1), "round {round}: {bound:?}");
        assert!(is_bound(), "round {round}");
        // The kernel looks whether it is bound before it locks the device; so who comes second may be
        // told that he did it.
        let unbound = all(&unbind);
        let done = unbound.iter().filter(|answer| answer.is_ok()).count();
        let late = unbound.iter().filter(|answer| **answer == Err(Errno::NODEV)).count();
        assert!(done >= 1 && done + late == THREADS, "round {round}: {unbound:?}");
        assert!(!is_bound(), "round {round}");
        write(&bind(), DEVICE).unwrap();
    }
}

// new: end
#[test]
fn the_count_is_right_while_several_bind_unbind_and_probe() {
    let _watchdog = Watchdog::new(TOO_LONG);
    let bus = fresh();
    let done = AtomicBool::new(false);
    // How often a device was bound beyond what it was unbound, as seen by those who did it.
    let (binds, unbinds) = (AtomicI32::new(1), AtomicI32::new(0));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|n| {
                let (binds, unbinds) = (&binds, &unbinds);
                scope.spawn(move || {
                    for round in 0..150 {
                        match (n + round) % 4 {
                            0 => match write(&bind(), DEVICE) {
                                Ok(_) => _ = binds.fetch_add(1, Ordering::Relaxed),
                                Err(Errno::BUSY | Errno::IO) => {}
                                Err(errno) => panic!("bind: {errno:?}"),
                            },
                            1 => assert_eq!(write(&probe(), DEVICE), Ok(DEVICE.len())),
                            2 => refuse().set([0, 0, 5][round % 3]).unwrap(),
                            _ => match write(&unbind(), DEVICE) {
                                Ok(_) => _ = unbinds.fetch_add(1, Ordering::Relaxed),
                                Err(Errno::NODEV) => {}
                                Err(errno) => panic!("unbind: {errno:?}"),
                            },
                        }
                    }
                })
            })
            .collect();
        let watchers = [(); 2].map(|()| {
            scope.spawn(|| {
                let open = bound().open(OFlags::RDONLY).unwrap();
                let mut seen = [0; 2];
                while !done.load(Ordering::Relaxed) {
                    let count: usize = open.get().unwrap();
                    assert!(count <= 1, "{count} devices bound of one");
                    seen[count] += 1;
                    let _ = bus.device(DEVICE).unwrap().driver().unwrap();
                    let _ = file(DEVICE_PATH, c"uevent").text().unwrap();
                }
                seen
            })
        });
        let worked = workers.into_iter().map(ScopedJoinHandle::join).collect::<Vec<_>>();
        done.store(true, Ordering::Relaxed);
        for watcher in watchers {
            println!("seen 0 and 1: {:?} times", watcher.join().unwrap());
        }
        assert!(worked.into_iter().all(|end| end.is_ok()));
    });
    println!("{} bound by name, {} unbound", binds.into_inner(), unbinds.into_inner());
    refuse().set(0).unwrap();
    bus.probe(DEVICE).unwrap();
    assert!(is_bound());
    write(&unbind(), DEVICE).unwrap();
    assert!(!is_bound());
}

#[test]
fn nothing_is_lost_by_many_probes_and_refusals() {
    // What would be, kmemleak finds at the end of the debug kernel's run.
    let _watchdog = Watchdog::new(TOO_LONG);
    fresh();
    for round in 0..150 {
        write(&unbind(), DEVICE).unwrap();
        refuse().set([19, 6, PROBE_DEFER][round % 3]).unwrap();
        assert!(write(&bind(), DEVICE).is_err());
        assert_eq!(bound().read().unwrap(), b"0\n", "round {round}");
        refuse().set(0).unwrap();
        write(&bind(), DEVICE).unwrap();
        assert_eq!(bound().read().unwrap(), b"1\n", "round {round}");
    }
}

// ---- Unloading ----------------------------------------------------------------------------------

// new: begin
#[test]
fn unloading_takes_everything_away() {
    fresh();
    let mut log = Log::from_now().unwrap();
    module::unload(MODULE).unwrap();
    let mut left = vec![BUS_PATH, DEVICE_PATH, "/sys/devices/virtual/my_pseudo_bus"];
    // new: end
    left.push(STRANGER_PATH);
    // new: begin
    left.retain(|path| Path::new(path).exists());
    let error = Bus::find(BUS).unwrap_err();
    module::load(MODULE_FILE, "").unwrap();
    assert_eq!(left, [""; 0]);
    assert!(
        error.to_string().starts_with("there is no bus my_pseudo_bus: load its module"),
        "{error}"
    );
    assert!(log.wait_for("callgate_bus: device given back", LIMIT).unwrap());
    assert!(log.wait_for("my_pseudo_driver my_pseudo_device: taken over", LIMIT).unwrap());
    assert!(is_bound());
    assert_eq!(busval().read().unwrap(), b"1\n");
}

// new: end
#[test]
fn loading_twice_is_refused_and_harmless() {
    fresh();
    busval().set(5).unwrap();
    let error = module::load(MODULE_FILE, "").unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EXIST));
    assert_eq!(busval().read().unwrap(), b"5\n");
    assert!(is_bound());
}

#[test]
fn a_file_opened_before_an_unload_is_dead_afterwards() {
    fresh();
    let autoprobe = file(BUS_PATH, c"drivers_autoprobe");
    let (event, synthetic) = (file(DEVICE_PATH, c"uevent"), file(BUS_PATH, c"uevent"));
    let opened = |files: &[&Attribute], flags| -> Vec<_> {
        files.iter().map(|file| (file.path().to_owned(), open(file, flags).unwrap())).collect()
    };
    let both = [&busval(), &refuse(), &event, &autoprobe];
    let mut readable = opened(&both, OFlags::RDWR);
    readable.extend(opened(&[&bound()], OFlags::RDONLY));
    let mut writable = opened(&both, OFlags::RDWR);
    writable.extend(opened(&[&bind(), &unbind(), &probe(), &synthetic], OFlags::WRONLY));
    let half = open(&busval(), OFlags::RDONLY).unwrap();
    assert_eq!(read(&half, 1).unwrap(), b"1");
    let directory = rustix::fs::open(BUS_PATH, OFlags::RDONLY, Mode::empty()).unwrap();

    module::unload(MODULE).unwrap();
    let mut table = Refusals::new();
    let mut refused = |when: &str| {
        for (file, open) in &readable {
            table.case(&format!("read {file:?} {when}"), Errno::NODEV, read(open, 9));
        }
        for (file, open) in &writable {
            let what = format!("write {file:?} {when}");
            table.case(&what, Errno::NODEV, rustix::io::write(open, DEVICE.as_bytes()));
        }
        let relative = rustix::fs::openat(&directory, "busval", OFlags::RDONLY, Mode::empty());
        table.case(&format!("open from the directory {when}"), Errno::NOENT, relative);
    };
    refused("while there is no module");
    // The rest of what was shown when there was one.
    let rest = read(&half, 9);
    module::load(MODULE_FILE, "").unwrap();
    refused("when there is another");
    table.finish();
    assert_eq!(rest.unwrap(), b"\n");
    assert_eq!(read(&half, 9), Err(Errno::NODEV));
    assert!(is_bound(), "nothing of it reached the new module");
    assert_eq!(busval().read().unwrap(), b"1\n");
}

/// Whether one use of the module reached it. What it may answer while it goes is `ENODEV`, and
/// `ENOENT` to who opens.
fn outcome<T: Debug>(result: &Result<T, Errno>) -> Use {
    match result {
        // The device has a driver, or a driver that does not want it.
        Ok(_) | Err(Errno::BUSY | Errno::NXIO | Errno::AGAIN) => Use::Reached,
        Err(Errno::NODEV | Errno::NOENT) => {
            // Who only finds that nothing is there leaves the processor to who loads it.
            thread::sleep(Duration::from_millis(1));
            Use::Missed
        }
        Err(errno) => panic!("{errno:?}"),
    }
}

/// As [`write()`], to a file that has a driver probe, once the module is all there.
///
/// `device_add()` shows a device before drivers may have it. Who asks too early is put off, and kernel 7.3
/// never frees the note it makes of why (`device_set_deferred_probe_reason()`), which kmemleak sees.
fn write_once_loaded(file: &Attribute, value: &str) -> Result<usize, Errno> {
    let open = open(file, OFlags::WRONLY)?;
    // What is open belongs to one bus: should it be another's device that is ready, this is dead.
    if !module::is_loaded(MODULE).unwrap() {
        return Err(Errno::NODEV);
    }
    rustix::io::write(&open, value.as_bytes())
}

fn read_busval() -> Use {
    outcome(&open(&busval(), OFlags::RDONLY).and_then(|open| {
        let mut value = read(&open, 9)?;
        value.extend(read(&open, 9)?);
        let text = String::from_utf8(value).unwrap();
        assert!(["1\n", "-12345\n"].contains(&&*text), "{text:?}");
        rustix::fs::seek(&open, SeekFrom::Start(0))?;
        read(&open, 9)
    }))
}

fn write_busval() -> Use {
    outcome(&open(&busval(), OFlags::WRONLY).and_then(|open| {
        rustix::io::write(&open, b"-12345\n")?;
        rustix::io::write(&open, b"1\n")
    }))
}

fn read_bound() -> Use {
    outcome(&open(&bound(), OFlags::RDONLY).and_then(|open| {
        let count = read(&open, 9)?;
        assert!([b"0\n", b"1\n"].contains(&count.as_slice().try_into().unwrap()), "{count:?}");
        Ok(())
    }))
}

/// Parts them and brings them together. The kernel logs it, which takes longest; so with a pause, that
/// the log is not all that goes on.
fn unbind_and_bind() -> Use {
    thread::sleep(Duration::from_millis(1));
    outcome(&write(&unbind(), DEVICE).and_then(|_| write_once_loaded(&bind(), DEVICE)))
}

fn bind_or_probe() -> Use {
    match outcome(&write_once_loaded(&bind(), DEVICE)) {
        Use::Reached => outcome(&write_once_loaded(&probe(), STRANGER)),
        Use::Missed => outcome(&write_once_loaded(&probe(), DEVICE)),
    }
}

/// Has the driver refuse in three ways and take the device in the end.
fn refuse_and_bind() -> Use {
    thread::sleep(Duration::from_millis(1));
    outcome(&(|| {
        for errno in [&b"6"[..], b"517", b"0"] {
            write(&refuse(), errno)?;
            write(&unbind(), DEVICE).or_else(unless_gone)?;
            write_once_loaded(&probe(), DEVICE)?;
        }
        Ok(())
    })())
}

/// The device was not bound, or there is none; which of them, the next call tells.
fn unless_gone(errno: Errno) -> Result<usize, Errno> {
    if errno == Errno::NODEV { Ok(0) } else { Err(errno) }
}

fn events() -> Use {
    let event = file(DEVICE_PATH, c"uevent");
    outcome(&write(&event, b"change\n").and_then(|_| read(open(&event, OFlags::RDONLY)?, 99)))
}

fn unload_while(users: &[&(dyn Fn() -> Use + Sync)]) {
    let _watchdog = Watchdog::new(TOO_LONG);
    fresh();
    let cycles = while_used(MODULE, MODULE_FILE, LIMIT, users);
    assert_eq!(cycles.refused, 0, "nothing keeps this module");
    fresh();
    assert!(is_bound());
}

#[test]
fn it_unloads_while_files_are_open() {
    let _watchdog = Watchdog::new(TOO_LONG);
    fresh();
    for cycle in 0..unload::cycles() {
        let files: Vec<_> = (0..4)
            .map(|_| open(&busval(), OFlags::RDWR).unwrap())
            .chain([
                open(&bind(), OFlags::WRONLY).unwrap(),
                open(&bound(), OFlags::RDONLY).unwrap(),
            ])
            .collect();
        assert_eq!(read(&files[cycle % 4], 9).unwrap(), b"1\n");
        reload();
        for file in &files[..5] {
            assert_eq!(rustix::io::write(file, b"2"), Err(Errno::NODEV), "cycle {cycle}");
        }
        assert!(is_bound());
    }
}

#[test]
fn it_unloads_while_attributes_are_read() {
    unload_while(&[&read_busval, &read_bound]);
}

#[test]
fn it_unloads_while_busval_is_written() {
    unload_while(&[&write_busval, &write_busval]);
}

#[test]
fn it_unloads_while_device_and_driver_are_bound_and_unbound() {
    unload_while(&[&unbind_and_bind, &bind_or_probe]);
}

#[test]
fn it_unloads_while_everything_is_done() {
    unload_while(&[&write_busval, &read_busval, &unbind_and_bind, &refuse_and_bind, &events]);
}
