//! Pure: generated messages and the conversions between them and the model.

/// The generated messages, clients and servers. They end at the border: convert at once.
pub mod pb {
    #[allow(
        clippy::all,
        clippy::allow_attributes_without_reason,
        rust_2018_idioms,
        reason = "generated"
    )]
    mod generated {
        include!(concat!(env!("OUT_DIR"), "/pb.rs"));
    }
    pub use generated::causeway::admin::v1 as admin;
    pub use generated::causeway::federation::v1 as federation;
    pub use generated::causeway::join::v1 as join;
    pub use generated::causeway::local::v1 as local;
    pub use generated::causeway::model::v1 as model;
    pub use generated::causeway::status::v1 as status;
}

/// All contracts as an encoded `FileDescriptorSet`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
