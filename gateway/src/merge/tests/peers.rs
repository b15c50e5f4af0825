use causeway_proto::model::{Allotted, Encryption};

use super::*;

#[test]
fn a_peers_allotment_is_what_agents_see() {
    let value = causeway_proto::model::PeerAllotment {
        number: PeerNumber::try_from(9).unwrap(),
        mappings: Vec::new(),
    };
    let west = cluster("west", &[("shop/cart", export(&["http:80/TCP"], &[1]))]);
    let mut world = World::new(&cluster("east", &[]), &[&west]);
    let allotted = Allotted { value, freed: None };
    world.allocations.peers.insert(id("west"), allotted);
    let view = world.view(at(0));
    assert_eq!(view.peers[&id("west")].number.number(), 9);
    assert_eq!(
        view.peers[&id("west")].our_number_there.unwrap().number(),
        1
    );
    let import = &view.imports[&service("shop/cart")];
    assert_eq!(import.shares[&id("west")].number.number(), 9);
    // Without a number nothing can be sent there.
    world.allocations.peers.clear();
    let view = world.view(at(0));
    assert!(view.peers.is_empty() && view.imports.is_empty());
}

#[test]
fn packets_pass_plain_only_where_both_say_so() {
    let offer = [("shop/cart", export(&["http:80/TCP"], &[1]))];
    let shown = |ours: bool, theirs: bool, takes: bool| {
        let mut west = cluster("west", &offer);
        west.plain = theirs;
        let mut east = cluster("east", &[]);
        east.plain = ours;
        let mut world = World::new(&east, &[&west]);
        world.catalog.peer_mut(&id("west")).unwrap().takes_packets = Some(takes);
        let view = world.view(at(0));
        let packets = view.conditions.iter().find(|c| c.kind == "PacketsAllowed");
        (
            view.peers[&id("west")].encryption,
            packets.unwrap().reason.clone(),
            targets(&view, "shop/cart")[0].contains("west"),
            view.problems.len(),
        )
    };
    let text = |s: &str| s.to_owned();
    assert_eq!(
        shown(true, true, false),
        (Encryption::Plain, text("Plain"), true, 0)
    );
    // One word for it is enough, and no packet goes plain meanwhile.
    let encrypted = (Encryption::Encrypted, text("Encrypted"), true, 0);
    assert_eq!(shown(true, false, true), encrypted);
    assert_eq!(shown(false, true, true), encrypted);
    assert_eq!(shown(false, false, true), encrypted);
    let none = (
        Encryption::Unavailable,
        text("EncryptionUnavailable"),
        false,
        0,
    );
    assert_eq!(shown(true, false, false), none);
    assert_eq!(shown(false, false, false), none);
}
