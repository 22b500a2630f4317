// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the module and the program of the `seq_file` gate agree on.

/// The HOWTO's file in `/proc`: the numbers from 0 on, one a line, without end.
pub const SEQUENCE: &str = "sequence";

// new: begin
/// The file in `/proc` that lists the records: their number, a tab, and their text.
pub const LIST: &str = "sequence_list";

/// The file in `/proc` that takes commands, one a line: `add NUMBER TEXT` and `remove NUMBER`.
pub const CONTROL: &str = "sequence_control";

/// How many bytes of commands are carried out in one write; a single line must not be longer.
pub const CONTROL_LIMIT: usize = 1 << 16;
// new: end
