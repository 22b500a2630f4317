// SPDX-License-Identifier: MIT OR Apache-2.0

//! Taking times, on a machine that is as quick as it can be had here.

use super::results::{Results, Timed};
use crate::show::{self, BAD};
use anyhow::Result;
use guest::measured::Measured;
use guest::{Message, Plan, Turn};
use lab::accel::Accel;
use lab::command::{note, step};
use lab::kernel::Flavour;
use lab::run::{Limits, Prepared};
use lab::verdict::Outcome;
use std::time::Duration;

/// Takes the times of what these gates do, the modules of all of them loaded at once.
pub fn run(prepared: &Prepared, turns: Vec<Turn>, results: &mut Results) -> Result<Outcome> {
    let taking = step("taking times");
    let (mut machine, mut release, mut clock) = (None, String::new(), 0);
    let mut told = false;
    let mut measured = |measured: &Measured| match measured {
        Measured::At { seconds, of } => {
            if !std::mem::replace(&mut told, true) {
                note(&format!("taking times: about {:.1} minutes", of / 60.0));
            }
            let whole = |seconds| Duration::from_secs_f64(seconds).as_secs();
            taking.at(whole(*seconds), whole(*of));
        }
        Measured::Clock { nanoseconds } => clock = *nanoseconds,
        Measured::Time(time) => results.times.push(time.clone()),
        Measured::Clients(clients) => results.clients.push(clients.clone()),
        Measured::Stream(stream) => results.streams.push(stream.clone()),
        Measured::Room(room) => results.rooms.push(room.clone()),
        Measured::LeftOut(left_out) => results.left_out.push(left_out.clone()),
    };
    let plan = Plan::Time { turns };
    let boot = prepared.boot(
        Flavour::Release,
        &plan,
        Limits::default(),
        |message| match message {
            Message::Hello { release: its, .. } => release.clone_from(its),
            Message::Machine(its) => machine = Some(its.clone()),
            Message::Measured(what) => measured(what),
            Message::GateEnds {
                gate,
                error: Some(error),
                ..
            } => note(&format!("{BAD}{gate}: {error}{BAD:#}")),
            _ => {}
        },
    )?;
    drop(taking);
    show::complaints(&boot);
    let choice = prepared.choice();
    results.about.timed = machine.map(|machine| Timed {
        accelerator: choice.to_string(),
        emulated: choice.accel == Accel::Tcg,
        host_cpu: host_cpu().unwrap_or_default(),
        release,
        machine,
        clock,
    });
    Ok(boot.outcome)
}

/// The model of the host's CPU.
fn host_cpu() -> Option<String> {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))?;
    Some(model.trim_start_matches([' ', '\t', ':']).into())
}
