//! Where the registry is, as most commands are told.

use aws_config::SdkConfig;
use clap::Args;
use shared::aws::registry::Registry;

#[derive(Args)]
pub(crate) struct Place {
    /// The registry (the stack's output `RegistryTable`).
    #[arg(long, value_name = "TABLE", env = "REGISTRY_TABLE")]
    registry_table: String,
}

impl Place {
    pub(crate) fn registry(&self, config: &SdkConfig) -> Registry {
        Registry::new(config, self.registry_table.clone())
    }
}
