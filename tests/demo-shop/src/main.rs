//! Starts the demo shop on the loopback interface, configured by the
//! environment or by the equivalent options.
//!
//! It refuses every other interface: the control side asks for no password.

use std::net::Ipv4Addr;
use std::sync::Arc;

use clap::Parser;
use demo_shop::{App, Config, Shop};
use tokio::net::TcpListener;

/// The demo shop, a third party of the WeChat Pay hub.
#[derive(Parser)]
struct Options {
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, env = "SHOP_PORT", default_value_t = 8200)]
    port: u16,
    /// Public base address of the shop [default: http://127.0.0.1:PORT].
    #[arg(long, env = "SHOP_URL")]
    url: Option<String>,
    /// Base address of the hub's API.
    #[arg(long, env = "HUB_URL")]
    hub_url: String,
    /// The app the shop sells as.
    #[arg(long, env = "HUB_APP_ID")]
    app_id: String,
    /// The app's secret; the environment keeps it out of the process list.
    #[arg(long, env = "HUB_APP_SECRET", hide_env_values = true)]
    app_secret: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let options = Options::parse();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
    let address = listener.local_addr()?;
    let public_url = options.url.unwrap_or_else(|| format!("http://{address}"));
    eprintln!("demo shop listens on http://{address}, public address {public_url}");
    let shop = Shop::new(Config {
        public_url,
        hub_url: options.hub_url,
        app: App {
            id: options.app_id,
            secret: options.app_secret,
        },
    });
    axum::serve(listener, demo_shop::router(Arc::new(shop))).await
}
