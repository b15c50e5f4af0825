//! A controller is ended at any write; the next one sees what the API server holds and goes on.

use super::*;
use crate::want::Target;

/// What is there before any controller: the objects of [`lists`] whose status it writes.
fn server() -> Server {
    let mut server = Server::default();
    for (kind, namespace, name) in [
        (Kind::ServiceExport, "shop", "cart"),
        (Kind::ClusterConfiguration, "", CONFIGURATION),
    ] {
        server.apply(
            &Target::new(kind, namespace, name),
            "somebody",
            &json!({}),
            false,
        );
    }
    server
}

/// A new process, after its first lists and the leader's View.
fn started(server: &Server, view: &Arc<View>) -> Mirror {
    let mut mirror = Mirror::new("causeway-system");
    let sight = server.sight();
    for (source, mut items) in lists() {
        let held = source.kind().into_iter().flat_map(|k| sight.of_kind(k));
        for (target, seen) in held {
            let key = (target.namespace.clone(), target.name.clone());
            let seen = Some(seen.clone());
            match items.iter_mut().find(|item| item.key == key) {
                Some(item) => item.seen = seen,
                None => items.push(Item {
                    key,
                    content: Content::Written,
                    seen,
                }),
            }
        }
        mirror.apply(Change::Listed(source, items));
    }
    mirror.publication(0).unwrap();
    mirror.take_view(view.clone());
    mirror
}

/// Writes until nothing is left to write, or that many; how many.
fn run(mirror: &mut Mirror, server: &mut Server, most: usize) -> usize {
    let mut written = 0;
    for _ in 0..100 {
        let (writes, more) = mirror.plan(NOW);
        if writes.is_empty() && !more {
            return written;
        }
        let now = &writes[..writes.len().min(most - written)];
        for write in now {
            server.execute(write).unwrap();
        }
        let sight = server.sight();
        for write in now {
            mirror.wrote(&write.target, sight.get(&write.target).cloned());
        }
        written += now.len();
        if written == most {
            return written;
        }
    }
    panic!("does not settle after {written} writes");
}

fn held(server: &Server) -> BTreeMap<Target, Value> {
    let all = server.targets().into_iter();
    all.map(|target| (target.clone(), server.get(&target).unwrap().clone()))
        .collect()
}

/// The export of this cluster, and what two others export.
fn fleet() -> Arc<View> {
    let mut view = view();
    for (name, clusters) in [("cart", &["east", "west"][..]), ("db", &["west", "south"])] {
        let name = format!("shop/{name}").try_into().unwrap();
        view.imports
            .insert(name, of_clusters("241.0.0.9", clusters));
    }
    Arc::new(view)
}

#[test]
fn ended_at_every_write_the_next_one_arrives_at_the_same() {
    let view = fleet();
    let mut undisturbed = server();
    let mut mirror = started(&undisturbed, &view);
    let all = run(&mut mirror, &mut undisturbed, usize::MAX);
    let expected = held(&undisturbed);
    assert!(all >= 8 && expected.len() >= 6, "{all}: {expected:#?}");
    for most in 0..=all {
        let mut server = server();
        let mut ended = started(&server, &view);
        assert_eq!(run(&mut ended, &mut server, most), most);
        let mut next = started(&server, &view);
        let rest = run(&mut next, &mut server, usize::MAX);
        assert_eq!(held(&server), expected, "ended after {most} of {all}");
        // What was written is not written again.
        assert_eq!(most + rest, all, "ended after {most} of {all}");
    }
}

#[test]
fn a_thousand_imports_are_written_once() {
    let mut view = view();
    let one = view.imports.pop_first().unwrap().1;
    for n in 0..1000 {
        let name = format!("shop/s{n}").try_into().unwrap();
        view.imports.insert(name, one.clone());
    }
    let view = Arc::new(view);
    let mut server = server();
    let mut first = started(&server, &view);
    let writes = run(&mut first, &mut server, usize::MAX);
    assert!(writes > 2000, "{writes}");
    assert_eq!(server.idle, 0, "requests that changed nothing");
    let mut next = started(&server, &view);
    assert_eq!(run(&mut next, &mut server, usize::MAX), 0);
    // The same View again is no news.
    next.take_view(view);
    assert_eq!(run(&mut next, &mut server, usize::MAX), 0);
}
