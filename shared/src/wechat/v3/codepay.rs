//! codepay, the payment by the code on the payer's phone, and its reverse, which
//! takes it back. <https://pay.weixin.qq.com/doc/v3/merchant/4012382150>

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Speaker;
use super::pay::{NewAmount, description, detail};
use super::transaction::Transaction;
use crate::domain::id::OutTradeNo;
use crate::domain::order::Order;
use crate::domain::time::Timestamp;
use crate::wechat::asked::Subject;
use crate::wechat::payment_code::{Charge, Reversal, ends_it};
use crate::wechat::{Error, Trade};

/// Like an order of another type, but for where the till is: WeChat reports it to
/// nobody, and it has no end of its own.
#[derive(Serialize)]
struct Codepay<'a> {
    appid: &'a str,
    mchid: &'a str,
    description: String,
    out_trade_no: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    attach: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    goods_tag: Option<&'a str>,
    payer: Payer<'a>,
    amount: NewAmount,
    scene_info: Scene<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Value>,
}

#[derive(Serialize)]
struct Payer<'a> {
    auth_code: &'a str,
}

#[derive(Serialize)]
struct Scene<'a> {
    device_ip: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store_info: Option<Store<'a>>,
}

/// The merchant's number of the shop, which is not WeChat's.
#[derive(Serialize)]
struct Store<'a> {
    out_id: &'a str,
}

#[derive(Serialize)]
struct Reverse<'a> {
    appid: &'a str,
    mchid: &'a str,
}

/// What was taken back.
#[derive(Deserialize)]
struct Reversed {
    mchid: String,
    out_trade_no: String,
}

impl Speaker<'_> {
    /// Charges a payer's code. The money may move although the answer is lost, so it
    /// is called once for an attempt and never repeated: a query tells.
    pub(in crate::wechat) async fn codepay(
        &self,
        order: &Order,
        number: &OutTradeNo,
        auth_code: &str,
        client_ip: IpAddr,
        now: Timestamp,
    ) -> Result<Charge, Error> {
        let body = self.code(order, number, auth_code, client_ip);
        let about = Subject::Trade(number);
        let path = "/v3/pay/transactions/codepay";
        let answer: Result<Transaction, Error> = self.post_once(path, &body, about, now).await;
        let told = match answer {
            Ok(transaction) => self.read(&transaction, number, now)?,
            Err(Error::Business { code, .. }) if ends_it(&code) => {
                // Nobody has signed that: the query's answer counts.
                match self.ask(number, now).await {
                    Ok(Trade::Failed | Trade::Closed | Trade::Unknown) => {
                        return Ok(Charge::Refused(code));
                    }
                    Ok(trade) => trade,
                    Err(_) => return Ok(Charge::Paying),
                }
            }
            Err(Error::Business { .. } | Error::Unknown(_) | Error::Unreachable(_)) => {
                return Ok(Charge::Paying);
            }
            Err(error) => return Err(error),
        };
        Ok(match told {
            Trade::Paid(payment) => Charge::Paid(payment),
            _ => Charge::Paying,
        })
    }

    fn code<'a>(
        &'a self,
        order: &'a Order,
        number: &OutTradeNo,
        auth_code: &'a str,
        client_ip: IpAddr,
    ) -> Codepay<'a> {
        let request = &order.request;
        Codepay {
            appid: self.account.as_str(),
            mchid: self.client.identity.mch_id.as_str(),
            description: description(&request.body),
            out_trade_no: number.to_string(),
            attach: request.attach.as_deref().filter(|text| !text.is_empty()),
            goods_tag: request.goods_tag.as_deref(),
            payer: Payer { auth_code },
            amount: NewAmount::of(request.total_fee),
            scene_info: Scene {
                device_ip: client_ip.to_string(),
                device_id: request.device_info.as_deref(),
                store_info: request.store_id.as_deref().map(|out_id| Store { out_id }),
            },
            detail: request.detail.as_deref().and_then(detail),
        }
    }

    /// Takes back what a payer's code paid: closes what was not paid and gives back
    /// what was. Repeating it is safe. Not within 15 seconds of the payment. No client
    /// certificate is shown.
    pub(in crate::wechat) async fn reverse(
        &self,
        number: &OutTradeNo,
        now: Timestamp,
    ) -> Result<Reversal, Error> {
        let path = format!("/v3/pay/transactions/out-trade-no/{number}/reverse");
        let mchid = self.client.identity.mch_id.as_str();
        let body = Reverse {
            appid: self.account.as_str(),
            mchid,
        };
        let about = Subject::Trade(number);
        let answer: Result<Reversed, Error> = self.post(&path, &body, about, now).await;
        let refusal = match answer {
            Ok(done) if done.out_trade_no != number.to_string() || done.mchid != mchid => {
                return Err(Error::Forged("what was taken back is another's"));
            }
            Ok(_) => return Ok(Reversal::Done),
            Err(refusal) => refusal,
        };
        match refusal.business_code() {
            // The payer is just paying: WeChat takes it back a little later.
            Some("USERPAYING") => Ok(Reversal::Again),
            Some("ORDERNOTEXIST") => Ok(Reversal::Unknown),
            // Nobody has signed that: the query's answer counts.
            Some("ORDERREVERSED" | "ORDER_CLOSED") => match self.ask(number, now).await? {
                Trade::Closed => Ok(Reversal::Done),
                _ => Err(refusal),
            },
            _ => Err(refusal),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::domain::fixtures::order;
    use crate::wechat::Gateway;
    use crate::wechat::fixtures::first_account;
    use crate::wechat::v3::Client;
    use crate::wechat::v3::fixtures::client;

    fn body(change: impl FnOnce(&mut Order)) -> Value {
        let (mut order, wechat, account) = (order(), client(), first_account());
        change(&mut order);
        let speaker = wechat.through(&account);
        let till = "203.0.113.9".parse().unwrap();
        let code = speaker.code(&order, &order.out_trade_no(1), "130000000000000099", till);
        serde_json::to_value(code).unwrap()
    }

    #[test]
    fn wechat_is_told_the_code_and_where_the_till_is() {
        let least = json!({
            "appid": "wx", "mchid": "1900000109", "description": "test",
            "out_trade_no": "demo000000000001A00000000101",
            "payer": {"auth_code": "130000000000000099"},
            "amount": {"total": 100, "currency": "CNY"},
            "scene_info": {"device_ip": "203.0.113.9"},
        });
        assert_eq!(body(|_| {}), least);
        let told = body(|order| {
            let request = &mut order.request;
            request.attach = Some("a&b".into());
            request.goods_tag = Some("WXG".into());
            request.device_info = Some("till 3".into());
            request.store_id = Some("S1".into());
            request.store_name = Some("腾大".into());
            request.detail = Some(r#"{"receipt_id":"r","goods_detail":[]}"#.into());
        });
        let mut most = least;
        most["attach"] = json!("a&b");
        most["goods_tag"] = json!("WXG");
        most["scene_info"]["device_id"] = json!("till 3");
        most["scene_info"]["store_info"] = json!({"out_id": "S1"});
        most["detail"] = json!({"invoice_id": "r", "goods_detail": []});
        assert_eq!(told, most);
    }

    /// A client of WeChat's that gives these answers in turn, which nobody has signed;
    /// and the requests' first lines.
    async fn told(answers: &'static [(u16, &'static str)]) -> (Client, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut wechat = client();
        let address = listener.local_addr().unwrap();
        wechat.identity.gateway = Gateway::at(&format!("http://{address}"));
        let heard = tokio::spawn(async move {
            let mut lines = Vec::new();
            for (status, code) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut heard = String::new();
                // A body is an object.
                while !(heard.ends_with('}')
                    || heard.starts_with("GET") && heard.ends_with("\r\n\r\n"))
                {
                    let mut some = [0; 4096];
                    let read = stream.read(&mut some).await.unwrap();
                    assert!(read > 0, "{heard}");
                    heard.push_str(std::str::from_utf8(&some[..read]).unwrap());
                }
                lines.push(heard.lines().next().unwrap_or_default().to_owned());
                let body = json!({"code": code, "message": "m"}).to_string();
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
                let answer = format!("{head}connection: close\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            lines
        });
        (wechat, heard)
    }

    #[tokio::test]
    async fn a_refusal_counts_when_no_query_contradicts_it_and_the_code_is_sent_once() {
        let refused = |code: &str| Some(Charge::Refused(code.to_owned()));
        let paying = Some(Charge::Paying);
        let cases: [(&[_], _); 8] = [
            (&[(202, "USERPAYING")], paying.clone()),
            (&[(202, "USER_PAYING")], paying.clone()),
            (&[(500, "SYSTEM_ERROR")], paying.clone()),
            (&[(403, "TRADE_ERROR")], paying.clone()),
            (
                &[(403, "NOT_ENOUGH"), (404, "ORDER_NOT_EXIST")],
                refused("NOTENOUGH"),
            ),
            (
                &[(400, "AUTH_CODE_EXPIRE"), (404, "ORDERNOTEXIST")],
                refused("AUTHCODEEXPIRE"),
            ),
            (&[(403, "NOT_ENOUGH"), (500, "SYSTEM_ERROR")], paying),
            (&[(401, "SIGN_ERROR")], None),
        ];
        for (answers, expected) in cases {
            let (wechat, heard) = told(answers).await;
            let (order, account) = (order(), first_account());
            let speaker = wechat.through(&account);
            let (number, till) = (order.out_trade_no(1), "203.0.113.9".parse().unwrap());
            let now = Timestamp::from_millis(0);
            let charged = speaker.codepay(&order, &number, "13", till, now).await;
            assert_eq!(charged.ok(), expected, "{answers:?}");
            let lines = heard.await.unwrap();
            let charges = lines.iter().filter(|line| line.starts_with("POST"));
            assert_eq!(charges.count(), 1, "{lines:?}");
        }
    }

    #[tokio::test]
    async fn a_reverse_that_is_refused_is_asked_for_again_or_proves_nothing() {
        let cases: [(&[_], _); 5] = [
            (&[(202, "USERPAYING")], Some(Reversal::Again)),
            (&[(400, "USER_PAYING")], Some(Reversal::Again)),
            (&[(404, "ORDER_NOT_EXIST")], Some(Reversal::Unknown)),
            (&[(500, "SYSTEM_ERROR")], None),
            // Unsigned.
            (&[(200, "")], None),
        ];
        for (answers, expected) in cases {
            let (wechat, heard) = told(answers).await;
            let (order, account) = (order(), first_account());
            let (number, now) = (order.out_trade_no(1), Timestamp::from_millis(0));
            let taken_back = wechat.through(&account).reverse(&number, now).await;
            assert_eq!(taken_back.ok(), expected, "{answers:?}");
            heard.await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_nobody_heard_is_asked_about_and_not_called_refused() {
        let (order, wechat, account) = (order(), client(), first_account());
        let speaker = wechat.through(&account);
        let (number, now) = (order.out_trade_no(1), Timestamp::from_millis(0));
        let till = "203.0.113.9".parse().unwrap();
        let charged = speaker.codepay(&order, &number, "13", till, now).await;
        assert!(matches!(charged, Ok(Charge::Paying)));
        let taken_back = speaker.reverse(&number, now).await;
        assert!(matches!(taken_back, Err(Error::Unreachable(_))));
    }
}
