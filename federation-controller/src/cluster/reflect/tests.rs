use serde_json::json;
use tokio::task::JoinHandle;

use super::super::fake::{Fake, Fault};
use super::*;

/// The API server in memory gives no view over all namespaces, so objects lie where that view would be.
const SERVICES: &str = "/api/v1/services";
/// Longer than every pause, by the test's own clock.
const LONG: Duration = Duration::from_secs(60);

struct Reflected {
    fake: Fake,
    changes: mpsc::Receiver<Change>,
    known: mpsc::UnboundedReceiver<String>,
    troubles: Troubles,
    task: JoinHandle<()>,
}

impl Drop for Reflected {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reflected {
    fn start(fake: &Fake, source: Source) -> Self {
        let (sender, changes) = mpsc::channel(16);
        let (knows, known) = mpsc::unbounded_channel();
        let troubles = Troubles::default();
        let heard = move |resource: ApiResource| knows.send(resource.version).unwrap();
        let watching = reflect(fake.client(), source, sender, heard, troubles.clone());
        Self {
            fake: fake.clone(),
            changes,
            known,
            troubles,
            task: tokio::spawn(watching),
        }
    }

    /// The next change in a few words.
    async fn next(&mut self) -> String {
        let change = tokio::time::timeout(LONG, self.changes.recv()).await;
        match change.expect("a change").expect("a reflector") {
            Change::Listed(_, items) => {
                let names: Vec<_> = items.into_iter().map(|item| item.key.1).collect();
                format!("listed {}", names.join(" "))
            }
            Change::Put(_, item) => format!("put {}", item.key.1),
            Change::Gone(_, key, _) => format!("gone {}", key.1),
        }
    }

    /// Nothing is told for long.
    async fn silent(&mut self) {
        let change = tokio::time::timeout(LONG, self.changes.recv()).await;
        assert!(change.is_err(), "{change:?}");
    }

    fn trouble(&self) -> Option<String> {
        self.troubles.subscribe().borrow().values().next().cloned()
    }

    fn requests(&self) -> usize {
        self.fake.asked().len()
    }
}

fn put(fake: &Fake, name: &str) {
    fake.put(
        &format!("{SERVICES}/{name}"),
        json!({"metadata": {"namespace": "shop"}, "spec": {"ports": [{"port": 80}]}}),
    );
}

async fn reflected(names: &[&str]) -> Reflected {
    let fake = Fake::new();
    for name in names {
        put(&fake, name);
    }
    let mut all = Reflected::start(&fake, Source::Services);
    assert_eq!(all.next().await, format!("listed {}", names.join(" ")));
    all
}

#[tokio::test(start_paused = true)]
async fn what_comes_and_goes_is_told_once() {
    let mut all = reflected(&["cart"]).await;
    put(&all.fake, "db");
    assert_eq!(all.next().await, "put db");
    assert!(all.fake.remove(&format!("{SERVICES}/cart")));
    assert_eq!(all.next().await, "gone cart");
    all.silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_goes_on_where_it_was() {
    let mut all = reflected(&["cart"]).await;
    for name in ["a", "b", "c"] {
        all.fake.cut();
        put(&all.fake, name);
        assert_eq!(all.next().await, format!("put {name}"));
    }
    all.silent().await;
    assert_eq!(all.trouble(), None);
}

/// After a 410 there is one whole list, which says what went meanwhile too; nothing is withdrawn before it.
#[tokio::test(start_paused = true)]
async fn a_watch_that_is_too_old_lists_anew() {
    let mut all = reflected(&["cart", "db"]).await;
    all.fake.faults(|_| Some(Fault::Refused(503)));
    all.fake.cut();
    all.silent().await;
    assert!(all.fake.remove(&format!("{SERVICES}/db")));
    put(&all.fake, "web");
    all.fake.compact();
    all.fake.well();
    assert_eq!(all.next().await, "listed cart web");
    put(&all.fake, "late");
    assert_eq!(all.next().await, "put late");
    assert_eq!(all.trouble(), None);
}

/// Whatever an API server does that cannot answer, what was known stays, and it is not asked in a hurry.
#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_withdraws_nothing() {
    for fault in [
        Fault::Lost,
        Fault::Refused(500),
        Fault::Refused(503),
        Fault::Refused(429),
        Fault::Refused(401),
        Fault::Refused(403),
    ] {
        let mut all = reflected(&["cart"]).await;
        all.fake.faults(move |_| Some(fault));
        all.fake.cut();
        let before = all.requests();
        for _ in 0..5 {
            all.silent().await;
        }
        let asked = all.requests() - before;
        assert!((5..=120).contains(&asked), "{fault:?}: {asked} requests");
        assert!(all.trouble().is_some(), "{fault:?}");
        all.fake.well();
        all.silent().await;
        assert_eq!(all.trouble(), None, "{fault:?}");
        put(&all.fake, "web");
        assert_eq!(all.next().await, "put web", "{fault:?}");
    }
}

/// Each begins anew with a list, which tells nothing before it is answered.
#[tokio::test(start_paused = true)]
async fn a_list_that_is_refused_is_a_trouble_until_it_works() {
    let fake = Fake::new();
    fake.faults(|_| Some(Fault::Refused(403)));
    let mut all = Reflected::start(&fake, Source::Services);
    let mut said = all.troubles.subscribe();
    said.changed().await.unwrap();
    for _ in 0..5 {
        all.silent().await;
        assert!(!said.has_changed().unwrap());
    }
    let asked = all.requests();
    assert!((5..=120).contains(&asked), "{asked} requests");
    all.fake.well();
    assert_eq!(all.next().await, "listed ");
    assert_eq!(all.trouble(), None);
}

#[tokio::test(start_paused = true)]
async fn a_kind_without_definition_is_named_and_asked_for_again() {
    let fake = Fake::new();
    let mut all = Reflected::start(&fake, Source::Exports);
    all.silent().await;
    let trouble = all.trouble().unwrap();
    assert!(
        trouble.contains("serviceexports.multicluster.x-k8s.io") && trouble.contains("helm"),
        "{trouble}"
    );
    // An older one than ours is used as it is.
    fake.put(
        "/apis/multicluster.x-k8s.io/v1alpha1",
        json!({"groupVersion": "multicluster.x-k8s.io/v1alpha1", "resources": [{
            "name": "serviceexports", "singularName": "", "namespaced": true,
            "kind": "ServiceExport", "verbs": []}]}),
    );
    assert_eq!(all.next().await, "listed ");
    assert_eq!(all.known.recv().await.unwrap(), "v1alpha1");
    assert_eq!(all.trouble(), None);
}
