//! docs/openapi.yaml against the template and the hub's own errors: every
//! route and every problem is in both, or in neither.

use std::collections::BTreeSet;

use contract::Contract;
use serde_json::Value;
use shared::domain::id::Refused;
use shared::http::problem::{OperatorProblem, Problem};

/// The gateway's routes know no part of a segment: it hands the function every
/// file of one segment, and only these exist.
const DOMAIN_FILE: (&str, &str) = ("GET /{file}", "GET /MP_verify_{code}.txt");

#[test]
fn every_route_of_the_template_is_documented_and_the_reverse() {
    let template = include_str!("../../../template.yaml");
    let template: Value = serde_saphyr::from_str(template).unwrap();
    let resources = template["Resources"].as_object().unwrap().values();
    let routed: BTreeSet<String> = resources
        .filter(|resource| resource["Type"] == "AWS::ApiGatewayV2::Route")
        .map(
            |route| match route["Properties"]["RouteKey"].as_str().unwrap() {
                key if key == DOMAIN_FILE.0 => DOMAIN_FILE.1.to_owned(),
                key => key.to_owned(),
            },
        )
        .collect();
    assert_eq!(routed, Contract::get().operations());
}

/// The problem after this one; the first comes after none. A problem that is
/// new does not compile until it has its place here.
fn next(problem: Option<&Problem>) -> Option<Problem> {
    let err_code = String::new();
    Some(match problem {
        None => Problem::BodyInvalid,
        Some(Problem::BodyInvalid) => Problem::BodyTooLarge,
        Some(Problem::BodyTooLarge) => Problem::param("field", "rule"),
        Some(Problem::ParamInvalid { .. }) => Problem::AppUnknown,
        Some(Problem::AppUnknown) => Problem::TimestampExpired,
        Some(Problem::TimestampExpired) => Problem::SignInvalid,
        Some(Problem::SignInvalid) => Problem::AppDisabled,
        Some(Problem::AppDisabled) => Problem::MerchantDisabled,
        Some(Problem::MerchantDisabled) => Problem::AccountMissing,
        Some(Problem::AccountMissing) => Problem::LoginDeclined,
        Some(Problem::LoginDeclined) => Problem::CodeInvalid,
        Some(Problem::CodeInvalid) => Problem::NotificationInvalid,
        Some(Problem::NotificationInvalid) => Problem::OrderNotFound,
        Some(Problem::OrderNotFound) => Problem::OrderConflict,
        Some(Problem::OrderConflict) => Problem::OrderPaid,
        Some(Problem::OrderPaid) => Problem::OrderClosed,
        Some(Problem::OrderClosed) => Problem::OrderNotPaid,
        Some(Problem::OrderNotPaid) => Problem::OrderPaying,
        Some(Problem::OrderPaying) => Problem::TooManyAttempts,
        Some(Problem::TooManyAttempts) => Problem::PaymentRefused { err_code },
        Some(Problem::PaymentRefused { .. }) => Problem::RefundNotFound,
        Some(Problem::RefundNotFound) => Problem::RefundConflict,
        Some(Problem::RefundConflict) => Problem::RefundExceeds,
        Some(Problem::RefundExceeds) => Problem::WechatError {
            err_code,
            err_code_des: String::new(),
        },
        Some(Problem::WechatError { .. }) => Problem::WechatTimeout,
        Some(Problem::WechatTimeout) => Problem::Unavailable,
        Some(Problem::Unavailable) => next_of_operators(None)?.into(),
        Some(Problem::Operator(problem)) => next_of_operators(Some(problem))?.into(),
    })
}

fn next_of_operators(problem: Option<&OperatorProblem>) -> Option<OperatorProblem> {
    use OperatorProblem as P;
    Some(match problem {
        None => P::LoginRequired,
        Some(P::LoginRequired) => P::LoginWrong,
        Some(P::LoginWrong) => P::TooManyLogins {
            retry_after_seconds: 1,
        },
        Some(P::TooManyLogins { .. }) => P::EnrolmentInvalid,
        Some(P::EnrolmentInvalid) => P::CsrfInvalid,
        Some(P::CsrfInvalid) => P::Forbidden,
        Some(P::Forbidden) => P::ApiKeyNotFound,
        Some(P::ApiKeyNotFound) => P::OwnerLinkNotFound,
        Some(P::OwnerLinkNotFound) => P::OperatorNotFound,
        Some(P::OperatorNotFound) => P::LinkInvalid,
        Some(P::LinkInvalid) => P::AppNotFound,
        Some(P::AppNotFound) => P::AppExists,
        Some(P::AppExists) => P::AppChanged,
        Some(P::AppChanged) => P::SecretsOverlap(Refused("rule")),
        Some(P::SecretsOverlap(_)) => P::DeliveryNotExhausted,
        Some(P::DeliveryNotExhausted) => P::NothingWaits,
        Some(P::NothingWaits) => return None,
    })
}

/// Status and code of each.
fn problems() -> BTreeSet<(u16, String)> {
    std::iter::successors(next(None), |problem| next(Some(problem)))
        .map(|problem| {
            let (status, code) = problem.identity();
            (status.as_u16(), code.to_owned())
        })
        .collect()
}

#[test]
fn every_problem_is_documented_and_the_reverse() {
    let document = &Contract::get().document;
    let documented = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    let documented: BTreeSet<&str> = documented
        .as_array()
        .unwrap()
        .iter()
        .map(|code| code.as_str().unwrap())
        .collect();
    let problems = problems();
    let codes: BTreeSet<&str> = problems.iter().map(|(_, code)| code.as_str()).collect();
    assert_eq!(codes, documented);
}

#[test]
fn the_table_of_errors_has_every_problem_under_its_status() {
    let description = Contract::get().document["info"]["description"].clone();
    let rows: BTreeSet<(u16, String)> = description
        .as_str()
        .unwrap()
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let status = cells.next()?.parse().ok()?;
            let code = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
            Some((status, code.to_owned()))
        })
        .collect();
    assert_eq!(problems(), rows);
}
