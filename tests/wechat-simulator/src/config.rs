//! What the simulator is told at its start: who the first merchant is, with which
//! keys, and under which address it is reached. More merchants are in `merchants`. What may change while it runs
//! is in `settings` and `pay::Rules`.

use std::path::PathBuf;

use clap::Parser;

use crate::merchants::Signs;

/// The simulated merchant and account. The defaults are the identity of
/// WeChat's own published examples.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "wechat-simulator",
    about = "WeChat Pay v2 and APIv3 and WeChat's accounts, simulated"
)]
pub struct Config {
    /// TCP port on 127.0.0.1.
    #[arg(long, env = "SIMULATOR_PORT", default_value_t = 8890)]
    pub port: u16,
    /// TCP port on 127.0.0.1 for TLS, where the merchant shows its certificate.
    /// Without it nobody needs one.
    #[arg(long, env = "SIMULATOR_TLS_PORT", requires = "tls_dir")]
    pub tls_port: Option<u16>,
    /// The folder of `ca.pem`, `server.pem` and `server.key`; clients'
    /// certificates are of the same CA.
    #[arg(long, env = "SIMULATOR_TLS_DIR")]
    pub tls_dir: Option<PathBuf>,
    /// The official account (or mobile application) that may call.
    #[arg(long, env = "WECHAT_APP_ID", default_value = "wxd930ea5d5a258f4f")]
    pub app_id: String,
    /// The account's secret, for OAuth and tokens.
    #[arg(
        long,
        env = "WECHAT_APP_SECRET",
        default_value = "0c806938e2413ce73eef92cc3c2a4d9b"
    )]
    pub app_secret: String,
    /// The merchant that may call; `partner` in the flow of 2014.
    #[arg(long, env = "WECHAT_MCH_ID", default_value = "10000100")]
    pub mch_id: String,
    /// The merchant's v2 API key; `partnerKey` in the flow of 2014.
    #[arg(
        long,
        env = "WECHAT_API_KEY",
        default_value = "192006250b4c09247ec02edce69f6a2d"
    )]
    pub api_key: String,
    /// `appkey` (paySignKey) of the flow of 2014; the API key when absent.
    #[arg(long, env = "WECHAT_PAY_SIGN_KEY")]
    pub pay_sign_key: Option<String>,
    /// The first merchant's APIv3 key, 32 bytes.
    #[arg(long, env = "WECHAT_API_V3_KEY")]
    pub api_v3_key: Option<String>,
    /// The PEM file of the first merchant's certificate. Without it that merchant
    /// cannot call APIv3.
    #[arg(long, env = "WECHAT_MCH_CERTIFICATE")]
    pub mch_certificate: Option<PathBuf>,
    /// With which keys WeChat signs for the first merchant.
    #[arg(
        long,
        env = "SIMULATOR_SIGNS",
        value_enum,
        default_value = "public_key"
    )]
    pub signs: Signs,
    /// The folder in which WeChat's own keys are kept between starts; beside
    /// each merchant's is `<mch_id>-public.pem`, the WeChat Pay public key.
    #[arg(long, env = "SIMULATOR_KEYS_DIR")]
    pub keys_dir: Option<PathBuf>,
    /// A JSON file of more merchants and accounts, `{"merchants": [..],
    /// "accounts": [..]}`, as `/_control/merchants` and `/_control/accounts` show
    /// them. The account above is of kind `any`, unless the file says otherwise.
    #[arg(long, env = "SIMULATOR_ACCOUNTS")]
    pub accounts: Option<PathBuf>,
    /// The simulator's own public address, without a trailing slash.
    #[arg(long, env = "SIMULATOR_URL")]
    pub url: Option<String>,
    /// The merchant's H5 payment domains, `host[:port]` with commas. Without any
    /// nobody pays in a phone's browser.
    #[arg(long, env = "SIMULATOR_H5_DOMAINS", value_delimiter = ',')]
    pub h5_domains: Vec<String>,
    /// How many milliseconds one second of the notification schedule lasts.
    #[arg(long, env = "NOTIFY_TIME_SCALE", default_value_t = 1000)]
    pub notify_time_scale: u64,
}

impl Default for Config {
    /// The defaults of the command line, with nothing read from the
    /// environment: for tests that mount the router themselves.
    fn default() -> Self {
        Self {
            port: 8890,
            tls_port: None,
            tls_dir: None,
            app_id: "wxd930ea5d5a258f4f".to_owned(),
            app_secret: "0c806938e2413ce73eef92cc3c2a4d9b".to_owned(),
            mch_id: "10000100".to_owned(),
            api_key: "192006250b4c09247ec02edce69f6a2d".to_owned(),
            pay_sign_key: None,
            api_v3_key: None,
            mch_certificate: None,
            signs: Signs::PublicKey,
            keys_dir: None,
            accounts: None,
            url: None,
            h5_domains: Vec::new(),
            notify_time_scale: 1000,
        }
    }
}

impl Config {
    /// The address under which payers and tests reach the simulator.
    #[must_use]
    pub fn public_url(&self) -> String {
        self.url.as_deref().map_or_else(
            || format!("http://127.0.0.1:{}", self.port),
            |url| url.trim_end_matches('/').to_owned(),
        )
    }

    /// The key of the SHA-1 signatures of 2014.
    #[must_use]
    pub fn legacy_key(&self) -> &str {
        self.pay_sign_key.as_deref().unwrap_or(&self.api_key)
    }
}
