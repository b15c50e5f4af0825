use std::os::unix::fs::PermissionsExt;
use std::task::{Context, Poll, Waker};

use tempfile::TempDir;

use super::*;
use crate::ca::Authority;
use crate::files::write_private;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const HOUR: u64 = 3_600_000;

struct Cluster {
    dir: TempDir,
    authority: Authority,
}

fn cluster() -> Cluster {
    let dir = tempfile::tempdir().unwrap();
    let (west, prod) = ("west".parse().unwrap(), "prod".parse().unwrap());
    let authority = Authority::open(&dir.path().join("ca"), &west, &prod, NOW).unwrap();
    Cluster { dir, authority }
}

impl Cluster {
    fn enrolment(&self, role: &str) -> Enrolment {
        Enrolment {
            home: Home::new(
                "west".parse().unwrap(),
                "prod".parse().unwrap(),
                &Role::parse(role).unwrap(),
                &[self.authority.certificate().to_vec()],
                vec!["192.0.2.1:7444".to_owned()],
            ),
            secret: Secret::new([9; 32]),
            expires: Timestamp(NOW.0 + HOUR),
        }
    }

    fn file(&self, role: &str) -> PathBuf {
        let path = self.dir.path().join("enrol.json");
        let text = self.enrolment(role).render().unwrap();
        write_private(&path, text.as_bytes()).unwrap();
        path
    }

    fn issue(&self, role: &str, csr: &[u8], now: Timestamp) -> Issued {
        let name = self.enrolment(role).home.name().unwrap();
        Issued {
            chain: self.authority.issue(csr, &name, now).unwrap(),
            authorities: vec![self.authority.certificate().to_vec()],
        }
    }

    fn start(&self, role: &str, file: Option<&Path>, now: Timestamp) -> Result<Member, String> {
        now_or_never(load_or_enrol(
            &self.dir.path().join("agent"),
            &Role::parse(role).unwrap(),
            file,
            now,
            |tls, enrolment, csr| {
                assert!(tls.leaf.validity().is_none());
                assert_eq!(enrolment.secret, Secret::new([9; 32]));
                let issued = self.issue(&enrolment.home.role, &csr, now);
                async move { Ok(issued) }
            },
        ))
        .map_err(|e| {
            e.to_string()
                .replace(&self.dir.path().display().to_string(), "DIR")
        })
    }
}

fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}

#[test]
fn enrols_once_and_then_reads_its_leaf() {
    let west = cluster();
    assert_eq!(
        west.start("agent/w1", None, NOW).unwrap_err(),
        "DIR/agent holds no certificate: run `causeway enroll agent/w1` on the leader and give this process the file"
    );
    let file = west.file("agent/w1");
    let member = west.start("agent/w1", Some(&file), NOW).unwrap();
    assert_eq!(member.home().role, "agent/w1");
    let leaf = west.dir.path().join("agent/leaf.pem");
    let mode = std::fs::metadata(&leaf).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let again = west
        .start("agent/w1", None, Timestamp(NOW.0 + HOUR))
        .unwrap();
    assert_eq!(again.home(), member.home());
    assert_eq!(again.tls.leaf.validity(), member.tls.leaf.validity());
    assert_eq!(
        west.start("agent/w1", None, Timestamp(NOW.0 + 25 * HOUR))
            .unwrap_err(),
        "the certificate in DIR/agent expired 3600 s ago and can no longer renew itself: run `causeway enroll agent/w1` on the leader and give this process the file"
    );
    assert_eq!(
        west.start("agent/w2", None, NOW).unwrap_err(),
        "DIR/agent/leaf.pem is for agent/w1, but this is agent/w2"
    );
}

#[test]
fn renews_in_place() {
    let west = cluster();
    let file = west.file("agent/w1");
    let member = west.start("agent/w1", Some(&file), NOW).unwrap();
    let before = member.tls.leaf.validity().unwrap();
    let later = member.renew_at(0).unwrap();
    assert!(before.holds(later));
    now_or_never(member.renew(|csr| {
        let issued = west.issue("agent/w1", &csr, later);
        async move { Ok(issued) }
    }))
    .unwrap();
    let after = member.tls.leaf.validity().unwrap();
    assert!(after.not_after > before.not_after);

    let refused = now_or_never(member.renew(|_| async { Err("no leader".into()) }));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "asking for a certificate as agent/w1: no leader"
    );
    let other = now_or_never(member.renew(|csr| {
        let issued = west.issue("operator/ann", &csr, later);
        async move { Ok(issued) }
    }));
    assert!(other.unwrap_err().to_string().contains("operator/ann"));
    assert_eq!(member.tls.leaf.validity(), Some(after), "the old one stays");
    let read = Member::load(&west.dir.path().join("agent")).unwrap();
    assert_eq!(read.unwrap().tls.leaf.validity(), Some(after));
}

#[test]
fn files_that_are_refused() {
    let west = cluster();
    let file = west.file("agent/w1");
    let start = |role: &str, now| west.start(role, Some(&file), now).unwrap_err();
    assert_eq!(
        start("agent/w2", NOW),
        "DIR/enrol.json is for agent/w1, but this is agent/w2"
    );
    assert_eq!(
        start("agent/w1", Timestamp(NOW.0 + 2 * HOUR)),
        "DIR/enrol.json expired 3600 s ago; make another with `causeway enroll agent/w1`"
    );
    let whole = std::fs::read_to_string(&file).unwrap();
    let altered = [
        (
            whole.replace("agent/w1", "root/w1"),
            "\"root/w1\" is not a role",
        ),
        (whole.replace("\"west\"", "\"east\""), "spiffe://west"),
        (
            whole.replace("\"prod\"", "\"test\""),
            "is not of clusterset test",
        ),
        (
            whole.replace("\"secret\": \"", "\"secret\": \"x"),
            "the secret is damaged",
        ),
        (whole.replace("\"format\": 1", "\"format\": 2"), "format 2"),
        (whole.replace("\"gateways\"", "\"gates\""), "unknown field"),
        (whole[..whole.len() / 2].to_owned(), "EOF"),
    ];
    for (text, reason) in altered {
        assert_ne!(text, whole);
        write_private(&file, text.as_bytes()).unwrap();
        let e = start("agent/w1", NOW);
        assert!(
            e.starts_with("DIR/enrol.json is not a file of `causeway enroll`, or was altered")
                && e.contains(reason),
            "{e}"
        );
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(start("agent/w1", NOW).contains("chmod 600"));
}

#[test]
fn debug_shows_no_secret() {
    let enrolment = cluster().enrolment("agent/w1");
    let shown = format!("{enrolment:?}");
    assert!(
        shown.contains("[secret]") && !shown.contains("9, 9"),
        "{shown}"
    );
}
