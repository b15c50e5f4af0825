//! Shell: one cluster, through `kubectl`: a `kubectl proxy` on a socket of ours for all that is read and
//! written, so that a look costs milliseconds, and `kubectl` itself where a stream is needed. Not here:
//! what the objects mean; see `seen`.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use super::http::{self, APPLY, JSON, MERGE, Reply, Request};
use super::kind::{self, Kind, POD};
use crate::lab::wait;

/// The longest that a single request may take.
const LIMIT: Duration = Duration::from_secs(30);
/// The longest that `kubectl proxy` may take to listen.
const START: Duration = Duration::from_secs(20);
/// Who the API server takes this program for, as an owner of fields.
const MANAGER: &str = "e2e";

/// A cluster by its context.
pub struct Cluster {
    /// Name in the kubeconfig
    pub context: String,
    kubeconfig: PathBuf,
    socket: PathBuf,
    proxy: Mutex<Child>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Ok(proxy) = self.proxy.get_mut() {
            let _ = proxy.kill();
            let _ = proxy.wait();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Cluster {
    /// Connects; the socket is kept in that directory.
    pub fn open(kubeconfig: &Path, context: &str, directory: &Path) -> anyhow::Result<Cluster> {
        let socket = directory.join(format!("{context}.sock"));
        let _ = std::fs::remove_file(&socket);
        let proxy = kubectl(kubeconfig, context)
            .arg("proxy")
            .arg(format!("--unix-socket={}", socket.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot run kubectl")?;
        let cluster = Cluster {
            context: context.to_owned(),
            kubeconfig: kubeconfig.to_owned(),
            socket,
            proxy: Mutex::new(proxy),
        };
        wait::until(START, "the API server's answer", || {
            Ok(cluster.call("GET", "/readyz", JSON, b"")?.status == 200)
        })
        .with_context(|| format!("is the cluster {context} up?"))?;
        Ok(cluster)
    }

    /// One request; any status is a reply.
    pub fn call(&self, method: &str, path: &str, form: &str, body: &[u8]) -> anyhow::Result<Reply> {
        let mut stream = UnixStream::connect(&self.socket).context("kubectl proxy")?;
        stream.set_read_timeout(Some(LIMIT))?;
        let request = Request {
            method,
            path,
            form,
            body,
        };
        stream.write_all(&http::encode(&request))?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        http::parse(&bytes).with_context(|| format!("{method} {path} in {}", self.context))
    }

    /// A request that must succeed, and its JSON.
    fn must(&self, method: &str, path: &str, form: &str, body: &[u8]) -> anyhow::Result<Value> {
        let reply = self.call(method, path, form, body)?;
        match self.json(&format!("{method} {path}"), &reply)? {
            Some(value) => Ok(value),
            None => bail!("{method} {path} in {}: there is none", self.context),
        }
    }

    /// The JSON of a good reply, None of a 404.
    fn json(&self, what: &str, reply: &Reply) -> anyhow::Result<Option<Value>> {
        match reply.status {
            200..=299 => serde_json::from_slice(&reply.body)
                .with_context(|| format!("{what} in {}: no JSON", self.context))
                .map(Some),
            404 => Ok(None),
            status => {
                let said: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
                let message = said.get("message").and_then(Value::as_str);
                let text = String::from_utf8_lossy(&reply.body);
                let message = message.unwrap_or(&text);
                bail!("{what} in {}: {status} {message}", self.context)
            }
        }
    }

    /// An object, if it is there.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> anyhow::Result<Option<Value>> {
        let path = format!("{}/{name}", kind.path(namespace));
        let reply = self.call("GET", &path, JSON, b"")?;
        self.json(&path, &reply)
    }

    /// All objects of a namespace (or of all, by an empty name) that carry those labels.
    pub fn list(&self, kind: Kind, namespace: &str, labels: &str) -> anyhow::Result<Vec<Value>> {
        let query = http::query(&[("labelSelector", labels)]);
        let path = format!("{}?{query}", kind.path(namespace));
        let mut list = self.must("GET", &path, JSON, b"")?;
        match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => bail!("{path} in {}: no list", self.context),
        }
    }

    /// Makes an object, or changes it to what is said here; the rest of it stays.
    pub fn apply(&self, namespace: &str, object: &Value) -> anyhow::Result<Value> {
        let kind = kind_of(object)?;
        let name = object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .context("an object without a name")?;
        let query = http::query(&[("fieldManager", MANAGER), ("force", "true")]);
        let path = format!("{}/{name}?{query}", kind.path(namespace));
        self.must("PATCH", &path, APPLY, &serde_json::to_vec(object)?)
    }

    /// Lays a piece over an object; `part` is empty or `/status`.
    pub fn merge(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        part: &str,
        piece: &Value,
    ) -> anyhow::Result<Value> {
        let path = format!("{}/{name}{part}", kind.path(namespace));
        self.must("PATCH", &path, MERGE, &serde_json::to_vec(piece)?)
    }

    /// Replaces an object by one that was read before; a conflict is an error.
    pub fn replace(&self, namespace: &str, object: &Value) -> anyhow::Result<Value> {
        let kind = kind_of(object)?;
        let name = object.pointer("/metadata/name").and_then(Value::as_str);
        let path = format!("{}/{}", kind.path(namespace), name.unwrap_or_default());
        self.must("PUT", &path, JSON, &serde_json::to_vec(object)?)
    }

    /// Deletes an object; false if there was none.
    pub fn delete(&self, kind: Kind, namespace: &str, name: &str) -> anyhow::Result<bool> {
        let path = format!("{}/{name}", kind.path(namespace));
        let body = br#"{"propagationPolicy":"Background"}"#;
        let reply = self.call("DELETE", &path, JSON, body)?;
        Ok(self.json(&path, &reply)?.is_some())
    }

    /// Asks a pod over HTTP, by way of the API server.
    pub fn ask(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
        path: &str,
        pairs: &[(&str, &str)],
    ) -> anyhow::Result<Value> {
        let (pods, query) = (POD.path(namespace), http::query(pairs));
        let path = format!("{pods}/{pod}:{port}/proxy/{path}?{query}");
        self.must("GET", &path, JSON, b"")
    }

    /// What a container has logged in the last so many seconds.
    pub fn log(&self, namespace: &str, pod: &str, container: &str, secs: u64) -> String {
        let secs = secs.to_string();
        let query = http::query(&[
            ("container", container),
            ("sinceSeconds", &secs),
            ("tailLines", "2000"),
        ]);
        let path = format!("{}/{pod}/log?{query}", POD.path(namespace));
        match self.call("GET", &path, JSON, b"") {
            Ok(reply) => String::from_utf8_lossy(&reply.body).into_owned(),
            Err(error) => format!("{error:#}"),
        }
    }

    /// A text of the API server's own, such as `/metrics`.
    pub fn text(&self, path: &str) -> anyhow::Result<String> {
        let reply = self.call("GET", path, JSON, b"")?;
        if reply.status != 200 {
            bail!("{path} in {}: {}", self.context, reply.status);
        }
        Ok(String::from_utf8_lossy(&reply.body).into_owned())
    }

    /// `kubectl` with these arguments; its output, or its complaint as an error.
    pub fn kubectl(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = kubectl(&self.kubeconfig, &self.context)
            .args(args)
            .stdin(Stdio::null())
            .output()
            .context("cannot run kubectl")?;
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            bail!(
                "kubectl {} in {}: {}",
                args.join(" "),
                self.context,
                complaint.trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Where the kubeconfig is, for programs that find their way by it.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}

fn kubectl(kubeconfig: &Path, context: &str) -> Command {
    let mut command = Command::new("kubectl");
    command
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--context={context}"));
    command
}

fn kind_of(object: &Value) -> anyhow::Result<Kind> {
    let name = object.get("kind").and_then(Value::as_str);
    name.and_then(kind::named)
        .with_context(|| format!("no kind that is known: {name:?}"))
}
