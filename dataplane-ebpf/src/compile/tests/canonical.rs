//! An image without its numbers: what each frontend leads to, by name.

use std::collections::BTreeMap;

use causeway_abi::{NO_ORDINAL, OrdinalKey, RingRef, Slot};

use crate::image::{MapImage, Table};

/// Text that two images share exactly when they differ only in ids.
pub fn canonical(image: &MapImage) -> BTreeMap<String, String> {
    let mut text = BTreeMap::new();
    for (key, f) in &image.frontends {
        let one = ring(image, f.stage_one, |o| member(image, f.port_id, o));
        let backend = |o| backend(image, f.port_id, o);
        let two = ring(image, f.stage_two, backend);
        let older = ring(image, f.stage_two_older, backend);
        text.insert(
            format!("{key:?}"),
            format!("{one}|{two}|{older}|{}|{}", f.flags, f.affinity_secs),
        );
    }
    let mut local = image.local_backends.clone();
    for backend in local.values_mut() {
        backend.service = 0;
    }
    text.insert("local".into(), format!("{local:?}"));
    text.insert("exported".into(), format!("{:?}", image.exported));
    text.insert("nodes".into(), format!("{:?}", image.backend_nodes));
    text.insert("ports".into(), format!("{:?}", (&image.ports, &image.pods)));
    text.insert(
        "peers".into(),
        format!("{:?}", (&image.routes, &image.sources, &image.reverse)),
    );
    text.insert(
        "maps".into(),
        format!("{:?}", (&image.map_in, &image.map_out, &image.places)),
    );
    text.insert("config".into(), format!("{:?}", image.config));
    for table in [Table::Members, Table::Backends] {
        text.insert(table.name().into(), image.len(table).to_string());
    }
    text
}

fn ring(image: &MapImage, at: RingRef, name: impl Fn(u16) -> String) -> String {
    if at == RingRef::NONE {
        return "none".into();
    }
    let slots = image.rings[&at].iter().map(|word| {
        let slot = Slot::decode(*word);
        format!("{}/{}", name(slot.current), name(slot.previous))
    });
    slots.collect::<Vec<_>>().join(" ")
}

fn key(port_id: u32, ordinal: u16) -> OrdinalKey {
    OrdinalKey {
        port_id,
        ordinal,
        reserved: 0,
    }
}

fn member(image: &MapImage, port_id: u32, ordinal: u16) -> String {
    if ordinal == NO_ORDINAL {
        return "-".into();
    }
    format!("{:?}", image.members[&key(port_id, ordinal)])
}

fn backend(image: &MapImage, port_id: u32, ordinal: u16) -> String {
    if ordinal == NO_ORDINAL {
        return "-".into();
    }
    format!("{:?}", image.backends[&key(port_id, ordinal)])
}
