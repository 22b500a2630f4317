// SPDX-License-Identifier: GPL-2.0

//! The kernel side of the ioctl gate: a message, stored and given out by typed commands.
//!
//! There are two devices, which differ only in how they get their node. The HOWTO's `my_device` has
//! a major number and leaves the node to the user; today's `callgate_ioctl` is a misc device, whose
//! node appears by itself. Each has a message of its own.

// new: begin
#![deny(unsafe_code)]

pub mod abi;

use abi::{Message, Status, MESSAGE_CAPACITY};
use callgate_kernel::{
    chardev,
    file::FileOperations,
    ioctl::{same_but_size, Call},
    misc,
    rate_limit::RateLimit,
};
use core::mem::{swap, MaybeUninit};
use kernel::{
    fs::File,
    ioctl::{_IO, _IOR, _IOW, _IOWR},
    new_mutex,
    prelude::*,
    sync::{Arc, ArcBorrow, Mutex},
};

// new: end
module! {
    type: IoctlModule,
    name: "callgate_ioctl",
    authors: ["callgate"],
    description: "ioctl: typed commands on an open file",
    license: "GPL",
}

// new: begin
// A command's number says in which direction its argument goes and how large it is.
const _: () = {
    const TYPE: u32 = abi::TYPE as u32;
    // new: end
    assert!(abi::READ == _IOR::<i32>(TYPE, 0));
    assert!(abi::WRITE == _IOW::<i32>(TYPE, 1));
    // new: begin
    assert!(abi::CLEAR == _IO(TYPE, 2));
    assert!(abi::SET == _IOW::<Message>(TYPE, 3));
    assert!(abi::GET == _IOR::<Message>(TYPE, 4));
    assert!(abi::EXCHANGE == _IOWR::<Message>(TYPE, 5));
    assert!(abi::STATUS == _IOWR::<Status>(TYPE, 6));
    assert!(abi::STATUS_SIZE_V0 == core::mem::offset_of!(Status, loads));
};

#[pin_data]
struct IoctlModule {
    // new: end
    _howto: chardev::Registration<Device>,
    // new: begin
    #[pin]
    _device: misc::Registration<Device>,
}

impl kernel::InPlaceModule for IoctlModule {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // new: end
            _howto: {
                let howto = chardev::Registration::new(abi::DRIVER, 1, Store::new()?)?;
                let major = howto.major();
                let (node, minor) = (abi::HOWTO_NODE, abi::HOWTO_MINOR);
                pr_info!("cdev example: assigned major: {major}\n");
                pr_info!("create node with mknod {node} c {major} {minor}\n");
                howto
            },
            // new: begin
            _device <- misc::Registration::new(abi::STORE_NAME, abi::STORE_MODE, Store::new()?),
        })
    }
}

/// What a device keeps.
#[pin_data]
struct Store {
    #[pin]
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
struct State {
    message: Message,
    stores: u64,
    loads: u64,
    refused: u64,
}

impl State {
    /// Leaves in its place the message that was stored before.
    fn store(&mut self, message: &mut Message) {
        self.stores += 1;
        swap(&mut self.message, message);
    }

    fn reset_counters(&mut self) {
        self.stores = 0;
        self.loads = 0;
        self.refused = 0;
    }
}

/// How many stores are logged a second at most: whoever may open the device could else flood the log.
/// `STATUS` counts them all.
static LOGGED: RateLimit = RateLimit::new(10);

const NO_MESSAGE: Message = Message {
    len: 0,
    bytes: [0; MESSAGE_CAPACITY],
};

/// Looks at a message that the user made. The bytes that do not count become zero, whatever the user had there.
///
/// It is our copy by now, which the user cannot change behind our back.
fn check(theirs: &mut Message) -> Result {
    let rest = theirs.bytes.get_mut(theirs.len as usize..).ok_or(EINVAL)?;
    rest.fill(0);
    Ok(())
}

impl Store {
    fn new() -> Result<Arc<Self>> {
        let state = State {
            message: NO_MESSAGE,
            stores: 0,
            loads: 0,
            refused: 0,
        };
        Arc::pin_init(
            pin_init!(Self {
                state <- new_mutex!(state),
            }),
            GFP_KERNEL,
        )
    }

    #[inline]
    fn carry_out(&self, call: Call) -> Result {
        match call.cmd() {
            // new: end
            abi::READ => self.read(call),
            abi::WRITE => self.write(call),
            // new: begin
            abi::CLEAR => self.clear(),
            abi::SET => self.set(call),
            abi::GET => self.get(call),
            abi::EXCHANGE => self.exchange(call),
            cmd if same_but_size(cmd, abi::STATUS) => self.status(call),
            _ => Err(ENOTTY),
        }
    }

    /// Stores a message, and leaves in its place the one that was stored before.
    fn store(&self, message: &mut Message) {
        let len = message.len;
        self.state.lock().store(message);
        if LOGGED.allows() {
            pr_info!("message stored, {len} bytes\n");
        }
    }

    // new: end
    /// From the kernel, as the HOWTO has it: a string. The number says four bytes, so nothing but
    /// the convention tells how many the caller has room for.
    fn read(&self, call: Call) -> Result {
        let Message { len, mut bytes } = self.state.lock().message;
        let len = len as usize;
        // Only `SET` and `EXCHANGE` can have stored a message that leaves no room for the NUL. To
        // write it nevertheless would be to write behind the caller's buffer.
        *bytes.get_mut(len).ok_or(EMSGSIZE)? = 0;
        let string = bytes.get(..=len).ok_or(EMSGSIZE)?;
        call.reply(string.len()).write(string)?;
        self.state.lock().loads += 1;
        Ok(())
    }

    /// To the kernel, as the HOWTO has it: a string, which its NUL ends and not the number.
    fn write(&self, call: Call) -> Result {
        let mut message = NO_MESSAGE;
        message.len = call.read_str(&mut message.bytes)?.len() as u32;
        self.store(&mut message);
        Ok(())
    }

    // new: begin
    /// No argument.
    #[inline]
    fn clear(&self) -> Result {
        let mut state = self.state.lock();
        state.message = NO_MESSAGE;
        state.reset_counters();
        Ok(())
    }

    /// To the kernel.
    fn set(&self, call: Call) -> Result {
        let mut place = MaybeUninit::uninit();
        let (message, _) = call.read(&mut place)?;
        check(message)?;
        self.store(message);
        Ok(())
    }

    /// From the kernel.
    fn get(&self, call: Call) -> Result {
        let message = self.state.lock().message;
        // No lock is held here, nor anywhere else while user memory is copied: that may take as long
        // as the user likes.
        call.reply(size_of::<Message>()).write(&message)?;
        self.state.lock().loads += 1;
        Ok(())
    }

    /// Exchange.
    fn exchange(&self, call: Call) -> Result {
        let mut place = MaybeUninit::uninit();
        let (message, reply) = call.read(&mut place)?;
        check(message)?;
        self.store(message);
        // This cannot be tried beforehand, nor undone: others may have seen the new message. So if it
        // fails, the new message is stored, and the old one is lost.
        reply.write(message)?;
        self.state.lock().loads += 1;
        Ok(())
    }

    /// An extensible struct: callers that were compiled with an older or newer [`Status`] are served.
    fn status(&self, call: Call) -> Result {
        let (request, reply) = call.read_struct::<Status>(abi::STATUS_SIZE_V0)?;
        // What means nothing yet must be zero, or it could never come to mean something.
        let known = Status {
            flags: request.flags & abi::STATUS_RESET,
            ..Status::default()
        };
        if request != known {
            return Err(EINVAL);
        }
        let state = {
            let mut state = self.state.lock();
            let now = *state;
            // Under the same lock, so that no count gets lost in between.
            if request.flags & abi::STATUS_RESET != 0 {
                state.reset_counters();
            }
            now
        };
        reply.write(&Status {
            flags: 0,
            message_len: state.message.len,
            stores: state.stores,
            loads: state.loads,
            refused: state.refused,
        })
    }
}

/// What a file of the device does.
struct Device;

#[vtable]
impl FileOperations for Device {
    type Shared = Store;
    type Ptr = Arc<Store>;

    fn open(store: ArcBorrow<'_, Store>, _file: &File) -> Result<Arc<Store>> {
        Ok(store.into())
    }

    #[inline]
    fn ioctl(store: ArcBorrow<'_, Store>, call: Call) -> Result {
        let result = store.carry_out(call);
        if result.is_err() {
            store.state.lock().refused += 1;
        }
        result
    }
}
// new: end
