//! Pure: packets between clusters, in datagrams of the sessions. A frame of the device to the programs becomes datagrams
//! that fit the path, and a batch of datagrams becomes as few frames as can be; only the ends keep state of flows.

pub mod awake;
pub mod choice;
pub mod counts;
pub mod cut;
pub mod datagram;
pub mod frame;
pub mod merge;
mod packet;

#[cfg(test)]
mod tests;
