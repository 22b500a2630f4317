// SPDX-License-Identifier: MIT OR Apache-2.0

//! What nothing can be cheaper than: the kernel's own shortest ways in and out, and a copy that never leaves
//! the program.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{self, Errno};
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size, pipe};
use rustix::process::getppid;
use rustix::termios::tcgetwinsize;

use super::{Operation, Work};

/// The sizes of what is moved. The largest is as much as a pipe ever holds.
const SIZES: [usize; 6] = [1, 64, 1 << 10, 1 << 12, 1 << 16, 1 << 20];

/// Nobody waits longer than this for what is on its way.
const LIMIT: Duration = Duration::from_secs(30);

/// What is told by an eventfd: a number.
const COUNT: usize = size_of::<u64>();

/// All of them.
pub fn operations() -> anyhow::Result<Vec<Operation<'static>>> {
    let mut all = vec![Operation::new(Work::Other, "system call", 0, || {
        black_box(getppid());
        Ok(())
    })];
    let null = std::fs::File::open("/dev/null")?;
    let name = "ioctl that nobody knows";
    all.push(Operation::new(Work::Other, name, 0, move || {
        let refused = tcgetwinsize(&null);
        ensure!(
            refused.err() == Some(Errno::NOTTY),
            "/dev/null is a terminal"
        );
        Ok(())
    }));

    let event = eventfd(0, EventfdFlags::empty())?;
    let name = "eventfd: add and take";
    all.push(Operation::new(Work::RoundTrip, name, COUNT, move || {
        put(&event, &1_u64.to_ne_bytes())?;
        take(&event, &mut [0; COUNT])
    }));
    for bytes in SIZES {
        let (read, write) = pipe_of(bytes)?;
        let (sent, mut received) = (vec![b'x'; bytes], vec![0; bytes]);
        let name = "pipe: write and read";
        all.push(Operation::new(Work::RoundTrip, name, bytes, move || {
            put(&write, &sent)?;
            take(&read, &mut received)
        }));
    }
    for bytes in SIZES {
        let (from, mut to) = (vec![b'x'; bytes], vec![0; bytes]);
        all.push(Operation::new(Work::Other, "copy", bytes, move || {
            to.copy_from_slice(black_box(&from));
            black_box(&to);
            Ok(())
        }));
    }

    let event = Arc::new(eventfd(0, EventfdFlags::empty())?);
    let added = Arc::clone(&event);
    let tell = move || put(&added, &1_u64.to_ne_bytes());
    let hear = move || wait_and_take(&event, &mut [0; COUNT]);
    all.push(Operation::notify("eventfd", COUNT, tell, hear));
    let (read, write) = pipe()?;
    let tell = move || put(&write, b"x");
    let hear = move || wait_and_take(&read, &mut [0]);
    all.push(Operation::notify("pipe", 1, tell, hear));
    Ok(all)
}

/// A pipe with room for so many bytes.
fn pipe_of(bytes: usize) -> anyhow::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe()?;
    if fcntl_getpipe_size(&write)? < bytes {
        fcntl_setpipe_size(&write, bytes)?;
    }
    Ok((read, write))
}

fn put(file: impl AsFd, bytes: &[u8]) -> anyhow::Result<()> {
    ensure!(io::write(file, bytes)? == bytes.len(), "it took less");
    Ok(())
}

fn take(file: impl AsFd, bytes: &mut [u8]) -> anyhow::Result<()> {
    let wanted = bytes.len();
    ensure!(io::read(file, bytes)? == wanted, "it gave less");
    Ok(())
}

fn wait_and_take(file: impl AsFd, bytes: &mut [u8]) -> anyhow::Result<()> {
    let limit = Timespec::try_from(LIMIT)?;
    let ready = poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&limit))?;
    ensure!(ready == 1, "nothing came");
    take(file, bytes)
}
