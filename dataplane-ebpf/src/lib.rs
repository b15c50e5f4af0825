//! The agent: compiles Views to BPF maps, and programs and watches the kernel.
//!
//! View → `compile` → MapImage → `diff` → MapOps → `execute` → `kernel`. These and `maglev`, `image`, `config`,
//! `breaks` are pure but for `execute` and `kernel`; `ports`, `clean`, `bpffs`, `link`, `probe`, `clock` and `app` are shells.

pub mod app;
pub mod bpffs;
pub mod breaks;
pub mod carriers;
pub mod clean;
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
