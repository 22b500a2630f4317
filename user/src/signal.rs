// SPDX-License-Identifier: MIT OR Apache-2.0

//! Receiving signals, with who sent them and the value that came along: in the three ways there are.
//!
//! | type | how | for |
//! |---|---|---|
//! | [`Handled`] | a handler interrupts the program, sigaction(2) | what cannot wait |
//! | [`Blocked`] | a thread waits for it, sigtimedwait(2) | a thread that does nothing else |
//! | [`Fd`] | a file that is read and polled, signalfd(2) | a program that waits for other things too |
//!
//! ```no_run
//! use std::time::Duration;
//! use callgate::signal::{Blocked, Signal};
//!
//! let signal = Signal::new(44).unwrap();
//! let blocked = Blocked::new(&[signal])?;
//! // Here somebody is asked to send it.
//! if let Some(received) = blocked.wait(Duration::from_secs(1))? {
//!     println!("received value {}", received.value);
//! }
//! # Ok::<(), callgate::signal::Error>(())
//! ```
//!
//! # Not supported
//!
//! What else the kernel tells with a signal about a fault or a child, and values that are pointers.

#![expect(
    unsafe_code,
    reason = "the C library's functions for signals, and a handler"
)]

use std::marker::PhantomData;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

/// Why a signal cannot be received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel, or the C library, refused.
    #[error("cannot {what}: {errno}; {}", hint(*.errno))]
    Refused {
        /// What was tried.
        what: &'static str,
        /// The answer.
        errno: Errno,
    },
    /// Two of [`Handled`] for one signal.
    #[error("signal {0} has a handler already: a process has one for each signal")]
    Taken(i32),
}

impl Error {
    /// What the kernel answered, where it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Taken(_) => None,
        }
    }

    fn refused(what: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::Refused { what, errno }
    }
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::INVAL => {
            "SIGKILL and SIGSTOP can be neither caught nor blocked, and the C library keeps 32 and 33"
        }
        Errno::MFILE | Errno::NFILE => "close files, or raise RLIMIT_NOFILE",
        _ => "see signal(7)",
    }
}

/// The number of a signal, 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(i32);

impl Signal {
    /// `None` if there is no such signal.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man7/signal.7.html)
    pub const fn new(number: i32) -> Option<Self> {
        if matches!(number, 1..=64) {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number.
    pub const fn number(self) -> i32 {
        self.0
    }
}

/// How a signal was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// By kill(2), or with its value lost: `SI_USER`.
    User,
    /// With a value, by sigqueue(3) or by kernel code that does the same: `SI_QUEUE`.
    Queue,
    /// By the kernel itself: `SI_KERNEL`.
    Kernel,
    /// Otherwise; see sigaction(2).
    Other(i32),
}

impl Code {
    fn new(code: i32) -> Self {
        match code {
            libc::SI_USER => Self::User,
            libc::SI_QUEUE => Self::Queue,
            libc::SI_KERNEL => Self::Kernel,
            other => Self::Other(other),
        }
    }
}

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub signal: Signal,
    /// How it was sent.
    pub code: Code,
    /// The value that came along, if `code` is [`Code::Queue`].
    pub value: i32,
    /// The process that sent it; 0 if that was the kernel, or a process in another namespace.
    pub pid: i32,
    /// The user that sent it.
    pub uid: u32,
}

/// The five numbers, as a handler writes them into a pipe.
const RECORD: usize = 20;

impl Received {
    fn new(number: i32, code: i32, value: i32, pid: i32, uid: u32) -> Self {
        Self {
            signal: Signal(number),
            code: Code::new(code),
            value,
            pid,
            uid,
        }
    }

    fn from_info(info: &libc::siginfo_t) -> Self {
        let [number, code, value, pid, uid] = fields(info);
        Self::new(number, code, value, pid, uid.cast_unsigned())
    }

    fn from_record(record: [u8; RECORD]) -> Self {
        let [number, code, value, pid, uid] = [0, 4, 8, 12, 16].map(|at| {
            i32::from_ne_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
        });
        Self::new(number, code, value, pid, uid.cast_unsigned())
    }
}

/// What is in a `siginfo_t`. A handler may call this.
fn fields(info: &libc::siginfo_t) -> [i32; 5] {
    // SAFETY: these are plain numbers at fixed places, and the kernel fills in or zeroes all of them.
    let (value, pid, uid) = unsafe { (info.si_value(), info.si_pid(), info.si_uid()) };
    // SAFETY: `sigval` is a union, whose integer is at its beginning.
    let value = unsafe { (&raw const value).cast::<i32>().read() };
    [info.si_signo, info.si_code, value, pid, uid.cast_signed()]
}

/// A set of signals as the C library has it.
fn set(signals: &[Signal]) -> Result<libc::sigset_t, Errno> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: this initialises the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for signal in signals {
        // SAFETY: the set is initialised.
        if unsafe { libc::sigaddset(set.as_mut_ptr(), signal.0) } != 0 {
            return Err(last_errno());
        }
    }
    // SAFETY: as above.
    Ok(unsafe { set.assume_init() })
}

/// While this lives, these signals do not interrupt this thread, but wait to be taken.
///
/// A signal to the whole process may go to any thread that does not block it. So a program that wants
/// to have all of them blocks them first of all, as threads that it starts later inherit that.
///
/// What has not been taken when this is dropped is thrown away.
#[derive(Debug)]
#[must_use = "the signals are blocked only while this lives"]
pub struct Blocked {
    set: libc::sigset_t,
    before: libc::sigset_t,
    // It is this thread's.
    _not_send: PhantomData<*const ()>,
}

impl Blocked {
    /// Blocks them.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], with [`Errno::INVAL`] for one that the C library keeps for itself.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man3/pthread_sigmask.3.html)
    pub fn new(signals: &[Signal]) -> Result<Self, Error> {
        let refused = |errno| Error::refused("block the signals")(errno);
        let set = set(signals).map_err(refused)?;
        let mut before = MaybeUninit::uninit();
        // SAFETY: both sets are valid, or there is room for one.
        let errno =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, before.as_mut_ptr()) };
        if errno != 0 {
            return Err(refused(Errno::from_raw_os_error(errno)));
        }
        Ok(Self {
            set,
            // SAFETY: pthread_sigmask succeeded and filled it in.
            before: unsafe { before.assume_init() },
            _not_send: PhantomData,
        })
    }

    /// Takes the next one; `None` if none came within `limit`. Of those that are pending, the one with
    /// the smallest number comes first, and of several with the same number the one sent first.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/sigtimedwait.2.html)
    pub fn wait(&self, limit: Duration) -> Result<Option<Received>, Error> {
        let end = Instant::now() + limit;
        loop {
            let mut info = MaybeUninit::uninit();
            match self.take(info.as_mut_ptr(), end) {
                // SAFETY: sigtimedwait succeeded and filled it in.
                Ok(()) => return Ok(Some(Received::from_info(unsafe { info.assume_init_ref() }))),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::refused("wait for a signal")(errno)),
            }
        }
    }

    /// As [`wait`](Self::wait), but all 128 bytes of what the kernel says, as they are.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], with [`Errno::AGAIN`] if none came within `limit`.
    pub fn wait_for_bytes(&self, limit: Duration) -> Result<[u8; 128], Error> {
        const { assert!(mem::size_of::<libc::siginfo_t>() == 128) };
        // What the kernel leaves alone is seen.
        let mut info = [0xaa_aa_aa_aa_aa_aa_aa_aa_u64; 16];
        self.take(info.as_mut_ptr().cast(), Instant::now() + limit)
            .map_err(Error::refused("wait for a signal"))?;
        let mut bytes = [0; 128];
        for (eight, word) in bytes.chunks_exact_mut(8).zip(info) {
            eight.copy_from_slice(&word.to_ne_bytes());
        }
        Ok(bytes)
    }

    fn take(&self, info: *mut libc::siginfo_t, end: Instant) -> Result<(), Errno> {
        let left = end.saturating_duration_since(Instant::now());
        let left = libc::timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        // SAFETY: the set and the time are valid, and there is room for the answer.
        if unsafe { libc::sigtimedwait(&raw const self.set, info, &raw const left) } < 0 {
            return Err(last_errno());
        }
        Ok(())
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        while let Ok(Some(_)) = self.wait(Duration::ZERO) {}
        for number in 1..=libc::SIGRTMAX() {
            // SAFETY: both sets are valid, and so is the number.
            let ours = unsafe {
                libc::sigismember(&raw const self.set, number) == 1
                    && libc::sigismember(&raw const self.before, number) == 0
            };
            if !ours {
                // SAFETY: as above.
                unsafe { libc::sigdelset(&raw mut self.set, number) };
            }
        }
        // Only what this blocked itself: there may be others by now, that still do.
        //
        // SAFETY: the set is valid.
        unsafe {
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const self.set, ptr::null_mut());
        }
    }
}

/// A file from which blocked signals are read. Whoever reads it gets those of its own thread and of its
/// process.
#[derive(Debug)]
pub struct Fd<'a> {
    fd: OwnedFd,
    _blocked: &'a Blocked,
}

impl<'a> Fd<'a> {
    /// For the signals that are blocked.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], with [`Errno::MFILE`] if there are too many files.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/signalfd.2.html)
    pub fn new(blocked: &'a Blocked) -> Result<Self, Error> {
        let flags = libc::SFD_NONBLOCK | libc::SFD_CLOEXEC;
        // SAFETY: the set is valid.
        let fd = unsafe { libc::signalfd(-1, &raw const blocked.set, flags) };
        if fd < 0 {
            return Err(Error::refused("make a file for the signals")(last_errno()));
        }
        Ok(Self {
            // SAFETY: it is new, and nobody else's.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            _blocked: blocked,
        })
    }

    /// Reads the next one; `None` if none came within `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub fn wait(&self, limit: Duration) -> Result<Option<Received>, Error> {
        const SIZE: usize = mem::size_of::<libc::signalfd_siginfo>();
        let mut bytes = [0; SIZE];
        Ok(read(self.as_fd(), &mut bytes, limit)?.then(|| {
            // SAFETY: there are that many bytes, of which any are a valid `signalfd_siginfo`.
            let info: libc::signalfd_siginfo = unsafe {
                bytes
                    .as_ptr()
                    .cast::<libc::signalfd_siginfo>()
                    .read_unaligned()
            };
            Received::new(
                info.ssi_signo.cast_signed(),
                info.ssi_code,
                info.ssi_int,
                info.ssi_pid.cast_signed(),
                info.ssi_uid,
            )
        }))
    }
}

impl AsFd for Fd<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Reads one record; `false` if none came within `limit`.
fn read(fd: BorrowedFd<'_>, record: &mut [u8], limit: Duration) -> Result<bool, Error> {
    let refused = |errno| Error::refused("read a signal")(errno);
    let end = Instant::now() + limit;
    loop {
        match rustix::io::read(fd, &mut *record) {
            Ok(len) if len == record.len() => return Ok(true),
            Ok(_) => return Err(refused(Errno::IO)),
            Err(Errno::AGAIN) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(refused(errno)),
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let left = Timespec::try_from(left).ok();
        match rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::IN)], left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(refused(errno)),
        }
    }
}

/// How the handler reaches whoever reads: a pipe for each signal that ever had a [`Handled`]. It stays
/// for good, so that a handler that still runs, in whatever thread, does not write elsewhere.
struct Way {
    reader: OwnedFd,
    writer: OwnedFd,
    taken: AtomicBool,
    lost: AtomicUsize,
}

static WAYS: [OnceLock<Way>; 65] = [const { OnceLock::new() }; 65];

/// While this lives, a signal interrupts whatever thread it is sent to, and is noted by a handler.
///
/// The handler does what a handler may, which is little: it writes a record into a pipe.
#[derive(Debug)]
#[must_use = "the signal is handled only while this lives"]
pub struct Handled {
    signal: Signal,
    before: libc::sigaction,
}

impl Handled {
    /// Installs the handler. Calls that the signal interrupts are restarted (`SA_RESTART`), where that
    /// can be.
    ///
    /// # Errors
    ///
    /// [`Error::Taken`]; [`Error::Refused`], with [`Errno::INVAL`] for `SIGKILL`, `SIGSTOP` and what the
    /// C library keeps for itself; and for `SIGSEGV`, `SIGBUS`, `SIGFPE` and `SIGILL`, after which a handler
    /// that returns is called again for ever.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/sigaction.2.html)
    ///  - [what a handler may do](https://man7.org/linux/man-pages/man7/signal-safety.7.html)
    pub fn new(signal: Signal) -> Result<Self, Error> {
        let refused = |errno| Error::refused("install a handler")(errno);
        if let libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL = signal.0 {
            return Err(refused(Errno::INVAL));
        }
        let way = way(signal).map_err(refused)?;
        if way.taken.swap(true, Ordering::Acquire) {
            return Err(Error::Taken(signal.0));
        }
        // Of whoever had it before.
        while let Ok(true) = read(way.reader.as_fd(), &mut [0; RECORD], Duration::ZERO) {}
        way.lost.store(0, Ordering::Relaxed);

        let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = note;
        // SAFETY: all zeroes are a valid `sigaction`: default action, empty mask, no flags.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        let mut before = MaybeUninit::uninit();
        // SAFETY: `action` is valid, and its handler can run at any moment, as its documentation shows;
        // `before` has room for the answer.
        if unsafe { libc::sigaction(signal.0, &raw const action, before.as_mut_ptr()) } != 0 {
            way.taken.store(false, Ordering::Release);
            return Err(refused(last_errno()));
        }
        // SAFETY: sigaction succeeded and filled it in.
        let before = unsafe { before.assume_init() };
        Ok(Self { signal, before })
    }

    /// The next one that the handler noted; `None` if none came within `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub fn wait(&self, limit: Duration) -> Result<Option<Received>, Error> {
        let Some(way) = WAYS[index(self.signal)].get() else {
            return Ok(None);
        };
        let mut record = [0; RECORD];
        let came = read(way.reader.as_fd(), &mut record, limit)?;
        Ok(came.then(|| Received::from_record(record)))
    }

    /// How many the handler could not note, because nobody read the others.
    pub fn lost(&self) -> usize {
        let way = WAYS[index(self.signal)].get();
        way.map_or(0, |way| way.lost.load(Ordering::Relaxed))
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        // SAFETY: this puts back what sigaction itself reported.
        unsafe { libc::sigaction(self.signal.0, &raw const self.before, ptr::null_mut()) };
        if let Some(way) = WAYS[index(self.signal)].get() {
            way.taken.store(false, Ordering::Release);
        }
    }
}

fn index(signal: Signal) -> usize {
    signal.0.unsigned_abs() as usize
}

fn way(signal: Signal) -> Result<&'static Way, Errno> {
    let way = &WAYS[index(signal)];
    if way.get().is_none() {
        let mut fds = [0; 2];
        // SAFETY: there is room for both.
        if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) } != 0 {
            return Err(last_errno());
        }
        // SAFETY: they are new, and nobody else's.
        let [reader, writer] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        // Should another thread have been faster, these are closed.
        let _ = way.set(Way {
            reader,
            writer,
            taken: AtomicBool::new(false),
            lost: AtomicUsize::new(0),
        });
    }
    way.get().ok_or(Errno::IO)
}

/// The handler. It may run at any moment, in the middle of whatever a thread does: so it takes no lock,
/// allocates nothing, and leaves `errno` as it is.
extern "C" fn note(number: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: every thread has such a place.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: it is this thread's own.
    let before = unsafe { errno.read() };
    let way = usize::try_from(number)
        .ok()
        .and_then(|at| WAYS.get(at)?.get());
    if let Some(way) = way {
        let mut record = [0; RECORD];
        // SAFETY: with `SA_SIGINFO` the kernel gives a valid pointer.
        let fields = fields(unsafe { &*info });
        for (four, field) in record.chunks_exact_mut(4).zip(fields) {
            four.copy_from_slice(&field.to_ne_bytes());
        }
        // SAFETY: the record is valid, and write(2) may be called here. So short a record goes into a
        // pipe as a whole or not at all.
        let written =
            unsafe { libc::write(way.writer.as_raw_fd(), record.as_ptr().cast(), RECORD) };
        if written < 0 {
            way.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
    // SAFETY: as above.
    unsafe { errno.write(before) };
}

/// How many signals may be pending for this process' user before it gets no more real-time signals:
/// sets `RLIMIT_SIGPENDING` of this process.
///
/// # Errors
///
/// [`Error::Refused`], with [`Errno::PERM`] to raise it beyond what root allows.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/setrlimit.2.html)
pub fn set_limit(pending: u64) -> Result<(), Error> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let maximum = getrlimit(Resource::Sigpending).maximum;
    let limit = Rlimit {
        current: Some(pending),
        maximum,
    };
    setrlimit(Resource::Sigpending, limit)
        .map_err(Error::refused("set the limit of pending signals"))
}

/// The errno that the C library's last failed call left.
pub(crate) fn last_errno() -> Errno {
    let error = std::io::Error::last_os_error();
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// sigqueue(3) to this thread.
    fn queue(signal: Signal, value: i32) {
        let mut info = [0_u32; 32];
        info[0] = signal.0.cast_unsigned();
        info[2] = libc::SI_QUEUE.cast_unsigned();
        info[4] = 7;
        info[5] = 8;
        info[6] = value.cast_unsigned();
        let process = rustix::process::getpid().as_raw_nonzero();
        let thread = rustix::thread::gettid().as_raw_nonzero();
        // SAFETY: the kernel copies 128 bytes from there.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_tgsigqueueinfo,
                process,
                thread,
                signal.0,
                info.as_ptr(),
            )
        };
        assert_eq!(result, 0, "{}", last_errno());
    }

    fn queued(signal: Signal, value: i32) -> Received {
        Received::new(signal.0, libc::SI_QUEUE, value, 7, 8)
    }

    #[test]
    fn blocked_signals_are_taken_in_order() {
        let (low, high) = (Signal(40), Signal(41));
        let blocked = Blocked::new(&[low, high]).unwrap();
        for (signal, value) in [(high, 1), (low, 2), (low, -3)] {
            queue(signal, value);
        }
        for (signal, value) in [(low, 2), (low, -3), (high, 1)] {
            assert_eq!(blocked.wait(LIMIT).unwrap(), Some(queued(signal, value)));
        }
        assert_eq!(blocked.wait(Duration::ZERO).unwrap(), None);
        // Not taken, and no end of this process either.
        queue(low, 4);
    }

    #[test]
    fn a_file_gives_the_same() {
        let signal = Signal(42);
        let blocked = Blocked::new(&[signal]).unwrap();
        let fd = Fd::new(&blocked).unwrap();
        assert_eq!(fd.wait(Duration::from_millis(1)).unwrap(), None);
        queue(signal, i32::MIN);
        assert_eq!(fd.wait(LIMIT).unwrap(), Some(queued(signal, i32::MIN)));
    }

    #[test]
    fn a_handler_gives_the_same() {
        let signal = Signal(43);
        let handled = Handled::new(signal).unwrap();
        assert!(matches!(Handled::new(signal), Err(Error::Taken(43))));
        queue(signal, 5);
        assert_eq!(handled.wait(LIMIT).unwrap(), Some(queued(signal, 5)));
        assert_eq!(handled.wait(Duration::ZERO).unwrap(), None);
        assert_eq!(handled.lost(), 0);
        queue(signal, 6);
        drop(handled);
        // What the one before did not take is not for the next.
        assert_eq!(
            Handled::new(signal).unwrap().wait(Duration::ZERO).unwrap(),
            None
        );
    }

    #[test]
    fn what_cannot_be_received_is_refused_with_a_reason() {
        assert_eq!((Signal::new(0), Signal::new(65)), (None, None));
        let error = Handled::new(Signal(9)).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::INVAL));
        assert_eq!(
            error.to_string(),
            "cannot install a handler: Invalid argument (os error 22); SIGKILL and SIGSTOP can be \
             neither caught nor blocked, and the C library keeps 32 and 33"
        );
        assert_eq!(
            Blocked::new(&[Signal(32)]).unwrap_err().errno(),
            Some(Errno::INVAL)
        );
    }
}
