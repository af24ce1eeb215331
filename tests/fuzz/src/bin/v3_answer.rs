//! WeChat's answer by version 3: two bytes choose the question and who has signed
//! the answer, one its status, three where a signed one is changed afterwards. The
//! rest is the body. No panic; what is taken as a fact WeChat has signed, and says of
//! this very order or refund; what nobody has signed is a hint at most.
#![no_main]

use std::sync::LazyLock;

use fuzz::host::Answer;
use fuzz::{APP_ID, MCH_ID, Rejection, V3, ask};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use shared::domain::id::RefundNo;
use shared::domain::money::Fen;
use shared::domain::order::{Attempt, Order, Payment, TradeType};
use shared::domain::refund::{self, Promise, Refund};
use shared::domain::time::Timestamp;
use shared::wechat::v3::Proof;
use shared::wechat::{Closing, Error, Paid, Trade};

const NOW: Timestamp = Timestamp::from_millis(1_795_140_000_000);
const NUMBER: &str = "demo000000000001A00000000101";
const STATUSES: [u16; 11] = [200, 202, 204, 302, 400, 401, 403, 404, 429, 500, 502];
const HUB: &str = "https://hub.example";

/// What came of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Nothing,
    /// A reason to ask again, or to wait.
    Hint,
    /// It changes rows.
    Fact,
}

/// What was taken, and what the body must say then, by JSON pointers.
type Outcome = (Taken, Vec<(&'static str, Value)>);

const NOTHING: Outcome = (Taken::Nothing, Vec::new());
const HINT: Outcome = (Taken::Hint, Vec::new());

struct Case {
    v3: V3,
    order: Order,
    payment: Payment,
    refund: Refund,
}

static CASE: LazyLock<Case> = LazyLock::new(Case::new);

fuzz_target!(|input: &[u8]| {
    let Some((&[question, signer, status], rest)) = input.split_first_chunk() else {
        return;
    };
    let status = STATUSES[usize::from(status) % STATUSES.len()];
    let mut body = rest.get(3..).unwrap_or_default().to_vec();
    if status == 204 {
        body.clear();
    }
    let mut proof = CASE.v3.sign(NOW, &body);
    let mut is_signed = true;
    match signer % 3 {
        0 => {}
        1 => {
            proof = stranger(&body);
            is_signed = false;
        }
        _ => {
            let signed = body.clone();
            if let Some(forgery) = Rejection::read(rest) {
                forgery.change(&mut body);
            }
            is_signed = body == signed;
        }
    }
    // Fields that nobody reads may be less than JSON wants.
    let said: Option<Value> = serde_json::from_slice(&body).ok();
    let answer = Answer {
        status,
        proof,
        body,
    };
    let (taken, claims) = CASE.taken(question, answer);
    for (place, value) in claims {
        let found = said.as_ref().map(|said| said.pointer(place));
        assert!(
            found.is_none_or(|found| found == Some(&value)),
            "{place} is not {value}"
        );
    }
    match taken {
        Taken::Nothing => {}
        Taken::Hint => assert!(status >= 400, "a hint, and no refusal"),
        Taken::Fact => assert!(is_signed && status < 300, "unsigned, and taken"),
    }
});

/// Headers that may be sent; the body chooses nonce and signature.
fn stranger(body: &[u8]) -> Proof {
    let text = body.iter().map(|byte| char::from(byte % 95 + 32));
    let text: String = text.take(700).collect();
    let (nonce, signature) = text.split_at(text.len().min(16));
    Proof {
        timestamp: NOW.seconds().to_string(),
        nonce: nonce.to_owned(),
        serial: fuzz::PUBLIC_KEY_ID.to_owned(),
        signature: signature.to_owned(),
    }
}

impl Case {
    fn new() -> Self {
        let attempt = json!({
            "number": 1, "trade_type": "NATIVE", "api_version": "v3",
            "client_ip": "203.0.113.7", "started_at": NOW, "openid": "oUpF8uMEb4qRXf22hE3X68TekukE",
        });
        let order = json!({
            "app_id": "demo000000000001", "order_no": "A000000001", "status": "paying",
            "created_at": NOW, "expires_at": NOW.plus_seconds(7200), "nonce": "n",
            "attempts": [attempt],
            "request": {
                "total_fee": 1999, "body": "Tea", "notify_url": "https://shop.example/notify",
                "return_url": "https://shop.example/return", "version": "2.0", "expires_in": 7200,
            },
        });
        let order: Order = serde_json::from_value(order).expect("it is an order");
        let payment = json!({
            "transaction_id": "4200001", "attempt": 1, "trade_type": "NATIVE", "api_version": "v3",
            "total_fee": 1999, "cash_fee": 1999, "paid_at": NOW,
        });
        let payment: Payment = serde_json::from_value(payment).expect("it is a payment");
        let promise = Promise {
            payment: &payment,
            refund_no: RefundNo::parse("R1").expect("it is a number"),
            refund_fee: Fen::positive(5).expect("it is an amount"),
            reason: None,
            due: NOW,
        };
        Self {
            v3: V3::new(),
            refund: Refund::new(&order, promise, NOW),
            order,
            payment,
        }
    }

    fn taken(&self, question: u8, answer: Answer) -> Outcome {
        let wechat = &self.v3.wechat;
        match question % 8 {
            0 => queried(ask(answer, wechat.query(&self.order, 1, NOW)).0),
            1 => closed(ask(answer, wechat.close(&self.order, 1, NOW)).0),
            2 => self.refunded(ask(answer, wechat.refund(&self.refund, HUB, NOW)).0),
            3 => self.refunded(ask(answer, wechat.refund_query(&self.refund, NOW)).0),
            4 => {
                let (key, paid) = (self.order.key(), Paid::from(&self.payment));
                let mut claims = ours();
                claims.push(("/transaction_id", json!(self.payment.transaction_id)));
                match ask(answer, wechat.returned(&key, paid, NOW)).0 {
                    Ok(None) => claims.push(("/trade_state", json!("SUCCESS"))),
                    Err(Error::Uncounted) => {}
                    Ok(Some(_)) => panic!("version 3 has no list"),
                    Err(_) => return NOTHING,
                }
                (Taken::Fact, claims)
            }
            5 => self.placed(TradeType::Native, "/code_url", answer),
            6 => self.placed(TradeType::Jsapi, "/prepay_id", answer),
            _ => self.placed(TradeType::Mweb, "/h5_url", answer),
        }
    }

    fn placed(&self, trade_type: TradeType, place: &'static str, answer: Answer) -> Outcome {
        let attempt = Attempt {
            trade_type,
            ..self.order.attempts[0].clone()
        };
        let wechat = &self.v3.wechat;
        let placed = wechat.unified_order(&self.order, &attempt, HUB, NOW);
        let Ok(prepay) = ask(answer, placed).0 else {
            return NOTHING;
        };
        let session = Some(prepay.prepay_id).filter(|id| !id.is_empty());
        let given = [prepay.code_url, session, prepay.mweb_url];
        let given = given.into_iter().flatten();
        let claims: Vec<_> = given.map(|given| (place, json!(given))).collect();
        assert_eq!(claims.len(), 1);
        (Taken::Fact, claims)
    }

    fn refunded(&self, answer: Result<refund::Answer, Error>) -> Outcome {
        use refund::Answer::{Accepted, Change, Failed, Later, Refused, Succeeded, Unknown};
        let refund = &self.refund;
        let mut claims = vec![
            ("/out_refund_no", json!(refund.number().to_string())),
            ("/transaction_id", json!(refund.transaction_id)),
            ("/amount/refund", json!(refund.refund_fee.get())),
        ];
        match answer {
            Ok(Accepted(id) | Succeeded(id, _)) => claims.push(("/refund_id", json!(id))),
            Ok(Change | Failed(_)) => {}
            Ok(Refused { .. } | Later(_) | Unknown) => return HINT,
            Err(_) => return NOTHING,
        }
        (Taken::Fact, claims)
    }
}

fn queried(trade: Result<Trade, Error>) -> Outcome {
    let mut claims = ours();
    claims.push(("/out_trade_no", json!(NUMBER)));
    match trade {
        Ok(Trade::Unknown) => return HINT,
        Err(Error::Uncounted) | Ok(Trade::Open | Trade::Closed | Trade::Failed) => {}
        Ok(Trade::Paid(payment) | Trade::Returned(payment)) => {
            claims.push(("/transaction_id", json!(payment.transaction_id)));
            claims.push(("/amount/total", json!(payment.total_fee.get())));
        }
        Err(_) => return NOTHING,
    }
    (Taken::Fact, claims)
}

fn closed(closing: Result<Closing, Error>) -> Outcome {
    match closing {
        Ok(Closing::Closed) => (Taken::Fact, Vec::new()),
        Ok(Closing::Paid | Closing::Unknown) => HINT,
        Err(_) => NOTHING,
    }
}

fn ours() -> Vec<(&'static str, Value)> {
    vec![("/mchid", json!(MCH_ID)), ("/appid", json!(APP_ID))]
}
