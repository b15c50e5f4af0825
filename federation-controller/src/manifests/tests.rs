use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::publication::{publication, render};

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: cart, namespace: shop}\nspec: {ports: [{port: 80}]}\n";
const EXPORT: &str = "apiVersion: multicluster.x-k8s.io/v1beta1\nkind: ServiceExport\nmetadata: {name: cart, namespace: shop}\n";

struct Bench {
    dir: tempfile::TempDir,
    directory: Directory,
}

impl Bench {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("m")).unwrap();
        for (name, text) in files {
            fs::write(dir.path().join("m").join(name), text).unwrap();
        }
        let directory = open(dir.path()).unwrap();
        Self { dir, directory }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("m").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    fn restart(&mut self) {
        self.directory = open(self.dir.path()).unwrap();
    }

    /// What two polls tell, the second being when a change has settled.
    fn told(&mut self, now: u64) -> Option<String> {
        let told = [(); 2].map(|()| self.directory.poll(Timestamp(now)));
        let last = told.into_iter().flatten().last();
        last.map(|reading| render(&publication(&reading.objects, &reading.problems)))
    }
}

fn open(dir: &Path) -> Result<Directory, OpenError> {
    Directory::open(&dir.join("m"), Some(dir.join("state.json")))
}

#[test]
fn a_change_and_a_removal_are_told_once() {
    let mut bench = Bench::new(&[("cart.yaml", SERVICE), ("export.yml", EXPORT)]);
    let first = bench.told(1000).unwrap();
    assert!(
        first.contains("export shop/cart ClusterSetIP created=1000 80/TCP"),
        "{first}"
    );
    assert_eq!(bench.told(2000), None);

    bench.write("cart.yaml", &SERVICE.replace("80", "81"));
    let changed = bench.told(3000).unwrap();
    assert!(changed.contains("created=1000 81/TCP"), "{changed}");
    assert_eq!(bench.told(4000), None);

    fs::remove_file(bench.file("cart.yaml")).unwrap();
    let gone = bench.told(5000).unwrap();
    assert!(gone.contains("Valid=False NoService"), "{gone}");
    assert_eq!(bench.told(6000), None);

    bench.write("cart.yaml", SERVICE);
    bench.write("ignored.txt", "[");
    bench.write(".hidden.yaml", "[");
    let back = bench.told(7000).unwrap();
    assert!(back.contains("created=1000 80/TCP"), "{back}");
}

/// Half a file is good YAML too, with half of the objects.
#[test]
fn a_file_that_is_being_written_is_left_alone() {
    let mut bench = Bench::new(&[("all.yaml", &format!("{SERVICE}---\n{EXPORT}"))]);
    assert!(bench.told(0).is_some());
    for part in ["", SERVICE] {
        bench.write("all.yaml", part);
        assert_eq!(bench.directory.poll(Timestamp(1)), None, "{part:?}");
    }
    // A file that is replaced in two steps is gone for a moment.
    fs::remove_file(bench.file("all.yaml")).unwrap();
    assert_eq!(bench.directory.poll(Timestamp(2)), None);
    bench.write("all.yaml", &format!("{SERVICE}---\n{EXPORT}"));
    assert_eq!(bench.told(3), None, "it says what it said before");
    bench.write(
        "all.yaml",
        &format!("{SERVICE}---\n{EXPORT}").replace("80", "81"),
    );
    let told = bench.told(4).unwrap();
    assert!(told.contains("created=0 81/TCP"), "{told}");
}

#[test]
fn a_broken_file_keeps_its_last_good_state() {
    let mut bench = Bench::new(&[("cart.yaml", SERVICE), ("export.yaml", EXPORT)]);
    assert!(bench.told(1000).is_some());
    bench.write("cart.yaml", &format!("{SERVICE}---\nkind: [\n"));
    bench.write(
        "export.yaml",
        &EXPORT.replace("{name: cart,", "{name: cart, labels: {a: b},"),
    );
    let broken = bench.told(2000).unwrap();
    assert!(
        broken.contains("export shop/cart ClusterSetIP created=1000 80/TCP"),
        "{broken}"
    );
    let problem = broken.lines().last().unwrap();
    assert!(
        problem.starts_with("problem BadManifest cart.yaml:6: "),
        "{broken}"
    );
    assert!(problem.ends_with("; what it said before stays"), "{broken}");

    // Over a restart as well, and the times too.
    bench.restart();
    let again = bench.told(3000).unwrap();
    assert_eq!(again, broken);

    bench.write("cart.yaml", &SERVICE.replace("80", "82"));
    let good = bench.told(4000).unwrap();
    assert!(
        good.contains("created=1000 82/TCP") && !good.contains("problem"),
        "{good}"
    );
}

/// Rather than withdraw what it offered.
#[test]
fn a_file_that_is_too_large_keeps_its_last_good_state() {
    let mut bench = Bench::new(&[("all.yaml", &format!("{SERVICE}---\n{EXPORT}"))]);
    let first = bench.told(1000).unwrap();
    let file = fs::File::options().write(true).open(bench.file("all.yaml"));
    file.unwrap().set_len(FILE_BYTES + 1).unwrap();
    let large = bench.told(2000).unwrap();
    let problem = "problem BadManifest all.yaml:1: larger than 64 MiB";
    assert!(
        large.starts_with(&first) && large.contains(problem),
        "{large}"
    );
    // What only looks like a file by its name is none.
    fs::create_dir(bench.file("dir.yaml")).unwrap();
    assert_eq!(bench.told(3000), None);
}

#[test]
fn first_seen_times_outlive_a_restart_and_not_the_export() {
    let mut bench = Bench::new(&[("all.yaml", &format!("{SERVICE}---\n{EXPORT}"))]);
    assert!(bench.told(1000).unwrap().contains("created=1000"));
    bench.restart();
    assert!(bench.told(2000).unwrap().contains("created=1000"));

    bench.write("all.yaml", SERVICE);
    assert!(!bench.told(3000).unwrap().contains("created"));
    bench.write("all.yaml", &format!("{SERVICE}---\n{EXPORT}"));
    assert!(bench.told(4000).unwrap().contains("created=4000"));
    let mode = fs::metadata(bench.dir.path().join("state.json")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_directory_that_cannot_be_read_withdraws_nothing() {
    let mut bench = Bench::new(&[("all.yaml", &format!("{SERVICE}---\n{EXPORT}"))]);
    let first = bench.told(1000).unwrap();
    let (there, away) = (bench.dir.path().join("m"), bench.dir.path().join("away"));
    fs::rename(&there, &away).unwrap();
    let unread = bench.told(2000).unwrap();
    assert!(
        unread.starts_with(&first) && unread.contains("cannot be read"),
        "{unread}"
    );
    assert_eq!(bench.told(3000), None);

    // Nor after a restart that finds none.
    bench.restart();
    assert_eq!(bench.told(4000), Some(unread));
    fs::rename(&away, &there).unwrap();
    assert_eq!(bench.told(5000), Some(first));

    let nothing = tempfile::tempdir().unwrap();
    let refused = open(nothing.path());
    assert!(matches!(refused, Err(OpenError::Directory { .. })));
}

#[test]
fn a_memory_that_was_altered_is_not_taken_for_none() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("m")).unwrap();
    for (text, told) in [
        ("{", "EOF"),
        (
            r#"{"format":2,"first_seen":{},"good":{}}"#,
            "format 2, and this version knows 1",
        ),
    ] {
        fs::write(dir.path().join("state.json"), text).unwrap();
        let error = open(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains(told) && error.contains("remove it"),
            "{error}"
        );
    }
}
