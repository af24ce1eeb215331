//! Refunds at WeChat: accepted once per number, ended when their time comes,
//! and the sealed notifications about them. It refuses to know why money goes
//! back.

use shared::domain::time::Timestamp;
use wechat_simulator::sign::{Fields, seal};
use wechat_simulator::xml;

use super::{API_KEY, APP_ID, MCH_ID, Moment, Standing, Trade, Wechat, fields, refused};
use crate::plan::{HOUR, MINUTE, SECOND};
use crate::random::Random;

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Accepted.
    Processing,
    /// The payer's account cannot be reached; a person must act.
    Change,
    /// The money is back.
    Success,
    /// It will not go back.
    Closed,
}

impl State {
    /// WeChat's word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Processing => "PROCESSING",
            Self::Change => "CHANGE",
            Self::Success => "SUCCESS",
            Self::Closed => "REFUNDCLOSE",
        }
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Closed)
    }
}

/// An `out_refund_no` at WeChat.
#[derive(Debug, Clone)]
pub struct Refund {
    /// The hub's number.
    pub number: String,
    /// What goes back of which payment.
    pub refund_fee: i64,
    /// WeChat's number of the payment.
    pub transaction_id: String,
    /// When the payer's account turns out to be dead, if it is.
    pub changes_at: Option<i64>,
    /// When it ends.
    pub ends_at: i64,
    total_fee: i64,
    end: State,
    serial: usize,
}

impl Refund {
    /// Where it stands then.
    #[must_use]
    pub fn state(&self, now: i64) -> State {
        match self.changes_at {
            _ if now >= self.ends_at => self.end,
            Some(at) if now >= at => State::Change,
            _ => State::Processing,
        }
    }

    fn refund_id(&self) -> String {
        format!("5030000709{:018}", self.serial)
    }

    /// The body of a notification that claims this state, true or not.
    #[must_use]
    pub fn notification(&self, state: State) -> String {
        let inner = fields(&[
            ("transaction_id", &self.transaction_id),
            ("refund_id", &self.refund_id()),
            ("out_refund_no", &self.number),
            ("total_fee", &self.total_fee.to_string()),
            ("refund_fee", &self.refund_fee.to_string()),
            ("settlement_refund_fee", &self.refund_fee.to_string()),
            ("refund_status", state.name()),
        ]);
        let plain = xml::write_under("root", &inner);
        xml::write(&fields(&[
            ("return_code", "SUCCESS"),
            ("appid", APP_ID),
            ("mch_id", MCH_ID),
            ("nonce_str", "simulation"),
            ("req_info", &seal(&plain, API_KEY)),
        ]))
    }
}

/// The difficulties that WeChat makes, and whether it has done it all the same.
const DIFFICULTIES: [(&str, bool); 7] = [
    ("NOTENOUGH", false),
    ("USER_ACCOUNT_ABNORMAL", false),
    ("SYSTEMERROR", false),
    ("SYSTEMERROR", true),
    ("BIZERR_NEED_RETRY", false),
    ("FREQUENCY_LIMITED", false),
    ("INVALID_REQ_TOO_MUCH", false),
];

impl Wechat {
    /// The refunds of a payment.
    pub(super) fn refunds_of(&self, transaction_id: &str) -> impl Iterator<Item = &Refund> {
        let own = move |refund: &&Refund| refund.transaction_id == transaction_id;
        self.refunds.values().filter(own)
    }

    /// The trade that this payment paid.
    fn paid(&self, transaction_id: &str) -> Option<&Trade> {
        self.trades.values().find(|trade| {
            matches!(trade.standing, Standing::Paid(_)) && trade.transaction_id() == transaction_id
        })
    }

    pub(super) fn refund(
        &mut self,
        asked: &Fields,
        (now, rate, random): Moment<'_>,
    ) -> Result<Fields, String> {
        let field = |name: &str| asked.get(name).cloned().unwrap_or_default();
        let fen = |name: &str| field(name).parse::<i64>().unwrap_or_default();
        let (number, transaction_id) = (field("out_refund_no"), field("transaction_id"));
        let (total_fee, refund_fee) = (fen("total_fee"), fen("refund_fee"));
        let trade = self
            .paid(&transaction_id)
            .ok_or_else(|| format!("{number} gives {transaction_id:?} back, which nobody paid"))?;
        if trade.total_fee != total_fee || refund_fee < 1 {
            return Err(format!(
                "{number} gives {refund_fee} of {total_fee} back, {} were paid",
                trade.total_fee
            ));
        }
        if self.refunds.get(&number).is_some_and(|known| {
            (&known.transaction_id, known.refund_fee) != (&transaction_id, refund_fee)
        }) {
            return Err(format!("{number} was used for another refund"));
        }
        let others = self.refunds_of(&transaction_id);
        let sum: i64 = others
            .filter(|other| other.number != number && other.state(now) != State::Closed)
            .map(|other| other.refund_fee)
            .sum();
        if sum + refund_fee > total_fee {
            return Err(format!(
                "{number} and the refunds before it exceed {total_fee}"
            ));
        }
        let difficulty = random.chance(rate * 2).then(|| random.pick(&DIFFICULTIES));
        let difficulty = difficulty.flatten();
        self.difficulties += u64::from(difficulty.is_some());
        if let Some((code, false)) = difficulty {
            return Ok(refused(code));
        }
        let serial = self.refunds.len();
        let accepted = &mut self.accepted;
        let refund = self.refunds.entry(number).or_insert_with_key(|number| {
            accepted.push(number.clone());
            let (changes_at, ends_at, end) = course(now, random);
            Refund {
                number: number.clone(),
                refund_fee,
                transaction_id,
                changes_at,
                ends_at,
                total_fee,
                end,
                serial,
            }
        });
        Ok(match difficulty {
            Some((code, _)) => refused(code),
            None => fields(&[
                ("transaction_id", &refund.transaction_id),
                ("out_refund_no", &refund.number),
                ("refund_id", &refund.refund_id()),
                ("refund_fee", &refund.refund_fee.to_string()),
                ("total_fee", &refund.total_fee.to_string()),
                ("cash_fee", &refund.total_fee.to_string()),
            ]),
        })
    }

    pub(super) fn refund_query(&self, asked: &Fields, now: i64) -> Result<Fields, String> {
        let number = asked
            .get("out_refund_no")
            .ok_or("the hub asked about refunds otherwise than by its own number")?;
        let Some(refund) = self.refunds.get(number) else {
            return Ok(refused("REFUNDNOTEXIST"));
        };
        let state = refund.state(now);
        let mut answer = fields(&[
            ("transaction_id", &refund.transaction_id),
            ("total_fee", &refund.total_fee.to_string()),
            ("refund_count", "1"),
            ("out_refund_no_0", &refund.number),
            ("refund_id_0", &refund.refund_id()),
            ("refund_fee_0", &refund.refund_fee.to_string()),
            ("refund_status_0", state.name()),
            ("refund_recv_accout_0", "payer"),
        ]);
        if state == State::Success {
            let at = spaced(refund.ends_at);
            answer.insert("refund_success_time_0".to_owned(), at);
        }
        Ok(answer)
    }
}

/// What will become of a refund: when the payer's account turns out to be
/// dead, when it ends, and how.
fn course(now: i64, random: &mut Random) -> (Option<i64>, i64, State) {
    let ends_at = now
        + match random.within(0, 9) {
            0 => 0,
            1..=5 => random.within(SECOND, 5 * MINUTE),
            6..=8 => random.within(5 * MINUTE, 3 * HOUR),
            _ => random.within(3 * HOUR, 72 * HOUR),
        };
    let change = Some(now + random.within(0, ends_at - now));
    match random.within(0, 19) {
        0..=15 => (None, ends_at, State::Success),
        16..=17 => (None, ends_at, State::Closed),
        18 => (change, ends_at, State::Success),
        _ => (change, ends_at, State::Closed),
    }
}

/// `yyyy-MM-dd HH:mm:ss`, in Beijing.
fn spaced(at: i64) -> String {
    let text = Timestamp::from_millis(at).beijing();
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-{} {}:{}:{}",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(8, 10),
        part(10, 12),
        part(12, 14)
    )
}
