//! Shell: the threads that packets go by. They are their own, so that no packet waits for work on catalogs; and they are few:
//! in tokio's scheduler a thread that finds work wakes another one to look for more, which costs more than it brings while
//! there is none.

mod idle;

use std::io;
use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Handle, Runtime};

pub(super) use idle::Idle;

/// They end when this is dropped.
#[derive(Debug)]
pub(super) struct Threads {
    runtime: Option<Runtime>,
    idle: Arc<Idle>,
}

/// One for each two cores: the programs in the kernel, and who sends and receives, need the others.
#[must_use]
pub(super) fn usual() -> usize {
    let cores = available_parallelism().map_or(1, usize::from);
    (cores / 2).max(1)
}

impl Threads {
    /// So many.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn start(count: usize) -> io::Result<Self> {
        let idle = Arc::new(Idle::new());
        let before = Arc::clone(&idle);
        let runtime = Builder::new_multi_thread()
            .worker_threads(count)
            .thread_name("packets")
            .on_thread_park(move || before.before_sleep())
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
            idle,
        })
    }

    /// What they do without work.
    #[must_use]
    pub fn idle(&self) -> Arc<Idle> {
        Arc::clone(&self.idle)
    }

    /// To have tasks run on them.
    #[must_use]
    pub fn handle(&self) -> Handle {
        // It is there until this is dropped.
        let threads = self
            .runtime
            .as_ref()
            .map(|threads| threads.handle().clone());
        threads.unwrap_or_else(Handle::current)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Nobody may wait for them on a thread of another runtime.
        if let Some(threads) = self.runtime.take() {
            threads.shutdown_background();
        }
    }
}
