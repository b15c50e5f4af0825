//! Shell: a process that has its leaf: kept in its state directory, or in memory alone.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use causeway_proto::model::{Enrolled, Timestamp};

use super::{CallError, EnrolError, FORMAT, Home, Issued};
use crate::ca::{CaError, Leaf, LeafRequest};
use crate::files::{private_dir, read_private, write_private};
use crate::grant::{renew_at, renew_in};
use crate::name::Role;
use crate::pem;
use crate::tls::{LeafCell, Tls};
use crate::trust::Trust;

/// A process that has its leaf. Clones are the same process.
#[derive(Debug, Clone)]
pub struct Member {
    /// For dialling and serving; the leaf in it is replaced by [`renew`](Self::renew) and [`take`](Self::take).
    pub tls: Tls,
    home: Arc<RwLock<Home>>,
    dir: Option<PathBuf>,
}

impl Member {
    fn new(dir: Option<&Path>, home: Home, leaf: &Leaf) -> Result<Self, EnrolError> {
        Ok(Self {
            tls: home.tls(LeafCell::new(leaf).map_err(CaError::from)?)?,
            home: Arc::new(RwLock::new(home)),
            dir: dir.map(Path::to_owned),
        })
    }

    /// Of a leaf that no file keeps.
    ///
    /// # Errors
    /// When key, certificate and names do not belong together.
    pub fn in_memory(home: Home, leaf: &Leaf) -> Result<Self, EnrolError> {
        Self::new(None, home, leaf)
    }

    /// From the state directory; `None` when the process was never enrolled.
    ///
    /// # Errors
    /// When files cannot be used.
    pub fn load(dir: &Path) -> Result<Option<Self>, EnrolError> {
        let home_path = dir.join("cluster.json");
        let (Some(leaf), Some(home)) = (
            Leaf::read(&dir.join("leaf.pem"))?,
            read_private(&home_path)?,
        ) else {
            return Ok(None);
        };
        let home: Home = serde_json::from_str(&home).map_err(|e| EnrolError::NotAnEnrolment {
            path: home_path,
            reason: e.to_string(),
        })?;
        Self::new(Some(dir), home, &leaf).map(Some)
    }

    /// What came back for a request: kept in `dir`, or in memory alone.
    ///
    /// # Errors
    /// When it does not fit the request or the name, or the file system refuses.
    pub(super) fn admitted(
        dir: Option<&Path>,
        home: Home,
        request: LeafRequest,
        issued: Issued,
    ) -> Result<Self, EnrolError> {
        let (home, leaf) = keep(dir, home, request, issued)?;
        Self::new(dir, home, &leaf)
    }

    /// What came back for a service account token: kept in `dir`, or in memory alone.
    ///
    /// # Errors
    /// When it does not fit the request or the role, or the file system refuses.
    pub fn enrolled(
        dir: Option<&Path>,
        role: &Role,
        request: LeafRequest,
        enrolled: Enrolled,
    ) -> Result<Self, EnrolError> {
        let (home, issued) = parts(role.to_string(), enrolled);
        Self::admitted(dir, home, request, issued)
    }

    /// Its cluster, as it knew it when it enrolled or last renewed.
    #[must_use]
    pub fn home(&self) -> Home {
        let home = self.home.read().unwrap_or_else(PoisonError::into_inner);
        home.clone()
    }

    /// When to call [`renew`](Self::renew); after a failure, a minute later at least.
    #[must_use]
    pub fn renew_at(&self, jitter: u64) -> Option<Timestamp> {
        Some(renew_at(self.tls.leaf.validity()?, jitter))
    }

    /// How long to wait before asking again, in milliseconds; 0: call [`renew`](Self::renew) now. Bounded, since clocks jump.
    #[must_use]
    pub fn renew_in(&self, jitter: u64, now: Timestamp) -> u64 {
        let window = self.tls.leaf.validity();
        window.map_or(0, |window| renew_in(window, jitter, now))
    }

    /// A new key and leaf by `call`, a Renew that presents the present leaf: kept on disk, then presented. Connections that
    /// are open stay.
    ///
    /// # Errors
    /// When the call fails or gives what does not fit; the present leaf then stays.
    pub async fn renew<F>(&self, call: impl FnOnce(Vec<u8>) -> F) -> Result<(), EnrolError>
    where
        F: Future<Output = Result<Issued, CallError>>,
    {
        let request = LeafRequest::new()?;
        let home = self.home();
        let issued = call(request.csr().to_vec())
            .await
            .map_err(|source| EnrolError::Call {
                role: home.role.clone(),
                source,
            })?;
        self.present(keep(self.dir.as_deref(), home, request, issued)?)
    }

    /// A new key and leaf that a service account token gave, in place of the present ones. The cluster may be another
    /// one by now: whom the token convinces is of it.
    ///
    /// # Errors
    /// When it does not fit the request or the role; the present leaf then stays.
    pub fn take(&self, request: LeafRequest, enrolled: Enrolled) -> Result<(), EnrolError> {
        let (home, issued) = parts(self.home().role, enrolled);
        self.present(keep(self.dir.as_deref(), home, request, issued)?)
    }

    fn present(&self, (home, leaf): (Home, Leaf)) -> Result<(), EnrolError> {
        self.tls.leaf.replace(&leaf).map_err(CaError::from)?;
        let roots = home.roots()?;
        let mut held = self.home.write().unwrap_or_else(PoisonError::into_inner);
        if held.cluster != home.cluster || held.cluster_set != home.cluster_set {
            let (cluster, set) = (home.cluster.clone(), home.cluster_set.clone());
            self.tls
                .trust
                .replace(Trust::own_only(cluster, set, &roots));
        } else if held.authorities != home.authorities {
            self.tls.trust.own_is(&roots);
        }
        *held = home;
        Ok(())
    }
}

fn parts(role: String, enrolled: Enrolled) -> (Home, Issued) {
    let home = Home {
        format: FORMAT,
        cluster: enrolled.cluster,
        cluster_set: enrolled.cluster_set,
        role,
        authorities: String::new(),
        gateways: enrolled.gateways,
    };
    (home, enrolled.certificate)
}

fn keep(
    dir: Option<&Path>,
    mut home: Home,
    request: LeafRequest,
    issued: Issued,
) -> Result<(Home, Leaf), EnrolError> {
    let shown = dir.unwrap_or(Path::new("memory"));
    let leaf = request.finish(issued.chain)?;
    let (found, expected) = (leaf.name(&home.cluster_set)?, home.name()?);
    if found != expected {
        return Err(EnrolError::OtherRole {
            path: shown.join("leaf.pem"),
            found: found.to_string(),
            expected: expected.to_string(),
        });
    }
    if !issued.authorities.is_empty() {
        let certificates = issued.authorities.iter();
        home.authorities = certificates.map(|der| pem::certificate(der)).collect();
    }
    home.roots()?;
    let Some(dir) = dir else {
        return Ok((home, leaf));
    };
    private_dir(dir)?;
    let text = serde_json::to_string_pretty(&home).map_err(|e| EnrolError::NotAnEnrolment {
        path: dir.join("cluster.json"),
        reason: e.to_string(),
    })?;
    write_private(&dir.join("cluster.json"), text.as_bytes())?;
    // Last: whoever finds a leaf finds the rest.
    leaf.write(&dir.join("leaf.pem"))?;
    Ok((home, leaf))
}
