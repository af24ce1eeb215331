//! WeChat Pay as the hub sees it on the wire: unifiedorder, orderquery,
//! closeorder, micropay, reverse, refund, refundquery, and the notifications it
//! signs or seals. It has the simulator's signature code, never the hub's. It
//! refuses to know the hub's orders.

mod micropay;
mod refund;

use std::collections::BTreeMap;

use shared::domain::time::Timestamp;
use wechat_simulator::sign::{Fields, SignType, v2, v2_holds};
use wechat_simulator::xml;

pub use refund::{Refund, State};

use crate::plan::Purse;
use crate::random::Random;

/// The official account.
pub const APP_ID: &str = "wx0123456789abcdef";
/// The merchant.
pub const MCH_ID: &str = "1900000109";
/// The key that signs payments.
pub const API_KEY: &str = "simulation0simulation0simulation";
/// What the secret in Secrets Manager holds.
pub const SECRET: &str =
    r#"{"api_key":"simulation0simulation0simulation","app_secret":"simulation"}"#;

/// How long WeChat waits before it repeats a notification, in seconds: v2's
/// documented schedule.
pub const REPEATS: [i64; 15] = [
    15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10_800, 10_800, 10_800, 21_600, 21_600,
];

/// Where a trade stands at WeChat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The payer may pay.
    Open,
    /// Nobody may pay.
    Closed,
    /// Paid, at this time.
    Paid(i64),
    /// The payment by code failed.
    Failed,
    /// Taken back before it was paid.
    Revoked,
    /// Paid at this time and taken back.
    TakenBack(i64),
}

/// An `out_trade_no` at WeChat.
#[derive(Debug, Clone)]
pub struct Trade {
    /// The hub's number.
    pub number: String,
    /// Where it stands.
    pub standing: Standing,
    /// What was paid, or is to be paid.
    pub total_fee: i64,
    asked_fee: i64,
    trade_type: String,
    serial: usize,
    /// What it will be then: the payer types.
    next: Option<(i64, Standing)>,
    /// When its code was charged.
    charged_at: i64,
    /// How often WeChat will want to be asked again before it takes it back.
    recalls: i64,
    /// It is paid at the moment at which it is first taken back.
    races: bool,
}

impl Trade {
    /// WeChat's number for the payment.
    #[must_use]
    pub fn transaction_id(&self) -> String {
        format!("4200002609{:018}", self.serial)
    }
}

/// The moment of a call: the time, how often in a thousand WeChat makes
/// difficulties, and the seed's choices.
pub type Moment<'a> = (i64, u32, &'a mut Random);

/// WeChat.
#[derive(Debug, Default)]
pub struct Wechat {
    /// By the hub's number.
    pub trades: BTreeMap<String, Trade>,
    /// By the hub's number.
    pub refunds: BTreeMap<String, Refund>,
    /// The codes on payers' phones, what each comes to, and where it was used.
    pub codes: BTreeMap<String, (Purse, Option<String>)>,
    /// The refunds accepted since somebody last looked.
    pub accepted: Vec<String>,
    /// The difficulties made since somebody last looked.
    pub difficulties: u64,
}

impl Wechat {
    /// Answers a call of the payment API; an error is a broken promise of the
    /// hub's.
    ///
    /// # Errors
    /// When the hub signed wrongly or asked for what does not exist.
    pub fn answer(&mut self, path: &str, body: &str, moment: Moment<'_>) -> Result<String, String> {
        let asked = xml::read(body).map_err(|error| format!("WeChat was sent {error}"))?;
        if !v2_holds(&asked, SignType::HmacSha256, API_KEY) {
            return Err(format!("the hub signed {path} wrongly"));
        }
        self.pass(moment.0);
        let number = asked.get("out_trade_no").cloned().unwrap_or_default();
        let answer = match path {
            "/pay/unifiedorder" => self.unified_order(number, &asked)?,
            "/pay/orderquery" => self.query(&number),
            "/pay/closeorder" => self.close(&number),
            "/pay/micropay" => self.micropay(number, &asked, moment)?,
            "/secapi/pay/reverse" => self.reverse(&number, moment),
            "/secapi/pay/refund" => self.refund(&asked, moment)?,
            "/pay/refundquery" => self.refund_query(&asked, moment.0)?,
            other => return Err(format!("the hub called WeChat's {other}")),
        };
        Ok(signed(answer))
    }

    fn unified_order(&mut self, number: String, asked: &Fields) -> Result<Fields, String> {
        let field = |name: &str| asked.get(name).cloned().unwrap_or_default();
        let total_fee = field("total_fee").parse().unwrap_or_default();
        let serial = self.trades.len();
        let trade = self.trades.entry(number.clone()).or_insert(Trade {
            number,
            standing: Standing::Open,
            total_fee,
            asked_fee: total_fee,
            trade_type: field("trade_type"),
            serial,
            next: None,
            charged_at: 0,
            recalls: 0,
            races: false,
        });
        if (trade.asked_fee, &trade.trade_type) != (total_fee, &field("trade_type")) {
            return Err("the same out_trade_no was used for another payment".to_owned());
        }
        Ok(match trade.standing {
            Standing::Open => fields(&[
                ("trade_type", &trade.trade_type),
                ("prepay_id", &format!("wx{}", trade.serial)),
                (
                    "code_url",
                    &format!("weixin://wxpay/bizpayurl?pr={}", trade.serial),
                ),
            ]),
            Standing::Paid(_) => refused("ORDERPAID"),
            _ => refused("ORDERCLOSED"),
        })
    }

    fn query(&self, number: &str) -> Fields {
        let Some(trade) = self.trades.get(number) else {
            return refused("ORDERNOTEXIST");
        };
        let open = match trade.trade_type.as_str() {
            "MICROPAY" => "USERPAYING",
            _ => "NOTPAY",
        };
        let state = |state: &str| fields(&[("out_trade_no", number), ("trade_state", state)]);
        match trade.standing {
            Standing::Open => state(open),
            Standing::Closed => state("CLOSED"),
            Standing::Failed => state("PAYERROR"),
            Standing::Revoked => state("REVOKED"),
            Standing::Paid(at) | Standing::TakenBack(at) => {
                let mut answer = payment(trade, trade.total_fee, at);
                let returned = matches!(trade.standing, Standing::TakenBack(_))
                    || self.refunds_of(&trade.transaction_id()).next().is_some();
                let state = if returned { "REFUND" } else { "SUCCESS" };
                answer.insert("trade_state".to_owned(), state.to_owned());
                answer
            }
        }
    }

    fn close(&mut self, number: &str) -> Fields {
        match self.trades.get_mut(number) {
            None => refused("ORDERNOTEXIST"),
            Some(trade) => match trade.standing {
                Standing::Paid(_) => refused("ORDERPAID"),
                Standing::Open => {
                    trade.standing = Standing::Closed;
                    fields(&[])
                }
                _ => refused("ORDERCLOSED"),
            },
        }
    }

    /// The payer pays so much more than was asked; true when this is what made
    /// it paid. WeChat would normally refuse it for a closed one.
    pub fn pay(&mut self, number: &str, (at, more): (i64, i64), although_closed: bool) -> bool {
        let Some(trade) = self.trades.get_mut(number) else {
            return false;
        };
        let may = match trade.standing {
            Standing::Open => true,
            Standing::Closed => although_closed,
            _ => false,
        };
        if may {
            trade.standing = Standing::Paid(at);
            trade.total_fee = trade.asked_fee + more;
        }
        may
    }

    /// The body of a notification about a paid trade.
    #[must_use]
    pub fn notification(&self, number: &str, total_fee: i64) -> Option<String> {
        let trade = self.trades.get(number)?;
        let Standing::Paid(at) = trade.standing else {
            return None;
        };
        Some(signed(payment(trade, total_fee, at)))
    }
}

fn payment(trade: &Trade, total_fee: i64, at: i64) -> Fields {
    let fee = total_fee.to_string();
    fields(&[
        ("out_trade_no", &trade.number),
        ("transaction_id", &trade.transaction_id()),
        ("trade_type", &trade.trade_type),
        ("total_fee", &fee),
        ("cash_fee", &fee),
        ("bank_type", "OTHERS"),
        ("is_subscribe", "N"),
        ("openid", "oSimulated"),
        ("time_end", &Timestamp::from_millis(at).beijing()),
    ])
}

fn refused(code: &str) -> Fields {
    fields(&[("result_code", "FAIL"), ("err_code", code)])
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    pairs.iter().map(own).collect()
}

fn signed(mut answer: Fields) -> String {
    for (name, value) in [
        ("return_code", "SUCCESS"),
        ("result_code", "SUCCESS"),
        ("appid", APP_ID),
        ("mch_id", MCH_ID),
        ("nonce_str", "simulation"),
    ] {
        answer
            .entry(name.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    let signature = v2(&answer, SignType::HmacSha256, API_KEY);
    answer.insert("sign".to_owned(), signature);
    xml::write(&answer)
}

/// Whether an answer to a notification stops WeChat from repeating it.
#[must_use]
pub fn is_success(status: u16, body: &str) -> bool {
    let accepted = |answer: Fields| answer.get("return_code").is_some_and(|v| v == "SUCCESS");
    status == 200 && xml::read(body).is_ok_and(accepted)
}
