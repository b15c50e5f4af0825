//! Shell: compiles the contracts without a `protoc` program, and writes their descriptor set for reflection.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

const FILES: [&str; 10] = [
    "model.proto",
    "catalog.proto",
    "view.proto",
    "leader.proto",
    "federation.proto",
    "local.proto",
    "enrolment.proto",
    "join.proto",
    "admin.proto",
    "status.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .include_file("pb.rs")
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
