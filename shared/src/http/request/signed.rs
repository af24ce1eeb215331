//! Who has sent a request: the one check that makes its parameters trustworthy.

use tracing::Span;
use tracing::field::display;

use super::Fields;
use crate::aws::registry::Registry;
use crate::domain::app::App;
use crate::domain::id::{AppId, OrderKey, OrderNo};
use crate::domain::signature::field;
use crate::domain::time::Timestamp;
use crate::http::problem::Problem;

/// How far a caller's clock may be off.
const CLOCK_SKEW_SECONDS: u64 = 300;

/// A request whose sender is known and whose parameters are as that sender
/// wrote them. There is no other way to make one than its two checks.
#[derive(Debug)]
pub struct Signed {
    /// Who asks.
    pub app: App,
    /// What was signed.
    pub fields: Fields,
}

/// The signed text joins raw values by `&`. A nonce with an `&` in it could
/// swallow parameters of a text that was signed for something else.
fn check_nonce(text: &str) -> Result<(), Problem> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(()),
        false => Err(Problem::param(
            "nonce",
            "must be 1 to 64 characters of 0-9, A-Z, a-z, - and _",
        )),
    }
}

impl Signed {
    /// The key of the sender's order with this number.
    ///
    /// # Errors
    /// When it is no order number.
    pub fn order_key(&self, order_no: &str) -> Result<OrderKey, Problem> {
        Ok(OrderKey {
            app_id: self.app.app_id.clone(),
            order_no: OrderNo::parse(order_no).map_err(Problem::of_param("order_no"))?,
        })
    }

    /// Checks a request to the API: known app, fresh timestamp, signature,
    /// and that the app is not disabled.
    ///
    /// # Errors
    /// The first check it fails.
    pub async fn fresh(
        fields: Fields,
        registry: &Registry,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let timestamp = Timestamp::parse_seconds(field(&fields.params(), "timestamp"))
            .map_err(Problem::of_param("timestamp"))?;
        check_nonce(field(&fields.params(), "nonce"))?;
        let signed = Self::verified(fields, registry, now).await?;
        if now.seconds_apart(timestamp) > CLOCK_SKEW_SECONDS {
            return Err(Problem::TimestampExpired);
        }
        Ok(signed)
    }

    /// The same for a pay address, which is as good as its order and the secret that
    /// it was signed with: it does not expire, and may be without timestamp and
    /// nonce. Those it has are nothing else, for the payer holds the address and its
    /// signature.
    ///
    /// # Errors
    /// The first check it fails.
    pub async fn lasting(
        fields: Fields,
        registry: &Registry,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        if let Some(text) = fields.text("timestamp", 20)? {
            Timestamp::parse_seconds(text).map_err(Problem::of_param("timestamp"))?;
        }
        if let Some(nonce) = fields.text("nonce", 64)? {
            check_nonce(nonce)?;
        }
        Self::verified(fields, registry, now).await
    }

    async fn verified(
        fields: Fields,
        registry: &Registry,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let app_id =
            AppId::parse(fields.required("app_id", 64)?).map_err(Problem::of_param("app_id"))?;
        let params = fields.params();
        // The log tells who it was from what only claims to be.
        let app = registry.app(&app_id).await?.ok_or_else(|| {
            Span::current().record("claimed_app_id", display(&app_id));
            Problem::AppUnknown
        })?;
        if !app.has_signed(&params, now) {
            Span::current().record("claimed_app_id", display(&app_id));
            return Err(Problem::SignInvalid);
        }
        Span::current().record("app_id", display(&app_id));
        let signed = Self { app, fields };
        if let Ok(key) = signed.order_key(field(&params, "order_no")) {
            Span::current().record("order", display(key));
        }
        if signed.app.disabled {
            return Err(Problem::AppDisabled);
        }
        Ok(signed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_cannot_swallow_other_parameters() {
        for good in ["1", "c0ffee-C0FFEE_01", &"x".repeat(64)] {
            assert!(check_nonce(good).is_ok(), "{good}");
        }
        for bad in ["", "1&order_no=A", "1=2", "茶", " ", &"x".repeat(65)] {
            assert!(check_nonce(bad).is_err(), "{bad}");
        }
    }
}
