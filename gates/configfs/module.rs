// SPDX-License-Identifier: GPL-2.0

//! The kernel side of the configfs gate: four subsystems in which a user makes items.
//!
//! The first three are those of the kernel's own sample, `samples/configfs/configfs_sample.c`. The
//! fourth shows what the sample does not: groups that come by themselves, links between items, binary
//! contents, and an item that cannot be removed while the kernel needs it.

// new: begin
#![deny(unsafe_code)]

pub mod abi;

use callgate_kernel::{
    attribute::{Attribute, Decimal, Input, Page},
    configfs::{
        Attributes, BinaryAttribute, BinaryAttributes, DefaultGroups, Dependency, ItemType, NoItem,
        Subsystem,
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        atomic::{ordering::Relaxed, Atomic},
        Arc, Mutex,
    },
};

// new: end
module! {
    type: ConfigfsModule,
    name: "callgate_configfs",
    authors: ["callgate"],
    description: "configfs: items that a user makes, links and removes",
    license: "GPL",
}

// new: begin
struct ConfigfsModule {
    _simple_children: Subsystem<SimpleChildren>,
    // new: end
    _childless: Subsystem<Childless>,
    _group_children: Subsystem<GroupChildren>,
    _linked_children: Subsystem<LinkedChildren>,
    // new: begin
}

impl kernel::Module for ConfigfsModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let simple_children = Arc::new(SimpleChildren, GFP_KERNEL)?;
        // new: end
        let childless = Arc::new(Childless::default(), GFP_KERNEL)?;
        let group_children = Arc::new(GroupChildren, GFP_KERNEL)?;
        let linked_children = Arc::new(LinkedChildren, GFP_KERNEL)?;
        // new: begin
        Ok(Self {
            _simple_children: Subsystem::new(abi::SIMPLE_CHILDREN, simple_children)?,
            // new: end
            _childless: Subsystem::new(abi::CHILDLESS, childless)?,
            _group_children: Subsystem::new(abi::GROUP_CHILDREN, group_children)?,
            _linked_children: Subsystem::new(abi::LINKED_CHILDREN, linked_children)?,
            // new: begin
        })
    }
}

/// A number that a user sets.
struct Number(Atomic<i32>);

impl Number {
    fn show(&self, page: &mut Page<'_>) -> Result {
        writeln!(page, "{}", self.0.load(Relaxed))
    }

    fn store(&self, text: Input<'_>) -> Result {
        let Decimal(number) = text.parse()?;
        self.0.store(number, Relaxed);
        Ok(())
    }
}

impl Default for Number {
    fn default() -> Self {
        Self(Atomic::new(0))
    }
}

// new: end
// 01-childless: attributes, and nothing else.

#[derive(Default)]
struct Childless {
    showme: Number,
    storeme: Number,
}

#[vtable]
impl ItemType for Childless {
    type Child = NoItem;
    type Target = NoItem;

    const ATTRIBUTES: Attributes<Self> = &[
        // Counts how often it has been read.
        Attribute::read_only(c"showme", |this, page| {
            writeln!(page, "{}", this.showme.0.fetch_add(1, Relaxed))
        }),
        Attribute::new(
            c"storeme",
            |this, page| this.storeme.show(page),
            |this, text| this.storeme.store(text),
        ),
        Attribute::read_only(c"description", |_, page| {
            page.push(
                b"[01-childless]\n\
                  \n\
                  The childless subsystem is the simplest possible subsystem in\n\
                  configfs.  It does not support the creation of child config_items.\n\
                  It only has a few attributes.  In fact, it isn't much different\n\
                  than a directory in /proc.\n",
            )
        }),
    ];
}

// 02-simple-children: mkdir makes an item.

// new: begin
struct SimpleChildren;

#[vtable]
impl ItemType for SimpleChildren {
    type Child = SimpleChild;
    type Target = NoItem;

    // new: end
    const ATTRIBUTES: Attributes<Self> = &[Attribute::read_only(c"description", |_, page| {
        page.push(
            b"[02-simple-children]\n\
              \n\
              This subsystem allows the creation of child config_items.  These\n\
              items have only one attribute that is readable and writeable.\n",
        )
    })];

    // new: begin
    fn make(&self, _name: &CStr) -> Result<Arc<SimpleChild>> {
        Ok(Arc::new(SimpleChild::default(), GFP_KERNEL)?)
    }
}

#[derive(Default)]
struct SimpleChild {
    storeme: Number,
}

#[vtable]
impl ItemType for SimpleChild {
    type Child = NoItem;
    type Target = NoItem;

    const ATTRIBUTES: Attributes<Self> = &[Attribute::new(
        c"storeme",
        |this, page| this.storeme.show(page),
        |this, text| this.storeme.store(text),
    )];
}

// new: end
// 03-group-children: mkdir makes a group that is like 02-simple-children.

struct GroupChildren;

#[vtable]
impl ItemType for GroupChildren {
    type Child = SimpleChildren;
    type Target = NoItem;

    const ATTRIBUTES: Attributes<Self> = &[Attribute::read_only(c"description", |_, page| {
        page.push(
            b"[03-group-children]\n\
              \n\
              This subsystem allows the creation of child config_groups.  These\n\
              groups are like the subsystem simple-children.\n",
        )
    })];

    fn make(&self, _name: &CStr) -> Result<Arc<SimpleChildren>> {
        Ok(Arc::new(SimpleChildren, GFP_KERNEL)?)
    }
}

// 04-linked-children: images, and devices that run one.

struct LinkedChildren;

#[vtable]
impl ItemType for LinkedChildren {
    type Child = NoItem;
    type Target = NoItem;

    const ATTRIBUTES: Attributes<Self> = &[Attribute::read_only(c"description", |_, page| {
        page.push(
            b"[04-linked-children]\n\
              \n\
              This subsystem comes with two groups.  The items of images hold\n\
              bytes.  The items of devices are linked to an image, which they\n\
              run.\n",
        )
    })];

    fn default_groups(&self, groups: &mut DefaultGroups<'_>) -> Result {
        groups.add(abi::IMAGES, Arc::new(Images, GFP_KERNEL)?)?;
        groups.add(abi::DEVICES, Arc::new(Devices, GFP_KERNEL)?)
    }
}

struct Images;

#[vtable]
impl ItemType for Images {
    type Child = Image;
    type Target = NoItem;

    fn make(&self, _name: &CStr) -> Result<Arc<Image>> {
        let image = pin_init!(Image {
            contents <- new_mutex!(KVVec::new()),
        });
        Arc::pin_init(image, GFP_KERNEL)
    }
}

#[pin_data]
struct Image {
    #[pin]
    contents: Mutex<KVVec<u8>>,
}

#[vtable]
impl ItemType for Image {
    type Child = NoItem;
    type Target = NoItem;

    const ATTRIBUTES: Attributes<Self> = &[Attribute::read_only(c"size", |image, page| {
        writeln!(page, "{}", image.contents.lock().len())
    })];

    const BINARY_ATTRIBUTES: BinaryAttributes<Self> = &[BinaryAttribute::new(
        c"contents",
        abi::IMAGE_SIZE,
        |image, contents| contents.push(&image.contents.lock()),
        |image, written| {
            let mut contents = KVVec::new();
            // Without memory the old contents stay. There is nobody to tell.
            if contents.extend_from_slice(written, GFP_KERNEL).is_ok() {
                *image.contents.lock() = contents;
            }
        },
    )];
}

struct Devices;

#[vtable]
impl ItemType for Devices {
    type Child = Device;
    type Target = NoItem;

    fn make(&self, name: &CStr) -> Result<Arc<Device>> {
        let device = try_pin_init!(Device {
            name: name.try_into()?,
            statistics: Arc::new(Statistics::default(), GFP_KERNEL)?,
            state <- new_mutex!(State::default()),
        });
        Arc::pin_init(device, GFP_KERNEL)
    }

    fn drop_item(&self, device: &Device) {
        pr_info!("device {} is removed\n", &*device.name);
    }
}

#[pin_data]
struct Device {
    name: CString,
    statistics: Arc<Statistics>,
    #[pin]
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the device is linked to.
    image: Option<Arc<Image>>,
    /// There while the device runs: so it cannot be removed then.
    running: Option<Dependency>,
}

#[vtable]
impl ItemType for Device {
    type Child = NoItem;
    type Target = Image;

    const ATTRIBUTES: Attributes<Self> = &[Attribute::new(
        c"running",
        |device, page| writeln!(page, "{}", u8::from(device.state.lock().running.is_some())),
        |device, text| {
            let run: bool = text.parse()?;
            let mut state = device.state.lock();
            if !run {
                state.running = None;
            } else if state.running.is_none() {
                let size = state.image.as_ref().ok_or(ENOLINK)?.contents.lock().len();
                state.running = Some(device.depend()?);
                device.statistics.starts.0.fetch_add(1, Relaxed);
                pr_info!("device {} runs {size} bytes\n", &*device.name);
            }
            Ok(())
        },
    )];

    fn default_groups(&self, groups: &mut DefaultGroups<'_>) -> Result {
        groups.add(abi::STATISTICS, self.statistics.clone())
    }

    /// A device has one image.
    fn allow_link(&self, image: Arc<Image>) -> Result {
        let mut state = self.state.lock();
        if state.image.is_some() {
            return Err(EBUSY);
        }
        state.image = Some(image);
        Ok(())
    }

    /// Nothing can keep a user from removing the link, so a device that runs has to stop.
    fn drop_link(&self, _image: &Image) {
        *self.state.lock() = State::default();
    }
}

/// A group that comes with each device.
#[derive(Default)]
struct Statistics {
    starts: Number,
}

#[vtable]
impl ItemType for Statistics {
    type Child = NoItem;
    type Target = NoItem;

    const ATTRIBUTES: Attributes<Self> = &[Attribute::read_only(c"starts", |this, page| {
        this.starts.show(page)
    })];
}
