// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a user of the four subsystems can rely on, tried through configfs.
//!
//! These run in the lab's VM as root, each in a process of its own, with the module loaded.

// new: begin
use std::fmt::Debug;
use std::fs;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use callgate::Errno;
use callgate::attribute::Attribute;
use callgate::configfs::{BinaryAttribute, Configfs, Contents, Item};
use callgate::kmsg::Log;
use callgate::module;
use callgate::testing::Refusals;
use callgate::testing::faults::{at_each_place, at_last_places};
use callgate::testing::memory::{Guarded, Hole};
use callgate::testing::tools::{self, Tool};
use callgate::testing::unload::{self, Cycles, Use};
use callgate::testing::worker::{Watchdog, as_nobody};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::process::{Gid, Uid};

use super::abi;

// new: end
/// Every wait ends here at the latest; it is generous, because an emulated debug kernel is slow.
const LIMIT: Duration = Duration::from_secs(30);

// new: begin
/// A test that takes longer than this has lost its way.
const TOO_LONG: Duration = Duration::from_secs(160);

const MODULE: &str = "callgate_configfs";
const MODULE_FILE: &str = "/modules/callgate_configfs.ko";

/// What the module registers, with nothing in it that a user made; and again when this is dropped.
struct Scene {
    configfs: Configfs,
    _watchdog: Watchdog,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            configfs: Configfs::find().unwrap(),
            _watchdog: Watchdog::new(TOO_LONG),
        };
        scene.clear();
        scene
    }

    fn subsystem(&self, name: &std::ffi::CStr) -> Item {
        self.configfs.subsystem(name.to_str().unwrap()).unwrap()
    }

    fn simple(&self) -> Item {
        self.subsystem(abi::SIMPLE_CHILDREN)
    }
    // new: end

    fn childless(&self) -> Item {
        self.subsystem(abi::CHILDLESS)
    }

    fn group(&self) -> Item {
        self.subsystem(abi::GROUP_CHILDREN)
    }

    fn linked(&self) -> Item {
        self.subsystem(abi::LINKED_CHILDREN)
    }

    fn images(&self) -> Item {
        self.linked().item("images")
    }

    fn devices(&self) -> Item {
        self.linked().item("devices")
    }

    /// An image and a device that is linked to it.
    fn linked_pair(&self) -> (Item, Item) {
        let image = self.images().make("image").unwrap();
        let device = self.devices().make("device").unwrap();
        device.link("link", &image).unwrap();
        (image, device)
    }
    // new: begin

    /// Removes all that was made. What is gone already, or made anew by the loser of a race, is not
    /// this function's affair.
    fn clear(&self) {
        for subsystem in self.configfs.subsystems().unwrap_or_default() {
            let subsystem = self.configfs.place().join(subsystem);
            // Links first: they are what keeps items from going.
            for remove in [remove_links, remove_items] {
                remove(&Item::at(&subsystem));
            }
        }
    }
}

fn remove_links(item: &Item) {
    let Ok(contents) = item.list() else { return };
    for link in contents.links {
        let _ = item.unlink(&link);
    }
    contents.items.iter().for_each(|child| remove_links(&item.item(child)));
}

fn remove_items(item: &Item) {
    let Ok(contents) = item.list() else { return };
    for child in contents.items.iter().map(|child| item.item(child)) {
        remove_items(&child);
        let _ = child.remove();
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.clear();
    }
}

fn errno<T>(result: Result<T, callgate::configfs::Error>) -> rustix::io::Result<T> {
    result.map_err(|error| error.errno().expect("the kernel's answer"))
}

fn attribute_errno<T>(result: Result<T, callgate::attribute::Error>) -> rustix::io::Result<T> {
    result.map_err(|error| error.errno().expect("the kernel's answer"))
}

fn open(path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
}

/// What one read(2) gives.
fn read(fd: impl AsFd, len: usize) -> rustix::io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let len = rustix::io::read(fd, &mut bytes)?;
    bytes.truncate(len);
    Ok(bytes)
}

fn pread(fd: impl AsFd, offset: u64) -> rustix::io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4096];
    let len = rustix::io::pread(fd, &mut bytes, offset)?;
    bytes.truncate(len);
    Ok(bytes)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn reload() {
    module::unload(MODULE).unwrap();
    module::load(MODULE_FILE, "").unwrap();
}

// new: end
// ---- The sample's subsystems --------------------------------------------------------------------

#[test]
fn the_four_subsystems_are_there_with_what_is_in_them() {
    let scene = Scene::new();
    let subsystems = scene.configfs.subsystems().unwrap();
    for (subsystem, attributes, items) in [
        (scene.childless(), &["description", "showme", "storeme"][..], &[][..]),
        (scene.simple(), &["description"], &[]),
        (scene.group(), &["description"], &[]),
        (scene.linked(), &["description"], &["devices", "images"]),
    ] {
        let name = subsystem.path().file_name().unwrap().to_str().unwrap();
        assert!(subsystems.iter().any(|subsystem| subsystem == name), "{name}");
        let contents =
            Contents { attributes: names(attributes), items: names(items), links: vec![] };
        assert_eq!(subsystem.list().unwrap(), contents, "{name}");
    }
}

#[test]
fn the_descriptions_are_those_of_the_sample() {
    let scene = Scene::new();
    for (subsystem, text) in [
        (
            scene.childless(),
            "[01-childless]\n\nThe childless subsystem is the simplest possible subsystem in\n\
             configfs.  It does not support the creation of child config_items.\n\
             It only has a few attributes.  In fact, it isn't much different\n\
             than a directory in /proc.\n",
        ),
        (
            scene.simple(),
            "[02-simple-children]\n\n\
             This subsystem allows the creation of child config_items.  These\n\
             items have only one attribute that is readable and writeable.\n",
        ),
        (
            scene.group(),
            "[03-group-children]\n\n\
             This subsystem allows the creation of child config_groups.  These\n\
             groups are like the subsystem simple-children.\n",
        ),
        (
            scene.linked(),
            "[04-linked-children]\n\n\
             This subsystem comes with two groups.  The items of images hold\n\
             bytes.  The items of devices are linked to an image, which they\n\
             run.\n",
        ),
    ] {
        let read = subsystem.attribute("description").read().unwrap();
        assert_eq!(String::from_utf8(read).unwrap(), text);
    }
    let group = scene.group().make("group").unwrap();
    let simple = scene.simple().attribute("description").read().unwrap();
    assert_eq!(group.attribute("description").read().unwrap(), simple);
}

#[test]
fn files_and_directories_have_the_permissions_of_the_sample() {
    let scene = Scene::new();
    let childless = scene.childless();
    let item = scene.simple().make("item").unwrap();
    let (image, device) = scene.linked_pair();
    for (path, mode) in [
        (childless.path().to_owned(), 0o755),
        (childless.path().join("showme"), 0o444),
        (childless.path().join("storeme"), 0o644),
        (childless.path().join("description"), 0o444),
        (item.path().to_owned(), 0o755),
        (item.path().join("storeme"), 0o644),
        (image.path().join("size"), 0o444),
        (image.path().join("contents"), 0o644),
        (device.path().join("running"), 0o644),
        (device.path().join("statistics"), 0o755),
    ] {
        let metadata = fs::metadata(&path).unwrap();
        let found = (metadata.permissions().mode() & 0o7777, metadata.uid(), metadata.gid());
        assert_eq!(found, (mode, 0, 0), "{}", path.display());
    }
}

#[test]
fn showme_counts_how_often_it_is_read() {
    let scene = Scene::new();
    let showme = scene.childless().attribute("showme");
    let first: i32 = showme.get().unwrap();
    for n in 1..=20 {
        assert_eq!(showme.get::<i32>().unwrap(), first + n);
    }
}

#[test]
fn showme_begins_at_zero_when_the_module_is_loaded() {
    let scene = Scene::new();
    reload();
    assert_eq!(scene.childless().attribute("showme").text().unwrap(), "0");
    assert_eq!(scene.childless().attribute("storeme").text().unwrap(), "0");
}

#[test]
fn an_open_file_keeps_what_it_read_first() {
    let scene = Scene::new();
    let showme = scene.childless().attribute("showme");
    let open = showme.open(OFlags::RDONLY).unwrap();
    let first = open.read().unwrap();
    showme.read().unwrap();
    assert_eq!(open.read().unwrap(), first, "pread(2) from the start");
    rustix::fs::seek(&open, rustix::fs::SeekFrom::Start(0)).unwrap();
    assert_eq!(read(&open, 99).unwrap(), first, "lseek(2) to the start");

    // A write of one's own is an exception.
    let item = scene.simple().make("item").unwrap();
    let storeme = item.attribute("storeme").open(OFlags::RDWR).unwrap();
    assert_eq!(storeme.read().unwrap(), b"0\n");
    storeme.write(b"1").unwrap();
    assert_eq!(storeme.read().unwrap(), b"1\n");
    item.attribute("storeme").set(2).unwrap();
    assert_eq!(storeme.read().unwrap(), b"1\n", "somebody else's write is none");
}

#[test]
fn a_value_is_read_in_any_pieces() {
    let scene = Scene::new();
    let description = scene.childless().attribute("description");
    let whole = description.read().unwrap();
    for size in [1, 2, 7, 100, 4096, 1 << 20] {
        let fd = open(description.path(), OFlags::RDONLY).unwrap();
        let mut pieces = Vec::new();
        loop {
            let piece = read(&fd, size).unwrap();
            if piece.is_empty() {
                break;
            }
            assert!(piece.len() <= size);
            pieces.extend(piece);
        }
        assert_eq!(pieces, whole, "{size} bytes at a time");
    }
    let fd = open(description.path(), OFlags::RDONLY).unwrap();
    for (offset, expected) in [(0, &whole[..]), (5, &whole[5..]), (whole.len() as u64, b"")] {
        assert_eq!(pread(&fd, offset).unwrap(), expected, "at {offset}");
    }
    assert_eq!(pread(&fd, 1 << 40).unwrap(), b"");
}

// new: begin
/// Each `storeme` that there is.
fn each_storeme(scene: &Scene) -> Vec<Attribute> {
    let item = scene.simple().make("item").unwrap();
    vec![
        // new: end
        scene.childless().attribute("storeme"),
        // new: begin
        item.attribute("storeme"),
    ]
}

#[test]
fn storeme_takes_every_form_of_a_decimal_number() {
    let scene = Scene::new();
    let zeros = format!("{:0>4094}", 7);
    for storeme in each_storeme(&scene) {
        for (text, value) in [
            ("5", 5),
            ("5\n", 5),
            ("-5", -5),
            ("+5", 5),
            ("0", 0),
            ("-0", 0),
            ("+0\n", 0),
            ("007", 7),
            ("010", 10),
            ("-010", -10),
            ("2147483647", i32::MAX),
            ("2147483647\n", i32::MAX),
            ("-2147483648", i32::MIN),
            ("00000000000000000000002147483647", i32::MAX),
            (&zeros, 7),
        ] {
            storeme.write(text.as_bytes()).unwrap();
            assert_eq!(storeme.read().unwrap(), format!("{value}\n").as_bytes(), "{text:?}");
        }
    }
}

#[test]
fn storeme_refuses_bad_input_and_keeps_its_value() {
    let scene = Scene::new();
    let mut table = Refusals::new();
    for storeme in each_storeme(&scene) {
        storeme.set(42).unwrap();
        let mut case = |text: &[u8], errno: Errno| {
            let shown = String::from_utf8_lossy(&text[..text.len().min(40)]).into_owned();
            table.case(&format!("{shown:?}"), errno, attribute_errno(storeme.write(text)));
            assert_eq!(storeme.get::<i32>().unwrap(), 42, "after {shown:?}");
        };
        for text in [
            "\n", " ", " 5", "5 ", "\t5", "5\n\n", "5\r\n", "\n5", "abc", "5x", "x5", "0x10", "0X10",
            "0b1", "0o7", "-", "+", "--5", "+-5", "-+5", "- 5", "1e3", "1.5", "1,000", "5 6", "5\n6",
            "\0", "5\0", "5\0\n", "5\x006", "\x005", "NaN", "true", "\u{ff15}", "-\n", "5;",
        ] {
            case(text.as_bytes(), Errno::INVAL);
        }
        case(&[0xff], Errno::INVAL);
        case(&[b'5', 0x80], Errno::INVAL);
        case(&[b'x'; 4095], Errno::INVAL);
        case(&[b' '; 4095], Errno::INVAL);
        case(&[0; 4095], Errno::INVAL);
        for text in [
            "2147483648",
            "2147483648\n",
            "-2147483649",
            "+2147483648",
            "4294967295",
            "4294967296",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "-9223372036854775809",
            "18446744073709551615",
            "18446744073709551616",
            "99999999999999999999999999",
        ] {
            case(text.as_bytes(), Errno::RANGE);
        }
        case(&[b'9'; 4095], Errno::RANGE);
        // configfs takes nothing for memory that is not there.
        case(b"", Errno::FAULT);

        let fd = open(storeme.path(), OFlags::RDWR).unwrap();
        for hole in Hole::ALL.into_iter().filter(|hole| *hole != Hole::ReadOnly) {
            table.case(&format!("from {hole:?}"), Errno::FAULT, hole.write(&fd, 2));
        }
        table.case("zeros from memory", Errno::INVAL, Hole::ReadOnly.write(&fd, 2));
        for hole in Hole::ALL {
            table.case(&format!("to {hole:?}"), Errno::FAULT, hole.read(&fd, 2));
        }
        table.case("read nothing", Errno::FAULT, read(&fd, 0));
        table.case("pread before the start", Errno::INVAL, pread(&fd, u64::MAX));
        table.case("pwrite before the start", Errno::INVAL, rustix::io::pwrite(&fd, b"5", 1 << 63));
        table.case("junk at an offset", Errno::INVAL, rustix::io::pwrite(&fd, b"x", 100));
        table.case(
            "junk in parts",
            Errno::INVAL,
            rustix::io::writev(&fd, &[IoSlice::new(b"5"), IoSlice::new(b"x")]),
        );
        assert_eq!(storeme.get::<i32>().unwrap(), 42);
    }
    table.finish();
}

// new: end
#[test]
fn a_write_counts_as_a_whole_wherever_it_is_put() {
    let scene = Scene::new();
    for storeme in each_storeme(&scene) {
        let fd = open(storeme.path(), OFlags::RDWR).unwrap();
        for offset in [0, 1, 100, 4095, 4096, 1 << 40] {
            let value = i32::try_from(offset % 1000).unwrap();
            let text = value.to_string();
            assert_eq!(rustix::io::pwrite(&fd, text.as_bytes(), offset), Ok(text.len()));
            assert_eq!(storeme.get::<i32>().unwrap(), value, "at {offset}");
        }
        assert_eq!(rustix::io::write(&fd, b"1"), Ok(1));
        assert_eq!(rustix::io::write(&fd, b"2"), Ok(1));
        assert_eq!(storeme.get::<i32>().unwrap(), 2, "the second does not go on where the first ended");
        let parts = [&b"1"[..], b"", b"23"].map(IoSlice::new);
        assert_eq!(rustix::io::writev(&fd, &parts), Ok(3));
        assert_eq!(storeme.get::<i32>().unwrap(), 123);
    }
}

#[test]
fn a_write_ends_where_a_page_would() {
    let scene = Scene::new();
    for storeme in each_storeme(&scene) {
        let fd = open(storeme.path(), OFlags::WRONLY).unwrap();
        // The last byte of the page is for a NUL. The rest would be a write of its own.
        let text = format!("{:0>5000}", 5);
        assert_eq!(rustix::io::write(&fd, text.as_bytes()), Ok(4095));
        assert_eq!(storeme.get::<i32>().unwrap(), 0);
        assert_eq!(rustix::io::write(&fd, &text.as_bytes()[4095..]), Ok(905));
        assert_eq!(storeme.get::<i32>().unwrap(), 5);
    }
}

#[test]
fn a_write_that_faults_part_way_is_what_was_there() {
    let scene = Scene::new();
    for storeme in each_storeme(&scene) {
        let fd = open(storeme.path(), OFlags::WRONLY).unwrap();
        storeme.set(42).unwrap();
        let memory = Guarded::holding(b"12").unwrap();
        assert_eq!(memory.write(&fd, 3), Ok(2), "and says so");
        assert_eq!(storeme.get::<i32>().unwrap(), 12);
        assert_eq!(memory.write(&fd, 2), Ok(2));
    }
}

#[test]
fn permissions_are_for_everybody() {
    let scene = Scene::new();
    let childless = scene.childless();
    let image = scene.images().make("image").unwrap();
    let mut table = Refusals::new();
    let item = scene.simple().make("item").unwrap();
    for (name, flags) in [
        ("showme", OFlags::WRONLY),
        ("showme", OFlags::RDWR),
        ("description", OFlags::WRONLY),
        ("description", OFlags::RDWR),
    ] {
        let opened = open(&childless.path().join(name), flags);
        table.case(&format!("open {name} with {flags:?}"), Errno::ACCESS, opened);
    }
    table.case("open size", Errno::ACCESS, open(&image.path().join("size"), OFlags::RDWR));
    // It is root's business who else may do what; but a file that has no `store` stays without.
    fs::set_permissions(childless.path().join("showme"), PermissionsExt::from_mode(0o666)).unwrap();
    table.case("open showme", Errno::ACCESS, open(&childless.path().join("showme"), OFlags::RDWR));
    fs::set_permissions(childless.path().join("showme"), PermissionsExt::from_mode(0o444)).unwrap();

    let fd = open(&childless.path().join("storeme"), OFlags::RDONLY).unwrap();
    table.case("write, open for reading", Errno::BADF, rustix::io::write(&fd, b"5"));
    let fd = open(&childless.path().join("storeme"), OFlags::WRONLY).unwrap();
    table.case("read, open for writing", Errno::BADF, read(&fd, 9));
    table.finish();

    let table = as_nobody(move || {
        let mut table = Refusals::new();
        for file in [childless.attribute("storeme"), item.attribute("storeme")] {
            let before = file.text().expect("everybody may read");
            let written = attribute_errno(file.set(5));
            table.case("write a storeme", Errno::ACCESS, written);
            assert_eq!(file.text().unwrap(), before);
        }
        let contents = image.binary_attribute("contents");
        table.case("write contents", Errno::ACCESS, errno(contents.write(b"x")));
        assert_eq!(contents.read().unwrap(), b"");
        let parent = Item::at(item.path().parent().unwrap());
        table.case("make an item", Errno::ACCESS, errno(parent.make("mine")));
        table.case("remove an item", Errno::ACCESS, errno(item.remove()));
        table.case("link", Errno::ACCESS, errno(item.link("link", &image)));
        table.case("unlink", Errno::ACCESS, errno(item.unlink("storeme")));
        table
    });
    table.finish();
}

// new: begin
#[test]
fn a_directory_can_be_given_to_a_user() {
    let scene = Scene::new();
    let (user, group) = (Some(Uid::from_raw(65534)), Some(Gid::from_raw(65534)));
    let simple = scene.simple();
    rustix::fs::chown(simple.path(), user, group).unwrap();
    let made = as_nobody(move || {
        let item = errno(simple.make("mine"))?;
        let refused = attribute_errno(item.attribute("storeme").set(5));
        item.remove().unwrap();
        Ok::<_, Errno>(refused)
    });
    rustix::fs::chown(scene.simple().path(), Some(Uid::ROOT), Some(Gid::ROOT)).unwrap();
    assert_eq!(made, Ok(Err(Errno::ACCESS)), "what they make is root's");
}

#[test]
fn readers_see_whole_values_while_writers_replace_them() {
    let scene = Scene::new();
    let storeme = scene.simple().make("item").unwrap().attribute("storeme");
    // A number of one digit, many times.
    let write = || (1..=9).for_each(|digit| storeme.set(111_111_111 * digit).unwrap());
    let read = || {
        let text = storeme.text().unwrap();
        assert_eq!((text.len(), &text), (9, &text[..1].repeat(9)));
    };
    write();
    race(50, &[&write, &write, &read, &read]);
}

// new: end
// ---- Making and removing ------------------------------------------------------------------------

// new: begin
#[test]
fn mkdir_makes_an_item_with_its_attributes() {
    let scene = Scene::new();
    let item = scene.simple().make("item").unwrap();
    let contents = Contents { attributes: names(&["storeme"]), ..Contents::default() };
    assert_eq!(item.list().unwrap(), contents);
    assert_eq!(item.attribute("storeme").text().unwrap(), "0");
    assert_eq!(scene.simple().list().unwrap().items, ["item"]);
    item.remove().unwrap();
    assert!(!item.exists());
    assert_eq!(scene.simple().list().unwrap().items, Vec::<String>::new());
}

// new: end
#[test]
fn each_item_has_values_of_its_own() {
    let scene = Scene::new();
    let group = scene.group().make("group").unwrap();
    let items: Vec<_> = (0..50)
        .map(|n| {
            let parent = if n % 2 == 0 { scene.simple() } else { group.clone() };
            let item = parent.make(&format!("item {n}")).unwrap();
            item.attribute("storeme").set(n).unwrap();
            item
        })
        .collect();
    for (n, item) in items.iter().enumerate() {
        assert_eq!(item.attribute("storeme").get::<usize>().unwrap(), n);
    }
    assert_eq!(scene.simple().list().unwrap().items.len(), 25);
    assert_eq!(group.list().unwrap().items.len(), 25);
}

#[test]
fn an_item_made_again_is_a_new_one() {
    let scene = Scene::new();
    for _ in 0..3 {
        let item = scene.simple().make("item").unwrap();
        assert_eq!(item.attribute("storeme").text().unwrap(), "0");
        item.attribute("storeme").set(5).unwrap();
        item.remove().unwrap();
    }
}

#[test]
fn a_group_holds_items_and_an_item_holds_nothing() {
    let scene = Scene::new();
    let group = scene.group().make("group").unwrap();
    let item = group.make("item").unwrap();
    item.attribute("storeme").set(-1).unwrap();
    assert_eq!(errno(item.make("more")), Err(Errno::PERM));
    assert_eq!(errno(group.remove()), Err(Errno::NOTEMPTY));
    assert_eq!(item.attribute("storeme").text().unwrap(), "-1");
    item.remove().unwrap();
    group.remove().unwrap();
}

#[test]
fn a_name_may_be_anything_that_a_directory_can_be_called() {
    let scene = Scene::new();
    // configfs keeps names of up to 19 bytes in the item, and longer ones elsewhere.
    let lengths = [1, 2, 18, 19, 20, 21, 64, 254, 255].map(|len| "n".repeat(len));
    let odd = ["...", " ", "a b", "a\nb", "a\\b", "%s%n", "-rf", "~", "\u{e4}", "description2", "\x7f"];
    for name in lengths.iter().map(String::as_str).chain(odd) {
        for parent in [scene.simple(), scene.group(), scene.images(), scene.devices()] {
            let item = parent.make(name).unwrap();
            assert_eq!(parent.list().unwrap().items, [name]);
            item.remove().unwrap();
        }
    }
}

#[test]
fn what_cannot_be_made_is_refused() {
    let scene = Scene::new();
    let simple = scene.simple();
    let item = simple.make("item").unwrap();
    let group = scene.group().make("group").unwrap();
    let (image, device) = scene.linked_pair();
    let top = Item::at(scene.configfs.place());
    let mut table = Refusals::new();
    let mut make = |parent: &Item, name: &str, refusal| {
        let what = format!("mkdir {:?} in {}", &name[..name.len().min(40)], parent.path().display());
        table.case(&what, refusal, errno(parent.make(name)));
    };
    for parent in [&simple, &scene.group(), &scene.images(), &scene.devices()] {
        make(parent, "", Errno::EXIST);
        make(parent, ".", Errno::EXIST);
        make(parent, "..", Errno::EXIST);
        make(parent, &"n".repeat(256), Errno::NAMETOOLONG);
        make(parent, &"n".repeat(5000), Errno::NAMETOOLONG);
        make(parent, "no/such", Errno::NOENT);
    }
    make(&simple, "item", Errno::EXIST);
    make(&simple, "item/", Errno::EXIST);
    make(&simple, "description", Errno::EXIST);
    make(&simple, "description/x", Errno::NOTDIR);
    make(&scene.group(), "group", Errno::EXIST);
    make(&group, "description", Errno::EXIST);
    make(&scene.linked(), "images", Errno::EXIST);
    make(&device, "link", Errno::EXIST);
    make(&device, "statistics", Errno::EXIST);
    for parent in [
        &top,
        &scene.childless(),
        &scene.linked(),
        &item,
        &image,
        &device,
        &device.item("statistics"),
    ] {
        make(parent, "x", Errno::PERM);
    }
    table.finish();
}

#[test]
fn what_else_makes_files_elsewhere_is_refused() {
    let scene = Scene::new();
    let simple = scene.simple();
    let item = simple.make("item").unwrap();
    let other = simple.path().join("other");
    let mut table = Refusals::new();
    let create = OFlags::CREATE | OFlags::WRONLY;
    for place in [scene.configfs.place(), simple.path(), item.path(), scene.images().path()] {
        let new = place.join("new");
        table.case("create a file", Errno::ACCESS, open(&new, create));
        let mknod = rustix::fs::mknodat(CWD, &new, rustix::fs::FileType::Fifo, Mode::RWXU, 0);
        table.case("mknod", Errno::PERM, mknod);
    }
    let storeme = item.path().join("storeme");
    table.case("create exclusively", Errno::EXIST, open(&storeme, create | OFlags::EXCL));
    table.case("O_TMPFILE", Errno::OPNOTSUPP, open(simple.path(), OFlags::TMPFILE | OFlags::RDWR));
    table.case("a hard link", Errno::PERM, rustix::fs::link(&storeme, &other));
    table.case("rename an item", Errno::PERM, rustix::fs::rename(item.path(), &other));
    table.case(
        "rename an attribute",
        Errno::PERM,
        rustix::fs::rename(&storeme, item.path().join("other")),
    );
    table.case("rename away", Errno::XDEV, rustix::fs::rename(item.path(), "/tmp/other"));
    table.case("unlink an attribute", Errno::PERM, rustix::fs::unlink(&storeme));
    table.case("unlink an item", Errno::ISDIR, rustix::fs::unlink(item.path()));
    table.case("open as a file", Errno::ISDIR, open(item.path(), OFlags::RDWR));
    table.case("open as a directory", Errno::NOTDIR, open(&storeme, OFlags::DIRECTORY));
    table.case("follow no link", Errno::INVAL, errno(item.follow("storeme")));
    table.case("list what is not there", Errno::NOENT, errno(item.item("no").list()));
    let subsystem = scene.configfs.subsystem("no-such-subsystem");
    table.case("find what is not there", Errno::NOENT, errno(subsystem));
    table.finish();
}

#[test]
fn what_cannot_be_removed_is_refused() {
    let scene = Scene::new();
    let group = scene.group().make("group").unwrap();
    let inner = group.make("inner").unwrap();
    let (image, device) = scene.linked_pair();
    let mut table = Refusals::new();
    let mut remove = |item: &Item, refusal| {
        table.case(&format!("rmdir {}", item.path().display()), refusal, errno(item.remove()));
    };
    for subsystem in [scene.childless(), scene.simple(), scene.group(), scene.linked()] {
        remove(&subsystem, Errno::PERM);
    }
    remove(&Item::at(scene.configfs.place()), Errno::BUSY);
    remove(&scene.images(), Errno::PERM);
    remove(&scene.devices(), Errno::PERM);
    remove(&device.item("statistics"), Errno::PERM);
    remove(&group, Errno::NOTEMPTY);
    remove(&image, Errno::BUSY);
    remove(&device, Errno::NOTEMPTY);
    remove(&inner.item("storeme"), Errno::NOTDIR);
    remove(&device.item("link"), Errno::NOTDIR);
    remove(&group.item("no"), Errno::NOENT);
    remove(&group.item("inner/."), Errno::INVAL);
    remove(&group.item("inner/.."), Errno::NOTEMPTY);
    device.attribute("running").set(1).unwrap();
    remove(&device, Errno::BUSY);
    remove(&image, Errno::BUSY);
    table.finish();
    assert!(inner.exists() && image.exists() && device.exists());
}

// new: begin
#[test]
fn an_open_file_does_not_keep_its_item() {
    let scene = Scene::new();
    let item = scene.simple().make("item").unwrap();
    let unread = open(&item.path().join("storeme"), OFlags::RDWR).unwrap();
    let been_read = open(&item.path().join("storeme"), OFlags::RDWR).unwrap();
    assert_eq!(read(&been_read, 9).unwrap(), b"0\n");
    item.remove().unwrap();

    assert_eq!(read(&unread, 9), Err(Errno::NOENT));
    assert_eq!(pread(&unread, 0), Err(Errno::NOENT));
    assert_eq!(pread(&been_read, 0).unwrap(), b"0\n", "what it read first, it has");
    for fd in [&unread, &been_read] {
        assert_eq!(rustix::io::write(fd, b"5"), Err(Errno::NOENT));
        let again = open(Path::new(&format!("/proc/self/fd/{}", fd.as_raw_fd())), OFlags::RDWR);
        assert_eq!(again.map(drop), Err(Errno::NOENT));
    }

    // A new item of the same name has nothing to do with it.
    let again = scene.simple().make("item").unwrap();
    again.attribute("storeme").set(7).unwrap();
    assert_eq!(rustix::io::write(&unread, b"5"), Err(Errno::NOENT));
    assert_eq!(again.attribute("storeme").text().unwrap(), "7");
}

// new: end
#[test]
fn an_open_directory_does_not_keep_its_item() {
    let scene = Scene::new();
    let group = scene.group().make("group").unwrap();
    let fd = open(group.path(), OFlags::RDONLY | OFlags::DIRECTORY).unwrap();
    group.remove().unwrap();
    let mut table = Refusals::new();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 512];
    let listed = rustix::fs::RawDir::new(&fd, &mut buffer).next().transpose().map(|entry| {
        entry.map(|entry| entry.file_name().to_owned())
    });
    table.case("list", Errno::NOENT, listed);
    let opened = rustix::fs::openat(&fd, "description", OFlags::RDONLY, Mode::empty());
    table.case("open an attribute", Errno::NOENT, opened);
    table.case("make an item", Errno::NOENT, rustix::fs::mkdirat(&fd, "item", Mode::RWXU));
    table.case("link", Errno::NOENT, rustix::fs::symlinkat("/sys", &fd, "link"));
    let removed = rustix::fs::unlinkat(&fd, "description", AtFlags::empty());
    table.case("unlink", Errno::NOENT, removed);
    table.finish();
}

/// Makes and removes `name` in `parent`, again and again: up to `most` times, but not for much longer
/// than `budget`.
fn cycle(parent: &Item, most: usize, least: usize, budget: Duration) -> usize {
    let end = Instant::now() + budget;
    for cycle in 0..most {
        if cycle >= least && Instant::now() > end {
            return cycle;
        }
        // From the shortest names to some that configfs allocates.
        let name = "n".repeat(cycle % 30 + 1);
        let item = parent.make(&name).unwrap();
        if cycle % 100 == 0 {
            item.attribute("storeme").set(cycle).unwrap();
            assert_eq!(item.attribute("storeme").get::<usize>().unwrap(), cycle);
        }
        item.remove().unwrap();
    }
    most
}

/// 10 000 cycles, which take a second or two on the release kernel; on a debug kernel that is slow, as
/// many as there is time for, and 2000 at least.
#[test]
fn ten_thousand_items_come_and_go() {
    let scene = Scene::new();
    let group = scene.group().make("group").unwrap();
    let budget = Duration::from_secs(5);
    let cycles: usize =
        [scene.simple(), group].iter().map(|parent| cycle(parent, 5000, 1000, budget)).sum();
    println!("{cycles} cycles of mkdir and rmdir");
    assert_eq!(scene.simple().list().unwrap().items, Vec::<String>::new());
}

#[test]
fn a_thousand_items_at_once() {
    let scene = Scene::new();
    let group = scene.group().make("group").unwrap();
    let items: Vec<_> = (0..1000).map(|n| group.make(&format!("{n:04}")).unwrap()).collect();
    assert_eq!(group.list().unwrap().items.len(), 1000);
    assert_eq!(errno(group.remove()), Err(Errno::NOTEMPTY));
    for item in items {
        item.remove().unwrap();
    }
    group.remove().unwrap();
}

// new: begin
#[test]
fn of_many_who_make_the_same_item_one_succeeds() {
    let scene = Scene::new();
    let simple = scene.simple();
    for _ in 0..50 {
        let made = AtomicUsize::new(0);
        let removed = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| match errno(simple.make("item")) {
                    Ok(_) => _ = made.fetch_add(1, Ordering::Relaxed),
                    Err(refusal) => assert_eq!(refusal, Errno::EXIST),
                });
            }
        });
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| match errno(simple.item("item").remove()) {
                    Ok(()) => _ = removed.fetch_add(1, Ordering::Relaxed),
                    Err(refusal) => assert_eq!(refusal, Errno::NOENT),
                });
            }
        });
        assert_eq!((made.into_inner(), removed.into_inner()), (1, 1));
    }
}

// new: end
// ---- Links --------------------------------------------------------------------------------------

#[test]
fn a_link_leads_to_its_target_and_keeps_it() {
    let scene = Scene::new();
    let (image, device) = scene.linked_pair();
    assert_eq!(device.list().unwrap().links, ["link"]);
    assert_eq!(device.follow("link").unwrap(), image);
    let text = rustix::fs::readlink(device.path().join("link"), Vec::new()).unwrap();
    assert_eq!(text.to_str().unwrap(), "../../../04-linked-children/images/image");
    assert_eq!(device.item("link").attribute("size").text().unwrap(), "0", "it can be followed");

    assert_eq!(errno(image.remove()), Err(Errno::BUSY));
    assert_eq!(errno(device.remove()), Err(Errno::NOTEMPTY));
    device.unlink("link").unwrap();
    image.remove().unwrap();
    device.remove().unwrap();
}

#[test]
fn an_image_is_kept_until_the_last_link_is_gone() {
    let scene = Scene::new();
    let image = scene.images().make("image").unwrap();
    let devices: Vec<_> = (0..10)
        .map(|n| {
            let device = scene.devices().make(&n.to_string()).unwrap();
            device.link("image", &image).unwrap();
            device
        })
        .collect();
    for device in &devices {
        assert_eq!(errno(image.remove()), Err(Errno::BUSY));
        device.unlink("image").unwrap();
    }
    image.remove().unwrap();
}

#[test]
fn a_device_has_one_image_at_a_time() {
    let scene = Scene::new();
    let (image, device) = scene.linked_pair();
    let other = scene.images().make("other").unwrap();
    for target in [&image, &other] {
        assert_eq!(errno(device.link("second", target)), Err(Errno::BUSY));
    }
    other.remove().unwrap();
    device.unlink("link").unwrap();
    device.link("second", &image).unwrap();
    assert_eq!(device.list().unwrap().links, ["second"]);
}

#[test]
fn what_cannot_be_linked_is_refused() {
    let scene = Scene::new();
    let (image, device) = scene.linked_pair();
    let free = scene.devices().make("free").unwrap();
    let item = scene.simple().make("item").unwrap();
    let mut table = Refusals::new();
    let mut link = |source: &Item, name: &str, target: &Path, refusal| {
        let source_path = source.path().display();
        let what = format!("link from {source_path} to {}", target.display());
        table.case(&what, refusal, errno(source.link(name, &Item::at(target))));
    };
    // Who takes no links, takes none to anything.
    for source in [
        &scene.childless(),
        &scene.simple(),
        &scene.linked(),
        &scene.images(),
        &scene.devices(),
        &item,
        &image,
        &free.item("statistics"),
        &Item::at(scene.configfs.place()),
    ] {
        link(source, "x", image.path(), Errno::PERM);
        link(source, "x", Path::new("/no/such"), Errno::PERM);
    }
    // What is not an image.
    for target in [
        device.path(),
        free.path(),
        free.item("statistics").path(),
        item.path(),
        scene.images().path(),
        scene.devices().path(),
        scene.linked().path(),
        scene.simple().path(),
    ] {
        link(&free, "x", target, Errno::INVAL);
    }
    link(&free, "x", scene.configfs.place(), Errno::NOENT);
    link(&free, "x", Path::new("/no/such"), Errno::NOENT);
    link(&free, "x", &image.path().join("no"), Errno::NOENT);
    link(&free, "x", &image.path().join("size"), Errno::NOTDIR);
    link(&free, "x", Path::new(""), Errno::NOENT);
    link(&free, "x", Path::new("/"), Errno::PERM);
    link(&free, "x", Path::new("/proc"), Errno::PERM);
    // What is no name for a link.
    link(&device, "link", image.path(), Errno::EXIST);
    link(&free, "running", image.path(), Errno::EXIST);
    link(&free, "statistics", image.path(), Errno::EXIST);
    link(&free, "..", image.path(), Errno::EXIST);
    link(&free, "no/link", image.path(), Errno::NOENT);
    link(&free, &"n".repeat(256), image.path(), Errno::NAMETOOLONG);
    link(&free.item("no"), "x", image.path(), Errno::NOENT);
    let mut unlink = |name, refusal| {
        table.case(&format!("unlink {name}"), refusal, errno(free.unlink(name)));
    };
    unlink("running", Errno::PERM);
    unlink("no", Errno::NOENT);
    unlink("statistics", Errno::ISDIR);
    table.finish();

    assert_eq!(free.list().unwrap().links, Vec::<String>::new());
    free.link("x", &image).unwrap();
}

#[test]
fn a_link_may_go_by_way_of_another_and_by_a_relative_path() {
    let scene = Scene::new();
    let (image, device) = scene.linked_pair();
    let second = scene.devices().make("second").unwrap();
    second.link("link", &device.item("link")).unwrap();
    assert_eq!(second.follow("link").unwrap(), image, "it leads where the other one leads");
    second.unlink("link").unwrap();

    // Unlike elsewhere, a relative path is followed from where the caller is, and at once.
    std::env::set_current_dir(scene.images().path()).unwrap();
    second.link("link", &Item::at("image")).unwrap();
    assert_eq!(second.follow("link").unwrap(), image);
    std::env::set_current_dir("/").unwrap();
    assert_eq!(errno(device.link("other", &Item::at("image"))), Err(Errno::NOENT));
}

#[test]
fn a_device_runs_only_with_an_image_and_is_not_removed_then() {
    let scene = Scene::new();
    let mut log = Log::from_now().unwrap();
    let device = scene.devices().make("fan").unwrap();
    let image = scene.images().make("image").unwrap();
    image.binary_attribute("contents").write(b"spin!").unwrap();
    let running = device.attribute("running");
    let starts = device.item("statistics").attribute("starts");

    assert_eq!(running.text().unwrap(), "0");
    assert_eq!(attribute_errno(running.set(1)), Err(Errno::NOLINK));
    device.link("link", &image).unwrap();
    for start in 1..=3 {
        running.set(1).unwrap();
        running.set(1).unwrap();
        assert_eq!((running.text().unwrap().as_str(), starts.get::<i32>().unwrap()), ("1", start));
        assert_eq!(errno(device.remove()), Err(Errno::BUSY));
        running.set(0).unwrap();
        running.set(0).unwrap();
        assert_eq!(running.text().unwrap(), "0");
        assert_eq!(errno(device.remove()), Err(Errno::NOTEMPTY), "there is the link still");
    }
    assert!(log.wait_for("callgate_configfs: device fan runs 5 bytes", LIMIT).unwrap());

    running.set(1).unwrap();
    device.unlink("link").unwrap();
    assert_eq!(running.text().unwrap(), "0", "without an image it stops");
    device.remove().unwrap();
    image.remove().unwrap();
    assert!(log.wait_for("callgate_configfs: device fan is removed", LIMIT).unwrap());
}

#[test]
fn a_device_that_ran_can_be_removed_with_what_came_with_it() {
    let scene = Scene::new();
    let (_image, device) = scene.linked_pair();
    let starts = device.item("statistics").attribute("starts").open(OFlags::RDONLY).unwrap();
    device.attribute("running").set(1).unwrap();
    device.unlink("link").unwrap();
    device.remove().unwrap();
    assert!(!device.item("statistics").exists());
    assert_eq!(attribute_errno(starts.read()), Err(Errno::NOENT));
}

#[test]
fn running_refuses_bad_input() {
    let scene = Scene::new();
    let (_image, device) = scene.linked_pair();
    let mut table = Refusals::new();
    for text in ["", "2", "x", "\n", " 1", "-1", "\0", "1\0", "o", "\u{ff11}"] {
        let refusal = if text.is_empty() { Errno::FAULT } else { Errno::INVAL };
        let result = attribute_errno(device.attribute("running").write(text.as_bytes()));
        table.case(&format!("{text:?}"), refusal, result);
    }
    table.finish();
    assert_eq!(device.attribute("running").text().unwrap(), "0");
    // kstrtobool() looks at the first character or two only.
    for (text, value) in [("Y", "1"), ("n", "0"), ("on", "1"), ("off", "0"), ("1 ", "1"), ("0x1", "0")] {
        device.attribute("running").write(text.as_bytes()).unwrap();
        assert_eq!(device.attribute("running").text().unwrap(), value, "{text:?}");
    }
}

// ---- Binary contents ----------------------------------------------------------------------------

/// `len` bytes in which no short stretch comes twice soon.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| u8::try_from((n * 7 + n / 251) % 251).unwrap()).collect()
}

fn contents(scene: &Scene) -> BinaryAttribute {
    scene.images().make("image").unwrap().binary_attribute("contents")
}

#[test]
fn contents_of_every_size_come_back() {
    let scene = Scene::new();
    let image = scene.images().make("image").unwrap();
    let contents = image.binary_attribute("contents");
    assert_eq!(contents.read().unwrap(), b"");
    for len in [1, 2, 255, 4095, 4096, 4097, 8192, 65535, 65536, 3] {
        let bytes = pattern(len);
        contents.write(&bytes).unwrap();
        assert_eq!(contents.read().unwrap(), bytes, "{len} bytes");
        assert_eq!(image.attribute("size").get::<usize>().unwrap(), len);
    }
    let bytes: Vec<u8> = (0..=255).collect();
    contents.write(&bytes).unwrap();
    assert_eq!(contents.read().unwrap(), bytes, "every byte");
}

#[test]
fn contents_are_handed_over_when_the_file_is_closed() {
    let scene = Scene::new();
    let contents = contents(&scene);
    contents.write(b"before").unwrap();
    let writer = contents.open(OFlags::WRONLY).unwrap();
    for piece in pattern(10_000).chunks(777) {
        assert_eq!(rustix::io::write(&writer, piece), Ok(piece.len()));
        assert_eq!(contents.read().unwrap(), b"before");
    }
    let twin = rustix::io::dup(&writer).unwrap();
    drop(writer);
    assert_eq!(contents.read().unwrap(), b"before", "its twin is open");
    drop(twin);
    assert_eq!(contents.read().unwrap(), pattern(10_000));

    // Opened for writing, and closed again, is nothing written.
    drop(contents.open(OFlags::WRONLY | OFlags::TRUNC).unwrap());
    assert_eq!(contents.read().unwrap(), pattern(10_000));
}

#[test]
fn contents_are_read_as_they_were_at_the_first_read() {
    let scene = Scene::new();
    let contents = contents(&scene);
    contents.write(b"before").unwrap();
    let reader = contents.open(OFlags::RDONLY).unwrap();
    let late = contents.open(OFlags::RDONLY).unwrap();
    assert_eq!(read(&reader, 3).unwrap(), b"bef");
    contents.write(b"and after").unwrap();
    assert_eq!(read(&reader, 99).unwrap(), b"ore");
    assert_eq!(read(&reader, 99).unwrap(), b"");
    assert_eq!(read(&late, 99).unwrap(), b"and after");
}

#[test]
fn contents_can_be_written_in_any_order() {
    let scene = Scene::new();
    let contents = contents(&scene);
    let writer = contents.open(OFlags::WRONLY).unwrap();
    for (bytes, offset) in [(&b"world"[..], 6), (b"hello", 0), (b"!", 13)] {
        assert_eq!(rustix::io::pwrite(&writer, bytes, offset), Ok(bytes.len()));
    }
    drop(writer);
    assert_eq!(contents.read().unwrap(), b"hello\0world\0\0!", "gaps are zeros");
    let reader = contents.open(OFlags::RDONLY).unwrap();
    assert_eq!(pread(&reader, 6).unwrap(), b"world\0\0!");
    assert_eq!(pread(&reader, 14).unwrap(), b"");
    assert_eq!(pread(&reader, 1 << 40).unwrap(), b"");
}

#[test]
fn contents_refuse_bad_input() {
    let scene = Scene::new();
    let contents = contents(&scene);
    contents.write(b"precious").unwrap();
    let mut table = Refusals::new();
    for len in [65537, 70_000, 1 << 20] {
        let written = errno(contents.write(&pattern(len)));
        table.case(&format!("write {len} bytes"), Errno::FBIG, written);
        assert_eq!(contents.read().unwrap(), b"precious", "nothing of it came in");
    }
    let writer = contents.open(OFlags::WRONLY).unwrap();
    for offset in [65536, 65537, 1 << 31, 1 << 32, 1 << 40, i64::MAX as u64 - 1] {
        let written = rustix::io::pwrite(&writer, b"x", offset);
        table.case(&format!("pwrite at {offset}"), Errno::FBIG, written);
    }
    table.case("pwrite before the start", Errno::INVAL, rustix::io::pwrite(&writer, b"x", 1 << 63));
    table.case("write nothing", Errno::FAULT, rustix::io::write(&writer, b""));
    table.case("seek", Errno::SPIPE, rustix::fs::seek(&writer, rustix::fs::SeekFrom::Start(0)));
    table.case("read, open for writing", Errno::BADF, read(&writer, 9));
    drop(writer);
    assert_eq!(contents.read().unwrap(), b"precious", "refused writes are no writes");

    let reader = contents.open(OFlags::RDONLY).unwrap();
    for hole in Hole::ALL {
        table.case(&format!("read to {hole:?}"), Errno::FAULT, hole.read(&reader, 8));
    }
    table.case("read nothing", Errno::FAULT, read(&reader, 0));
    table.case("write, open for reading", Errno::BADF, rustix::io::write(&reader, b"x"));
    table.case("seek", Errno::SPIPE, rustix::fs::seek(&reader, rustix::fs::SeekFrom::Start(0)));
    table.case("pread before the start", Errno::INVAL, pread(&reader, 1 << 63));
    assert_eq!(read(&reader, 9).unwrap(), b"precious", "refused reads move nothing");

    // An open file is for one of both.
    let file = contents.open(OFlags::RDWR).unwrap();
    assert_eq!(read(&file, 9).unwrap(), b"precious");
    table.case("write after a read", Errno::TXTBSY, rustix::io::write(&file, b"x"));
    drop(file);
    let file = contents.open(OFlags::RDWR).unwrap();
    assert_eq!(rustix::io::write(&file, b"x"), Ok(1));
    table.case("read after a write", Errno::TXTBSY, read(&file, 9));
    drop(file);
    table.finish();
    assert_eq!(contents.read().unwrap(), b"x");
}

/// configfs makes room before it copies, and cannot make it smaller again.
#[test]
fn a_write_that_faults_counts_with_zeros() {
    let scene = Scene::new();
    let contents = contents(&scene);
    // Of addresses that cannot be a user's, it does not even hear.
    for hole in [Hole::Null, Hole::Unmapped] {
        contents.write(b"before").unwrap();
        let writer = contents.open(OFlags::WRONLY).unwrap();
        assert_eq!(hole.write(&writer, 3), Err(Errno::FAULT), "{hole:?}");
        drop(writer);
        assert_eq!(contents.read().unwrap(), b"\0\0\0", "{hole:?}");
    }
    let writer = contents.open(OFlags::WRONLY).unwrap();
    assert_eq!(Guarded::holding(b"hello").unwrap().write(&writer, 9), Ok(5));
    drop(writer);
    assert_eq!(contents.read().unwrap(), b"hello\0\0\0\0");
}

#[test]
fn contents_that_come_too_late_go_nowhere() {
    let scene = Scene::new();
    let image = scene.images().make("image").unwrap();
    let contents = image.binary_attribute("contents");
    let writer = contents.open(OFlags::WRONLY).unwrap();
    assert_eq!(rustix::io::write(&writer, b"too late"), Ok(8));
    let reader = contents.open(OFlags::RDONLY).unwrap();
    image.remove().unwrap();
    let again = scene.images().make("image").unwrap();
    assert_eq!(read(&reader, 9), Err(Errno::NOENT));
    assert_eq!(rustix::io::write(&writer, b", is it?"), Ok(8), "they are only collected");
    drop(writer);
    assert_eq!(again.binary_attribute("contents").read().unwrap(), b"");
}

#[test]
fn readers_see_whole_contents_while_writers_replace_them() {
    let scene = Scene::new();
    let contents = contents(&scene);
    let (seen, missed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // Long ones and short ones in turn.
    let whole = |value: u8| vec![value; usize::from(value) * 600];
    let write = || {
        // Enough of the race that is wanted here has been seen.
        if missed.load(Ordering::Relaxed) < 3 {
            contents.write(&whole(100)).unwrap();
            contents.write(&whole(1)).unwrap();
        }
    };
    let read = || match errno(contents.read()) {
        Ok(bytes) => {
            assert_eq!(bytes, whole(bytes[0]));
            seen.fetch_add(1, Ordering::Relaxed);
        }
        // Their size changed between being asked for and being read.
        Err(refusal) => {
            assert_eq!(refusal, Errno::AGAIN);
            missed.fetch_add(1, Ordering::Relaxed);
        }
    };
    write();
    race(3000, &[&write, &read, &read]);
    println!("{seen:?} readers saw all, and {missed:?} were told to try again");
    assert!(seen.into_inner() > 0, "nothing was ever read");
}

// ---- In a race ----------------------------------------------------------------------------------

// new: begin
/// Runs each of `tasks` in a thread of its own, over and over until `rounds` of the first are done.
fn race(rounds: usize, tasks: &[&(dyn Fn() + Sync)]) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (first, others) = tasks.split_first().unwrap();
        for task in others {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    task();
                }
            });
        }
        let first = scope.spawn(|| (0..rounds).for_each(|_| first()));
        let result = first.join();
        done.store(true, Ordering::Relaxed);
        result.unwrap();
    });
}

// new: end
/// The call must have succeeded, or have been refused with one of `refusals`. Returns whether it
/// succeeded.
fn one_of<T: Debug>(result: &rustix::io::Result<T>, refusals: &[Errno]) -> bool {
    match result {
        Ok(_) => true,
        Err(refusal) if refusals.contains(refusal) => false,
        Err(refusal) => panic!("{refusal:?} is none of {refusals:?}"),
    }
}

#[test]
fn items_are_read_and_written_while_they_come_and_go() {
    let scene = Scene::new();
    let (group, item) = (scene.group().item("group"), scene.group().item("group/item"));
    let reached = AtomicUsize::new(0);
    race(
        300,
        &[
            &|| {
                one_of(&errno(scene.group().make("group")), &[]);
                one_of(&errno(group.make("item")), &[]);
                thread::yield_now();
                one_of(&errno(item.remove()), &[]);
                one_of(&errno(group.remove()), &[]);
            },
            &|| {
                let text = attribute_errno(item.attribute("storeme").text());
                if one_of(&text, &[Errno::NOENT]) {
                    assert!(["0", "5"].contains(&text.unwrap().as_str()));
                    reached.fetch_add(1, Ordering::Relaxed);
                }
            },
            &|| _ = one_of(&attribute_errno(item.attribute("storeme").set(5)), &[Errno::NOENT]),
            &|| _ = one_of(&errno(group.list()), &[Errno::NOENT]),
        ],
    );
    assert!(reached.into_inner() > 0, "nobody ever read the item");
}

/// symlink(2) looks the target up without a lock: source and target may go meanwhile, and be made anew.
#[test]
fn links_are_made_while_their_ends_come_and_go() {
    let scene = Scene::new();
    let (image, device) = (scene.images().item("image"), scene.devices().item("device"));
    let linked = AtomicUsize::new(0);
    let link = |times| {
        for _ in 0..times {
            let refusals = [Errno::NOENT, Errno::EXIST, Errno::BUSY];
            if one_of(&errno(device.link("link", &image)), &refusals) {
                linked.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    race(
        300,
        &[
            &|| {
                one_of(&errno(scene.devices().make("device")), &[]);
                link(5);
                while !one_of(&errno(device.remove()), &[Errno::NOTEMPTY]) {
                    one_of(&errno(device.unlink("link")), &[Errno::NOENT]);
                }
            },
            &|| {
                one_of(&errno(scene.images().make("image")), &[Errno::EXIST]);
                thread::yield_now();
                one_of(&errno(image.remove()), &[Errno::BUSY]);
            },
            &|| link(1),
            &|| _ = one_of(&errno(device.unlink("link")), &[Errno::NOENT]),
        ],
    );
    println!("{linked:?} links");
    assert!(linked.into_inner() > 0, "there was never a link");
    // Nothing of it keeps the module.
    scene.clear();
    reload();
}

#[test]
fn devices_start_and_stop_while_they_come_and_go() {
    let scene = Scene::new();
    let image = scene.images().make("image").unwrap();
    let device = scene.devices().item("device");
    let running = device.attribute("running");
    let started = AtomicUsize::new(0);
    race(
        300,
        &[
            &|| {
                one_of(&errno(scene.devices().make("device")), &[]);
                one_of(&errno(device.link("link", &image)), &[]);
                thread::yield_now();
                one_of(&errno(device.unlink("link")), &[]);
                while !one_of(&errno(device.remove()), &[Errno::BUSY]) {
                    // Without an image it does not run, so not for long.
                    thread::yield_now();
                }
            },
            &|| {
                if one_of(&attribute_errno(running.set(1)), &[Errno::NOENT, Errno::NOLINK]) {
                    started.fetch_add(1, Ordering::Relaxed);
                }
            },
            &|| _ = one_of(&attribute_errno(running.text()), &[Errno::NOENT]),
        ],
    );
    assert!(started.into_inner() > 0, "it never ran");
}

// ---- Mounts and tools ---------------------------------------------------------------------------

/// configfs, mounted in a second place.
struct Second(Configfs);

impl Second {
    fn new() -> Self {
        tools::shell("mkdir -p /tmp/second && mount -t configfs none /tmp/second").success();
        Self(Configfs::at("/tmp/second"))
    }

    fn simple(&self) -> Item {
        self.0.subsystem("02-simple-children").unwrap()
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        tools::shell("umount /tmp/second && rmdir /tmp/second").success();
    }
}

#[test]
fn two_mounts_show_one_tree() {
    let scene = Scene::new();
    let second = Second::new();
    assert_eq!(second.0.subsystems().unwrap(), scene.configfs.subsystems().unwrap());
    let item = second.simple().make("item").unwrap();
    item.attribute("storeme").set(5).unwrap();
    let here = scene.simple().item("item");
    assert_eq!(here.attribute("storeme").text().unwrap(), "5");
    here.remove().unwrap();
    assert!(!item.exists());

    let device = scene.devices().make("device").unwrap();
    scene.images().make("image").unwrap();
    let image = second.0.subsystem("04-linked-children").unwrap().item("images/image");
    device.link("link", &image).unwrap();
    assert_eq!(errno(image.remove()), Err(Errno::BUSY));
}

#[test]
fn a_read_only_mount_lets_nobody_change_anything() {
    let scene = Scene::new();
    let second = Second::new();
    let (_, device) = scene.linked_pair();
    scene.simple().make("item").unwrap();
    let free = scene.devices().make("free").unwrap();
    tools::shell("mount -o remount,bind,ro /tmp/second").success();

    let there = |item: &Item| {
        let path = item.path().strip_prefix(scene.configfs.place()).unwrap();
        Item::at(second.0.place().join(path))
    };
    let mut table = Refusals::new();
    for parent in [scene.simple(), scene.group(), scene.images(), scene.devices()] {
        table.case("mkdir", Errno::ROFS, errno(there(&parent).make("more")));
    }
    let item = second.simple().item("item");
    table.case("rmdir", Errno::ROFS, errno(item.remove()));
    table.case("write", Errno::ROFS, attribute_errno(item.attribute("storeme").set(5)));
    table.case("link", Errno::ROFS, errno(there(&free).link("x", &scene.images().item("image"))));
    table.case("unlink", Errno::ROFS, errno(there(&device).unlink("link")));
    let contents = second.0.place().join("04-linked-children/images/image/contents");
    table.case("write contents", Errno::ROFS, open(&contents, OFlags::WRONLY));
    table.case("chmod", Errno::ROFS, rustix::fs::chmod(item.path(), Mode::RWXU));
    let text = item.remove().unwrap_err().to_string();
    assert!(text.ends_with("configfs is mounted read-only: remount it"), "{text}");
    table.finish();

    assert_eq!(item.attribute("storeme").text().unwrap(), "0", "it can be read");
    scene.simple().item("item").attribute("storeme").set(5).unwrap();
    assert_eq!(item.attribute("storeme").text().unwrap(), "5", "and is changed elsewhere");
}

#[test]
fn ordinary_tools_are_enough() {
    let scene = Scene::new();
    let session = "set -e; cd /sys/kernel/config
        mkdir 02-simple-children/one 03-group-children/two 03-group-children/two/three
        echo 5 > 02-simple-children/one/storeme
        echo -n -7 > 03-group-children/two/three/storeme
        cat 02-simple-children/one/storeme 03-group-children/two/three/storeme
        ls 02-simple-children/one 03-group-children/two
        rmdir 03-group-children/two/three 03-group-children/two 02-simple-children/one
        cd 04-linked-children
        mkdir images/logo devices/screen
        head -c 60000 /dev/zero | tr '\\0' x > images/logo/contents
        wc -c < images/logo/contents; cat images/logo/size
        ln -s $PWD/images/logo devices/screen/picture
        readlink -f devices/screen/picture
        echo 1 > devices/screen/running
        cat devices/screen/statistics/starts
        rm devices/screen/picture
        cat devices/screen/running
        rmdir images/logo devices/screen
        ls images devices";
    assert_eq!(
        tools::shell(session).success(),
        "5\n-7\n\
         02-simple-children/one:\nstoreme\n\n03-group-children/two:\ndescription\nthree\n\
         60000\n60000\n/sys/kernel/config/04-linked-children/images/logo\n1\n0\n\
         devices:\n\nimages:\n"
    );
    drop(scene);
}

#[test]
fn ordinary_tools_say_what_was_refused() {
    let scene = Scene::new();
    let (_image, device) = scene.linked_pair();
    device.attribute("running").set(1).unwrap();
    scene.group().make("group").unwrap().make("item").unwrap();
    let mut table = Refusals::new();
    for (line, refusal) in [
        ("mkdir 01-childless/x", Errno::PERM),
        ("rmdir 03-group-children/group", Errno::NOTEMPTY),
        ("rmdir 04-linked-children/images", Errno::PERM),
        ("rmdir 04-linked-children/images/image", Errno::BUSY),
        ("rm -r 03-group-children/group/item", Errno::PERM),
        ("ln -s /tmp 04-linked-children/devices/device/x", Errno::PERM),
        ("echo x > 01-childless/storeme", Errno::INVAL),
        ("echo 99999999999 > 01-childless/storeme", Errno::RANGE),
        ("echo 5 > 01-childless/showme", Errno::ACCESS),
        (
            "dd status=none if=/dev/zero bs=70000 count=1 of=04-linked-children/images/image/contents",
            Errno::FBIG,
        ),
    ] {
        let answer = tools::shell(&format!("cd /sys/kernel/config; {line}")).answer();
        table.case(line, refusal, answer);
    }
    let unprivileged = |line: &str| Tool::shell(line).user(65534, 65534).run().answer();
    let (mkdir, echo) = ("mkdir 02-simple-children/x", "echo 5 > 01-childless/storeme");
    for line in [mkdir, echo] {
        let answer = unprivileged(&format!("cd /sys/kernel/config; {line}"));
        table.case(line, Errno::ACCESS, answer);
    }
    table.finish();
}

// ---- Without memory -----------------------------------------------------------------------------

/// Lets `call` fail wherever it can; what it did where it succeeded is undone.
fn fail<T>(call: impl Fn() -> rustix::io::Result<T>, undo: impl Fn(T)) {
    let places = at_each_place(call, |place, result| match result {
        Ok(value) => undo(value),
        Err(errno) => assert!([Errno::NOMEM, Errno::FAULT].contains(&errno), "place {place}: {errno:?}"),
    });
    assert_ne!(places, Some(0), "there was nothing to fail");
}

#[test]
fn any_allocation_may_fail() {
    let scene = Scene::new();
    let name = "a name that configfs has to allocate";
    for parent in [scene.simple(), scene.group(), scene.images(), scene.devices()] {
        fail(|| errno(parent.make(name)), |item| item.remove().unwrap());
        assert_eq!(parent.list().unwrap().items, Vec::<String>::new());
    }
    let (_image, device) = scene.linked_pair();
    let other = scene.devices().make("other").unwrap();
    let image = device.item("link");
    fail(|| errno(other.link("link", &image)), |()| other.unlink("link").unwrap());
    let running = device.attribute("running");
    fail(|| attribute_errno(running.set(1)), |()| running.set(0).unwrap());
    fail(|| attribute_errno(running.text()), |text| assert_eq!(text, "0"));
}

#[test]
fn loading_may_fail_half_way() {
    let scene = Scene::new();
    module::unload(MODULE).unwrap();
    let done = AtomicBool::new(false);
    let mut loads = Vec::new();
    let places = thread::scope(|scope| {
        // Meanwhile somebody tries to be first.
        scope.spawn(|| {
            let simple = Item::at(scene.configfs.place().join("02-simple-children"));
            let storeme = scene.configfs.place().join("01-childless/storeme");
            let mut held = None;
            while !done.load(Ordering::Relaxed) {
                if let Ok(item) = simple.make("item") {
                    item.remove().unwrap();
                }
                held = open(&storeme, OFlags::RDWR).or(held.ok_or(Errno::NOENT)).ok();
                if let Some(fd) = &held {
                    one_of(&rustix::io::write(fd, b"5"), &[Errno::NOENT]);
                }
            }
        });
        let places = at_last_places(
            40,
            || module::load(MODULE_FILE, "").map_err(|error| error.errno()),
            |_, loaded| {
                while loaded.is_ok() && module::unload(MODULE).is_err() {}
                loads.push(loaded);
            },
        );
        done.store(true, Ordering::Relaxed);
        places
    });
    module::load(MODULE_FILE, "").unwrap();
    let failures: Vec<_> = loads.into_iter().filter_map(Result::err).collect();
    println!("{} loads failed", failures.len());
    for errno in &failures {
        assert!([Some(Errno::NOMEM), Some(Errno::FAULT)].contains(errno), "{errno:?}");
    }
    assert!(places.is_none() || !failures.is_empty(), "loading never failed");
}

// ---- Loading and unloading ----------------------------------------------------------------------

// new: begin
#[test]
fn an_item_keeps_the_module_loaded() {
    let scene = Scene::new();
    let parents = [
        scene.simple(),
        // new: end
        scene.group(),
        scene.images(),
        scene.devices(),
        // new: begin
    ];
    for parent in parents {
        let item = parent.make("item").unwrap();
        let refused = module::unload(MODULE).map_err(|error| error.errno());
        assert_eq!(refused, Err(Some(Errno::AGAIN)), "{}", item.path().display());
        let file = item.list().unwrap().attributes[0].clone();
        let open = item.attribute(&file).open(OFlags::RDONLY).unwrap();
        item.remove().unwrap();
        // Its open file does not.
        reload();
        assert_eq!(attribute_errno(open.read()), Err(Errno::NOENT));
    }
}

// new: end
#[test]
fn an_open_file_does_not_keep_the_module_and_outlives_it() {
    let scene = Scene::new();
    let childless = scene.childless();
    let showme = open(&childless.path().join("showme"), OFlags::RDONLY).unwrap();
    let storeme = open(&childless.path().join("storeme"), OFlags::RDWR).unwrap();
    let been_read = open(&childless.path().join("description"), OFlags::RDONLY).unwrap();
    let directory = open(childless.path(), OFlags::DIRECTORY | OFlags::RDONLY).unwrap();
    let mut contents = childless.attribute("description").read().unwrap();
    assert_eq!(read(&been_read, 4).unwrap(), b"[01-");
    contents.drain(..4);

    module::unload(MODULE).unwrap();
    let exists = childless.exists();
    let gone = |what: &str| {
        let mut table = Refusals::new();
        table.case(&format!("{what}: read"), Errno::NOENT, read(&showme, 9));
        table.case(&format!("{what}: pread"), Errno::NOENT, pread(&storeme, 0));
        table.case(&format!("{what}: write"), Errno::NOENT, rustix::io::write(&storeme, b"5"));
        let path = format!("/proc/self/fd/{}", storeme.as_raw_fd());
        table.case(&format!("{what}: open"), Errno::NOENT, open(Path::new(&path), OFlags::RDWR));
        let mkdir = rustix::fs::mkdirat(&directory, "x", Mode::RWXU);
        table.case(&format!("{what}: mkdir"), Errno::NOENT, mkdir);
        let openat = rustix::fs::openat(&directory, "showme", OFlags::RDONLY, Mode::empty());
        table.case(&format!("{what}: openat"), Errno::NOENT, openat);
        table.finish();
    };
    gone("unloaded");
    module::load(MODULE_FILE, "").unwrap();
    gone("loaded again");
    assert!(!exists, "the subsystem was gone");
    assert_eq!(read(&been_read, 4096).unwrap(), contents, "what it read first, it has");
    assert_eq!(rustix::fs::fstat(&showme).unwrap().st_nlink, 0);
    drop((showme, storeme, been_read, directory));
    childless.attribute("storeme").set(5).unwrap();
}

#[test]
fn loading_twice_is_refused_and_harmless() {
    let scene = Scene::new();
    let item = scene.simple().make("item").unwrap();
    let refused = module::load(MODULE_FILE, "").map_err(|error| error.errno());
    assert_eq!(refused, Err(Some(Errno::EXIST)));
    item.attribute("storeme").set(5).unwrap();
}

fn used<T: Debug>(result: &rustix::io::Result<T>, refusals: &[Errno]) -> Use {
    if one_of(result, refusals) { Use::Reached } else { Use::Missed }
}

/// Unloads the module and loads it again while two threads do what `user` does. It keeps its file in
/// the place that it is given.
fn unload_while(user: impl Fn(&mut Option<OwnedFd>) -> Use + Sync) -> Cycles {
    let places = [const { Mutex::new(None) }; 2];
    let users = places.each_ref().map(|place| {
        let user = &user;
        move || {
            // Gives way, or who unloads the module would hardly get to it.
            thread::sleep(Duration::from_micros(100));
            user(&mut place.lock().unwrap())
        }
    });
    let [one, two] = users.each_ref().map(|user| user as &(dyn Fn() -> Use + Sync));
    unload::while_used(MODULE, MODULE_FILE, LIMIT, &[one, two])
}

/// Unloads the module while `call` is made on a file that is open until the module is gone.
fn unload_while_open(
    file: &str,
    call: impl Fn(&OwnedFd) -> rustix::io::Result<usize> + Sync,
) {
    let scene = Scene::new();
    let path = scene.configfs.place().join(file);
    let cycles = unload_while(|held| {
        if held.is_none() {
            match open(&path, OFlags::RDWR) {
                Ok(fd) => *held = Some(fd),
                refused => return used(&refused, &[Errno::NOENT]),
            }
        }
        let answer = call(held.as_ref().unwrap());
        if answer.is_err() {
            *held = None;
        }
        used(&answer, &[Errno::NOENT])
    });
    assert_eq!(cycles.refused, 0, "an open file does not keep the module");
}

#[test]
fn the_module_is_unloaded_while_an_open_file_is_read() {
    unload_while_open("01-childless/storeme", |fd| {
        // After a write, a read asks the module again.
        let _ = rustix::io::write(fd, b"7");
        let text = pread(fd, 0)?;
        assert_eq!(text, b"7\n");
        Ok(text.len())
    });
}

#[test]
fn the_module_is_unloaded_while_an_open_file_is_written() {
    unload_while_open("01-childless/storeme", |fd| rustix::io::write(fd, b"7"));
}

#[test]
fn the_module_is_unloaded_while_files_are_opened() {
    let scene = Scene::new();
    let showme = Attribute::at(scene.configfs.place().join("01-childless/showme"));
    unload_while(|_| used(&attribute_errno(showme.get::<i32>()), &[Errno::NOENT]));
}

#[test]
fn the_module_is_unloaded_while_directories_are_listed() {
    let scene = Scene::new();
    let devices = Item::at(scene.configfs.place().join("04-linked-children/devices"));
    unload_while(|_| {
        used(&errno(devices.list()), &[Errno::NOENT]);
        // Nothing can be linked here; but to find out, symlink(2) looks around first.
        let linked = errno(devices.link("x", &devices));
        assert!([Err(Errno::NOENT), Err(Errno::PERM)].contains(&linked), "{linked:?}");
        if linked == Err(Errno::PERM) { Use::Reached } else { Use::Missed }
    });
}

/// EINVAL is what configfs says while the module is on its way out, ENXIO what the module says while it
/// is on its way in.
const NOT_MADE: [Errno; 4] = [Errno::NOENT, Errno::INVAL, Errno::NXIO, Errno::EXIST];

#[test]
fn the_module_is_unloaded_while_items_come_and_go() {
    let scene = Scene::new();
    let simple = Item::at(scene.configfs.place().join("02-simple-children"));
    unload_while(|_| {
        let made = errno(simple.make("item"));
        if let Ok(item) = &made {
            item.attribute("storeme").set(5).unwrap();
            item.remove().unwrap();
        }
        used(&made, &NOT_MADE)
    });
}

#[test]
fn the_module_is_unloaded_while_links_come_and_go() {
    let scene = Scene::new();
    let linked = Item::at(scene.configfs.place().join("04-linked-children"));
    unload_while(|_| {
        let image = errno(linked.item("images").make("image"));
        if let Ok(image) = &image {
            let device = linked.item("devices").make("device").unwrap();
            image.binary_attribute("contents").write(b"x").unwrap();
            device.link("link", image).unwrap();
            device.attribute("running").set(1).unwrap();
            device.unlink("link").unwrap();
            device.remove().unwrap();
            image.remove().unwrap();
        }
        used(&image, &NOT_MADE)
    });
}
