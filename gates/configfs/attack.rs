// SPDX-License-Identifier: MIT OR Apache-2.0

//! What there is to attack of the configfs gate.

use std::path::Path;

use super::Surface;

/// Everything.
pub fn surface() -> Surface {
    let root = Path::new("/sys/kernel/config");
    let subsystems = [
        "01-childless",
        "02-simple-children",
        "03-group-children",
        "04-linked-children",
    ];
    let mut surface = Surface::default()
        .words(["1", "-1", "\n", "2147483647"])
        .names(&["a", "b", "images", "devices", "statistics"])
        .names(&[
            "storeme",
            "showme",
            "description",
            "size",
            "contents",
            "running",
            "starts",
            "image",
        ]);
    for subsystem in subsystems {
        surface = surface
            .path(root.join(subsystem))
            .place(root.join(subsystem));
    }
    let linked = root.join(subsystems[3]);
    surface
        .place(linked.join("images"))
        .place(linked.join("devices"))
}
