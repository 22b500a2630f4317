// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where the parts of a plot go. What they look like, the template says.

use serde::Serialize;
use std::fmt::Write as _;

/// A plot's size, and where its axes are: in units of which a narrow window has as many pixels.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 268.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 236.0;

/// How far apart labels are at least.
const LINE: f64 = 12.5;

/// What is to be plotted.
pub struct Plot {
    /// What it is called.
    pub title: String,
    /// What is along the bottom.
    pub x: Axis,
    /// What is along the side.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
}

/// An axis: logarithmic.
pub struct Axis {
    /// What it is of.
    pub name: &'static str,
    /// The marks along it, and what is written there.
    pub ticks: Vec<(f64, String)>,
    /// A value in words.
    pub say: fn(f64) -> String,
    /// From where to where, if not just over all that is there.
    pub range: Option<(f64, f64)>,
}

/// A line.
pub struct Series {
    /// What it is of.
    pub name: String,
    /// Its points, from left to right. None is 0.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub style: Style,
}

/// How a line is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// In one of eight colours.
    Colour(usize),
    /// The same, dashed.
    Dashed(usize),
    /// As what nothing can be below: grey, and dashed.
    Floor,
    /// As what is there for comparison only: hardly to be seen, and without its name.
    Context,
}

/// A plot, placed.
#[derive(Serialize)]
pub struct Chart {
    title: String,
    description: String,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x_name: &'static str,
    y_name: &'static str,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    lines: Vec<Line>,
    context: Vec<String>,
}

#[derive(Serialize)]
struct Tick {
    at: f64,
    text: String,
    #[serde(skip)]
    is_power: bool,
}

#[derive(Serialize)]
struct Line {
    name: String,
    class: String,
    path: String,
    dots: Vec<Dot>,
    /// Where its name is written.
    label: f64,
    /// From its end to there.
    leader: String,
}

#[derive(Serialize)]
struct Dot {
    x: f64,
    y: f64,
    text: String,
}

/// A part of an axis, and where on paper it is.
struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Scale {
    /// One over all these values.
    fn over(
        values: impl Iterator<Item = f64>,
        range: Option<(f64, f64)>,
        start: f64,
        end: f64,
    ) -> Self {
        let (from, to) = range.unwrap_or_else(|| extent(values));
        let (from, to) = if to <= 0.0 { (1.0, 10.0) } else { (from, to) };
        Self {
            from: from.ln(),
            to: if to > from { to.ln() } else { from.ln() + 1.0 },
            start,
            end,
        }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value.ln() - self.from) / (self.to - self.from);
        round(self.start + share * (self.end - self.start))
    }

    fn has(&self, value: f64) -> bool {
        let value = value.ln();
        value >= self.from - 1e-9 && value <= self.to + 1e-9
    }

    fn ticks(&self, ticks: Vec<(f64, String)>) -> Vec<Tick> {
        let inside = ticks.into_iter().filter(|(value, _)| self.has(*value));
        let placed = inside.map(|(value, text)| Tick {
            at: self.at(value),
            is_power: value.log10().fract().abs() < 1e-9,
            text,
        });
        placed.collect()
    }
}

/// From the least to the greatest of these values.
pub fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, 0.0), |(from, to), value| {
        (f64::min(from, value), f64::max(to, value))
    })
}

/// A tenth of a unit is fine enough.
fn round(at: f64) -> f64 {
    (at * 10.0).round() / 10.0
}

impl Plot {
    /// Whether there is more to be seen than floors.
    pub fn shows_something(&self) -> bool {
        let shows = |series: &Series| {
            let is_own = !matches!(series.style, Style::Floor | Style::Context);
            is_own && !series.points.is_empty()
        };
        self.series.iter().any(shows)
    }

    /// Places everything.
    pub fn place(self) -> Chart {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = Scale::over(
            points().map(|point| point.0),
            self.x.range,
            LEFT + 6.0,
            RIGHT,
        );
        let mut y = Scale::over(points().map(|point| point.1), self.y.range, BOTTOM, TOP);
        // So that no point is on the edge.
        let air = (y.to - y.from) * 0.04;
        (y.from, y.to) = (y.from - air, y.to + air);
        let (say_x, say_y) = (self.x.say, self.y.say);
        let description = describe(&self.series, say_x, say_y);
        let mut lines: Vec<Line> = Vec::new();
        let mut context = Vec::new();
        let mut ends = Vec::new();
        for Series {
            name,
            points,
            style,
        } in &self.series
        {
            let placed: Vec<_> = points.iter().map(|&(a, b)| (x.at(a), y.at(b))).collect();
            let Some(&end) = placed.last() else {
                continue;
            };
            if *style == Style::Context {
                context.push(path(&placed));
                continue;
            }
            ends.push(end);
            let said = |&(x, y): &(f64, f64)| format!("{name}: {}, {}", say_x(x), say_y(y));
            lines.push(Line {
                name: name.clone(),
                class: match style {
                    Style::Colour(nth) => format!("c{}", nth % 8 + 1),
                    Style::Dashed(nth) => format!("c{} dashed", nth % 8 + 1),
                    Style::Floor | Style::Context => "floor".into(),
                },
                path: path(&placed),
                dots: placed
                    .iter()
                    .zip(points)
                    .map(|(&(x, y), point)| Dot {
                        x,
                        y,
                        text: said(point),
                    })
                    .collect(),
                label: end.1,
                leader: String::new(),
            });
        }
        part(&mut lines);
        for (line, (x, y)) in lines.iter_mut().zip(ends) {
            let (beside, label) = (RIGHT + 8.0, line.label);
            if RIGHT - x > 4.0 || (label - y).abs() > 1.0 {
                let start = x + 4.0;
                line.leader = format!("M{start} {y}L{RIGHT} {y}L{beside} {label}");
            }
        }
        Chart {
            title: self.title,
            description,
            width: WIDTH,
            height: HEIGHT,
            left: LEFT,
            right: RIGHT,
            top: TOP,
            bottom: BOTTOM,
            x_ticks: x.ticks(self.x.ticks),
            y_ticks: thinned(y.ticks(self.y.ticks)),
            x_name: self.x.name,
            y_name: self.y.name,
            lines,
            context,
        }
    }
}

fn path(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (nth, (x, y)) in points.iter().enumerate() {
        let letter = if nth == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{letter}{x} {y}");
    }
    path
}

/// Moves labels apart that would be on each other, each as little as can be.
fn part(lines: &mut [Line]) {
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by(|&one, &other| lines[one].label.total_cmp(&lines[other].label));
    // Groups of labels one below the other, each around where its members would be.
    let mut groups: Vec<(f64, Vec<usize>)> = Vec::new();
    for index in order {
        let mut group = (lines[index].label, vec![index]);
        while let Some((centre, above)) = groups.pop() {
            let half = |count: usize| half_height(count);
            if centre + half(above.len()) + half(group.1.len()) <= group.0 {
                groups.push((centre, above));
                break;
            }
            let mut members = above;
            members.append(&mut group.1);
            let sum: f64 = members.iter().map(|&member| lines[member].label).sum();
            let middle = sum / count(members.len());
            let half = half(members.len());
            let (first, last) = (TOP + half - LINE / 2.0, BOTTOM - half + LINE / 2.0);
            group = (middle.min(last).max(first), members);
        }
        groups.push(group);
    }
    for (centre, members) in groups {
        let first = centre - half_height(members.len()) + LINE / 2.0;
        for (nth, member) in members.into_iter().enumerate() {
            lines[member].label = round(first + count(nth) * LINE);
        }
    }
}

fn half_height(labels: usize) -> f64 {
    count(labels) * LINE / 2.0
}

#[expect(clippy::cast_precision_loss, reason = "they are few")]
fn count(things: usize) -> f64 {
    things as f64
}

/// What there is to see, for who does not: where each line begins and where it ends.
fn describe(series: &[Series], x: fn(f64) -> String, y: fn(f64) -> String) -> String {
    let mut text = String::new();
    let named = series
        .iter()
        .filter(|series| series.style != Style::Context);
    for Series { name, points, .. } in named {
        let (Some(first), Some(last)) = (points.first(), points.last()) else {
            continue;
        };
        let _ = write!(text, "{name}: {} at {}", y(first.1), x(first.0));
        if points.len() > 1 {
            let _ = write!(text, ", {} at {}", y(last.1), x(last.0));
        }
        text.push_str(". ");
    }
    text.trim_end().to_owned()
}

/// Marks at powers of ten and between, each with what `text` makes of it.
pub fn decades(text: impl Fn(f64) -> String) -> Vec<(f64, String)> {
    let powers = (0..=15).map(|power| 10_f64.powi(power));
    let marks = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|times| times * power));
    marks.map(|mark| (mark, text(mark))).collect()
}

/// Those at powers of ten, if there are enough of them.
fn thinned(ticks: Vec<Tick>) -> Vec<Tick> {
    if ticks.len() > 7 {
        ticks.into_iter().filter(|tick| tick.is_power).collect()
    } else {
        ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, points: &[(f64, f64)]) -> Series {
        Series {
            name: name.into(),
            points: points.to_vec(),
            style: Style::Colour(0),
        }
    }

    fn plot(series: Vec<Series>) -> Plot {
        let axis = || Axis {
            name: "axis",
            ticks: decades(|value| value.to_string()),
            say: |value| value.to_string(),
            range: None,
        };
        Plot {
            title: "a plot".into(),
            x: axis(),
            y: axis(),
            series,
        }
    }

    #[test]
    fn a_decade_is_as_long_as_the_next() {
        let series = series("a", &[(1.0, 10.0), (10.0, 100.0), (100.0, 1000.0)]);
        let chart = plot(vec![series]).place();
        let dots = &chart.lines[0].dots;
        let step = |by: fn(&Dot) -> f64| (by(&dots[1]) - by(&dots[0]), by(&dots[2]) - by(&dots[1]));
        let (first, second) = step(|dot| dot.x);
        assert!((first - second).abs() < 0.2 && first > 0.0);
        let (first, second) = step(|dot| dot.y);
        assert!((first - second).abs() < 0.2 && first < 0.0);
        assert!((dots[2].x - RIGHT).abs() < 0.2);
    }

    #[test]
    fn labels_are_never_on_each_other_nor_outside() {
        let all: Vec<_> = (0..11)
            .map(|nth| series("s", &[(1.0, 100.0), (2.0, 100.0 + f64::from(nth))]))
            .chain([series("far", &[(1.0, 1e6), (2.0, 1e6)])])
            .collect();
        let chart = plot(all).place();
        let mut labels: Vec<_> = chart.lines.iter().map(|line| line.label).collect();
        labels.sort_by(f64::total_cmp);
        for pair in labels.windows(2) {
            assert!(pair[1] - pair[0] >= LINE - 0.11, "{labels:?}");
        }
        assert!(
            labels[0] >= TOP - 0.1 && labels[11] <= BOTTOM + LINE,
            "{labels:?}"
        );
    }

    #[test]
    fn one_point_and_none_are_plots_too() {
        let one = vec![series("a", &[(64.0, 500.0)]), series("b", &[])];
        let chart = plot(one).place();
        assert_eq!(chart.lines.len(), 1);
        assert!(chart.lines[0].dots[0].x.is_finite() && chart.lines[0].dots[0].y.is_finite());
        assert!(plot(vec![series("a", &[(1.0, 1.0)])]).shows_something());
        assert!(!plot(vec![series("b", &[])]).shows_something());
        assert!(!plot(Vec::new()).shows_something());
    }
}
