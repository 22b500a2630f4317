// SPDX-License-Identifier: GPL-2.0

//! User mode helpers: programs that the kernel starts.
//!
//! C header: [`include/linux/umh.h`](srctree/include/linux/umh.h)
//!
//! A [`Helper`] says what to start, all of it constants. [`Calls`] starts it, waits for as much as the
//! caller wants to know, and when it is dropped, ends what still runs:
//!
//! | function | waits | as C's |
//! |---|---|---|
//! | [`Calls::queue`] | not at all | `UMH_NO_WAIT` |
//! | [`Calls::start`] | until the program has been executed, or could not be | `UMH_WAIT_EXEC` |
//! | [`Calls::run`] | until it has ended, but no longer than a limit | `UMH_WAIT_PROC` |
//!
//! Not supported:
//!
//! - A path, arguments or environment made at run time. Whoever needs one would have to show that no
//!   user has a say in it.
//! - Calls in atomic context.
//! - Data from or to the helper through pipes, and its standard streams: it has no open files at all.
//! - What a helper starts itself. It goes on when the helper is ended.
//! - To be another user. That takes `alloc_uid()` and `set_cred_ucounts()`, which no module can call. If
//!   only the numbers in the credentials are changed, the kernel counts the process out where it was
//!   never counted in, and warns. What must not run as root is started by a program that changes its user,
//!   such as setpriv(1).
//! - Supplementary groups, single capabilities, resource limits.
//! - Helpers that take minutes and are waited for. The kernel takes its own waiting for a hung task after two
//!   (`CONFIG_DETECT_HUNG_TASK`), and does not suspend meanwhile.
//! - Freezing while a call waits (`UMH_FREEZABLE`). To freeze, stop or trace the one who waits is a signal
//!   to him, and ends the helper.
//!
//! # Where a helper runs
//!
//! It has the root and the working directory that PID 1 has when it is started (`userspace_init_fs`), in
//! the initial namespaces, whoever calls. Its parent is not the task that calls. It is root, with all
//! capabilities unless the [`Helper`] says otherwise, but for those that the files in
//! `/proc/sys/kernel/usermodehelper` take away. The mask of its files is 022.
//!
//! With `CONFIG_STATIC_USERMODEHELPER` the kernel starts a program of its own choice instead, which gets
//! the arguments, or none at all; that looks like success.
//!
//! # Why not `UMH_NO_WAIT` and `UMH_KILLABLE`
//!
//! With either, the caller may be gone when C is done with the call. C tells so by a last callback,
//! `cleanup`, and nothing tells when that has returned. A module that waits for it, and is unloaded, may
//! take away the code from under its last instructions. So here each call is a work item on a queue of
//! our own, in which C's function is always waited for; and to destroy the queue is to wait until the
//! last instruction is over. A caller who does not want to wait any longer ends the helper.

use crate::{bindings, module::Hold, pid::Pid};
use core::{marker::PhantomData, ptr, ptr::NonNull};
use kernel::{
    error::to_result,
    ffi::{c_char, c_int},
    impl_has_work, new_condvar, new_mutex, new_work,
    prelude::*,
    str::CStr,
    sync::{Arc, CondVar, CondVarTimeoutResult, Mutex},
    time::{delay::fsleep, msecs_to_jiffies, Delta, Jiffies},
    workqueue::{Queue, Work, WorkItem},
    ModuleMetadata,
};

/// A program, and how it is to be started.
///
/// It is plain data, and is best a constant. Nothing in it comes from a user.
///
/// # Examples
///
/// ```
/// use callgate_kernel::umh::Helper;
///
/// const SYNC: Helper = Helper::new(c"/bin/sync", &[c"sync"])
///     .environment(&[c"PATH=/sbin:/bin"])
///     .directory(c"/tmp")
///     .group(65534)
///     .without_capabilities();
/// ```
#[derive(Clone, Copy)]
pub struct Helper {
    path: &'static CStr,
    arguments: &'static [&'static CStr],
    environment: &'static [&'static CStr],
    directory: Option<&'static CStr>,
    group: u32,
    capabilities: bool,
}

impl Helper {
    /// The program at `path`, with these arguments. The first is what it is called by, `argv[0]`. A
    /// program that begins with `#!` is a script, as it is for execve(2).
    ///
    /// # Panics
    ///
    /// If there are no arguments, of which the kernel warns. In a constant, this is an error of the
    /// compiler's.
    #[inline]
    pub const fn new(path: &'static CStr, arguments: &'static [&'static CStr]) -> Self {
        assert!(!arguments.is_empty());
        Self {
            path,
            arguments,
            environment: &[],
            directory: None,
            group: 0,
            capabilities: true,
        }
    }

    /// With this environment, of the form `NAME=value`. Without, it is empty.
    #[inline]
    pub const fn environment(mut self, environment: &'static [&'static CStr]) -> Self {
        self.environment = environment;
        self
    }

    /// In this directory. Without, in that of PID 1.
    #[inline]
    pub const fn directory(mut self, directory: &'static CStr) -> Self {
        self.directory = Some(directory);
        self
    }

    /// In this group, of the initial user namespace. Without, in root's. Either way it is in no other.
    ///
    /// # Panics
    ///
    /// If it is -1, which is no group. In a constant, this is an error of the compiler's.
    #[inline]
    pub const fn group(mut self, group: u32) -> Self {
        assert!(group != u32::MAX);
        self.group = group;
        self
    }

    /// Without any capability, and with none left that it could be given when it executes another program.
    ///
    /// That does not confine it. It is still root, to whom root's files belong, and those in `/proc/sys`; by
    /// one of these, such as `kernel/core_pattern`, it can have another process do what it may not.
    #[inline]
    pub const fn without_capabilities(mut self) -> Self {
        self.capabilities = false;
        self
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// By itself, with this status.
    Exited(u8),
    /// By a signal.
    Killed {
        /// The number of the signal.
        signal: u8,
        /// Whether memory was dumped, as core(5) has it.
        dumped: bool,
    },
}

impl Status {
    /// From the form that wait(2) knows.
    #[inline]
    const fn decode(status: c_int) -> Self {
        // CAST: No more than eight bits are left in either.
        match (status & 0x7f) as u8 {
            0 => Self::Exited((status >> 8 & 0xff) as u8),
            signal => Self::Killed {
                signal,
                dumped: status & 0x80 != 0,
            },
        }
    }
}

/// Calls of helpers, by the module `M`.
///
/// Dropping it ends those that still run, by `SIGKILL`, and waits until they are gone. Then nothing of
/// the module is used any more. That sleeps, so it must not be dropped in atomic context; and it takes as
/// long as a helper that does not die, because it waits for a device or is being traced.
#[pin_data(PinnedDrop)]
pub struct Calls<M: ModuleMetadata> {
    #[pin]
    calls: Mutex<KVec<Arc<Call<M>>>>,
    // Destroyed when all calls are over, but for the last instructions of their work.
    queue: OwnedQueue,
    _hold: Hold<M>,
}

impl<M: ModuleMetadata + 'static> Calls<M> {
    /// None yet.
    ///
    /// # Errors
    ///
    /// - `ENXIO`: the parameters that the module is loaded with are being set.
    /// - `ENOMEM`.
    #[inline]
    pub fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            calls <- new_mutex!(KVec::new()),
            queue: OwnedQueue::new(M::NAME)?,
            _hold: Hold::new()?,
        })
    }

    /// Has `helper` started some time soon. Whether it could be is not told.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[inline]
    pub fn queue(&self, helper: &Helper) -> Result {
        self.call(helper, bindings::UMH_WAIT_EXEC).map(drop)
    }

    /// Starts `helper`, which then goes on by itself.
    ///
    /// # Errors
    ///
    /// - `ENOENT`, `EACCES`, `ENOEXEC`, `ELOOP`, and whatever else execve(2) may say: of the program, or
    ///   of the directory that it is to run in.
    /// - `EBUSY`: no helpers are started, because the system is going down or to sleep.
    /// - `EINTR`: the current task got a signal meanwhile. The helper has been ended, if it ever began.
    /// - `ENOMEM`.
    #[inline]
    pub fn start(&self, helper: &Helper) -> Result {
        let call = self.call(helper, bindings::UMH_WAIT_EXEC)?;
        call.wait(Jiffies::MAX).map(drop)
    }

    /// Starts `helper`, and waits until it has ended.
    ///
    /// # Errors
    ///
    /// - `ETIMEDOUT`: it has been ended, because it was not done after `limit` milliseconds.
    /// - Those of [`start`](Self::start).
    #[inline]
    pub fn run(&self, helper: &Helper, limit: u32) -> Result<Status> {
        let call = self.call(helper, bindings::UMH_WAIT_PROC)?;
        call.wait(msecs_to_jiffies(limit)).map(Status::decode)
    }

    #[inline]
    fn call(&self, helper: &Helper, wait: u32) -> Result<Arc<Call<M>>> {
        let call = Call::new(helper, wait)?;
        let mut calls = self.calls.lock();
        calls.retain(|call| !call.is_over());
        calls.push(call.clone(), GFP_KERNEL)?;
        drop(calls);
        // It is on no queue yet, so this cannot fail.
        let _ = self.queue.get().enqueue(call.clone());
        Ok(call)
    }
}

#[pinned_drop]
impl<M: ModuleMetadata> PinnedDrop for Calls<M> {
    #[inline]
    fn drop(self: Pin<&mut Self>) {
        let calls = self.calls.lock();
        for call in &*calls {
            call.state.lock().stop();
        }
        // Nobody begins another, as nobody else has `self`.
        for call in &*calls {
            call.wait_until_over();
        }
    }
}

/// A work queue of our own. Dropping it waits until all its work is done.
///
/// # Invariants
///
/// The pointer is valid.
struct OwnedQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: A work queue may be used from, and destroyed by, any thread.
unsafe impl Send for OwnedQueue {}
// SAFETY: As above.
unsafe impl Sync for OwnedQueue {}

impl OwnedQueue {
    #[inline]
    fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: The format takes one string, which is copied. 0 stands for the usual number of work
        // items at a time.
        let queue = unsafe {
            bindings::alloc_workqueue_noprof(
                c"%s".as_char_ptr(),
                bindings::wq_flags_WQ_UNBOUND,
                0,
                name.as_char_ptr(),
            )
        };
        // INVARIANT: It was just made.
        NonNull::new(queue).map(Self).ok_or(ENOMEM)
    }

    #[inline]
    fn get(&self) -> &Queue {
        // SAFETY: The pointer is valid until `self` is dropped.
        unsafe { Queue::from_raw(self.0.as_ptr()) }
    }
}

impl Drop for OwnedQueue {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The pointer is valid, and nobody uses it from now on.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) };
    }
}

/// One call of a helper.
#[pin_data]
struct Call<M> {
    helper: Helper,
    wait: c_int,
    arguments: Strings,
    environment: Strings,
    #[pin]
    state: Mutex<State>,
    #[pin]
    done: CondVar,
    #[pin]
    work: Work<Self>,
    _module: PhantomData<fn() -> M>,
}

impl_has_work! {
    impl{M: ModuleMetadata + 'static} HasWork<Self> for Call<M> { self.work }
}

struct State {
    /// Whether it is to end, or not even to begin.
    stopped: bool,
    /// The process, as soon as there is one.
    process: Option<Pid>,
    /// What C's function returned.
    result: Option<Result<c_int>>,
}

impl State {
    #[inline]
    fn stop(&mut self) {
        self.stopped = true;
        if let Some(process) = &self.process {
            // SAFETY: The pointer is valid. Who is gone does not get it, nor does anybody else.
            unsafe { bindings::kill_pid(process.as_ptr(), bindings::SIGKILL as c_int, 1) };
        }
    }
}

impl<M: ModuleMetadata + 'static> Call<M> {
    #[inline]
    fn new(helper: &Helper, wait: u32) -> Result<Arc<Self>> {
        let arguments = Strings::new(helper.arguments)?;
        let environment = Strings::new(helper.environment)?;
        let state = State {
            stopped: false,
            process: None,
            result: None,
        };
        Arc::pin_init(
            pin_init!(Self {
                helper: *helper,
                wait: wait as c_int,
                arguments,
                environment,
                state <- new_mutex!(state),
                done <- new_condvar!(),
                work <- new_work!("callgate_umh"),
                _module: PhantomData,
            }),
            GFP_KERNEL,
        )
    }

    /// Calls C's function.
    #[inline]
    fn carry_out(&self) -> Result<c_int> {
        // SAFETY: What is given is valid, and stays so until `call_usermodehelper_exec()` below has
        // returned. C does not change the strings nor what points to them.
        let info = unsafe {
            bindings::call_usermodehelper_setup(
                self.helper.path.as_char_ptr(),
                self.arguments.as_ptr(),
                self.environment.as_ptr(),
                bindings::GFP_KERNEL,
                Some(Self::init),
                None,
                ptr::from_ref(self).cast_mut().cast(),
            )
        };
        if info.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: `info` was just set up, and is given away. As it is waited for, and not in a killable
        // way, this returns when the new process has executed the program, or has given up: after its
        // last use of what was given above, `init` included.
        let result = unsafe { bindings::call_usermodehelper_exec(info, self.wait) };
        to_result(result)?;
        Ok(result)
    }

    /// What the new process does before it executes the program.
    ///
    /// # Safety
    ///
    /// `info` must be valid, and what `carry_out()` set up; `new` must be valid and belong to the
    /// current task alone, which must be a new process with directories of its own.
    unsafe extern "C" fn init(
        info: *mut bindings::subprocess_info,
        new: *mut bindings::cred,
    ) -> c_int {
        // SAFETY: `carry_out()` put `self` there, and has not returned yet.
        let call = unsafe { &*(*info).data.cast::<Self>().cast_const() };
        // SAFETY: As the caller promises.
        match unsafe { call.prepare(new) } {
            Ok(()) => 0,
            Err(err) => err.to_errno(),
        }
    }

    /// # Safety
    ///
    /// As for `init`.
    #[inline]
    unsafe fn prepare(&self, new: *mut bindings::cred) -> Result {
        let mut state = self.state.lock();
        if state.stopped {
            return Err(EINTR);
        }
        state.process = Pid::current_process();
        drop(state);
        if let Some(directory) = self.helper.directory {
            // SAFETY: The string is valid. The caller promises that the task has directories of its own.
            to_result(unsafe { bindings::callgate_chdir(directory.as_char_ptr()) })?;
        }
        let group = bindings::kgid_t {
            val: self.helper.group,
        };
        // SAFETY: The caller promises that nobody else uses these credentials yet.
        let new = unsafe { &mut *new };
        (new.gid, new.egid, new.sgid, new.fsgid) = (group, group, group, group);
        if !self.helper.capabilities {
            let none = bindings::kernel_cap_t { val: 0 };
            // What root is given by execve(2) comes from the first two.
            new.cap_bset = none;
            new.cap_inheritable = none;
            new.cap_permitted = none;
            new.cap_effective = none;
            new.cap_ambient = none;
        }
        Ok(())
    }

    /// Waits until C's function has returned, `limit` at most. If it is not to be waited for any longer,
    /// the helper is ended, and this returns when it has been.
    #[inline]
    fn wait(&self, limit: Jiffies) -> Result<c_int> {
        let mut left = limit;
        let mut given_up = None;
        let mut state = self.state.lock();
        loop {
            if let Some(result) = state.result {
                return given_up.map_or(result, Err);
            }
            if given_up.is_some() {
                self.done.wait(&mut state);
                continue;
            }
            let woken = self.done.wait_interruptible_timeout(&mut state, left);
            if state.result.is_some() {
                continue;
            }
            given_up = match woken {
                CondVarTimeoutResult::Woken { jiffies } => {
                    left = jiffies;
                    continue;
                }
                CondVarTimeoutResult::Timeout => Some(ETIMEDOUT),
                // Not to be started again: a helper may have done something already.
                CondVarTimeoutResult::Signal { .. } => Some(EINTR),
            };
            state.stop();
        }
    }
}

impl<M> Call<M> {
    /// Whether the helper has ended, or never began.
    #[inline]
    fn is_over(&self) -> bool {
        let state = self.state.lock();
        // A helper that unloads the module waits for itself here. It is not in the module otherwise.
        let is_running =
            |process: &Pid| process.process().is_some() && !process.is_current_process();
        state.result.is_some() && !state.process.as_ref().is_some_and(is_running)
    }

    #[inline]
    fn wait_until_over(&self) {
        while !self.is_over() {
            fsleep(Delta::from_millis(1));
        }
    }
}

impl<M: ModuleMetadata + 'static> WorkItem for Call<M> {
    type Pointer = Arc<Self>;

    #[inline]
    fn run(this: Arc<Self>) {
        let result = this.carry_out();
        this.state.lock().result = Some(result);
        this.done.notify_all();
    }
}

/// Strings as execve(2) wants them: pointers to them, and a null one.
struct Strings(KVec<*mut c_char>);

// SAFETY: What the pointers point to is constant.
unsafe impl Send for Strings {}
// SAFETY: As above.
unsafe impl Sync for Strings {}

impl Strings {
    #[inline]
    fn new(strings: &[&'static CStr]) -> Result<Self> {
        let mut pointers = KVec::with_capacity(strings.len() + 1, GFP_KERNEL)?;
        for string in strings {
            pointers.push(string.as_char_ptr().cast_mut(), GFP_KERNEL)?;
        }
        pointers.push(ptr::null_mut(), GFP_KERNEL)?;
        Ok(Self(pointers))
    }

    /// C's type for them, which lets it change what it does not change.
    #[inline]
    fn as_ptr(&self) -> *mut *mut c_char {
        self.0.as_ptr().cast_mut()
    }
}
