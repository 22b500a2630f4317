// SPDX-License-Identifier: MIT OR Apache-2.0

//! An interactive shell with the host's tools and the gates' modules.

use anyhow::{Context, Result};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The console that the host connects its terminal to.
const CONSOLE: &str = "/dev/hvc0";

/// Where the modules and the programs are inside the shell.
const PLACE: &str = "/tmp/callgate";

/// Runs a shell until it ends.
pub fn run(programs: &[String], window: Option<(u16, u16)>) -> Result<bool> {
    std::fs::create_dir_all(PLACE)?;
    for module in std::fs::read_dir(guest::MODULES)? {
        let module = module?;
        if module.file_type()?.is_file() {
            std::fs::copy(module.path(), Path::new(PLACE).join(module.file_name()))?;
        }
    }
    for program in programs {
        std::fs::copy(guest::program(program), Path::new(PLACE).join(program))?;
    }

    let console = File::options()
        .read(true)
        .write(true)
        .open(CONSOLE)
        .context("no console")?;
    if let Some((rows, columns)) = window {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&console, size)?;
    }
    let mut shell = Command::new(crate::SELF)
        .arg("shell")
        .stdin(console.try_clone()?)
        .stdout(console.try_clone()?)
        .stderr(console)
        .spawn()
        .context("starting the shell")?;
    // Its exit status is that of the last command typed: nothing that we could judge.
    shell.wait()?;
    Ok(true)
}

/// Turns this process into the shell. Gives only the reason why it could not.
pub fn become_shell() -> Result<std::convert::Infallible> {
    rustix::process::setsid()?;
    // Makes Ctrl-C on the console interrupt what runs in the shell.
    rustix::process::ioctl_tiocsctty(std::io::stdin())?;
    rustix::system::sethostname(b"callgate")?;
    rustix::process::chdir(PLACE)?;
    println!(
        "This is the VM, with a copy of your files: what you change is gone when you leave, and /tmp \
         is its own.\nThe modules and the program with their user sides are here, in {PLACE}."
    );
    let error = Command::new("/bin/sh")
        .args(["-c", "exec $(command -v bash || command -v sh) -i"])
        .env_clear()
        .env("HOME", "/root")
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("TERM", "linux")
        .env("PS1", "callgate:\\w# ")
        .exec();
    Err(error).context("starting /bin/sh")
}
