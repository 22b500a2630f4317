// SPDX-License-Identifier: MIT OR Apache-2.0

//! Greets the kernel by the HOWTO's command, then adds, lists and removes records, and hears of it.

// new: begin
use anyhow::{Context as _, bail};
use callgate::crossing;
use callgate::genl::{Client, Family, Listener, Reply};
use callgate::netlink::{Attributes, LIMIT};

use super::abi::{self, command, record};

// new: end
/// What the HOWTO's program says.
const GREETING: &str = "hello from userspace";

// new: begin
/// Sends, receives, lists and listens.
pub fn main() -> anyhow::Result<()> {
    let mut client = Client::new()?;
    let family = client.family(abi::FAMILY.to_str()?)?;
    // new: end
    howto(&mut client, &family)?;
    // new: begin
    records(&mut client, &family)
}

// new: end
/// The HOWTO's exchange.
fn howto(client: &mut Client, family: &Family) -> anyhow::Result<()> {
    crossing::to_kernel("DOC_EXMPL_C_ECHO", GREETING);
    let message = Attributes::new().string(abi::MSG, GREETING);
    let replies = client.call(family, command::ECHO, &message)?;
    let reply = replies.first().context("no reply came")?;
    let answer = reply.attributes.get_string(abi::MSG)?;
    crossing::from_kernel("DOC_EXMPL_C_ECHO", answer);
    println!("message received: {answer}");

    // Text without the NUL that ends a string: the policy does not let it through.
    let torn = Attributes::new().bytes(abi::MSG, GREETING.as_bytes());
    match client.call(family, command::ECHO, &torn) {
        Ok(_) => bail!("a text without an end was taken for a string"),
        Err(error) => println!("{error}"),
    }
    Ok(())
}

// new: begin
/// Records, and notifications of what becomes of them.
fn records(client: &mut Client, family: &Family) -> anyhow::Result<()> {
    let mut listener = Listener::new(family, &[abi::RECORDS.1.to_str()?])?;

    let record = Attributes::new()
        .number(record::NUMBER, 1_u32)
        .string(record::TEXT, "one of many");
    let add = Attributes::new()
        .nest(abi::RECORD, &record)
        .number(abi::COUNT, 1000_u32);
    crossing::to_kernel("ADD", "1000 records");
    client.call(family, command::ADD, &add)?;

    let list = client.dump(family, command::GET, &Attributes::new())?;
    crossing::from_kernel("GET dump", format!("{} records", list.records.len()));
    println!("{} records, consistent: {}", list.records.len(), list.consistent);

    let number = Attributes::new().number(abi::NUMBER, 500_u32);
    client.call(family, command::REMOVE, &number)?;
    match client.call(family, command::GET, &number) {
        Ok(_) => bail!("a record was removed and is there"),
        Err(error) => println!("{error}"),
    }
    for _ in 0..2 {
        let heard = listener.next(LIMIT)?.context("no notification came")?;
        println!("heard of {}", what(&heard)?);
    }
    Ok(())
}

fn what(heard: &Reply) -> anyhow::Result<String> {
    let attributes = &heard.attributes;
    let text = match heard.command {
        command::ADDED => {
            let first: u32 = attributes.get_nest(abi::RECORD)?.get_number(record::NUMBER)?;
            let count: u32 = attributes.get_number(abi::COUNT)?;
            format!("{count} new records from {first} on")
        }
        command::REMOVED => {
            let number: u32 = attributes.get_number(abi::NUMBER)?;
            format!("the end of record {number}")
        }
        other => bail!("command {other} is no notification"),
    };
    crossing::from_kernel("notification", &text);
    Ok(text)
}
// new: end
