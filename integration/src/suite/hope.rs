//! Shell: what cases wait for, in the standard's own time limits: conditions, imports, slices, names,
//! answers. Each tells what it expected and what it saw last.

use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use super::clients::Client;
use super::expect::{Look, keeps, within};
use super::kind::{DEPLOYMENT, EVENT, EXPORT, IMPORT, POD, SERVICE, SLICE, STATEFUL_SET};
use super::said::{Reply, Tally};
use super::scene::Place;
use super::seen::{self, Import, Pod, Port, Slice};
use super::wanted::{self, HELLO, Server, Service};

/// Conditions and imports show within.
pub const CONDITIONS: Duration = Duration::from_secs(20);
/// Slices show within.
pub const SLICES: Duration = Duration::from_secs(60);
/// Names resolve, and services answer, within.
pub const NAMES: Duration = Duration::from_secs(20);
/// What must not change is watched for so long.
pub const STAYS: Duration = Duration::from_secs(5);
/// Pods serve within.
const PODS: Duration = super::clients::PODS;

impl Place<'_> {
    /// The Service, without backends.
    pub fn service(&self, service: &Service) -> anyhow::Result<()> {
        self.apply(&service.named(HELLO)).map(|_| ())
    }

    /// Exports it.
    pub fn export(&self) -> anyhow::Result<()> {
        self.apply(&wanted::export(HELLO)).map(|_| ())
    }

    /// Takes the export back.
    pub fn unexport(&self) -> anyhow::Result<()> {
        self.delete(EXPORT, HELLO).map(|_| ())
    }

    /// The Service with so many backends that serve; exported by `export`.
    pub fn deploy(&self, service: &Service, port: u16, replicas: u32) -> anyhow::Result<Vec<Pod>> {
        let server = Server::on(&self.cluster.context, port);
        self.apply(&server.deployment(HELLO, replicas))?;
        self.service(service)?;
        self.pods(HELLO, replicas)
    }

    /// So many pods of that name serve.
    pub fn pods(&self, app: &str, count: u32) -> anyhow::Result<Vec<Pod>> {
        let wanted = usize::try_from(count)?;
        within(
            PODS,
            &format!("{self}: {count} ready pods of {app}"),
            || {
                let found = self.list(POD, &format!("app={app}"))?;
                let all: Vec<Pod> = found.iter().map(seen::read).collect::<Result<_, _>>()?;
                let ready = all.iter().filter(|p| p.is_ready()).count();
                Ok(if ready == wanted && all.len() == wanted {
                    Look::Yes(all)
                } else {
                    Look::No(format!("{ready} ready of {}", all.len()))
                })
            },
        )
    }

    /// Another number of backends.
    pub fn scale(&self, replicas: u32) -> anyhow::Result<()> {
        self.scene.step(format_args!("{self}: scale to {replicas}"));
        let kind = match self.get(DEPLOYMENT, HELLO)? {
            Some(_) => DEPLOYMENT,
            None => STATEFUL_SET,
        };
        let piece = serde_json::json!({"spec": {"replicas": replicas}});
        self.cluster
            .merge(kind, &self.namespace, HELLO, "", &piece)?;
        self.pods(HELLO, replicas).map(|_| ())
    }

    /// The import appears and is as `is` says.
    pub fn import(&self, expected: &str, is: impl Fn(&Import) -> bool) -> anyhow::Result<Import> {
        self.import_of(HELLO, CONDITIONS, expected, is)
    }

    /// The import of that name.
    pub fn import_of(
        &self,
        name: &str,
        limit: Duration,
        expected: &str,
        is: impl Fn(&Import) -> bool,
    ) -> anyhow::Result<Import> {
        let what = format!("{self}: ServiceImport {name} with {expected}");
        let import = within(limit, &what, || {
            let Some(value) = self.get(IMPORT, name)? else {
                return Ok(Look::No("no such import".to_owned()));
            };
            let import: Import = seen::read(&value)?;
            Ok(if is(&import) {
                Look::Yes(import)
            } else {
                Look::No(shown(&value))
            })
        })?;
        self.scene.step(format_args!("{what}: seen"));
        Ok(import)
    }

    /// The import is gone.
    pub fn no_import(&self) -> anyhow::Result<()> {
        within(
            CONDITIONS,
            &format!("{self}: no ServiceImport {HELLO}"),
            || {
                Ok(match self.get(IMPORT, HELLO)? {
                    None => Look::Yes(()),
                    Some(value) => Look::No(shown(&value)),
                })
            },
        )
    }

    /// The import is there and stays.
    pub fn import_stays(&self) -> anyhow::Result<()> {
        keeps(
            STAYS,
            &format!("{self}: ServiceImport {HELLO} stays"),
            || {
                Ok(match self.get(IMPORT, HELLO)? {
                    Some(_) => Look::Yes(()),
                    None => Look::No("it is gone".to_owned()),
                })
            },
        )
    }

    /// There is no import and none comes.
    pub fn import_stays_away(&self) -> anyhow::Result<()> {
        keeps(STAYS, &format!("{self}: no ServiceImport {HELLO}"), || {
            Ok(match self.get(IMPORT, HELLO)? {
                None => Look::Yes(()),
                Some(value) => Look::No(shown(&value)),
            })
        })
    }

    /// A condition of the export gets that status, and a reason that holds that word.
    pub fn condition(&self, kind: &str, status: &str, reason: &str) -> anyhow::Result<String> {
        let expected = format!("{self}: ServiceExport {HELLO} with {kind}={status}/{reason}");
        let message = within(CONDITIONS, &expected, || {
            let Some(value) = self.get(EXPORT, HELLO)? else {
                return Ok(Look::No("no such export".to_owned()));
            };
            let all = seen::conditions(&value);
            let is = |c: &&seen::Condition| {
                c.kind == kind && c.status == status && c.reason.contains(reason)
            };
            Ok(match all.iter().find(is) {
                Some(found) => Look::Yes(found.message.clone()),
                None => Look::No(seen::shown(&all)),
            })
        })?;
        self.scene.step(format_args!("{expected}: {message}"));
        Ok(message)
    }

    /// Slices of the import; none of them may look like a Service's own.
    pub fn slices(
        &self,
        expected: &str,
        is: impl Fn(&[Slice]) -> bool,
    ) -> anyhow::Result<Vec<Slice>> {
        self.slices_of(HELLO, expected, is)
    }

    /// Slices of the import of that name.
    pub fn slices_of(
        &self,
        name: &str,
        expected: &str,
        is: impl Fn(&[Slice]) -> bool,
    ) -> anyhow::Result<Vec<Slice>> {
        let what = format!("{self}: slices of {name}: {expected}");
        let slices = within(SLICES, &what, || {
            let label = format!("{}={name}", seen::MCS_SERVICE);
            let found = self.list(SLICE, &label)?;
            let all: Vec<Slice> = found.iter().map(seen::read).collect::<Result<_, _>>()?;
            Ok(if is(&all) {
                Look::Yes(all)
            } else {
                Look::No(found.iter().map(shown).collect::<Vec<_>>().join("\n    "))
            })
        })?;
        for slice in &slices {
            let own = slice.metadata.labels.get(seen::OWN_SERVICE);
            anyhow::ensure!(
                own.is_none(),
                "{self}: slice {} carries {}={own:?}, so kube-proxy takes it for a Service's own",
                slice.metadata.name,
                seen::OWN_SERVICE
            );
        }
        Ok(slices)
    }

    /// An event about an object of the case's namespace, with that reason.
    pub fn event(&self, about: &str, reason: &str) -> anyhow::Result<String> {
        let expected = format!("{self}: an event {reason} on {about}");
        within(CONDITIONS, &expected, || {
            let found = self.list(EVENT, "")?;
            let word = |e: &Value, pointer| {
                e.pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let of = |e: &&Value| word(e, "/involvedObject/kind") == about;
            let all: Vec<_> = found.iter().filter(of).collect();
            let is = |e: &&&Value| word(e, "/reason").contains(reason);
            Ok(match all.iter().find(is) {
                Some(event) => Look::Yes(word(event, "/message")),
                None => {
                    let all = all.iter().map(|e| word(e, "/reason"));
                    Look::No(format!("events: {}", all.collect::<Vec<_>>().join(", ")))
                }
            })
        })
    }

    /// The ports of the Service as the API server has them.
    pub fn service_ports(&self) -> anyhow::Result<Vec<Port>> {
        let service = self.must_get(SERVICE, HELLO)?;
        let ports = service.pointer("/spec/ports").cloned().unwrap_or_default();
        Ok(seen::sorted(seen::read(&ports)?))
    }

    /// A client's name server answers as `is` says.
    pub fn resolves(
        &self,
        client: &Client,
        name: &str,
        kind: &str,
        expected: &str,
        is: impl Fn(&Reply) -> bool,
    ) -> anyhow::Result<Reply> {
        let what = format!("{self}: {kind} of {name}: {expected}");
        let reply = within(NAMES, &what, || {
            let reply = client.lookup(self.scene.stage, name, kind)?;
            Ok(Look::when(is(&reply), reply))
        })?;
        self.scene.step(format_args!("{what}: {reply}"));
        Ok(reply)
    }

    /// So many questions in a row are answered as `is` says.
    pub fn answers(
        &self,
        client: &Client,
        protocol: &str,
        to: &str,
        count: u32,
        expected: &str,
        is: impl Fn(&Tally) -> bool,
    ) -> anyhow::Result<Tally> {
        let from = &client.pod;
        let what =
            format!("{self}: {count} answers over {protocol} from {to} to {from}: {expected}");
        let tally = within(NAMES, &what, || {
            let tally = client.dial(self.scene.stage, protocol, to, count)?;
            Ok(Look::when(tally.is_whole() && is(&tally), tally))
        })?;
        self.scene.step(format_args!("{what}: {tally}"));
        Ok(tally)
    }
}

/// An object in one line, without what nobody reads.
#[must_use]
pub fn shown(object: &Value) -> String {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, _| {
            matches!(
                key.as_str(),
                "name" | "labels" | "annotations" | "deletionTimestamp" | "finalizers"
            )
        });
    }
    serde_json::to_string(&object).unwrap_or_default()
}

/// The first of those, or an error that says what is missing.
pub fn first<'a, T>(all: &'a [T], what: &str) -> anyhow::Result<&'a T> {
    all.first().with_context(|| format!("no {what}"))
}
