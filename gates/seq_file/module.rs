// SPDX-License-Identifier: GPL-2.0

//! The kernel side of the seq_file gate: numbers without end, and a list that changes while it is read.
//!
//! The HOWTO's `/proc/sequence` counts. `/proc/sequence_list` lists records in the order of their
//! numbers; `/proc/sequence_control` adds and removes them.

// new: begin
#![deny(unsafe_code)]

pub mod abi;

use callgate_kernel::{
    file::{self, FileOperations},
    proc_fs::{self, Dir},
    seq_file::{Escaped, Sequence},
};
use core::num::IntErrorKind::PosOverflow;
use kernel::{
    fs::{File, Kiocb},
    iov::IovIterSource,
    new_mutex,
    prelude::*,
    rbtree::{CursorMut, RBTree, RBTreeNode},
    seq_file::{seq_print, SeqFile},
    sync::{
        lock::{mutex::MutexBackend, Guard},
        Arc, ArcBorrow, Mutex,
    },
};

// new: end
module! {
    type: SeqFileModule,
    name: "callgate_seq_file",
    authors: ["callgate"],
    description: "seq_file: numbers without end, and a list that changes while it is read",
    license: "GPL",
}

// new: begin
struct SeqFileModule {
    // new: end
    _sequence: proc_fs::Sequence<Numbers>,
    // new: begin
    _list: proc_fs::Sequence<List>,
    _control: proc_fs::File<Control>,
}

impl kernel::Module for SeqFileModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let (proc, list) = (Dir::root(), List::new()?);
        Ok(Self {
            // new: end
            _sequence: {
                let numbers = Arc::new(Numbers, GFP_KERNEL)?;
                proc_fs::Sequence::new(&proc, abi::SEQUENCE, 0o444, numbers)?
            },
            // new: begin
            _list: proc_fs::Sequence::new(&proc, abi::LIST, 0o444, list.clone())?,
            _control: proc_fs::File::new(&proc, abi::CONTROL, 0o200, list)?,
        })
    }
}

// new: end
/// All numbers.
struct Numbers;

#[vtable]
impl Sequence for Numbers {
    type Guard<'a> = ();
    type Cursor<'g> = u64;

    fn lock(&self) {}

    fn start((): &mut (), pos: u64) -> Option<u64> {
        Some(pos)
    }

    fn next(number: Self::Cursor<'_>) -> Option<Self::Cursor<'_>> {
        Some(number + 1)
    }

    fn pos(number: &u64) -> u64 {
        *number
    }

    fn show(number: &u64, m: &SeqFile) -> Result {
        seq_print!(m, "{number}\n");
        Ok(())
    }
}

// new: begin
/// The records: a text for each number.
type Records = RBTree<u64, KVVec<u8>>;

#[pin_data]
struct List {
    #[pin]
    records: Mutex<Records>,
}

impl List {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                records <- new_mutex!(RBTree::new()),
            }),
            GFP_KERNEL,
        )
    }

    fn add(&self, number: u64, text: &[u8]) -> Result {
        let mut copy = KVVec::new();
        copy.extend_from_slice(text, GFP_KERNEL)?;
        let node = RBTreeNode::new(number, copy, GFP_KERNEL)?;
        let mut records = self.records.lock();
        if records.get(&number).is_some() {
            return Err(EEXIST);
        }
        records.insert(node);
        Ok(())
    }

    fn remove(&self, number: u64) -> Result {
        let removed = self.records.lock().remove(&number);
        removed.map(drop).ok_or(ENOENT)
    }

    /// Carries out one line.
    fn command(&self, line: &[u8]) -> Result {
        let mut words = line.splitn(3, |byte| *byte == b' ');
        match [words.next(), words.next(), words.next()] {
            [Some(b"add"), Some(number), text] => {
                self.add(parse(number)?, text.unwrap_or_default())
            }
            [Some(b"remove"), Some(number), None] => self.remove(parse(number)?),
            _ => Err(EINVAL),
        }
    }
}

/// A number is decimal, and less than `u64::MAX`, which is no position.
fn parse(number: &[u8]) -> Result<u64> {
    let number = core::str::from_utf8(number).map_err(|_| EINVAL)?;
    match number.parse() {
        Ok(u64::MAX) => Err(ERANGE),
        Ok(number) => Ok(number),
        Err(err) if *err.kind() == PosOverflow => Err(ERANGE),
        Err(_) => Err(EINVAL),
    }
}

#[vtable]
impl Sequence for List {
    type Guard<'a> = Guard<'a, Records, MutexBackend>;
    type Cursor<'g> = CursorMut<'g, u64, KVVec<u8>>;

    fn lock(&self) -> Self::Guard<'_> {
        self.records.lock()
    }

    fn start<'g>(records: &'g mut Self::Guard<'_>, pos: u64) -> Option<Self::Cursor<'g>> {
        records.cursor_lower_bound_mut(&pos)
    }

    fn next(cursor: Self::Cursor<'_>) -> Option<Self::Cursor<'_>> {
        cursor.move_next()
    }

    fn pos(cursor: &Self::Cursor<'_>) -> u64 {
        *cursor.current().0
    }

    fn show(cursor: &Self::Cursor<'_>, m: &SeqFile) -> Result {
        let (number, text) = cursor.current();
        seq_print!(m, "{number}\t{}\n", Escaped(text));
        Ok(())
    }
}

struct Control;

#[vtable]
impl FileOperations for Control {
    type Shared = List;
    type Ptr = Arc<List>;

    fn open(list: ArcBorrow<'_, List>, _file: &File) -> Result<Arc<List>> {
        Ok(list.into())
    }

    /// Carries out line after line, up to one that fails.
    fn write_iter(kiocb: Kiocb<'_, Arc<List>>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        let mut text = KVVec::from_elem(0, iov.len().min(abi::CONTROL_LIMIT), GFP_KERNEL)?;
        file::copy_whole(iov, &mut text)?;
        let mut done = 0;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let result = match line.strip_suffix(b"\n") {
                Some(line) => kiocb.file().command(line),
                // The last line may do without a newline, if this is all of it.
                None if iov.is_empty() => kiocb.file().command(line),
                None => Err(EINVAL),
            };
            match result {
                Ok(()) => done += line.len(),
                // What has been done is reported. The error comes up again when the rest is written.
                Err(_) if done > 0 => break,
                Err(err) => return Err(err),
            }
        }
        Ok(done)
    }
}
// new: end
