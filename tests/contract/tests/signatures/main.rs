//! What an app has signed for one use does no other. The signed text joins raw
//! values by `&`, so a value with an `&` in it can be read as several parameters;
//! and two uses with the same parameters have the same text. Whoever sees a
//! signature (it stands in a payer's browser, or in an access log) must not be
//! able to have anything else done with it.
//!
//! The uses are those of docs/openapi.yaml, which names every route; the judges
//! are the functions' own routers.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod hub;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{Request, header};
use contract::{Contract, resolved};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, Value, json};
use shared::domain::delivery::{Delivery, Occasion};
use shared::domain::feed::cursor;
use shared::domain::order::Payment;
use shared::domain::signature::{Params, canonical, sign};
use shared::flows::addresses::return_url;
use tokio::runtime::Runtime;
use url::{Url, form_urlencoded};

use hub::{APP_ID, Hub, NOW, SITE, TOTAL_FEE, app, order};

/// Where a parameter stands in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Path,
    Query,
    Text,
    Integer,
}

/// One route that takes an app's signature.
#[derive(Debug)]
struct Use {
    method: String,
    path: String,
    /// Its parameters, as the document has them; `sign` is no part of what is
    /// signed.
    params: BTreeMap<String, Place>,
    required: BTreeSet<String>,
}

/// Every operation of the document with `app_id` and `sign`.
static USES: LazyLock<Vec<Use>> = LazyLock::new(|| {
    let document = &Contract::get().document;
    let mut uses = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let found = Use::read(document, method, path, operation);
            if found.params.contains_key("sign") && found.params.contains_key("app_id") {
                uses.push(found.unsigned());
            }
        }
    }
    uses
});

impl Use {
    fn read(document: &Value, method: &str, path: &str, operation: &Value) -> Self {
        let mut found = Self {
            method: method.to_uppercase(),
            path: path.to_owned(),
            params: BTreeMap::new(),
            required: BTreeSet::new(),
        };
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let parameter = resolved(document, parameter);
            let name = parameter["name"].as_str().unwrap();
            let place = match parameter["in"].as_str() {
                Some("path") => Place::Path,
                Some("query") => Place::Query,
                _ => continue,
            };
            found.add(name, place, parameter["required"] == true);
        }
        let content = &resolved(document, &operation["requestBody"])["content"];
        let schema = resolved(document, &content["application/json"]["schema"]);
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let kind = &resolved(document, field)["type"];
            let place = match kind.to_string().contains("integer") {
                true => Place::Integer,
                false => Place::Text,
            };
            let required = schema["required"].as_array();
            let is_required = required.is_some_and(|all| all.contains(&json!(name)));
            found.add(name, place, is_required);
        }
        found
    }

    fn add(&mut self, name: &str, place: Place, is_required: bool) {
        self.params.insert(name.to_owned(), place);
        if is_required {
            self.required.insert(name.to_owned());
        }
    }

    /// Without `sign` and what the hub itself adds to its pay addresses.
    fn unsigned(mut self) -> Self {
        let is_signed = |name: &String| name != "sign" && !name.starts_with("hub_");
        self.params.retain(|name, _| is_signed(name));
        self.required.retain(is_signed);
        self
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// A good value for a parameter. One that is new needs its line here.
    fn plain(&self, name: &str) -> String {
        let action = self.path.rsplit('/').next().unwrap_or_default();
        match name {
            "app_id" => APP_ID.to_owned(),
            "timestamp" => NOW.seconds().to_string(),
            "nonce" => "c0ffee".to_owned(),
            "action" => action.to_owned(),
            "order_no" => "A000000001".to_owned(),
            "total_fee" | "refund_fee" => TOTAL_FEE.to_string(),
            "notify_url" | "return_url" | "redirect_uri" | "url" => format!("{SITE}page"),
            "trade_type" => "NATIVE".to_owned(),
            "version" => "2.0".to_owned(),
            "client_ip" => "203.0.113.7".to_owned(),
            "expires_in" => "600".to_owned(),
            "refund_no" => "R1".to_owned(),
            "notification" => "PHhtbD4=".to_owned(),
            "wechatpay_timestamp" => NOW.seconds().to_string(),
            "wechatpay_serial" => "PUB_KEY_ID_1".to_owned(),
            "wechatpay_signature" => "c2lnbmVk".to_owned(),
            "account" => "wx0000000000000000".to_owned(),
            "scope" => "snsapi_base".to_owned(),
            "after" => cursor(&app().app_id, 7),
            "limit" => "10".to_owned(),
            "auth_code" => "134567890123456789".to_owned(),
            "limit_pay" => "no_credit".to_owned(),
            "detail" => r#"{"goods_detail":[{"goods_id":"g","quantity":1,"price":1}]}"#.to_owned(),
            "store_area_code" => "440305".to_owned(),
            "body" | "attach" | "openid" | "reason" | "transaction_id" | "state" | "code"
            | "js_code" | "wechatpay_nonce" | "device_info" | "goods_tag" | "store_id"
            | "store_name" | "store_address" => "x".to_owned(),
            new => panic!("{new} of {} is new: give it a good value here", self.name()),
        }
    }

    /// The request with these parameters, if it can be written.
    fn request(&self, params: &Params, signature: &str) -> Option<Request<Body>> {
        let mut path = self.path.clone();
        let mut query = form_urlencoded::Serializer::new(String::new());
        let mut body = Map::new();
        for (name, value) in params {
            // What the route does not know travels with what it knows.
            let usual = match self.method.as_str() {
                "GET" => Place::Query,
                _ => Place::Text,
            };
            match self.params.get(name).copied().unwrap_or(usual) {
                Place::Path => path = path.replace(&format!("{{{name}}}"), &encoded(value)),
                Place::Query => drop(query.append_pair(name, value)),
                Place::Text => drop(body.insert(name.clone(), json!(value))),
                Place::Integer => {
                    let number: i64 = value.parse().ok()?;
                    body.insert(name.clone(), json!(number));
                }
            }
        }
        if path.contains('{') {
            return None;
        }
        let request = Request::builder().method(self.method.as_str());
        match self.method.as_str() {
            "GET" => {
                query.append_pair("sign", signature);
                let query = query.finish();
                request.uri(format!("{path}?{query}")).body(Body::empty())
            }
            _ => {
                body.insert("sign".to_owned(), json!(signature));
                let json = (header::CONTENT_TYPE, "application/json");
                let request = request.uri(path).header(json.0, json.1);
                request.body(Body::from(Value::Object(body).to_string()))
            }
        }
        .ok()
    }
}

fn encoded(segment: &str) -> String {
    segment.bytes().fold(String::new(), |mut text, byte| {
        write!(text, "%{byte:02X}").unwrap();
        text
    })
}

/// The hub, and what it turns out to take.
struct World {
    runtime: Runtime,
    hub: Hub,
    /// For each use the parameters that it takes, documented or not.
    taken: Vec<BTreeSet<String>>,
    /// Of them those whose value may have an `&`.
    free: Vec<Vec<String>>,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let hub = runtime.block_on(Hub::start());
        let mut world = Self {
            runtime,
            hub,
            taken: Vec::new(),
            free: Vec::new(),
        };
        let all: BTreeSet<&String> = USES.iter().flat_map(|at| at.params.keys()).collect();
        for at in USES.iter() {
            let takes = |name: &str, value: String| {
                let mut params = plain(at);
                // What is said of a store is of no use without its number.
                if name.starts_with("store_") && at.params.contains_key("store_id") {
                    params.insert("store_id".to_owned(), at.plain("store_id"));
                }
                params.insert(name.to_owned(), value);
                world.accepts_signed(at, &params)
            };
            let names = all.iter().map(|name| (*name).clone());
            let taken: BTreeSet<String> =
                names.filter(|name| takes(name, at.plain(name))).collect();
            let names = taken.iter().cloned();
            let free = names
                .filter(|name| takes(name, at.plain(name) + "&x"))
                .collect();
            world.free.push(free);
            world.taken.push(taken);
        }
        world
    }

    /// Whether this use accepts these parameters under a signature of that text.
    fn accepts(&self, at: &Use, params: &Params, signature: &str) -> bool {
        let request = at.request(params, signature);
        request.is_some_and(|request| self.runtime.block_on(self.hub.accepts(request)))
    }

    fn accepts_signed(&self, at: &Use, params: &Params) -> bool {
        self.accepts(at, params, &sign(params, &app().app_secret))
    }
}

fn plain(at: &Use) -> Params {
    let names = at.required.iter();
    names.map(|name| (name.clone(), at.plain(name))).collect()
}

/// Every way to read the signed text as other parameters of these names, in
/// the order that the signature demands. Not the text's own reading only.
fn readings(text: &str, names: &BTreeSet<&str>) -> Vec<Params> {
    // More would only be more of the same.
    const MOST: usize = 256;
    let mut found = vec![Vec::<(String, String)>::new()];
    for part in text.split('&') {
        let mut longer = Vec::new();
        for pairs in found {
            if let Some((name, value)) = part.split_once('=')
                && names.contains(name)
                && !value.is_empty()
                && pairs.last().is_none_or(|(last, _)| last.as_str() < name)
            {
                let mut cut = pairs.clone();
                cut.push((name.to_owned(), value.to_owned()));
                longer.push(cut);
            }
            let mut kept = pairs;
            if let Some((_, value)) = kept.last_mut() {
                value.push('&');
                value.push_str(part);
                longer.push(kept);
            }
        }
        longer.truncate(MOST);
        found = longer;
    }
    found.into_iter().map(Params::from_iter).collect()
}

/// What else than the request itself may be accepted. `/pay` and `/pay/status`
/// are one address, of which the page asks for the second. And what a POST
/// carries is seen by the app and the hub only, so that a free text of it
/// (`attach`, `body`, `reason`) may have an `&`: read another way it would still be
/// a request of the same kind by the app itself.
fn is_allowed(signed: &Use, params: &Params, read: &Use, reading: &Params) -> bool {
    let is_pay = |at: &Use| matches!(at.path.as_str(), "/pay" | "/pay/status");
    match signed.name() == read.name() {
        true => reading == params || signed.method == "POST",
        false => is_pay(signed) && is_pay(read) && reading == params,
    }
}

/// A text with an `&` and so many of the parameters that would follow it in a
/// text signed for another use; of the optional ones those with a bit in `kept`.
fn hostile(name: &str, start: String, other: &Use, length: usize, kept: u64) -> String {
    let mut text = start;
    let follow = other.params.keys().filter(|next| next.as_str() > name);
    for (place, next) in follow.take(length).enumerate() {
        if other.required.contains(next) || kept >> (place % 64) & 1 == 1 {
            write!(text, "&{next}={}", other.plain(next)).unwrap();
        }
    }
    text
}

/// Fails with the first other use that takes what was signed.
fn no_other_use(world: &World, signed: Option<&Use>, params: &Params) -> Result<(), TestCaseError> {
    let signature = sign(params, &app().app_secret);
    let text = canonical(params, "");
    let text = text.strip_suffix("&key=").unwrap();
    for read in USES.iter() {
        let names = read.params.keys().map(String::as_str).collect();
        for reading in readings(text, &names) {
            let secret = app().app_secret;
            prop_assert_eq!(sign(&reading, &secret), signature.as_str(), "{:?}", reading);
            if signed.is_some_and(|signed| is_allowed(signed, params, read, &reading)) {
                continue;
            }
            prop_assert!(
                !world.accepts(read, &reading, &signature),
                "{text}\nsigned for {:?}, is accepted by {} as {reading:?}",
                signed.map(Use::name),
                read.name(),
            );
        }
    }
    Ok(())
}

#[test]
fn each_use_takes_its_own_parameters_and_no_other_uses() {
    let world = World::new();
    assert!(USES.len() >= 13, "{}", USES.len());
    for (at, taken) in USES.iter().zip(&world.taken) {
        assert!(world.accepts_signed(at, &plain(at)), "{}", at.name());
        let mut documented: BTreeSet<String> = at.params.keys().cloned().collect();
        // For MICROPAY only.
        documented.remove("auth_code");
        assert_eq!(*taken, documented, "{}", at.name());
    }
}

/// Each free text, with the parameters of each other use behind it.
#[test]
fn no_free_text_can_be_cut_into_another_use() {
    let world = World::new();
    let mut texts = 0;
    for ((signed, taken), free) in USES.iter().zip(&world.taken).zip(&world.free) {
        // Without the optional ones, and with all.
        let full = taken.iter().map(|name| (name.clone(), signed.plain(name)));
        for params in [plain(signed), full.collect()] {
            for (name, other) in free
                .iter()
                .flat_map(|name| USES.iter().map(move |at| (name, at)))
            {
                for length in 1..=other.params.len() {
                    let mut params = params.clone();
                    let text = hostile(name, signed.plain(name), other, length, 0);
                    params.insert(name.clone(), text);
                    if world.accepts_signed(signed, &params) {
                        texts += 1;
                        no_other_use(&world, Some(signed), &params).unwrap();
                    }
                }
            }
        }
    }
    assert!(texts > 100, "{texts}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_that_an_app_signs_for_one_use_verifies_for_another(
        pick in any::<Index>(),
        optional in any::<u64>(),
        texts in prop::collection::vec((any::<Index>(), any::<Index>(), 0..14_usize, any::<u64>(), "(&|=|%26|&&|&=x)?"), 0..4),
    ) {
        thread_local!(static WORLD: World = World::new());
        WORLD.with(|world| {
            let place = pick.index(USES.len());
            let (signed, taken, free) = (&USES[place], &world.taken[place], &world.free[place]);
            let mut params = plain(signed);
            let more = |params: &mut Params, name: &str, value: String| {
                let before = params.insert(name.to_owned(), value);
                if !world.accepts_signed(signed, params) {
                    match before {
                        Some(before) => drop(params.insert(name.to_owned(), before)),
                        None => drop(params.remove(name)),
                    }
                }
            };
            for (place, name) in taken.iter().enumerate() {
                if !signed.required.contains(name) && optional >> (place % 64) & 1 == 0 {
                    more(&mut params, name, signed.plain(name));
                }
            }
            for (name, other, length, kept, glue) in texts.iter().filter(|_| !free.is_empty()) {
                let name = name.get(free);
                let start = signed.plain(name) + glue;
                more(&mut params, name, hostile(name, start, other.get(&USES), *length, *kept));
            }
            prop_assert!(world.accepts_signed(signed, &params), "{:?}", params);
            no_other_use(world, Some(signed), &params)
        })?;
    }

    /// Under the same secret the hub signs for the app, and payers' browsers carry
    /// some of it.
    #[test]
    fn no_text_that_the_hub_signs_for_an_app_verifies_as_the_apps(
        other in any::<Index>(),
        length in 0..14_usize,
        kept in any::<u64>(),
    ) {
        thread_local!(static WORLD: World = World::new());
        WORLD.with(|world| {
            let attach = hostile("attach", "x".to_owned(), other.get(&USES), length, kept);
            let order = order(&format!("{APP_ID}#A000000001"), Some(&attach)).unwrap();
            let address = Url::parse(&return_url(&order, &app(), NOW).unwrap()).unwrap();
            let mut params: Params = address.query_pairs().into_owned().collect();
            params.remove("sign");
            no_other_use(world, None, &params)?;
            let payment: Payment = serde_json::from_value(json!({
                "transaction_id": "4200000001", "attempt": 1, "trade_type": "NATIVE",
                "total_fee": TOTAL_FEE, "cash_fee": TOTAL_FEE, "paid_at": NOW,
                "openid": "oPayer",
            }))
            .unwrap();
            let occasion = Occasion {
                event_id: "e".repeat(32),
                now: NOW,
                grace_seconds: 60,
            };
            let told = Delivery::of_payment(&order, &payment, occasion);
            no_other_use(world, None, &told.params(NOW, "c0ffee".to_owned()))
        })?;
    }
}
