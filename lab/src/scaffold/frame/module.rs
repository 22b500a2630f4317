// SPDX-License-Identifier: GPL-2.0

//! The kernel module {{ name }}: what each folder has of it, in one.

#![deny(unsafe_code)]

use kernel::{prelude::*, InPlaceModule};

{% for part in parts -%}
#[path = "{{ part.gate }}/module.rs"]
pub mod {{ part.gate }};
{% endfor %}
module! {
    type: Module,
    name: "{{ name }}",
    authors: ["{{ author }}"],
    description: "{{ title }}",
    license: "GPL",
}

{% if made|length > 1 -%}
// What is made last stands first: fields are dropped from the top.
{% endif -%}
#[pin_data]
struct Module {
{%- for part in made|reverse %}
    #[pin]
    {{ part.gate }}: {{ part.gate }}::{{ part.state }},
{%- endfor %}
}

impl InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
{%- for part in made %}
{%- if part.last %}
            // Late: its users can be there at once. If anything after it failed, that would wait for them.
{%- endif %}
            {{ part.gate }} <- {{ part.gate }}::{{ part.state }}::init(module),
{%- endfor %}
        })
    }
}
