use causeway_proto::model::Allotted;

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
