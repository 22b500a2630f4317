// SPDX-License-Identifier: GPL-2.0

//! The kernel side of the system call gate: two calls, the HOWTO's and today's.
//!
//! It is built into the kernel, by a patch that also gives the calls their numbers: a module cannot
//! add a system call.

#![deny(unsafe_code)]

pub mod abi;
#[path = "../../kernel/rate_limit.rs"]
pub mod rate_limit;
#[path = "../../kernel/syscalls.rs"]
mod syscalls;

use abi::{Greeting, CAPACITY, GREETING_SIZE_V0, MOST_REPEATS, QUIET};
use core::mem::offset_of;
use kernel::{
    prelude::*,
    uaccess::{UserPtr, UserSlice},
};
use rate_limit::RateLimit;
use syscalls::copy_struct_from_user;

/// What our lines in the log begin with.
const __LOG_PREFIX: &[u8] = b"mysyscall\0";

syscalls::define! {
    __x64_sys_mysyscall = mysyscall;
    __x64_sys_mysyscall2 = mysyscall2;
}

const _: () = assert!(GREETING_SIZE_V0 == offset_of!(Greeting, repeat));

/// What we answer, and what the HOWTO's call adds to it: a NUL.
const ANSWER: &[u8] = b"hello world";
const STRING: &[u8] = b"hello world\0";

/// How many messages are logged a second at most. Anybody may make these calls.
static LOGGED: RateLimit = RateLimit::new(10);

/// The HOWTO's call: overwrites the string in `buffer`, which has `len` bytes.
fn mysyscall(buffer: UserPtr, len: i32) -> Result<u32> {
    let len = usize::try_from(len)?;

    // Copied once, and looked at only then: what user space does to it meanwhile is of no account.
    let mut copy = [0; CAPACITY];
    let copy = &mut copy[..len.min(CAPACITY)];
    UserSlice::new(buffer, copy.len())
        .reader()
        .read_slice(copy)?;
    let message = copy.split(|byte| *byte == 0).next().unwrap_or_default();
    if message.len() == copy.len() {
        return Err(EINVAL);
    }

    if len < STRING.len() {
        return Err(ERANGE);
    }
    UserSlice::new(buffer, STRING.len())
        .writer()
        .write_slice(STRING)?;
    log(message);
    Ok(STRING.len() as u32)
}

/// Today's call: a struct that can grow, and flags.
fn mysyscall2(greeting: UserPtr, size: usize, flags: u32) -> Result<u32> {
    if flags & !QUIET != 0 {
        return Err(EINVAL);
    }
    let greeting: Greeting = copy_struct_from_user(greeting, size, GREETING_SIZE_V0)?;
    if greeting.repeat > MOST_REPEATS || greeting.reserved != 0 {
        return Err(EINVAL);
    }

    let mut copy = [0; CAPACITY];
    let message = copy
        .get_mut(..greeting.message_len as usize)
        .ok_or(EINVAL)?;
    let from = UserPtr::from_addr(greeting.message as usize);
    UserSlice::new(from, message.len())
        .reader()
        .read_slice(message)?;

    let times = 1 + greeting.repeat as usize;
    let len = times * ANSWER.len();
    let room = greeting.answer_len as usize;
    if room == 0 {
        return Ok(len as u32);
    }
    if room < len {
        return Err(ERANGE);
    }
    let to = UserPtr::from_addr(greeting.answer as usize);
    let mut writer = UserSlice::new(to, len).writer();
    for _ in 0..times {
        writer.write_slice(ANSWER)?;
    }
    if flags & QUIET == 0 {
        log(message);
    }
    Ok(len as u32)
}

/// Logs a message. What could be taken for another line, or for the terminal's, is shown as an escape.
fn log(message: &[u8]) {
    if LOGGED.allows() {
        pr_info!("{}\n", format_args!("{}", message.escape_ascii()));
    }
}
