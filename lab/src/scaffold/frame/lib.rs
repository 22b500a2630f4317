// SPDX-License-Identifier: MIT OR Apache-2.0

{% if tests -%}
//! The user side of {{ name }}: a program, and tests of both sides.
//!
//! The tests load the module and run as root, so they are only there with the feature `vm`, with which
//! `callgate test` builds them for its machine.
{%- else -%}
//! The user side of {{ name }}.
{%- endif %}

#![deny(unsafe_code)]

{% for part in parts -%}
/// {{ part.gate }}: {{ part.title }}.
pub mod {{ part.gate }} {
    pub mod abi;
    pub mod program;
{%- if part.tests %}
    #[cfg(all(test, feature = "vm"))]
    mod tests;
{%- endif %}
}

{% endfor -%}
/// What the program can do: a name, and the function that does it.
pub type Part = (&'static str, fn() -> anyhow::Result<()>);

/// All of it.
const PARTS: &[Part] = &[
{%- for part in parts %}
    ("{{ part.gate }}", {{ part.gate }}::program::main),
{%- endfor %}
];

/// The parts of these names; all of them if none is named.
///
/// # Errors
///
/// A message, if one of the names is none.
pub fn chosen(named: &[String]) -> Result<Vec<Part>, String> {
    if named.is_empty() {
        return Ok(PARTS.to_vec());
    }
    let find = |name: &String| {
        let known = || PARTS.iter().map(|part| part.0).collect::<Vec<_>>().join(", ");
        let part = PARTS.iter().find(|part| part.0 == name);
        part.copied().ok_or_else(|| format!("there is no part `{name}`; there are {}", known()))
    };
    named.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_name_every_part_has_its_turn() {
        assert_eq!(chosen(&[]).unwrap().len(), PARTS.len());
    }

    #[test]
    fn a_part_is_found_by_its_name_and_nothing_else() {
        for part in PARTS {
            assert_eq!(chosen(&[part.0.into()]).unwrap()[0].0, part.0);
        }
        let said = chosen(&["nothing".into()]).unwrap_err();
        assert!(said.contains(PARTS[0].0), "{said}");
    }
}
