// SPDX-License-Identifier: GPL-2.0

//! The kernel side of the procfs gate: a file that talks, and a file that keeps.
//!
//! The HOWTO's `/proc/example/first` reads as a greeting and logs what is written to it.
//! `/proc/example/second` keeps what is written, as a file on a disk does, but for one thing: who reads
//! it from the start sees one value from beginning to end, whoever writes meanwhile.

// new: begin
#![deny(unsafe_code)]

pub mod abi;

use callgate_kernel::{
    file::{self, FileOperations},
    proc_fs::{self, Dir},
};
use kernel::{
    fs::{file::flags::O_TRUNC, File, Kiocb, LocalFile},
    iov::{IovIterDest, IovIterSource},
    new_mutex,
    prelude::*,
    str::{BStr, CString},
    sync::{Arc, ArcBorrow, Mutex},
};

// new: end
module! {
    type: ProcfsModule,
    name: "callgate_procfs",
    authors: ["callgate"],
    description: "procfs: a file that talks and a file that keeps, in /proc/example",
    license: "GPL",
}

// new: begin
struct ProcfsModule {
    // new: end
    _first: proc_fs::File<FirstFile>,
    // new: begin
    _second: proc_fs::File<SecondFile>,
}

impl kernel::Module for ProcfsModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let directory = Dir::root().subdir(abi::DIRECTORY)?;
        Ok(Self {
            // new: end
            _first: proc_fs::File::new(&directory, abi::FIRST, abi::MODE, First::new()?)?,
            // new: begin
            _second: proc_fs::File::new(&directory, abi::SECOND, abi::MODE, Second::new()?)?,
        })
    }
}

// new: end
// The HOWTO's file.

/// The private data of the first file.
struct First {
    name: &'static str,
    data: &'static str,
    text: CString,
}

impl First {
    fn new() -> Result<Arc<Self>> {
        let data = abi::FIRST_DATA;
        let first = Self {
            name: abi::FIRST,
            data,
            text: CString::try_from_fmt(fmt!("hello world: {data}\n"))?,
        };
        Ok(Arc::new(first, GFP_KERNEL)?)
    }
}

struct FirstFile;

#[vtable]
impl FileOperations for FirstFile {
    type Shared = First;
    type Ptr = Arc<First>;

    fn open(first: ArcBorrow<'_, First>, _file: &File) -> Result<Arc<First>> {
        Ok(first.into())
    }

    #[inline]
    fn read_iter(mut kiocb: Kiocb<'_, Arc<First>>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        let first = kiocb.file();
        file::read_from_buffer(iov, kiocb.ki_pos_mut(), first.text.to_bytes())
    }

    /// Logs what it gets, and keeps nothing of it.
    fn write_iter(kiocb: Kiocb<'_, Arc<First>>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        let len = iov.len();
        if len == 0 {
            return Ok(0);
        }
        if len > abi::FIRST_LIMIT {
            return Err(EINVAL);
        }
        let received: KVec<u8> = file::copy_to_vec(iov)?;

        let First { name, data, .. } = &*kiocb.file();
        // Shown with escapes, so that nobody makes up lines of the log.
        let line = BStr::from_bytes(received.strip_suffix(b"\n").unwrap_or(&received));
        pr_info!("write_{name} received data: {line}\n");
        pr_info!("{name} filename {name}\n");
        pr_info!("write_{name} data {data}\n");
        Ok(len)
    }

    fn llseek(
        first: ArcBorrow<'_, First>,
        file: &LocalFile,
        offset: i64,
        whence: i32,
    ) -> Result<i64> {
        file::fixed_size_llseek(file, offset, whence, first.text.count_bytes() as i64)
    }
}

// The file that keeps what is written.

// new: begin
/// A value that never changes again: a write makes another one. `None` has no bytes.
type Value = Option<Arc<KVVec<u8>>>;

fn bytes(value: &Value) -> &[u8] {
    value.as_ref().map_or(&[], |bytes| bytes)
}

/// The state of the second file.
#[pin_data]
struct Second {
    #[pin]
    value: Mutex<Value>,
}

impl Second {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                value <- new_mutex!(None),
            }),
            GFP_KERNEL,
        )
    }
}

/// What belongs to one open file.
struct Opened {
    second: Arc<Second>,
    view: Pin<KBox<Mutex<View>>>,
}

/// How the second file looks through one open file.
struct View {
    /// What is being read.
    value: Option<Value>,
    /// It was opened with `O_TRUNC`, and looks empty; the value goes when the next one comes, or when
    /// the file is closed. So `echo new >/proc/example/second` has no moment in which it is empty.
    truncated: bool,
}

impl Opened {
    /// What is to be read: what was read before, or the value of this moment.
    #[inline]
    fn value(&self, from_start: bool) -> Value {
        let mut view = self.view.lock();
        if from_start {
            view.value = None;
        }
        let View { value, truncated } = &mut *view;
        let now = || match truncated {
            true => None,
            false => self.second.value.lock().clone(),
        };
        value.get_or_insert_with(now).clone()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if self.view.lock().truncated {
            *self.second.value.lock() = None;
        }
    }
}

struct SecondFile;

#[vtable]
impl FileOperations for SecondFile {
    type Shared = Second;
    type Ptr = KBox<Opened>;

    fn open(second: ArcBorrow<'_, Second>, file: &File) -> Result<KBox<Opened>> {
        let view = View {
            value: None,
            truncated: false,
        };
        let opened = Opened {
            second: second.into(),
            view: KBox::pin_init(new_mutex!(view), GFP_KERNEL)?,
        };
        let opened = KBox::new(opened, GFP_KERNEL)?;
        // Only now, as an open that fails must not empty the file.
        opened.view.lock().truncated = file.flags() & O_TRUNC != 0;
        Ok(opened)
    }

    #[inline]
    fn read_iter(mut kiocb: Kiocb<'_, KBox<Opened>>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        let value = kiocb.file().value(kiocb.ki_pos() == 0);
        file::read_from_buffer(iov, kiocb.ki_pos_mut(), bytes(&value))
    }

    /// Puts the bytes where the position is, all or none. If that is behind the end, there are zeroes
    /// in between.
    #[inline]
    fn write_iter(
        mut kiocb: Kiocb<'_, KBox<Opened>>,
        iov: &mut IovIterSource<'_>,
    ) -> Result<usize> {
        let len = iov.len();
        if len == 0 {
            return Ok(0);
        }
        if len > abi::SECOND_LIMIT {
            return Err(EFBIG);
        }
        let part: KVVec<u8> = file::copy_to_vec(iov)?;

        let opened = kiocb.file();
        let mut view = opened.view.lock();
        let mut value = opened.second.value.lock();
        let old = if view.truncated { &[] } else { bytes(&value) };
        let start = if file::is_appending(&kiocb) {
            old.len()
        } else {
            usize::try_from(kiocb.ki_pos())?
        };
        let end = start.saturating_add(len);
        if end > abi::SECOND_LIMIT {
            return Err(EFBIG);
        }
        let mut new = KVVec::with_capacity(old.len().max(end), GFP_KERNEL)?;
        new.extend_from_slice(&old[..old.len().min(start)], GFP_KERNEL)?;
        new.resize(start, 0, GFP_KERNEL)?;
        new.extend_from_slice(&part, GFP_KERNEL)?;
        new.extend_from_slice(old.get(end..).unwrap_or_default(), GFP_KERNEL)?;

        *value = Some(Arc::new(new, GFP_KERNEL)?);
        view.truncated = false;
        view.value = None;
        *kiocb.ki_pos_mut() = end as i64;
        Ok(len)
    }

    fn llseek(opened: &Opened, file: &LocalFile, offset: i64, whence: i32) -> Result<i64> {
        let size = bytes(&opened.value(false)).len();
        file::growing_llseek(file, offset, whence, size as i64, abi::SECOND_LIMIT as i64)
    }
}
// new: end
