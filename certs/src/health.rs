//! Shell: whether a process of ours is well, asked by the same program over a Unix socket of its own: the image has no
//! shell, and kubelet's own gRPC probes know no mutual TLS.
//!
//! The one who asks sends `live` or `ready` and a newline; the answer is `ok` or what is wrong, and a newline.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::serve::{self, SocketFile, pause};

/// Questions at one time.
const AT_ONCE: usize = 8;
/// A question with its newline.
const QUESTION_BYTES: u64 = 6;
/// An answer: a sentence.
const ANSWER_BYTES: u64 = 4096;
/// How long either side waits for the other: kubelet's default for a probe is one second.
const PATIENCE: Duration = Duration::from_millis(800);

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Should it go on living?
    Live,
    /// Should it be given work?
    Ready,
}

impl Probe {
    fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Ready => "ready",
        }
    }
}

/// Not well, or nobody says so.
#[derive(Debug, thiserror::Error)]
pub enum Unwell {
    /// By its own word.
    #[error("{0}")]
    Says(String),
    /// No process.
    #[error("{path}: {source}; is the process running?")]
    Nobody {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It hangs.
    #[error("{path}: no answer within {} ms", PATIENCE.as_millis())]
    Late {
        /// The socket.
        path: PathBuf,
    },
}

/// Answers as long as it lives.
#[derive(Debug)]
pub struct Answering {
    task: AbortHandle,
    _file: SocketFile,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The health socket beside a process's other one.
#[must_use]
pub fn beside(socket: &Path) -> PathBuf {
    socket.with_extension("health")
}

/// Answers questions there by `well`, which says `Err` with a sentence when not.
///
/// # Errors
/// When the socket cannot be had.
pub async fn answer<F, A>(path: &Path, well: F) -> io::Result<Answering>
where
    F: Fn(Probe) -> A + Send + Sync + 'static,
    A: Future<Output = Result<(), String>> + Send,
{
    let (listener, file) = serve::unix(path).await?;
    let well = Arc::new(well);
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let task = tokio::spawn(async move {
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let well = Arc::clone(&well);
                    tokio::spawn(async move {
                        let _ = tokio::time::timeout(PATIENCE * 2, one(stream, &*well)).await;
                        drop(place);
                    });
                }
                Err(error) => pause(&error).await,
            }
        }
    });
    Ok(Answering {
        task: task.abort_handle(),
        _file: file,
    })
}

async fn one<F, A>(mut stream: UnixStream, well: &F) -> io::Result<()>
where
    F: Fn(Probe) -> A,
    A: Future<Output = Result<(), String>>,
{
    let mut question = String::new();
    let (reader, mut writer) = stream.split();
    reader
        .take(QUESTION_BYTES)
        .read_to_string(&mut question)
        .await?;
    let probe = match question.trim_end() {
        "live" => Probe::Live,
        "ready" => Probe::Ready,
        _ => return Ok(()),
    };
    let answer = match well(probe).await {
        Ok(()) => "ok\n".to_owned(),
        Err(why) => format!("{}\n", why.replace('\n', " ")),
    };
    writer.write_all(answer.as_bytes()).await
}

/// Asks the process at that socket.
///
/// # Errors
/// When it is not well, or nobody answers.
pub async fn ask(path: &Path, probe: Probe) -> Result<(), Unwell> {
    let asked = async {
        let mut stream = UnixStream::connect(path).await?;
        let question = format!("{}\n", probe.word());
        stream.write_all(question.as_bytes()).await?;
        stream.shutdown().await?;
        let mut answer = String::new();
        stream
            .take(ANSWER_BYTES)
            .read_to_string(&mut answer)
            .await?;
        Ok::<_, io::Error>(answer)
    };
    let path = path.to_owned();
    let late = |_| Unwell::Late { path: path.clone() };
    let answer = tokio::time::timeout(PATIENCE, asked).await.map_err(late)?;
    match answer {
        Ok(answer) if answer == "ok\n" => Ok(()),
        Ok(answer) if answer.is_empty() => Err(Unwell::Late { path }),
        Ok(answer) => Err(Unwell::Says(answer.trim_end().to_owned())),
        Err(source) => Err(Unwell::Nobody { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn says_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let path = beside(&dir.path().join("gateway.sock"));
        assert!(path.ends_with("gateway.health"));
        let e = ask(&path, Probe::Live).await.unwrap_err().to_string();
        assert!(e.contains("is the process running?"), "{e}");

        let well = |probe| async move {
            match probe {
                Probe::Live => Ok(()),
                Probe::Ready => Err("no leader was\nappointed yet".to_owned()),
            }
        };
        let answering = answer(&path, well).await.unwrap();
        for _ in 0..2 * AT_ONCE {
            ask(&path, Probe::Live).await.unwrap();
        }
        let e = ask(&path, Probe::Ready).await.unwrap_err().to_string();
        assert_eq!(e, "no leader was appointed yet");
        drop(answering);
        assert!(!path.exists());

        let hangs = |_| std::future::pending::<Result<(), String>>();
        let _answering = answer(&path, hangs).await.unwrap();
        let e = ask(&path, Probe::Live).await.unwrap_err().to_string();
        assert!(e.contains("no answer within 800 ms"), "{e}");
    }
}
