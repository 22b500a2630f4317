// SPDX-License-Identifier: GPL-2.0

//! Everything that a module can do wrong, on purpose: how the lab proves that it would notice.
//!
//! Loading the module with `kind=N` does what the [`KINDS`]' N-th entry says; `kind=0` does nothing
//! but have a device, by which the module can be kept busy.

use kernel::{
    alloc::flags::GFP_ATOMIC,
    fs::File,
    interrupt::local_interrupt_disable,
    miscdevice::{MiscDevice, MiscDeviceOptions, MiscDeviceRegistration},
    new_mutex, new_spinlock,
    prelude::*,
    processor::cpu_relax,
    sync::Arc,
    time::{delay::fsleep, Delta},
    warn_on,
    workqueue::{self, impl_has_work, new_work, Work, WorkItem},
};

module! {
    type: Faults,
    name: "callgate_faults",
    authors: ["callgate"],
    description: "Faults planted on purpose",
    license: "GPL",
    params: {
        kind: u32 {
            default: 0,
            description: "Which fault",
        },
    },
}

/// The faults, by number.
const KINDS: [fn() -> Result; 11] = [
    nothing,
    null_dereference,
    warn,
    use_after_free,
    lock_order,
    sleep_in_atomic,
    leak,
    overflow,
    undefined,
    hang,
    load_refused,
];

#[pin_data]
struct Faults {
    #[pin]
    _device: MiscDeviceRegistration<Busy>,
}

impl kernel::InPlaceModule for Faults {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _: {
                let kind = module_parameters::kind.value();
                KINDS.get(kind as usize).ok_or(EINVAL)?()?
            },
            _device <- MiscDeviceRegistration::register(MiscDeviceOptions {
                name: c"callgate_faults",
            }),
        })
    }
}

/// A device that does nothing but be open.
struct Busy;

#[vtable]
impl MiscDevice for Busy {
    type Ptr = KBox<Self>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<KBox<Self>> {
        Ok(KBox::new(Busy, GFP_KERNEL)?)
    }
}

fn nothing() -> Result {
    Ok(())
}

fn null_dereference() -> Result {
    // An address that the compiler cannot know to be null, in the page that is never mapped.
    let null = core::hint::black_box(0x10 as *const u8);
    // SAFETY: It is not safe. That is the point: the lab must see the oops.
    pr_info!("read {}\n", unsafe { null.read_volatile() });
    Ok(())
}

fn warn() -> Result {
    warn_on!(core::hint::black_box(true));
    Ok(())
}

fn use_after_free() -> Result {
    let freed = core::hint::black_box(KBox::into_raw(KBox::new(1u64, GFP_KERNEL)?));
    // SAFETY: It came from `into_raw`.
    drop(unsafe { KBox::from_raw(freed) });
    // SAFETY: It is not safe. That is the point: KASAN must see the read.
    pr_info!("read {}\n", unsafe { freed.read_volatile() });
    Ok(())
}

fn lock_order() -> Result {
    let a = KBox::pin_init(new_mutex!((), "a"), GFP_KERNEL)?;
    let b = KBox::pin_init(new_mutex!((), "b"), GFP_KERNEL)?;
    {
        let _a = a.lock();
        let _b = b.lock();
    }
    let _b = b.lock();
    let _a = a.lock();
    Ok(())
}

fn sleep_in_atomic() -> Result {
    let lock = KBox::pin_init(new_spinlock!(()), GFP_KERNEL)?;
    let _guard = lock.lock();
    fsleep(Delta::from_millis(1));
    Ok(())
}

/// As many as a thousand: kmemleak takes any stale copy of a pointer for a reference, and so misses
/// a few.
fn leak() -> Result {
    for _ in 0..1000 {
        let _ = KBox::into_raw(KBox::new([0u8; 64], GFP_KERNEL)?);
    }
    Ok(())
}

fn overflow() -> Result {
    let most = core::hint::black_box(u8::MAX);
    pr_info!("one more is {}\n", most + 1);
    Ok(())
}

fn undefined() -> Result {
    extern "C" {
        fn callgate_faults_undefined(by: u32) -> u32;
    }
    // SAFETY: The function only computes; that C leaves the result undefined is the point.
    pr_info!("shifted to {}\n", unsafe { callgate_faults_undefined(40) });
    Ok(())
}

/// Takes both CPUs for ever: this one, and whichever the work queue's thread is on.
fn hang() -> Result {
    let hang = Arc::pin_init(pin_init!(Hang { work <- new_work!("hang") }), GFP_ATOMIC)?;
    let _ = workqueue::system_unbound().enqueue(hang);
    fsleep(Delta::from_millis(50));
    spin()
}

fn spin() -> ! {
    let _interrupts = local_interrupt_disable();
    loop {
        cpu_relax();
    }
}

#[pin_data]
struct Hang {
    #[pin]
    work: Work<Hang>,
}

impl_has_work! {
    impl HasWork<Self> for Hang { self.work }
}

impl WorkItem for Hang {
    type Pointer = Arc<Hang>;

    fn run(_: Arc<Hang>) {
        spin()
    }
}

fn load_refused() -> Result {
    Err(ENODEV)
}
