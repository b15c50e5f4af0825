//! Shell: pods that ask again and again while something happens, and what they have lost by it.

use std::time::Duration;

use super::clients::Client;
use super::expect::{Look, within};
use super::said::Loss;
use super::scene::Scene;

/// Time between two requests of a stream.
const EVERY: &str = "20ms";
/// A new connection each time, one connection held, datagrams.
const MODES: [&str; 3] = ["connect", "hold", "udp"];
/// How long a stream may take to get going: longer than a resolver's patience and one request's together.
const START: Duration = Duration::from_secs(30);
/// Answers that say that it has.
const FEW: u64 = 10;

/// Streams that run until they are stopped.
pub struct Traffic<'a> {
    scene: &'a Scene<'a>,
    streams: Vec<Stream>,
}

struct Stream {
    client: Client,
    id: String,
    name: String,
}

impl Drop for Traffic<'_> {
    fn drop(&mut self) {
        for stream in &self.streams {
            // A case that failed elsewhere has said so; the client goes with its namespace.
            let _ = stream.client.stop(self.scene.stage, &stream.id);
        }
    }
}

impl<'a> Traffic<'a> {
    /// From each client to `host:port`, in all ways; all get answers when this returns.
    pub fn start(
        scene: &'a Scene<'a>,
        clients: &[Client],
        to: &str,
    ) -> anyhow::Result<Traffic<'a>> {
        let mut traffic = Traffic {
            scene,
            streams: Vec::new(),
        };
        for client in clients {
            for mode in MODES {
                traffic.add(client, mode, to)?;
            }
        }
        traffic.goes_on()?;
        scene.step(format_args!("{} streams run", traffic.streams.len()));
        Ok(traffic)
    }

    fn add(&mut self, client: &Client, mode: &str, to: &str) -> anyhow::Result<()> {
        let id = format!("{}-{mode}-{to}", self.scene.namespace);
        client.start(self.scene.stage, &id, mode, to, EVERY)?;
        self.streams.push(Stream {
            client: client.clone(),
            name: format!("{mode} from {} to {to}", client.pod),
            id,
        });
        Ok(())
    }

    /// Each stream gets more answers.
    pub fn goes_on(&self) -> anyhow::Result<()> {
        for stream in &self.streams {
            let before = self.state(stream)?.answered;
            let what = format!("{}: answers", stream.name);
            within(START, &what, || {
                let now = self.state(stream)?;
                Ok(if now.answered >= before.saturating_add(FEW) {
                    Look::Yes(())
                } else {
                    Look::No(now.to_string())
                })
            })?;
        }
        Ok(())
    }

    fn state(&self, stream: &Stream) -> anyhow::Result<Loss> {
        stream.client.state(self.scene.stage, &stream.id)
    }

    /// Ends all; what each has seen.
    fn stop(&mut self) -> anyhow::Result<Vec<(String, Loss)>> {
        let mut all = Vec::new();
        for stream in std::mem::take(&mut self.streams) {
            let loss = stream.client.stop(self.scene.stage, &stream.id)?;
            self.scene.step(format_args!("{}: {loss}", stream.name));
            all.push((stream.name, loss));
        }
        Ok(all)
    }

    /// Ends all; no request of any of them may have failed, and all must still have got answers.
    pub fn unharmed(mut self) -> anyhow::Result<()> {
        self.goes_on()?;
        let harmed: Vec<_> = self
            .stop()?
            .into_iter()
            .filter(|(_, loss)| loss.failed > 0)
            .map(|(name, loss)| format!("{name}: {loss}"))
            .collect();
        anyhow::ensure!(
            harmed.is_empty(),
            "no failed request\n  seen: {}",
            harmed.join("\n    ")
        );
        Ok(())
    }

    /// Ends all; no stream may have gone without answers for longer than that. The longest time that one did.
    pub fn resumed(mut self, longest: Duration) -> anyhow::Result<Duration> {
        self.goes_on()?;
        let limit = longest.as_secs_f64() * 1000.0;
        let losses = self.stop()?;
        let gaps = losses.iter().map(|(_, loss)| loss.longest_millis);
        let seen = gaps.fold(0.0, f64::max) / 1000.0;
        let harmed: Vec<_> = losses
            .into_iter()
            .filter(|(_, loss)| loss.longest_millis > limit)
            .map(|(name, loss)| format!("{name}: {loss}"))
            .collect();
        anyhow::ensure!(
            harmed.is_empty(),
            "no gap above {} s\n  seen: {}",
            longest.as_secs_f32(),
            harmed.join("\n    ")
        );
        Ok(Duration::from_secs_f64(seen))
    }
}
