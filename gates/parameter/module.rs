// SPDX-License-Identifier: GPL-2.0

//! The kernel side of the parameter gate: values from insmod(8)'s command line, and from files.
//!
//! The HOWTO's `value` and `byte`; a parameter of each other type that C has, under the name it has in
//! C; and one for each thing that a parameter can do or keep from being done.

// new: begin
#![deny(unsafe_code)]

pub mod abi;

use abi::{Limits, NoLimits, LIST_MAX, NAMES_MAX, PAUSE_MAX};
use callgate_kernel::{
    attribute::{Input, Page, Text},
    module_param::{self, Array, Charp, Locked, Value},
    module_params,
};
use kernel::{
    prelude::*,
    time::{delay::fsleep, Delta},
};

// new: end
module! {
    type: ParameterModule,
    name: "callgate_parameter",
    authors: ["callgate"],
    description: "module parameters: values given to insmod, and changed below /sys/module",
    license: "GPL",
}

// new: begin
type Param<T> = module_param::Param<T, crate::LocalModule>;

module_params! {
    /// a test value
    static VALUE: Param<i32> = Param::new(c"value", 0o644, 0).with_hook(value_is_set);
    /// the values that value may have, as LOW..HIGH
    static LIMITS: Param<Limits> =
        Param::new(c"limits", 0o644, Limits::NONE).with_hook(limits_are_set);
    /// yes or no
    static FLAG: Param<bool> = Param::new(c"flag", 0o644, false);
    /// a string
    static CHARP: Param<Charp> = Param::new(c"charp", 0o644, Charp::new(c"hello"));
    /// up to 8 numbers
    static LIST: Param<Array<i32, LIST_MAX>> = Param::new(c"list", 0o644, Array::new(&[1, 2, 3]));
    // new: end
    /// up to 4 strings
    static NAMES: Param<Array<Charp, NAMES_MAX>> = Param::new(c"names", 0o644, Array::new(&[]));

    /// an integer of 8 bits
    static BYTE: Param<u8> = Param::new(c"byte", 0o644, 0);
    /// the same with a sign
    static S8: Param<i8> = Param::new(c"s8", 0o644, 0);
    /// 16 bits with a sign
    static SHORT: Param<i16> = Param::new(c"short", 0o644, 0);
    /// 16 bits
    static USHORT: Param<u16> = Param::new(c"ushort", 0o644, 0);
    /// 32 bits
    static UINT: Param<u32> = Param::new(c"uint", 0o644, 0);
    /// as wide as a register, with a sign
    static LONG: Param<isize> = Param::new(c"long", 0o644, 0);
    /// as wide as a register
    static ULONG: Param<usize> = Param::new(c"ulong", 0o644, 0);
    /// 64 bits with a sign
    static LLONG: Param<i64> = Param::new(c"llong", 0o644, 0);
    /// 64 bits
    static ULLONG: Param<u64> = Param::new(c"ullong", 0o644, 0);

    /// given when the module is loaded, and without a file
    static HIDDEN: Param<u32> = Param::new(c"hidden", 0, 1);
    /// given when the module is loaded, and only read afterwards
    static FIXED: Param<u32> = Param::new(c"fixed", 0o444, 2);
    /// for root's eyes
    static ROOT_ONLY: Param<u32> = Param::new(c"root_only", 0o600, 3);
    /// written, and never read
    static SECRET: Param<Charp> = Param::new(c"secret", 0o200, Charp::new(c""));
    /// how many milliseconds it takes to set this
    static PAUSE: Param<u16> = Param::new(c"pause", 0o644, 0).with_hook(|pause, _| {
        check(*pause <= PAUSE_MAX)?;
        fsleep(Delta::from_millis((*pause).into()));
        Ok(())
    });
    // new: begin
}

fn value_is_set(new: &i32, params: &Locked<crate::LocalModule>) -> Result {
    check(LIMITS.get(params).allow(*new))?;
    pr_info!("value was {}, and is {new} now\n", VALUE.get(params));
    Ok(())
}

fn limits_are_set(new: &Limits, params: &Locked<crate::LocalModule>) -> Result {
    check(new.allow(*VALUE.get(params)))
}

fn check(in_range: bool) -> Result {
    in_range.then_some(()).ok_or(ERANGE)
}

// A type of our own: a form as text, and a name for modinfo(8).

impl Text for Limits {
    fn parse(input: Input<'_>) -> Result<Self> {
        let text = core::str::from_utf8(input.line()).map_err(|_| EINVAL)?;
        text.parse().map_err(|why| match why {
            NoLimits::Invalid => EINVAL,
            NoLimits::Overflow => ERANGE,
        })
    }

    fn show(&self, page: &mut Page<'_>) -> Result {
        write!(page, "{self}")
    }
}

impl Value for Limits {
    const TYPE: &'static str = "limits";
}

struct ParameterModule;

impl kernel::Module for ParameterModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // A number is read like this, at any time. For anything else, the parameters are locked.
        pr_info!("loaded with value {}\n", VALUE.load());
        // new: end
        pr_info!("hidden {}\n", HIDDEN.load());
        // new: begin
        let params = module_param::lock::<crate::LocalModule>();
        let (charp, list): (&CStr, &[i32]) = (CHARP.get(&params), LIST.get(&params));
        pr_info!("charp {charp:?}, list {list:?}\n");
        Ok(Self)
    }
}
// new: end
