// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a user of `/sys/fs/myfs` can rely on, tried through its files.
//!
//! These run in the lab's VM as root, each in a process of its own, with the module loaded.

// new: begin
use std::ffi::CStr;
use std::fs;
use std::io::{IoSlice, IoSliceMut};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use callgate::Errno;
use callgate::attribute::{Attribute, Error, Open};
use callgate::ioctl::{Buffer, Target};
use callgate::kmsg::Log;
use callgate::module;
use callgate::sysfs::{self, Binary, Object, OpenBinary};
use callgate::testing::Refusals;
use callgate::testing::inspect::Call;
use callgate::testing::memory::{self, Guarded, Hole};
use callgate::testing::numbers::{NO_NUMBERS, NUMBERS};
use callgate::testing::tools::{self, Tool, shell};
use callgate::testing::unload::{self, Use};
use callgate::testing::worker::{Watchdog, Worker, as_nobody};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, SeekFrom, XattrFlags};
use rustix::io;

use super::abi::{self, BLOB_SIZE, NOTE_LIMIT};

/// Every wait ends here at the latest; it is generous, because an emulated debug kernel is slow.
const LIMIT: Duration = Duration::from_secs(30);

/// A test that takes longer than this has lost its way.
const TOO_LONG: Duration = Duration::from_secs(160);

/// How long to watch for what must not happen.
const MOMENT: Duration = Duration::from_millis(30);

const MODULE: &str = "callgate_sysfs";
const MODULE_FILE: &str = "/modules/callgate_sysfs.ko";

/// The size of a page, which is what the kernel takes of a write, and says of a file of text.
const PAGE: usize = 4096;

// new: end
// ---- Help ---------------------------------------------------------------------------------------

// new: begin
fn text(name: &CStr) -> &str {
    name.to_str().unwrap()
}

/// The directory, with every value that can be set as it was when the module was loaded.
struct MyFs(Object, #[expect(dead_code, reason = "only to be dropped")] Watchdog);

impl MyFs {
    fn new() -> Self {
        let myfs = Self::as_it_is();
        myfs.first().set(1).unwrap();
        myfs.second().set(2).unwrap();
        myfs.note().write(b"\n").unwrap();
        // new: end
        myfs.mode().set(text(abi::EXPERT)).unwrap();
        myfs.level().set(0).unwrap();
        myfs.mode().set(abi::SIMPLE).unwrap();
        myfs.open_blob().write_at(0, &[0; BLOB_SIZE]).unwrap();
        // new: begin
        myfs
    }

    fn as_it_is() -> Self {
        Self(directory().unwrap(), Watchdog::new(TOO_LONG))
    }

    fn first(&self) -> Attribute {
        self.0.attribute(text(abi::FIRST))
    }

    fn second(&self) -> Attribute {
        self.0.attribute(text(abi::SECOND))
    }

    fn note(&self) -> Attribute {
        self.0.attribute(text(abi::NOTE))
    }
    // new: end

    fn changes(&self) -> Attribute {
        self.0.attribute(text(abi::CHANGES))
    }

    fn mode(&self) -> Attribute {
        self.0.attribute(text(abi::MODE))
    }

    fn level(&self) -> Attribute {
        self.0.attribute(format!("{}/{}", text(abi::EXPERT), text(abi::LEVEL)))
    }

    fn blob(&self) -> Binary {
        self.0.binary(text(abi::BLOB))
    }

    fn open_blob(&self) -> OpenBinary {
        self.blob().open(OFlags::RDWR).unwrap()
    }

    /// The path of a file in the directory.
    fn path(&self, name: &CStr) -> String {
        format!("{}/{}", self.0.path().display(), text(name))
    }
    // new: begin
}

fn directory() -> Result<Object, sysfs::Error> {
    Object::find(format!("fs/{}", text(abi::DIRECTORY)))
}

fn open(attribute: &Attribute) -> Open {
    attribute.open(OFlags::RDWR).unwrap()
}

/// Unloads the module and loads it again: everything it holds is new.
fn reload() {
    module::unload(MODULE).unwrap();
    module::load(MODULE_FILE, "").unwrap();
}

// new: end
/// One read(2) of up to `len` bytes, at the file position.
fn read(open: &Open, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    let len = io::read(open, &mut bytes)?;
    bytes.truncate(len);
    Ok(bytes)
}

// new: begin
/// The errno with which something was refused; what was not refused is the mistake.
fn refusal<T>(result: Result<T, Error>) -> Result<T, Errno> {
    result.map_err(|error| error.errno().unwrap())
}

// new: end
/// `len` bytes in which no short stretch comes twice soon.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| u8::try_from((n * 7 + n / 251) % 251).unwrap()).collect()
}

// ---- The HOWTO's numbers ------------------------------------------------------------------------

#[test]
fn the_files_are_there_with_their_modes() {
    let myfs = MyFs::new();
    assert_eq!(myfs.0.path().to_str(), Some("/sys/fs/myfs"));
    let directory = fs::metadata("/sys/fs/myfs").unwrap();
    assert_eq!((directory.mode(), directory.uid(), directory.gid()), (0o40755, 0, 0));
    for (name, mode, size) in [
        (abi::FIRST, 0o644, PAGE),
        (abi::SECOND, 0o644, PAGE),
        (abi::CHANGES, 0o444, PAGE),
        (abi::NOTE, 0o644, PAGE),
        (abi::MODE, 0o644, PAGE),
        (abi::BLOB, 0o644, BLOB_SIZE),
    ] {
        let file = fs::metadata(myfs.path(name)).unwrap();
        assert_eq!(file.mode(), 0o100_000 | mode, "{name:?}");
        assert_eq!((file.uid(), file.gid()), (0, 0), "{name:?}");
        assert_eq!(file.len(), size as u64, "{name:?}");
    }
    assert_eq!(
        myfs.0.attributes().unwrap(),
        ["blob", "changes", "first", "mode", "note", "second"]
    );
    assert_eq!((myfs.0.objects().unwrap(), myfs.0.links().unwrap()), (vec![], vec![]));
}

// new: begin
#[test]
fn what_was_just_loaded_has_its_first_values() {
    reload();
    let myfs = MyFs::as_it_is();
    for (attribute, value) in [
        (myfs.first(), "1\n"),
        (myfs.second(), "2\n"),
        (myfs.note(), "\n"),
        // new: end
        (myfs.changes(), "0\n"),
        (myfs.mode(), "simple\n"),
        // new: begin
    ] {
        assert_eq!(attribute.read().unwrap(), value.as_bytes(), "{attribute:?}");
    }
    // new: end
    assert_eq!(myfs.blob().read().unwrap(), [0; BLOB_SIZE]);
    myfs.mode().set("expert").unwrap();
    assert_eq!(myfs.level().read().unwrap(), b"0\n");
    // new: begin
}

#[test]
fn a_number_is_written_in_any_form_and_read_in_one() {
    let myfs = MyFs::new();
    for attribute in [myfs.first(), myfs.second()] {
        for (written, value) in NUMBERS {
            // Should the last one stay, it shows.
            attribute.set(424_242).unwrap();
            attribute.write(written).unwrap();
            let shown = format!("{value}\n");
            let written = written.escape_ascii();
            assert_eq!(attribute.read().unwrap(), shown.as_bytes(), "{written}");
            assert_eq!(attribute.get::<i32>().unwrap(), value, "{written}");
        }
    }
}

#[test]
fn what_is_no_number_leaves_the_old_one() {
    let myfs = MyFs::new();
    let mut table = Refusals::new();
    for attribute in [myfs.first(), myfs.second()] {
        attribute.set(-77).unwrap();
        for (written, errno) in NO_NUMBERS {
            let what = format!("write {}", written.escape_ascii());
            table.case(&what, errno, refusal(attribute.write(written)));
            assert_eq!(attribute.read().unwrap(), b"-77\n", "{what}");
        }
        for number in [i64::from(i32::MAX) + 1, i64::from(i32::MIN) - 1, i64::MAX, i64::MIN] {
            table.case(&format!("write {number}"), Errno::RANGE, refusal(attribute.set(number)));
            table.case(&format!("write {number:#x}"), Errno::RANGE, {
                refusal(attribute.set(format!("{number:#x}")))
            });
        }
        for number in [1 << 63, u64::MAX] {
            table.case(&format!("write {number}"), Errno::RANGE, refusal(attribute.set(number)));
        }
        for len in [11, 100, PAGE - 1, PAGE] {
            let digits = vec![b'9'; len];
            table.case(&format!("write {len} digits"), Errno::RANGE, {
                refusal(attribute.write(&digits))
            });
        }
        // The kernel cuts it to a page, and that is no number either.
        table.case("write 5000 digits", Errno::RANGE, refusal(attribute.write(&[b'9'; 5000])));
        assert_eq!(attribute.read().unwrap(), b"-77\n");
    }
    table.finish();
}

// new: end
#[test]
fn each_file_has_a_value_of_its_own() {
    let myfs = MyFs::new();
    myfs.first().set(10).unwrap();
    assert_eq!(myfs.second().text().unwrap(), "2");
    myfs.second().set(20).unwrap();
    assert_eq!(myfs.first().text().unwrap(), "10");
}

#[test]
fn all_of_a_write_is_taken_whatever_its_length() {
    let myfs = MyFs::new();
    let first = open(&myfs.first());
    // The HOWTO's store said 4 of every one of these.
    for written in [&b"1"[..], b"12", b"123", b"1234", b"12345\n", b"-123456789\n"] {
        assert_eq!(io::pwrite(&first, written, 0), Ok(written.len()));
        assert_eq!(io::pwrite(&first, written, 0), Ok(written.len()), "again");
    }
    assert_eq!(first.get::<i32>().unwrap(), -123_456_789);
    assert_eq!(io::write(&first, b""), Ok(0));
    assert_eq!(first.get::<i32>().unwrap(), -123_456_789, "nothing is no value");
}

// new: begin
#[test]
fn every_write_is_a_whole_value_wherever_the_position_is() {
    let myfs = MyFs::new();
    let first = open(&myfs.first());
    assert_eq!(io::write(&first, b"12"), Ok(2));
    assert_eq!(io::write(&first, b"34"), Ok(2));
    assert_eq!(myfs.first().text().unwrap(), "34", "not 1234");
    for offset in [0, 1, 4095, 4096, 1 << 40] {
        assert_eq!(io::pwrite(&first, b"56", offset), Ok(2), "at {offset}");
        assert_eq!(myfs.first().text().unwrap(), "56");
        myfs.first().set(0).unwrap();
    }
    let appending = myfs.first().open(OFlags::WRONLY | OFlags::APPEND).unwrap();
    assert_eq!(io::write(&appending, b"7"), Ok(1));
    assert_eq!(io::write(&appending, b"8"), Ok(1));
    assert_eq!(myfs.first().text().unwrap(), "8");
}

// new: end
#[test]
fn the_buffers_of_one_writev_are_one_value() {
    let myfs = MyFs::new();
    let first = open(&myfs.first());
    let vector = [&b"-1"[..], b"", b"23", b"\n"].map(IoSlice::new);
    assert_eq!(io::writev(&first, &vector), Ok(5));
    assert_eq!(myfs.first().text().unwrap(), "-123");
    let (mut head, mut tail) = ([0; 2], [0; 9]);
    let mut vector = [&mut head[..], &mut tail[..]].map(IoSliceMut::new);
    assert_eq!(io::preadv(&first, &mut vector, 0), Ok(5));
    assert_eq!((&head, &tail[..3]), (b"-1", &b"23\n"[..]));
}

#[test]
fn a_value_read_in_parts_is_that_of_the_first_part() {
    let myfs = MyFs::new();
    myfs.first().set(123_456).unwrap();
    let first = myfs.first().open(OFlags::RDONLY).unwrap();
    assert_eq!(read(&first, 3).unwrap(), b"123");
    myfs.first().set(-9).unwrap();
    assert_eq!(read(&first, 1).unwrap(), b"4");
    assert_eq!(read(&first, 99).unwrap(), b"56\n");
    assert_eq!(read(&first, 99).unwrap(), b"");
    // From the start it is that of this moment.
    assert_eq!(rustix::fs::seek(&first, SeekFrom::Start(0)), Ok(0));
    assert_eq!(read(&first, 99).unwrap(), b"-9\n");
    assert_eq!(first.read().unwrap(), b"-9\n");
}

#[test]
fn a_value_is_read_from_any_position() {
    let myfs = MyFs::new();
    myfs.first().set(123_456).unwrap();
    let first = open(&myfs.first());
    for (offset, expected) in [(0, &b"123456\n"[..]), (2, b"3456\n"), (6, b"\n"), (7, b"")] {
        let mut bytes = [0; 99];
        let len = io::pread(&first, &mut bytes, offset).unwrap();
        assert_eq!(&bytes[..len], expected, "at {offset}");
    }
    assert_eq!(rustix::fs::seek(&first, SeekFrom::Start(4)), Ok(4));
    assert_eq!(read(&first, 99).unwrap(), b"56\n");
    assert_eq!(rustix::fs::seek(&first, SeekFrom::Current(-2)), Ok(5));
    assert_eq!(read(&first, 1).unwrap(), b"6");
    // The end is where stat(2) says, which is not where the value ends.
    assert_eq!(rustix::fs::seek(&first, SeekFrom::End(0)), Ok(PAGE as u64));
    assert_eq!(read(&first, 99).unwrap(), b"");
}

#[test]
fn a_redirection_of_the_shell_does_not_empty_the_file_first() {
    let myfs = MyFs::new();
    let first = myfs.first().open(OFlags::WRONLY | OFlags::TRUNC | OFlags::CREATE).unwrap();
    assert_eq!(myfs.first().text().unwrap(), "1");
    assert_eq!(rustix::fs::ftruncate(&first, 0), Ok(()), "it is accepted, and does nothing");
    assert_eq!(myfs.first().text().unwrap(), "1");
    assert_eq!(fs::metadata(myfs.path(abi::FIRST)).unwrap().len(), PAGE as u64);
}

#[test]
fn readers_see_whole_values_while_writers_replace_them() {
    let myfs = MyFs::new();
    myfs.first().set(1).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let first = myfs.first().open(OFlags::RDONLY).unwrap();
                    let mut seen = 0_u32;
                    while !done.load(Ordering::Relaxed) || seen == 0 {
                        let value = first.read().unwrap();
                        let known = [&b"1\n"[..], b"-2147483648\n", b"4711\n"];
                        assert!(known.contains(&&value[..]), "{}", value.escape_ascii());
                        seen += 1;
                    }
                })
            })
            .collect();
        let writers: Vec<_> = [i32::MIN, 4711]
            .map(|value| {
                let first = open(&myfs.first());
                scope.spawn(move || {
                    for _ in 0..300 {
                        first.write(value.to_string().as_bytes()).unwrap();
                    }
                })
            })
            .into();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

// new: begin
#[test]
fn anybody_reads_and_only_root_writes() {
    let myfs = MyFs::new();
    let first = myfs.first();
    let (read, write, both) = as_nobody(move || {
        let both = first.open(OFlags::RDWR).map(drop);
        (first.text(), first.set(5), both)
    });
    assert_eq!(read.unwrap(), "1");
    assert_eq!(refusal(write), Err(Errno::ACCESS));
    assert_eq!(refusal(both), Err(Errno::ACCESS));
    // new: end
    let blob = myfs.blob();
    let (bytes, write_bytes) = as_nobody(move || {
        let write_bytes = blob.open(OFlags::WRONLY).map(drop);
        (blob.read(), write_bytes.map_err(|e| e.errno()))
    });
    assert_eq!(bytes.unwrap().len(), BLOB_SIZE);
    assert_eq!(write_bytes, Err(Some(Errno::ACCESS)));
    // What has no store is not even root's to write.
    assert_eq!(refusal(myfs.changes().set(5)), Err(Errno::ACCESS));
    // new: begin
    // A descriptor passes on what its opener may.
    let opened = open(&myfs.first());
    assert_eq!(as_nobody(move || opened.write(b"5").map_err(drop)), Ok(()));
    assert_eq!(myfs.first().text().unwrap(), "5");
}

// new: end
#[test]
fn the_mode_of_a_file_can_be_changed_until_the_module_goes() {
    let myfs = MyFs::new();
    let path = myfs.path(abi::FIRST);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let first = myfs.first();
    assert_eq!(refusal(as_nobody(move || first.read())), Err(Errno::ACCESS));
    reload();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
}

// ---- Waiting for a change -----------------------------------------------------------------------

// new: begin
/// A thread that waits for the next change, and then tells what it reads.
fn waiter(attribute: &Attribute) -> Worker<Result<Vec<u8>, Errno>> {
    let open = attribute.open(OFlags::RDONLY).unwrap();
    open.read().unwrap();
    let waiter = Worker::spawn(move || {
        assert!(open.wait_for_change(LIMIT).unwrap(), "nothing has changed");
        refusal(open.read())
    });
    waiter.wait_until_asleep_in(Call::Poll, LIMIT);
    waiter
}

// new: end
#[test]
fn a_waiter_sees_each_change() {
    let myfs = MyFs::new();
    for attribute in [myfs.first(), myfs.second(), myfs.note()] {
        let (tell, told) = mpsc::channel();
        let open = attribute.open(OFlags::RDONLY).unwrap();
        open.read().unwrap();
        let waiter = Worker::spawn(move || {
            loop {
                assert!(open.wait_for_change(LIMIT).unwrap(), "nothing has changed");
                let value = open.get::<i32>().unwrap();
                tell.send(value).unwrap();
                if value == 0 {
                    return;
                }
            }
        });
        for value in (0..20).rev() {
            waiter.wait_until_asleep_in(Call::Poll, LIMIT);
            attribute.set(value).unwrap();
            assert_eq!(told.recv_timeout(LIMIT), Ok(value), "{attribute:?}");
        }
        waiter.finish(LIMIT);
    }
}

// new: begin
#[test]
fn no_change_is_missed_between_reading_and_waiting() {
    let myfs = MyFs::new();
    let first = myfs.first().open(OFlags::RDONLY).unwrap();
    assert!(first.wait_for_change(Duration::ZERO).unwrap(), "it has not been read yet");
    first.read().unwrap();
    assert!(!first.wait_for_change(Duration::ZERO).unwrap());
    for value in [3, 3, 4] {
        myfs.first().set(value).unwrap();
        for _ in 0..2 {
            assert!(first.wait_for_change(Duration::ZERO).unwrap(), "until it is read");
        }
        assert_eq!(first.get::<i32>().unwrap(), value);
        assert!(!first.wait_for_change(Duration::ZERO).unwrap());
    }
}

#[test]
fn a_waiter_sleeps_on_while_something_else_changes() {
    let myfs = MyFs::new();
    let waiter = waiter(&myfs.first());
    myfs.second().set(5).unwrap();
    myfs.note().set("a note").unwrap();
    assert_eq!(refusal(myfs.first().set("nothing")), Err(Errno::INVAL));
    assert!(!waiter.ends_within(MOMENT));
    myfs.first().set(5).unwrap();
    assert_eq!(waiter.finish(LIMIT), Ok(b"5\n".to_vec()));
}

// new: end
#[test]
fn all_who_wait_are_woken() {
    let myfs = MyFs::new();
    let waiters: Vec<_> = (0..4).map(|_| waiter(&myfs.first())).collect();
    myfs.first().set(99).unwrap();
    for waiter in waiters {
        assert_eq!(waiter.finish(LIMIT), Ok(b"99\n".to_vec()));
    }
}

#[test]
fn the_count_wakes_with_every_change() {
    let myfs = MyFs::new();
    let before: u64 = myfs.changes().get().unwrap();
    let mut expected = before;
    for attribute in [myfs.first(), myfs.second(), myfs.note()] {
        let waiter = waiter(&myfs.changes());
        attribute.set(7).unwrap();
        expected += 1;
        assert_eq!(waiter.finish(LIMIT), Ok(format!("{expected}\n").into_bytes()));
    }
    for refused in ["x", ""] {
        assert!(myfs.first().set(refused).is_err());
    }
    myfs.first().write(b"").unwrap();
    assert_eq!(myfs.changes().get::<u64>().unwrap(), expected, "nothing was taken");
}

#[test]
fn poll_says_readable_and_writable_always_and_priority_and_error_for_a_change() {
    let myfs = MyFs::new();
    let first = open(&myfs.first());
    let poll = || {
        let all = PollFlags::IN | PollFlags::OUT | PollFlags::PRI;
        let mut fds = [PollFd::new(&first, all)];
        rustix::event::poll(&mut fds, Some(&Timespec::default())).unwrap();
        fds[0].revents()
    };
    first.read().unwrap();
    assert_eq!(poll(), PollFlags::IN | PollFlags::OUT);
    myfs.first().set(3).unwrap();
    assert_eq!(poll(), PollFlags::IN | PollFlags::OUT | PollFlags::PRI | PollFlags::ERR);
}

#[test]
fn epoll_wakes_too() {
    let myfs = MyFs::new();
    let first = myfs.first().open(OFlags::RDONLY).unwrap();
    first.read().unwrap();
    let instance = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    epoll::add(&instance, &first, EventData::new_u64(7), EventFlags::PRI).unwrap();
    let waiter = Worker::spawn(move || {
        let mut events = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }];
        let limit = Timespec::try_from(LIMIT).unwrap();
        let count = epoll::wait(&instance, &mut events[..], Some(&limit)).unwrap();
        (count, events[0].data.u64(), events[0].flags)
    });
    waiter.wait_until_asleep_in(Call::EpollWait, LIMIT);
    myfs.first().set(3).unwrap();
    assert_eq!(waiter.finish(LIMIT), (1, 7, EventFlags::PRI | EventFlags::ERR));
    assert_eq!(first.get::<i32>().unwrap(), 3);
}

// ---- A note -------------------------------------------------------------------------------------

// new: begin
#[test]
fn a_note_is_kept_to_the_letter() {
    let myfs = MyFs::new();
    for (written, shown) in [
        (&b"hello"[..], &b"hello\n"[..]),
        (b"hello\n", b"hello\n"),
        (b"hello\n\n", b"hello\n\n"),
        (b"  both ends \t\n", b"  both ends \t\n"),
        (b"two\nlines\n", b"two\nlines\n"),
        (b"a\0b\0\n", b"a\0b\0\n"),
        (b"\0", b"\0\n"),
        (b"gr\xc3\xbc\xc3\x9fe \xff\xfe\n", b"gr\xc3\xbc\xc3\x9fe \xff\xfe\n"),
        (b"%s%n%p\n", b"%s%n%p\n"),
        (b"\n", b"\n"),
    ] {
        myfs.note().write(written).unwrap();
        assert_eq!(myfs.note().read().unwrap(), shown, "{}", written.escape_ascii());
    }
}

// new: end
#[test]
fn a_note_fills_all_that_a_file_of_text_can_show() {
    let myfs = MyFs::new();
    for len in [0, 1, 100, 2047, 4000, NOTE_LIMIT - 2, NOTE_LIMIT - 1] {
        let mut note: Vec<_> = pattern(len).into_iter().map(|byte| b'a' + byte % 26).collect();
        myfs.note().write(&[&note[..], b"\n"].concat()).unwrap();
        note.push(b'\n');
        assert_eq!(myfs.note().read().unwrap(), note, "{len} bytes");
        // Without the newline as well, unless that were nothing at all.
        if len > 0 {
            myfs.note().write(&note[..len]).unwrap();
            assert_eq!(myfs.note().read().unwrap(), note, "{len} bytes");
        }
    }
    let longest = myfs.note().read().unwrap();
    assert_eq!(longest.len(), PAGE - 1);
    // In parts of any size it is the same.
    let note = myfs.note().open(OFlags::RDONLY).unwrap();
    for size in [1, 7, 1024, PAGE - 1] {
        rustix::fs::seek(&note, SeekFrom::Start(0)).unwrap();
        let mut parts = Vec::new();
        loop {
            let part = read(&note, size).unwrap();
            if part.is_empty() {
                break;
            }
            parts.extend(part);
        }
        assert_eq!(parts, longest, "in parts of {size}");
    }
}

// new: begin
#[test]
fn a_note_that_is_too_long_changes_nothing() {
    let myfs = MyFs::new();
    myfs.note().set("the old note").unwrap();
    let mut table = Refusals::new();
    // 5000 bytes would be cut, and half a note is none.
    for len in [NOTE_LIMIT, PAGE, PAGE + 1, 5000, 1 << 20] {
        table.case(&format!("write {len} bytes"), Errno::INVAL, {
            refusal(myfs.note().write(&vec![b'x'; len]))
        });
        assert_eq!(myfs.note().text().unwrap(), "the old note", "{len} bytes");
    }
    let mut note = vec![b'x'; NOTE_LIMIT];
    note.push(b'\n');
    table.case("write 4095 bytes and a newline", Errno::INVAL, refusal(myfs.note().write(&note)));
    table.finish();
    assert_eq!(myfs.note().text().unwrap(), "the old note");
}

// new: end
#[test]
fn the_kernel_takes_a_page_of_a_write_and_says_so() {
    let myfs = MyFs::new();
    // A page of zeroes and a number: what is cut off is not seen.
    let mut written = vec![b'0'; PAGE];
    written.extend(b"123");
    let refused = myfs.first().write(&written);
    assert!(
        matches!(refused, Err(Error::Short { taken: PAGE, len: 4099, .. })),
        "the client notices: {refused:?}"
    );
    assert_eq!(myfs.first().text().unwrap(), "0");
    assert_eq!(io::write(open(&myfs.first()), &written), Ok(PAGE));
}

// ---- A choice, and files that come and go -------------------------------------------------------

#[test]
fn a_choice_is_one_of_its_words() {
    let myfs = MyFs::new();
    for (written, shown) in [
        (&b"expert"[..], &b"expert\n"[..]),
        (b"simple", b"simple\n"),
        (b"expert\n", b"expert\n"),
        (b"simple\n", b"simple\n"),
    ] {
        myfs.mode().write(written).unwrap();
        assert_eq!(myfs.mode().read().unwrap(), shown);
    }
}

#[test]
fn the_directory_is_there_for_the_expert_only() {
    let myfs = MyFs::new();
    for _ in 0..3 {
        assert_eq!(myfs.0.objects().unwrap(), Vec::<String>::new());
        assert_eq!(refusal(myfs.level().read()), Err(Errno::NOENT));
        myfs.mode().set("expert").unwrap();
        myfs.mode().set("expert").unwrap();
        assert_eq!(myfs.0.objects().unwrap(), ["expert"]);
        let expert = myfs.0.get("expert").unwrap().unwrap();
        assert_eq!(expert.attributes().unwrap(), ["level"]);
        let file = fs::metadata("/sys/fs/myfs/expert/level").unwrap();
        assert_eq!((file.mode(), file.uid()), (0o100_644, 0));
        assert_eq!(myfs.level().text().unwrap(), "0");
        myfs.mode().set("simple").unwrap();
        myfs.mode().set("simple").unwrap();
    }
}

#[test]
fn a_value_outlives_its_file() {
    let myfs = MyFs::new();
    myfs.mode().set("expert").unwrap();
    for (written, value) in [("255", 255), ("0xff", 255), ("0", 0), ("+17\n", 17), ("010", 8)] {
        myfs.level().write(written.as_bytes()).unwrap();
        assert_eq!(myfs.level().get::<u8>().unwrap(), value);
    }
    myfs.mode().set("simple").unwrap();
    myfs.mode().set("expert").unwrap();
    assert_eq!(myfs.level().get::<u8>().unwrap(), 8);
}

#[test]
fn a_file_that_went_while_it_was_open_is_gone() {
    let myfs = MyFs::new();
    myfs.mode().set("expert").unwrap();
    let level = open(&myfs.level());
    let waiter = waiter(&myfs.level());
    myfs.mode().set("simple").unwrap();
    assert_eq!(waiter.finish(LIMIT), Err(Errno::NODEV), "who waits is woken");
    assert_eq!(refusal(level.read()), Err(Errno::NODEV));
    assert_eq!(refusal(level.write(b"1")), Err(Errno::NODEV));
    // The new file is another one.
    myfs.mode().set("expert").unwrap();
    assert_eq!(refusal(level.read()), Err(Errno::NODEV));
    assert_eq!(myfs.level().text().unwrap(), "0");
}

#[test]
fn files_come_and_go_while_they_are_used() {
    let myfs = MyFs::new();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    match refusal(myfs.level().open(OFlags::RDWR)) {
                        Ok(level) => {
                            while refusal(level.read()) != Err(Errno::NODEV) {
                                let written = refusal(level.write(b"7"));
                                assert!(matches!(written, Ok(()) | Err(Errno::NODEV)));
                            }
                        }
                        Err(errno) => assert!(matches!(errno, Errno::NOENT | Errno::NODEV)),
                    }
                }
            });
        }
        let togglers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for round in 0..100 {
                        let mode = if round % 2 == 0 { "expert" } else { abi::SIMPLE };
                        myfs.mode().set(mode).unwrap();
                    }
                })
            })
            .collect();
        for toggler in togglers {
            toggler.join().unwrap();
        }
        // Or a reader with the file open would never end.
        myfs.mode().set(abi::SIMPLE).unwrap();
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(myfs.0.objects().unwrap(), Vec::<String>::new());
}

// ---- Bytes --------------------------------------------------------------------------------------

#[test]
fn bytes_are_written_and_read_at_any_offset() {
    let myfs = MyFs::new();
    let mut expected = vec![0; BLOB_SIZE];
    let blob = myfs.open_blob();
    for (offset, len) in [
        (0, 1),
        (1, 10),
        (4090, 12),
        (4096, 1),
        (4095, 2),
        (4999, 1),
        (0, 4096),
        (100, 4096),
        (904, 4096),
    ] {
        let bytes = pattern(len + offset).split_off(offset);
        expected[offset..offset + len].copy_from_slice(&bytes);
        blob.write_at(offset as u64, &bytes).unwrap();
        let mut back = vec![0; len];
        assert_eq!(blob.read_at(offset as u64, &mut back).unwrap(), len);
        assert_eq!(back, bytes, "{len} at {offset}");
        assert_eq!(myfs.blob().read().unwrap(), expected, "{len} at {offset}");
    }
    let whole = pattern(BLOB_SIZE);
    blob.write_at(0, &whole).unwrap();
    assert_eq!(myfs.blob().read().unwrap(), whole);
    assert_eq!(myfs.blob().size().unwrap(), BLOB_SIZE as u64);
}

#[test]
fn one_call_moves_a_page_at_most() {
    let myfs = MyFs::new();
    let blob = myfs.open_blob();
    let bytes = pattern(BLOB_SIZE);
    assert_eq!(io::write(&blob, &bytes), Ok(PAGE));
    assert_eq!(io::write(&blob, &bytes[PAGE..]), Ok(BLOB_SIZE - PAGE), "the position moves");
    rustix::fs::seek(&blob, SeekFrom::Start(0)).unwrap();
    let mut back = [0; BLOB_SIZE];
    assert_eq!(io::read(&blob, &mut back), Ok(PAGE));
    assert_eq!(io::read(&blob, &mut back[PAGE..]), Ok(BLOB_SIZE - PAGE));
    assert_eq!(io::read(&blob, &mut [0]), Ok(0));
    assert_eq!(back[..], bytes);
}

#[test]
fn the_bytes_end_where_the_size_says() {
    let myfs = MyFs::new();
    let blob = myfs.open_blob();
    assert_eq!(io::pwrite(&blob, &[1; 20], BLOB_SIZE as u64 - 10), Ok(10), "as much as fits");
    assert_eq!(blob.read_at(BLOB_SIZE as u64 - 5, &mut [0; 20]).unwrap(), 5);
    for offset in [BLOB_SIZE as u64, BLOB_SIZE as u64 + 1, 1 << 40] {
        assert_eq!(blob.read_at(offset, &mut [0; 20]).unwrap(), 0, "at {offset}");
        assert_eq!(io::pwrite(&blob, b"x", offset), Err(Errno::FBIG), "at {offset}");
    }
    for (to, position) in [
        (SeekFrom::End(0), BLOB_SIZE as u64),
        (SeekFrom::End(-1), BLOB_SIZE as u64 - 1),
        (SeekFrom::End(7), BLOB_SIZE as u64 + 7),
        (SeekFrom::Start(1 << 40), 1 << 40),
    ] {
        assert_eq!(rustix::fs::seek(&blob, to), Ok(position));
    }
    let whole = myfs.blob().read().unwrap();
    assert_eq!(whole.len(), BLOB_SIZE);
    assert_eq!(whole[BLOB_SIZE - 10..], [1; 10]);
    let written = blob.write_at(BLOB_SIZE as u64 - 2, b"abcd").map_err(|error| error.errno());
    assert_eq!(written, Err(Some(Errno::FBIG)));
    assert_eq!(&myfs.blob().read().unwrap()[BLOB_SIZE - 2..], b"ab", "what came before is written");
}

#[test]
fn what_one_call_writes_is_seen_whole_or_not_at_all() {
    let myfs = MyFs::new();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let blob = myfs.open_blob();
            let mut seen = 0_u32;
            while !done.load(Ordering::Relaxed) || seen == 0 {
                let mut bytes = [0xff; 900];
                assert_eq!(blob.read_at(50, &mut bytes).unwrap(), 900);
                assert_eq!(bytes, [bytes[0]; 900]);
                seen += 1;
            }
        });
        let writers: Vec<_> = (1..=2_u8)
            .map(|value| {
                let blob = myfs.open_blob();
                scope.spawn(move || {
                    for _ in 0..300 {
                        blob.write_at(0, &[value; 1000]).unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
}

// ---- Memory that ends ---------------------------------------------------------------------------

#[test]
fn a_value_that_faults_leaves_the_old_one() {
    let myfs = MyFs::new();
    let first = open(&myfs.first());
    for mapped in [0, 1, 2, 3] {
        let digits = Guarded::holding(&vec![b'9'; mapped]).unwrap();
        assert_eq!(digits.write(&first, mapped + 1), Err(Errno::FAULT), "{mapped} bytes there");
        assert_eq!(myfs.first().text().unwrap(), "1");
    }
    let exact = Guarded::holding(b"-42").unwrap();
    assert_eq!(exact.write(&first, 3), Ok(3));
    assert_eq!(myfs.first().text().unwrap(), "-42");
}

#[test]
fn a_read_moves_no_byte_beyond_its_buffer() {
    let myfs = MyFs::new();
    myfs.first().set(123_456).unwrap();
    let mut exact = Guarded::new(7).unwrap();
    assert_eq!(exact.read(myfs.first().open(OFlags::RDONLY).unwrap(), 7), Ok(7));
    assert_eq!(exact.bytes(), b"123456\n");
    let mut longer = Guarded::new(7).unwrap();
    assert_eq!(longer.read(myfs.first().open(OFlags::RDONLY).unwrap(), 99), Ok(7));
    let mut short = Guarded::new(3).unwrap();
    let first = myfs.first().open(OFlags::RDONLY).unwrap();
    assert_eq!(short.read(&first, 3), Ok(3));
    assert_eq!(short.bytes(), b"123");
    let blob = myfs.open_blob();
    blob.write_at(0, b"123456").unwrap();
    let mut short = Guarded::new(3).unwrap();
    assert_eq!(short.read(&blob, 3), Ok(3));
    assert_eq!(short.bytes(), b"123");
}

#[test]
fn every_file_refuses_memory_that_is_not_there() {
    let myfs = MyFs::new();
    let (first, note, blob) = (open(&myfs.first()), open(&myfs.note()), myfs.open_blob());
    let mut table = Refusals::new();
    for hole in Hole::ALL {
        table.case(&format!("read first to {hole:?}"), Errno::FAULT, {
            hole.read(myfs.first().open(OFlags::RDONLY).unwrap(), 2)
        });
        table.case(&format!("read the note to {hole:?}"), Errno::FAULT, hole.read(&note, 1));
        table.case(&format!("read bytes to {hole:?}"), Errno::FAULT, hole.read(&blob, 100));
        if hole != Hole::ReadOnly {
            table.case(&format!("write first from {hole:?}"), Errno::FAULT, hole.write(&first, 1));
            table.case(&format!("write bytes from {hole:?}"), Errno::FAULT, hole.write(&blob, 9));
        }
    }
    table.finish();
    // Where there is nothing to move, it does not matter that nothing is there.
    assert_eq!(Hole::Unmapped.write(&first, 0), Ok(0));
    assert_eq!(Hole::Unmapped.read(&first, 0), Ok(0));
    assert_eq!(myfs.first().text().unwrap(), "1");
}

// ---- What is refused ----------------------------------------------------------------------------

#[test]
fn the_choice_and_the_level_refuse_bad_input() {
    let myfs = MyFs::new();
    myfs.mode().set("expert").unwrap();
    myfs.level().set(7).unwrap();
    let mut table = Refusals::new();
    for written in [
        &b"\n"[..],
        b" ",
        b"Expert",
        b"EXPERT",
        b"exper",
        b"experts",
        b"expert ",
        b" expert",
        b"expert\n\n",
        b"expert\0",
        b"\0expert",
        b"expert simple",
        b"0",
        b"1",
        b"-1",
        b"on",
        b"\xff",
    ] {
        let what = format!("choose {}", written.escape_ascii());
        table.case(&what, Errno::INVAL, refusal(myfs.mode().write(written)));
    }
    table.case("choose by 5000 bytes", Errno::INVAL, {
        refusal(myfs.mode().write(&[b"simple".as_slice(), &[b' '; 5000]].concat()))
    });
    for (written, errno) in [
        ("256", Errno::RANGE),
        ("0x100", Errno::RANGE),
        ("0400", Errno::RANGE),
        ("65536", Errno::RANGE),
        ("4294967296", Errno::RANGE),
        ("18446744073709551615", Errno::RANGE),
        ("18446744073709551616", Errno::RANGE),
        ("-1", Errno::INVAL),
        ("-0", Errno::INVAL),
        ("-256", Errno::INVAL),
        ("", Errno::INVAL),
        (" 7", Errno::INVAL),
        ("7 ", Errno::INVAL),
        ("7\0", Errno::INVAL),
        ("seven", Errno::INVAL),
        ("7.0", Errno::INVAL),
        ("0x", Errno::INVAL),
        ("9a", Errno::INVAL),
    ] {
        table.case(&format!("level {written:?}"), errno, refusal(myfs.level().set(written)));
    }
    table.finish();
    assert_eq!(
        (myfs.mode().text().unwrap(), myfs.level().text().unwrap()),
        ("expert".into(), "7".into())
    );
}

#[test]
fn the_directory_is_the_modules_alone() {
    let myfs = MyFs::new();
    let mut table = Refusals::new();
    let (first, new) = (myfs.path(abi::FIRST), "/sys/fs/myfs/new");
    let rw = Mode::from_raw_mode(0o644);
    let create = |flags| rustix::fs::open(new, OFlags::WRONLY | OFlags::CREATE | flags, rw);
    table.case("create a file", Errno::ACCESS, create(OFlags::empty()));
    table.case("create a file, exclusively", Errno::ACCESS, create(OFlags::EXCL));
    let again = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    table.case("create what is there", Errno::EXIST, rustix::fs::open(&first, again, rw));
    table.case("make a directory", Errno::PERM, rustix::fs::mkdir(new, rw));
    table.case("remove a file", Errno::PERM, rustix::fs::unlink(&first));
    table.case("remove the directory", Errno::PERM, rustix::fs::rmdir("/sys/fs/myfs"));
    table.case("rename a file", Errno::PERM, rustix::fs::rename(&first, new));
    table.case("rename the directory", Errno::PERM, {
        rustix::fs::rename("/sys/fs/myfs", "/sys/fs/yourfs")
    });
    table.case("link a file", Errno::PERM, rustix::fs::link(&first, new));
    table.case("make a symbolic link", Errno::PERM, rustix::fs::symlink(&first, new));
    let fifo = rustix::fs::FileType::Fifo;
    table.case("make a fifo", Errno::PERM, rustix::fs::mknodat(CWD, new, fifo, rw, 0));
    let unnamed = OFlags::WRONLY | OFlags::TMPFILE;
    table.case("open a file without a name", Errno::OPNOTSUPP, {
        rustix::fs::open("/sys/fs/myfs", unnamed, rw)
    });
    table.case("write to the directory", Errno::ISDIR, {
        rustix::fs::open("/sys/fs/myfs", OFlags::WRONLY, rw)
    });
    table.case("set an attribute of a user's", Errno::OPNOTSUPP, {
        rustix::fs::setxattr(&first, "user.x", b"1", XattrFlags::empty())
    });
    table.finish();
    assert_eq!(myfs.0.attributes().unwrap().len(), 6);
}

#[test]
fn a_file_refuses_what_it_is_not_for() {
    let myfs = MyFs::new();
    let mut table = Refusals::new();
    let open_as = |name, flags| rustix::fs::open(myfs.path(name), flags, Mode::empty());
    table.case("write the count", Errno::ACCESS, open_as(abi::CHANGES, OFlags::WRONLY));
    table.case("write and read the count", Errno::ACCESS, open_as(abi::CHANGES, OFlags::RDWR));
    table.case("truncate the count", Errno::ACCESS, {
        open_as(abi::CHANGES, OFlags::WRONLY | OFlags::TRUNC)
    });
    for name in [abi::FIRST, abi::BLOB] {
        table.case("open as a directory", Errno::NOTDIR, open_as(name, OFlags::DIRECTORY));
        table.case("open without the page cache", Errno::INVAL, open_as(name, OFlags::DIRECT));
        table.case("read a link", Errno::INVAL, rustix::fs::readlink(myfs.path(name), vec![]));
        table.case("run it", Errno::ACCESS, {
            rustix::fs::accessat(
                CWD,
                myfs.path(name),
                rustix::fs::Access::EXEC_OK,
                AtFlags::empty(),
            )
        });
        let reading = open_as(name, OFlags::RDONLY).unwrap();
        let writing = open_as(name, OFlags::WRONLY).unwrap();
        table.case("write, open for reading", Errno::BADF, io::write(&reading, b"1"));
        // seq_file takes positioned writes from a file that is not open for writing.
        table.case("pwrite, open for reading", Errno::SPIPE, io::pwrite(&reading, b"1", 0));
        table.case("read, open for writing", Errno::BADF, io::read(&writing, &mut [0]));
        table.case("pread, open for writing", Errno::BADF, io::pread(&writing, &mut [0], 0));
        table.case("map", Errno::NODEV, memory::try_map(&reading));
        table.case("seek before the start", Errno::INVAL, {
            rustix::fs::seek(&reading, SeekFrom::Current(-1))
        });
        table.case("seek beyond all", Errno::INVAL, {
            rustix::fs::seek(&reading, SeekFrom::Start(1 << 63))
        });
        for offset in [u64::MAX, 1 << 63] {
            table.case(
                "pread before the start",
                Errno::INVAL,
                io::pread(&reading, &mut [0], offset),
            );
            table.case("pwrite before the start", Errno::INVAL, io::pwrite(&writing, b"1", offset));
        }
        table.case("allocate", Errno::OPNOTSUPP, {
            rustix::fs::fallocate(&writing, rustix::fs::FallocateFlags::empty(), 0, 1)
        });
        for number in [0x4700, 0x5401, 0xffff_ffff] {
            let refusal = writing.issue(number, &mut Buffer::new(&[]));
            table.case(&format!("ioctl {number:#x}"), Errno::NOTTY, refusal);
        }
    }
    for offset in [BLOB_SIZE as u64, 1 << 40, i64::MAX.cast_unsigned() - 1] {
        let blob = myfs.open_blob();
        table.case("write bytes beyond the end", Errno::FBIG, io::pwrite(&blob, b"x", offset));
        table.case("write nothing beyond the end", Errno::FBIG, io::pwrite(&blob, b"", offset));
    }
    table.finish();
    assert_eq!(myfs.first().text().unwrap(), "1");
}

#[test]
fn a_read_only_mount_can_only_be_read() {
    let myfs = MyFs::new();
    shell("mkdir -p /tmp/sys && mount -t sysfs -o ro sysfs /tmp/sys").success();
    let there = Object::at("/tmp/sys/fs/myfs").unwrap();
    let first = there.attribute("first");
    let value = first.text();
    let written = refusal(first.set(5));
    let bytes = there.binary("blob").open(OFlags::RDWR).map(drop).map_err(|error| error.errno());
    let echoed = shell("echo 5 > /tmp/sys/fs/myfs/first").answer();
    shell("umount /tmp/sys && rmdir /tmp/sys").success();
    assert_eq!(value.unwrap(), "1");
    assert_eq!(written, Err(Errno::ROFS));
    assert_eq!(bytes, Err(Some(Errno::ROFS)));
    assert_eq!(echoed, Err(Errno::ROFS));
    assert_eq!(myfs.first().text().unwrap(), "1");
}

// ---- Ordinary tools -----------------------------------------------------------------------------

#[test]
fn cat_and_echo_are_all_it_takes() {
    let myfs = MyFs::new();
    let files = "cd /sys/fs/myfs && cat first second mode note";
    assert_eq!(shell(files).success(), "1\n2\nsimple\n\n");
    shell("cd /sys/fs/myfs && echo 12345 > first && echo -n 0x10 > second").success();
    shell("cd /sys/fs/myfs && echo a note > note && echo expert > mode").success();
    assert_eq!(shell(files).success(), "12345\n16\nexpert\na note\n");
    assert_eq!(shell("cat /sys/fs/myfs/expert/level").success(), "0\n");
    assert_eq!(shell("echo twelve > /sys/fs/myfs/first").answer(), Err(Errno::INVAL));
    assert_eq!(shell("echo 3000000000 > /sys/fs/myfs/first").answer(), Err(Errno::RANGE));
    assert_eq!(shell("echo 300 > /sys/fs/myfs/expert/level").answer(), Err(Errno::RANGE));
    assert_eq!(shell("echo 1 > /sys/fs/myfs/changes").answer(), Err(Errno::ACCESS));
    assert_eq!(myfs.first().text().unwrap(), "12345");
    let nobody = Tool::shell("cat /sys/fs/myfs/first").user(65534, 65534).run();
    assert_eq!(nobody.success(), "12345\n");
    let nobody = Tool::shell("echo 1 > /sys/fs/myfs/first").user(65534, 65534).run();
    assert_eq!(nobody.answer(), Err(Errno::ACCESS));
}

#[test]
fn ls_stat_find_tee_and_dd_see_ordinary_files() {
    let myfs = MyFs::new();
    let list = Tool::new("ls").args(["-1", "/sys/fs/myfs"]).run().success();
    assert_eq!(list, "blob\nchanges\nfirst\nmode\nnote\nsecond\n");
    let stat = Tool::new("stat").args(["-c", "%a %U %G %s", "/sys/fs/myfs/blob"]).run();
    assert_eq!(stat.success(), "644 root root 5000\n");
    let found = shell("find /sys/fs/myfs -type f -writable | sort").success();
    assert!(found.contains("/sys/fs/myfs/first\n"), "{found}");
    let tee = Tool::new("tee").arg("/sys/fs/myfs/second").stdin("77\n").run();
    assert_eq!(tee.success(), "77\n");
    assert_eq!(myfs.second().text().unwrap(), "77");
    shell("seq 1 100000 | head -c 5000 > /tmp/bytes && cat /tmp/bytes > /sys/fs/myfs/blob")
        .success();
    shell("cmp /tmp/bytes /sys/fs/myfs/blob").success();
    let dd = "dd if=/sys/fs/myfs/blob bs=10 skip=499 status=none | cmp - <(tail -c 10 /tmp/bytes)";
    shell(dd).success();
    shell("cp /sys/fs/myfs/blob /tmp/copy && cmp /tmp/copy /tmp/bytes && rm /tmp/copy").success();
    let more = shell("cat /tmp/bytes /tmp/bytes > /sys/fs/myfs/blob; rm /tmp/bytes");
    assert!(more.stderr.contains("File too large"), "{more}");
}

#[test]
fn modprobe_and_modinfo_know_the_module() {
    let tree = tools::module_tree();
    let about = Tool::new("modinfo").args(["-F", "description", MODULE]).run().success();
    assert_eq!(about, "sysfs: values of every kind in /sys/fs/myfs\n", "{}", tree.display());
    Tool::new("modprobe").args(["-r", MODULE]).run().success();
    let gone = directory().is_err();
    Tool::new("modprobe").arg(MODULE).run().success();
    assert!(gone);
    assert_eq!(shell("cat /sys/fs/myfs/first").success(), "1\n");
}

// ---- The kernel's own files ---------------------------------------------------------------------

#[test]
fn the_client_reads_what_others_show() {
    let kernel = Object::find("kernel").unwrap();
    let before: u64 = kernel.attribute("uevent_seqnum").get().unwrap();
    // Loading a module is told to udev.
    reload();
    let after: u64 = kernel.attribute("uevent_seqnum").get().unwrap();
    assert!(after > before, "{before} {after}");

    let cpus = Object::find("devices/system/cpu").unwrap();
    assert_eq!(cpus.attribute("online").text().unwrap(), "0-1");
    assert!(cpus.objects().unwrap().iter().any(|name| name == "cpu0"));
    let cpu = cpus.get("cpu0").unwrap().unwrap();
    assert_eq!(cpu.get("subsystem").unwrap().unwrap().path().to_str(), Some("/sys/bus/cpu"));
    assert_eq!(cpu.parent().unwrap(), cpus);

    let module = Object::find(format!("module/{MODULE}")).unwrap();
    assert_eq!(module.attribute("initstate").text().unwrap(), "live");
    assert_eq!(module.attribute("refcnt").get::<u32>().unwrap(), 0);
    let error = module.attribute("initstate").get::<u32>().unwrap_err();
    let path = format!("/sys/module/{MODULE}/initstate");
    assert_eq!(
        error.to_string(),
        format!("{path} holds \"live\", which is no u32: read it as text")
    );

    let notes = kernel.binary("notes");
    assert_eq!(notes.read().unwrap().len() as u64, notes.size().unwrap());
    assert!(matches!(Object::find("fs/nosuchfs"), Err(sysfs::Error::NoObject(_))));
}

#[test]
fn who_waits_for_what_never_says_so_waits_in_vain() {
    let online = Object::find("devices/system/cpu").unwrap().attribute("online");
    let open = online.open(OFlags::RDONLY).unwrap();
    open.read().unwrap();
    assert!(!open.wait_for_change(MOMENT).unwrap());
}

// ---- Loading and unloading ----------------------------------------------------------------------

#[test]
fn an_open_file_does_not_keep_the_module_and_is_gone_with_it() {
    let myfs = MyFs::new();
    myfs.mode().set("expert").unwrap();
    let files = [myfs.first(), myfs.note(), myfs.level()].map(|attribute| open(&attribute));
    let half_read = open(&myfs.second());
    assert_eq!(read(&half_read, 1).unwrap(), b"2");
    let blob = myfs.open_blob();
    let directory = rustix::fs::open("/sys/fs/myfs", OFlags::DIRECTORY, Mode::empty()).unwrap();
    module::unload(MODULE).unwrap();
    let mut table = Refusals::new();
    for loaded in [false, true] {
        if loaded {
            module::load(MODULE_FILE, "").unwrap();
        }
        for file in &files {
            table.case("read", Errno::NODEV, io::read(file, &mut [0; 9]));
            table.case("pread", Errno::NODEV, io::pread(file, &mut [0; 9], 0));
            table.case("write", Errno::NODEV, io::write(file, b"1"));
            table.case("seek", Errno::NODEV, rustix::fs::seek(file, SeekFrom::Start(0)));
            table.case("map", Errno::NODEV, memory::try_map(file));
            assert!(file.wait_for_change(Duration::ZERO).unwrap(), "poll says that it has gone");
        }
        table.case("read bytes", Errno::NODEV, io::pread(&blob, &mut [0; 9], 0));
        table.case("write bytes", Errno::NODEV, io::pwrite(&blob, b"1", 0));
        table.case("open in the directory", Errno::NOENT, {
            rustix::fs::openat(&directory, "first", OFlags::RDONLY, Mode::empty())
        });
    }
    // What the kernel has already is the reader's.
    assert_eq!(read(&half_read, 9).unwrap(), b"\n");
    assert_eq!(read(&half_read, 9), Err(Errno::NODEV));
    table.finish();
    assert_eq!(myfs.first().text().unwrap(), "1");
}

// new: begin
#[test]
fn who_waits_when_the_module_goes_is_woken() {
    let myfs = MyFs::new();
    // new: end
    myfs.mode().set("expert").unwrap();
    // new: begin
    let files = [
        myfs.first(),
        myfs.note(),
        // new: end
        myfs.changes(),
        myfs.level(),
        // new: begin
    ];
    let waiters: Vec<_> = files.iter().map(waiter).collect();
    module::unload(MODULE).unwrap();
    let ends: Vec<_> = waiters.into_iter().map(|waiter| waiter.finish(LIMIT)).collect();
    module::load(MODULE_FILE, "").unwrap();
    for end in ends {
        assert_eq!(end, Err(Errno::NODEV));
    }
}

// new: end
#[test]
fn unloading_takes_the_directory_away() {
    module::unload(MODULE).unwrap();
    let gone = directory();
    let again = module::unload(MODULE).map_err(|error| error.errno());
    module::load(MODULE_FILE, "").unwrap();
    assert!(matches!(gone, Err(sysfs::Error::NoObject(_))));
    assert_eq!(again, Err(Some(Errno::NOENT)));
    assert_eq!(MyFs::as_it_is().first().text().unwrap(), "1");
}

#[test]
fn loading_twice_is_refused_and_harmless() {
    let myfs = MyFs::new();
    myfs.first().set(5).unwrap();
    let refused = module::load(MODULE_FILE, "").map_err(|error| error.errno());
    assert_eq!(refused, Err(Some(Errno::EXIST)));
    assert_eq!(myfs.first().text().unwrap(), "5");
}

/// The kernel would log a stack trace, and say that memory is short.
#[test]
fn a_second_directory_of_the_same_name_is_refused_without_a_splat() {
    let myfs = MyFs::new();
    myfs.first().set(5).unwrap();
    // The same module, as far as the kernel can tell, is another one under another name.
    let mut bytes = fs::read(MODULE_FILE).unwrap();
    let name = MODULE.as_bytes();
    for at in 0..bytes.len() - name.len() {
        if bytes[at..].starts_with(name) {
            bytes[at + name.len() - 1] = b'z';
        }
    }
    fs::write("/tmp/other.ko", bytes).unwrap();
    let mut log = Log::from_now().unwrap();
    let refused = module::load("/tmp/other.ko", "").map_err(|error| error.errno());
    fs::remove_file("/tmp/other.ko").unwrap();
    if module::must_be_signed() {
        // It no longer is what was signed.
        assert_eq!(refused, Err(Some(Errno::KEYREJECTED)));
        return;
    }
    // The module's own EEXIST: the kernel keeps that for a module that is loaded twice.
    assert_eq!(refused, Err(Some(Errno::BUSY)));
    assert!(!log.wait_for("duplicate", MOMENT).unwrap());
    assert!(!module::is_loaded("callgate_sysfz").unwrap());
    assert_eq!(myfs.first().text().unwrap(), "5");
}

/// How often each of the eight tests below unloads the module: five times five, unless the machine is so
/// slow that this would take too long.
fn unload_while(users: &[&(dyn Fn() -> Use + Sync)]) {
    unload::while_used(MODULE, MODULE_FILE, LIMIT, users);
}

/// What came of a use. That the file is not there, or not any more, is all that may come between.
fn used(result: Result<(), Error>) -> Use {
    match refusal(result) {
        Ok(()) => Use::Reached,
        Err(Errno::NOENT | Errno::NODEV) => {
            // So that who loads the module gets to run.
            thread::sleep(Duration::from_millis(1));
            Use::Missed
        }
        Err(errno) => panic!("{errno}"),
    }
}

fn file(name: &str) -> Attribute {
    Attribute::at(format!("/sys/fs/myfs/{name}"))
}

/// Opens the file, and does this until it is gone, or for a while.
fn until_gone(name: &str, step: impl Fn(&Open) -> Result<(), Error>) -> Use {
    let done = file(name).open(OFlags::RDWR).and_then(|open| {
        for _ in 0..1000 {
            step(&open)?;
        }
        Ok(())
    });
    used(done);
    Use::Reached
}

#[test]
fn it_is_unloaded_while_files_are_open() {
    let kept = Mutex::new(Vec::new());
    unload_while(&[&|| {
        used(file("first").open(OFlags::RDWR).map(|open| {
            let mut kept = kept.lock().unwrap();
            if kept.len() > 100 {
                kept.clear();
            }
            kept.push(open);
        }))
    }]);
}

#[test]
fn it_is_unloaded_while_programs_wait() {
    unload_while(&[
        &|| {
            until_gone("first", |open| {
                open.read()?;
                open.wait_for_change(MOMENT).map(drop)
            })
        },
        &|| {
            thread::sleep(Duration::from_millis(1));
            used(file("first").set(7))
        },
    ]);
}

#[test]
fn it_is_unloaded_while_values_are_read() {
    unload_while(&[&|| used(file("first").read().map(drop)), &|| {
        used(file("note").read().map(drop))
    }]);
}

#[test]
fn it_is_unloaded_while_values_are_written() {
    unload_while(&[&|| used(file("first").set(7)), &|| used(file("note").set("note"))]);
}

#[test]
fn it_is_unloaded_while_files_come_and_go() {
    unload_while(&[
        &|| {
            let expert = used(file("mode").set("expert"));
            used(file("mode").set("simple"));
            expert
        },
        &|| used(file("expert/level").set(7)),
    ]);
}

#[test]
fn it_is_unloaded_while_bytes_are_read_and_written() {
    unload_while(&[&|| {
        let moved = Object::at("/sys/fs/myfs").and_then(|myfs| {
            let blob = myfs.binary("blob");
            blob.open(OFlags::WRONLY)?.write_at(100, &[7; 2 * PAGE - 4000])?;
            blob.read().map(drop)
        });
        match moved {
            Ok(()) => Use::Reached,
            Err(sysfs::Error::Attribute(error)) => used(Err(error)),
            Err(_) => Use::Missed,
        }
    }]);
}

#[test]
fn it_is_unloaded_from_inside_loops_of_reading() {
    unload_while(&[&|| until_gone("first", |open| open.read().map(drop)), &|| {
        until_gone("note", |open| open.read().map(drop))
    }]);
}

#[test]
fn it_is_unloaded_from_inside_loops_of_both() {
    unload_while(&[
        &|| {
            until_gone("first", |open| {
                open.write(b"7")?;
                assert_eq!(open.read()?, b"7\n");
                Ok(())
            })
        },
        &|| {
            until_gone("note", |open| {
                open.write(&[b'n'; NOTE_LIMIT - 1])?;
                assert_eq!(open.read()?.len(), NOTE_LIMIT);
                Ok(())
            })
        },
    ]);
}
