// SPDX-License-Identifier: GPL-2.0

//! A limit to how often something is done, for what anybody can cause and nobody wants often: a line in
//! the log.
//!
//! It takes no lock, and may be asked in any context but a non-maskable interrupt and the last part of a
//! suspend, in which there is no clock. C has
//! [`include/linux/ratelimit.h`](srctree/include/linux/ratelimit.h) for this, whose state is a lock that
//! is initialised by a macro.

#![expect(unsafe_code, reason = "a call of C")]

use kernel::{
    bindings,
    sync::atomic::{ordering::Relaxed, Atomic},
};

/// A limit to how often something is done each second, by all who do it.
///
/// # Examples
///
/// ```
/// use callgate_kernel::rate_limit::RateLimit;
/// use kernel::prelude::*;
///
/// static COMPLAINTS: RateLimit = RateLimit::new(10);
///
/// fn complain() {
///     if COMPLAINTS.allows() {
///         pr_info!("that was not for us\n");
///     }
/// }
/// ```
pub struct RateLimit {
    most: u32,
    /// The second that it was last done in; and in the lower half, how often it was done in that.
    state: Atomic<u64>,
}

impl RateLimit {
    /// At most `most` times in each second on the monotonic clock.
    #[inline]
    pub const fn new(most: u32) -> Self {
        Self {
            most,
            state: Atomic::new(0),
        }
    }

    /// Whether it may be done once more; if so, that counts as done.
    #[inline]
    pub fn allows(&self) -> bool {
        // SAFETY: It has no requirements. Half of the seconds' bits are enough to tell one from the next.
        let now = unsafe { bindings::ktime_get_seconds() } as u32;
        let mut old = self.state.load(Relaxed);
        loop {
            let last = (old >> 32) as u32;
            // Somebody may have been faster, and be in the next second already.
            let is_new = (now.wrapping_sub(last) as i32) > 0;
            let (second, done) = if is_new { (now, 0) } else { (last, old as u32) };
            if done >= self.most {
                return false;
            }
            let new = u64::from(second) << 32 | u64::from(done + 1);
            match self.state.cmpxchg(old, new, Relaxed) {
                Ok(_) => return true,
                Err(current) => old = current,
            }
        }
    }
}
