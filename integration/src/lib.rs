//! What tests, demo and benches stand on: a lab of network namespaces that look like Kubernetes nodes.

pub mod bench;
pub mod chaos;
pub mod demo;
pub mod kubernetes;
pub mod lab;
pub mod packet;
pub mod reference;
pub mod sim;
pub mod suite;
