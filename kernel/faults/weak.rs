// SPDX-License-Identifier: GPL-2.0

//! A device with one weakness, on purpose: how the lab proves that an attack would find it.
//!
//! Loading the module with `kind=N` gives it the N-th of the weaknesses below; with `kind=0` it has none.

use core::mem::MaybeUninit;
use kernel::{
    fs::File,
    ioctl::{_IO, _IOR, _IOW},
    miscdevice::{MiscDevice, MiscDeviceOptions, MiscDeviceRegistration},
    mm::virt::VmaNew,
    new_mutex,
    page::{Page, PAGE_SIZE},
    prelude::*,
    sync::{Arc, Mutex},
    task::Kuid,
    time::msecs_to_jiffies,
    uaccess::{UserPtr, UserSlice},
    workqueue::{self, impl_has_delayed_work, new_delayed_work, DelayedWork, WorkItem},
};

module! {
    type: WeakModule,
    name: "callgate_weak",
    authors: ["callgate"],
    description: "Weaknesses planted on purpose",
    license: "GPL",
    params: {
        kind: u32 {
            default: 0,
            description: "Which weakness",
        },
    },
}

/// It believes the length that the user gives.
const LENGTH: u32 = 1;
/// It reads the length twice, and checks it once.
const TWICE: u32 = 2;
/// It gives memory to the user that it has not written to.
const STALE: u32 = 3;
/// It uses an index that is in memory which the user may change, and checks it not.
const INDEX: u32 = 4;
/// It leaves work behind when it is unloaded.
const WORK: u32 = 5;
/// It does for anybody what is root's.
const ANYBODY: u32 = 6;

/// How many bytes it keeps for an open file.
const ROOM: usize = 60;

/// Takes a length, and as many bytes.
const PUT: u32 = _IOW::<[u8; 4 + ROOM]>(b'W' as u32, 1);
/// Gives the bytes.
const GET: u32 = _IOR::<[u8; ROOM]>(b'W' as u32, 2);
/// Counts in the place of the table that the first word of the mapped page says.
const COUNT: u32 = _IO(b'W' as u32, 3);
/// For root only.
const ADMIN: u32 = _IO(b'W' as u32, 4);

fn is(kind: u32) -> bool {
    module_parameters::kind.value() == kind
}

#[pin_data]
struct WeakModule {
    #[pin]
    _device: MiscDeviceRegistration<Weak>,
}

impl kernel::InPlaceModule for WeakModule {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _: {
                if is(WORK) {
                    Late::begin(Late::new()?);
                }
            },
            _device <- MiscDeviceRegistration::register(MiscDeviceOptions {
                name: c"callgate_weak",
            }),
        })
    }
}

/// Work that is done again and again.
#[pin_data]
struct Late {
    #[pin]
    work: DelayedWork<Late>,
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for Late { self.work }
}

impl Late {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                work <- new_delayed_work!("Late::work"),
            }),
            GFP_KERNEL,
        )
    }

    fn begin(this: Arc<Self>) {
        let _ = workqueue::system().enqueue_delayed(this, msecs_to_jiffies(100));
    }
}

impl WorkItem for Late {
    type Pointer = Arc<Late>;

    fn run(this: Arc<Late>) {
        Late::begin(this);
    }
}

/// An open file.
#[pin_data]
struct Weak {
    #[pin]
    state: Mutex<State>,
    page: Page,
}

struct State {
    /// Of `ROOM` bytes.
    room: KVec<u8>,
    /// How often each of them was counted.
    table: KVec<u64>,
}

#[vtable]
impl MiscDevice for Weak {
    type Ptr = Pin<KBox<Self>>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<Pin<KBox<Self>>> {
        let state = State {
            room: KVec::from_elem(0, ROOM, GFP_KERNEL)?,
            table: KVec::from_elem(0, 8, GFP_KERNEL)?,
        };
        let page = Page::alloc_page(GFP_KERNEL | __GFP_ZERO)?;
        KBox::pin_init(
            pin_init!(Self {
                state <- new_mutex!(state),
                page,
            }),
            GFP_KERNEL,
        )
    }

    fn mmap(weak: Pin<&Self>, _file: &File, vma: &VmaNew) -> Result {
        if vma.end() - vma.start() != PAGE_SIZE {
            return Err(EINVAL);
        }
        vma.set_mixedmap().vm_insert_page(vma.start(), &weak.page)
    }

    fn ioctl(weak: Pin<&Self>, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        let mut state = weak.state.lock();
        match cmd {
            PUT => state.put(arg)?,
            GET => state.get(arg)?,
            COUNT => state.count(&weak.page)?,
            ADMIN if is(ANYBODY) || Kuid::current_euid().into_uid_in_current_ns() == 0 => {}
            ADMIN => return Err(EPERM),
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }
}

impl State {
    fn put(&mut self, arg: usize) -> Result {
        let argument = UserSlice::new(UserPtr::from_addr(arg), 4 + ROOM);
        let mut message = [0u8; 4 + ROOM];
        argument.reader().read_slice(&mut message)?;
        let [a, b, c, d, bytes @ ..] = &message;
        let mut len = u32::from_ne_bytes([*a, *b, *c, *d]) as usize;
        if !is(LENGTH) && len > ROOM {
            return Err(EINVAL);
        }
        if is(TWICE) {
            len = UserSlice::new(UserPtr::from_addr(arg), 4)
                .reader()
                .read::<u32>()? as usize;
        }
        if is(LENGTH) || is(TWICE) {
            for at in 0..len.min(2 * ROOM) {
                let byte = bytes.get(at).copied().unwrap_or_default();
                // SAFETY: It is not safe, as `at` may be behind the room. That is the point.
                unsafe { self.room.as_mut_ptr().add(at).write_volatile(byte) };
            }
        } else {
            self.room[..len].copy_from_slice(&bytes[..len]);
        }
        Ok(())
    }

    fn get(&mut self, arg: usize) -> Result {
        let mut writer = UserSlice::new(UserPtr::from_addr(arg), ROOM).writer();
        if is(STALE) {
            // As large as what is often freed with addresses in it.
            let stale = KBox::<[MaybeUninit<u8>; ROOM]>::new_uninit(GFP_KERNEL)?;
            // SAFETY: It is not safe, as nothing was written there. That is the point.
            let stale = unsafe { core::slice::from_raw_parts(stale.as_ptr().cast::<u8>(), ROOM) };
            return writer.write_slice(stale);
        }
        writer.write_slice(&self.room)
    }

    fn count(&mut self, page: &Page) -> Result {
        let mut index = [0; 4];
        // SAFETY: A user who changes the page meanwhile makes it some other number.
        unsafe { page.read_raw(index.as_mut_ptr(), 0, index.len())? };
        let index = u32::from_ne_bytes(index) as usize;
        if is(INDEX) {
            // SAFETY: It is not safe, as `index` may be anything. That is the point.
            let count = unsafe { self.table.as_ptr().add(index % 4096).read_volatile() };
            pr_debug!("{count}\n");
            return Ok(());
        }
        *self.table.get_mut(index).ok_or(EINVAL)? += 1;
        Ok(())
    }
}
