// SPDX-License-Identifier: MIT OR Apache-2.0

//! What came of a boot. It failed until the guest has delivered exactly one verdict that says
//! otherwise, the kernel has not complained, and the machine has turned itself off.

use crate::splat::{Console, Splat};
use guest::Message;
use std::process::ExitStatus;

/// What came of a boot, the worst first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel gave up.
    Panicked,
    /// The kernel complained: an oops, a warning, a sanitiser's or checker's report, lost memory.
    Complained,
    /// It did not end in time.
    TimedOut(String),
    /// A check failed, or the report is not what a good run's looks like.
    Failed(String),
    /// All is well.
    Passed,
}

impl Outcome {
    /// The exit status that tells a script of it.
    pub fn exit_status(&self) -> u8 {
        match self {
            Outcome::Passed => 0,
            Outcome::Failed(_) => 1,
            Outcome::Complained => 4,
            Outcome::Panicked => 5,
            Outcome::TimedOut(_) => 6,
        }
    }

    /// How bad it is.
    fn rank(&self) -> u8 {
        match self {
            Outcome::Passed => 0,
            Outcome::Failed(_) => 1,
            Outcome::TimedOut(_) => 2,
            Outcome::Complained => 3,
            Outcome::Panicked => 4,
        }
    }

    /// The same, with its reason, if it has one in words, put otherwise.
    fn because(self, put: impl FnOnce(&str) -> String) -> Self {
        match self {
            Outcome::Failed(why) => Outcome::Failed(put(&why)),
            Outcome::TimedOut(why) => Outcome::TimedOut(put(&why)),
            other => other,
        }
    }

    /// The worse of two, with the reasons of both if they are as bad.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Outcome::Failed(one), Outcome::Failed(other)) => {
                Outcome::Failed(format!("{one}\n{other}"))
            }
            (Outcome::TimedOut(one), Outcome::TimedOut(other)) => {
                Outcome::TimedOut(format!("{one}\n{other}"))
            }
            (one, other) => one.worse(other),
        }
    }

    /// The worse of two.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        if other.rank() > self.rank() {
            other
        } else {
            self
        }
    }
}

/// How the VM ended.
#[derive(Clone, Debug)]
pub enum End {
    /// By itself.
    Exited(ExitStatus),
    /// We ended it, because this took too long.
    Killed(String),
}

/// Collects what is heard from a VM, and judges.
#[derive(Debug, Default)]
pub struct Judge {
    console: Console,
    verdicts: Vec<bool>,
    /// Failed checks, in the guest's words.
    failed: Vec<String>,
    leaks: Vec<Splat>,
    /// What arrived on the report port that is no message.
    garbled: Option<String>,
    /// A message that came after the verdict.
    late: bool,
}

impl Judge {
    /// Takes a line of the kernel's console.
    pub fn console_line(&mut self, line: &str) {
        if let Some((_, why)) = line.split_once(guest::GIVES_UP) {
            self.failed
                .push(format!("PID 1 gave up: {}", why.trim_end()));
        }
        self.console.line(line);
    }

    /// Takes a line of the guest's report; `complete` says whether a newline ended it. Gives the
    /// message, if it is one.
    pub fn report_line(&mut self, line: &str, complete: bool) -> Option<Message> {
        let message = serde_json::from_str(line).ok().filter(|_| complete);
        let Some(message) = message else {
            self.garbled.get_or_insert_with(|| line.into());
            return None;
        };
        if !self.verdicts.is_empty() {
            self.late = true;
        }
        match &message {
            Message::Verdict { passed } => self.verdicts.push(*passed),
            Message::Test {
                gate,
                name,
                failure: Some(_),
                ..
            } => {
                self.failed.push(format!("{gate}::{name}"));
            }
            Message::GateEnds {
                gate,
                error: Some(error),
                ..
            } => {
                self.failed.push(format!("{gate}: {error}"));
            }
            Message::Leak { during, report } => self.leaks.push(Splat {
                during: during.clone(),
                title: "kmemleak: memory that nothing points to any more".into(),
                report: report.lines().map(str::to_owned).collect(),
            }),
            _ => {}
        }
        Some(message)
    }

    /// Whether the guest has delivered its verdict.
    pub fn has_verdict(&self) -> bool {
        !self.verdicts.is_empty()
    }

    /// Everything the kernel complained of.
    pub fn splats(&self) -> impl Iterator<Item = &Splat> {
        self.console.splats().iter().chain(&self.leaks)
    }

    /// What came of it all.
    pub fn outcome(&self, end: &End) -> Outcome {
        if self.console.panicked() {
            return Outcome::Panicked;
        }
        if self.splats().next().is_some() {
            return Outcome::Complained;
        }
        let status = match end {
            End::Killed(why) => {
                return Outcome::TimedOut(format!("{why}, during {}", self.console.during()));
            }
            End::Exited(status) => status,
        };
        let failed = |why: String| Outcome::Failed(why);
        if !self.failed.is_empty() {
            return failed(self.failed.join("\n"));
        }
        if !status.success() {
            return failed(format!("the VM itself ended badly: {status}"));
        }
        if let Some(line) = &self.garbled {
            return failed(format!(
                "the guest's report has a line that is cut or garbled: {line:?}"
            ));
        }
        match self.verdicts[..] {
            [true] if !self.late => Outcome::Passed,
            [true] => failed("the guest went on after its verdict".into()),
            [false] => failed("the guest says that it failed, but not why".into()),
            [] => failed(format!(
                "the VM turned itself off without a verdict, during {}",
                self.console.during()
            )),
            _ => failed(format!(
                "the guest delivered {} verdicts",
                self.verdicts.len()
            )),
        }
    }
}

/// What came of a boot of these machines, the first of which is the one that it was about; and everything
/// that their kernels complained of.
pub fn of_all(machines: &[(Judge, End)]) -> (Outcome, Vec<Splat>) {
    let mut outcome = Outcome::Passed;
    let mut splats = Vec::new();
    // If both fail, the first may do so because the other does, whose reason is the better one then.
    for (index, (judge, end)) in machines.iter().enumerate().rev() {
        let machine = if index == 0 {
            ""
        } else {
            "the other machine: "
        };
        let named = |what: &str| format!("{machine}{what}");
        outcome = outcome.worse(judge.outcome(end).because(named));
        splats.extend(judge.splats().map(|splat| Splat {
            during: named(&splat.during),
            ..splat.clone()
        }));
    }
    (outcome, splats)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    const GOOD: &str = r#"{"verdict":{"passed":true}}"#;

    fn judge(report: &[&str], end: &End) -> Outcome {
        let mut judge = Judge::default();
        for line in report {
            judge.report_line(line, true);
        }
        judge.outcome(end)
    }

    fn off() -> End {
        End::Exited(ExitStatus::from_raw(0))
    }

    fn failed(outcome: &Outcome) -> &str {
        let Outcome::Failed(why) = outcome else {
            panic!("{outcome:?}")
        };
        why
    }

    #[test]
    fn one_good_verdict_passes() {
        assert_eq!(judge(&[GOOD], &off()), Outcome::Passed);
    }

    #[test]
    fn silence_fails() {
        assert!(failed(&judge(&[], &off())).contains("without a verdict"));
    }

    #[test]
    fn two_verdicts_fail() {
        assert!(failed(&judge(&[GOOD, GOOD], &off())).contains("2 verdicts"));
    }

    #[test]
    fn a_report_that_goes_on_behind_the_verdict_fails() {
        let more = r#"{"busy":{"with":"x"}}"#;
        assert!(failed(&judge(&[GOOD, more], &off())).contains("went on"));
    }

    #[test]
    fn a_verdict_cut_short_fails() {
        let mut cut = Judge::default();
        cut.report_line(&GOOD[..12], false);
        assert!(failed(&cut.outcome(&off())).contains("cut"));
        // Cut exactly before its newline it is not complete either.
        let mut cut = Judge::default();
        cut.report_line(GOOD, false);
        assert!(failed(&cut.outcome(&off())).contains("cut"));
    }

    #[test]
    fn a_failed_test_outweighs_a_good_verdict() {
        let test = r#"{"test":{"gate":"g","name":"n","failure":"x","millis":1}}"#;
        assert_eq!(failed(&judge(&[test, GOOD], &off())), "g::n");
    }

    #[test]
    fn a_killed_vm_fails_whatever_it_said() {
        let killed = End::Exited(ExitStatus::from_raw(9));
        assert!(failed(&judge(&[GOOD], &killed)).contains("signal: 9"));
    }

    #[test]
    fn a_splat_outweighs_a_good_verdict_and_a_panic_a_splat() {
        let mut judge = Judge::default();
        judge.report_line(GOOD, true);
        judge.console_line("[    1.0] WARNING: x");
        assert_eq!(judge.outcome(&off()), Outcome::Complained);
        judge.console_line("[    1.0] Kernel panic - not syncing: y");
        assert_eq!(judge.outcome(&off()), Outcome::Panicked);
    }

    /// A machine of which this was heard, and its end.
    fn machine(console: &[&str], report: &[&str], end: End) -> (Judge, End) {
        let mut judge = Judge::default();
        for line in console {
            judge.console_line(line);
        }
        for line in report {
            judge.report_line(line, true);
        }
        (judge, end)
    }

    #[test]
    fn what_goes_wrong_on_the_other_machine_goes_wrong() {
        let good = || machine(&[], &[GOOD], off());
        let killed = || End::Exited(ExitStatus::from_raw(9));
        assert_eq!(of_all(&[good(), good()]).0, Outcome::Passed);
        assert!(
            failed(&of_all(&[good(), machine(&[], &[], off())]).0).contains("without a verdict")
        );
        let (outcome, _) = of_all(&[good(), machine(&[], &[GOOD], killed())]);
        assert!(failed(&outcome).starts_with("the other machine: the VM itself"));

        let splat = &["[    1.0] callgate-mark: door", "[    1.1] BUG: x"];
        let (outcome, splats) = of_all(&[good(), machine(splat, &[GOOD], off())]);
        assert_eq!(outcome, Outcome::Complained);
        assert_eq!(splats[0].during, "the other machine: door");
        let panic = &["[    1.0] Kernel panic - not syncing: y"];
        let (outcome, _) = of_all(&[good(), machine(panic, &[], off())]);
        assert_eq!(outcome, Outcome::Panicked);
        let late = End::Killed("it did not turn itself off".into());
        let (outcome, _) = of_all(&[good(), machine(&[], &[GOOD], late)]);
        let why = "the other machine: it did not turn itself off, during boot";
        assert_eq!(outcome, Outcome::TimedOut(why.into()));
    }

    #[test]
    fn the_other_machines_reason_is_the_better_one_and_the_worse_outcome_counts() {
        let bad = |what: &str| {
            let test =
                format!(r#"{{"test":{{"gate":"g","name":"{what}","failure":"x","millis":1}}}}"#);
            machine(&[], &[&test, GOOD], off())
        };
        let (outcome, _) = of_all(&[bad("one"), bad("other")]);
        assert_eq!(failed(&outcome), "the other machine: g::other");
        let (outcome, _) = of_all(&[machine(&["[ 1.0] BUG: x"], &[GOOD], off()), bad("other")]);
        assert_eq!(outcome, Outcome::Complained);
    }

    #[test]
    fn of_two_boots_either_decides_and_both_give_reasons() {
        let failed = |why: &str| Outcome::Failed(why.into());
        let late = |why: &str| Outcome::TimedOut(why.into());
        for (one, other, both) in [
            (Outcome::Passed, Outcome::Passed, Outcome::Passed),
            (failed("a"), Outcome::Passed, failed("a")),
            (Outcome::Passed, failed("b"), failed("b")),
            (failed("a"), failed("b"), failed("a\nb")),
            (late("a"), late("b"), late("a\nb")),
            (late("a"), failed("b"), late("a")),
            (failed("a"), Outcome::Complained, Outcome::Complained),
            (Outcome::Panicked, Outcome::Complained, Outcome::Panicked),
        ] {
            assert_eq!(one.and(other), both);
        }
    }

    #[test]
    fn time_that_ran_out_is_told_apart() {
        let end = End::Killed("silent for 5 s".into());
        let outcome = judge(&[], &end);
        assert_eq!(
            outcome,
            Outcome::TimedOut("silent for 5 s, during boot".into())
        );
        assert_eq!(outcome.exit_status(), 6);
    }
}
