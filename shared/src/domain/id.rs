//! The identifiers of the hub, parsed once at the border and then trusted.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a value was refused: the rule it broke, in words for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub &'static str);

/// serde reads checked text through `parse` and writes it as it is.
macro_rules! checked_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = Refused;
            fn try_from(value: String) -> Result<Self, Refused> {
                Self::parse(&value)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }
    };
}
pub(super) use checked_text;

/// An identifier that travels as text, and may be shown.
macro_rules! text_id {
    ($name:ident) => {
        checked_text!($name);

        impl $name {
            /// The text as it travels.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

pub(super) use text_id;

fn alphanumeric(value: &str, length: usize) -> bool {
    value.len() == length && value.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A third party's account: 16 characters `[0-9A-Za-z]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppId(String);

impl AppId {
    /// Parses an app's identifier.
    ///
    /// # Errors
    /// When it is not exactly 16 letters and digits.
    pub fn parse(value: &str) -> Result<Self, Refused> {
        if alphanumeric(value, 16) {
            Ok(Self(value.to_owned()))
        } else {
            Err(Refused("must be 16 characters of 0-9, A-Z, a-z"))
        }
    }
}

text_id!(AppId);

/// An app's own number for an order: 10 characters `[0-9A-Za-z]`; the first
/// may tell the order's type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrderNo(String);

impl OrderNo {
    /// Parses an order number.
    ///
    /// # Errors
    /// When it is not exactly 10 letters and digits.
    pub fn parse(value: &str) -> Result<Self, Refused> {
        if alphanumeric(value, 10) {
            Ok(Self(value.to_owned()))
        } else {
            Err(Refused("must be 10 characters of 0-9, A-Z, a-z"))
        }
    }
}

text_id!(OrderNo);

/// Which order of which app: the ledger's partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderKey {
    /// The app that made the order.
    pub app_id: AppId,
    /// The app's own number for it.
    pub order_no: OrderNo,
}

impl OrderKey {
    /// Parses the form that [`fmt::Display`] writes, `app_id#order_no`.
    ///
    /// # Errors
    /// When either half is malformed.
    pub fn parse(value: &str) -> Result<Self, Refused> {
        let (app_id, order_no) = value
            .split_once('#')
            .ok_or(Refused("must be app_id#order_no"))?;
        Ok(Self {
            app_id: AppId::parse(app_id)?,
            order_no: OrderNo::parse(order_no)?,
        })
    }
}

impl fmt::Display for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.app_id, self.order_no)
    }
}

/// The hub's number for one payment attempt, WeChat's `out_trade_no`:
/// `app_id(16) order_no(10) attempt(2)`. The order's key can be read back from
/// it without an index, and a person can tell whose order it is.
///
/// ```
/// use shared::domain::id::OutTradeNo;
///
/// let number = OutTradeNo::parse("teashop000000001A00000001702")?;
/// assert_eq!(number.order.app_id.as_str(), "teashop000000001");
/// assert_eq!(number.order.order_no.as_str(), "A000000017");
/// assert_eq!(number.attempt, 2);
/// assert!(OutTradeNo::parse("20150806125346").is_err());
/// # Ok::<(), shared::domain::id::Refused>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutTradeNo {
    /// The order that is being paid.
    pub order: OrderKey,
    /// Which attempt at paying it, 1 to 99.
    pub attempt: u8,
}

impl OutTradeNo {
    /// Parses WeChat's `out_trade_no`.
    ///
    /// # Errors
    /// When the hub cannot have made that number.
    pub fn parse(value: &str) -> Result<Self, Refused> {
        const RULE: Refused = Refused("is not a number that this hub made");
        let (app_id, rest) = value.split_at_checked(16).ok_or(RULE)?;
        let (order_no, attempt) = rest.split_at_checked(10).ok_or(RULE)?;
        if attempt.len() != 2 || !attempt.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(RULE);
        }
        let attempt: u8 = attempt.parse().map_err(|_| RULE)?;
        if attempt == 0 {
            return Err(RULE);
        }
        Ok(Self {
            order: OrderKey {
                app_id: AppId::parse(app_id).map_err(|_| RULE)?,
                order_no: OrderNo::parse(order_no).map_err(|_| RULE)?,
            },
            attempt,
        })
    }
}

impl fmt::Display for OutTradeNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OrderKey { app_id, order_no } = &self.order;
        write!(f, "{app_id}{order_no}{:02}", self.attempt)
    }
}

/// WeChat's own number of a payment, `transaction_id`. It goes into a path as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionId(String);

impl TransactionId {
    /// Parses WeChat's number.
    ///
    /// # Errors
    /// When it is not 1 to 32 letters and digits.
    pub fn parse(value: &str) -> Result<Self, Refused> {
        match (1..=32).contains(&value.len()) && alphanumeric(value, value.len()) {
            true => Ok(Self(value.to_owned())),
            false => Err(Refused("must be 1 to 32 characters of 0-9, A-Z, a-z")),
        }
    }
}

text_id!(TransactionId);

/// A refund's number within its order: 1 to 37 of `[0-9A-Za-z-]`. Those that
/// the hub makes itself begin with `auto-`, those that it found at WeChat with
/// `ext-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RefundNo(String);

impl RefundNo {
    /// What WeChat's 64 characters leave beside the order's key.
    const MAX: usize = 37;

    /// Parses a refund's number.
    ///
    /// # Errors
    /// When it is empty, too long, or has other characters.
    pub fn parse(value: &str) -> Result<Self, Refused> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if (1..=Self::MAX).contains(&value.len()) && value.bytes().all(plain) {
            Ok(Self(value.to_owned()))
        } else {
            Err(Refused("must be 1 to 37 characters of 0-9, A-Z, a-z, -"))
        }
    }

    /// The number of the hub's own refund of a payment: always the same, so
    /// that a payment goes back once.
    ///
    /// # Errors
    /// When WeChat's number for the payment has not WeChat's form.
    pub fn automatic(transaction_id: &str) -> Result<Self, Refused> {
        Self::parse(&format!("{AUTOMATIC}{transaction_id}"))
    }

    /// The number under which the hub keeps a refund that a person made in
    /// WeChat's platform: always the same, so that it is booked once.
    ///
    /// # Errors
    /// When WeChat's number for the refund has not WeChat's form.
    pub fn outside(refund_id: &str) -> Result<Self, Refused> {
        Self::parse(&format!("{OUTSIDE}{refund_id}"))
    }

    /// The number of a refund that an operator asks for under this name: the hub's own,
    /// so that no app's is like it.
    ///
    /// # Errors
    /// When the name is too long, or has what no number has.
    pub fn of_operator(name: &str) -> Result<Self, Refused> {
        match (1..=24).contains(&name.len()) {
            true => Self::parse(&format!("{AUTOMATIC}op-{name}")),
            false => Err(Refused(
                "must be 1 to 24 characters of 0-9, A-Z, a-z, - and _",
            )),
        }
    }

    /// Who asked for the refund.
    #[must_use]
    pub fn source(&self) -> RefundSource {
        if self.0.starts_with(AUTOMATIC) {
            RefundSource::Hub
        } else if self.0.starts_with(OUTSIDE) {
            RefundSource::Wechat
        } else {
            RefundSource::App
        }
    }
}

text_id!(RefundNo);

const AUTOMATIC: &str = "auto-";
const OUTSIDE: &str = "ext-";

/// Who asked for a refund, as its number tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundSource {
    /// The app.
    App,
    /// The hub, because the payment did not fit its order, or one of its operators.
    Hub,
    /// A person, in WeChat's merchant platform.
    Wechat,
}

impl RefundSource {
    /// The name in our API and in callbacks.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Hub => "hub",
            Self::Wechat => "wechat",
        }
    }
}

/// The hub's number for a refund, WeChat's `out_refund_no`:
/// `app_id(16) order_no(10) refund_no(1-37)`, at most 63 of WeChat's 64.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutRefundNo {
    /// The order whose payment goes back.
    pub order: OrderKey,
    /// Which refund of it.
    pub refund_no: RefundNo,
}

impl OutRefundNo {
    /// Parses WeChat's `out_refund_no`.
    ///
    /// # Errors
    /// When the hub cannot have made that number.
    pub fn parse(value: &str) -> Result<Self, Refused> {
        const RULE: Refused = Refused("is not a number that this hub made");
        let (app_id, rest) = value.split_at_checked(16).ok_or(RULE)?;
        let (order_no, refund_no) = rest.split_at_checked(10).ok_or(RULE)?;
        Ok(Self {
            order: OrderKey {
                app_id: AppId::parse(app_id).map_err(|_| RULE)?,
                order_no: OrderNo::parse(order_no).map_err(|_| RULE)?,
            },
            refund_no: RefundNo::parse(refund_no).map_err(|_| RULE)?,
        })
    }
}

impl fmt::Display for OutRefundNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OrderKey { app_id, order_no } = &self.order;
        write!(f, "{app_id}{order_no}{}", self.refund_no)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_out_refund_no_reads_back_and_fits_wechats_field() {
        let own = RefundNo::automatic(&"4".repeat(32)).unwrap();
        for refund_no in [RefundNo::parse("R1").unwrap(), own] {
            let order = OrderKey::parse("demo000000000001#A000000001").unwrap();
            let number = OutRefundNo { order, refund_no };
            assert!(number.to_string().len() <= 64);
            assert_eq!(OutRefundNo::parse(&number.to_string()), Ok(number));
        }
        let long = "x".repeat(38);
        for text in ["", "r 1", "r#1", "退款", long.as_str()] {
            assert!(RefundNo::parse(text).is_err(), "{text}");
        }
        for text in [
            "",
            "short",
            "demo000000000001A000000001",
            "demo000000000001A00000000#1",
        ] {
            assert!(OutRefundNo::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_out_trade_no_reads_back_as_its_order_and_attempt() {
        let text = "demo000000000001A00000000107";
        let parsed = OutTradeNo::parse(text).unwrap();
        assert_eq!(parsed.order.app_id.as_str(), "demo000000000001");
        assert_eq!(parsed.order.order_no.as_str(), "A000000001");
        assert_eq!(parsed.attempt, 7);
        assert_eq!(parsed.to_string(), text);
    }

    #[test]
    fn identifiers_are_written_as_they_were_read() {
        let (app, order, refund) = ("demo000000000001", "A000000001", "R-1");
        assert_eq!(AppId::parse(app).unwrap().to_string(), app);
        assert_eq!(OrderNo::parse(order).unwrap().to_string(), order);
        assert_eq!(RefundNo::parse(refund).unwrap().as_str(), refund);
        let key = "demo000000000001#A000000001";
        assert_eq!(OrderKey::parse(key).unwrap().to_string(), key);
        for text in [
            "",
            "demo000000000001",
            "demo000000000001A000000001",
            "demo#A000000001",
            "demo000000000001#A",
            "demo000000000001#A00000000#",
        ] {
            assert!(OrderKey::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rows_hold_identifiers_as_text_and_damaged_ones_are_not_read() {
        type Row = (AppId, OrderNo, RefundNo);
        let text = r#"["demo000000000001","A000000001","R1"]"#;
        let row: Row = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&row).unwrap(), text);
        for text in [
            r#"["demo","A000000001","R1"]"#,
            r#"["demo000000000001","A","R1"]"#,
            r#"["demo000000000001","A000000001",""]"#,
        ] {
            assert!(serde_json::from_str::<Row>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_hubs_own_refund_of_a_payment_has_the_payments_number() {
        let own = RefundNo::automatic("4200001").unwrap();
        assert_eq!(own.as_str(), "auto-4200001");
        assert_eq!(own.source(), RefundSource::Hub);
        let operators = RefundNo::of_operator("R-1").unwrap();
        assert_eq!(operators.as_str(), "auto-op-R-1");
        assert_eq!(operators.source(), RefundSource::Hub);
        for bad in ["", "a b", "a#b", &"x".repeat(25)] {
            assert!(RefundNo::of_operator(bad).is_err(), "{bad}");
        }
        let outside = RefundNo::outside(&"5".repeat(32)).unwrap();
        assert_eq!(outside.source(), RefundSource::Wechat);
        assert_eq!(RefundNo::parse("R1").unwrap().source(), RefundSource::App);
        assert!(RefundNo::automatic("4200_001").is_err());
    }

    #[test]
    fn numbers_of_other_systems_are_refused() {
        for text in [
            "",
            "short",
            "demo000000000001A000000001",
            "demo000000000001A00000000100",
            "demo000000000001A000000001+1",
            "demo000000000001A0000000011x",
            "demo000000000001A000-0000101",
            "demo000000000001A000000001011",
            "支付支付支付支付支付支付",
        ] {
            assert!(OutTradeNo::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn identifiers_have_exact_lengths_and_characters() {
        assert!(AppId::parse("demo000000000001").is_ok());
        for text in [
            "",
            "demo00000000001",
            "demo0000000000012",
            "demo_00000000001",
            "démo00000000001",
        ] {
            assert!(AppId::parse(text).is_err(), "{text}");
        }
        assert!(OrderNo::parse("Z123456789").is_ok());
        for text in ["", "Z12345678", "Z1234567890", "Z12345678 ", "Z1234#6789"] {
            assert!(OrderNo::parse(text).is_err(), "{text}");
        }
    }
}
