// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the two system calls cost.

use anyhow::ensure;

use super::{Operation, Work};
use crate::syscall::abi::{CAPACITY, Greeting, MOST_REPEATS, QUIET};
use crate::syscall::program::{HOWTO, TODAY};

/// What the HOWTO's call answers.
const STRING: &[u8] = b"hello world\0";

/// What today's answers, as often as it is told.
const ANSWER: usize = 11;

/// The HOWTO's call, and today's with as many bytes as it takes and gives.
///
/// Of what is said by the HOWTO's, ten messages a second are logged.
pub fn operations() -> Vec<Operation<'static>> {
    let mut operations = vec![howto()];
    for repeat in [0, MOST_REPEATS] {
        let bytes = answered(repeat);
        let run = today(repeat, bytes, bytes);
        operations.push(Operation::new(Work::RoundTrip, "today's", bytes, run));
    }
    for bytes in [1, 64, CAPACITY] {
        // Without room for the answer there is none.
        let (name, run) = ("today's, without an answer", today(0, bytes, 0));
        operations.push(Operation::new(Work::ToKernel, name, bytes, run));
    }
    for repeat in [0, MOST_REPEATS] {
        let bytes = answered(repeat);
        let (name, run) = ("today's, without a message", today(repeat, 0, bytes));
        operations.push(Operation::new(Work::ToProgram, name, bytes, run));
    }
    operations
}

fn howto() -> Operation<'static> {
    // The answer is a message as well.
    let mut buffer = STRING.to_vec();
    Operation::new(Work::RoundTrip, "the HOWTO's", STRING.len(), move || {
        ensure!(HOWTO.call(&mut buffer)? == STRING.len(), "another answer");
        Ok(())
    })
    .first(|| {
        let mut buffer = b"hi kernel!!\0".to_vec();
        HOWTO.call(&mut buffer)?;
        ensure!(buffer == STRING, "another answer");
        Ok(())
    })
}

/// How many bytes today's answer has.
fn answered(repeat: u32) -> usize {
    (1 + repeat as usize) * ANSWER
}

/// Today's call, with a message and with room for an answer.
fn today(repeat: u32, message: usize, answer: usize) -> impl FnMut() -> anyhow::Result<()> {
    let arguments = Greeting {
        repeat,
        ..Greeting::default()
    };
    let (message, mut answer) = (vec![b'x'; message], vec![0; answer]);
    move || {
        let len = TODAY.call(&arguments, &message, &mut answer, QUIET)?;
        ensure!(len == answered(repeat), "another answer");
        Ok(())
    }
}
