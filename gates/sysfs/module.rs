// SPDX-License-Identifier: GPL-2.0

//! The kernel side of the sysfs gate: `/sys/fs/myfs`, a directory of values.
//!
//! The HOWTO's `first` and `second` hold a number each. Beside them is what else a file in sysfs can be:
//! a text, a choice, a count that a program can wait for, a blob of bytes, and a file that is there only
//! now and then.

// new: begin
#![deny(unsafe_code)]

pub mod abi;

use abi::{BLOB_SIZE, NOTE_LIMIT};
use callgate_kernel::{
    attribute::{Input, Page, Text},
    sysfs::{Attribute, BinaryAttribute, Directory, Group, Kobject, Object},
};
use core::mem;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{ordering::Relaxed, Atomic},
        Mutex,
    },
};

// new: end
module! {
    type: SysfsModule,
    name: "callgate_sysfs",
    authors: ["callgate"],
    description: "sysfs: values of every kind in /sys/fs/myfs",
    license: "GPL",
}

// new: begin
#[pin_data]
struct SysfsModule {
    #[pin]
    _myfs: Directory<MyFs>,
}

impl kernel::InPlaceModule for SysfsModule {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _myfs <- Directory::in_fs(abi::DIRECTORY, MyFs::new()),
        })
    }
}

/// What the files show.
#[pin_data]
struct MyFs {
    first: Atomic<i32>,
    second: Atomic<i32>,
    #[pin]
    note: Mutex<KVec<u8>>,
    // new: end
    changes: Atomic<u64>,
    level: Atomic<u32>,
    #[pin]
    mode: Mutex<Mode>,
    #[pin]
    blob: Mutex<KVec<u8>>,
    // new: begin
}

impl MyFs {
    fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            first: Atomic::new(1),
            second: Atomic::new(2),
            note <- new_mutex!(KVec::new()),
            // new: end
            changes: Atomic::new(0),
            level: Atomic::new(0),
            mode <- new_mutex!(Mode::Simple),
            blob <- new_mutex!(KVec::from_elem(0, BLOB_SIZE, GFP_KERNEL)?),
            // new: begin
        })
    }
}

#[vtable]
impl Object for MyFs {
    const GROUPS: &'static [Group<Self>] = &[
        Group::new(&[FIRST, SECOND, NOTE]),
        // new: end
        Group::new(&[CHANGES, MODE]).with_binary(&[BLOB]),
        Group::named(abi::EXPERT, &[LEVEL]).visible_if(|myfs| *myfs.mode.lock() == Mode::Expert),
        // new: begin
    ];
}

/// Tells those who wait that `attribute` has changed.
fn changed(myfs: &Kobject<MyFs>, attribute: &Attribute<MyFs>) {
    // new: end
    myfs.changes.fetch_add(1, Relaxed);
    myfs.notify(&CHANGES);
    // new: begin
    myfs.notify(attribute);
}

const FIRST: Attribute<MyFs> = Attribute::new(
    abi::FIRST,
    |myfs, page| writeln!(page, "{}", myfs.first.load(Relaxed)),
    |myfs, text| {
        myfs.first.store(text.parse()?, Relaxed);
        changed(myfs, &FIRST);
        Ok(())
    },
);

const SECOND: Attribute<MyFs> = Attribute::new(
    abi::SECOND,
    |myfs, page| writeln!(page, "{}", myfs.second.load(Relaxed)),
    |myfs, text| {
        myfs.second.store(text.parse()?, Relaxed);
        changed(myfs, &SECOND);
        Ok(())
    },
);

/// Kept to the letter, but for a newline at the end, which it always has when it is read.
const NOTE: Attribute<MyFs> = Attribute::new(
    abi::NOTE,
    |myfs, page| {
        page.push(&myfs.note.lock())?;
        page.push(b"\n")
    },
    |myfs, text| {
        // A write of a whole page may be the beginning of a longer one.
        if text.line().len() + 1 > NOTE_LIMIT {
            return Err(EINVAL);
        }
        let mut note = KVec::with_capacity(text.line().len(), GFP_KERNEL)?;
        note.extend_from_slice(text.line(), GFP_KERNEL)?;
        *myfs.note.lock() = note;
        changed(myfs, &NOTE);
        Ok(())
    },
);
// new: end

const CHANGES: Attribute<MyFs> = Attribute::read_only(abi::CHANGES, |myfs, page| {
    writeln!(page, "{}", myfs.changes.load(Relaxed))
});

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Simple,
    Expert,
}

impl Text for Mode {
    fn parse(input: Input<'_>) -> Result<Self> {
        match input.line() {
            b"simple" => Ok(Self::Simple),
            b"expert" => Ok(Self::Expert),
            _ => Err(EINVAL),
        }
    }

    fn show(&self, page: &mut Page<'_>) -> Result {
        page.push(match self {
            Self::Simple => b"simple",
            Self::Expert => b"expert",
        })
    }
}

const MODE: Attribute<MyFs> = Attribute::new(
    abi::MODE,
    |myfs, page| {
        myfs.mode.lock().show(page)?;
        page.push(b"\n")
    },
    |myfs, text| {
        let old = mem::replace(&mut *myfs.mode.lock(), text.parse()?);
        // Files come or go.
        if let Err(err) = myfs.update_groups() {
            *myfs.mode.lock() = old;
            return Err(err);
        }
        changed(myfs, &MODE);
        Ok(())
    },
);

const LEVEL: Attribute<MyFs> = Attribute::new(
    abi::LEVEL,
    |myfs, page| writeln!(page, "{}", myfs.level.load(Relaxed)),
    |myfs, text| {
        myfs.level.store(text.parse::<u8>()?.into(), Relaxed);
        changed(myfs, &LEVEL);
        Ok(())
    },
);

const BLOB: BinaryAttribute<MyFs> = BinaryAttribute::new(
    abi::BLOB,
    BLOB_SIZE,
    |myfs, offset, page| page.push(&myfs.blob.lock()[offset..][..page.room()]),
    |myfs, offset, bytes| {
        myfs.blob.lock()[offset..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    },
);
