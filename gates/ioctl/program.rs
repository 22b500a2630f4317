// SPDX-License-Identifier: MIT OR Apache-2.0

//! Commands from user space: the HOWTO's two, then the four kinds of argument, then a struct that
//! can grow.

// new: begin
use std::path::Path;

use anyhow::ensure;
use callgate::chardev::{self, Device};
use callgate::crossing::{from_kernel, to_kernel};
use callgate::ioctl::{
    Exchange, Extensible, FromKernel, NoArgument, StringFromKernel, StringToKernel, ToKernel,
};

use super::abi::{self, Message, Status};

// new: end
/// The HOWTO's two commands. Their numbers say `int`; what they carry is a string.
const WRITE: StringToKernel = StringToKernel::new(abi::WRITE, abi::MESSAGE_CAPACITY);
const READ: StringFromKernel = StringFromKernel::new(abi::READ, abi::MESSAGE_CAPACITY);

// new: begin
/// One command for each kind of argument, and one that can grow. A number that does not fit its
/// type does not compile.
const CLEAR: NoArgument = NoArgument::new(abi::CLEAR);
const SET: ToKernel<Message> = ToKernel::new(abi::SET);
const GET: FromKernel<Message> = FromKernel::new(abi::GET);
const EXCHANGE: Exchange<Message> = Exchange::new(abi::EXCHANGE);
const STATUS: Extensible<Status> = Extensible::new(abi::STATUS);

/// Runs it.
pub fn main() -> anyhow::Result<()> {
    // new: end
    howto()?;
    // new: begin
    today()
}

// new: end
/// The HOWTO's program: make the node if it is missing, write a message, read it back.
fn howto() -> anyhow::Result<()> {
    let made = !Path::new(abi::HOWTO_NODE).exists();
    chardev::make_node(abi::HOWTO_NODE, chardev::major(abi::DRIVER)?, abi::HOWTO_MINOR, 0o600)?;
    let device = Device::open(abi::HOWTO_NODE)?;

    to_kernel(&format!("WRITE {:#010x}", WRITE.number()), "hello world");
    WRITE.call(&device, c"hello world")?;

    let message = READ.call(&device)?;
    from_kernel(&format!("READ {:#010x}", READ.number()), message.as_bytes());
    println!("message: {}", message.to_string_lossy());

    drop(device);
    if made {
        chardev::remove_node(abi::HOWTO_NODE)?;
    }
    Ok(())
}

// new: begin
/// Commands that say what they mean.
fn today() -> anyhow::Result<()> {
    let store = Device::open(abi::STORE_NODE)?;

    to_kernel(&format!("CLEAR {:#010x}", CLEAR.number()), "");
    CLEAR.call(&store)?;
    println!("no argument: cleared");

    let noon = message("high noon");
    to_kernel(&format!("SET {:#010x}", SET.number()), text(&noon));
    SET.call(&store, &noon)?;
    println!("to the kernel: sent {:?}", show(&noon));

    let stored = GET.call(&store)?;
    from_kernel(&format!("GET {:#010x}", GET.number()), text(&stored));
    println!("from the kernel: got {:?}", show(&stored));
    ensure!(stored == noon, "the driver gave another message than it was sent");

    let evening = message("good evening");
    let what = format!("EXCHANGE {:#010x}", EXCHANGE.number());
    to_kernel(&what, text(&evening));
    let old = EXCHANGE.call(&store, &evening)?;
    from_kernel(&what, text(&old));
    println!("exchange: sent {:?}, got back {:?}", show(&evening), show(&old));

    let what = format!("STATUS {:#010x}", STATUS.number());
    let question = Status::default();
    to_kernel(&what, "");
    let status = STATUS.call(&store, &question)?;
    from_kernel(&what, format!("{} stored, {} given out", status.stores, status.loads));
    println!(
        "extensible: {} stored, {} given out, {} refused, {} bytes now",
        status.stores, status.loads, status.refused, status.message_len
    );

    let old_program = STATUS.call_sized(&store, abi::STATUS_SIZE_V0, &question)?;
    println!("extensible: a program of version 0 sees {} stored", old_program.stores);
    Ok(())
}

/// `text` as the driver wants it. The texts here fit.
fn message(text: &str) -> Message {
    let mut message = Message { len: 0, bytes: [0; abi::MESSAGE_CAPACITY] };
    message.bytes[..text.len()].copy_from_slice(text.as_bytes());
    message.len = u32::try_from(text.len()).expect("a text is shorter than 4 GiB");
    message
}

/// The bytes of a message that count.
fn text(message: &Message) -> &[u8] {
    let len = usize::try_from(message.len).unwrap_or(usize::MAX);
    &message.bytes[..len.min(message.bytes.len())]
}

/// A message as text.
fn show(message: &Message) -> String {
    String::from_utf8_lossy(text(message)).into_owned()
}
// new: end
