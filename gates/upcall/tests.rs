// SPDX-License-Identifier: MIT OR Apache-2.0

//! What can be relied on when the kernel starts a program, tried by looking at what it started.
//!
//! These run in the lab's VM as root, each in a process of its own, with the module loaded.

// new: begin
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use callgate::Errno;
use callgate::kmsg::Log;
use callgate::module;
use callgate::testing::Refusals;
use callgate::testing::faults::{at_each_place, at_last_places};
use callgate::testing::inspect::Call;
use callgate::testing::memory::{Guarded, Hole};
use callgate::testing::signal::{Caught, Then, interrupt};
use callgate::testing::tools::{self, Tool};
use callgate::testing::unload::{Use, cycles, while_used};
use callgate::testing::worker::Worker;
use callgate::upcall::Circumstances;
use rustix::fs::{Mode, OFlags};

use super::abi::{
    BEEP, BEEPS, CALL, CRASH, DIRECTORY, ENVIRONMENT, EVIDENCE, EXIT, EXIT_STATUS, GATE, HANG,
    MISSING, NOGROUP, PROGRAM, SCRIPT, TEXT,
};

/// Every wait ends here at the latest; it is generous, because an emulated debug kernel is slow.
const LIMIT: Duration = Duration::from_secs(30);

const MODULE: &str = "callgate_upcall";
const MODULE_FILE: &str = "/modules/callgate_upcall.ko";

const ROOT: &str = "/sys/kernel/debug";

fn file() -> String {
    format!("{ROOT}/{GATE}/{CALL}")
}

fn open(flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::open(file(), flags | OFlags::CLOEXEC, Mode::empty())
}

/// Has the module call what `command` names, and returns what came of it.
fn call(command: impl AsRef<[u8]>) -> Result<String, Errno> {
    let file = open(OFlags::RDWR)?;
    rustix::io::write(&file, command.as_ref())?;
    let mut text = [0; 64];
    let len = rustix::io::pread(&file, &mut text, 0)?;
    Ok(String::from_utf8_lossy(&text[..len]).trim_end().to_owned())
}

fn load() {
    module::load(MODULE_FILE, "").unwrap();
}

fn unload() {
    module::unload(MODULE).unwrap();
}

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !is() {
        assert!(Instant::now() < end, "not {what} after {LIMIT:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The numbers of the processes that have left evidence.
fn evidence() -> BTreeSet<u32> {
    fs::read_dir(EVIDENCE)
        .into_iter()
        .flatten()
        .filter_map(|file| file.unwrap().file_name().to_str()?.parse().ok())
        .collect()
}

/// The circumstances of the one process that `start` makes the kernel start.
fn started_by(start: impl FnOnce()) -> (u32, Circumstances) {
    let before = evidence();
    start();
    wait_until("started", || evidence().len() > before.len());
    let now = evidence();
    let new: Vec<_> = now.difference(&before).collect();
    let [number] = new[..] else { panic!("{new:?}") };
    let text = fs::read_to_string(Path::new(EVIDENCE).join(number.to_string())).unwrap();
    (*number, Circumstances::parse(&text).unwrap())
}

/// The processes that the kernel runs our program as, under this name.
fn running(name: &std::ffi::CStr) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap();
    let numbers = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    numbers
        .filter(|number| {
            // It may be gone by now.
            let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
            line.starts_with(name.to_bytes_with_nul())
        })
        .collect()
}

/// Waits until what earlier calls started has ended.
fn settle() {
    wait_until("ended", || running(BEEP).is_empty());
}

fn strings(all: &[&std::ffi::CStr]) -> Vec<String> {
    all.iter().map(|string| string.to_str().unwrap().to_owned()).collect()
}

// new: end
/// The tests' own program, there until this is dropped.
struct Script;

impl Script {
    fn new(contents: &str, mode: u32) -> Self {
        let path = SCRIPT.to_str().unwrap();
        fs::write(path, contents).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        Self
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        fs::remove_file(SCRIPT.to_str().unwrap()).unwrap();
    }
}

// new: begin
#[test]
fn the_program_runs() {
    super::program::main().unwrap();
    settle();
}

// new: end
// ---- The HOWTO's call ---------------------------------------------------------------------------

#[test]
fn the_howtos_program_is_called_when_the_module_is_loaded() {
    unload();
    let (_, found) = started_by(load);
    assert_eq!(found.arguments, strings(&[BEEP, BEEPS]));
    assert_eq!(found.arguments[1], "2");
    assert_eq!(found.environment, ["HOME=/", "PATH=/sbin:/usr/sbin:/bin:/usr/bin"]);
    assert_eq!(found.environment, strings(ENVIRONMENT));
    assert_eq!(found.directory, Path::new("/"));
    assert_eq!((found.users.as_str(), found.groups.as_str()), ("0 0 0 0", "0 0 0 0"));
    assert_eq!((found.other_groups.as_str(), found.umask.as_str()), ("", "0022"));
    assert!(found.capabilities.trim_start_matches('0').starts_with("1ff"), "{found}");
    // kthreadd.
    assert_eq!(found.parent, 2);
    settle();
}

#[test]
fn the_module_says_what_it_does() {
    unload();
    let mut log = Log::from_now().unwrap();
    load();
    unload();
    for line in ["usermodehelper: init", "everything all right", "usermodehelper: exit"] {
        assert!(log.wait_for(&format!("callgate_upcall: {line}"), LIMIT).unwrap(), "{line}");
    }
    load();
    settle();
}

#[test]
fn a_program_that_is_not_there_is_an_error_in_the_log_only() {
    unload();
    let mut log = Log::from_now().unwrap();
    let (program, away) = (PROGRAM.to_str().unwrap(), "/callgate/gate-away");
    fs::rename(program, away).unwrap();
    load();
    fs::rename(away, program).unwrap();
    let line = "callgate_upcall: error in call to usermodehelper: -2";
    assert!(log.wait_for(line, LIMIT).unwrap());
    assert_eq!(call("wait_proc exit").unwrap(), "exited 3");
}

#[test]
fn the_bell_is_rung_where_there_is_one() {
    const TERMINAL: &str = "/dev/tty0";
    assert!(!fs::exists(TERMINAL).unwrap());
    fs::write(TERMINAL, "").unwrap();
    assert_eq!(call("wait_proc beep").unwrap(), "exited 0");
    let rung = fs::read(TERMINAL).unwrap();
    fs::remove_file(TERMINAL).unwrap();
    assert_eq!(rung, b"\x07\x07");
}

#[test]
fn ordinary_tools_see_it() {
    let line = format!("exec 3<> {}; echo wait_proc exit >&3; cat <&3", file());
    assert_eq!(tools::shell(&line).success(), "exited 3\n");
    let line = format!("echo wait_exec missing > {}", file());
    assert_eq!(tools::shell(&line).answer(), Err(Errno::NOENT));
    let stat = tools::shell(&format!("stat -c '%a %u %g %F' {}", file()));
    assert_eq!(stat.success(), "600 0 0 regular empty file\n");
    let alone = Command::new(PROGRAM.to_str().unwrap()).arg0("exit").arg("5").status().unwrap();
    assert_eq!(alone.code(), Some(5));
    let alone = Command::new(PROGRAM.to_str().unwrap()).arg0("crash").status().unwrap();
    assert_eq!(alone.signal(), Some(6));
}

// ---- Three ways to wait -------------------------------------------------------------------------

// new: begin
#[test]
fn no_wait_tells_nothing() {
    let (_, found) = started_by(|| assert_eq!(call("no_wait beep").unwrap(), "queued"));
    assert_eq!(found.arguments, strings(&[BEEP, BEEPS]));
    // new: end
    // Nor does it tell that there is no such program.
    assert_eq!(call("no_wait missing").unwrap(), "queued");
    // new: begin
    settle();
}

#[test]
fn wait_exec_tells_whether_it_was_started() {
    let (number, found) = started_by(|| assert_eq!(call("wait_exec hang").unwrap(), "started"));
    assert_eq!(found.arguments, strings(&[HANG]));
    // It goes on.
    assert_eq!(running(HANG), [number]);
    // new: end
    assert_eq!(call("wait_exec missing"), Err(Errno::NOENT));
    // new: begin
    // Until the module goes.
    unload();
    assert_eq!(running(HANG), [0; 0]);
    load();
    settle();
}

#[test]
fn wait_proc_tells_how_it_ended() {
    for (command, outcome) in [
        ("wait_proc exit", "exited 3"),
        ("wait_proc crash", "killed by signal 6"),
        ("wait_proc beep", "exited 0"),
    ] {
        assert_eq!(call(command).as_deref(), Ok(outcome), "{command}");
    }
    assert_eq!(EXIT_STATUS, c"3");
    assert!([EXIT, CRASH].iter().all(|name| running(name).is_empty()));
}

// new: end
#[test]
fn every_status_of_a_script_is_decoded() {
    for (line, outcome) in [
        ("exit 0", "exited 0"),
        ("exit 1", "exited 1"),
        ("exit 127", "exited 127"),
        ("exit 128", "exited 128"),
        ("exit 255", "exited 255"),
        ("kill -9 $$", "killed by signal 9"),
        ("kill -15 $$", "killed by signal 15"),
        ("kill -11 $$", "killed by signal 11"),
        ("kill -64 $$", "killed by signal 64"),
    ] {
        let _script = Script::new(&format!("#!/bin/bash\n{line}\n"), 0o755);
        assert_eq!(call("wait_proc script").as_deref(), Ok(outcome), "{line}");
    }
}

// new: begin
#[test]
fn who_takes_too_long_is_ended() {
    let before = Instant::now();
    assert_eq!(call("wait_proc hang"), Err(Errno::TIMEDOUT));
    assert!(before.elapsed() >= Duration::from_secs(1));
    assert_eq!(running(HANG), [0; 0]);
    // new: end
    let _script = Script::new("#!/bin/bash\ntrap '' 1 2 3 15\nsleep 1000\n", 0o755);
    // new: begin
    // An outcome is that of the last call, or none.
    let file = open(OFlags::RDWR).unwrap();
    rustix::io::write(&file, b"wait_proc exit").unwrap();
    rustix::io::write(&file, b"wait_proc hang").unwrap_err();
    assert_eq!(rustix::io::pread(&file, &mut [0; 16], 0), Ok(0));
}

// new: end
#[test]
fn who_is_interrupted_ends_what_it_waits_for() {
    let _caught = Caught::new(Then::Restart).unwrap();
    let _script = Script::new("#!/bin/bash\nexec -a callgate_sleep sleep 1000\n", 0o755);
    let worker = Worker::spawn(|| call("wait_proc script"));
    wait_until("running", || !running(c"callgate_sleep").is_empty());
    worker.wait_until_asleep_in(Call::Write, LIMIT);
    interrupt(worker.thread()).unwrap();
    assert_eq!(worker.finish(LIMIT), Err(Errno::INTR));
    assert_eq!(running(c"callgate_sleep"), [0; 0]);
}

#[test]
fn who_is_killed_ends_what_it_waits_for() {
    let _script = Script::new("#!/bin/bash\nexec -a callgate_sleep sleep 1000\n", 0o755);
    let mut shell = Command::new("/bin/bash")
        .args(["-c", &format!("echo wait_proc script > {}", file())])
        .spawn()
        .unwrap();
    wait_until("running", || !running(c"callgate_sleep").is_empty());
    shell.kill().unwrap();
    assert_eq!(shell.wait().unwrap().signal(), Some(9));
    assert_eq!(running(c"callgate_sleep"), [0; 0]);
}

// new: begin
#[test]
fn many_calls_at_once_do_not_wait_for_each_other() {
    let callers: Vec<_> = (0..4)
        .flat_map(|_| ["wait_proc exit", "wait_proc crash", "wait_proc hang"])
        .map(|command| (command, Worker::spawn(move || call(command))))
        .collect();
    for (command, caller) in callers {
        let expected = match command {
            "wait_proc exit" => Ok("exited 3"),
            "wait_proc crash" => Ok("killed by signal 6"),
            _ => Err(Errno::TIMEDOUT),
        };
        assert_eq!(caller.finish(LIMIT).as_deref(), expected.as_ref().copied(), "{command}");
    }
    assert_eq!(running(HANG), [0; 0]);
}

// new: end
// ---- Where and as whom --------------------------------------------------------------------------

// new: begin
#[test]
fn it_may_run_without_capabilities_in_a_group_and_in_a_directory() {
    let mode = |mode| fs::set_permissions(EVIDENCE, fs::Permissions::from_mode(mode)).unwrap();
    fs::create_dir_all(EVIDENCE).unwrap();
    // With a capability, this would stop nobody.
    mode(0o555);
    assert_eq!(call("wait_proc no_capabilities").unwrap(), "exited 1");
    assert_eq!(call("wait_proc beep").unwrap(), "exited 0");
    mode(0o755);
    let (number, found) = started_by(|| assert_eq!(call("wait_proc no_capabilities").unwrap(), "exited 0"));
    let groups = format!("{NOGROUP} {NOGROUP} {NOGROUP} {NOGROUP}");
    assert_eq!((found.users.as_str(), &found.groups), ("0 0 0 0", &groups));
    assert_eq!(found.other_groups, "");
    let none = "0000000000000000".to_owned();
    assert_eq!((&found.capabilities, &found.bounds), (&none, &none));
    assert_eq!(found.directory.to_str(), DIRECTORY.to_str().ok());
    let owner = tools::shell(&format!("stat -c '%u %g %a' {EVIDENCE}/{number}")).success();
    assert_eq!(owner, format!("0 {NOGROUP} 644\n"));
}

// new: end
#[test]
fn it_has_no_capability_left_to_take_back() {
    let _script = Script::new("#!/bin/bash\ngrep ^Cap /proc/self/status > /tmp/capabilities\n", 0o755);
    assert_eq!(call("wait_proc script").unwrap(), "exited 0");
    // Root has them all, so that the zeroes in the other test mean something.
    let lines = fs::read_to_string("/tmp/capabilities").unwrap();
    assert!(lines.contains("CapEff:\t000001ff"), "{lines}");
}

#[test]
fn it_runs_where_pid_1_does_and_not_where_the_caller_does() {
    // Both the root and the directory of the caller are others, and so is its namespace of mounts.
    fs::create_dir_all("/tmp/elsewhere").unwrap();
    let line = format!(
        "cd /tmp/elsewhere; umask 077; ulimit -n 50; export CALLER=1; \
         exec unshare --mount bash -c 'mount -t tmpfs none /run; echo wait_proc beep > {}'",
        file()
    );
    let (_, found) = started_by(|| {
        tools::shell(&line).success();
    });
    assert_eq!(found.directory, Path::new("/"));
    assert_eq!(found.environment, strings(ENVIRONMENT));
    assert_eq!(found.umask, "0022");
    assert_ne!(found.parent, std::process::id());
}

#[test]
fn who_asks_in_a_namespace_of_processes_starts_nothing_there() {
    let line = format!("echo wait_proc beep > {}; echo done", file());
    let (number, _) = started_by(|| {
        let inside = Tool::new("unshare").args(["--pid", "--fork", "bash", "-c", &line]).run();
        assert_eq!(inside.success(), "done\n");
    });
    // Its number is one of ours.
    assert!(number > 2);
}

#[test]
fn a_script_has_no_open_files_and_no_terminal() {
    let script = "#!/bin/bash\nls /proc/$$/fd > /tmp/files\ntty >> /tmp/files\nexit 0\n";
    let _script = Script::new(script, 0o755);
    assert_eq!(call("wait_proc script").unwrap(), "exited 0");
    let files = fs::read_to_string("/tmp/files").unwrap();
    // 1 is that of ls, and bash has the script itself.
    assert!(!files.lines().any(|file| file == "0" || file == "2"), "{files}");
    assert!(!files.contains("/dev/"), "{files}");
}

// ---- Bad input ----------------------------------------------------------------------------------

#[test]
fn what_cannot_be_started_is_refused() {
    let mut refusals = Refusals::new();
    for (command, errno) in [
        ("wait_exec missing", Errno::NOENT),
        ("wait_proc missing", Errno::NOENT),
        ("wait_exec text", Errno::ACCESS),
        ("wait_proc text", Errno::ACCESS),
        ("wait_exec directory", Errno::ACCESS),
        ("wait_proc directory", Errno::ACCESS),
        ("wait_exec nowhere", Errno::NOENT),
        ("wait_proc nowhere", Errno::NOENT),
        ("wait_exec script", Errno::NOENT),
        ("wait_proc script", Errno::NOENT),
    ] {
        refusals.case(command, errno, call(command));
    }
    for (contents, mode, errno) in [
        ("#!/bin/bash\n", 0o644, Errno::ACCESS),
        ("#!/bin/bash\n", 0o000, Errno::ACCESS),
        ("nonsense", 0o755, Errno::NOEXEC),
        ("", 0o755, Errno::NOEXEC),
        // Without a name, the interpreter is the directory.
        ("#!", 0o755, Errno::ACCESS),
        ("\x7fELF", 0o755, Errno::NOEXEC),
        ("#!/callgate/missing\n", 0o755, Errno::NOENT),
        ("#!/proc/version\n", 0o755, Errno::ACCESS),
        ("#!/tmp\n", 0o755, Errno::ACCESS),
    ] {
        let _script = Script::new(contents, mode);
        for mode in ["wait_exec", "wait_proc"] {
            let what = format!("{mode} {contents:?}");
            refusals.case(&what, errno, call(format!("{mode} script")));
        }
    }
    let path = SCRIPT.to_str().unwrap();
    std::os::unix::fs::symlink(path, path).unwrap();
    refusals.case("a link to itself", Errno::LOOP, call("wait_exec script"));
    refusals.case("a link to itself", Errno::LOOP, call("wait_proc script"));
    fs::remove_file(path).unwrap();
    assert!(!fs::exists(MISSING.to_str().unwrap()).unwrap());
    assert!(fs::exists(TEXT.to_str().unwrap()).unwrap());
    refusals.finish();
}

// new: begin
#[test]
fn a_user_chooses_but_never_says_what_is_started() {
    settle();
    let before = evidence();
    let mut refusals = Refusals::new();
    for command in [
        "\n",
        "wait_proc",
        "beep",
        "wait_proc  beep",
        "wait_proc beep ",
        "wait_proc exit 4",
        "wait_proc /bin/sh",
        "wait_proc $(beep)",
        "wait beep",
        "no_wait nobody",
        "wait_exec beep\nwait_exec beep",
        // new: end
        " ",
        "\0",
        "wait_proc ",
        "wait_proc\n",
        " beep",
        "beep wait_proc",
        " wait_proc beep",
        "wait_proc\tbeep",
        "wait_proc beep\n\n",
        "wait_proc beep\0",
        "wait_proc beep\r\n",
        "wait_proc beep 3",
        "wait_proc exit;beep",
        "wait_proc Beep",
        "wait_proc bee",
        "wait_proc beeps",
        "wait_proc ../callgate/gate",
        "wait_proc beep|beep",
        "Wait_proc beep",
        "wait_pro beep",
        "wait_process beep",
        "wait-proc beep",
        "2 beep",
        "nowait beep",
        "no_wait",
        "no_wait -",
        "no_wait *",
        "wait_exec",
        "wait_exec x",
        "killable beep",
        // new: begin
    ] {
        refusals.case(&format!("{command:?}"), Errno::INVAL, call(command));
    }
    refusals.case("no text", Errno::INVAL, call(b"wait_proc \xffbeep"));
    refusals.case("33 bytes", Errno::INVAL, call(format!("{:33}", "wait_proc beep")));
    refusals.case("a page", Errno::INVAL, call([b'x'; 4096]));
    refusals.finish();
    assert_eq!(evidence(), before, "nothing was started");
    assert_eq!(call("").as_deref(), Ok(""));
}

// new: end
#[test]
fn memory_that_ends_or_is_not_there_is_refused() {
    settle();
    let before = evidence();
    let mut refusals = Refusals::new();
    let file = open(OFlags::RDWR).unwrap();
    let command = Guarded::holding(b"wait_proc exit").unwrap();
    refusals.case("beyond the end", Errno::FAULT, command.write(&file, 15));
    for hole in Hole::ALL {
        let errno = if hole == Hole::ReadOnly { Errno::INVAL } else { Errno::FAULT };
        refusals.case(&format!("{hole:?}"), errno, hole.write(&file, 8));
    }
    assert_eq!(command.write(&file, 14), Ok(14));
    for hole in Hole::ALL {
        refusals.case(&format!("{hole:?}"), Errno::FAULT, hole.read(&file, 8));
    }
    refusals.finish();
    assert_eq!(evidence(), before);
    let mut exact = Guarded::new(9).unwrap();
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).unwrap();
    assert_eq!(exact.read(&file, 9), Ok(9));
    assert_eq!(exact.bytes(), b"exited 3\n");
}

// new: begin
#[test]
fn strangers_are_kept_out() {
    let mut refusals = Refusals::new();
    for direction in ["<", ">"] {
        let nobody = Tool::shell(&format!("exec 3{direction}{}", file())).user(65534, 65534);
        refusals.case("nobody", Errno::ACCESS, nobody.run().answer());
    }
    refusals.finish();
}

// new: end
#[test]
fn the_file_can_do_nothing_else() {
    let mut refusals = Refusals::new();
    let (readable, writable) = (open(OFlags::RDONLY).unwrap(), open(OFlags::WRONLY).unwrap());
    refusals.case("write", Errno::BADF, rustix::io::write(&readable, b"wait_proc exit"));
    refusals.case("read", Errno::BADF, rustix::io::read(&writable, &mut [0; 4]));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    refusals.case("create", Errno::EXIST, open(flags));
    refusals.case("directory", Errno::NOTDIR, open(OFlags::DIRECTORY));
    refusals.case("unlink", Errno::PERM, rustix::fs::unlink(file()));
    refusals.case("rename", Errno::PERM, rustix::fs::rename(file(), "/sys/kernel/debug/x"));
    // What is open for writing keeps a file system from becoming read-only.
    drop(writable);
    let mount = |options: &str| Tool::new("mount").args(["-o", options, ROOT]).run().success();
    mount("remount,ro");
    let read_only = open(OFlags::WRONLY);
    mount("remount,rw,mode=700");
    refusals.case("read-only", Errno::ROFS, read_only);
    refusals.finish();
}

// ---- Without memory -----------------------------------------------------------------------------

#[test]
fn it_survives_every_failure() {
    let file = open(OFlags::RDWR).unwrap();
    at_each_place(
        || rustix::io::write(&file, b"wait_proc exit"),
        |place, result| {
            let expected = matches!(result, Ok(14) | Err(Errno::NOMEM | Errno::FAULT));
            assert!(expected, "place {place}: {result:?}");
        },
    );
    at_each_place(
        || open(OFlags::RDWR),
        |place, result| {
            let expected = matches!(result, Ok(_) | Err(Errno::NOMEM | Errno::FAULT));
            assert!(expected, "place {place}: {result:?}");
        },
    );
    drop(file);
    unload();
    load();
    settle();
}

#[test]
fn a_load_that_fails_leaves_nothing() {
    settle();
    unload();
    let mut failed = 0;
    let places = at_last_places(
        120,
        || module::load(MODULE_FILE, "").map_err(|error| error.errno()),
        |place, loaded| match loaded {
            // A helper or a file that could not be had is no error for the module.
            Ok(()) => unload(),
            Err(errno) => {
                failed += 1;
                assert_eq!(errno, Some(Errno::NOMEM), "place {place}");
                assert!(!fs::exists(file()).unwrap(), "place {place}");
                assert_eq!(running(BEEP), [0; 0], "place {place}");
            }
        },
    );
    load();
    assert!(places.is_none() || failed > 0);
    assert_eq!(call("wait_proc exit").unwrap(), "exited 3");
}

// ---- Unloading ----------------------------------------------------------------------------------

// new: begin
#[test]
fn who_waits_keeps_the_module() {
    let worker = Worker::spawn(|| call("wait_proc hang"));
    wait_until("running", || !running(HANG).is_empty());
    let refused = module::unload(MODULE).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::AGAIN));
    assert_eq!(worker.finish(LIMIT), Err(Errno::TIMEDOUT));
    let idle = open(OFlags::RDONLY).unwrap();
    let refused = module::unload(MODULE).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::AGAIN));
    drop(idle);
    unload();
    assert_eq!(call("wait_proc exit"), Err(Errno::NOENT));
    load();
    settle();
}

// new: end
#[test]
fn it_unloads_at_once_after_it_was_loaded() {
    for _ in 0..cycles() {
        unload();
        assert_eq!(running(BEEP), [0; 0]);
        load();
    }
    settle();
}

// new: begin
#[test]
fn what_runs_is_ended_when_the_module_goes() {
    for _ in 0..cycles() {
        for _ in 0..2 {
            assert_eq!(call("wait_exec hang").unwrap(), "started");
        }
        unload();
        assert_eq!(running(HANG), [0; 0]);
        load();
    }
    settle();
}

// new: end
#[test]
fn what_is_queued_is_ended_when_the_module_goes() {
    for _ in 0..cycles() {
        for helper in ["hang", "beep", "missing", "crash", "nowhere"] {
            assert_eq!(call(format!("no_wait {helper}")).unwrap(), "queued");
        }
        unload();
        for name in [HANG, BEEP, CRASH] {
            assert_eq!(running(name), [0; 0]);
        }
        load();
    }
    settle();
}

// new: begin
/// What became of a use, which may have come too early or too late.
fn used<T>(result: &Result<T, Errno>) -> Use {
    // Or the module would be in use all the time, and more would be started than can be.
    thread::sleep(Duration::from_millis(100));
    match result {
        Ok(_) => Use::Reached,
        Err(Errno::NOENT | Errno::NXIO | Errno::IO) => Use::Missed,
        Err(errno) => panic!("{errno}"),
    }
}

#[test]
fn it_unloads_from_under_those_who_wait_and_those_who_do_not() {
    let waits = || used(&call("wait_proc exit"));
    let does_not = || used(&call("no_wait hang"));
    while_used(MODULE, MODULE_FILE, LIMIT, &[&waits, &does_not]);
    unload();
    assert_eq!(running(HANG), [0; 0]);
    load();
    settle();
}

// new: end