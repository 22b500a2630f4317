// SPDX-License-Identifier: MIT OR Apache-2.0

//! Two calls into the kernel: the HOWTO's, and one as it would be made today.

use std::ffi::CStr;
use std::mem::offset_of;

use callgate::crossing::{from_kernel, to_kernel};
use callgate::syscall::{Extensible, InPlace};

use super::abi::{self, Greeting};

/// The HOWTO's call. A number that mainline has given out does not compile.
pub const HOWTO: InPlace = InPlace::new(abi::MYSYSCALL);
/// Today's.
pub const TODAY: Extensible<Greeting> = Extensible::new(
    abi::MYSYSCALL2,
    offset_of!(Greeting, message),
    offset_of!(Greeting, answer),
);

/// Makes both.
pub fn main() -> anyhow::Result<()> {
    howto(HOWTO)?;
    today(&TODAY)
}

/// The HOWTO's program: says hi, and finds the answer in the same buffer.
pub fn howto(call: InPlace) -> anyhow::Result<()> {
    let message = b"hi kernel";
    let mut buffer = [0; abi::CAPACITY];
    buffer[..message.len()].copy_from_slice(message);

    let what = format!("mysyscall {}", call.number().number());
    to_kernel(&what, message);
    let len = call.call(&mut buffer)?;

    let said = CStr::from_bytes_with_nul(&buffer[..len])?;
    from_kernel(&what, said.to_bytes());
    println!("kernel said {}", said.to_string_lossy());
    Ok(())
}

/// The same with a struct that can grow: asks how long the answer will be, makes room, and gets it.
pub fn today(call: &Extensible<Greeting>) -> anyhow::Result<()> {
    let what = format!("mysyscall2 {}", call.number().number());
    let message = b"hi, kernel of today";
    let twice = Greeting { repeat: 1, ..Greeting::default() };

    let len = call.call(&twice, message, &mut [], 0)?;
    println!("the answer has {len} bytes");
    let mut answer = vec![0; len];
    to_kernel(&what, message);
    call.call(&twice, message, &mut answer, 0)?;
    from_kernel(&what, &answer);
    println!("kernel said {}", String::from_utf8_lossy(&answer));

    // A program that was compiled before there was `repeat`, and asks to be kept out of the log.
    let size = abi::GREETING_SIZE_V0;
    let len = call.call_sized(size, &Greeting::default(), b"hi", &mut answer, abi::QUIET)?;
    println!("to a program of version 0 it said {}", String::from_utf8_lossy(&answer[..len]));
    Ok(())
}
