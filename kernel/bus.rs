// SPDX-License-Identifier: GPL-2.0

//! Buses, the devices on them, and their drivers.
//!
//! C headers: [`include/linux/device/bus.h`](srctree/include/linux/device/bus.h),
//! [`include/linux/device/driver.h`](srctree/include/linux/device/driver.h)
//!
//! The `kernel` crate has drivers for the buses that there are, see [`kernel::driver`]. This is for one's
//! own: a bus that a module makes up, with devices that it makes up too, and drivers for them.
//!
//! Whoever needs a device only, and no bus, is better off with [`kernel::faux`].
//!
//! The kernel must be built with `CONFIG_SYSFS`.
//!
//! Not supported:
//!
//! - More than 16 attributes of a bus; attributes of devices and drivers.
//! - Devices that have another parent than the bus' own directory below `/sys/devices/virtual`.
//! - Probing in the background, power management, DMA, `driver_override`, `uevent` and `shutdown`.
//! - Drivers of this bus in another module.
//!
//! # Whose device it is
//!
//! A `struct device` is counted, and others may hold it long after its maker gave it up. Its last
//! reference calls `release`, which must not be in a module: the module could be gone by then, as
//! [`sysfs`](crate::sysfs) explains. The kernel has no function that allocates a plain device together with
//! a release function of its own. What else there is:
//!
//! - A release function in the module, and a wait for it in `drop()`. When the wait is over, the last
//!   instructions of that function are still to be executed, from memory that may be freed at once.
//!   `synchronize_rcu_tasks()` would close that gap; but with `CONFIG_DEBUG_KOBJECT_RELEASE` each `drop()`
//!   would take as long as the release is put off.
//! - `kfree()` itself, called by a pointer of another type: a kernel with `CONFIG_CFI` stops there.
//! - `root_device_register()`, `device_create()` and `faux_device_create()`: their devices belong to the
//!   kernel, but there is no moment at which they could be put on a bus.
//! - `platform_device_alloc()`: its device belongs to the kernel, and comes to be on the platform bus only
//!   by `platform_device_add()`.
//!
//! The last one it is: a platform device that is put on another bus than the platform's. The driver core
//! tells what a device is by its bus, so nobody takes it for one. What is left unused is a few fields.
//!
//! # How long a bus lives
//!
//! A device has pointers to its bus and to its driver, and whoever has a reference to the device may
//! follow them: even `dev_info!()` does, to tell the name of the one or the other, and takes no lock. In C
//! that is not looked after: both are in the module. Here a [`DeviceRegistration`] that is dropped waits
//! until nobody else has a reference to the device; it has a reference to the bus; and the bus keeps what
//! the driver core knows of a driver, also when the driver has gone. (It is some 300 bytes for each
//! [`DriverRegistration`] there ever was: who registers drivers again and again had better make a new bus
//! now and then.)
//!
//! The callbacks of a driver are called by the driver core for a driver that it knows, and
//! `driver_unregister()` waits for those who are about to. If a driver cannot be registered nobody waits,
//! so it must not have been known by then: the one step that could fail so late is to link it with its
//! module in sysfs, hence a driver here has no such link, and its `module` is not to be seen.
//!
//! The files of a bus are removed as all those of sysfs, by a wait for their callbacks; but who sleeps in
//! poll(2) on one is not woken.

use crate::{
    attribute::Attribute,
    bindings,
    module::Hold,
    sysfs::{is_file_name, is_same, set_attribute, Node},
};
use core::{
    ffi::CStr,
    marker::PhantomData,
    ops::Deref,
    ptr::{self, NonNull},
};
use kernel::{
    container_of,
    device::{Core, CoreInternal, Device},
    error::{from_result, to_result},
    ffi::{c_char, c_int, c_void},
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    str::CString,
    sync::{Arc, LockClassKey, Mutex},
    time::{delay::fsleep, Delta},
    types::{ForeignOwnable, Opaque},
};

/// What a bus has, beside devices and drivers.
///
/// # Examples
///
/// A bus with a file `/sys/bus/backplane/slots`, a device, and a driver that takes any device:
///
/// ```
/// use callgate_kernel::{
///     attribute::Attribute,
///     bus::{self, Bus, DeviceRegistration, Driver, DriverRegistration},
/// };
/// use kernel::{
///     device::{Core, Device},
///     prelude::*,
///     sync::Arc,
/// };
///
/// struct Backplane {
///     slots: u32,
/// }
///
/// #[vtable]
/// impl Bus for Backplane {
///     const ATTRIBUTES: &'static [Attribute<Self>] =
///         &[Attribute::read_only(c"slots", |bus, page| {
///             writeln!(page, "{}", bus.slots)
///         })];
/// }
///
/// struct Any;
///
/// #[vtable]
/// impl Driver for Any {
///     type Data = ();
///
///     fn matches(&self, _device: &Device) -> bool {
///         true
///     }
///
///     fn probe(&self, _device: &Device<Core<'_>>) -> Result<()> {
///         Ok(())
///     }
/// }
///
/// struct All {
///     _driver: Pin<KBox<DriverRegistration<Backplane, Any>>>,
///     _device: DeviceRegistration<Backplane>,
/// }
///
/// fn register() -> Result<All> {
///     let bus = bus::Registration::new(c"backplane", Backplane { slots: 4 });
///     let bus = Arc::pin_init(bus, GFP_KERNEL)?;
///     Ok(All {
///         _driver: KBox::pin_init(
///             DriverRegistration::new(bus.clone(), c"any", Any),
///             GFP_KERNEL,
///         )?,
///         _device: DeviceRegistration::new(bus, c"card0")?,
///     })
/// }
/// ```
#[vtable]
pub trait Bus: Send + Sync + Sized + 'static {
    /// The attributes, 16 at most. They are read as 4095 bytes at most, and get a page of what is written.
    ///
    /// A name must not be empty, `.` or `..`, nor have a slash; and it must be none of `devices`,
    /// `drivers`, `drivers_autoprobe`, `drivers_probe` and `uevent`, nor that of another one.
    const ATTRIBUTES: &'static [Attribute<Self>];
}

/// What [`Bus::ATTRIBUTES`] has at most.
const MAX_ATTRIBUTES: usize = 16;

/// The callbacks of the attributes of a bus.
///
/// C gives them the bus, but does not say which attribute it is about. So there is a function for each.
struct Callbacks<T: Bus>(PhantomData<T>);

impl<T: Bus> Callbacks<T> {
    /// # Safety
    ///
    /// To be called by the driver core only, for the bus of a `Registration<T>`.
    unsafe extern "C" fn show<const N: usize>(
        bus: *const bindings::bus_type,
        buf: *mut c_char,
    ) -> isize {
        let Some(attribute) = T::ATTRIBUTES.get(N) else {
            return EIO.to_errno() as isize;
        };
        // The last byte is not for us: `sysfs_kf_seq_show()` warns of a page that is full.
        //
        // SAFETY: sysfs gives us a page. It holds an active reference meanwhile, for which
        // `bus_unregister()` waits, so the data are there.
        unsafe { attribute.call_show(&*Registration::<T>::data(bus), buf, PAGE_SIZE - 1) }
    }

    /// # Safety
    ///
    /// To be called by the driver core only, for the bus of a `Registration<T>`.
    unsafe extern "C" fn store<const N: usize>(
        bus: *const bindings::bus_type,
        buf: *const c_char,
        len: usize,
    ) -> isize {
        let Some(attribute) = T::ATTRIBUTES.get(N) else {
            return EIO.to_errno() as isize;
        };
        // SAFETY: `kernfs_fop_write_iter()` puts a NUL behind what was written. The data are there, as
        // for `show()`.
        unsafe { attribute.call_store(&*Registration::<T>::data(bus), buf, len) }
    }
}

/// The functions of [`Callbacks`] for the first attributes.
macro_rules! callbacks {
    ($($n:literal)*) => {
        impl<T: Bus> Callbacks<T> {
            const SHOW: [unsafe extern "C" fn(*const bindings::bus_type, *mut c_char) -> isize;
                MAX_ATTRIBUTES] = [$(Self::show::<$n>),*];

            const STORE: [unsafe extern "C" fn(
                *const bindings::bus_type,
                *const c_char,
                usize,
            ) -> isize; MAX_ATTRIBUTES] = [$(Self::store::<$n>),*];
        }
    };
}

callbacks!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

/// The attributes of a bus as C has them.
///
/// # Invariants
///
/// `groups` has the address of `group` and then null; `group` leads to `list`, which has the addresses of
/// all `attributes` and then null.
struct Attributes {
    groups: KBox<[*const bindings::attribute_group; 2]>,
    _group: KBox<Opaque<bindings::attribute_group>>,
    _list: KVec<*mut bindings::attribute>,
    _attributes: KVec<Opaque<bindings::bus_attribute>>,
    _key: Pin<KBox<LockClassKey>>,
}

impl Attributes {
    fn new<T: Bus>() -> Result<Self> {
        let key = KBox::pin_init(LockClassKey::new_dynamic(), GFP_KERNEL)?;
        let mut attributes = KVec::with_capacity(T::ATTRIBUTES.len(), GFP_KERNEL)?;
        for (n, attribute) in T::ATTRIBUTES.iter().enumerate() {
            let mut raw = bindings::bus_attribute::default();
            set_attribute(&mut raw.attr, attribute.name(), attribute.mode(), &key);
            if attribute.is_readable() {
                raw.show = Some(Callbacks::<T>::SHOW[n]);
            }
            if attribute.is_writable() {
                raw.store = Some(Callbacks::<T>::STORE[n]);
            }
            attributes.push(Opaque::new(raw), GFP_KERNEL)?;
        }
        // INVARIANT: Nothing is added any more, so the addresses do not change.
        let mut list = KVec::with_capacity(attributes.len() + 1, GFP_KERNEL)?;
        for attribute in &attributes {
            // SAFETY: The attribute is there; only an address is computed.
            list.push(unsafe { &raw mut (*attribute.get()).attr }, GFP_KERNEL)?;
        }
        list.push(ptr::null_mut(), GFP_KERNEL)?;
        let mut raw = bindings::attribute_group::default();
        raw.__bindgen_anon_2.attrs = list.as_mut_ptr();
        let group = KBox::new(Opaque::new(raw), GFP_KERNEL)?;
        Ok(Self {
            groups: KBox::new([group.get().cast_const(), ptr::null()], GFP_KERNEL)?,
            _group: group,
            _list: list,
            _attributes: attributes,
            _key: key,
        })
    }
}

/// Checks at compile time what can be checked of [`Bus::ATTRIBUTES`].
const fn check_attributes<T: Bus>() {
    let attributes = T::ATTRIBUTES;
    assert!(attributes.len() <= MAX_ATTRIBUTES, "too many attributes");
    let mut i = 0;
    while i < attributes.len() {
        let name = attributes[i].name();
        assert!(is_file_name(name), "a file cannot have this name");
        let taken = matches!(
            name.to_bytes(),
            b"devices" | b"drivers" | b"drivers_autoprobe" | b"drivers_probe" | b"uevent"
        );
        assert!(!taken, "every bus has something of this name");
        let mut j = i + 1;
        while j < attributes.len() {
            let same = is_same(name, attributes[j].name());
            assert!(!same, "two attributes have the same name");
            j += 1;
        }
        i += 1;
    }
}

/// A registered bus. It is shared, as devices and drivers need it too; it dereferences to its data.
///
/// It is unregistered when it is dropped, which is after all its devices and drivers. That waits for
/// callbacks in flight, so it must not happen in one of them.
///
/// # Invariants
///
/// `raw` is registered. All drivers of this bus are those of `DriverRegistration`s, and in `known`.
#[pin_data(PinnedDrop)]
pub struct Registration<T: Bus> {
    // What comes before `raw` is initialised before it, as the bus is in use from then on; and dropped
    // after it has been unregistered.
    #[pin]
    data: T,
    attributes: Attributes,
    name: CString,
    #[pin]
    raw: Opaque<bindings::bus_type>,
    #[pin]
    known: Mutex<KVec<Arc<Known>>>,
    _hold: Hold<T::OwnerModule>,
}

// SAFETY: `T` is `Send` and `Sync`, by the bounds of `Bus`; the C functions may be called from any thread.
unsafe impl<T: Bus> Send for Registration<T> {}
// SAFETY: As above; a shared reference changes nothing.
unsafe impl<T: Bus> Sync for Registration<T> {}

impl<T: Bus> Registration<T> {
    /// Registers a bus: `/sys/bus/NAME`, and `/sys/devices/virtual/NAME`, which will have its devices.
    ///
    /// # Errors
    ///
    /// - `EEXIST`: there is a bus of this name; or there is something of this name in
    ///   `/sys/devices/virtual`, then the kernel logs a stack trace.
    /// - `EINVAL`: no file can have this name.
    /// - `ENOMEM`, and what initialising `data` fails with.
    pub fn new<'a, E: 'a>(
        name: &'a CStr,
        data: impl PinInit<T, E> + 'a,
    ) -> impl PinInit<Self, Error> + 'a
    where
        Error: From<E>,
    {
        const { check_attributes::<T>() };
        try_pin_init!(&this in Self {
            _: {
                if !is_file_name(name) {
                    Err(EINVAL)?
                }
                if bus_exists(name) {
                    Err(EEXIST)?
                }
            },
            _hold: Hold::new()?,
            data <- data,
            attributes: Attributes::new::<T>()?,
            name: CString::try_from(name)?,
            known <- new_mutex!(KVec::new()),
            raw <- Opaque::try_ffi_init(move |slot: *mut bindings::bus_type| {
                // SAFETY: Both fields are initialised.
                let (name, attributes) = unsafe { (&(*this.as_ptr()).name, &(*this.as_ptr()).attributes) };
                let raw = bindings::bus_type {
                    name: name.as_char_ptr(),
                    bus_groups: attributes.groups.as_ptr(),
                    match_: Some(match_callback),
                    ..Default::default()
                };
                // SAFETY: The slot may be written to.
                unsafe { slot.write(raw) };
                // SAFETY: The bus is initialised, and pinned until it is unregistered on drop. What its
                // attributes lead to is initialised as well.
                to_result(unsafe { bindings::subsys_virtual_register(slot, ptr::null_mut()) })
            }),
        })
    }

    /// The data of a bus.
    ///
    /// # Safety
    ///
    /// `bus` must be that of a `Registration<T>` that is being, or has been, registered.
    #[inline]
    unsafe fn data(bus: *const bindings::bus_type) -> *const T {
        // SAFETY: By the caller's promise; only an address is computed.
        unsafe { &raw const (*container_of!(Opaque::cast_from(bus), Self, raw)).data }
    }
}

impl<T: Bus> Deref for Registration<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.data
    }
}

#[pinned_drop]
impl<T: Bus> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: It is registered, by the type invariants, and this is the only call that unregisters
        // it. No device and no driver is left: their registrations have a reference to this.
        unsafe { bindings::bus_unregister(self.raw.get()) };
    }
}

/// Whether there is a bus of this name.
#[inline]
fn bus_exists(name: &CStr) -> bool {
    // SAFETY: The platform bus is registered while the kernel boots, and stays.
    let platform = unsafe { bindings::bus_get_kset(&raw const bindings::platform_bus_type) };
    // SAFETY: As above; so do its kset and the kset of all buses, in which it is.
    unsafe { Node::find((*(*platform).kobj.parent).sd, name.as_char_ptr()) }.is_some()
}

/// A device on a bus, which the module makes up.
///
/// Dropping it takes the device away from its driver, if it has one, and waits until nobody has a
/// reference to the device any more. So neither must it happen in a callback of that driver, nor must
/// somebody keep an `ARef<Device>` who is only dropped afterwards.
///
/// # Invariants
///
/// `device` is valid, as we have a reference to it, and on the bus `bus`.
pub struct DeviceRegistration<T: Bus> {
    device: NonNull<bindings::device>,
    added: bool,
    _bus: Arc<Registration<T>>,
}

// SAFETY: The C functions may be called from any thread, and so may what releases the device.
unsafe impl<T: Bus> Send for DeviceRegistration<T> {}
// SAFETY: A shared reference gives access to nothing.
unsafe impl<T: Bus> Sync for DeviceRegistration<T> {}

impl<T: Bus> DeviceRegistration<T> {
    /// Registers a device called `name`, and has a driver probe it if there is one that matches; whether
    /// that succeeds or not.
    ///
    /// # Errors
    ///
    /// - `EEXIST`: there is a device of this name on the bus, or something else in the directory where
    ///   it would be. (Should two look at the same moment, the kernel also logs a stack trace.)
    /// - `EINVAL`: no file can have this name.
    /// - `ENOMEM`.
    pub fn new(bus: Arc<Registration<T>>, name: &CStr) -> Result<Self> {
        if !is_file_name(name) {
            return Err(EINVAL);
        }
        let raw = bus.raw.get();
        // SAFETY: The bus is registered, so it has a root, of which we get a reference.
        let root = unsafe { bindings::bus_get_dev_root(raw) };
        // SAFETY: The root is in sysfs as long as the bus is registered.
        let taken = unsafe { Node::find((*root).kobj.sd, name.as_char_ptr()) }.is_some();
        // SAFETY: Gives up the reference that we got.
        unsafe { bindings::put_device(root) };
        if taken {
            return Err(EEXIST);
        }

        // SAFETY: The name is valid, and copied.
        let platform = unsafe {
            bindings::platform_device_alloc(name.as_char_ptr(), bindings::PLATFORM_DEVID_NONE)
        };
        let platform = NonNull::new(platform).ok_or(ENOMEM)?;
        // SAFETY: It has been allocated; only an address is computed.
        let device = unsafe { NonNull::new_unchecked(&raw mut (*platform.as_ptr()).dev) };
        // SAFETY: The device is initialised, and nobody else has it yet.
        unsafe { (*device.as_ptr()).bus = raw };
        // INVARIANT: We have the reference that it was allocated with.
        let mut this = Self {
            device,
            added: false,
            _bus: bus,
        };
        // SAFETY: The device is initialised; format and name are valid, and what comes of them is copied.
        to_result(unsafe {
            bindings::dev_set_name(device.as_ptr(), c"%s".as_char_ptr(), name.as_char_ptr())
        })?;
        // SAFETY: The device is initialised, and has a name and a registered bus.
        to_result(unsafe { bindings::device_add(device.as_ptr()) })?;
        this.added = true;
        Ok(this)
    }
}

impl<T: Bus> Drop for DeviceRegistration<T> {
    fn drop(&mut self) {
        let device = self.device.as_ptr();
        if self.added {
            // SAFETY: It was added, and this is the only call that deletes it.
            unsafe { bindings::device_del(device) };
        }
        // From here on nobody finds the device. Somebody may have found it before.
        //
        // SAFETY: The device is valid, by the type invariants. The count changes at any time, hence the
        // volatile read.
        while unsafe { (&raw const (*device).kobj.kref.refcount.refs.counter).read_volatile() } > 1
        {
            fsleep(Delta::from_millis(1));
        }
        // SAFETY: Gives up our reference, which is the last one. What releases the device is the kernel's.
        unsafe { bindings::put_device(device) };
    }
}

/// A driver for devices of a bus that the module makes up.
#[vtable]
pub trait Driver: Send + Sync + Sized + 'static {
    /// What the driver has for each device that it drives. It is dropped when device and driver are
    /// parted.
    type Data: Send + 'static;

    /// Whether the driver is for this device. It is asked again and again, also while a device is
    /// driven, and by several at a time; with the lock of the device held, or without.
    fn matches(&self, device: &Device) -> bool;

    /// Takes over a device.
    ///
    /// The lock of the device is held, and so it is when [`Data`](Self::Data) is dropped. To drop the
    /// registration of this device or driver there is a deadlock.
    ///
    /// # Errors
    ///
    /// `ENODEV` and `ENXIO` say that it is not for this driver after all, `EPROBE_DEFER` that it is to be
    /// asked again later; of anything else the kernel's log tells. Who writes to the file `bind` gets the
    /// error, but for `EPROBE_DEFER`, of which the kernel makes `EAGAIN`.
    fn probe(&self, device: &Device<Core<'_>>) -> Result<Self::Data>;
}

/// What the driver core knows of a driver.
#[pin_data]
struct Known {
    #[pin]
    raw: Opaque<bindings::device_driver>,
    name: CString,
    /// The `D` of the [`DriverRegistration`]. It is there while the driver is registered.
    driver: *const c_void,
    /// Asks the [`Driver::matches`] of that `D`.
    matches: unsafe fn(*const c_void, &Device) -> bool,
}

// SAFETY: What the pointer leads to is `Sync`, by the bounds of `Driver`; it is used by callbacks only, which
// come on any thread anyway. All else is changed by C only, or not at all.
unsafe impl Send for Known {}
// SAFETY: As above.
unsafe impl Sync for Known {}

impl Known {
    /// # Safety
    ///
    /// `driver` must be that of a `DriverRegistration`, and not be unregistered during `'a`, or the bus not
    /// be dropped.
    #[inline]
    unsafe fn from_raw<'a>(driver: *const bindings::device_driver) -> &'a Self {
        // SAFETY: By the caller's promise it is the `raw` of a `Known`, which the bus has.
        unsafe { &*container_of!(Opaque::cast_from(driver), Self, raw) }
    }
}

/// # Safety
///
/// To be called by the driver core only, for a device and a driver of the bus of a `Registration`.
#[inline]
unsafe extern "C" fn match_callback(
    device: *mut bindings::device,
    driver: *const bindings::device_driver,
) -> c_int {
    // SAFETY: By the type invariants of `Registration`, the driver is that of a `DriverRegistration`.
    // `driver_unregister()` waits for us.
    let known = unsafe { Known::from_raw(driver) };
    // SAFETY: As above, so its `D` is there. The device is valid during the call.
    unsafe { (known.matches)(known.driver, Device::from_raw(device)) }.into()
}

/// A registered driver.
///
/// Dropping it takes its devices away from it, and waits for callbacks in flight, so it must not happen
/// in one of them.
///
/// # Invariants
///
/// `known` is registered as a driver of `bus`, and leads to `driver`. A device that it is bound to has a
/// `Pin<KBox<D::Data>>` as its driver data, from the end of `probe` to the beginning of `remove`.
#[pin_data(PinnedDrop)]
pub struct DriverRegistration<B: Bus, D: Driver> {
    // Dropped after it has been unregistered.
    #[pin]
    driver: D,
    known: Arc<Known>,
    // Dropped after `known`, which it has, too.
    bus: Arc<Registration<B>>,
    _hold: Hold<D::OwnerModule>,
}

// SAFETY: `D` is `Send` and `Sync`, by the bounds of `Driver`, and its data are `Send`; the C functions may
// be called from any thread.
unsafe impl<B: Bus, D: Driver> Send for DriverRegistration<B, D> {}
// SAFETY: A shared reference gives access to nothing.
unsafe impl<B: Bus, D: Driver> Sync for DriverRegistration<B, D> {}

impl<B: Bus, D: Driver> DriverRegistration<B, D> {
    /// Registers a driver called `name`, and has it probe the devices that it matches and that have no
    /// driver; whether that succeeds or not.
    ///
    /// # Errors
    ///
    /// - `EBUSY`: the bus has a driver of this name.
    /// - `EEXIST`: it had one until a moment ago, and the kernel logs a stack trace.
    /// - `EINVAL`: no file can have this name.
    /// - `ENOMEM`, and what initialising `driver` fails with.
    pub fn new<'a, E: 'a>(
        bus: Arc<Registration<B>>,
        name: &'a CStr,
        driver: impl PinInit<D, E> + 'a,
    ) -> impl PinInit<Self, Error> + 'a
    where
        Error: From<E>,
    {
        try_pin_init!(&this in Self {
            _: {
                if !is_file_name(name) {
                    Err(EINVAL)?
                }
            },
            _hold: Hold::new()?,
            bus,
            driver <- driver,
            known: {
                // SAFETY: Both fields are initialised.
                let (driver, bus) = unsafe { (&raw const (*this.as_ptr()).driver, &(*this.as_ptr()).bus) };
                Self::register(bus, name, driver)?
            },
        })
    }

    fn register(bus: &Registration<B>, name: &CStr, driver: *const D) -> Result<Arc<Known>> {
        let known = try_pin_init!(&this in Known {
            name: CString::try_from(name)?,
            driver: driver.cast(),
            matches: Self::matches,
            raw <- Opaque::ffi_init(|slot: *mut bindings::device_driver| {
                let raw = bindings::device_driver {
                    // SAFETY: The name is initialised.
                    name: unsafe { (*this.as_ptr()).name.as_char_ptr() },
                    bus: bus.raw.get(),
                    probe_type: bindings::probe_type_PROBE_FORCE_SYNCHRONOUS,
                    probe: Some(Self::probe_callback),
                    remove: Some(Self::remove_callback),
                    ..Default::default()
                };
                // SAFETY: The slot may be written to.
                unsafe { slot.write(raw) };
            }),
        });
        let known = Arc::pin_init(known, GFP_KERNEL)?;
        bus.known.lock().push(known.clone(), GFP_KERNEL)?;
        // SAFETY: The driver is initialised, and stays where it is as long as the bus. What its callbacks
        // use is initialised and pinned; it stays until the driver is unregistered, or has never been
        // known: without an owner, nothing can fail once the driver is in the bus' list.
        to_result(unsafe { bindings::driver_register(known.raw.get()) })?;
        Ok(known)
    }

    /// # Safety
    ///
    /// `driver` must be that of a registration, which is not dropped meanwhile.
    unsafe fn matches(driver: *const c_void, device: &Device) -> bool {
        // SAFETY: By the caller's promise.
        unsafe { &*driver.cast::<D>() }.matches(device)
    }

    /// # Safety
    ///
    /// To be called by the driver core only.
    unsafe extern "C" fn probe_callback(device: *mut bindings::device) -> c_int {
        // SAFETY: The driver core sets it before, and has the device's lock.
        let raw = unsafe { (*device).driver };
        // SAFETY: `driver_unregister()` waits for this callback.
        let known = unsafe { Known::from_raw(raw) };
        // SAFETY: As above, so the `D` is there. Only drivers of this type have this callback.
        let driver = unsafe { &*known.driver.cast::<D>() };
        // SAFETY: The device is valid during the call, and we are in a callback of its bus.
        let device: &Device<CoreInternal<'_>> = unsafe { Device::from_raw(device) };
        from_result(|| {
            // INVARIANT: `set_drvdata()` boxes it.
            device.set_drvdata(Ok::<_, Error>(driver.probe(device)?))?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// To be called by the driver core only, for a device for which `probe_callback` succeeded.
    unsafe extern "C" fn remove_callback(device: *mut bindings::device) -> c_int {
        // SAFETY: The device is valid during the call.
        let data = unsafe { bindings::dev_get_drvdata(device) };
        // SAFETY: As above.
        unsafe { bindings::dev_set_drvdata(device, ptr::null_mut()) };
        // SAFETY: By the type invariants it is what `set_drvdata()` put there, and nobody borrows it.
        drop(unsafe { Pin::<KBox<D::Data>>::from_foreign(data.cast()) });
        0
    }
}

#[pinned_drop]
impl<B: Bus, D: Driver> PinnedDrop for DriverRegistration<B, D> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: It is registered, by the type invariants, and this is the only call that unregisters
        // it.
        unsafe { bindings::driver_unregister(self.known.raw.get()) };
    }
}
