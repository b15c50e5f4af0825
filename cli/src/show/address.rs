//! Pure: what an address means here.

use causeway_proto::model::{Address, AddressKind, Whois};
use serde::Serialize;

use super::Show;
use crate::text::columns;

/// What `causeway whois` prints.
#[derive(Debug, Serialize)]
pub struct WhoisForm {
    address: String,
    meanings: Vec<MeaningForm>,
}

#[derive(Debug, Serialize)]
struct MeaningForm {
    kind: &'static str,
    cluster: String,
    owner_address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<u16>,
    #[serde(skip)]
    is: &'static str,
}

fn kind(kind: AddressKind) -> (&'static str, &'static str) {
    match kind {
        AddressKind::Vip => ("vip", "the VIP of a service"),
        AddressKind::Mapped => ("mapped", "a peer's pod or node, as it appears here"),
        AddressKind::SelfMapped => (
            "self_mapped",
            "a pod of this cluster, as its own pods see it behind a VIP",
        ),
        AddressKind::Workload => ("workload", "a pod of this cluster"),
        AddressKind::Node => ("node", "a node of this cluster"),
        AddressKind::Gateway => ("gateway", "the outer address of a peer's gateway"),
        AddressKind::PeerNode => ("peer_node", "the outer address of a peer's node"),
    }
}

impl MeaningForm {
    fn of(w: &Whois) -> Self {
        let (kind, is) = kind(w.kind);
        Self {
            kind,
            cluster: w.cluster.to_string(),
            owner_address: w.address.to_string(),
            service: w.service.as_ref().map(ToString::to_string),
            namespace: w.namespace.as_ref().map(ToString::to_string),
            name: w.name.clone(),
            node: w.node.as_ref().map(ToString::to_string),
            service_account: w.service_account.clone(),
            identity: w.identity.map(|i| i.0),
            is,
        }
    }

    fn text(&self, asked: &str) -> String {
        let identity = self.identity.map(|i| i.to_string());
        let mut rows = vec![
            vec![asked.to_owned(), self.is.to_owned()],
            vec!["  cluster".to_owned(), self.cluster.clone()],
            vec!["  its own address".to_owned(), self.owner_address.clone()],
        ];
        let more = [
            ("  service", &self.service),
            ("  namespace", &self.namespace),
            ("  name", &self.name),
            ("  service account", &self.service_account),
            ("  identity", &identity),
            ("  node", &self.node),
        ];
        for (what, value) in more {
            if let Some(value) = value {
                rows.push(vec![what.to_owned(), value.clone()]);
            }
        }
        columns(&rows)
    }
}

impl WhoisForm {
    /// Of all meanings.
    pub fn of(address: Address, meanings: &[Whois]) -> Self {
        Self {
            address: address.to_string(),
            meanings: meanings.iter().map(MeaningForm::of).collect(),
        }
    }
}

impl Show for WhoisForm {
    fn text(&self) -> String {
        let each: Vec<_> = self
            .meanings
            .iter()
            .map(|m| m.text(&self.address))
            .collect();
        each.join("")
    }
}
