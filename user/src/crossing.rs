// SPDX-License-Identifier: MIT OR Apache-2.0

//! A line for each message that crosses the boundary, so that a demonstration can show it.
//!
//! A program says what it sends just before the call that sends it ([`to_kernel`]), and what it
//! received just after the call that received it ([`from_kernel`]). Nothing happens unless the
//! environment variable `CALLGATE_TRACE` names a file. In the lab that is `/dev/kmsg`, which puts
//! the lines in order among the kernel's own:
//!
//! ```text
//! <15>crossing: to-kernel<TAB>WRITE 0x40044701<TAB>"hello world"
//! ```
//!
//! `<15>` is syslog's "user, debug". One line is one write(2), as `/dev/kmsg` wants it; the file is
//! opened for each line, because the kernel limits the rate of lines by open file.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;

/// The environment variable that names the trace.
pub const VARIABLE: &str = "CALLGATE_TRACE";

/// How many bytes of a payload are shown.
const SHOWN: usize = 64;

/// Notes that `payload` is about to go to the kernel by `what`, such as `WRITE 0x40044701`.
///
/// A trace that cannot be written is no reason to fail a program, and is ignored.
pub fn to_kernel(what: &str, payload: impl AsRef<[u8]>) {
    note("to-kernel", what, payload.as_ref());
}

/// Notes that `payload` just came from the kernel by `what`, such as `read(2) /dev/cdev_example`.
///
/// A trace that cannot be written is no reason to fail a program, and is ignored.
pub fn from_kernel(what: &str, payload: impl AsRef<[u8]>) {
    note("from-kernel", what, payload.as_ref());
}

fn note(direction: &str, what: &str, payload: &[u8]) {
    if let Some(path) = std::env::var_os(VARIABLE)
        && let Ok(mut trace) = OpenOptions::new().append(true).open(path)
    {
        let _ = trace.write_all(line(direction, what, payload).as_bytes());
    }
}

fn line(direction: &str, what: &str, payload: &[u8]) -> String {
    format!("<15>crossing: {direction}\t{what}\t{}\n", show(payload))
}

/// Text in quotes, anything else in hexadecimal; cut, with the true length after it, if long.
fn show(payload: &[u8]) -> String {
    let mut shown = match std::str::from_utf8(payload) {
        Ok(text) if !text.contains('\0') => {
            format!("{:?}", &text[..text.floor_char_boundary(SHOWN)])
        }
        _ => payload
            .iter()
            .take(SHOWN)
            .fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            }),
    };
    if payload.len() > SHOWN {
        let _ = write!(shown, "… ({} bytes)", payload.len());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_priority_direction_what_and_payload() {
        assert_eq!(
            line("to-kernel", "WRITE 0x40044701", b"hello world"),
            "<15>crossing: to-kernel\tWRITE 0x40044701\t\"hello world\"\n"
        );
    }

    #[test]
    fn text_is_quoted_and_everything_else_is_hexadecimal() {
        for (payload, shown) in [
            (&b""[..], "\"\""),
            (b"a \"quoted\"\tline\n", r#""a \"quoted\"\tline\n""#),
            ("gru\u{df}".as_bytes(), "\"gru\u{df}\""),
            (b"\x0b\0\0\0", "0b000000"),
            (b"\xff\xfe", "fffe"),
        ] {
            assert_eq!(show(payload), shown);
        }
    }

    #[test]
    fn a_long_payload_is_cut_between_characters_and_its_length_told() {
        assert_eq!(show(&[b'a'; 64]), format!("\"{}\"", "a".repeat(64)));
        assert_eq!(
            show(&[b'a'; 65]),
            format!("\"{}\"… (65 bytes)", "a".repeat(64))
        );
        assert_eq!(
            show(&[0xff; 100]),
            format!("{}… (100 bytes)", "ff".repeat(64))
        );
        let text = format!("x{}", "\u{df}".repeat(40));
        assert_eq!(
            show(text.as_bytes()),
            format!("\"x{}\"… (81 bytes)", "\u{df}".repeat(31))
        );
    }
}
