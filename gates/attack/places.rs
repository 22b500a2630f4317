// SPDX-License-Identifier: MIT OR Apache-2.0

//! The places in a module's code that tell when they are reached.
//!
//! The compiler puts a call of `__sanitizer_cov_trace_pc()` to each of them, which returns to the address that KCOV
//! gives. The module's file has a relocation for each of these calls, and `/sys/module` has where its code is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result};
use guest::attacked::{Reached, Share};
use object::{
    File, Object, ObjectSection, ObjectSymbol, RelocationKind, RelocationTarget, Section,
};
use object::{SectionFlags, elf};

/// What is called at each place.
const TELLS: &str = "__sanitizer_cov_trace_pc";

/// The code that stays when the module is loaded.
const CODE: &str = ".text";

/// How long an address in a call is, which its relocation is for. What it returns to follows.
const ADDRESS: u64 = 4;

/// What every gate's own code is called: after its file.
const GATE: &str = "module::";

/// A module's places.
pub struct Places {
    /// Where its code begins.
    start: u64,
    /// They themselves, from there, each with the number of its function.
    functions_of: BTreeMap<u64, usize>,
    /// The functions' names.
    functions: Vec<String>,
}

/// Whose a function is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Gate,
    Library,
    Others,
}

impl Places {
    /// Those of a loaded module; `None` if it was not built to tell.
    pub fn of(module: &str) -> Result<Option<Self>> {
        let path = format!("{}/{module}.ko", guest::MODULES);
        let file = fs::read(&path).with_context(|| path.clone())?;
        let file = object::File::parse(&*file).with_context(|| path.clone())?;
        let code = file
            .section_by_name(CODE)
            .context("it has no code")?
            .index()
            .0;
        let live = Code::of(&file).with_context(|| path.clone())?.live(code);
        let mut places = BTreeMap::new();
        let mut functions = Vec::new();
        for function in live {
            let tells = function
                .refers
                .iter()
                .filter(|refers| refers.to == To::Tells);
            let before = places.len();
            places.extend(tells.map(|refers| (refers.at + ADDRESS, functions.len())));
            if places.len() > before {
                functions.push(format!("{:#}", rustc_demangle::demangle(function.name)));
            }
        }
        Ok((!places.is_empty()).then_some(Self {
            start: start(module)?,
            functions_of: places,
            functions,
        }))
    }

    /// Looks where they are now, after the module was loaded again.
    pub fn look(&mut self, module: &str) -> Result<()> {
        self.start = start(module)?;
        Ok(())
    }

    /// Which of them an address is.
    pub fn find(&self, address: u64) -> Option<u64> {
        let place = address.checked_sub(self.start)?;
        self.functions_of.contains_key(&place).then_some(place)
    }

    /// How many of them these are.
    pub fn reached(&self, reached: &BTreeSet<u64>) -> Reached {
        let mut found = Reached::default();
        let mut touched = vec![false; self.functions.len()];
        for (place, &function) in &self.functions_of {
            let share = match self.whose(function) {
                Whose::Gate => &mut found.gate,
                Whose::Library => &mut found.library,
                Whose::Others => &mut found.others,
            };
            let Share { reached: some, of } = share;
            *of += 1;
            if reached.contains(place) {
                *some += 1;
                touched[function] = true;
            }
        }
        let missed = (0..self.functions.len())
            .filter(|&function| !touched[function] && self.whose(function) != Whose::Others);
        found.missed = missed
            .map(|number| self.functions[number].clone())
            .collect();
        found
    }

    /// By the first path in its name: `<T as Trait>::f` is T's, and what is generic is who made it.
    fn whose(&self, function: usize) -> Whose {
        let name = self.functions[function].trim_start_matches(['<', '&']);
        if name.starts_with("callgate_kernel::") {
            Whose::Library
        } else if name.starts_with(GATE) {
            Whose::Gate
        } else {
            Whose::Others
        }
    }
}

/// Where a loaded module's code begins.
fn start(module: &str) -> Result<u64> {
    let path = format!("/sys/module/{module}/sections/{CODE}");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let digits = text.trim().trim_start_matches("0x");
    u64::from_str_radix(digits, 16).with_context(|| path)
}

/// Where something is in a module's file: its section, and its place there.
type Place = (usize, u64);

/// What a module consists of, and what refers to what of it.
struct Code<'a> {
    parts: BTreeMap<Place, Part<'a>>,
    roots: Vec<Place>,
}

/// A function, or data.
struct Part<'a> {
    name: &'a str,
    size: u64,
    refers: Vec<Refers>,
}

/// A relocation.
struct Refers {
    at: u64,
    to: To,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    /// Something in the module.
    Part(Place),
    /// What is called where a place is reached.
    Tells,
    /// Something else.
    Elsewhere,
}

/// Sections that describe code, and do not use it.
const DESCRIBE: [&str; 4] = [".orc_", ".eh_frame", "__bug_table", ".return_sites"];

impl<'a> Code<'a> {
    fn of(file: &File<'a>) -> Result<Self> {
        let mut parts = BTreeMap::new();
        for symbol in file.symbols() {
            if let Some(section) = symbol.section_index().filter(|_| symbol.size() > 0) {
                let part = Part {
                    name: symbol.name()?,
                    size: symbol.size(),
                    refers: Vec::new(),
                };
                parts.insert((section.0, symbol.address()), part);
            }
        }
        let mut roots = Vec::new();
        for section in file.sections() {
            let SectionFlags::Elf { sh_flags } = section.flags() else {
                continue;
            };
            let is_there = sh_flags & u64::from(elf::SHF_ALLOC) != 0;
            let name = section.name()?;
            if !is_there || DESCRIBE.iter().any(|begins| name.starts_with(begins)) {
                continue;
            }
            for refers in relocations(file, &section)? {
                match part_at(&mut parts, (section.index().0, refers.at)) {
                    // The kernel finds the module's entry and exit by what has no other name.
                    Some(part) if part.name != "__this_module" => part.refers.push(refers),
                    _ => roots.extend(refers.part()),
                }
            }
        }
        Ok(Self { parts, roots })
    }

    /// The functions in this section that can be called. The compiler leaves others: of those that it has put into
    /// their callers, a copy that nobody calls.
    fn live(mut self, section: usize) -> Vec<Part<'a>> {
        let mut left = self.roots;
        while let Some(place) = left.pop() {
            let Some(part) = part_at(&mut self.parts, place) else {
                continue;
            };
            if part.size > 0 {
                // It is looked at once.
                part.size = 0;
                left.extend(part.refers.iter().filter_map(Refers::part));
            }
        }
        let parts = self.parts.into_iter();
        let is_live = |(place, part): &(Place, Part<'_>)| place.0 == section && part.size == 0;
        parts.filter(is_live).map(|(_, part)| part).collect()
    }
}

impl Refers {
    fn part(&self) -> Option<Place> {
        match self.to {
            To::Part(place) => Some(place),
            To::Tells | To::Elsewhere => None,
        }
    }
}

/// The part that has this place.
fn part_at<'a, 'b>(
    parts: &'b mut BTreeMap<Place, Part<'a>>,
    place: Place,
) -> Option<&'b mut Part<'a>> {
    let (&(section, begins), part) = parts.range_mut(..=place).next_back()?;
    let is_within = section == place.0 && (part.size == 0 || place.1 < begins + part.size);
    is_within.then_some(part)
}

fn relocations(file: &File<'_>, section: &Section<'_, '_>) -> Result<Vec<Refers>> {
    let mut all = Vec::new();
    for (at, relocation) in section.relocations() {
        let RelocationTarget::Symbol(index) = relocation.target() else {
            continue;
        };
        let symbol = file.symbol_by_index(index)?;
        let to = if let Some(section) = symbol.section_index() {
            // What is relative counts from behind the address.
            let behind = match relocation.kind() {
                RelocationKind::Absolute => 0,
                _ => ADDRESS.cast_signed(),
            };
            let place = symbol
                .address()
                .wrapping_add_signed(relocation.addend() + behind);
            To::Part((section.0, place))
        } else if symbol.name()? == TELLS {
            To::Tells
        } else {
            To::Elsewhere
        };
        all.push(Refers { at, to });
    }
    Ok(all)
}
