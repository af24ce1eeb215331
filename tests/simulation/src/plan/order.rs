//! What happens to an order: its price and its end, its payers and what they do,
//! its app's temper and wishes, and the people who lay hands on it.

use shared::domain::order::TradeType;

use super::{ApiVersion, AppPlan, EPOCH, HOUR, MINUTE, MerchantPlan, SECOND};
use crate::random::Random;

/// An order, and what its payer and its app will do.
#[derive(Debug, Clone)]
pub(crate) struct OrderPlan {
    /// Whose it is, by its place among the apps.
    pub(crate) app: usize,
    pub(crate) order_no: String,
    /// Its price in fen.
    pub(crate) total_fee: i64,
    /// When the app asks for it.
    pub(crate) created_at: i64,
    /// How long it may be paid, in seconds.
    pub(crate) expires_in: i64,
    /// When the payer pays.
    pub(crate) paid_at: i64,
    /// When the app gives it up.
    pub(crate) closed_at: Option<i64>,
    /// What happens to it.
    pub(crate) story: Story,
    /// How it is paid, where the story leaves that open.
    pub(crate) way: Way,
    /// WeChat tells the app itself (version 1.0).
    pub(crate) direct: bool,
    /// How its app answers.
    pub(crate) temper: Temper,
    /// What its app wants back.
    pub(crate) wishes: Vec<Wish>,
    /// When its app has WeChat asked, and how many times at once.
    pub(crate) queries: Vec<(i64, i64)>,
    /// What people give back of it.
    pub(crate) by_hand: Vec<ByHand>,
    /// When its row is put back from a backup.
    pub(crate) put_back: Vec<i64>,
    /// The codes that the payer shows, one after the other.
    pub(crate) codes: Vec<(String, Purse)>,
    /// Who opens the pay page, and when.
    pub(crate) visits: Vec<(i64, Visitor)>,
}

/// How an app answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Temper {
    /// `success` after so many calls that failed.
    After(u32),
    /// Never with `success`.
    Deaf,
}

/// What a code on a payer's phone comes to, with seconds where it takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purse {
    /// Paid at once, without a password.
    Pays,
    /// The payer types the password, and has paid after so long.
    Types(i64),
    /// The payer types it wrongly, and the payment has failed after so long.
    Mistypes(i64),
    /// The payer puts the phone away.
    Leaves,
    /// The payer has just paid when the payment is taken back.
    Races,
    /// Refused for good, with this code of WeChat's.
    Refused(&'static str),
    /// WeChat does not know, and it is paid after so long.
    Unsure(i64),
    /// WeChat does not know, and it is never paid.
    Lost,
    /// Nobody answers, and the charge reaches WeChat after so long.
    Late(i64),
}

/// A person gives money back in WeChat's merchant platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByHand {
    pub(crate) at: i64,
    /// Of which attempt's payment.
    pub(crate) attempt: u8,
    /// How much in a thousand of what is left.
    pub(crate) share: i64,
}

/// An app wants money back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) at: i64,
    /// The refund's number within the order.
    pub(crate) part: String,
    pub(crate) fee: i64,
    /// Of which payment, if not of the order's own.
    pub(crate) transaction_id: Option<String>,
}

/// What the payer and WeChat do with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Story {
    /// Nobody ever pays.
    Unpaid,
    /// It is paid and WeChat tells.
    Paid,
    /// It is paid and every notification is lost.
    PaidSilently,
    /// WeChat notifies another amount first, and then the right one.
    WrongAmountFirst,
    /// Another amount is paid than was asked.
    WrongAmount,
    /// Two attempts, and the one that WeChat had closed is paid as well.
    PaidTwice,
    /// Several payers come, perhaps at once, and each pays what he is served.
    ManyWays,
    /// It is paid although WeChat had closed it.
    PaidAfterClose,
    /// The till scans the codes on the payer's phone, one after the other.
    CodeUse,
}

/// How an order is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By a QR code.
    Native,
    /// In the app's client on a phone.
    App,
    /// In its mini program.
    MiniProgram,
}

/// A payer at the pay page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Visitor {
    pub(crate) trade_type: TradeType,
    /// The openid and the address are made of it.
    pub(crate) number: u8,
    /// How long the payer takes to pay what was served; without it the page is
    /// left.
    pub(crate) pays_after: Option<i64>,
}

/// One of an app among these.
pub(super) fn order(
    random: &mut Random,
    apps: &[AppPlan],
    merchants: &[MerchantPlan; 2],
) -> OrderPlan {
    let app = random.index(apps.len());
    let of = apps.get(app);
    let payees = || {
        let all = merchants.iter().enumerate();
        all.filter(|(place, _)| of.is_some_and(|app| app.ever_has(*place)))
    };
    // Codes, and the list of what has gone back of a payment, are version 2's.
    let has_v2 = payees().all(|(_, merchant)| merchant.always_has(ApiVersion::V2));
    // The app brings what WeChat tells it to whoever is paid now.
    let stays = of.is_some_and(|app| app.moves_at.is_none());
    let stays = stays && payees().all(|(_, merchant)| merchant.turns.len() == 1);
    // Of what is paid although it was closed, a notification alone tells.
    let keeps_keys = payees().all(|(_, merchant)| merchant.keeps_keys());
    let has_mobile = of.is_some_and(|app| !app.accounts.is_empty());
    let created_at = EPOCH + random.within(0, 10 * MINUTE);
    let expires_in = match random.within(0, 3) {
        0 => random.within(60, 600),
        1 | 2 => 7200,
        _ => random.within(600, 86_400),
    };
    let story = match random.within(0, 29) {
        0..=1 => Story::Unpaid,
        2..=11 => Story::Paid,
        12..=14 => Story::PaidSilently,
        15 => Story::WrongAmountFirst,
        16 => Story::WrongAmount,
        20..=24 if has_v2 => Story::CodeUse,
        20..=24 => Story::Paid,
        17..=18 if keeps_keys => Story::PaidTwice,
        25..=29 => Story::ManyWays,
        _ if keeps_keys => Story::PaidAfterClose,
        _ => Story::PaidSilently,
    };
    let longest = (expires_in - 5).min(1800) * SECOND;
    let temper = match random.within(0, 19) {
        0..=9 => Temper::After(0),
        10..=16 => Temper::After(u32::try_from(random.within(1, 8)).unwrap_or(1)),
        17..=18 => Temper::After(u32::try_from(random.within(9, 16)).unwrap_or(9)),
        _ => Temper::Deaf,
    };
    let closed_at = random
        .chance(150)
        .then(|| created_at + random.within(SECOND, longest));
    let total_fee = random.within(1, 99_999);
    let paid_at = created_at + random.within(2 * SECOND, longest);
    let wishes = match random.chance(400) {
        true => wishes(paid_at, total_fee, random),
        false => Vec::new(),
    };
    let by_hand = match random.chance(250) && story != Story::CodeUse && has_v2 {
        true => by_hand(paid_at, random),
        false => Vec::new(),
    };
    let put_back = match random.chance(200) && story != Story::CodeUse && has_v2 {
        true => put_back(paid_at, random),
        false => Vec::new(),
    };
    OrderPlan {
        by_hand,
        put_back,
        closed_at,
        app,
        way: match random.within(0, 9) {
            0..=1 if has_mobile => Way::App,
            2..=3 if has_mobile => Way::MiniProgram,
            _ => Way::Native,
        },
        order_no: random.word(10),
        total_fee,
        created_at,
        expires_in,
        paid_at,
        wishes,
        queries: queries(created_at, paid_at, expires_in, random),
        codes: match story {
            Story::CodeUse => codes(random),
            _ => Vec::new(),
        },
        visits: match story {
            Story::ManyWays => visits(created_at, longest, random),
            _ => Vec::new(),
        },
        story,
        direct: matches!(story, Story::Paid | Story::Unpaid) && stays && random.chance(100),
        temper,
    }
}

/// One to six wishes: some repeat an earlier one, to the fen or not, some come
/// at the same moment or while the payment is still being settled, and together
/// they may exceed the payment.
fn wishes(paid_at: i64, total_fee: i64, random: &mut Random) -> Vec<Wish> {
    let count = random.within(1, 6);
    let first = paid_at + random.within(-2 * SECOND, 10 * MINUTE);
    let at_once = random.chance(300);
    let mut wishes: Vec<Wish> = Vec::new();
    for number in 0..count {
        let fee = match random.within(0, 3) {
            0 => total_fee,
            1 => (total_fee / count).max(1),
            _ => random.within(1, total_fee),
        };
        let later = if at_once {
            0
        } else {
            random.within(0, 2 * HOUR)
        };
        let mut wish = Wish {
            at: first + later,
            part: format!("R{number}"),
            fee,
            transaction_id: None,
        };
        let earlier = wishes.get(random.index(wishes.len()));
        if let Some(earlier) = earlier.filter(|_| random.chance(300)) {
            wish.part.clone_from(&earlier.part);
            if random.chance(700) {
                wish.fee = earlier.fee;
            }
        }
        wishes.push(wish);
    }
    wishes
}

/// None for most orders; else while the payer pays, around the end, or whenever.
fn queries(created_at: i64, paid_at: i64, expires_in: i64, random: &mut Random) -> Vec<(i64, i64)> {
    if random.chance(600) {
        return Vec::new();
    }
    let count = random.within(1, 6);
    let query = |random: &mut Random| {
        let at = match random.within(0, 3) {
            0 => created_at + random.within(0, 60 * SECOND),
            1 => paid_at + random.within(-SECOND, 5 * SECOND),
            2 => created_at + expires_in * SECOND + random.within(-MINUTE, 10 * MINUTE),
            _ => created_at + random.within(0, HOUR),
        };
        let copies = if random.chance(200) { 20 } else { 1 };
        (at, copies)
    };
    (0..count).map(|_| query(random)).collect()
}

/// Two to five visits of at most three payers: at the same moment, within
/// seconds, or when WeChat has begun to close what others have left.
fn visits(created_at: i64, longest: i64, random: &mut Random) -> Vec<(i64, Visitor)> {
    let mut at = created_at + 2 * SECOND;
    let count = random.within(2, 5);
    let mut visit = |random: &mut Random| {
        let later = match random.within(0, 5) {
            0..=1 => 0,
            2..=3 => random.within(0, 5 * SECOND),
            4 => random.within(0, 90 * SECOND),
            _ => random.within(5 * MINUTE, 7 * MINUTE),
        };
        at = (at + later).min(created_at + longest.max(3 * SECOND));
        let ways = [TradeType::Native, TradeType::Jsapi, TradeType::Mweb];
        let pays_after = match random.within(0, 3) {
            0 => None,
            1 => Some(random.within(SECOND, 6 * MINUTE)),
            _ => Some(random.within(SECOND, 20 * SECOND)),
        };
        let visitor = Visitor {
            trade_type: random.pick(&ways).unwrap_or(TradeType::Native),
            number: u8::try_from(random.within(1, 3)).unwrap_or(1),
            pays_after,
        };
        (at, visitor)
    };
    (0..count).map(|_| visit(random)).collect()
}

/// One to three refunds that people make, some before the hub can know of the
/// payment.
fn by_hand(paid_at: i64, random: &mut Random) -> Vec<ByHand> {
    let count = random.within(1, 3);
    let one = |random: &mut Random| ByHand {
        at: paid_at
            + match random.within(0, 2) {
                0 => random.within(0, 20 * SECOND),
                1 => random.within(0, 5 * MINUTE),
                _ => random.within(0, 4 * HOUR),
            },
        attempt: u8::try_from(random.within(1, 2)).unwrap_or(1),
        share: random.pick(&[1000, 1000, 500, 100]).unwrap_or(1000),
    };
    (0..count).map(|_| one(random)).collect()
}

/// Once or twice, in the midst of what follows a payment, or when it is over.
fn put_back(paid_at: i64, random: &mut Random) -> Vec<i64> {
    let count = random.within(1, 2);
    let one = |random: &mut Random| {
        paid_at
            + match random.within(0, 3) {
                0 => random.within(0, 10 * SECOND),
                1 => random.within(0, 10 * MINUTE),
                2 => random.within(0, 3 * HOUR),
                _ => random.within(0, 40 * HOUR),
            }
    };
    (0..count).map(|_| one(random)).collect()
}

/// One to four codes; who was refused shows the next one.
fn codes(random: &mut Random) -> Vec<(String, Purse)> {
    let count = random.within(1, 4);
    let code = |random: &mut Random| {
        let digits = random.within(0, 9_999_999_999_999_999);
        let purse = match random.within(0, 15) {
            14..=15 => Purse::Late(random.within(1, 500)),
            0..=2 => Purse::Pays,
            3..=4 => Purse::Types(random.within(1, 35)),
            5 | 12..=13 => Purse::Races,
            6 => Purse::Mistypes(random.within(1, 40)),
            7 => Purse::Leaves,
            8 => Purse::Refused("NOTENOUGH"),
            9 => Purse::Refused("AUTHCODEEXPIRE"),
            10 => Purse::Unsure(random.within(0, 40)),
            _ => Purse::Lost,
        };
        (format!("13{digits:016}"), purse)
    };
    (0..count).map(|_| code(random)).collect()
}
