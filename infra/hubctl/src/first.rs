//! The stack's first merchant and account: parameters of the stack, which every
//! command that could mean another one must be told.

use clap::Args;
use shared::domain::id::Refused;
use shared::domain::merchant::{AccountId, MchId};

/// A parameter of the stack that may be empty.
#[derive(Debug, Clone)]
pub(crate) struct Parameter<T>(pub(crate) Option<T>);

fn parameter<T>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, Refused>,
) -> Result<Parameter<T>, Refused> {
    match text {
        "none" | "" => Ok(Parameter(None)),
        text => parse(text).map(Some).map(Parameter),
    }
}

fn merchant(text: &str) -> Result<Parameter<MchId>, Refused> {
    parameter(text, MchId::parse)
}

fn account(text: &str) -> Result<Parameter<AccountId>, Refused> {
    parameter(text, AccountId::parse)
}

#[derive(Args)]
pub(crate) struct FirstMerchant {
    /// The parameter `WechatMchId`; none, if it is empty.
    #[arg(long, value_name = "MCH_ID", env = "WECHAT_MCH_ID", value_parser = merchant)]
    first_merchant: Parameter<MchId>,
}

impl FirstMerchant {
    pub(crate) fn id(&self) -> Option<&MchId> {
        self.first_merchant.0.as_ref()
    }

    pub(crate) fn is(&self, mch_id: &MchId) -> bool {
        self.id() == Some(mch_id)
    }
}

#[derive(Args)]
pub(crate) struct FirstAccount {
    /// The parameter `WechatAppId`; none, if it is empty.
    #[arg(long, value_name = "APPID", env = "WECHAT_APP_ID", value_parser = account)]
    first_account: Parameter<AccountId>,
}

impl FirstAccount {
    pub(crate) fn id(&self) -> Option<&AccountId> {
        self.first_account.0.as_ref()
    }
}
