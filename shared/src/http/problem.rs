//! Every error a third party can see: RFC 9457 problem+json with a stable
//! `code`. Causes go to the log, never to the caller. What operators alone are
//! told is in a file of its own.

mod operators;

pub use operators::OperatorProblem;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::aws::Failure;
use crate::domain::id::Refused;
use crate::domain::order::Refusal;
use crate::error::causes;
use crate::flows::{checkout, giving_up, login, notified, promise, token_cache};
use crate::wechat;

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// 400 `body_invalid`
    #[error("the body is not JSON")]
    BodyInvalid,
    /// 413 `body_too_large`
    #[error("the body is too large")]
    BodyTooLarge,
    /// 422 `param_invalid`
    #[error("{field} {rule}")]
    ParamInvalid {
        /// The parameter.
        field: String,
        /// The rule it broke.
        rule: &'static str,
    },
    /// 401 `app_unknown`
    #[error("there is no app with this app_id")]
    AppUnknown,
    /// 401 `timestamp_expired`
    #[error("timestamp is more than 5 minutes from the hub's clock")]
    TimestampExpired,
    /// 401 `sign_invalid`
    #[error("sign does not match the parameters")]
    SignInvalid,
    /// 403 `app_disabled`
    #[error("the operator has disabled this app")]
    AppDisabled,
    /// 403 `merchant_disabled`
    #[error("the operator has disabled the merchant that is paid by this order")]
    MerchantDisabled,
    /// 403 `account_missing`
    #[error("the operator has given this app no WeChat account for this")]
    AccountMissing,
    /// 400 `access_denied`
    #[error("the user declined the login at WeChat")]
    LoginDeclined,
    /// 400 `code_invalid`
    #[error("the code is unknown, used, expired or another app's")]
    CodeInvalid,
    /// 400 `notification_invalid`
    #[error("the notification is malformed, or WeChat did not sign it for this merchant")]
    NotificationInvalid,
    /// 404 `order_not_found`
    #[error("this app has no order with this number")]
    OrderNotFound,
    /// 409 `order_conflict`
    #[error("an order with this number but other parameters exists")]
    OrderConflict,
    /// 409 `order_paid`
    #[error("the order is paid")]
    OrderPaid,
    /// 409 `order_closed`
    #[error("the order is closed or has expired")]
    OrderClosed,
    /// 409 `order_not_paid`
    #[error("the order has no such payment")]
    OrderNotPaid,
    /// 409 `order_paying`
    #[error("the order is being paid with another code; ask for the order until that has ended")]
    OrderPaying,
    /// 429 `too_many_attempts`
    #[error("the order was opened too often; try again in a few minutes, or place another one")]
    TooManyAttempts,
    /// 402 `payment_refused`
    #[error("WeChat refused the payment code: {err_code}; scan a new one")]
    PaymentRefused {
        /// WeChat's code.
        err_code: String,
    },
    /// 404 `refund_not_found`
    #[error("the order has no refund with this number")]
    RefundNotFound,
    /// 409 `refund_conflict`
    #[error("a refund with this number but other parameters exists")]
    RefundConflict,
    /// 409 `refund_exceeds`
    #[error("the refunds would exceed the payment")]
    RefundExceeds,
    /// 502 `wechat_error`
    #[error("WeChat refused: {err_code} {err_code_des}")]
    WechatError {
        /// WeChat's code.
        err_code: String,
        /// WeChat's words.
        err_code_des: String,
    },
    /// 504 `wechat_timeout`
    #[error("WeChat did not answer in time; the order is kept, send the same request again")]
    WechatTimeout,
    /// 503 `unavailable`
    #[error("the hub could not finish this; send the same request again")]
    Unavailable,
    /// What only the operators' API answers.
    #[error(transparent)]
    Operator(#[from] OperatorProblem),
}

impl Problem {
    /// A broken rule of a parameter.
    pub fn param(field: impl Into<String>, rule: &'static str) -> Self {
        Self::ParamInvalid {
            field: field.into(),
            rule,
        }
    }

    /// A broken rule of a parameter, as parsing finds it.
    pub fn of_param(field: &'static str) -> impl FnOnce(Refused) -> Self {
        move |refused| Self::param(field, refused.0)
    }

    /// One line for each refused request: what an app's developer asks an operator
    /// about. What AWS or WeChat failed at has its own.
    pub fn log(&self) {
        let (status, code) = self.identity();
        if status.is_server_error() {
            return;
        }
        match self {
            // A field that no request has is the caller's own text.
            Self::ParamInvalid { field, rule } => {
                let field: String = field.chars().take(64).collect();
                tracing::info!(code, field, rule, "request refused");
            }
            _ => tracing::info!(code, "request refused"),
        }
    }

    /// The status and the stable code.
    #[must_use]
    pub fn identity(&self) -> (StatusCode, &'static str) {
        match self {
            Self::BodyInvalid => (StatusCode::BAD_REQUEST, "body_invalid"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::ParamInvalid { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "param_invalid"),
            Self::AppUnknown => (StatusCode::UNAUTHORIZED, "app_unknown"),
            Self::TimestampExpired => (StatusCode::UNAUTHORIZED, "timestamp_expired"),
            Self::SignInvalid => (StatusCode::UNAUTHORIZED, "sign_invalid"),
            Self::AppDisabled => (StatusCode::FORBIDDEN, "app_disabled"),
            Self::MerchantDisabled => (StatusCode::FORBIDDEN, "merchant_disabled"),
            Self::AccountMissing => (StatusCode::FORBIDDEN, "account_missing"),
            Self::LoginDeclined => (StatusCode::BAD_REQUEST, "access_denied"),
            Self::CodeInvalid => (StatusCode::BAD_REQUEST, "code_invalid"),
            Self::NotificationInvalid => (StatusCode::BAD_REQUEST, "notification_invalid"),
            Self::OrderNotFound => (StatusCode::NOT_FOUND, "order_not_found"),
            Self::OrderConflict => (StatusCode::CONFLICT, "order_conflict"),
            Self::OrderPaid => (StatusCode::CONFLICT, "order_paid"),
            Self::OrderClosed => (StatusCode::CONFLICT, "order_closed"),
            Self::OrderNotPaid => (StatusCode::CONFLICT, "order_not_paid"),
            Self::OrderPaying => (StatusCode::CONFLICT, "order_paying"),
            Self::TooManyAttempts => (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"),
            Self::PaymentRefused { .. } => (StatusCode::PAYMENT_REQUIRED, "payment_refused"),
            Self::RefundNotFound => (StatusCode::NOT_FOUND, "refund_not_found"),
            Self::RefundConflict => (StatusCode::CONFLICT, "refund_conflict"),
            Self::RefundExceeds => (StatusCode::CONFLICT, "refund_exceeds"),
            Self::WechatError { .. } => (StatusCode::BAD_GATEWAY, "wechat_error"),
            Self::WechatTimeout => (StatusCode::GATEWAY_TIMEOUT, "wechat_timeout"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Operator(problem) => problem.identity(),
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        if failure.is_contended() {
            tracing::warn!(%failure, "too many at once");
        } else {
            tracing::error!(%failure, "AWS failed");
        }
        Self::Unavailable
    }
}

impl From<wechat::Error> for Problem {
    fn from(error: wechat::Error) -> Self {
        tracing::warn!(error = causes(&error), "WeChat failed");
        match error {
            wechat::Error::Business { code, text } => Self::WechatError {
                err_code: code,
                err_code_des: text,
            },
            wechat::Error::Refused(text) => Self::WechatError {
                err_code: "FAIL".to_owned(),
                err_code_des: text,
            },
            wechat::Error::Forged(_) => Self::WechatError {
                err_code: "INVALID_ANSWER".to_owned(),
                err_code_des: String::new(),
            },
            wechat::Error::Unreachable(_) | wechat::Error::Unknown(_) => Self::WechatTimeout,
            wechat::Error::NoCertificate
            | wechat::Error::NoAppKey
            | wechat::Error::NoKeys(_)
            | wechat::Error::Uncounted => Self::Unavailable,
        }
    }
}

impl From<token_cache::Error> for Problem {
    fn from(error: token_cache::Error) -> Self {
        match error {
            token_cache::Error::Aws(failure) => failure.into(),
            token_cache::Error::Wechat(error) => error.into(),
            token_cache::Error::Busy => {
                tracing::warn!(%error, "WeChat failed");
                Self::Unavailable
            }
        }
    }
}

impl From<checkout::Error> for Problem {
    fn from(error: checkout::Error) -> Self {
        match error {
            checkout::Error::Refused(refusal) => refusal.into(),
            checkout::Error::MerchantDisabled => Self::MerchantDisabled,
            checkout::Error::NoAccount => Self::AccountMissing,
            checkout::Error::Paid => Self::OrderPaid,
            checkout::Error::Wechat(error) => error.into(),
            checkout::Error::TokenBusy => {
                tracing::warn!(%error, "WeChat failed");
                Self::Unavailable
            }
            checkout::Error::Aws(failure) => failure.into(),
        }
    }
}

impl From<notified::Error> for Problem {
    fn from(error: notified::Error) -> Self {
        match error {
            notified::Error::UnknownOrder(_) => Self::OrderNotFound,
            notified::Error::Stranger(_) => {
                tracing::warn!(%error, "a notification is refused");
                Self::NotificationInvalid
            }
            notified::Error::Unconfirmed => {
                tracing::warn!(%error, "a notification is refused");
                Self::OrderNotPaid
            }
            notified::Error::Query(error) => error.into(),
            notified::Error::Aws(failure) => failure.into(),
        }
    }
}

impl From<promise::Error> for Problem {
    fn from(error: promise::Error) -> Self {
        match error {
            promise::Error::OrderNotFound => Self::OrderNotFound,
            promise::Error::Conflict => Self::RefundConflict,
            promise::Error::Refused(refusal) => refusal.into(),
            promise::Error::Aws(failure) => failure.into(),
        }
    }
}

impl From<giving_up::Error> for Problem {
    fn from(error: giving_up::Error) -> Self {
        match error {
            giving_up::Error::Refused(refusal) => refusal.into(),
            giving_up::Error::Aws(failure) => failure.into(),
        }
    }
}

impl From<login::Error> for Problem {
    fn from(error: login::Error) -> Self {
        match error {
            login::Error::StateUnknown => {
                Self::param("state", "the state is unknown, used or expired")
            }
            login::Error::StateForeign => Self::param("state", "the state is another browser's"),
            login::Error::CodeInvalid => Self::CodeInvalid,
            login::Error::Address(error) => error.into(),
            login::Error::Aws(failure) => failure.into(),
        }
    }
}

/// What is stored or configured was checked: an address that is none is a
/// mistake of ours.
impl From<url::ParseError> for Problem {
    fn from(error: url::ParseError) -> Self {
        tracing::error!(%error, "an address of ours is no URL");
        Self::Unavailable
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Paid => Self::OrderPaid,
            Refusal::Paying => Self::OrderPaying,
            Refusal::NotPaid => Self::OrderNotPaid,
            Refusal::Exceeds => Self::RefundExceeds,
            Refusal::TooManyAttempts | Refusal::NoAttemptLeft => Self::TooManyAttempts,
            Refusal::Closed | Refusal::NotPaying => Self::OrderClosed,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.log();
        let (status, code) = self.identity();
        let retry_after = match &self {
            Self::Operator(problem) => problem.retry_after_seconds(),
            _ => None,
        };
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
        put("type", json!(format!("urn:wechat-pay-hub:problem:{code}")));
        put("title", json!(status.canonical_reason()));
        put("status", json!(status.as_u16()));
        put("code", json!(code));
        put("detail", json!(self.to_string()));
        match self {
            Self::ParamInvalid { field, rule } => {
                put("field", json!(field));
                put("rule", json!(rule));
            }
            Self::WechatError {
                err_code,
                err_code_des,
            } => {
                put("err_code", json!(err_code));
                put("err_code_des", json!(err_code_des));
            }
            Self::PaymentRefused { err_code } => {
                put("err_code", json!(err_code));
            }
            _ => {}
        }
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (status, content_type, Json(body)).into_response();
        if let Some(seconds) = retry_after {
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}
