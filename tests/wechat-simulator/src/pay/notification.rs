//! What notifications say, when they are repeated, and which answer ends that.

use super::message::put;
use super::{Moment, Order, Refund, WechatPay};
use crate::beijing;
use crate::sign::{self, Fields, SignType};
use crate::xml;

/// The only answer that counts, to the byte.
pub const ACCEPTED: &str = "<xml><return_code><![CDATA[SUCCESS]]></return_code>\
     <return_msg><![CDATA[OK]]></return_msg></xml>";

/// How long WeChat waits for it.
pub const ANSWER_SECONDS: u32 = 5;

/// Seconds between one attempt and the next: 24 h 4 m in all.
pub const SCHEDULE: [u32; 15] = [
    15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600,
];

/// What the documents of earlier years say of it.
pub const OLDER_SCHEDULE: [u32; 9] = [15, 15, 30, 180, 1800, 1800, 1800, 1800, 3600];

/// Whether an answer to a v2 notification stops WeChat from repeating it.
#[must_use]
pub fn accepts(status: u16, body: &str) -> bool {
    status == 200 && body == ACCEPTED
}

impl WechatPay {
    /// A payment notification before it is signed; without the payment's fields
    /// when nobody has paid.
    #[must_use]
    pub fn payment_notification(&self, order: &Order, moment: Moment) -> Fields {
        let mut fields = order.paid_fields();
        put(&mut fields, "return_code", "SUCCESS");
        put(&mut fields, "return_msg", "OK");
        put(&mut fields, "result_code", "SUCCESS");
        identify(&mut fields, &order.app_id, &order.mch_id, moment);
        // Only the newer way names itself; an absent type means MD5.
        if order.sign_type == SignType::HmacSha256 {
            put(&mut fields, "sign_type", order.sign_type.name());
        }
        fields
    }

    /// The encrypted, unsigned notification of a refund.
    #[must_use]
    pub fn refund_notification(&self, order: &Order, refund: &Refund, moment: Moment) -> String {
        let mut secret = Fields::new();
        if let Some(payment) = &order.payment {
            put(&mut secret, "transaction_id", &payment.transaction_id);
        }
        put(&mut secret, "out_trade_no", &order.out_trade_no);
        put(&mut secret, "refund_id", &refund.refund_id);
        put(&mut secret, "out_refund_no", &refund.out_refund_no);
        put(&mut secret, "total_fee", order.total_fee);
        put(&mut secret, "settlement_total_fee", order.total_fee);
        put(&mut secret, "refund_fee", refund.refund_fee);
        put(&mut secret, "settlement_refund_fee", refund.refund_fee);
        put(&mut secret, "refund_status", refund.status.name());
        if let Some(at) = refund.success_ms {
            put(&mut secret, "success_time", beijing::spaced(at));
        }
        put(&mut secret, "refund_recv_accout", "支付用户零钱");
        put(
            &mut secret,
            "refund_account",
            "REFUND_SOURCE_RECHARGE_FUNDS",
        );
        let source = match refund.by_hand {
            true => "VENDOR_PLATFORM",
            false => "API",
        };
        put(&mut secret, "refund_request_source", source);
        let plain = xml::write_under("root", &secret);
        let mut fields = Fields::new();
        put(&mut fields, "return_code", "SUCCESS");
        identify(&mut fields, &order.app_id, &order.mch_id, moment);
        let sealed = sign::seal(&plain, self.directory.api_key(&order.mch_id));
        put(&mut fields, "req_info", sealed);
        xml::write(&fields)
    }

    /// The same fields with the `sign` that the order's merchant expects.
    #[must_use]
    pub fn signed(&self, order: &Order, mut fields: Fields) -> Fields {
        let key = self.directory.api_key(&order.mch_id);
        let sign = sign::v2(&fields, order.sign_type, key);
        put(&mut fields, "sign", sign);
        fields
    }
}

/// Adds whose message it is, and its nonce.
pub(super) fn identify(fields: &mut Fields, app_id: &str, mch_id: &str, moment: Moment) {
    put(fields, "appid", app_id);
    put(fields, "mch_id", mch_id);
    put(fields, "nonce_str", moment.nonce());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_lasts_a_day_and_four_minutes() {
        assert_eq!(SCHEDULE.iter().sum::<u32>(), 24 * 3600 + 4 * 60);
    }

    #[test]
    fn the_accepted_answer_is_one_line() {
        assert!(!ACCEPTED.contains(char::is_whitespace));
    }
}
