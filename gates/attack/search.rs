// SPDX-License-Identifier: MIT OR Apache-2.0

//! The search for programs that reach something new.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use callgate::module;
use callgate::signal::{Blocked, Signal};
use callgate::testing::kcov::Coverage;
use callgate::testing::memory::Shared;
use callgate::testing::signal::{self, Caught, Then};
use fastrand::Rng;
use guest::attacked::{Attack, Attacked, Finding};
use rustix::thread::gettid;

use super::calls::Attacker;
use super::places::Places;
use super::surface;
use crate::bench::Console;
use crate::signal::abi;

/// How long a program is at most.
const LONGEST: usize = 512;

/// After so many programs it is looked what there is to open, and whether memory shall change now.
const BATCH: u64 = 128;

/// In one of so many batches memory changes meanwhile.
const CHANGING: u64 = 2;

/// How often it is told how far it is.
const TELL: Duration = Duration::from_secs(5);

/// A program that takes longer is interrupted, and again.
const STUCK: Duration = Duration::from_secs(2);

/// How many findings are told of.
const MOST_FINDINGS: usize = 20;

/// Attacks a gate for a while, and prints what comes of it.
pub fn run(gate: &str, module: (&str, &str), time: Duration, seed: u64) -> Result<()> {
    let _quiet = Console::quiet()?;
    // Gates that send it may have been told our number.
    let _blocked = Blocked::new(&[Signal::new(abi::SIGNAL).context("no such signal")?])?;
    let mut search = Search::new(gate, module, seed)?;
    let memory = search.attacker.shared();
    search.attacker.be_nobody();
    search.note(&[]);
    let watch = Watch::new();
    let start = Instant::now();
    let mut told = start;
    while start.elapsed() < time {
        search.attacker.look();
        let batch = search.found.programs / BATCH;
        let _changing = batch
            .is_multiple_of(CHANGING)
            .then(|| Changing::new(&memory));
        for _ in 0..BATCH {
            watch.progress.fetch_add(1, Ordering::Relaxed);
            let program = search.next();
            search.try_out(program);
        }
        if told.elapsed() > TELL {
            told = Instant::now();
            println!(
                "{}",
                serde_json::to_string(&Attacked::At(search.report(start)))?
            );
        }
    }
    println!(
        "{}",
        serde_json::to_string(&Attacked::Done(search.report(start)))?
    );
    Ok(())
}

/// Carries out one program again.
pub fn replay(gate: &str, program: &str) -> Result<()> {
    let (pairs, []) = program.as_bytes().as_chunks::<2>() else {
        anyhow::bail!("a program is pairs of hexadecimal digits");
    };
    let byte = |pair: &[u8; 2]| {
        u8::from_str_radix(std::str::from_utf8(pair)?, 16).context("a pair of digits")
    };
    let program = pairs.iter().map(byte).collect::<Result<Vec<u8>>>()?;
    let mut attacker = Attacker::new(surface(gate)?)?;
    attacker.carry_out(&program);
    ensure!(attacker.wrong.is_empty(), "{}", attacker.wrong.join("; "));
    Ok(())
}

/// All that is known.
struct Search {
    attacker: Attacker,
    coverage: Option<(Coverage, Places)>,
    /// What was reached, of the module's places,
    reached: BTreeSet<u64>,
    /// and from where.
    steps: BTreeSet<(u64, u64)>,
    kept: Vec<Vec<u8>>,
    random: Rng,
    found: Attack,
}

impl Search {
    fn new(gate: &str, (module, parameters): (&str, &str), seed: u64) -> Result<Self> {
        let mut coverage = None;
        let mut reached = BTreeSet::new();
        if !module.is_empty()
            && let Some(mut places) = Places::of(module)?
            && let Some(tracer) = Coverage::new().context("tracing what is reached")?
        {
            let mut collect = |places: &Places| {
                reached.extend(tracer.reached().filter_map(|address| places.find(address)));
                tracer.forget();
            };
            // What it does at its end and at its beginning is reached only so.
            module::unload(module)?;
            collect(&places);
            module::load(format!("{}/{module}.ko", guest::MODULES), parameters)?;
            places.look(module)?;
            collect(&places);
            coverage = Some((tracer, places));
        }
        Ok(Self {
            attacker: Attacker::new(surface(gate)?)?,
            coverage,
            reached,
            steps: BTreeSet::new(),
            kept: Vec::new(),
            random: Rng::with_seed(seed),
            found: Attack {
                gate: gate.into(),
                ..Attack::default()
            },
        })
    }

    /// What to try next: something new, or what is known, changed.
    fn next(&mut self) -> Vec<u8> {
        let random = &mut self.random;
        let Some(known) = random.choice(&self.kept).filter(|_| random.u8(..) > 8) else {
            let len = random.usize(8..128);
            return std::iter::repeat_with(|| random.u8(..)).take(len).collect();
        };
        let mut program = known.clone();
        for _ in 0..1 << random.u32(0..5) {
            change(&mut program, &self.kept, random);
        }
        program.truncate(LONGEST);
        program
    }

    /// Carries out a program, and keeps it if it reaches something new.
    fn try_out(&mut self, program: Vec<u8>) {
        if let Some((coverage, _)) = &self.coverage {
            coverage.forget();
        }
        self.attacker.carry_out(&program);
        self.found.programs += 1;
        let mut is_new = false;
        match &self.coverage {
            Some((coverage, places)) => {
                let mut before = 0;
                for place in coverage
                    .reached()
                    .filter_map(|address| places.find(address))
                {
                    is_new |= self.reached.insert(place) | self.steps.insert((before, place));
                    before = place;
                }
            }
            // Something has to be changed.
            None => is_new = self.kept.len() < 64,
        }
        self.note(&program);
        if is_new {
            self.kept.push(program);
        }
    }

    /// Notes what should not have been.
    fn note(&mut self, program: &[u8]) {
        let findings = &mut self.found.findings;
        for what in self.attacker.wrong.drain(..) {
            let is_known = findings.iter().any(|finding| finding.what == what);
            if !is_known && findings.len() < MOST_FINDINGS {
                findings.push(Finding {
                    what,
                    program: hexadecimal(program),
                });
            }
        }
    }

    fn report(&self, start: Instant) -> Attack {
        let reached = self.coverage.as_ref();
        Attack {
            seconds: start.elapsed().as_secs_f64(),
            calls: self.attacker.calls,
            refused: self.attacker.refused,
            kept: self.kept.len() as u64,
            reached: reached.map(|(_, places)| places.reached(&self.reached)),
            ..self.found.clone()
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // It cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Changes something of a program, by chance.
fn change(program: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Rng) {
    if program.is_empty() {
        program.push(random.u8(..));
        return;
    }
    let at = random.usize(..program.len());
    match random.u8(..10) {
        0 => program[at] ^= 1 << random.u8(..8),
        1 | 2 => program[at] = random.u8(..),
        3 => program[at] = program[at].wrapping_add(random.u8(1..8)),
        4 => program[at] = program[at].wrapping_sub(random.u8(1..8)),
        5 => program.insert(at, random.u8(..)),
        6 => {
            let end = (at + random.usize(1..8)).min(program.len());
            program.drain(at..end);
        }
        7 => {
            let end = (at + random.usize(1..16)).min(program.len());
            let part = program[at..end].to_vec();
            let to = random.usize(..=program.len());
            program.splice(to..to, part);
        }
        8 => {
            if let Some(other) = random.choice(others) {
                let from = random.usize(..=other.len());
                program.truncate(at);
                program.extend(&other[from..]);
            }
        }
        _ => {
            if let Some(other) = random.choice(others) {
                program.extend(other);
            }
        }
    }
}

/// A thread that changes memory as fast as it can, until this is dropped.
struct Changing {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Changing {
    fn new(memory: &Arc<Shared>) -> Self {
        let (memory, stop) = (memory.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut random = Rng::with_seed(1);
            while !stopped.load(Ordering::Relaxed) {
                // Mostly at the beginning, where sizes and addresses are.
                let most = [2, 2, 16, 128][random.usize(..4)];
                let word = &memory.words()[random.usize(..most)];
                let old = word.load(Ordering::Relaxed);
                word.store(random.u32(..), Ordering::Relaxed);
                for _ in 0..random.u8(..32) {
                    hint::spin_loop();
                }
                word.store(old, Ordering::Relaxed);
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Its only end is to be stopped.
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// A thread that interrupts this one where a call does not come back.
struct Watch {
    progress: Arc<AtomicU64>,
    _caught: Option<Caught>,
}

impl Watch {
    fn new() -> Self {
        let progress = Arc::new(AtomicU64::new(0));
        let (watched, thread) = (progress.clone(), gettid());
        let caught = Caught::new(Then::Fail).ok();
        thread::spawn(move || {
            let mut last = 0;
            loop {
                thread::sleep(STUCK);
                let now = watched.load(Ordering::Relaxed);
                if now == last && signal::interrupt(thread).is_err() {
                    return;
                }
                last = now;
            }
        });
        Self {
            progress,
            _caught: caught,
        }
    }
}
