// SPDX-License-Identifier: MIT OR Apache-2.0

// new: begin
//! What the module does with the channel: it sends back by one ring what comes in by the other.
//!
//! It waits for two things, messages and room for them, so there are more ways to sleep for ever than a
//! ring has by itself.
// new: end
//! The model in `user/tests/ring.rs` compiles this same file.
// new: begin

use core::ops::DerefMut;

use super::ring::{Consumer, Error, Producer, Words};

/// The module's ends of two rings, and the message in between.
pub struct Echo<W, B> {
    /// Where messages come from.
    pub incoming: Consumer<W>,
    /// Where they go.
    pub outgoing: Producer<W>,
    buffer: B,
    /// How many bytes of the buffer are a message that is still to go out.
    pending: Option<usize>,
}

impl<W: Words, B: DerefMut<Target = [u8]>> Echo<W, B> {
    /// With a buffer for the longest message. Nothing to do yet, so the first message must be rung for.
    pub fn new(incoming: Consumer<W>, outgoing: Producer<W>, buffer: B) -> Self {
        incoming.sleep();
        Self {
            incoming,
            outgoing,
            buffer,
            pending: None,
        }
    }

    /// Sends back one message. `Empty` and `Full` are reasons to sleep.
    fn echo(&mut self) -> Result<(), Error> {
        let len = match self.pending {
            Some(len) => len,
            None => self.incoming.pop(&mut self.buffer)?,
        };
        self.pending = Some(len);
        self.outgoing.push(&self.buffer[..len])?;
        self.pending = None;
        Ok(())
    }

    /// Sends back one message, or says in the memory what it waits for; `false` if it must.
    ///
    /// # Errors
    ///
    /// What the other side wrote makes no sense.
    pub fn step(&mut self) -> Result<bool, Error> {
        let mut said = None;
        loop {
            let reason = match self.echo() {
                Err(reason @ (Error::Empty | Error::Full)) => reason,
                result => {
                    if said.is_some() {
                        self.incoming.stay_awake();
                        self.outgoing.stay_awake();
                    }
                    return result.map(|()| true);
                }
            };
            // Once more for each reason, as the other side may have looked before it was said. A message
            // that is found now may have no room, and that is another reason.
            if said == Some(reason) {
                return Ok(false);
            }
            match reason {
                Error::Empty => self.incoming.sleep(),
                _ => self.outgoing.sleep(),
            }
            said = Some(reason);
        }
    }
}
// new: end
