// SPDX-License-Identifier: GPL-2.0

//! The kernel side of the character-device gate: a message to overwrite, and a pipe.
//!
//! The HOWTO's `my_device` holds one message, and leaves its node to the user. Today's
//! `callgate_chardev` is a pipe that never ends: its node appears by itself, and a program can wait
//! for it.

// new: begin
#![deny(unsafe_code)]

pub mod abi;

use abi::{MESSAGE_CAPACITY, PIPE_CAPACITY};
use callgate_kernel::{
    chardev,
    file::{self, FileOperations},
    misc,
};
use core::mem::MaybeUninit;
use kernel::{
    fs::{
        file::flags::{O_ACCMODE, O_EXCL, O_RDONLY, O_RDWR, O_WRONLY},
        File, Kiocb, LocalFile,
    },
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
    type: ChardevModule,
    name: "callgate_chardev",
    authors: ["callgate"],
    description: "character device: read, write, poll and lseek on a node in /dev",
    license: "GPL",
}

// new: begin
#[pin_data]
struct ChardevModule {
    // new: end
    _howto: chardev::Registration<MessageFile>,
    // new: begin
    #[pin]
    _pipe: misc::Registration<PipeFile>,
}

impl kernel::InPlaceModule for ChardevModule {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // new: end
            _howto: {
                let howto = chardev::Registration::new(abi::DRIVER, 1, Message::new()?)?;
                let major = howto.major();
                let (node, minor) = (abi::HOWTO_NODE, abi::HOWTO_MINOR);
                pr_info!("cdev example: assigned major: {major}\n");
                pr_info!("create node with mknod {node} c {major} {minor}\n");
                howto
            },
            // new: begin
            _pipe <- misc::Registration::new(abi::PIPE_NAME, abi::PIPE_MODE, Pipe::new()?),
        })
    }
}

// new: end
// The HOWTO's device.

/// The message that all who open the device share.
#[pin_data]
struct Message {
    #[pin]
    text: Mutex<Text>,
}

/// `bytes` up to `len`.
#[derive(Clone, Copy)]
struct Text {
    bytes: [u8; MESSAGE_CAPACITY],
    len: usize,
}

impl Message {
    fn new() -> Result<Arc<Self>> {
        let text = Text {
            bytes: [0; MESSAGE_CAPACITY],
            len: 0,
        };
        Arc::pin_init(
            pin_init!(Self {
                text <- new_mutex!(text),
            }),
            GFP_KERNEL,
        )
    }

    fn set(&self, bytes: &[u8]) {
        let mut text = self.text.lock();
        text.bytes[..bytes.len()].copy_from_slice(bytes);
        text.len = bytes.len();
    }
}

struct MessageFile;

#[vtable]
impl FileOperations for MessageFile {
    type Shared = Message;
    type Ptr = Arc<Message>;

    fn open(message: ArcBorrow<'_, Message>, _file: &File) -> Result<Arc<Message>> {
        Ok(message.into())
    }

    #[inline]
    fn read_iter(mut kiocb: Kiocb<'_, Arc<Message>>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        // Copied first, so that the lock is not held while user memory is written, which may take as
        // long as the user likes; and so that nobody reads half of one message and half of another.
        let text = *kiocb.file().text.lock();
        file::read_from_buffer(iov, kiocb.ki_pos_mut(), &text.bytes[..text.len])
    }

    /// Replaces the whole message, wherever the file position is.
    #[inline]
    fn write_iter(
        mut kiocb: Kiocb<'_, Arc<Message>>,
        iov: &mut IovIterSource<'_>,
    ) -> Result<usize> {
        let len = iov.len();
        if len == 0 {
            return Ok(0);
        }
        if len >= MESSAGE_CAPACITY {
            return Err(EINVAL);
        }
        let mut buf = [MaybeUninit::uninit(); MESSAGE_CAPACITY];
        let bytes = file::copy_to(iov, &mut buf[..len]);
        // All of it, or the old message stays.
        if bytes.len() != len {
            return Err(EFAULT);
        }
        kiocb.file().set(bytes);
        // The next read on this file starts at the beginning of what was written.
        *kiocb.ki_pos_mut() = 0;
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
}

// Today's device.

// new: begin
/// The pipe that all who open the device share.
///
/// The lock is never held while user memory is copied: a user can make that take forever. A writer
/// copies into a buffer of its own before it looks at the pipe, so it keeps nobody waiting. For a
/// reader there is no such way: should its copy fail halfway, the bytes must still be the next ones
/// in the pipe. So readers take turns, and bytes leave the pipe only once they have been copied. A
/// reader whose copy takes forever keeps the others waiting; they can be interrupted, or get `EAGAIN`.
#[pin_data]
struct Pipe {
    #[pin]
    state: Mutex<State>,
    /// Told whenever the pipe may have become readable or writable.
    #[pin]
    changed: PollCondVar,
}

struct State {
    fifo: Fifo,
    /// Somebody is copying out of the pipe.
    reader: bool,
    /// How many have opened the device.
    opens: usize,
    /// The one who has, wants to be alone.
    exclusive: bool,
}

impl State {
    fn is_readable(&self) -> bool {
        !self.reader && self.fifo.len > 0
    }

    fn is_writable(&self) -> bool {
        self.fifo.len < PIPE_CAPACITY
    }
}

impl Pipe {
    fn new() -> Result<Arc<Self>> {
        let state = State {
            fifo: Fifo::new()?,
            reader: false,
            opens: 0,
            exclusive: false,
        };
        Arc::pin_init(
            pin_init!(Self {
                state <- new_mutex!(state),
                changed <- new_poll_condvar!(),
            }),
            GFP_KERNEL,
        )
    }

    /// Waits until `ready`, and calls `then` before that can change.
    fn when<R>(
        &self,
        nonblocking: bool,
        ready: impl Fn(&State) -> bool,
        then: impl FnOnce(&mut State) -> R,
    ) -> Result<R> {
        let mut state = self.state.lock();
        while !ready(&state) {
            if nonblocking {
                return Err(EAGAIN);
            }
            if self.changed.wait_interruptible(&mut state) {
                // The kernel makes it EINTR, or calls again, as the signal's handler wants it.
                return Err(ERESTARTSYS);
            }
        }
        Ok(then(&mut state))
    }
}

/// What belongs to one open file.
struct Opened {
    pipe: Arc<Pipe>,
    exclusive: bool,
    // new: end
    read: Atomic<u64>,
    written: Atomic<u64>,
    // new: begin
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut state = self.pipe.state.lock();
        state.opens -= 1;
        if self.exclusive {
            state.exclusive = false;
        }
    }
}

struct PipeFile;

#[vtable]
impl FileOperations for PipeFile {
    type Shared = Pipe;
    type Ptr = KBox<Opened>;

    /// `O_EXCL` asks to be alone with the device; as long as somebody is, nobody else gets in.
    fn open(pipe: ArcBorrow<'_, Pipe>, file: &File) -> Result<KBox<Opened>> {
        let exclusive = file.flags() & O_EXCL != 0;
        {
            let mut state = pipe.state.lock();
            if state.exclusive || (exclusive && state.opens > 0) {
                return Err(EBUSY);
            }
            state.opens += 1;
            state.exclusive = exclusive;
        }
        // Should there be no memory for it, it is dropped, and so the device is closed again.
        let opened = Opened {
            pipe: pipe.into(),
            exclusive,
            // new: end
            read: Atomic::new(0),
            written: Atomic::new(0),
            // new: begin
        };
        Ok(KBox::new(opened, GFP_KERNEL)?)
    }

    /// Waits for the first byte, and returns what is there.
    #[inline]
    fn read_iter(kiocb: Kiocb<'_, KBox<Opened>>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        if iov.is_empty() {
            return Ok(0);
        }
        let opened = kiocb.file();
        let pipe = &opened.pipe;
        let mut buf = KVec::with_capacity(iov.len().min(PIPE_CAPACITY), GFP_KERNEL)?;

        pipe.when(file::is_nonblocking(&kiocb), State::is_readable, |state| {
            state.fifo.peek(&mut buf)?;
            state.reader = true;
            Ok::<_, Error>(())
        })??;
        let copied = iov.copy_to_iter(&buf);
        {
            let mut state = pipe.state.lock();
            state.fifo.discard(copied);
            state.reader = false;
        }
        pipe.changed.notify_all();

        if copied == 0 {
            return Err(EFAULT);
        }
        // new: end
        opened.read.fetch_add(copied as u64, Relaxed);
        // new: begin
        Ok(copied)
    }

    /// Waits for room until everything is written. What finds room at once goes in as one piece.
    #[inline]
    fn write_iter(kiocb: Kiocb<'_, KBox<Opened>>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        if iov.is_empty() {
            return Ok(0);
        }
        let opened = kiocb.file();
        let pipe = &opened.pipe;
        let mut buf = KVec::with_capacity(iov.len().min(PIPE_CAPACITY), GFP_KERNEL)?;
        // What has been copied from the user, and is not yet in the pipe.
        let mut pending: &[u8] = &[];
        let mut written = 0;

        let end = loop {
            if pending.is_empty() {
                pending = file::copy_to(iov, buf.spare_capacity_mut());
                if pending.is_empty() {
                    if iov.is_empty() {
                        return Ok(written);
                    }
                    break EFAULT;
                }
            }
            let put = pipe.when(file::is_nonblocking(&kiocb), State::is_writable, |state| {
                state.fifo.put(pending)
            });
            match put {
                Ok(count) => {
                    pipe.changed.notify_all();
                    // new: end
                    opened.written.fetch_add(count as u64, Relaxed);
                    // new: begin
                    written += count;
                    pending = &pending[count..];
                }
                Err(err) => break err,
            }
        };
        // What has been written cannot be taken back, so it is reported; the error comes up again
        // if the user goes on.
        if written > 0 {
            Ok(written)
        } else {
            Err(end)
        }
    }

    fn poll(opened: &Opened, file: &File, table: PollTable<'_>) -> u32 {
        // First registered, then looked: a change in between is not missed.
        table.register_wait(file, &opened.pipe.changed);
        let state = opened.pipe.state.lock();
        // Only what this file is open for: one that cannot be written does not care for room.
        let mode = file.flags() & O_ACCMODE;
        let mut ready = 0;
        if state.is_readable() && matches!(mode, O_RDONLY | O_RDWR) {
            ready |= file::EPOLLIN | file::EPOLLRDNORM;
        }
        if state.is_writable() && matches!(mode, O_WRONLY | O_RDWR) {
            ready |= file::EPOLLOUT | file::EPOLLWRNORM;
        }
        ready
    }
    // new: end

    fn show_fdinfo(opened: &Opened, m: &SeqFile) {
        seq_print!(m, "callgate_read:\t{}\n", opened.read.load(Relaxed));
        seq_print!(m, "callgate_written:\t{}\n", opened.written.load(Relaxed));
    }
    // new: begin
}

/// Bytes in the order they came.
struct Fifo {
    /// Of size `PIPE_CAPACITY`; `len` of them count, the oldest first.
    bytes: KVec<u8>,
    len: usize,
}

impl Fifo {
    fn new() -> Result<Self> {
        Ok(Self {
            bytes: KVec::from_elem(0, PIPE_CAPACITY, GFP_KERNEL)?,
            len: 0,
        })
    }

    /// Copies the oldest bytes to `to`, which is empty, as many as it has room for.
    #[inline]
    fn peek(&self, to: &mut KVec<u8>) -> Result {
        let count = to.capacity().min(self.len);
        Ok(to.extend_from_slice(&self.bytes[..count], GFP_KERNEL)?)
    }

    /// Removes the oldest `count` bytes. To move the others up costs less than the call that reads.
    #[inline]
    fn discard(&mut self, count: usize) {
        self.bytes.copy_within(count..self.len, 0);
        self.len -= count;
    }

    /// Adds as much of `from` as there is room for, and returns how much.
    #[inline]
    fn put(&mut self, from: &[u8]) -> usize {
        let count = from.len().min(PIPE_CAPACITY - self.len);
        self.bytes[self.len..][..count].copy_from_slice(&from[..count]);
        self.len += count;
        count
    }
}
// new: end
