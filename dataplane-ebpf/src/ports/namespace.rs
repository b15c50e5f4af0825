//! Shell: the other ends of veths, read inside their namespaces.
//!
//! Netlink names a namespace by a number of ours; a descriptor of it is found by asking for the number of
//! every namespace that some process or `/run/netns` holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use causeway_proto::model::Address;
use futures::{StreamExt, TryStreamExt};
use rtnetlink::Handle;
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::nsid::{NsidAttribute, NsidMessage};

use super::link::{self, Link};

/// Hardware address and addresses of an interface.
type Inside = ([u8; 6], Vec<Address>);

/// What sits at the other end of each link, by the link's index. One that cannot be read is left out.
pub async fn read(handle: &Handle, links: &[&Link]) -> BTreeMap<u32, Inside> {
    let wanted: BTreeSet<i32> = links.iter().filter_map(|l| l.namespace).collect();
    if wanted.is_empty() {
        return BTreeMap::new();
    }
    let mut interfaces: BTreeMap<i32, BTreeMap<u32, Inside>> = BTreeMap::new();
    for (number, file) in find(handle, &wanted).await {
        match enter(file).await {
            Ok(inside) => {
                interfaces.insert(number, inside);
            }
            Err(error) => tracing::debug!(number, error, "namespace could not be read"),
        }
    }
    links
        .iter()
        .filter_map(|l| {
            let inside = interfaces.get(&l.namespace?)?.get(&l.peer?)?;
            Some((l.index, inside.clone()))
        })
        .collect()
}

/// Open namespaces of the wanted numbers.
async fn find(handle: &Handle, wanted: &BTreeSet<i32>) -> BTreeMap<i32, File> {
    let mut found = BTreeMap::new();
    for path in candidates() {
        if found.len() == wanted.len() {
            break;
        }
        let Ok(file) = File::open(path) else { continue };
        if let Some(number) = number(handle, &file).await
            && wanted.contains(&number)
        {
            found.insert(number, file);
        }
    }
    found
}

/// One path for each namespace that a process or a name holds.
fn candidates() -> Vec<PathBuf> {
    let list = |dir: &str| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let processes = list("/proc")
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
            name.bytes().all(|b| b.is_ascii_digit())
        })
        .map(|path| path.join("ns/net"));
    let named = list("/run/netns").map(|entry| entry.path());
    let mut seen = BTreeSet::new();
    named
        .chain(processes)
        .filter(|path| {
            std::fs::metadata(path).is_ok_and(|meta| seen.insert((meta.dev(), meta.ino())))
        })
        .collect()
}

/// The number of an open namespace here; `None` when it has none.
async fn number(handle: &Handle, file: &File) -> Option<i32> {
    let mut message = NsidMessage::default();
    let descriptor = u32::try_from(file.as_raw_fd()).ok()?;
    message.attributes.push(NsidAttribute::Fd(descriptor));
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(message));
    request.header.flags = NLM_F_REQUEST;
    let mut answers = handle.clone().request(request).ok()?;
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(answer)) = answer.payload {
            return answer.attributes.iter().find_map(|a| match a {
                NsidAttribute::Id(id) if *id >= 0 => Some(*id),
                _ => None,
            });
        }
    }
    None
}

/// All interfaces of a namespace by index, read on a thread of its own that enters it and ends.
async fn enter(file: File) -> Result<BTreeMap<u32, Inside>, String> {
    let (answer, wait) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = answer.send(inside(&file));
    });
    wait.await.map_err(|e| e.to_string())?
}

fn inside(namespace: &File) -> Result<BTreeMap<u32, Inside>, String> {
    nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET)
        .map_err(|e| format!("setns: {e}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(|e| e.to_string())?;
        tokio::spawn(connection);
        let links = link::all(&handle).await.map_err(|e| e.to_string())?;
        let addresses: Vec<AddressMessage> = handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(|e| e.to_string())?;
        let mut found: BTreeMap<u32, Inside> = links
            .into_iter()
            .map(|l| (l.index, (l.mac, Vec::new())))
            .collect();
        for message in addresses {
            let address = message.attributes.iter().find_map(|a| match a {
                AddressAttribute::Local(ip) => Some(Address::from(*ip)),
                _ => None,
            });
            if let (Some(address), Some((_, list))) =
                (address, found.get_mut(&message.header.index))
            {
                list.push(address);
            }
        }
        Ok(found)
    })
}
