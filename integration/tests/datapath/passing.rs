//! What is not ours costs little, and less than is promised.

use causeway_integration::bench::{self, Part, Point};

use crate::world::object;

#[test]
fn what_is_not_ours_passes_cheaply() {
    let Some(harness) = object() else { return };
    let object = harness.with_file_name("causeway-ebpf");
    let mut broken = Vec::new();
    let mut tell = |point: Point| {
        let kept = point.promise.as_ref().is_some_and(|promise| promise.kept);
        if !kept {
            broken.push(format!("{}: {}", point.name, point.median));
        }
    };
    bench::run(&object, &[Part::Passing], &mut tell).unwrap();
    assert_eq!(broken, Vec::<String>::new());
}
