// SPDX-License-Identifier: MIT OR Apache-2.0

//! Fetching from a server like kernel.org: a small one on the loopback interface, which misbehaves.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use lab::cache::Cache;
use lab::fetch::{Altered, Source, discard, from_kernel_org, kernel_source, sha256, unpack};

const NAME: &str = "linux-7.3.5.tar.xz";

fn empty(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("fetch")
        .join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// A tarball with the shape of the kernel's.
fn tarball(dir: &Path) -> Vec<u8> {
    let tree = dir.join("linux-7.3.5");
    kernel_tree(&tree, 3);
    let file = dir.join(NAME);
    let tar = Command::new("tar")
        .arg("-C")
        .arg(dir)
        .arg("-cJf")
        .arg(&file)
        .arg("linux-7.3.5")
        .status();
    assert!(tar.unwrap().success());
    fs::read(file).unwrap()
}

fn kernel_tree(tree: &Path, patchlevel: u32) {
    fs::create_dir_all(tree.join("rust/kernel")).unwrap();
    let makefile =
        format!("VERSION = 7\nPATCHLEVEL = {patchlevel}\nSUBLEVEL = 5\nEXTRAVERSION =\n");
    fs::write(tree.join("Makefile"), makefile).unwrap();
    fs::write(tree.join("Kconfig"), "mainmenu \"Linux\"\n").unwrap();
    // Something that xz cannot make small.
    let mut state = 1u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_be_bytes()[0]
    };
    let noise: Vec<u8> = (0..200_000).map(|_| next()).collect();
    fs::write(tree.join("noise"), noise).unwrap();
}

#[derive(Default)]
struct Server {
    files: HashMap<String, Vec<u8>>,
    /// After how many bytes the next transfers break off.
    breaks: Vec<usize>,
    /// The `Range` headers that came with downloads.
    ranges: Vec<Option<usize>>,
}

struct Site {
    base: String,
    server: Arc<Mutex<Server>>,
}

/// Serves a tarball under its name, and the sums of what it should be.
fn site(published: &[u8], content: &[u8], dir: &Path) -> Site {
    let good = dir.join("published");
    fs::write(&good, published).unwrap();
    let sums = format!("-----BEGIN-----\n{}  {NAME}\n", sha256(&good).unwrap());
    let server = Arc::new(Mutex::new(Server::default()));
    server.lock().unwrap().files = HashMap::from([
        ("/sha256sums.asc".to_owned(), sums.into_bytes()),
        (format!("/{NAME}"), content.to_vec()),
    ]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let shared = Arc::clone(&server);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = answer(&stream.unwrap(), &shared);
        }
    });
    Site { base, server }
}

fn answer(mut stream: &TcpStream, server: &Mutex<Server>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut range = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(from) = line.strip_prefix("range: bytes=") {
            range = from.trim_end_matches('-').parse::<usize>().ok();
        }
    }
    let mut server = server.lock().unwrap();
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let Some(file) = server.files.get(path).cloned() else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    };
    let from = range.unwrap_or(0);
    if from >= file.len() {
        return stream
            .write_all(b"HTTP/1.1 416 Range\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    let mut body = &file[from..];
    let status = if range.is_some() {
        "206 Partial Content"
    } else {
        "200 OK"
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n",
        body.len()
    )?;
    if range.is_some() {
        write!(
            stream,
            "Content-Range: bytes {from}-{}/{}\r\n",
            file.len() - 1,
            file.len()
        )?;
    }
    stream.write_all(b"\r\n")?;
    if method == "HEAD" {
        return Ok(());
    }
    if path.ends_with(NAME) {
        server.ranges.push(range);
        if let Some(bytes) = server.breaks.pop() {
            body = &body[..bytes];
        }
    }
    stream.write_all(body)
}

fn cache(dir: &Path) -> Cache {
    Cache::open_at(dir.join("cache")).unwrap()
}

fn is_version(source: &Source) -> bool {
    source.version == "7.3.5" && source.identity.len() == 64
}

#[test]
fn a_tarball_is_fetched_once_checked_and_unpacked() {
    let dir = empty("good");
    let tarball = tarball(&dir);
    let site = site(&tarball, &tarball, &dir);
    let cache = cache(&dir);
    let source = from_kernel_org(&cache, &site.base).unwrap();
    assert!(is_version(&source), "{source:?}");

    // It is kept: nothing is asked of the network again.
    site.server.lock().unwrap().files.clear();
    assert_eq!(kernel_source(&cache, None).unwrap(), source);

    let tree = unpack(&cache, &source).unwrap();
    assert!(
        fs::read_to_string(tree.join("Makefile"))
            .unwrap()
            .contains("SUBLEVEL = 5")
    );
    assert_eq!(unpack(&cache, &source).unwrap(), tree);
    discard(&cache, &source).unwrap();
    assert!(!tree.exists());
    assert_eq!(fs::read_dir(cache.path("scratch")).unwrap().count(), 0);
}

#[test]
fn an_altered_tarball_is_refused_and_removed() {
    let dir = empty("altered");
    let good = tarball(&dir);
    let mut bad = good.clone();
    bad[1000] ^= 1;
    let site = site(&good, &bad, &dir);
    let cache = cache(&dir);
    let error = from_kernel_org(&cache, &site.base).unwrap_err();
    let altered = error.downcast_ref::<Altered>().unwrap();
    assert!(!altered.path.exists());
    assert!(
        error.to_string().contains("truncated or altered"),
        "{error}"
    );

    // When the server is right again, so is the next run.
    site.server
        .lock()
        .unwrap()
        .files
        .insert(format!("/{NAME}"), good);
    assert!(is_version(&from_kernel_org(&cache, &site.base).unwrap()));
}

#[test]
fn a_truncated_tarball_is_refused() {
    let dir = empty("truncated");
    let good = tarball(&dir);
    let site = site(&good, &good[..good.len() / 2], &dir);
    let error = from_kernel_org(&cache(&dir), &site.base).unwrap_err();
    assert!(error.is::<Altered>(), "{error:#}");
}

#[test]
fn a_transfer_that_broke_off_goes_on_where_it_ended() {
    let dir = empty("resume");
    let good = tarball(&dir);
    let site = site(&good, &good, &dir);
    site.server.lock().unwrap().breaks = vec![20_000, 30_000];
    from_kernel_org(&cache(&dir), &site.base).unwrap();
    let ranges = site.server.lock().unwrap().ranges.clone();
    assert_eq!(ranges, [None, Some(30_000), Some(50_000)]);
}

#[test]
fn what_a_killed_run_left_is_continued_or_thrown_away() {
    let dir = empty("left");
    let good = tarball(&dir);
    let site = site(&good, &good, &dir);
    let cache = cache(&dir);
    let part = cache.path("partial").join(NAME);
    let mut wrong = good.clone();
    wrong[10] ^= 1;
    let too_long = [&good[..], &good[..]].concat();
    for left in [&good[..40_000], &wrong[..40_000], &wrong, &too_long] {
        fs::create_dir_all(cache.path("partial")).unwrap();
        fs::write(&part, left).unwrap();
        from_kernel_org(&cache, &site.base).unwrap();
        assert!(!part.exists());
    }
}

#[test]
fn a_tarball_altered_in_the_cache_is_refused_and_fetched_anew() {
    let dir = empty("cached");
    let good = tarball(&dir);
    let site = site(&good, &good, &dir);
    let cache = cache(&dir);
    let source = from_kernel_org(&cache, &site.base).unwrap();
    let lab::fetch::Form::Tarball(file) = &source.form else {
        panic!("{source:?}")
    };
    let mut bytes = fs::read(file).unwrap();
    bytes[5000] ^= 1;
    fs::write(file, bytes).unwrap();

    let error = unpack(&cache, &source).unwrap_err();
    assert!(error.is::<Altered>(), "{error:#}");
    assert!(!file.exists());
    let again = from_kernel_org(&cache, &site.base).unwrap();
    unpack(&cache, &again).unwrap();
}

#[test]
fn a_tree_of_the_users_is_copied_and_its_changes_are_noticed() {
    let dir = empty("tree");
    let (tree, cache) = (dir.join("linux"), cache(&dir));
    kernel_tree(&tree, 3);
    fs::create_dir_all(tree.join(".git")).unwrap();
    let source = kernel_source(&cache, Some(&tree)).unwrap();
    assert!(is_version(&source), "{source:?}");
    let copy = unpack(&cache, &source).unwrap();
    assert!(copy.join("noise").exists() && !copy.join(".git").exists());
    fs::write(tree.join("new.c"), "").unwrap();
    assert_ne!(
        kernel_source(&cache, Some(&tree)).unwrap().identity,
        source.identity
    );
}

#[test]
fn what_is_no_tree_of_the_series_is_refused() {
    let dir = empty("refused");
    let cache = cache(&dir);
    kernel_tree(&dir.join("old"), 2);
    for (tree, says) in [
        ("none", "No such file"),
        (".", "no kernel tree"),
        ("old", "7.3 or newer"),
    ] {
        let error = kernel_source(&cache, Some(&dir.join(tree))).unwrap_err();
        assert!(format!("{error:#}").contains(says), "{error:#}");
    }
}
