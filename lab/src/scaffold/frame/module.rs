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
    authors: ["{{ name }}"],
    description: "{{ title }}",
    license: "GPL",
}

#[pin_data]
struct Module {
{%- for part in parts %}
    #[pin]
    {{ part.gate }}: {{ part.gate }}::{{ part.state }},
{%- endfor %}
}

impl InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
{%- for part in parts %}
            {{ part.gate }} <- {{ part.gate }}::{{ part.state }}::init(module),
{%- endfor %}
        })
    }
}
