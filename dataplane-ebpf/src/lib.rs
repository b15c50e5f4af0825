//! The agent: compiles Views to BPF maps, and programs and watches the kernel.
//!
//! View → `compile` → MapImage → `diff` → MapOps → `kernel`. Pure but for `ports`,
//! `kernel`, `link` and `app`.

pub mod app;
pub mod breaks;
pub mod clock;
pub mod compile;
pub mod config;
pub mod diff;
pub mod execute;
pub mod image;
pub mod kernel;
pub mod link;
pub mod maglev;
pub mod ports;
pub mod probe;
