// SPDX-License-Identifier: MIT OR Apache-2.0

//! Quantities in words, in three digits.

use crate::show::grouped;

/// A count, a size in bytes or a time in nanoseconds. All are below 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "they are smaller than that")]
pub fn whole(count: u64) -> f64 {
    count as f64
}

/// A time, of which nanoseconds have no parts.
pub fn nanoseconds(time: f64) -> String {
    match time {
        ..999.5 => format!("{time:.0} ns"),
        _ => with_unit(time, &[("µs", 1e3), ("ms", 1e6), ("s", 1e9)]),
    }
}

/// How many there are.
pub fn amount(count: f64) -> String {
    let text = with_unit(count, &[("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9)]);
    text.trim_end().into()
}

/// How many there are in a second.
pub fn per_second(rate: f64) -> String {
    format!("{}/s", amount(rate))
}

/// A throughput.
pub fn bytes_per_second(rate: f64) -> String {
    let units = [
        ("B/s", 1.0),
        ("kB/s", 1e3),
        ("MB/s", 1e6),
        ("GB/s", 1e9),
        ("TB/s", 1e12),
    ];
    with_unit(rate, &units)
}

/// A size, in all its digits.
pub fn size(bytes: f64) -> String {
    let units = [("MiB", 1024.0 * 1024.0), ("KiB", 1024.0)];
    let fits = |(_, unit): &(&str, f64)| bytes >= *unit && bytes % unit == 0.0;
    match units.into_iter().find(fits) {
        Some((name, unit)) => format!("{} {name}", grouped(bytes / unit)),
        None => format!("{} B", grouped(bytes)),
    }
}

/// Three digits, and the largest of these units of which there is one, or the smallest.
fn with_unit(value: f64, units: &[(&str, f64)]) -> String {
    // What would be 1000 of the next smaller one when rounded.
    let fits = |(_, unit): &&(&str, f64)| value >= unit * 0.9995;
    match units.iter().rfind(fits).or(units.first()) {
        Some((name, unit)) => format!("{} {name}", digits(value / unit)),
        None => digits(value),
    }
}

fn digits(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        9.995..99.95 => format!("{value:.1}"),
        _ => grouped(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_three_digits() {
        for (value, text) in [
            (7.0, "7 ns"),
            (850.4, "850 ns"),
            (999.0, "999 ns"),
            (999.6, "1.00 µs"),
            (1234.0, "1.23 µs"),
            (3456.0, "3.46 µs"),
            (9_996.0, "10.0 µs"),
            (98_760.0, "98.8 µs"),
            (999_900.0, "1.00 ms"),
            (86_638_591.0, "86.6 ms"),
            (120_000_000.0, "120 ms"),
            (61e9, "61.0 s"),
            (7261e9, "7,261 s"),
        ] {
            assert_eq!(nanoseconds(value), text);
        }
        assert_eq!(amount(0.25), "0.25");
        assert_eq!(amount(31.41), "31.4");
        assert_eq!(amount(123_456.0), "123 k");
        assert_eq!(amount(1_234_567.0), "1.23 M");
        assert_eq!(per_second(12.0), "12.0/s");
        assert_eq!(bytes_per_second(2.5e9), "2.50 GB/s");
        assert_eq!(size(4096.0), "4 KiB");
        assert_eq!(size(1500.0), "1,500 B");
    }
}
