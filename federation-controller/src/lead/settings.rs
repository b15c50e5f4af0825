//! Pure: ClusterConfiguration `default` as the gateways are told it.

use std::collections::BTreeSet;

use causeway_proto::model::{ClusterId, ClusterSettings, InvalidName, PeerSettings, Prefix};

use crate::crd::{Accept, ClusterConfigurationSpec, EncryptionSetting};
use crate::enrolment::Home;

/// Settings, and what is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// As far as they can be read.
    pub settings: ClusterSettings,
    /// What to change; then those before stay in force.
    pub wrong: Option<String>,
}

/// Which cluster this is.
///
/// # Errors
/// When cluster or clusterset have no such name.
pub fn home(spec: &ClusterConfigurationSpec) -> Result<Home, InvalidName> {
    Ok(Home {
        cluster: spec.cluster.parse()?,
        cluster_set: spec.cluster_set.parse()?,
    })
}

/// The settings of the cluster `home`.
#[must_use]
pub fn settings(spec: &ClusterConfigurationSpec, home: &Home) -> Settings {
    let mut wrong = None;
    let mut note = |why: String| {
        wrong.get_or_insert(why);
    };
    let plain = |encryption: EncryptionSetting| encryption == EncryptionSetting::Off;
    let mut settings = ClusterSettings {
        plain: plain(spec.encryption),
        pod_prefixes: prefixes("spec.podPrefixes", &spec.pod_prefixes, &mut note),
        vips: prefixes("spec.pools.vips", &spec.pools.vips, &mut note),
        mappings: prefixes("spec.pools.mappings", &spec.pools.mappings, &mut note),
        ..ClusterSettings::default()
    };
    settings.introduced = match spec.introductions.accept {
        Accept::All => None,
        Accept::None => Some(BTreeSet::new()),
        Accept::Listed => Some(introduced(&spec.introductions.clusters, &mut note)),
    };
    match u16::try_from(spec.tunnel_port) {
        Ok(port) => settings.tunnel_port = port,
        Err(_) => note(format!("spec.tunnelPort: {} is no port", spec.tunnel_port)),
    }
    for peer in &spec.peers {
        let of = format!("spec.peers[{}]", peer.cluster);
        match peer.cluster.parse() {
            Ok(cluster) => {
                let told = PeerSettings {
                    plain: peer.encryption.map(plain),
                    native: prefixes(&format!("{of}.native"), &peer.native, &mut note),
                };
                settings.peers.insert(cluster, told);
            }
            Err(error) => note(format!("{of}: {error}")),
        }
    }
    if let Err(error) = settings.check(&home.cluster) {
        note(error.to_string());
    }
    Settings { settings, wrong }
}

fn introduced(names: &[String], note: &mut impl FnMut(String)) -> BTreeSet<ClusterId> {
    let mut clusters = BTreeSet::new();
    for name in names {
        match name.parse() {
            Ok(cluster) => drop(clusters.insert(cluster)),
            Err(error) => note(format!("spec.introductions.clusters[{name}]: {error}")),
        }
    }
    clusters
}

fn prefixes(key: &str, texts: &[String], note: &mut impl FnMut(String)) -> Vec<Prefix> {
    let mut prefixes = Vec::new();
    for text in texts {
        match text.parse() {
            Ok(prefix) => prefixes.push(prefix),
            Err(_) => note(format!(
                "{key}: {text} is not a prefix ADDRESS/LENGTH with nothing behind its length"
            )),
        }
    }
    prefixes
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(yaml: &str, expected: Expect) {
        let spec: ClusterConfigurationSpec = serde_saphyr::from_str(yaml).unwrap();
        let home = home(&spec).unwrap();
        let Settings { settings: s, wrong } = settings(&spec, &home);
        let list = |prefixes: &[Prefix]| {
            let texts: Vec<_> = prefixes.iter().map(ToString::to_string).collect();
            texts.join(" ")
        };
        let mut text = format!(
            "plain {}, port {}, pods [{}], vips [{}], mappings [{}]",
            s.plain,
            s.tunnel_port,
            list(&s.pod_prefixes),
            list(&s.vips),
            list(&s.mappings)
        );
        if let Some(only) = &s.introduced {
            let only: Vec<_> = only.iter().map(ToString::to_string).collect();
            text += &format!(", introduced [{}]", only.join(" "));
        }
        for (cluster, peer) in &s.peers {
            text += &format!("\n{cluster}: {:?} [{}]", peer.plain, list(&peer.native));
        }
        if let Some(wrong) = wrong {
            text += &format!("\nwrong: {wrong}");
        }
        expected.assert_eq(&text);
    }

    #[test]
    fn what_gateways_are_told() {
        check(
            "{cluster: east, clusterSet: prod}",
            expect![
                "plain false, port 7472, pods [], vips [241.0.0.0/16], mappings [242.0.0.0/7 244.0.0.0/6 248.0.0.0/6]"
            ],
        );
        check(
            "{cluster: east, clusterSet: prod, encryption: 'off', podPrefixes: [10.1.0.0/16], pools: {vips: [240.1.0.0/16], mappings: [250.0.0.0/8]}, tunnelPort: 7000, peers: [{cluster: west.eu, encryption: required, native: [10.2.0.0/16]}]}",
            expect![[r#"
                plain true, port 7000, pods [10.1.0.0/16], vips [240.1.0.0/16], mappings [250.0.0.0/8]
                west.eu: Some(false) [10.2.0.0/16]"#]],
        );
        check(
            "{cluster: east, clusterSet: prod, introductions: {accept: None, clusters: [west]}}",
            expect![
                "plain false, port 7472, pods [], vips [241.0.0.0/16], mappings [242.0.0.0/7 244.0.0.0/6 248.0.0.0/6], introduced []"
            ],
        );
        check(
            "{cluster: east, clusterSet: prod, introductions: {accept: Listed, clusters: [west, north.eu, West]}}",
            expect![[r#"
                plain false, port 7472, pods [], vips [241.0.0.0/16], mappings [242.0.0.0/7 244.0.0.0/6 248.0.0.0/6], introduced [north.eu west]
                wrong: spec.introductions.clusters[West]: cluster id "West" is not valid: one or two RFC 1123 labels joined by a dot, under 128 characters"#]],
        );
        check(
            "{cluster: east, clusterSet: prod, podPrefixes: [10.1.0.0/99, 10.2.0.0/16]}",
            expect![[r#"
                plain false, port 7472, pods [10.2.0.0/16], vips [241.0.0.0/16], mappings [242.0.0.0/7 244.0.0.0/6 248.0.0.0/6]
                wrong: spec.podPrefixes: 10.1.0.0/99 is not a prefix ADDRESS/LENGTH with nothing behind its length"#]],
        );
        check(
            "{cluster: east, clusterSet: prod, pools: {vips: [242.1.0.0/16]}}",
            expect![[r#"
                plain false, port 7472, pods [], vips [242.1.0.0/16], mappings [242.0.0.0/7 244.0.0.0/6 248.0.0.0/6]
                wrong: pools.vips: 242.1.0.0/16 overlaps 242.0.0.0/7"#]],
        );
    }
}
