//! A merchant's payments, by whichever version each is spoken of: the one type
//! that the flows know. An attempt is asked about, closed and given back by the
//! version that opened it as long as those keys are there, otherwise by the other:
//! WeChat keeps both views of one order.

use std::net::IpAddr;

use url::Url;

use super::notification::{Notification, Received, Rejection};
use super::official_account::token::Token;
use super::payment_code::{Charge, Reversal};
use super::v3::Certificate;
use super::{Error, v2, v3};
use crate::domain::id::{OrderKey, OutTradeNo, RefundSource, TransactionId};
use crate::domain::merchant::{AccountId, MchId, Merchant};
use crate::domain::order::{
    ApiVersion, Attempt, Order, Payment, Prepay, Returned, TradeType, Version,
};
use crate::domain::refund::{Answer, Refund};
use crate::domain::signature::Params;
use crate::domain::time::Timestamp;

/// What WeChat knows of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trade {
    /// Paid.
    Paid(Payment),
    /// It was paid, and some or all has gone back.
    Returned(Payment),
    /// The payer may still pay.
    Open,
    /// Closed or revoked: the payer can no longer pay.
    Closed,
    /// The payment failed for good.
    Failed,
    /// WeChat has no such order.
    Unknown,
}

/// Whether an answer proves the credential that it was asked for with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proven {
    /// It does.
    Yes,
    /// WeChat has nothing signed for this merchant before its first payment.
    No,
}

/// Which payment is asked about, by WeChat's number.
#[derive(Debug, Clone, Copy)]
pub struct Paid<'a> {
    /// WeChat's number.
    pub transaction_id: &'a str,
    /// Through which account it came.
    pub account: Option<&'a AccountId>,
}

impl<'a> From<&'a Refund> for Paid<'a> {
    fn from(refund: &'a Refund) -> Self {
        Self {
            transaction_id: &refund.transaction_id,
            account: refund.account.as_ref(),
        }
    }
}

impl<'a> From<&'a Payment> for Paid<'a> {
    fn from(payment: &'a Payment) -> Self {
        Self {
            transaction_id: &payment.transaction_id,
            account: payment.account.as_ref(),
        }
    }
}

/// What WeChat said to closing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// The payer can no longer pay.
    Closed,
    /// It was paid before: query and settle.
    Paid,
    /// WeChat has no such order: it never had, or is only about to create it.
    Unknown,
}

/// A client for one merchant's payments.
#[derive(Debug)]
pub struct Wechat {
    merchant: Merchant,
    /// The installation's first account, which rows of before there were several
    /// mean; only its first merchant has such rows.
    first: Option<AccountId>,
    v2: Option<v2::Client>,
    v3: Option<v3::Client>,
}

/// Who speaks of an attempt or a refund, through its account.
enum Side<'a> {
    V2(v2::Speaker<'a>),
    V3(v3::Speaker<'a>),
}

impl Side<'_> {
    const fn version(&self) -> ApiVersion {
        match self {
            Self::V2(_) => ApiVersion::V2,
            Self::V3(_) => ApiVersion::V3,
        }
    }
}

impl Wechat {
    /// By the versions whose keys are there. `first` is the installation's first
    /// account, if this is its first merchant.
    #[must_use]
    pub const fn new(
        merchant: Merchant,
        first: Option<AccountId>,
        v2: Option<v2::Client>,
        v3: Option<v3::Client>,
    ) -> Self {
        Self {
            merchant,
            first,
            v2,
            v3,
        }
    }

    /// Whose payments these are.
    #[must_use]
    pub const fn merchant(&self) -> &Merchant {
        &self.merchant
    }

    /// Whether this merchant is paid by this order: rows that name none mean the
    /// installation's first.
    #[must_use]
    pub fn is_paid_by(&self, order: &Order) -> bool {
        self.is(order.merchant.as_ref())
    }

    /// Whether a row that names this merchant, or none, means this one.
    #[must_use]
    pub fn is(&self, merchant: Option<&MchId>) -> bool {
        match merchant {
            Some(mch_id) => *mch_id == self.merchant.mch_id,
            None => self.first.is_some(),
        }
    }

    /// The account of this attempt.
    #[must_use]
    pub fn account_of<'a>(&'a self, order: &'a Order, attempt: u8) -> Option<&'a AccountId> {
        let attempt = order.attempt(attempt);
        let named = attempt.and_then(|attempt| attempt.account.as_ref());
        named.or(self.first.as_ref())
    }

    /// Whether there is version 2's client certificate.
    #[must_use]
    pub fn is_certified(&self) -> bool {
        self.v2.as_ref().is_some_and(v2::Client::is_certified)
    }

    fn side<'a>(
        &'a self,
        version: ApiVersion,
        account: Option<&'a AccountId>,
    ) -> Result<Side<'a>, Error> {
        let account = self.account(account)?;
        match (version, &self.v2, &self.v3) {
            (ApiVersion::V2, Some(v2), _) | (ApiVersion::V3, Some(v2), None) => {
                Ok(Side::V2(v2.through(account)))
            }
            (ApiVersion::V3, _, Some(v3)) | (ApiVersion::V2, None, Some(v3)) => {
                Ok(Side::V3(v3.through(account)))
            }
            (_, None, None) => Err(Error::NoKeys("no payment keys are there")),
        }
    }

    fn side_of<'a>(&'a self, order: &'a Order, attempt: u8) -> Result<Side<'a>, Error> {
        let version = order.attempt(attempt).map(|attempt| attempt.api_version);
        self.side(version.unwrap_or_default(), self.account_of(order, attempt))
    }

    fn account<'a>(&'a self, named: Option<&'a AccountId>) -> Result<&'a AccountId, Error> {
        let account = named.or(self.first.as_ref());
        account.ok_or(Error::NoKeys("the payment names no account"))
    }

    /// For what only version 2 has.
    fn v2<'a>(&'a self, account: Option<&'a AccountId>) -> Result<v2::Speaker<'a>, Error> {
        let v2 = self.v2.as_ref();
        let v2 = v2.ok_or_else(|| self.lacks("version 2's key is not there"))?;
        Ok(v2.through(self.account(account)?))
    }

    /// For what was begun by version 3 and must not be done by another.
    fn v3<'a>(&'a self, account: Option<&'a AccountId>) -> Result<v3::Speaker<'a>, Error> {
        let v3 = self.v3.as_ref();
        let v3 = v3.ok_or_else(|| self.lacks("version 3's keys are not there"))?;
        Ok(v3.through(self.account(account)?))
    }

    /// Here, because every caller would have to alarm.
    fn lacks(&self, keys: &'static str) -> Error {
        let mch_id = &self.merchant.mch_id;
        tracing::error!(alarm = "configuration", %mch_id, keys, "a payment needs keys that have not been filled in");
        Error::NoKeys(keys)
    }

    /// Opens a payment. The same attempt always sends the same parameters, so
    /// repeating it is safe. WeChat reports to `hub`, or with version 1.0 to the
    /// app.
    ///
    /// # Errors
    /// [`Error::Business`] with WeChat's code, or an unknown outcome.
    pub async fn unified_order(
        &self,
        order: &Order,
        attempt: &Attempt,
        hub: &str,
        now: Timestamp,
    ) -> Result<Prepay, Error> {
        let side = self.side(attempt.api_version, attempt.account.as_ref())?;
        let notify_url = self.payment_address(order, hub, side.version());
        match side {
            Side::V2(v2) => v2.unified_order(order, attempt, &notify_url).await,
            Side::V3(v3) => v3.place(order, attempt, &notify_url, now).await,
        }
    }

    /// Opens a payment in the flow of 2014. When WeChat refuses the token, another
    /// one may be tried.
    ///
    /// # Errors
    /// [`Error::Business`] with WeChat's errcode, or an unknown outcome.
    pub async fn genprepay(
        &self,
        order: &Order,
        attempt: &Attempt,
        hub: &str,
        token: &Token,
        now: Timestamp,
    ) -> Result<Prepay, Error> {
        let notify_url = self.payment_address(order, hub, ApiVersion::V2);
        let v2 = self.v2(attempt.account.as_ref())?;
        v2.genprepay(order, attempt, &notify_url, token, now).await
    }

    /// What WeChat knows of this attempt.
    ///
    /// # Errors
    /// When WeChat's answer is unusable or unknown; nothing may be concluded.
    pub async fn query(&self, order: &Order, attempt: u8, now: Timestamp) -> Result<Trade, Error> {
        match self.side_of(order, attempt)? {
            Side::V2(v2) => v2.query(order, attempt, now).await,
            Side::V3(v3) => {
                let said = v3.query(order, attempt, now).await;
                let code = order.attempt(attempt).and_then(|a| a.payment_code.as_ref());
                // The hub has revoked it, and no refund is to be looked for.
                let is_revoked = code.is_some_and(|code| code.reversing);
                match (&said, self.v2.as_ref().filter(|_| !is_revoked)) {
                    // Both may be said of a payment that has gone back as a whole.
                    (Ok(Trade::Closed) | Err(Error::Uncounted), Some(v2)) => {
                        let v2 = v2.through(self.account(self.account_of(order, attempt))?);
                        match v2.payment_given_back(order, attempt).await {
                            Ok(Some(payment)) => Ok(Trade::Returned(payment)),
                            // A key that nobody filled in is refused in these words.
                            Ok(None) | Err(Error::Refused(_)) => said,
                            Err(error) => Err(error),
                        }
                    }
                    _ => said,
                }
            }
        }
    }

    /// Under which of the hub's numbers WeChat's was paid, asked by the merchant's own
    /// version, through this account unless there is a first one. None: the merchant
    /// has no such payment, or it was made elsewhere.
    ///
    /// # Errors
    /// When WeChat's answer is unusable or unknown; nothing may be concluded.
    pub async fn number_of(
        &self,
        id: &TransactionId,
        account: Option<&AccountId>,
        now: Timestamp,
    ) -> Result<Option<OutTradeNo>, Error> {
        let account = self.first.as_ref().or(account);
        let number = match self.side(self.merchant.api_version, account)? {
            Side::V2(v2) => v2.number_of(id).await,
            Side::V3(v3) => v3.number_of(id, now).await,
        };
        Ok(number?.and_then(|number| OutTradeNo::parse(&number).ok()))
    }

    /// Closes this attempt. Not within five minutes of its beginning.
    ///
    /// # Errors
    /// When WeChat's answer is unusable or unknown.
    pub async fn close(
        &self,
        order: &Order,
        attempt: u8,
        now: Timestamp,
    ) -> Result<Closing, Error> {
        let number = order.out_trade_no(attempt);
        match self.side_of(order, attempt)? {
            Side::V2(v2) => v2.close(&number).await,
            Side::V3(v3) => v3.close(&number, now).await,
        }
    }

    /// The parameters for `WeixinJSBridge.invoke('getBrandWCPayRequest')`, signed.
    ///
    /// # Errors
    /// When there is no key to sign with.
    pub fn bridge_params(
        &self,
        attempt: &Attempt,
        prepay: &Prepay,
        now: Timestamp,
    ) -> Result<Params, Error> {
        match self.side(attempt.api_version, attempt.account.as_ref())? {
            Side::V2(v2) => Ok(v2.bridge_params(&prepay.prepay_id, now)),
            Side::V3(v3) => v3.bridge_params(&prepay.prepay_id, now),
        }
    }

    /// The parameters with which a merchant's app opens WeChat, signed; none for a
    /// payment that no app opens.
    ///
    /// # Errors
    /// When there is no key to sign with.
    pub fn app_params(
        &self,
        attempt: &Attempt,
        prepay: &Prepay,
        now: Timestamp,
    ) -> Result<Option<Params>, Error> {
        let prepay_id = &prepay.prepay_id;
        let account = attempt.account.as_ref();
        match attempt.trade_type {
            TradeType::App => match self.side(attempt.api_version, account)? {
                Side::V2(v2) => Ok(Some(v2.app_params(prepay_id, now))),
                Side::V3(v3) => v3.app_params(prepay_id, now).map(Some),
            },
            TradeType::Genprepay => self.v2(account)?.genprepay_params(prepay_id, now).map(Some),
            TradeType::Native | TradeType::Jsapi | TradeType::Mweb | TradeType::Micropay => {
                Ok(None)
            }
        }
    }

    /// Charges a payer's code, by the attempt's own version. The money may move
    /// although the answer is lost, so it is called once for an attempt and never
    /// repeated: a query tells.
    ///
    /// # Errors
    /// When WeChat refused the request as such. Whether it was paid is unknown.
    pub async fn micropay(
        &self,
        order: &Order,
        attempt: u8,
        auth_code: &str,
        client_ip: IpAddr,
        now: Timestamp,
    ) -> Result<Charge, Error> {
        let account = self.account_of(order, attempt);
        let version = order.attempt(attempt).map(|attempt| attempt.api_version);
        let number = order.out_trade_no(attempt);
        match version.unwrap_or_default() {
            ApiVersion::V2 => {
                let v2 = self.v2(account)?;
                v2.micropay(order, &number, auth_code, client_ip, now).await
            }
            ApiVersion::V3 => {
                let v3 = self.v3(account)?;
                v3.codepay(order, &number, auth_code, client_ip, now).await
            }
        }
    }

    /// Takes back what a payer's code paid. Repeating it is safe. Not within 15
    /// seconds of the payment.
    ///
    /// # Errors
    /// When WeChat's answer is unusable, unknown or a refusal.
    pub async fn reverse(
        &self,
        order: &Order,
        attempt: u8,
        now: Timestamp,
    ) -> Result<Reversal, Error> {
        let number = order.out_trade_no(attempt);
        match self.side_of(order, attempt)? {
            Side::V2(v2) => v2.reverse(&number).await,
            Side::V3(v3) => v3.reverse(&number, now).await,
        }
    }

    /// Asks for a refund, under a number that makes repeating it safe. WeChat
    /// reports to `hub`. A refusal counts only when a query does not know the
    /// refund either: an earlier call may have come through.
    ///
    /// # Errors
    /// When WeChat's answer is unusable, unknown, or asks to come again.
    pub async fn refund(
        &self,
        refund: &Refund,
        hub: &str,
        now: Timestamp,
    ) -> Result<Answer, Error> {
        let side = self.side(refund.api_version, refund.account.as_ref())?;
        let notify_url = self.hub_address(hub, side.version());
        match side {
            Side::V2(v2) => v2.refund(refund, &notify_url).await,
            Side::V3(v3) => v3.refund(refund, &notify_url, now).await,
        }
    }

    /// Asks how a refund fares. [`Answer::Unknown`]: WeChat has no such refund.
    ///
    /// # Errors
    /// When WeChat's answer is unusable or unknown; nothing may be concluded.
    pub async fn refund_query(&self, refund: &Refund, now: Timestamp) -> Result<Answer, Error> {
        // One that people made has no number but WeChat's, by which only version 2
        // finds it.
        let by = match refund.refund_no.source() {
            RefundSource::Wechat => ApiVersion::V2,
            RefundSource::App | RefundSource::Hub => refund.api_version,
        };
        match self.side(by, refund.account.as_ref())? {
            Side::V2(v2) => v2.refund_query(refund).await,
            Side::V3(_) if refund.refund_no.source() == RefundSource::Wechat => {
                Err(Error::Uncounted)
            }
            Side::V3(v3) => v3.refund_query(refund, now).await,
        }
    }

    /// Every refund of a payment of this order, whoever asked for it; none when WeChat knows of
    /// none at all. Only version 2 has such a list, of version 3's payments, too.
    /// Without its key WeChat tells whether something has gone back, and no more.
    ///
    /// # Errors
    /// When WeChat's answer is unusable or unknown; nothing may be concluded.
    /// [`Error::Uncounted`] when something has gone back and nobody tells what.
    pub async fn returned(
        &self,
        order: &OrderKey,
        paid: Paid<'_>,
        now: Timestamp,
    ) -> Result<Option<Vec<Returned>>, Error> {
        let account = self.account(paid.account)?;
        let transaction_id = paid.transaction_id;
        let listed = match &self.v2 {
            Some(v2) => {
                let v2 = v2.through(account);
                v2.returned(order, transaction_id, now).await
            }
            None => Err(Error::NoKeys("version 2's key is not there")),
        };
        match (listed, &self.v3) {
            // A key that nobody filled in is refused in these words.
            (Err(Error::NoKeys(_) | Error::Refused(_)), Some(v3)) => {
                let v3 = v3.through(account);
                match v3.has_returned(order, transaction_id, now).await? {
                    true => Err(Error::Uncounted),
                    false => Ok(None),
                }
            }
            (listed, _) => listed,
        }
    }

    /// Asks for something harmless, about a payment that there is not, once with each
    /// credential; whose answer it is, and whether it proves the credential.
    pub async fn check(
        &self,
        account: &AccountId,
        number: &OutTradeNo,
        now: Timestamp,
    ) -> Vec<(&'static str, Result<Proven, Error>)> {
        let proven = |_| Proven::Yes;
        let mut answers = Vec::new();
        if let Some(v2) = &self.v2 {
            let v2 = v2.through(account);
            answers.push(("version 2's key", v2.close(number).await.map(proven)));
            let taken_back = v2.reverse(number).await;
            answers.push(("client certificate", taken_back.map(|_| Proven::Yes)));
        }
        if let Some(v3) = &self.v3 {
            let v3 = v3.through(account);
            let closed = v3.close(number, now).await;
            answers.push(("version 3's private key", closed.map(proven)));
            let certificates = self.certificates(now).await;
            let signed = certificates.map(|has| match has {
                Some(_) => Proven::Yes,
                None => Proven::No,
            });
            answers.push(("WeChat's key, APIv3 key", signed));
        }
        answers
    }

    /// WeChat's certificates for this merchant; none where WeChat has none for it, or
    /// version 3 is not spoken.
    ///
    /// # Errors
    /// When WeChat's answer is unusable or unknown.
    pub async fn certificates(&self, now: Timestamp) -> Result<Option<Vec<Certificate>>, Error> {
        match &self.v3 {
            Some(v3) => v3.certificates(now).await,
            None => Ok(None),
        }
    }

    /// The serial of a certificate that WeChat has signed an answer with, if it was
    /// not known here.
    #[must_use]
    pub fn lacking(&self) -> Option<String> {
        self.v3.as_ref().and_then(v3::Client::lacking)
    }

    /// Whether there is no key at all to believe WeChat by.
    #[must_use]
    pub fn believes_nobody(&self) -> bool {
        self.v3.as_ref().is_some_and(v3::Client::believes_nobody)
    }

    /// Reads a notification and checks what can be checked of it.
    ///
    /// # Errors
    /// The first check it fails; every one is a stranger's in a form of which this
    /// merchant has no keys.
    pub fn read_notification(
        &self,
        received: &Received<'_>,
        now: Timestamp,
    ) -> Result<Notification, Rejection> {
        let v2 = self.v2.as_ref().ok_or(Rejection::Stranger);
        match received {
            Received::Xml(body) => v2?.read_notification(body, now),
            Received::Query(query) => v2?
                .read_query_notification(query, now)
                .map(Notification::Payment),
            Received::Json { proof, body } => {
                let v3 = self.v3.as_ref().ok_or(Rejection::Stranger)?;
                let proof = proof.as_ref().map_err(|unverified| *unverified)?;
                v3.read_notification(proof, body, now)
            }
        }
    }

    fn payment_address(&self, order: &Order, hub: &str, version: ApiVersion) -> String {
        match order.request.version {
            Version::Relayed => self.hub_address(hub, version),
            Version::Direct => order.request.notify_url.clone(),
        }
    }

    /// The hub's address names merchant and version, so that both are known before
    /// a body is looked at. One that the operator chose otherwise stays as it is.
    fn hub_address(&self, hub: &str, version: ApiVersion) -> String {
        let Ok(mut url) = Url::parse(hub) else {
            return hub.to_owned();
        };
        if !matches!(url.path(), "/" | "/wechat/notify") {
            return hub.to_owned();
        }
        let folder = match version {
            ApiVersion::V2 => "/wechat/notify/",
            ApiVersion::V3 => "/wechat/v3/notify/",
        };
        url.set_path(&format!("{folder}{}", self.merchant.mch_id));
        url.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures;
    use crate::wechat::fixtures::{first_account, merchant, wechat as v2_client};
    use crate::wechat::v3::fixtures::client as v3_client;

    fn of(v2: bool, v3: bool) -> Wechat {
        let v2 = v2.then(|| v2_client(""));
        Wechat::new(merchant(), Some(first_account()), v2, v3.then(v3_client))
    }

    #[test]
    fn an_attempt_is_spoken_of_by_its_own_version_or_by_the_one_that_is_there() {
        use ApiVersion::{V2, V3};
        for (v2, v3, by) in [
            (true, true, [Some(V2), Some(V3)]),
            (true, false, [Some(V2), Some(V2)]),
            (false, true, [Some(V3), Some(V3)]),
            (false, false, [None, None]),
        ] {
            let wechat = of(v2, v3);
            let side = |version| wechat.side(version, None).ok().map(|side| side.version());
            assert_eq!([side(V2), side(V3)], by, "{v2} {v3}");
        }
    }

    #[tokio::test]
    async fn a_code_is_charged_by_the_attempts_version_and_no_other() {
        let till = "203.0.113.9".parse().unwrap();
        for (version, v2, v3, goes) in [
            (ApiVersion::V2, true, true, true),
            (ApiVersion::V2, false, true, false),
            (ApiVersion::V3, true, true, true),
            (ApiVersion::V3, true, false, false),
        ] {
            let mut order = fixtures::order();
            let opened = order.open_attempt(
                TradeType::Micropay,
                fixtures::payer(),
                fixtures::channel(version),
                fixtures::NOW,
            );
            assert_eq!(opened, Ok(()));
            let wechat = of(v2, v3);
            let charged = wechat.micropay(&order, 1, "13", till, fixtures::NOW).await;
            let refused = matches!(charged, Err(Error::NoKeys(_)));
            assert_eq!(!refused, goes, "{version:?} {v2} {v3}");
        }
    }

    #[tokio::test]
    async fn a_refund_that_people_made_is_asked_about_by_version_2_only() {
        let mut refund = fixtures::refund();
        refund.api_version = ApiVersion::V3;
        refund.refund_no = crate::domain::id::RefundNo::outside("50").unwrap();
        let asked = of(false, true).refund_query(&refund, fixtures::NOW).await;
        assert!(matches!(asked, Err(Error::Uncounted)));
        let asked = of(true, true).refund_query(&refund, fixtures::NOW).await;
        assert!(matches!(asked, Err(Error::Unreachable(_))));
    }

    #[test]
    fn a_form_without_keys_is_a_strangers() {
        let json = Received::Json {
            proof: Err(v3::Unverified::Headers),
            body: b"{}",
        };
        let refused = |v2, v3, received: &Received<'_>| {
            let read = of(v2, v3).read_notification(received, fixtures::NOW);
            matches!(read, Err(Rejection::Stranger))
        };
        assert!(refused(true, false, &json) && !refused(false, true, &json));
        let xml = Received::Xml(b"");
        assert!(refused(false, true, &xml) && !refused(true, false, &xml));
        let query = Received::Query("sign=1");
        assert!(refused(false, true, &query));
    }

    #[test]
    fn wechat_is_told_an_address_that_names_merchant_and_version() {
        use ApiVersion::{V2, V3};
        let wechat = of(true, true);
        let v2 = "https://hub.example/wechat/notify/1900000109";
        let v3 = "https://hub.example/wechat/v3/notify/1900000109";
        for hub in [
            "https://hub.example",
            "https://hub.example/",
            "https://hub.example/wechat/notify",
        ] {
            assert_eq!([V2, V3].map(|v| wechat.hub_address(hub, v)), [v2, v3]);
        }
        for chosen in ["https://hub.example/of/ours", "no address"] {
            assert_eq!(wechat.hub_address(chosen, V3), chosen);
        }
        let mut order = fixtures::order();
        let hub = "https://hub.example/";
        assert_eq!(wechat.payment_address(&order, hub, V3), v3);
        order.request.version = Version::Direct;
        let own = &order.request.notify_url;
        assert_eq!(&wechat.payment_address(&order, hub, V3), own);
    }
}
