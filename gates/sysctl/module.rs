// SPDX-License-Identifier: GPL-2.0

//! The kernel side of the sysctl gate: the HOWTO's two numbers, and a setting of each type.
//!
//! Each network namespace has its own two numbers in `/proc/sys/net/test`. The other settings are in
//! `/proc/sys/dev/callgate`, and are the same for all.

// new: begin
#![deny(unsafe_code)]

pub mod abi;

use abi::{FIRST, MAX, MIN, MODES, STRING_SIZE, VALUES};
use callgate_kernel::{
    attribute::{Attribute, Input},
    net_namespace::{Net, NewNet},
    sysctl::{
        Bool, Entry, Int, NetRegistration, NetTable, PerNet, Registration, Str, Table, UInt, ULong,
        U8,
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex},
};

// new: end
module! {
    type: SysctlModule,
    name: "callgate_sysctl",
    authors: ["callgate"],
    description: "sysctl: settings below /proc/sys, for all or for each network namespace",
    license: "GPL",
}

// Dropped in this order: a setting looks at the limits.
// new: begin
struct SysctlModule {
    _settings: Registration<Settings>,
    // new: end
    _limits: NetRegistration<Limits>,
    // new: begin
}

impl kernel::Module for SysctlModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let settings = Arc::pin_init(Settings::new(), GFP_KERNEL)?;
        Ok(Self {
            // new: end
            _limits: NetRegistration::new()?,
            // new: begin
            _settings: Registration::new(abi::SETTINGS, settings)?,
        })
    }
}

// new: end
// The HOWTO's table.

struct Limits {
    value1: Int<MIN, MAX>,
    value2: Int<MIN, MAX>,
}

static LIMITS: PerNet<Limits> = PerNet::new();

#[vtable]
impl Table for Limits {
    const ENTRIES: &'static [Entry<Self>] = &[
        Entry::new(VALUES[0], |limits| &limits.value1),
        Entry::new(VALUES[1], |limits| &limits.value2),
    ];
}

impl NetTable for Limits {
    const PATH: &'static CStr = abi::TEST;
    const PER_NET: &'static PerNet<Self> = &LIMITS;

    fn new(_net: &NewNet) -> impl PinInit<Self, Error> {
        Ok(Self {
            value1: Int::new(FIRST[0]),
            value2: Int::new(FIRST[1]),
        })
    }
}

// One of each type.

// new: begin
#[pin_data]
struct Settings {
    uint: UInt<1, 1000>,
    ints: [Int<0, 100>; 4],
    #[pin]
    string: Str<STRING_SIZE>,
    #[pin]
    mode: Mutex<&'static str>,
    changes: ULong,
    // new: end
    int: Int,
    ulong: ULong,
    u8: U8<0, 200>,
    bool: Bool,
    // new: begin
}

#[vtable]
impl Table for Settings {
    const ENTRIES: &'static [Entry<Self>] = &[
        Entry::new(c"uint", |settings| &settings.uint),
        Entry::new(c"ints", |settings| &settings.ints),
        Entry::with_mode(c"string", 0o600, |settings| &settings.string),
        Entry::attribute(Attribute::new(
            c"mode",
            |settings, page| writeln!(page, "{}", *settings.mode.lock()),
            Settings::change_mode,
        )),
        Entry::read_only(c"changes", |settings| &settings.changes),
        // new: end
        Entry::new(c"int", |settings| &settings.int),
        Entry::new(c"ulong", |settings| &settings.ulong),
        Entry::new(c"u8", |settings| &settings.u8),
        Entry::new(c"bool", |settings| &settings.bool),
        Entry::attribute(Attribute::read_only(c"limits", |_, page| {
            let limits = Net::with_current(|net| LIMITS.get(net))
                .flatten()
                .ok_or(ENODEV)?;
            writeln!(page, "{}\t{}", limits.value1.get(), limits.value2.get())
        })),
        // new: begin
    ];
}

impl Settings {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            uint: UInt::new(1),
            ints: [const { Int::new(0) }; 4],
            string <- Str::new(c"hello world"),
            mode <- new_mutex!(MODES[0]),
            changes: ULong::new(0),
            // new: end
            int: Int::new(-1),
            ulong: ULong::new(0),
            u8: U8::new(0),
            bool: Bool::new(false),
            // new: begin
        })
    }

    /// Takes one of the [`MODES`], and notes whether it is another one than before.
    fn change_mode(&self, text: Input<'_>) -> Result {
        let new = MODES
            .into_iter()
            .find(|mode| mode.as_bytes() == text.line());
        let new = new.ok_or(EINVAL)?;
        let mut mode = self.mode.lock();
        if *mode != new {
            self.string
                .with(|text| pr_info!("{text}: {} -> {new}\n", *mode));
            *mode = new;
            self.changes.set(self.changes.get() + 1)?;
        }
        Ok(())
    }
}
// new: end
