// SPDX-License-Identifier: GPL-2.0

//! The kernel side of the signal gate: a process says its number, and the kernel signals it.
//!
//! The HOWTO's file does both at once. The other file remembers whom to signal, and does so later and as
//! often as it is told.

// new: begin
#![deny(unsafe_code)]

pub mod abi;

use callgate_kernel::{
    debugfs::{Dir, File},
    file::{self, FileOperations},
    signal::{Receiver, Signal},
};
use core::{
    num::{IntErrorKind, ParseIntError},
    str,
};
use kernel::{
    fs::{File as OpenFile, Kiocb},
    iov::{IovIterDest, IovIterSource},
    new_mutex,
    prelude::*,
    str::CString,
    sync::{Arc, ArcBorrow, Mutex},
};

// new: end
module! {
    type: SignalModule,
    name: "callgate_signal",
    authors: ["callgate"],
    description: "signals: normal and real-time ones, with a value",
    license: "GPL",
}

// new: begin
struct SignalModule {
    // new: end
    _signalconfpid: File<Signalconfpid>,
    // new: begin
    _receiver: File<ReceiverFile>,
}

impl kernel::Module for SignalModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let root = Dir::root();
        let gate = root.subdir(abi::GATE);
        let nothing = Arc::new((), GFP_KERNEL)?;
        Ok(Self {
            // new: end
            _signalconfpid: File::new(&root, abi::FILE, abi::MODE, nothing.clone()),
            // new: begin
            _receiver: File::new(&gate, abi::RECEIVER, abi::RECEIVER_MODE, nothing),
        })
    }
}

/// What the user wrote as a decimal number.
fn number(text: &str) -> Result<i32> {
    text.parse().map_err(|err: ParseIntError| match err.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => ERANGE,
        _ => EINVAL,
    })
}

/// One write(2), of as many bytes as fit, without one newline at its end.
fn line<'a>(iov: &mut IovIterSource<'_>, bytes: &'a mut [u8]) -> Result<&'a str> {
    let bytes = bytes.get_mut(..iov.len()).ok_or(EINVAL)?;
    file::copy_whole(iov, bytes)?;
    str::from_utf8(bytes.strip_suffix(b"\n").unwrap_or(bytes)).map_err(|_| EINVAL)
}

// new: end
// The HOWTO's file.

const SIGNAL: Signal = Signal::new(abi::SIGNAL).unwrap();

struct Signalconfpid;

#[vtable]
impl FileOperations for Signalconfpid {
    type Shared = ();
    type Ptr = ();

    fn open(_: ArcBorrow<'_, ()>, _file: &OpenFile) -> Result {
        Ok(())
    }

    fn write_iter(_kiocb: Kiocb<'_, ()>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        let len = iov.len();
        if len == 0 {
            return Ok(0);
        }
        let pid = number(line(iov, &mut [0; abi::LIMIT])?)?;
        pr_info!("pid = {pid}\n");
        let Ok(receiver) = Receiver::find(pid) else {
            pr_info!("no such pid\n");
            return Err(ENODEV);
        };
        receiver.send(SIGNAL, abi::VALUE)?;
        Ok(len)
    }
}

// new: begin
// A receiver that is found first and signalled later.

#[pin_data]
struct Registered {
    #[pin]
    state: Mutex<State>,
}

struct State {
    receiver: Option<Receiver>,
    sent: i32,
}

impl State {
    fn obey(&mut self, command: &str) -> Result {
        let mut words = command.split(' ');
        let mut word = || words.next().ok_or(EINVAL);
        match word()? {
            abi::REGISTER => {
                let pid = number(word()?)?;
                if words.next().is_some() {
                    return Err(EINVAL);
                }
                self.receiver = Receiver::find(pid).ok();
                self.receiver.as_ref().map(drop).ok_or(ENODEV)
            }
            abi::SEND => {
                let signal = Signal::new(number(word()?)?).ok_or(EINVAL)?;
                let (value, count) = (number(word()?)?, number(word()?)?);
                if words.next().is_some() || !(1..=abi::MAX_COUNT).contains(&count) {
                    return Err(EINVAL);
                }
                self.send(signal, value, count)
            }
            _ => Err(EINVAL),
        }
    }

    fn send(&mut self, signal: Signal, value: i32, count: i32) -> Result {
        self.sent = 0;
        let receiver = self.receiver.as_ref().ok_or(ENODEV)?;
        for nth in 0..count {
            receiver.send(signal, value.wrapping_add(nth))?;
            self.sent += 1;
        }
        Ok(())
    }
}

struct ReceiverFile;

#[vtable]
impl FileOperations for ReceiverFile {
    type Shared = ();
    type Ptr = Arc<Registered>;

    fn open(_: ArcBorrow<'_, ()>, _file: &OpenFile) -> Result<Arc<Registered>> {
        let state = State {
            receiver: None,
            sent: 0,
        };
        Arc::pin_init(
            pin_init!(Registered {
                state <- new_mutex!(state),
            }),
            GFP_KERNEL,
        )
    }

    fn read_iter(
        mut kiocb: Kiocb<'_, Arc<Registered>>,
        iov: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        let sent = kiocb.file().state.lock().sent;
        let text = CString::try_from_fmt(fmt!("{sent}\n"))?;
        file::read_from_buffer(iov, kiocb.ki_pos_mut(), text.to_bytes())
    }

    fn write_iter(kiocb: Kiocb<'_, Arc<Registered>>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        let len = iov.len();
        if len == 0 {
            return Ok(0);
        }
        let mut bytes = [0; 64];
        let command = line(iov, &mut bytes)?;
        kiocb.file().state.lock().obey(command)?;
        Ok(len)
    }

    fn llseek(
        _registered: ArcBorrow<'_, Registered>,
        file: &kernel::fs::LocalFile,
        offset: i64,
        whence: i32,
    ) -> Result<i64> {
        file::growing_llseek(file, offset, whence, 0, i64::MAX)
    }
}
// new: end
