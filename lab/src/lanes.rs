// SPDX-License-Identifier: MIT OR Apache-2.0

//! Several machines at once: an emulated one with two CPUs seldom keeps two of the host's busy.

use anyhow::Result;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// The most lanes there are. As many machines with the debug kernel need 2 GB, of the 3 GB that README.md
/// asks for.
const MOST: usize = 4;

/// How many lanes this host has room for: one a core.
pub fn of_this_host() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST))
}

/// Has `each` do all the work, a share of it at a time, in so many lanes at once. Gives what came of the
/// shares, in the order of the work.
///
/// Each share costs something of its own, so the first ones are large; the lanes shall end together, so the
/// last ones are single. They are taken from the end of the list, where the larger gates are. One lane
/// does everything at once.
///
/// After an error no share is begun any more.
pub fn share<W: Send, R: Send>(
    lanes: usize,
    work: Vec<W>,
    each: impl Fn(Vec<W>) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let left = Mutex::new(work);
    let done = Mutex::new(Vec::new());
    let take = || {
        let mut left = locked(&left);
        let begins = left.len() - left.len().div_ceil(2 * lanes - 1);
        let share = left.split_off(begins);
        (!share.is_empty()).then_some((begins, share))
    };
    let lane = || {
        while let Some((begins, share)) = take() {
            let result = each(share);
            if result.is_err() {
                locked(&left).clear();
            }
            locked(&done).push((begins, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(lane);
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(begins, _)| *begins);
    done.into_iter().map(|(_, result)| result).collect()
}

/// A lane that panicked leaves nothing half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    /// The shares of so much work, in the order of the work.
    fn shares(lanes: usize, work: usize) -> Vec<Vec<usize>> {
        share(lanes, (0..work).collect(), Ok).unwrap()
    }

    /// Waits, not for ever, until so many have come; says whether they have.
    fn meet(come: &AtomicUsize, expected: usize) -> bool {
        come.fetch_add(1, Ordering::SeqCst);
        let end = Instant::now() + Duration::from_mins(1);
        while come.load(Ordering::SeqCst) < expected && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
        come.load(Ordering::SeqCst) >= expected
    }

    #[test]
    fn all_is_done_once_and_told_in_order() {
        for lanes in 1..=MOST {
            for work in 0..40 {
                let done = shares(lanes, work).concat();
                assert_eq!(done, (0..work).collect::<Vec<_>>(), "{lanes} lanes");
            }
        }
    }

    #[test]
    fn shares_shrink_towards_single_ones_and_one_lane_takes_all() {
        let sizes = |lanes| shares(lanes, 18).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(1), [18]);
        assert_eq!(sizes(2), [1, 1, 1, 2, 3, 4, 6]);
        assert_eq!(sizes(4), [1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3]);
    }

    #[test]
    fn lanes_work_at_the_same_time() {
        let there = AtomicUsize::new(0);
        let met = share(3, vec![(); 3], |_| Ok(meet(&there, 3)));
        assert_eq!(met.unwrap(), [true; 3]);
    }

    #[test]
    fn an_error_in_either_lane_is_told_and_ends_the_work() {
        for failing in [16, 11] {
            let begun = AtomicUsize::new(0);
            let error = share(2, (0..18).collect(), |share: Vec<usize>| {
                assert!(meet(&begun, 2));
                if share.contains(&failing) {
                    bail!("no machine");
                }
                // Long enough for the other lane to see to it that nothing more is begun.
                thread::sleep(Duration::from_secs(1));
                Ok(())
            });
            assert_eq!(error.unwrap_err().to_string(), "no machine");
            assert_eq!(begun.into_inner(), 2, "{failing}");
        }
    }

    #[test]
    fn a_panic_in_one_lane_does_not_hang_the_other() {
        let done = Mutex::new(Vec::new());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            share(2, (0..18).collect(), |share: Vec<usize>| {
                assert!(!share.contains(&17), "planted");
                locked(&done).extend(share);
                Ok(())
            })
        }));
        assert!(panicked.is_err());
        let mut done = done.into_inner().unwrap();
        done.sort_unstable();
        assert_eq!(done, (0..12).collect::<Vec<_>>());
    }
}
