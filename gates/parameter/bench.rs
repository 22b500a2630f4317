// SPDX-License-Identifier: MIT OR Apache-2.0

//! What it costs to set a module's parameter and to read it, by its type and by how many bytes there are.

use callgate::parameter::Parameters;

use super::Operation;
use super::file::Kept;
use crate::parameter::abi::LIST_MAX;

/// A number, an array, and strings up to the longest that there are. Nothing is done when they are set, but for
/// the module's lock.
pub fn operations() -> anyhow::Result<Vec<Operation<'static>>> {
    let parameters = Parameters::of("callgate_parameter")?;
    let path = |name| anyhow::Ok(parameters.attribute(name)?.path().to_owned());
    let number = Kept::new(path("uint")?, b"1234567\n");
    let mut list = ["1234567"; LIST_MAX].join(",");
    list.push('\n');
    let list = Kept::new(path("list")?, list.as_bytes());
    let mut operations = vec![
        number.write("set a number")?,
        number.read("read a number")?,
        number.exchange("set a number and read it")?,
        list.exchange("set 8 numbers and read them")?,
    ];
    for bytes in [2, 64, 1024] {
        let string = Kept::line(path("charp")?, bytes);
        operations.push(string.exchange("set a string and read it")?);
    }
    let longest = Kept::line(path("charp")?, 1024);
    operations.push(longest.write("set a string")?);
    operations.push(longest.read("read a string")?);
    Ok(operations)
}
