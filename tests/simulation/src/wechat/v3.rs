//! Calls of version 3, and the difficulties that WeChat makes over them.

use axum::http::{Method, Uri};
use serde_json::Value;
use wechat_simulator::pay::{Charge, Refusal, Version};
use wechat_simulator::v3::{Answer, Asked as AskedV3, Now, Spoilt};

use super::{CERTIFICATES, Wechat};
use crate::asked::{Asked, What};
use crate::plan::SECOND;
use crate::random::Random;
use crate::scheduler::{HttpCall, Reply};

/// The difficulties that version 3 makes over anything else; each may be made
/// after the fact.
const V3_DIFFICULTIES: [&str; 3] = ["SYSTEMERROR", "FREQUENCY_LIMITED", "BANKERROR"];

impl Wechat {
    /// Gives a merchant WeChat's certificates, if it has any there.
    pub(crate) fn certificates(&mut self, call: &HttpCall, now: i64) -> Reply {
        self.pass(now);
        let uri = Uri::from_static(CERTIFICATES);
        self.as_it_came(call, &uri, now, None).into()
    }

    pub(super) fn answer_v3(
        &mut self,
        call: &HttpCall,
        asked: &Asked,
        now: i64,
        rate: u32,
        random: &mut Random,
    ) -> Result<Answer, String> {
        if asked.what == What::Refund {
            let number = asked.out_refund_no.clone().unwrap_or_default();
            return self.refund(
                &number,
                (now, rate),
                random,
                |wechat| wechat.ask_v3(call, asked, now, None),
                |wechat, refusal| {
                    let moment = wechat.moment(now);
                    wechat.pay.refusal_v3(refusal, moment)
                },
            );
        }
        let difficulty = random.chance(rate / 2);
        let difficulty = difficulty.then(|| random.pick(&V3_DIFFICULTIES)).flatten();
        let is_done = difficulty.is_none() || random.chance(500);
        let spoilt = random.chance(rate / 4).then_some(Spoilt::SignTest);
        self.difficulties += u64::from(difficulty.is_some() || spoilt.is_some());
        let answer = match is_done {
            true => Some(self.ask_v3(call, asked, now, spoilt)?),
            false => None,
        };
        let moment = self.moment(now);
        Ok(match (difficulty, answer) {
            (None, Some(answer)) => answer,
            (code, _) => {
                let code = code.unwrap_or_default();
                let refusal = Refusal::business(code, "a difficulty");
                self.pay.refusal_v3(&refusal, moment)
            }
        })
    }

    fn ask_v3(
        &mut self,
        call: &HttpCall,
        asked: &Asked,
        now: i64,
        spoilt: Option<Spoilt>,
    ) -> Result<Answer, String> {
        let target = match call.query.as_str() {
            "" => call.path.clone(),
            query => format!("{}?{query}", call.path),
        };
        let uri: Uri = target.parse().map_err(|_| format!("{target} is no path"))?;
        let known = asked.out_trade_no.as_ref();
        let known = known.and_then(|number| self.pay.order(number));
        // What version 2 opened, and the hub has no key for, is not the same order.
        let is_another = known.is_some_and(|order| order.version == Version::V2);
        let may_differ = match asked.what {
            What::Place => is_another || self.is_forgotten(asked.out_trade_no.as_deref()),
            What::Refund => self.has_people(asked.transaction_id.as_deref()),
            _ => true,
        };
        let answer = self.as_it_came(call, &uri, now, spoilt);
        let refused: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let code = refused.get("code").and_then(Value::as_str);
        let is_the_hubs_fault = match code.filter(|_| answer.status >= 400) {
            Some(
                "PARAM_ERROR"
                | "SIGN_ERROR"
                | "NOT_FOUND"
                | "APPID_MCHID_NOT_MATCH"
                | "OPENID_MISMATCH",
            ) => true,
            Some("INVALID_REQUEST") => !may_differ,
            Some("RESOURCE_NOT_EXISTS") => call.method == Method::POST,
            _ => false,
        };
        match is_the_hubs_fault {
            true => Err(format!("the hub called {target} wrongly: {}", answer.body)),
            false => Ok(answer),
        }
    }

    fn as_it_came(
        &mut self,
        call: &HttpCall,
        uri: &Uri,
        now: i64,
        spoilt: Option<Spoilt>,
    ) -> Answer {
        let signed_at = Now {
            moment: self.moment(now),
            clock: now / SECOND,
        };
        let asked = AskedV3 {
            method: &call.method,
            uri,
            headers: &call.headers,
            body: call.body.as_bytes(),
        };
        self.pay
            .answer_v3(&asked, signed_at, spoilt, |_| Charge::Paid)
    }
}
