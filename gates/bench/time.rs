// SPDX-License-Identifier: MIT OR Apache-2.0

//! How long the operations of gates take.
//!
//! The contenders are all operations that can be compared across gates, and they take turns: after a warm-up,
//! in each round each of them has its moment, in an order of the round's own, so that what disturbs for a while
//! disturbs all of them. In its turn an operation is done again and again, first with hardly a look at the clock
//! (how many in a second, at what CPU time), then each by the clock (how long). At last each is begun at fixed
//! moments, half as often as there is room for by the clock, and takes from the moment at which it was to begin: so
//! one that takes long shows in those that had to wait for it.
//!
//! What becomes of round trips with several clients, and of many events at once, is seen afterwards, by a process of
//! its own for each gate.
//!
//! The program keeps to the last CPU, under the policy that programs have: threads of the kernel that do part of
//! the work there must get their share. PID 1 keeps to the first. Memory stays where it is.

mod clients;
mod notify;

use std::hint;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use guest::measured::{Latency, LeftOut, Measured, Open, Spread, Time};
use hdrhistogram::Histogram;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{UsageWho, getrusage};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use super::bulk::{self, streams};
use super::{Operation, Run, Step, Work, operations};

pub use clients::run as clients;

/// How long the operations of a gate are done before anything counts: all together, and each of them, at least.
const WARM_UP: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(100));

/// How often each has its turn.
const ROUNDS: u32 = 7;

/// How long an operation is done in its turn: before it counts, as others have used the caches,
const AGAIN: Duration = Duration::from_millis(5);
/// with hardly a look at the clock,
const FLAT_OUT: Duration = Duration::from_millis(50);
/// and by the clock.
const BY_THE_CLOCK: Duration = Duration::from_millis(100);

/// For how long it is begun at fixed moments, and within what time it must be done with that.
const OPEN: Duration = Duration::from_millis(300);
const OPEN_LIMIT: Duration = Duration::from_millis(600);

/// How long it goes on without a look at the clock.
const UNSEEN: Duration = Duration::from_millis(1);

/// What takes longer counts as if it took so long.
const LONGEST: Duration = Duration::from_mins(1);

/// Takes the times of all operations of these gates, and prints them, one [`Measured`] a line.
pub fn run(gates: &[&str]) -> Result<()> {
    pin(cpus()? - 1)?;
    mlockall(MlockAllFlags::all()).context("keeping the memory where it is")?;
    say(&Measured::Clock {
        nanoseconds: clock()?,
    })?;
    let mut bench = Bench::of(gates)?;
    bench.each(Contender::warm_up)?;
    let mut order = fastrand::Rng::with_seed(1);
    for _ in 0..ROUNDS {
        if bench.is_late() {
            break;
        }
        order.shuffle(&mut bench.contenders);
        bench.each(Contender::round)?;
    }
    order.shuffle(&mut bench.contenders);
    bench.each(Contender::open)?;
    bench.finish()
}

/// All that is measured.
struct Bench {
    /// The gates that have something to measure.
    gates: Vec<String>,
    contenders: Vec<Contender>,
    /// Whether many events are measured, too.
    streams: bool,
    failed: Vec<LeftOut>,
    start: Instant,
    /// How long all of it takes, as far as that is known beforehand.
    about: Duration,
    told: Instant,
}

impl Bench {
    fn of(gates: &[&str]) -> Result<Self> {
        let (mut ready, mut contenders, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        let mut about = Duration::ZERO;
        let streams = gates.contains(&bulk::GATE);
        if streams {
            about += streams::ABOUT;
        }
        for gate in gates.iter().filter(|gate| **gate != bulk::GATE) {
            match Contender::all(gate, contenders.len()) {
                Ok(of_gate) => {
                    let each = |contender: &Contender| {
                        contender.warm_up + (AGAIN + FLAT_OUT + BY_THE_CLOCK) * ROUNDS + OPEN
                    };
                    about += of_gate.iter().map(each).sum::<Duration>() + clients::ABOUT;
                    contenders.extend(of_gate);
                    ready.push(String::from(*gate));
                }
                Err(error) => failed.push(left_out(gate, "all", &error)),
            }
        }
        let start = Instant::now();
        let mut bench = Self {
            gates: ready,
            contenders,
            streams,
            failed,
            start,
            about,
            told: start,
        };
        bench.tell()?;
        Ok(bench)
    }

    /// Has each contender do something. Those that cannot go on are left out.
    fn each(&mut self, step: impl Fn(&mut Contender) -> Result<()>) -> Result<()> {
        for mut contender in std::mem::take(&mut self.contenders) {
            match step(&mut contender) {
                Ok(()) => self.contenders.push(contender),
                Err(error) => self.failed.push(contender.left_out(&error)),
            }
            if self.told.elapsed() > Duration::from_secs(1) {
                self.tell()?;
            }
        }
        Ok(())
    }

    /// Whether it takes so much longer than it should that there must not be more of it.
    fn is_late(&self) -> bool {
        self.start.elapsed() > self.about * 2
    }

    /// Says how far it is.
    fn tell(&mut self) -> Result<()> {
        self.told = Instant::now();
        say(&Measured::At {
            seconds: self.start.elapsed().as_secs_f64(),
            of: self.about.as_secs_f64(),
        })
    }

    /// Says what came of it, and what comes of it with several clients.
    fn finish(mut self) -> Result<()> {
        self.contenders.sort_by_key(|contender| contender.place);
        for contender in std::mem::take(&mut self.contenders) {
            say(&Measured::Time(contender.time()?))?;
        }
        for gate in std::mem::take(&mut self.gates) {
            self.tell()?;
            by_another_process("clients", &gate)?;
        }
        if self.streams {
            self.tell()?;
            by_another_process("streams", bulk::GATE)?;
        }
        for left_out in &self.failed {
            say(&Measured::LeftOut(left_out.clone()))?;
        }
        if let Some(LeftOut { gate, what, why }) = self.failed.first() {
            let count = self.failed.len();
            bail!("{count} could not be measured, first {what} of {gate}: {why}");
        }
        Ok(())
    }
}

/// Has a process of its own measure this of a gate, which prints what it finds where this one does.
fn by_another_process(what: &str, gate: &str) -> Result<()> {
    let status = Command::new("/proc/self/exe")
        .args([what, gate])
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("starting the {what}"))?;
    if status.success() {
        return Ok(());
    }
    without(gate, what, &anyhow!("{status}"))
}

/// Says that something of a gate could not be measured.
pub(super) fn without(gate: &str, what: &str, why: &anyhow::Error) -> Result<()> {
    say(&Measured::LeftOut(left_out(gate, what, why)))
}

/// An operation that is measured.
struct Contender {
    gate: String,
    operation: Operation<'static>,
    /// Its place among all of them.
    place: usize,
    warm_up: Duration,
    /// How often it is done without a look at the clock.
    batch: u32,
    turns: Vec<Turn>,
    latencies: Histogram<u64>,
    open: Option<(f64, u64, Histogram<u64>)>,
}

/// What was seen of it in a turn.
struct Turn {
    rate: f64,
    /// By the clock.
    rate_by_the_clock: f64,
    cpu: f64,
    sleeps: f64,
    p50: u64,
    p99: u64,
}

impl Contender {
    /// All of a gate, which are preceded by so many.
    fn all(gate: &str, preceded: usize) -> Result<Vec<Self>> {
        let operations: Vec<_> = operations(gate)?
            .into_iter()
            .filter(|operation| operation.work != Work::Other)
            .collect();
        let (all, each) = WARM_UP;
        let warm_up = each.max(all / u32::try_from(operations.len().max(1))?);
        let contender = |(index, operation)| {
            Ok(Self {
                gate: gate.into(),
                operation,
                place: preceded + index,
                warm_up,
                batch: 1,
                turns: Vec::new(),
                latencies: histogram()?,
                open: None,
            })
        };
        operations.into_iter().enumerate().map(contender).collect()
    }

    fn warm_up(&mut self) -> Result<()> {
        let done = match self.operation.ready()? {
            Run::Alone(run) => flat_out(run, 1, self.warm_up)?,
            Run::Told { tell, hear } => notify::flat_out(tell, hear, self.warm_up)?,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "nothing is done 2³² times in so short a time"
        )]
        let batch = (done.rate() * UNSEEN.as_secs_f64()) as u32;
        self.batch = batch.max(1);
        Ok(())
    }

    fn round(&mut self) -> Result<()> {
        let mut latencies = histogram()?;
        let (done, clocked) = match self.operation.ready()? {
            Run::Alone(run) => {
                flat_out(run, self.batch, AGAIN)?;
                let done = flat_out(run, self.batch, FLAT_OUT)?;
                let until = Instant::now() + BY_THE_CLOCK;
                (done, by_the_clock(run, until, &mut latencies)?)
            }
            Run::Told { tell, hear } => {
                notify::flat_out(tell, hear, AGAIN)?;
                let done = notify::flat_out(tell, hear, FLAT_OUT)?;
                let clocked = notify::by_the_clock(tell, hear, BY_THE_CLOCK, &mut latencies)?;
                (done, clocked)
            }
        };
        self.turns.push(Turn {
            rate: done.rate(),
            rate_by_the_clock: clocked.rate(),
            cpu: done.each(done.cpu.as_secs_f64() * 1e9),
            sleeps: done.each(f64::from(done.sleeps)),
            p50: latencies.value_at_quantile(0.5),
            p99: latencies.value_at_quantile(0.99),
        });
        self.latencies.add(&latencies)?;
        Ok(())
    }

    fn open(&mut self) -> Result<()> {
        let rate = self.spread(|turn| turn.rate_by_the_clock).median / 2.0;
        let Run::Alone(run) = self.operation.ready()? else {
            return Ok(());
        };
        let mut latencies = histogram()?;
        let start = Instant::now();
        let missed = at_fixed_moments(rate, || start.elapsed(), run, &mut latencies)?;
        self.open = Some((rate, missed, latencies));
        Ok(())
    }

    fn spread(&self, value: impl Fn(&Turn) -> f64) -> Spread {
        Spread::of(self.turns.iter().map(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "a time is less than 2⁵³ ns")]
    fn time(&self) -> Result<Time> {
        Ok(Time {
            gate: self.gate.clone(),
            work: self.operation.work.name().into(),
            operation: self.operation.name.into(),
            bytes: self.operation.bytes.try_into()?,
            rate: self.spread(|turn| turn.rate),
            p50: self.spread(|turn| turn.p50 as f64),
            p99: self.spread(|turn| turn.p99 as f64),
            latency: latency(&self.latencies),
            cpu: self.spread(|turn| turn.cpu),
            sleeps: self.spread(|turn| turn.sleeps).median,
            open: self
                .open
                .as_ref()
                .map(|&(rate, missed, ref latencies)| Open {
                    rate,
                    missed,
                    latency: latency(latencies),
                }),
        })
    }

    fn left_out(&self, why: &anyhow::Error) -> LeftOut {
        let Operation { name, bytes, .. } = self.operation;
        left_out(&self.gate, &format!("{name} of {bytes} bytes"), why)
    }
}

impl<'a> Operation<'a> {
    /// Has everything done that must come first.
    fn ready(&mut self) -> Result<&mut Run<'a>> {
        self.first.as_mut().map_or(Ok(()), |first| first())?;
        Ok(&mut self.run)
    }
}

fn left_out(gate: &str, what: &str, why: &anyhow::Error) -> LeftOut {
    LeftOut {
        gate: gate.into(),
        what: what.into(),
        why: format!("{why:#}"),
    }
}

/// What was done in a while.
#[derive(Debug, Default)]
struct Done {
    operations: u64,
    took: Duration,
    cpu: Duration,
    sleeps: u32,
}

impl Done {
    /// How many in a second.
    #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2⁵³")]
    fn rate(&self) -> f64 {
        self.operations as f64 / self.took.as_secs_f64()
    }

    /// What there was of something for each of them.
    #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2⁵³")]
    fn each(&self, all: f64) -> f64 {
        all / self.operations as f64
    }
}

/// Does something for a while, so often between two looks at the clock.
fn flat_out(run: &mut Step, batch: u32, time: Duration) -> Result<Done> {
    let (cpu, sleeps) = (cpu_time()?, sleeps()?);
    let start = Instant::now();
    let mut done = Done::default();
    while done.took < time {
        for _ in 0..batch {
            run()?;
        }
        done.operations += u64::from(batch);
        done.took = start.elapsed();
    }
    done.cpu = cpu_time()?.saturating_sub(cpu);
    done.sleeps = self::sleeps()?.saturating_sub(sleeps);
    Ok(done)
}

/// Does something until then, at least once, each by the clock.
fn by_the_clock(run: &mut Step, until: Instant, latencies: &mut Histogram<u64>) -> Result<Done> {
    let start = Instant::now();
    let mut done = Done::default();
    loop {
        let before = Instant::now();
        run()?;
        let after = Instant::now();
        latencies.saturating_record(nanoseconds(after - before));
        done.operations += 1;
        if after >= until {
            done.took = after - start;
            return Ok(done);
        }
    }
}

/// Begins something at fixed moments, so many in a second, or as soon as the one before is done. Returns how many
/// could not be begun because the time was up.
///
/// `now` is the time since the first was to begin.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "there are fewer than 2⁵³, and none is negative"
)]
fn at_fixed_moments(
    rate: f64,
    mut now: impl FnMut() -> Duration,
    run: &mut dyn FnMut() -> Result<()>,
    latencies: &mut Histogram<u64>,
) -> Result<u64> {
    let count = (rate * OPEN.as_secs_f64()).max(1.0) as u64;
    for index in 0..count {
        let due = Duration::from_secs_f64(index as f64 / rate);
        let mut at = now();
        while at < due {
            hint::spin_loop();
            at = now();
        }
        if at > OPEN_LIMIT {
            return Ok(count - index);
        }
        run()?;
        latencies.saturating_record(nanoseconds(now().saturating_sub(due)));
    }
    Ok(0)
}

/// How long reading the clock takes.
fn clock() -> Result<u64> {
    let mut latencies = histogram()?;
    let mut nothing: Step = Box::new(|| Ok(()));
    by_the_clock(&mut nothing, Instant::now() + FLAT_OUT, &mut latencies)?;
    Ok(latencies.value_at_quantile(0.5))
}

/// An empty histogram of times, exact to a thousandth.
fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, nanoseconds(LONGEST), 3)?)
}

fn latency(times: &Histogram<u64>) -> Latency {
    let at = |share| times.value_at_quantile(share);
    Latency {
        samples: times.len(),
        mean: times.mean(),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: times.max(),
        curve: times
            .iter_quantiles(2)
            .map(|step| (step.quantile(), step.value_iterated_to()))
            .collect(),
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The CPU time of this thread so far, the kernel's for it included.
fn cpu_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::ThreadCPUTime).try_into()?)
}

/// How often this thread went to sleep so far.
pub(super) fn sleeps() -> Result<u32> {
    let sleeps = getrusage(UsageWho::RUSAGE_THREAD)?.voluntary_context_switches();
    Ok(sleeps.try_into()?)
}

/// How many CPUs there are. From now on this thread may have each of them.
pub(super) fn cpus() -> Result<usize> {
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
    sched_setaffinity(None, &all).context("asking for all CPUs")?;
    let cpus = std::thread::available_parallelism()?.get();
    ensure!(cpus > 1, "who is told something needs a CPU of its own");
    Ok(cpus)
}

/// Has this thread keep to this CPU.
pub(super) fn pin(cpu: usize) -> Result<()> {
    let mut one = CpuSet::new();
    one.set(cpu);
    sched_setaffinity(None, &one).with_context(|| format!("keeping to CPU {cpu}"))
}

pub(super) fn say(measured: &Measured) -> Result<()> {
    println!("{}", serde_json::to_string(measured)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Begins something 1000 times in a second on a clock that only this moves, where each takes 100 µs but the
    /// one with this index, which takes so long.
    fn with_a_hiccup(index: u32, long: Duration) -> (u64, Histogram<u64>) {
        let (time, done) = (Cell::new(Duration::ZERO), Cell::new(0));
        let mut run = || {
            let usual = Duration::from_micros(100);
            time.update(|time| time + if done.get() == index { long } else { usual });
            done.set(done.get() + 1);
            Ok(())
        };
        let now = || {
            time.update(|time| time + Duration::from_nanos(500));
            time.get()
        };
        let mut latencies = histogram().unwrap();
        let missed = at_fixed_moments(1000.0, now, &mut run, &mut latencies).unwrap();
        (missed, latencies)
    }

    #[test]
    fn nothing_waits_where_there_is_room() {
        let (missed, latencies) = with_a_hiccup(u32::MAX, Duration::ZERO);
        assert_eq!((missed, latencies.len()), (0, 300));
        assert!((100_000..102_000).contains(&latencies.max()));
    }

    #[test]
    fn those_that_had_to_wait_took_longer() {
        let (missed, latencies) = with_a_hiccup(10, Duration::from_millis(45));
        assert_eq!((missed, latencies.len()), (0, 300));
        // The next one begins 44 ms late, and each one that follows 0.9 ms less.
        let late = latencies.count_between(1_000_000, 46_000_000);
        assert_eq!(late, 49);
    }

    #[test]
    fn what_there_was_no_time_for_is_told() {
        let (missed, latencies) = with_a_hiccup(299, OPEN_LIMIT);
        assert_eq!((missed, latencies.len()), (0, 300));
        let (missed, latencies) = with_a_hiccup(289, OPEN_LIMIT);
        assert_eq!((missed, latencies.len()), (10, 290));
    }

    #[test]
    fn the_curve_ends_with_the_longest() {
        let mut times = histogram().unwrap();
        (1..=1000).for_each(|time| times.saturating_record(time));
        let Latency {
            samples,
            p50,
            p90,
            p99,
            p999,
            max,
            curve,
            ..
        } = latency(&times);
        assert_eq!((samples, p50, p90), (1000, 500, 900));
        assert_eq!((p99, p999, max), (990, 999, 1000));
        assert_eq!(curve.last(), Some(&(1.0, 1000)));
        assert!(curve.is_sorted());
    }
}
