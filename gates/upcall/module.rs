// SPDX-License-Identifier: GPL-2.0

//! The kernel side of the upcall gate: the module starts a program when it is loaded, and others by
//! name when it is told.
//!
//! What is started is constant, down to the last argument. A user who may write to the file chooses one
//! of them.

// new: begin
#![deny(unsafe_code)]

pub mod abi;

use callgate_kernel::{
    debugfs::{Dir, File},
    file::{self, FileOperations},
    umh::{Calls, Helper, Status},
};
use core::str;
use kernel::{
    fs::{File as OpenFile, Kiocb, LocalFile},
    iov::{IovIterDest, IovIterSource},
    new_mutex,
    prelude::*,
    str::CString,
    sync::{Arc, ArcBorrow, Mutex},
};

// new: end
module! {
    type: UpcallModule,
    name: "callgate_upcall",
    authors: ["callgate"],
    description: "upcalls: programs that the kernel starts",
    license: "GPL",
}

// new: begin
struct UpcallModule {
    _call: File<CallFile>,
}

impl kernel::Module for UpcallModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // new: end
        pr_info!("usermodehelper: init\n");
        // new: begin
        let calls = Arc::pin_init(Calls::new(), GFP_KERNEL)?;
        // new: end
        match calls.start(&BEEP) {
            Ok(()) => pr_info!("everything all right\n"),
            Err(err) => pr_info!("error in call to usermodehelper: {}\n", err.to_errno()),
        }
        // new: begin
        let gate = Dir::root().subdir(abi::GATE);
        Ok(Self {
            _call: File::new(&gate, abi::CALL, abi::CALL_MODE, calls),
        })
    }
}

// new: end
impl Drop for UpcallModule {
    fn drop(&mut self) {
        pr_info!("usermodehelper: exit\n");
    }
}

// new: begin
// What can be called. Nobody but this table has a say in what that is: a path, or an option, that comes
// from a user would be a way to become root.

const fn helper(arguments: &'static [&'static CStr]) -> Helper {
    Helper::new(abi::PROGRAM, arguments).environment(abi::ENVIRONMENT)
}

/// Rings the bell.
const BEEP: Helper = helper(&[abi::BEEP, abi::BEEPS]);

/// All of them, with how long they may take, in milliseconds.
const HELPERS: &[(&str, Helper, u32)] = &[
    ("beep", BEEP, abi::TIME_LIMIT),
    (
        "exit",
        helper(&[abi::EXIT, abi::EXIT_STATUS]),
        abi::TIME_LIMIT,
    ),
    ("crash", helper(&[abi::CRASH]), abi::TIME_LIMIT),
    ("hang", helper(&[abi::HANG]), abi::SHORT_TIME_LIMIT),
    (
        "no_capabilities",
        helper(&[abi::BEEP, c"0"])
            .without_capabilities()
            .group(abi::NOGROUP)
            .directory(abi::DIRECTORY),
        abi::TIME_LIMIT,
    ),
    // new: end
    (
        "script",
        Helper::new(abi::SCRIPT, &[abi::SCRIPT]),
        abi::TIME_LIMIT,
    ),
    (
        "missing",
        Helper::new(abi::MISSING, &[abi::MISSING]),
        abi::TIME_LIMIT,
    ),
    (
        "text",
        Helper::new(abi::TEXT, &[abi::TEXT]),
        abi::TIME_LIMIT,
    ),
    (
        "directory",
        Helper::new(abi::DIRECTORY, &[abi::DIRECTORY]),
        abi::TIME_LIMIT,
    ),
    (
        "nowhere",
        helper(&[abi::BEEP, c"0"]).directory(abi::MISSING),
        abi::TIME_LIMIT,
    ),
    // new: begin
];

/// What came of a call.
#[derive(Clone, Copy)]
enum Outcome {
    Queued,
    Started,
    Ended(Status),
}

/// Calls what `command` names.
fn call(calls: &Calls<crate::LocalModule>, command: &str) -> Result<Outcome> {
    let (mode, name) = command.split_once(' ').ok_or(EINVAL)?;
    let mut helpers = HELPERS.iter();
    let (_, helper, limit) = helpers.find(|known| known.0 == name).ok_or(EINVAL)?;
    match mode {
        abi::NO_WAIT => calls.queue(helper).map(|()| Outcome::Queued),
        abi::WAIT_EXEC => calls.start(helper).map(|()| Outcome::Started),
        abi::WAIT_PROC => calls.run(helper, *limit).map(Outcome::Ended),
        _ => Err(EINVAL),
    }
}

// The file.

#[pin_data]
struct Caller {
    calls: Arc<Calls<crate::LocalModule>>,
    #[pin]
    outcome: Mutex<Option<Outcome>>,
}

struct CallFile;

#[vtable]
impl FileOperations for CallFile {
    type Shared = Calls<crate::LocalModule>;
    type Ptr = Arc<Caller>;

    fn open(calls: ArcBorrow<'_, Self::Shared>, _file: &OpenFile) -> Result<Arc<Caller>> {
        Arc::pin_init(
            pin_init!(Caller {
                calls: calls.into(),
                outcome <- new_mutex!(None),
            }),
            GFP_KERNEL,
        )
    }

    fn read_iter(mut kiocb: Kiocb<'_, Arc<Caller>>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        let Some(outcome) = *kiocb.file().outcome.lock() else {
            return Ok(0);
        };
        let text = match outcome {
            Outcome::Queued => CString::try_from_fmt(fmt!("queued\n")),
            Outcome::Started => CString::try_from_fmt(fmt!("started\n")),
            Outcome::Ended(Status::Exited(status)) => {
                CString::try_from_fmt(fmt!("exited {status}\n"))
            }
            Outcome::Ended(Status::Killed { signal, .. }) => {
                CString::try_from_fmt(fmt!("killed by signal {signal}\n"))
            }
        }?;
        file::read_from_buffer(iov, kiocb.ki_pos_mut(), text.to_bytes())
    }

    fn write_iter(kiocb: Kiocb<'_, Arc<Caller>>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        let len = iov.len();
        if len == 0 {
            return Ok(0);
        }
        let mut bytes = [0; 32];
        let bytes = bytes.get_mut(..len).ok_or(EINVAL)?;
        file::copy_whole(iov, bytes)?;
        let command = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let caller = kiocb.file();
        *caller.outcome.lock() = None;
        let outcome = call(&caller.calls, str::from_utf8(command).map_err(|_| EINVAL)?)?;
        *caller.outcome.lock() = Some(outcome);
        Ok(len)
    }

    fn llseek(
        _caller: ArcBorrow<'_, Caller>,
        file: &LocalFile,
        offset: i64,
        whence: i32,
    ) -> Result<i64> {
        file::growing_llseek(file, offset, whence, 0, i64::MAX)
    }
}
// new: end
