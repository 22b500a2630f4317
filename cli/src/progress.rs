// SPDX-License-Identifier: MIT OR Apache-2.0

//! Progress on stderr: a bar with an estimate on a terminal, plain lines elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lab::command::{Progress, set_progress};
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a long step says off a terminal how far it is.
const PLAIN_EVERY: Duration = Duration::from_mins(1);

/// Makes the lab's progress appear.
pub fn install() {
    set_progress(if std::io::stderr().is_terminal() {
        Arc::new(Bars::default())
    } else {
        Arc::new(Lines::default())
    });
}

#[derive(Default)]
struct Bars(Mutex<Option<ProgressBar>>);

impl Bars {
    fn with<R>(&self, call: impl FnOnce(&mut Option<ProgressBar>) -> R) -> R {
        call(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Progress for Bars {
    fn note(&self, line: &str) {
        self.with(|bar| match bar {
            Some(bar) => bar.suspend(|| anstream::eprintln!("{line}")),
            None => anstream::eprintln!("{line}"),
        });
    }

    fn begin(&self, what: &str) {
        let style = ProgressStyle::with_template("{spinner} {msg} · {elapsed}");
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        self.with(|slot| *slot = Some(bar));
    }

    fn at(&self, done: u64, total: u64) {
        self.with(|bar| {
            let Some(bar) = bar else { return };
            if bar.length().is_none() {
                let style = ProgressStyle::with_template(
                    "{spinner} {msg} · {elapsed} [{bar:20}] {percent} %, {eta} to go",
                );
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            }
            bar.set_length(total.max(done));
            bar.set_position(done);
        });
    }

    fn end(&self) {
        if let Some(bar) = self.with(Option::take) {
            bar.finish_and_clear();
        }
    }
}

#[derive(Default)]
struct Lines(Mutex<Option<(String, Instant, Instant)>>);

impl Progress for Lines {
    fn note(&self, line: &str) {
        anstream::eprintln!("{line}");
    }

    fn begin(&self, what: &str) {
        eprintln!("callgate: {what}");
        let now = Instant::now();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((what.into(), now, now));
    }

    fn at(&self, done: u64, total: u64) {
        let mut step = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((what, begun, told)) = step.as_mut() else {
            return;
        };
        if told.elapsed() < PLAIN_EVERY {
            return;
        }
        *told = Instant::now();
        let (done, total) = (done.max(1), total.max(done).max(1));
        let left = begun.elapsed().as_secs() * (total - done) / done;
        eprintln!(
            "callgate: {what}: {} %, about {left} s to go",
            done * 100 / total
        );
    }

    fn end(&self) {
        let step = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((what, begun, _)) = step
            && begun.elapsed() > Duration::from_secs(2)
        {
            eprintln!("callgate: {what}: {:.1} s", begun.elapsed().as_secs_f32());
        }
    }
}
