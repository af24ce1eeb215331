//! The one TLS provider, ring, for every client that the hub has.

/// Makes ring the process's TLS provider; repeating it is harmless.
pub fn use_ring() {
    let _already_set = rustls::crypto::ring::default_provider().install_default();
}
