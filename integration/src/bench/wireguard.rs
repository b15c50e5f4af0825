//! Shell: WireGuard in user space between two nodes of a lab, with an address of its own in one pod of each. It is told its keys
//! and peers by its socket (the cross-platform userspace protocol of wireguard.com/xplatform).

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use aws_lc_rs::agreement::{PrivateKey, X25519};
use aws_lc_rs::encoding::{AsBigEndian as _, Curve25519SeedBin};

use crate::lab::topology::{Node, Pod};
use crate::lab::{Lab, wait};

/// How long it may take to start.
const START: Duration = Duration::from_secs(5);
/// Of the outer packets: 1,500 bytes less IPv4, UDP and its own.
const MTU: u16 = 1_420;

/// The programs of it that are measured, and the devices of their two ends.
const PROGRAMS: [(&str, [&str; 2]); 2] = [
    ("gotatun", ["gt-client", "gt-server"]),
    ("boringtun-cli", ["bt-client", "bt-server"]),
];
pub(super) const COUNT: usize = PROGRAMS.len();

/// Both ends.
pub(super) struct Wireguard {
    /// The program.
    pub name: &'static str,
    /// As the client dials the server's pod by it.
    pub server: Ipv4Addr,
    ends: [End; 2],
}

struct End {
    device: &'static str,
    port: u16,
    node: Node,
    pod: Pod,
    /// The pod's address on it.
    address: Ipv4Addr,
    /// In hexadecimal.
    private: String,
    public: String,
}

impl End {
    fn new(
        device: &'static str,
        port: u16,
        (node, pod): (Node, Pod),
        address: Ipv4Addr,
    ) -> Result<Self> {
        let broken = |_| anyhow!("no key");
        let key = PrivateKey::generate(&X25519).map_err(broken)?;
        let seed: Curve25519SeedBin<'_> = key.as_be_bytes().map_err(broken)?;
        let public = key.compute_public_key().map_err(broken)?;
        Ok(Self {
            device,
            port,
            node,
            pod,
            address,
            private: hex(seed.as_ref()),
            public: hex(public.as_ref()),
        })
    }

    fn socket(&self) -> PathBuf {
        PathBuf::from(format!("/var/run/wireguard/{}.sock", self.device))
    }

    fn start(&self, lab: &mut Lab, program: &Path) -> Result<()> {
        let netns = lab.netns(self.node.name);
        let args = ["--foreground", "--disable-drop-privileges", self.device];
        lab.spawn(&netns, self.device, program, &args, &[])?;
        wait::until(START, "WireGuard's socket", || {
            Ok(UnixStream::connect(self.socket()).is_ok())
        })
    }

    /// Tells it of the other end, and leads its packets there.
    fn join(&self, lab: &Lab, other: &Self) -> Result<()> {
        let mut text = String::from("set=1\n");
        writeln!(text, "private_key={}", self.private)?;
        writeln!(text, "listen_port={}\nreplace_peers=true", self.port)?;
        writeln!(text, "public_key={}", other.public)?;
        writeln!(text, "endpoint={}:{}", other.node.uplink, other.port)?;
        writeln!(text, "allowed_ip={}/32\n", other.address)?;
        let mut stream = UnixStream::connect(self.socket())?;
        stream.write_all(text.as_bytes())?;
        let mut answer = String::new();
        stream.set_read_timeout(Some(START))?;
        while !answer.contains("errno=") {
            let mut buffer = [0; 256];
            let read = stream.read(&mut buffer).context("WireGuard's answer")?;
            ensure!(read > 0, "WireGuard says nothing");
            answer += &String::from_utf8_lossy(buffer.get(..read).unwrap_or_default());
        }
        ensure!(answer.contains("errno=0"), "WireGuard refuses: {answer}");
        let (device, own, theirs) = (self.device, self.address, other.address);
        let pod = self.pod.address;
        lab.netns(self.node.name).ip(&format!(
            "link set {device} mtu {MTU} up\nroute add {theirs}/32 dev {device}\nroute add {own}/32 via {pod}\n"
        ))?;
        lab.pod(&self.pod).ip(&format!(
            "addr add {own}/32 dev eth0\nroute add {theirs}/32 via {} src {own}\n",
            self.node.bridge()
        ))
    }
}

impl Wireguard {
    /// Each of the programs between these two.
    pub fn start_all(
        lab: &mut Lab,
        client: (Node, Pod),
        server: (Node, Pod),
    ) -> Result<[Self; COUNT]> {
        let start = |n: usize| {
            let (name, devices) = PROGRAMS.get(n).context("no such program")?;
            Self::start(lab, (n as u8, name), *devices, client, server)
        };
        let all: Vec<Self> = (0..COUNT).map(start).collect::<Result<_>>()?;
        all.try_into().map_err(|_| anyhow!("not all of them"))
    }

    fn start(
        lab: &mut Lab,
        (number, name): (u8, &'static str),
        [at_client, at_server]: [&'static str; 2],
        client: (Node, Pod),
        server: (Node, Pod),
    ) -> Result<Self> {
        let address = |last| Ipv4Addr::new(10, 98, number, last);
        let port = 51_820 + u16::from(number);
        let ends = [
            End::new(at_client, port, client, address(1))?,
            End::new(at_server, port, server, address(2))?,
        ];
        let program = program(name)?;
        ends.iter().try_for_each(|end| end.start(lab, &program))?;
        let [client, server] = &ends;
        client.join(lab, server)?;
        server.join(lab, client)?;
        Ok(Self {
            name,
            server: address(2),
            ends,
        })
    }

    /// As the lab knows them.
    pub fn processes(&self) -> [&'static str; 2] {
        self.ends.each_ref().map(|end| end.device)
    }
}

impl Drop for Wireguard {
    fn drop(&mut self) {
        for end in &self.ends {
            // It goes with its process, but not after a kill.
            let _ = std::fs::remove_file(end.socket());
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where it lies.
fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name));
    found
        .into_iter()
        .find(|program| program.is_file())
        .with_context(|| {
            format!("there is no {name} in PATH: `cargo xtask bench tunnel` builds it")
        })
}
