// SPDX-License-Identifier: GPL-2.0

//! The kernel side of the debugfs gate: the HOWTO's two files, and one of every other kind.
//!
//! The HOWTO's `myfile` is made by one line. Its `mydirectory/myfile` has file operations of its own. The
//! rest is in `callgate_debugfs`: a file of each one-line type and a list of what they hold, which all
//! come and go by command.

// new: begin
#![deny(unsafe_code)]

pub mod abi;

use abi::MESSAGE_LIMIT;
use callgate_kernel::{
    debugfs::{
        Blob, Dir, File, Files, Hex, Scope, ScopedDir, Sequence, Str, U32Array, ULong, Value, U16,
        U8,
    },
    file::{self, FileOperations},
    seq_file,
};
use kernel::{
    ffi::c_ulong,
    fs::{File as OpenFile, Kiocb, LocalFile},
    iov::{IovIterDest, IovIterSource},
    new_mutex, new_poll_condvar,
    prelude::*,
    seq_file::{seq_print, SeqFile},
    sync::{
        atomic::{ordering::Relaxed, Atomic},
        poll::{PollCondVar, PollTable},
        Arc, ArcBorrow, Mutex,
    },
};

// new: end
module! {
    type: DebugfsModule,
    name: "callgate_debugfs",
    authors: ["callgate"],
    description: "debugfs: one-line files, own file operations and lists",
    license: "GPL",
}

// new: begin
struct DebugfsModule {
    // new: end
    _myfile: Value<Atomic<U8>>,
    _message: File<MessageFile>,
    // new: begin
    _control: File<ControlFile>,
}

impl kernel::Module for DebugfsModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let root = Dir::root();
        // new: end
        let mydirectory = root.subdir(abi::DIRECTORY);
        // new: begin
        let gate = root.subdir(abi::GATE);
        Ok(Self {
            // new: end
            _myfile: Value::new(&root, abi::FILE, abi::MODE, Atomic::new(U8(0)))?,
            _message: File::new(&mydirectory, abi::FILE, abi::MODE, Message::new()?),
            // new: begin
            _control: File::new(&gate, abi::CONTROL, 0o200, Control::new(&gate)?),
        })
    }
}

// A message.

#[pin_data]
struct Message {
    #[pin]
    text: Mutex<Text>,
    #[pin]
    changed: PollCondVar,
}

/// `bytes` up to `len`.
#[derive(Clone, Copy)]
struct Text {
    bytes: [u8; MESSAGE_LIMIT],
    len: usize,
}

impl Message {
    fn new() -> Result<Arc<Self>> {
        let text = Text {
            bytes: [0; MESSAGE_LIMIT],
            len: 0,
        };
        Arc::pin_init(
            pin_init!(Self {
                text <- new_mutex!(text),
                changed <- new_poll_condvar!(),
            }),
            GFP_KERNEL,
        )
    }
}

struct MessageFile;

#[vtable]
impl FileOperations for MessageFile {
    type Shared = Message;
    type Ptr = Arc<Message>;

    fn open(message: ArcBorrow<'_, Message>, _file: &OpenFile) -> Result<Arc<Message>> {
        Ok(message.into())
    }

    fn read_iter(mut kiocb: Kiocb<'_, Arc<Message>>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        // Copied first, so that the lock is not held while user memory is written.
        let text = *kiocb.file().text.lock();
        file::read_from_buffer(iov, kiocb.ki_pos_mut(), &text.bytes[..text.len])
    }

    /// Keeps what is before the file position, and replaces the rest.
    fn write_iter(
        mut kiocb: Kiocb<'_, Arc<Message>>,
        iov: &mut IovIterSource<'_>,
    ) -> Result<usize> {
        let len = iov.len();
        if len == 0 {
            return Ok(0);
        }
        if len > MESSAGE_LIMIT {
            return Err(EINVAL);
        }
        let mut bytes = [0; MESSAGE_LIMIT];
        // All of it, or the old message stays.
        file::copy_whole(iov, &mut bytes[..len])?;
        let message = kiocb.file();
        let mut text = message.text.lock();
        let start = if file::is_appending(&kiocb) {
            text.len
        } else {
            usize::try_from(kiocb.ki_pos()).map_err(|_| EINVAL)?
        };
        if start > text.len || len > MESSAGE_LIMIT - start {
            return Err(EINVAL);
        }
        text.len = start + len;
        text.bytes[start..start + len].copy_from_slice(&bytes[..len]);
        drop(text);
        message.changed.notify_all();
        *kiocb.ki_pos_mut() = (start + len) as i64;
        Ok(len)
    }

    fn llseek(
        message: ArcBorrow<'_, Message>,
        file: &LocalFile,
        offset: i64,
        whence: i32,
    ) -> Result<i64> {
        let len = message.text.lock().len;
        file::fixed_size_llseek(file, offset, whence, len as i64)
    }

    /// There is something to read from the first message on, and always room for another.
    fn poll(message: ArcBorrow<'_, Message>, file: &OpenFile, table: PollTable<'_>) -> u32 {
        // First registered, then looked: a change in between is not missed.
        table.register_wait(file, &message.changed);
        let mut ready = file::EPOLLOUT | file::EPOLLWRNORM;
        if message.text.lock().len > 0 {
            ready |= file::EPOLLIN | file::EPOLLRDNORM;
        }
        ready
    }
}

// Values that have a file each.

struct Values {
    size_t: Atomic<usize>,
    x32: Atomic<Hex<u32>>,
    atomic_t: Atomic<i32>,
    // new: end
    u8: Atomic<U8>,
    u16: Atomic<U16>,
    u32: Atomic<u32>,
    u64: Atomic<u64>,
    x8: Atomic<Hex<u8>>,
    x16: Atomic<Hex<u16>>,
    x64: Atomic<Hex<u64>>,
    ulong: Atomic<ULong>,
    xul: Atomic<Hex<c_ulong>>,
    bool: Atomic<bool>,
    str: Str,
    blob: Blob,
    u32_array: U32Array,
    // new: begin
}

impl Values {
    fn new() -> Result<Self> {
        Ok(Self {
            size_t: Atomic::new(0),
            x32: Atomic::new(Hex(0)),
            atomic_t: Atomic::new(0),
            // new: end
            u8: Atomic::new(U8(0)),
            u16: Atomic::new(U16(0)),
            u32: Atomic::new(0),
            u64: Atomic::new(0),
            x8: Atomic::new(Hex(0)),
            x16: Atomic::new(Hex(0)),
            x64: Atomic::new(Hex(0)),
            ulong: Atomic::new(ULong(0)),
            xul: Atomic::new(Hex(0)),
            bool: Atomic::new(false),
            str: Str::new(abi::STR)?,
            blob: Blob::new(&abi::BLOB)?,
            u32_array: U32Array::new(&abi::U32_ARRAY)?,
            // new: begin
        })
    }
    // new: end

    /// What C reads while this runs is the number before or after.
    fn count(&self) {
        self.u64.fetch_add(1, Relaxed);
        for number in &*self.u32_array {
            number.fetch_add(1, Relaxed);
        }
    }
    // new: begin
}

#[vtable]
impl Files for Values {
    fn create<'a>(&'a self, dir: &ScopedDir<'a>) {
        dir.value("size_t", abi::MODE, &self.size_t);
        dir.value("x32", abi::MODE, &self.x32);
        dir.value("atomic_t", abi::MODE, &self.atomic_t);
        // new: end
        dir.value("u8", abi::MODE, &self.u8);
        dir.value("u16", abi::MODE, &self.u16);
        dir.value("u32", abi::MODE, &self.u32);
        dir.value("u64", abi::MODE, &self.u64);
        dir.value("x8", abi::MODE, &self.x8);
        dir.value("x16", abi::MODE, &self.x16);
        dir.value("x64", abi::MODE, &self.x64);
        dir.value("ulong", abi::MODE, &self.ulong);
        dir.value("xul", abi::MODE, &self.xul);
        dir.value("bool", abi::MODE, &self.bool);
        dir.value("str", 0o444, &self.str);
        dir.value("blob", abi::MODE, &self.blob);
        dir.value("u32_array", 0o444, &self.u32_array);
        // new: begin
    }
}

// new: end
// A list of what is in the blob, as Rust sees it.

#[vtable]
impl seq_file::Sequence for Values {
    type Guard<'a> = &'a Self;
    /// From the byte that is shown to the end.
    type Cursor<'g> = &'g [Atomic<U8>];

    fn lock(&self) -> &Self {
        self
    }

    fn start<'g>(values: &'g mut Self::Guard<'_>, pos: u64) -> Option<Self::Cursor<'g>> {
        let bytes = values.blob.get(usize::try_from(pos).ok()?..)?;
        (!bytes.is_empty()).then_some(bytes)
    }

    fn next(bytes: Self::Cursor<'_>) -> Option<Self::Cursor<'_>> {
        bytes.get(1..).filter(|rest| !rest.is_empty())
    }

    fn pos(bytes: &Self::Cursor<'_>) -> u64 {
        (abi::BLOB.len() - bytes.len()) as u64
    }

    fn show(bytes: &Self::Cursor<'_>, m: &SeqFile) -> Result {
        seq_print!(m, "{:#04x}\n", bytes[0].load(Relaxed).0);
        Ok(())
    }
}

// What makes and removes them.

// new: begin
struct Tree {
    values: Scope<Values>,
    _message: File<MessageFile>,
    // new: end
    _bytes: Sequence<Values>,
    _ten_digits: Value<U32Array>,
    // new: begin
}

impl Tree {
    fn new(dir: &Dir) -> Result<Self> {
        let values = Arc::new(Values::new()?, GFP_KERNEL)?;
        Ok(Self {
            // new: end
            _bytes: Sequence::new(dir, abi::BYTES, 0o444, values.clone()),
            // new: begin
            values: Scope::new(dir, abi::VALUES, values),
            _message: File::new(dir, abi::MESSAGE, abi::MODE, Message::new()?),
            // new: end
            _ten_digits: Value::new(dir, abi::TEN_DIGITS, 0o444, U32Array::new(&[u32::MAX; 2])?)?,
            // new: begin
        })
    }
}

// new: end
#[pin_data]
struct Control {
    // Another directory than that of the file whose callback makes and removes what is in it.
    dir: Dir,
    #[pin]
    tree: Mutex<Option<Tree>>,
}

impl Control {
    fn new(gate: &Dir) -> Result<Arc<Self>> {
        let dir = gate.subdir(abi::TREE);
        let tree = Tree::new(&dir)?;
        Arc::pin_init(
            pin_init!(Self {
                dir,
                tree <- new_mutex!(Some(tree)),
            }),
            GFP_KERNEL,
        )
    }

    fn obey(&self, command: &[u8]) -> Result {
        let mut tree = self.tree.lock();
        match core::str::from_utf8(command).map_err(|_| EINVAL)? {
            abi::MAKE if tree.is_some() => return Err(EEXIST),
            abi::MAKE => *tree = Some(Tree::new(&self.dir)?),
            // Waits for whoever is inside one of its files.
            abi::REMOVE => drop(tree.take().ok_or(ENOENT)?),
            abi::COUNT => tree.as_ref().ok_or(ENOENT)?.values.count(),
            abi::AGAIN => make_what_is_there()?,
            _ => return Err(EINVAL),
        }
        Ok(())
    }
}

/// The names are taken, so nothing appears; and nothing goes when what was made is dropped.
fn make_what_is_there() -> Result {
    let root = Dir::root();
    drop(Value::new(&root, abi::FILE, abi::MODE, Atomic::new(U8(1)))?);
    let mydirectory = root.subdir(abi::DIRECTORY);
    drop(File::<MessageFile>::new(
        &mydirectory,
        "new",
        abi::MODE,
        Message::new()?,
    ));
    Ok(())
}

struct ControlFile;

#[vtable]
impl FileOperations for ControlFile {
    type Shared = Control;
    type Ptr = Arc<Control>;

    fn open(control: ArcBorrow<'_, Control>, _file: &OpenFile) -> Result<Arc<Control>> {
        Ok(control.into())
    }

    fn write_iter(kiocb: Kiocb<'_, Arc<Control>>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        let mut bytes = [0; 16];
        let len = iov.len();
        let bytes = bytes.get_mut(..len).ok_or(EINVAL)?;
        file::copy_whole(iov, bytes)?;
        kiocb
            .file()
            .obey(bytes.strip_suffix(b"\n").unwrap_or(bytes))?;
        Ok(len)
    }
}
