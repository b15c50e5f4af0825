use super::*;

/// The controller says Ready when it has handed an export over; the full pool is known here.
#[test]
fn of_what_is_exported_only_valid_is_the_controllers() {
    let east = cluster("east", &[("shop/cart", export(&["http:80/TCP"], &[1]))]);
    let mut world = World::new(&east, &[]);
    let said = |object: &str, kind: &str, status| Condition {
        object: format!("ServiceExport {object}"),
        kind: kind.to_owned(),
        status,
        reason: "Said".to_owned(),
        message: String::new(),
    };
    world.publication.conditions = vec![
        said("shop/cart", "Valid", ConditionStatus::True),
        said("shop/cart", "Ready", ConditionStatus::True),
        said("shop/none", "Ready", ConditionStatus::False),
    ];
    world.allocations = Allocations::default();
    let view = world.view(at(0));
    let told = view.conditions.iter();
    let told = told.map(|c| format!("{} {} {:?} {}", c.object, c.kind, c.status, c.reason));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            "ServiceExport shop/cart Conflict False NoConflicts",
            "ServiceExport shop/cart Ready False Pending",
            "ServiceExport shop/cart Valid True Said",
            "ServiceExport shop/none Ready False Said",
        ]
    );
}
