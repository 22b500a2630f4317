// SPDX-License-Identifier: MIT OR Apache-2.0

//! Generic netlink: families of commands, found by their names.
//!
//! A [`Client`] finds a [`Family`], calls its commands and reads its dumps; a [`Listener`] receives what
//! the kernel sends to the multicast groups of one.
//!
//! ```no_run
//! use callgate::genl::Client;
//! use callgate::netlink::Attributes;
//!
//! # fn main() -> Result<(), callgate::genl::Error> {
//! let mut client = Client::new()?;
//! let controller = client.family("nlctrl")?;
//! // CTRL_CMD_GETFAMILY
//! for family in client.dump(&controller, 3, &Attributes::new())?.records {
//!     println!("{}", family.attributes.get_string(2)?);
//! }
//! # Ok(()) }
//! ```
//!
//! # References
//!  - [Introduction to Netlink](https://docs.kernel.org/userspace-api/netlink/intro.html)

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::io::Errno;

use crate::netlink::{self, Attributes, Dump, Message, Socket};

/// `NETLINK_GENERIC`.
pub const PROTOCOL: i32 = 16;

/// `GENL_HDRLEN`: command, version and two bytes that must be 0.
pub const HEADER: usize = 4;

/// The controller, which knows all families, and is one itself.
pub mod controller {
    /// Its number, always.
    pub const ID: u16 = 16;
    /// Its name.
    pub const NAME: &str = "nlctrl";
    /// `CTRL_CMD_GETFAMILY`.
    pub const GET_FAMILY: u8 = 3;
    /// `CTRL_CMD_GETPOLICY`.
    pub const GET_POLICY: u8 = 10;
    /// The group that hears of families that come and go.
    pub const GROUP: &str = "notify";
}

/// `CTRL_ATTR_*`.
mod attr {
    pub const FAMILY_ID: u16 = 1;
    pub const FAMILY_NAME: u16 = 2;
    pub const VERSION: u16 = 3;
    pub const OPS: u16 = 6;
    pub const OP_ID: u16 = 1;
    pub const OP_FLAGS: u16 = 2;
    pub const GROUPS: u16 = 7;
    pub const GROUP_NAME: u16 = 1;
    pub const GROUP_ID: u16 = 2;
    pub const POLICY: u16 = 8;
    pub const OP_POLICY: u16 = 9;
    pub const POLICY_DO: u16 = 1;
    pub const POLICY_DUMP: u16 = 2;
    /// `NL_POLICY_TYPE_ATTR_*`.
    pub mod policy {
        pub const TYPE: u16 = 1;
        pub const MIN_SIGNED: u16 = 2;
        pub const MAX_SIGNED: u16 = 3;
        pub const MIN: u16 = 4;
        pub const MAX: u16 = 5;
        pub const MIN_LENGTH: u16 = 6;
        pub const MAX_LENGTH: u16 = 7;
        pub const NESTED: u16 = 8;
    }
}

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such family here.
    #[error(
        "there is no generic netlink family {name}: load the module that has it; `genl ctrl list` \
         shows those there are"
    )]
    NoFamily {
        /// The family.
        name: String,
    },
    /// The family has no such group.
    #[error("the family {family} has no group {group}; it has: {}", .known.join(", "))]
    NoGroup {
        /// The family.
        family: String,
        /// The group.
        group: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// Anything else.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
}

impl Error {
    /// What the kernel answered, where it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::NoFamily { .. } => Some(Errno::NOENT),
            Self::NoGroup { .. } => None,
            Self::Netlink(error) => error.errno(),
        }
    }

    /// All that the kernel says of a request that it refused.
    pub const fn refusal(&self) -> Option<&netlink::Refusal> {
        match self {
            Self::Netlink(netlink::Error::Refused(refusal)) => Some(refusal),
            _ => None,
        }
    }
}

/// A family, as the controller knows it. The numbers change when its module is loaded again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// Its number: the kind of its messages.
    pub id: u16,
    /// Its version.
    pub version: u32,
    /// Its commands, and `GENL_*` flags of each.
    pub commands: BTreeMap<u8, u32>,
    /// The numbers of its multicast groups, by their names.
    pub groups: BTreeMap<String, u32>,
}

impl Family {
    fn parse(attributes: &Attributes) -> Result<Self, netlink::Error> {
        let list = |number| match attributes.get(number) {
            Some(list) => Attributes::from_bytes(list),
            None => Attributes::new(),
        };
        let mut commands = BTreeMap::new();
        for (_, command) in list(attr::OPS).iter() {
            let command = Attributes::from_bytes(command);
            let number = command.get_number::<u32>(attr::OP_ID)?;
            let number = u8::try_from(number)
                .map_err(|_| netlink::Error::Malformed(format!("a command has number {number}")))?;
            commands.insert(number, command.get_number(attr::OP_FLAGS)?);
        }
        let mut groups = BTreeMap::new();
        for (_, group) in list(attr::GROUPS).iter() {
            let group = Attributes::from_bytes(group);
            let name = group.get_string(attr::GROUP_NAME)?;
            groups.insert(name.to_owned(), group.get_number(attr::GROUP_ID)?);
        }
        Ok(Self {
            name: attributes.get_string(attr::FAMILY_NAME)?.to_owned(),
            id: attributes.get_number(attr::FAMILY_ID)?,
            version: attributes.get_number(attr::VERSION)?,
            commands,
            groups,
        })
    }

    /// The number of a multicast group.
    ///
    /// # Errors
    ///
    /// [`Error::NoGroup`].
    pub fn group(&self, name: &str) -> Result<u32, Error> {
        self.groups
            .get(name)
            .copied()
            .ok_or_else(|| Error::NoGroup {
                family: self.name.clone(),
                group: name.to_owned(),
                known: self.groups.keys().cloned().collect(),
            })
    }
}

/// A reply, a record of a dump, or a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The command that it belongs to.
    pub command: u8,
    /// The version of the family that sent it.
    pub version: u8,
    /// The header of the message around it.
    pub sequence: u32,
    /// The socket that it answers, or 0.
    pub port: u32,
    /// What it says.
    pub attributes: Attributes,
}

impl Reply {
    fn parse(message: &Message) -> Result<Self, netlink::Error> {
        let Some((&[command, version, _, _], attributes)) = message.payload.split_first_chunk()
        else {
            let length = message.payload.len();
            let error = format!("a generic netlink message has {length} bytes");
            return Err(netlink::Error::Malformed(error));
        };
        Ok(Self {
            command,
            version,
            sequence: message.sequence,
            port: message.port,
            attributes: Attributes::from_bytes(attributes),
        })
    }
}

/// What the kernel checks an attribute for before a command sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// `NL_ATTR_TYPE_*`.
    pub kind: u32,
    /// The least value.
    pub min: Option<i128>,
    /// The largest value.
    pub max: Option<i128>,
    /// The least length.
    pub min_length: Option<u32>,
    /// The largest length.
    pub max_length: Option<u32>,
    /// What a nest may have, an index into [`Policies::policies`].
    pub nested: Option<u32>,
}

/// What all commands of a family are checked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// Each policy: its attributes, by their numbers.
    pub policies: BTreeMap<u16, BTreeMap<u16, Checked>>,
    /// The policies of each command, as a call and as a dump.
    pub commands: BTreeMap<u16, (Option<u32>, Option<u32>)>,
}

/// A socket of generic netlink that sends commands.
#[derive(Debug)]
pub struct Client(Socket);

impl Client {
    /// A socket in the network namespace of this thread.
    ///
    /// # Errors
    ///
    /// As [`Socket::new`].
    pub fn new() -> Result<Self, Error> {
        Ok(Self(Socket::new(PROTOCOL, HEADER)?))
    }

    /// The socket.
    pub const fn socket(&mut self) -> &mut Socket {
        &mut self.0
    }

    /// Finds a family by its name.
    ///
    /// # Errors
    ///
    /// [`Error::NoFamily`] if there is none, also not after the kernel has asked modprobe(8) for it.
    pub fn family(&mut self, name: &str) -> Result<Family, Error> {
        let attributes = Attributes::new().string(attr::FAMILY_NAME, name);
        let payload = payload(controller::GET_FAMILY, 2, &attributes);
        let found = match self.0.request(controller::ID, &payload) {
            Err(error) if error.errno() == Some(Errno::NOENT) => Err(Error::NoFamily {
                name: name.to_owned(),
            }),
            found => Ok(found?),
        }?;
        let [found] = &found[..] else {
            let error = format!("{} families are called {name}", found.len());
            return Err(netlink::Error::Malformed(error).into());
        };
        Ok(Family::parse(&Reply::parse(found)?.attributes)?)
    }

    /// Calls a command, and returns its replies, of which there may be none.
    ///
    /// # Errors
    ///
    /// As [`Socket::request`]; [`Error::refusal`] has all that the kernel says.
    pub fn call(
        &mut self,
        family: &Family,
        command: u8,
        attributes: &Attributes,
    ) -> Result<Vec<Reply>, Error> {
        let payload = payload(command, version(family), attributes);
        let replies = self.0.request(family.id, &payload)?;
        Ok(replies.iter().map(Reply::parse).collect::<Result<_, _>>()?)
    }

    /// Calls a command as a dump, and returns all records.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn dump(
        &mut self,
        family: &Family,
        command: u8,
        attributes: &Attributes,
    ) -> Result<Dump<Reply>, Error> {
        let payload = payload(command, version(family), attributes);
        let Dump {
            records,
            consistent,
        } = self.0.dump(family.id, &payload)?;
        let records = records.iter().map(Reply::parse).collect::<Result<_, _>>()?;
        Ok(Dump {
            records,
            consistent,
        })
    }

    /// Asks the controller what the commands of a family are checked for.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn policies(&mut self, family: &Family) -> Result<Policies, Error> {
        let attributes = Attributes::new().number(attr::FAMILY_ID, family.id);
        let payload = payload(controller::GET_POLICY, 2, &attributes);
        let mut result = Policies::default();
        for message in self.0.dump(controller::ID, &payload)?.records {
            let attributes = Reply::parse(&message)?.attributes;
            for (command, uses) in nest(&attributes, attr::OP_POLICY).iter() {
                let uses = Attributes::from_bytes(uses);
                let index = |number| uses.get_number(number).ok();
                let both = (index(attr::POLICY_DO), index(attr::POLICY_DUMP));
                result.commands.insert(command, both);
            }
            for (index, of_policy) in nest(&attributes, attr::POLICY).iter() {
                let policy = result.policies.entry(index).or_default();
                for (number, checked) in Attributes::from_bytes(of_policy).iter() {
                    policy.insert(number, checked_for(&Attributes::from_bytes(checked)));
                }
            }
        }
        Ok(result)
    }
}

fn nest(attributes: &Attributes, number: u16) -> Attributes {
    attributes.get_nest(number).unwrap_or_default()
}

fn checked_for(attributes: &Attributes) -> Checked {
    use attr::policy;
    let length = |number| attributes.get_number::<u32>(number).ok();
    let value = |signed, unsigned| {
        let signed = attributes.get_number::<i64>(signed).map(i128::from).ok();
        signed.or_else(|| attributes.get_number::<u64>(unsigned).map(i128::from).ok())
    };
    Checked {
        kind: length(policy::TYPE).unwrap_or_default(),
        min: value(policy::MIN_SIGNED, policy::MIN),
        max: value(policy::MAX_SIGNED, policy::MAX),
        min_length: length(policy::MIN_LENGTH),
        max_length: length(policy::MAX_LENGTH),
        nested: length(policy::NESTED),
    }
}

/// A message's payload: the header of generic netlink, and attributes.
pub fn payload(command: u8, version: u8, attributes: &Attributes) -> Vec<u8> {
    [&[command, version, 0, 0], attributes.as_bytes()].concat()
}

fn version(family: &Family) -> u8 {
    // Nobody looks at it.
    u8::try_from(family.version).unwrap_or(u8::MAX)
}

/// A socket that hears what is sent to multicast groups of a family.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    family: u16,
}

impl Listener {
    /// Joins these groups of a family, in the network namespace of this thread.
    ///
    /// # Errors
    ///
    /// [`Error::NoGroup`]; and as [`Socket::join`], with [`Errno::PERM`] if a group is for others.
    pub fn new(family: &Family, groups: &[&str]) -> Result<Self, Error> {
        let listener = Self {
            socket: Socket::new(PROTOCOL, HEADER)?,
            family: family.id,
        };
        for group in groups {
            listener.socket.join(family.group(group)?)?;
        }
        Ok(listener)
    }

    /// The socket.
    pub const fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// The next notification; `None` if there is none within `limit`.
    ///
    /// # Errors
    ///
    /// [`netlink::Error::Lost`], once, if notifications were lost. Those that come after may be received
    /// as ever. To know again what there is, ask for all of it by a dump; and do so after this error, as
    /// then nothing can be missed in between.
    pub fn next(&mut self, limit: Duration) -> Result<Option<Reply>, Error> {
        loop {
            match self.socket.receive_within(limit)? {
                None => return Ok(None),
                Some(message) if message.kind == self.family => {
                    return Ok(Some(Reply::parse(&message)?));
                }
                Some(_) => {}
            }
        }
    }
}
