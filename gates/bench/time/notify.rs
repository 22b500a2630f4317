// SPDX-License-Identifier: MIT OR Apache-2.0

//! One thread has the kernel tell something, and another, on another CPU, waits for it. The next is told when
//! the one before was heard.

use std::fs;
use std::hint;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;
use rustix::thread::gettid;

use super::{Done, cpu_time, nanoseconds, pin, sleeps};
use crate::bench::SentStep;

/// How long the other thread may take to fall asleep. One that does not is told all the same.
const ASLEEP: Duration = Duration::from_millis(2);

/// Tells for a while, as soon as the one before was heard.
pub fn flat_out(tell: &mut SentStep, hear: &mut SentStep, time: Duration) -> Result<Done> {
    both(tell, hear, time, None)
}

/// Tells for a while, each when the other thread sleeps, and takes the time until that knows.
pub fn by_the_clock(
    tell: &mut SentStep,
    hear: &mut SentStep,
    time: Duration,
    latencies: &mut Histogram<u64>,
) -> Result<Done> {
    both(tell, hear, time, Some(latencies))
}

/// What the threads know of each other.
struct Between {
    start: Instant,
    /// The other's number, once it is there.
    hearer: AtomicI32,
    /// When the last one was told, in nanoseconds from the start.
    told: AtomicU64,
    /// How many were heard.
    heard: AtomicU64,
    /// The next one is the last.
    last: AtomicBool,
}

fn both(
    tell: &mut SentStep,
    hear: &mut SentStep,
    time: Duration,
    latencies: Option<&mut Histogram<u64>>,
) -> Result<Done> {
    let between = Between {
        start: Instant::now(),
        hearer: AtomicI32::new(0),
        told: AtomicU64::new(0),
        heard: AtomicU64::new(0),
        last: AtomicBool::new(false),
    };
    let when_asleep = latencies.is_some();
    thread::scope(|scope| {
        let hearer = scope.spawn(|| between.hear(hear, latencies));
        let told = between.tell(tell, time, when_asleep, || hearer.is_finished());
        // Whoever hears nothing more gives up by itself.
        let heard = hearer.join();
        let mut done = told?;
        let (cpu, sleeps) = heard.map_err(|_| anyhow!("who hears it panicked"))??;
        done.cpu += cpu;
        done.sleeps += sleeps;
        Ok(done)
    })
}

impl Between {
    fn tell(
        &self,
        tell: &mut SentStep,
        time: Duration,
        when_asleep: bool,
        nobody_hears: impl Fn() -> bool,
    ) -> Result<Done> {
        while self.hearer.load(SeqCst) == 0 && !nobody_hears() {
            hint::spin_loop();
        }
        let mut done = Done::default();
        let (start, slept) = (Instant::now(), sleeps()?);
        loop {
            let last = start.elapsed() >= time;
            if when_asleep {
                self.wait_until_asleep();
            }
            self.last.store(last, SeqCst);
            let cpu = cpu_time()?;
            self.told.store(nanoseconds(self.start.elapsed()), SeqCst);
            tell()?;
            // What comes now is not the mechanism's.
            done.cpu += cpu_time()?.saturating_sub(cpu);
            done.operations += 1;
            while self.heard.load(SeqCst) < done.operations {
                // It ends once it has heard the last one, so it must be looked again.
                if nobody_hears() && self.heard.load(SeqCst) < done.operations {
                    return Ok(done);
                }
                hint::spin_loop();
            }
            if last {
                done.took = start.elapsed();
                done.sleeps = sleeps()?.saturating_sub(slept);
                return Ok(done);
            }
        }
    }

    /// Returns its CPU time, and how often it slept.
    fn hear(
        &self,
        hear: &mut SentStep,
        mut latencies: Option<&mut Histogram<u64>>,
    ) -> Result<(Duration, u32)> {
        pin(0)?;
        let before = (cpu_time()?, sleeps()?);
        self.hearer.store(gettid().as_raw_nonzero().get(), SeqCst);
        loop {
            hear()?;
            let now = nanoseconds(self.start.elapsed());
            if let Some(latencies) = &mut latencies {
                latencies.saturating_record(now.saturating_sub(self.told.load(SeqCst)));
            }
            let last = self.last.load(SeqCst);
            self.heard.fetch_add(1, SeqCst);
            if last {
                let (cpu, slept) = before;
                let cpu = cpu_time()?.saturating_sub(cpu);
                return Ok((cpu, sleeps()?.saturating_sub(slept)));
            }
        }
    }

    fn wait_until_asleep(&self) {
        let hearer = self.hearer.load(SeqCst);
        let path = format!("/proc/self/task/{hearer}/stat");
        let start = Instant::now();
        while start.elapsed() < ASLEEP {
            // The state follows the name, which is in parentheses.
            let text = fs::read_to_string(&path).unwrap_or_default();
            if text
                .rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with('S'))
            {
                return;
            }
        }
    }
}
