//! An order as WeChat knows it in version 3: asked for by either number, or sealed in
//! a notification, and what it says of the payment.
//! <https://pay.weixin.qq.com/doc/v3/merchant/4012525167>

use serde::Deserialize;
use serde_json::{Map, Value};

use super::pay::{CURRENCY, Payer};
use super::receipt::{fee, read_receipt, readable};
use super::{Client, Speaker};
use crate::domain::UnknownAttributes;
use crate::domain::id::{OrderKey, OutTradeNo, TransactionId};
use crate::domain::merchant::AccountId;
use crate::domain::money::Fen;
use crate::domain::order::{ApiVersion, Order, Payment};
use crate::domain::time::Timestamp;
use crate::wechat::asked::Subject;
use crate::wechat::{Error, Trade};

/// An order as WeChat knows it: a query's answer, and what a notification seals.
#[derive(Deserialize)]
pub(super) struct Transaction {
    appid: String,
    mchid: String,
    pub(super) out_trade_no: String,
    pub(super) trade_state: String,
    #[serde(default)]
    transaction_id: Option<String>,
    #[serde(default)]
    trade_type: Option<String>,
    #[serde(default)]
    payer: Option<Payer>,
    #[serde(default)]
    amount: Option<Amount>,
    /// What decides nothing.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize)]
struct Amount {
    total: i64,
    #[serde(default)]
    currency: Option<String>,
    #[serde(default)]
    payer_total: Value,
}

impl Speaker<'_> {
    /// The order of this attempt, by the hub's number.
    pub(in crate::wechat) async fn query(
        &self,
        order: &Order,
        attempt: u8,
        now: Timestamp,
    ) -> Result<Trade, Error> {
        self.ask(&order.out_trade_no(attempt), now).await
    }

    pub(super) async fn ask(&self, number: &OutTradeNo, now: Timestamp) -> Result<Trade, Error> {
        let mch_id = &self.client.identity.mch_id;
        let path = format!("/v3/pay/transactions/out-trade-no/{number}?mchid={mch_id}");
        let transaction: Transaction = match self.get(&path, Subject::Trade(number), now).await {
            Err(Error::Business { code, .. }) if code == "ORDERNOTEXIST" => {
                return Ok(Trade::Unknown);
            }
            other => other?,
        };
        self.read(&transaction, number, now)
    }

    /// What WeChat says of the order with this number.
    pub(super) fn read(
        &self,
        transaction: &Transaction,
        number: &OutTradeNo,
        now: Timestamp,
    ) -> Result<Trade, Error> {
        if transaction.out_trade_no != number.to_string() || !self.is_ours(transaction) {
            return Err(Error::Forged("the order is another's"));
        }
        let payment = || transaction.payment(number.attempt, now);
        match transaction.trade_state.as_str() {
            "SUCCESS" => payment().map(Trade::Paid).map_err(Error::Forged),
            // WeChat promises the payment's fields of SUCCESS only.
            "REFUND" => payment().map(Trade::Returned).map_err(|_| Error::Uncounted),
            "NOTPAY" | "USERPAYING" | "ACCEPT" => Ok(Trade::Open),
            // Nothing was paid that has no number.
            "CLOSED" if transaction.transaction_id.is_none() => Ok(Trade::Closed),
            "CLOSED" => payment().map(Trade::Returned).map_err(Error::Forged),
            "REVOKED" => Ok(Trade::Closed),
            "PAYERROR" => Ok(Trade::Failed),
            _ => Err(Error::Forged("trade_state is not WeChat's")),
        }
    }

    /// Whether some of this payment has gone back. Version 3 does not tell what:
    /// it has no list of a payment's refunds.
    pub(in crate::wechat) async fn has_returned(
        &self,
        order: &OrderKey,
        transaction_id: &str,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let about = Subject::Payment {
            order,
            transaction_id,
        };
        let transaction = self.payment(transaction_id, about, now).await?;
        match self.is_ours(&transaction) {
            true => Ok(transaction.trade_state != "SUCCESS"),
            false => Err(Error::Forged("the payment is another's")),
        }
    }

    /// The `out_trade_no` of this payment, whoever made it; none when the merchant has
    /// no such payment. Which account it came through is the answer's to say.
    pub(in crate::wechat) async fn number_of(
        &self,
        id: &TransactionId,
        now: Timestamp,
    ) -> Result<Option<String>, Error> {
        match self.payment(id.as_str(), Subject::Search(id), now).await {
            Ok(transaction) => Ok(Some(transaction.out_trade_no)),
            Err(Error::Business { code, .. }) if code == "ORDERNOTEXIST" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The merchant's payment of WeChat's number.
    async fn payment(
        &self,
        transaction_id: &str,
        about: Subject<'_>,
        now: Timestamp,
    ) -> Result<Transaction, Error> {
        let mch_id = &self.client.identity.mch_id;
        let path = format!("/v3/pay/transactions/id/{transaction_id}?mchid={mch_id}");
        let transaction: Transaction = self.get(&path, about, now).await?;
        let same = transaction.transaction_id.as_deref() == Some(transaction_id);
        match same && self.client.is_merchants(&transaction) {
            true => Ok(transaction),
            false => Err(Error::Forged("the payment is another's")),
        }
    }

    /// Whether this is an order of the merchant and the account it speaks through.
    fn is_ours(&self, transaction: &Transaction) -> bool {
        transaction.appid == self.account.as_str() && self.client.is_merchants(transaction)
    }
}

impl Client {
    /// Whether this is an order of the merchant.
    pub(super) fn is_merchants(&self, transaction: &Transaction) -> bool {
        transaction.mchid == self.identity.mch_id.as_str()
    }
}

impl Transaction {
    /// The account that it names.
    pub(super) fn account(&self) -> Option<AccountId> {
        AccountId::parse(&self.appid).ok()
    }

    /// What was paid, under this attempt's number. `now` stands for the time of a
    /// payment that cannot be read: a payment must not wait for that.
    pub(super) fn payment(&self, attempt: u8, now: Timestamp) -> Result<Payment, &'static str> {
        let amount = self.amount.as_ref().ok_or("amount is missing")?;
        if amount.currency.as_deref().unwrap_or(CURRENCY) != CURRENCY {
            return Err("the currency is another");
        }
        let total_fee = Fen::positive(amount.total).map_err(|_| "total is no amount")?;
        let transaction_id = self.transaction_id.as_deref();
        let transaction_id = transaction_id.ok_or("transaction_id is missing")?;
        TransactionId::parse(transaction_id).map_err(|_| "transaction_id is not WeChat's")?;
        let payer_total = fee("payer_total", &amount.payer_total);
        let paid_at = readable("success_time", self.rest.get("success_time"), |value| {
            Timestamp::parse_rfc3339(value.as_str()?).ok()
        });
        let receipt = read_receipt(&self.rest, total_fee, payer_total);
        Ok(Payment {
            transaction_id: transaction_id.to_owned(),
            attempt,
            api_version: ApiVersion::V3,
            account: self.account(),
            trade_type: self.trade_type.clone().ok_or("trade_type is missing")?,
            total_fee,
            cash_fee: payer_total.unwrap_or(total_fee),
            openid: self.payer.as_ref().and_then(|payer| payer.openid.clone()),
            paid_at: paid_at.unwrap_or(now),
            receipt: Some(Box::new(receipt)),
            refund_reserved: Fen::ZERO,
            refunded: Fen::ZERO,
            unknown: UnknownAttributes::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::fixtures::NOW;

    #[test]
    fn a_payment_is_read_as_version_2_would_say_it_or_not_at_all() {
        let paid = json!({
            "appid": "wx", "mchid": "1900000109", "out_trade_no": "demo000000000001A00000000101",
            "transaction_id": "4200000001", "trade_type": "JSAPI", "trade_state": "SUCCESS",
            "bank_type": "CMC", "attach": "", "success_time": "2026-11-20T10:00:00+08:00",
            "payer": {"openid": "o"}, "promotion_detail": [],
            "amount": {"total": 100, "payer_total": 90, "currency": "CNY", "payer_currency": "CNY"},
        });
        let read = |value: &Value| {
            let transaction: Transaction = serde_json::from_value(value.clone()).unwrap();
            transaction.payment(1, NOW)
        };
        let payment = read(&paid).unwrap();
        assert_eq!(payment.total_fee.to_string(), "100");
        assert_eq!(payment.cash_fee.to_string(), "90");
        assert_eq!(payment.paid_at.seconds(), 1_795_140_000);
        assert_eq!(payment.api_version, ApiVersion::V3);
        // What stands in for what cannot be read.
        for (pointer, value) in [
            ("/amount/payer_total", json!("all")),
            ("/success_time", json!("20261120100000")),
        ] {
            let mut other = paid.clone();
            *other.pointer_mut(pointer).unwrap() = value;
            let odd = read(&other).unwrap();
            let stands_in = (odd.paid_at == NOW, odd.cash_fee == odd.total_fee);
            let expected = (pointer == "/success_time", pointer != "/success_time");
            assert_eq!(stands_in, expected, "{other}");
        }
        for (pointer, value) in [
            ("/amount", json!(null)),
            ("/amount/total", json!(0)),
            ("/amount/total", json!(-100)),
            ("/amount/currency", json!("USD")),
            ("/transaction_id", json!(null)),
            ("/transaction_id", json!("")),
            ("/transaction_id", json!("42/1")),
            ("/transaction_id", json!("4".repeat(33))),
            ("/trade_type", json!(null)),
        ] {
            let mut other = paid.clone();
            *other.pointer_mut(pointer).unwrap() = value;
            assert!(read(&other).is_err(), "{other}");
        }
    }
}
