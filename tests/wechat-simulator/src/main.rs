//! Reads the configuration, takes the ports, serves.

use std::future::IntoFuture as _;

use clap::Parser as _;
use tokio::net::TcpListener;
use wechat_simulator::tls::{CannotListen, Shown, TlsListener};
use wechat_simulator::{CannotStart, Config, router};

/// Why the simulator does not start or does not go on.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("the port cannot be taken or served: {0}")]
    Port(#[from] std::io::Error),
    #[error(transparent)]
    Tls(#[from] CannotListen),
    #[error(transparent)]
    Start(#[from] CannotStart),
}

#[tokio::main]
async fn main() -> Result<(), Stopped> {
    let config = Config::parse();
    let tls = match (config.tls_port, &config.tls_dir) {
        (Some(port), Some(folder)) => Some(TlsListener::bind(port, folder).await?),
        _ => None,
    };
    let (port, public_url) = (config.port, config.public_url());
    let app = router(config)?;
    // Last, because whoever starts the simulator waits for this one, and then reads
    // the keys that it has made.
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    eprintln!(
        "wechat-simulator: listening on {} as {public_url}",
        listener.local_addr()?,
    );
    let plain = axum::serve(listener, app.clone());
    match tls {
        Some(tls) => {
            let app = app.into_make_service_with_connect_info::<Shown>();
            tokio::try_join!(plain.into_future(), axum::serve(tls, app).into_future())?;
        }
        None => plain.await?,
    }
    Ok(())
}
