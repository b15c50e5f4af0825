//! Pure: the command line.

use std::path::PathBuf;
use std::time::Duration;

use causeway_certs::dial::GatewayAt;
use causeway_proto::model::{Address, ClusterId, EnrolRole, ServiceName};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Where a gateway listens unless its configuration says otherwise.
pub const SOCKET: &str = "/run/causeway/gateway.sock";
/// Where the chart puts Causeway unless told otherwise.
const NAMESPACE: &str = "causeway-system";

const AFTER: &str = "\
Which gateway, the first of these that is given:
  --context, --kubeconfig or --namespace  the leader of that Kubernetes cluster, through its API: whatever
                                          kubectl needs will do, and no port need be open
  --server with --identity                a gateway's local service, with an operator's certificate
  --socket, else $CAUSEWAY_SOCKET         a gateway on this machine
  nothing                                 the socket /run/causeway/gateway.sock where it is there, else the
                                          current context of the kubeconfig

Exit codes:
  0  done
  1  refused by the gateway or the Kubernetes API, or failed
  2  the command line is wrong
  3  no gateway could be reached
  4  what was asked for is not there
  5  done, but what --wait waits for has not come

Commands that change something need a kubeconfig, the gateway's Unix socket or an operator's certificate.";

/// Pair clusters, and see what their gateways see.
#[derive(Debug, Parser)]
#[command(name = "causeway", version, after_help = AFTER, arg_required_else_help = true)]
pub struct Cli {
    /// How to reach the gateway and how to print
    #[command(flatten)]
    pub global: Global,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Context of the kubeconfig: the leader of that Kubernetes cluster
    #[arg(long, global = true, value_name = "NAME", help_heading = WAY, conflicts_with_all = DIRECT)]
    pub context: Option<String>,
    /// The kubeconfig, instead of $KUBECONFIG or ~/.kube/config
    #[arg(long, global = true, value_name = "FILE", help_heading = WAY, conflicts_with_all = DIRECT)]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace that Causeway is installed in [default: causeway-system]
    #[arg(short, long, global = true, value_name = "NAME", help_heading = WAY, conflicts_with_all = DIRECT)]
    pub namespace: Option<String>,
    /// Unix socket of a gateway on this machine [env: CAUSEWAY_SOCKET]
    #[arg(long, global = true, value_name = "PATH", help_heading = WAY, conflicts_with = "server")]
    pub socket: Option<PathBuf>,
    /// Local service of a gateway on another node; needs --identity
    #[arg(long, global = true, value_name = "HOST:PORT", help_heading = WAY, value_parser = server)]
    pub server: Option<GatewayAt>,
    /// Directory with the operator's certificate, made by `causeway login` [env: CAUSEWAY_IDENTITY]
    #[arg(long, global = true, value_name = "DIR", help_heading = WAY)]
    pub identity: Option<PathBuf>,
    /// How to print
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub output: Format,
    /// Longest wait for the gateway, like 10s or 2m
    #[arg(long, global = true, value_name = "TIME", default_value = "15s", value_parser = duration)]
    pub timeout: Duration,
    /// Tell on standard error each step to the gateway, and how long it took
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

impl Global {
    /// Where Causeway is installed.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(NAMESPACE)
    }

    /// Whether the command line names a Kubernetes cluster.
    pub fn on_kubernetes(&self) -> bool {
        self.context.is_some() || self.kubeconfig.is_some() || self.namespace.is_some()
    }
}

const WAY: &str = "Which gateway";
const DIRECT: [&str; 3] = ["socket", "server", "identity"];

/// Forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a person
    Table,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tokens with which another cluster joins this one
    Token {
        /// What to do with them
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Join the cluster that made TOKEN
    Join(JoinArgs),
    /// Make a one-time file with which one of this cluster's processes gets its first certificate
    Enroll(EnrollArgs),
    /// Use a one-time file of `causeway enroll operator/NAME` to get a certificate of your own
    Login(LoginArgs),
    /// Take leave of all peers
    Leave,
    /// Cut a peer off for good; works with the other side down
    Revoke {
        /// Its cluster id
        peer: ClusterId,
    },
    /// The CA of this cluster
    Ca {
        /// What to do with it
        #[command(subcommand)]
        command: CaCommand,
    },
    /// Peers, nodes, conflicts, problems and drops on one screen
    Status,
    /// Peers, with sessions, mappings and encryption
    Peers,
    /// `peers` and `revoke`, under one word
    Peer {
        /// What to do with them
        #[command(subcommand)]
        command: PeerCommand,
    },
    /// Services that this cluster imports and exports
    Services {
        /// Only this one, NAMESPACE/NAME
        service: Option<ServiceName>,
    },
    /// What the gateway's DNS answers
    Resolve(ResolveArgs),
    /// What an address means in this cluster
    Whois {
        /// As seen in this cluster
        address: Address,
    },
    /// Dropped packets by node and reason
    Drops,
    /// Try the ways to peers at both ends, and say what to do
    Doctor {
        /// Only to this one
        peer: Option<ClusterId>,
    },
}

/// Commands about tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token that can be used once
    Create {
        /// How long it is good, like 15m or 1h
        #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
        ttl: Duration,
        /// The only cluster that may use it
        #[arg(long, value_name = "NAME")]
        for_cluster: Option<ClusterId>,
        /// Print it as Kubernetes objects, to be applied in the cluster that joins
        #[arg(long)]
        manifests: bool,
    },
}

/// Commands about the CA.
#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// Let another CA take over, signed by the present one; no peer has to be paired again
    Rotate,
}

/// Commands about peers.
#[derive(Debug, Subcommand)]
pub enum PeerCommand {
    /// As `causeway peers`
    List,
    /// As `causeway revoke`
    Revoke {
        /// Its cluster id
        peer: ClusterId,
    },
}

/// `join`.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// From `causeway token create` in the other cluster; `-` reads it from standard input
    pub token: String,
    /// Only show what would clash; the token stays whole
    #[arg(long)]
    pub dry_run: bool,
    /// Wait until the other cluster is heard, at most so long
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "60s",
        value_parser = duration,
        conflicts_with = "dry_run"
    )]
    pub wait: Option<Duration>,
    /// Ask no gateway: print the Kubernetes objects whose applying joins
    #[arg(long, conflicts_with_all = ["dry_run", "wait"])]
    pub manifests: bool,
}

/// `enroll`.
#[derive(Debug, Args)]
pub struct EnrollArgs {
    /// ROLE/NAME, or ROLE with NAME after it; roles are agent, gateway, controller, operator
    #[arg(value_name = "ROLE/NAME", value_parser = who)]
    pub who: Who,
    /// The name, where it is not in the first argument
    pub name: Option<String>,
    /// How long the file is good, like 15m or 1h
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
    pub ttl: Duration,
    /// Write it there, readable by you alone, instead of printing it
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `login`.
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// The one-time file
    pub file: PathBuf,
}

/// `resolve`.
#[derive(Debug, Args)]
pub struct ResolveArgs {
    /// A DNS name, or NAMESPACE/NAME
    pub name: String,
    /// A, AAAA, SRV or TXT
    #[arg(long, value_name = "KIND", default_value = "A", ignore_case = true, value_parser = ["A", "AAAA", "SRV", "TXT"])]
    pub kind: String,
}

/// A role, perhaps with the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The role.
    pub role: EnrolRole,
    /// Its word.
    pub word: &'static str,
    /// The name after the slash.
    pub name: Option<String>,
}

fn who(text: &str) -> Result<Who, String> {
    let (role, name) = match text.split_once('/') {
        Some((role, name)) => (role, Some(name.to_owned())),
        None => (text, None),
    };
    let (role, word) = match role {
        "agent" => (EnrolRole::Agent, "agent"),
        "gateway" => (EnrolRole::Gateway, "gateway"),
        "controller" => (EnrolRole::Controller, "controller"),
        "operator" => (EnrolRole::Operator, "operator"),
        _ => return Err("the role must be agent, gateway, controller or operator".to_owned()),
    };
    Ok(Who { role, word, name })
}

fn server(text: &str) -> Result<GatewayAt, &'static str> {
    let at = GatewayAt::try_from(text.to_owned()).ok();
    at.filter(|at| matches!(at, GatewayAt::Tcp(_)))
        .ok_or("not HOST:PORT")
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let scale = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("a number with s, m, h or d after it, like 15m".to_owned()),
    };
    let secs = digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(scale));
    match secs {
        Some(secs) if secs > 0 => Ok(Duration::from_secs(secs)),
        _ => Err("a number above 0 with s, m, h or d after it, like 15m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn durations() {
        assert_eq!(duration("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert!(
            ["", "15", "m", "0s", "1.5h", "-1s", "99999999999999999999d"]
                .iter()
                .all(|text| duration(text).is_err())
        );
    }

    #[test]
    fn roles() {
        let parsed = who("agent/w1").unwrap();
        assert_eq!(
            (parsed.role, parsed.name.as_deref()),
            (EnrolRole::Agent, Some("w1"))
        );
        assert_eq!(who("operator").unwrap().name, None);
        assert!(who("catalog/x").is_err());
    }
}
