// SPDX-License-Identifier: MIT OR Apache-2.0

//! What it costs to write and to read a setting, by its type and by how many bytes there are.

use callgate::sysctl::Setting;

use super::Operation;
use super::file::Kept;
use crate::sysctl::abi::STRING_SIZE;

/// Numbers, one of the few words that the module itself knows, and texts.
pub fn operations() -> anyhow::Result<Vec<Operation<'static>>> {
    let path = |name| anyhow::Ok(Setting::named(name)?.path().to_owned());
    let number = Kept::new(path("dev.callgate.int")?, b"1234567\n");
    let numbers = Kept::new(path("dev.callgate.ints")?, b"11\t22\t33\t44\n");
    let word = Kept::new(path("dev.callgate.mode")?, b"auto\n");
    let mut operations = vec![
        number.write("write a number")?,
        number.read("read a number")?,
        number.exchange("write a number, then read it")?,
        numbers.exchange("write 4 numbers, then read them")?,
        word.exchange("write a word, then read it")?,
    ];
    for bytes in [2, 64, STRING_SIZE] {
        let text = Kept::line(path("dev.callgate.string")?, bytes);
        operations.push(text.exchange("write a text, then read it")?);
    }
    let longest = Kept::line(path("dev.callgate.string")?, STRING_SIZE);
    operations.push(longest.write("write a text")?);
    operations.push(longest.read("read a text")?);
    Ok(operations)
}
