//! Names, the cluster's CA, join tokens, grants of certificates, and the TLS configurations that check them.
//!
//! | Module | |
//! |---|---|
//! | [`name`] | pure: SPIFFE name of a process, for whom it may speak, what it may call |
//! | [`bundle`] | pure: what one cluster tells another about itself at pairing, and its digest |
//! | [`token`] | pure: the join token, its proofs |
//! | [`grant`] | pure: who gets a certificate, of what life, when it is renewed |
//! | [`cert`] | pure: what a certificate says |
//! | [`catalog_key`] | shell: signing and checking of catalog headers |
//! | [`trust`] | pure: whose certificates are taken, as one snapshot that is replaced whole |
//! | [`tls`] | shell: the rustls configurations, and the leaf that they present |
//! | [`ca`] | shell: keys and signing of the cluster's CA |
//! | [`enrolment`] | shell: the one-time file, and how a process comes to its first and next leaf |
//! | [`dial`] | shell: calls to the gateways of one's own cluster, and keeping the certificate for them |
//! | [`serve`] | shell: TLS connections for a gRPC server |
//! | [`health`] | shell: whether a process of ours is well, for probes |
//! | [`expand`] | pure: variables in a configuration file |
//! | [`files`] | shell: private files, written whole or not at all |
//!
//! Keys are ECDSA P-256: every TLS library, key store and cloud load balancer takes it, which Ed25519 is
//! not; and aws-lc-rs signs with it in some 20 µs. The provider is always named, never the process default.

pub mod bundle;
pub mod ca;
pub mod catalog_key;
pub mod cert;
pub mod dial;
pub mod enrolment;
pub mod expand;
pub mod files;
pub mod grant;
pub mod health;
pub mod name;
pub mod serve;
pub mod tls;
pub mod token;
pub mod trust;

mod pem;
mod secret;

pub use rustls;
pub use secret::Secret;
