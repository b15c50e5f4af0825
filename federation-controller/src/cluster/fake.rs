//! Shell: an API server in memory, for tests: objects with resource versions, conflicts, watches, and faults at chosen
//! requests. It validates nothing and knows no kinds: what it knows is shown against the real one by the end-to-end
//! tests.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;

type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// One request, as faults and counts see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Which of all, from 1.
    pub number: usize,
    /// `GET`, `POST`, ...
    pub method: Method,
    /// Without the query.
    pub path: String,
}

impl Asked {
    /// Whether it changes something.
    pub fn writes(&self) -> bool {
        self.method != Method::GET && !self.path.ends_with("/tokenreviews")
    }
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not done, and this is the answer.
    Refused(u16),
    /// It is done, and the answer is lost.
    Unanswered,
    /// It is not done and not answered.
    Lost,
}

type Faults = Box<dyn FnMut(&Asked) -> Option<Fault> + Send>;
type Tokens = Box<dyn Fn(&str) -> Value + Send>;

#[derive(Default)]
struct State {
    version: u64,
    /// By collection and name.
    objects: BTreeMap<(String, String), Value>,
    /// Collection, version, what a watch says of it.
    events: Vec<(String, u64, Value)>,
    /// Up to which version they are forgotten.
    compacted: u64,
    /// How often all watches were ended.
    cuts: u64,
    asked: Vec<Asked>,
    faults: Option<Faults>,
    tokens: Option<Tokens>,
}

/// The API server; clones are the same one.
#[derive(Clone)]
pub struct Fake {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

impl Fake {
    pub fn new() -> Self {
        Self {
            state: Arc::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move { fake.answer(request).await }
        });
        Client::new(service, "causeway-system")
    }

    /// What goes wrong from now on.
    pub fn faults(&self, faults: impl FnMut(&Asked) -> Option<Fault> + Send + 'static) {
        self.state.lock().unwrap().faults = Some(Box::new(faults));
    }

    /// Nothing goes wrong any more.
    pub fn well(&self) {
        self.state.lock().unwrap().faults = None;
    }

    /// The status of a TokenReview, by the token.
    pub fn tokens(&self, tokens: impl Fn(&str) -> Value + Send + 'static) {
        self.state.lock().unwrap().tokens = Some(Box::new(tokens));
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// How many of them changed something or tried to.
    pub fn writes(&self) -> usize {
        self.asked().iter().filter(|asked| asked.writes()).count()
    }

    /// The object at that path.
    pub fn get(&self, path: &str) -> Option<Value> {
        let key = place(path);
        self.state.lock().unwrap().objects.get(&key).cloned()
    }

    /// Puts an object there, as somebody else would.
    pub fn put(&self, path: &str, mut object: Value) {
        let (collection, name) = place(path);
        object["metadata"]["name"] = json!(name);
        let kind = self.get(path).map_or("ADDED", |_| "MODIFIED");
        self.state
            .lock()
            .unwrap()
            .store(&collection, &name, object, kind);
        self.tell();
    }

    /// Removes it, as somebody else would.
    pub fn remove(&self, path: &str) -> bool {
        let (collection, name) = place(path);
        let removed = self.state.lock().unwrap().remove(&collection, &name);
        self.tell();
        removed.is_some()
    }

    /// Forgets everything, as an API server that has lost its etcd.
    pub fn forget(&self) {
        let keys: Vec<_> = self.state.lock().unwrap().objects.keys().cloned().collect();
        for (collection, name) in keys {
            self.remove(&format!("{collection}/{name}"));
        }
    }

    /// Ends all watches, as a load balancer or a restart does.
    pub fn cut(&self) {
        self.state.lock().unwrap().cuts += 1;
        self.tell();
    }

    /// Forgets what happened so far, as etcd does after minutes: a watch from before has to list anew (410).
    pub fn compact(&self) {
        let mut state = self.state.lock().unwrap();
        state.compacted = state.version;
        state.events.clear();
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    async fn answer(&self, request: Request<Body>) -> Result<Reply, std::io::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let path = head.uri.path().to_owned();
        let query = head.uri.query().unwrap_or_default().to_owned();
        let fault = {
            let mut state = self.state.lock().unwrap();
            let asked = Asked {
                number: state.asked.len() + 1,
                method: head.method.clone(),
                path: path.clone(),
            };
            state.asked.push(asked.clone());
            state.faults.as_mut().and_then(|faults| faults(&asked))
        };
        let broken = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        match fault {
            Some(Fault::Refused(code)) => {
                return Ok(refused(code, "Fault", "so the test wants it"));
            }
            Some(Fault::Lost) => return Err(broken()),
            _ => (),
        }
        if head.method == Method::GET && query.contains("watch=true") {
            return Ok(self.watch(&path, &query));
        }
        let reply = self
            .state
            .lock()
            .unwrap()
            .answer(&head.method, &path, &query, &body);
        self.tell();
        match fault {
            Some(Fault::Unanswered) => Err(broken()),
            _ => Ok(reply),
        }
    }

    fn watch(&self, path: &str, query: &str) -> Reply {
        let since = parameter(query, "resourceVersion").and_then(|version| version.parse().ok());
        let since = since.unwrap_or(0);
        let collection = path.to_owned();
        let cuts = {
            let state = self.state.lock().unwrap();
            if since < state.compacted {
                let status = status(410, "Expired", "too old resource version");
                return reply(200, &json!({"type": "ERROR", "object": status}));
            }
            state.cuts
        };
        let start = (self.clone(), self.changed.subscribe(), since);
        let stream = futures::stream::unfold(start, move |(fake, mut changed, mut since)| {
            let collection = collection.clone();
            async move {
                loop {
                    changed.borrow_and_update();
                    let news = {
                        let state = fake.state.lock().unwrap();
                        if state.cuts != cuts {
                            return None;
                        }
                        let fresh = |(of, version, _): &&(String, u64, Value)| {
                            *of == collection && *version > since
                        };
                        state.events.iter().find(fresh).cloned()
                    };
                    if let Some((_, version, event)) = news {
                        since = version;
                        let line = Bytes::from(format!("{event}\n"));
                        let frame = Ok::<_, Infallible>(http_body::Frame::data(line));
                        return Some((frame, (fake, changed, since)));
                    }
                    changed.changed().await.ok()?;
                }
            }
        });
        Response::new(StreamBody::new(stream).boxed_unsync())
    }
}

impl State {
    fn answer(&mut self, method: &Method, path: &str, query: &str, body: &[u8]) -> Reply {
        let sent: Value = serde_json::from_slice(body).unwrap_or_default();
        if path.ends_with("/tokenreviews") {
            let token = sent["spec"]["token"].as_str().unwrap_or_default();
            let status = self
                .tokens
                .as_ref()
                .map_or_else(|| json!({}), |tokens| tokens(token));
            return reply(201, &json!({"spec": {}, "metadata": {}, "status": status}));
        }
        let path = path.trim_end_matches("/status");
        match *method {
            Method::GET => {
                if let Some(object) = self.objects.get(&place(path)) {
                    return reply(200, object);
                }
                if collection_name(path).is_none() {
                    return refused(404, "NotFound", "not found");
                }
                reply(200, &self.list(path, query))
            }
            Method::POST => {
                let name = sent["metadata"]["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                if self.objects.contains_key(&(path.to_owned(), name.clone())) {
                    return refused(409, "AlreadyExists", "already exists");
                }
                reply(201, &self.store(path, &name, sent, "ADDED"))
            }
            Method::PUT => {
                let (collection, name) = place(path);
                let Some(held) = self.objects.get(&place(path)) else {
                    return refused(404, "NotFound", "not found");
                };
                let over = &sent["metadata"]["resourceVersion"];
                if over.is_string() && *over != held["metadata"]["resourceVersion"] {
                    return refused(409, "Conflict", "the object has been modified");
                }
                reply(200, &self.store(&collection, &name, sent, "MODIFIED"))
            }
            Method::PATCH => self.patch(path, sent),
            Method::DELETE => {
                let (collection, name) = place(path);
                let over = &sent["preconditions"]["resourceVersion"];
                let held = self.objects.get(&place(path));
                let version = held.map(|held| &held["metadata"]["resourceVersion"]);
                if over.is_string() && version.is_some_and(|version| version != over) {
                    return refused(409, "Conflict", "the object has been modified");
                }
                match self.remove(&collection, &name) {
                    Some(object) => reply(200, &object),
                    None => refused(404, "NotFound", "not found"),
                }
            }
            _ => refused(405, "MethodNotAllowed", "not here"),
        }
    }

    /// A merge, whatever kind of patch it is; what is not there is made.
    fn patch(&mut self, path: &str, sent: Value) -> Reply {
        let (collection, name) = place(path);
        let held = self.objects.get(&place(path)).cloned();
        let over = &sent["metadata"]["resourceVersion"];
        let version = held
            .as_ref()
            .map(|held| &held["metadata"]["resourceVersion"]);
        if over.is_string() && Some(over) != version {
            return refused(409, "Conflict", "the object has been modified");
        }
        let kind = held.as_ref().map_or("ADDED", |_| "MODIFIED");
        let mut next = held.clone().unwrap_or_else(|| json!({}));
        merge(&mut next, sent);
        if held.as_ref() == Some(&next) {
            return reply(200, &next);
        }
        reply(200, &self.store(&collection, &name, next, kind))
    }

    fn store(&mut self, collection: &str, name: &str, mut object: Value, kind: &str) -> Value {
        self.version += 1;
        let key = (collection.to_owned(), name.to_owned());
        let uid = self
            .objects
            .get(&key)
            .map(|held| held["metadata"]["uid"].clone());
        let given = object["metadata"]["uid"].clone();
        let fresh = json!(format!("uid-{}", self.version));
        let uid = uid
            .or_else(|| given.is_string().then_some(given))
            .unwrap_or(fresh);
        object["metadata"]["uid"] = uid;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let event = json!({"type": kind, "object": object});
        self.events
            .push((collection.to_owned(), self.version, event));
        self.objects.insert(key, object.clone());
        object
    }

    fn remove(&mut self, collection: &str, name: &str) -> Option<Value> {
        let mut object = self
            .objects
            .remove(&(collection.to_owned(), name.to_owned()))?;
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let event = json!({"type": "DELETED", "object": object});
        self.events
            .push((collection.to_owned(), self.version, event));
        Some(object)
    }

    fn list(&self, collection: &str, query: &str) -> Value {
        let wanted: Vec<(String, String)> = parameter(query, "labelSelector")
            .unwrap_or_default()
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.trim_start_matches('=').to_owned()))
            .collect();
        let fits = |object: &&Value| {
            let labels = &object["metadata"]["labels"];
            wanted
                .iter()
                .all(|(key, value)| labels[key] == json!(value))
        };
        let all = self.objects.iter().filter(|((of, _), _)| of == collection);
        let items: Vec<_> = all.map(|(_, object)| object).filter(fits).collect();
        json!({"metadata": {"resourceVersion": self.version.to_string()}, "items": items})
    }
}

fn merge(into: &mut Value, patch: Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    into.remove(&key);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (into, patch) => *into = patch,
    }
}

/// Collection and name of an object's path.
fn place(path: &str) -> (String, String) {
    let (collection, name) = path.rsplit_once('/').unwrap_or_default();
    (collection.to_owned(), name.to_owned())
}

/// The plural, where the path is that of a collection.
fn collection_name(path: &str) -> Option<&str> {
    let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
    let after = match parts.as_slice() {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        _ => return None,
    };
    match after {
        [plural] | ["namespaces", _, plural] => Some(plural),
        _ => None,
    }
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.into_iter().find(|(key, _)| *key == name);
    found.map(|(_, value)| {
        value
            .replace("%3D", "=")
            .replace("%2C", ",")
            .replace("%2F", "/")
    })
}

fn reply(code: u16, object: &Value) -> Reply {
    let body = Full::new(Bytes::from(object.to_string())).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

fn refused(code: u16, reason: &str, message: &str) -> Reply {
    reply(code, &status(code, reason, message))
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}
