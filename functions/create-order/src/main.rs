//! Wires the function to its clients.
fn main() {}
