// SPDX-License-Identifier: MIT OR Apache-2.0

//! What ioctl commands cost, by the kind of their argument.

use std::ffi::CStr;

use anyhow::ensure;
use callgate::chardev::Device;
use callgate::ioctl::{
    Exchange, Extensible, FromKernel, NoArgument, StringFromKernel, StringToKernel, ToKernel,
};

use super::{Operation, Work};
use crate::ioctl::abi::{self, MESSAGE_CAPACITY, Message, Status};

/// Four bytes, with the NUL.
const STRING: &CStr = c"hey";

/// Every kind.
pub fn operations() -> anyhow::Result<Vec<Operation<'static>>> {
    let store = || Device::open(abi::STORE_NODE);
    let message = Message {
        len: 100,
        bytes: [b'x'; MESSAGE_CAPACITY],
    };
    let size = size_of::<Message>();
    let [clear, write, read, first] = [store()?, store()?, store()?, store()?];
    let [set, get, exchange, status] = [store()?, store()?, store()?, store()?];
    let write_string = StringToKernel::new(abi::WRITE, MESSAGE_CAPACITY);
    let read_string = StringFromKernel::new(abi::READ, MESSAGE_CAPACITY);
    Ok(vec![
        Operation::new(Work::Other, "no argument", 0, move || {
            Ok(NoArgument::new(abi::CLEAR).call(&clear)?)
        }),
        Operation::new(Work::ToKernel, "string to the kernel", 4, move || {
            Ok(write_string.call(&write, STRING)?)
        }),
        Operation::new(Work::ToProgram, "string from the kernel", 4, move || {
            let string = read_string.call(&read)?;
            ensure!(string.as_c_str() == STRING, "{string:?} came");
            Ok(())
        })
        .first(move || Ok(StringToKernel::new(abi::WRITE, MESSAGE_CAPACITY).call(&first, STRING)?)),
        Operation::new(Work::ToKernel, "to the kernel", size, move || {
            Ok(ToKernel::new(abi::SET).call(&set, &message)?)
        }),
        Operation::new(Work::ToProgram, "from the kernel", size, move || {
            FromKernel::<Message>::new(abi::GET).call(&get)?;
            Ok(())
        }),
        Operation::new(Work::RoundTrip, "exchange", size, move || {
            Exchange::new(abi::EXCHANGE).call(&exchange, &message)?;
            Ok(())
        }),
        Operation::new(
            Work::ToProgram,
            "extensible",
            size_of::<Status>(),
            move || {
                Extensible::new(abi::STATUS).call(&status, &Status::default())?;
                Ok(())
            },
        ),
    ])
}
