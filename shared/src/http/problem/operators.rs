//! What only the operators' API answers.

use axum::http::StatusCode;

use super::Problem;
use crate::domain::id::Refused;
use crate::domain::operator::PassKind;
use crate::flows::{apps, search, second_person, sign_in, staff};

/// Why an operator's request was refused.
#[derive(Debug, thiserror::Error)]
pub enum OperatorProblem {
    /// 401 `login_required`
    #[error("there is no session or API key, or it has ended")]
    LoginRequired,
    /// 401 `login_wrong`
    #[error("the name, the password or the code is wrong, or the code was used")]
    LoginWrong,
    /// 429 `too_many_logins`
    #[error("too many tries; the next one in {retry_after_seconds} s")]
    TooManyLogins {
        /// When the pause ends.
        retry_after_seconds: i64,
    },
    /// 400 `enrolment_invalid`
    #[error("the enrolment is unknown, used or too old")]
    EnrolmentInvalid,
    /// 403 `csrf_invalid`
    #[error("X-CSRF-Token is not the session's csrf_token")]
    CsrfInvalid,
    /// 403 `forbidden`
    #[error("the caller's role does not allow this")]
    Forbidden,
    /// 404 `api_key_not_found`
    #[error("there is no API key of this id that has not ended")]
    ApiKeyNotFound,
    /// 404 `owner_link_not_found`
    #[error("there is no link of this id that has not ended")]
    OwnerLinkNotFound,
    /// 404 `operator_not_found`
    #[error("there is no operator of this name")]
    OperatorNotFound,
    /// 400 `link_invalid`
    #[error("the link is unknown, revoked or too old")]
    LinkInvalid,
    /// 404 `app_not_found`
    #[error("there is no app with this app_id")]
    AppNotFound,
    /// 409 `app_exists`
    #[error("there is an app with this app_id already")]
    AppExists,
    /// 409 `app_changed`
    #[error("somebody else has changed the app just now: look at it, and try again")]
    AppChanged,
    /// 409 `secrets_overlap`
    #[error("the app {0}")]
    SecretsOverlap(Refused),
    /// 409 `delivery_not_exhausted`
    #[error("the order has no such delivery that is exhausted")]
    DeliveryNotExhausted,
    /// 404 `nothing_waits`
    #[error("nothing of this name waits for a second person who asks")]
    NothingWaits,
}

impl OperatorProblem {
    /// There is no such key or link.
    #[must_use]
    pub fn no_pass(kind: PassKind) -> Self {
        match kind {
            PassKind::ApiKey => Self::ApiKeyNotFound,
            PassKind::OwnerLink => Self::OwnerLinkNotFound,
        }
    }

    /// The status and the stable code.
    pub(super) fn identity(&self) -> (StatusCode, &'static str) {
        match self {
            Self::LoginRequired => (StatusCode::UNAUTHORIZED, "login_required"),
            Self::LoginWrong => (StatusCode::UNAUTHORIZED, "login_wrong"),
            Self::TooManyLogins { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_logins"),
            Self::EnrolmentInvalid => (StatusCode::BAD_REQUEST, "enrolment_invalid"),
            Self::CsrfInvalid => (StatusCode::FORBIDDEN, "csrf_invalid"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            Self::ApiKeyNotFound => (StatusCode::NOT_FOUND, "api_key_not_found"),
            Self::OwnerLinkNotFound => (StatusCode::NOT_FOUND, "owner_link_not_found"),
            Self::OperatorNotFound => (StatusCode::NOT_FOUND, "operator_not_found"),
            Self::LinkInvalid => (StatusCode::BAD_REQUEST, "link_invalid"),
            Self::AppNotFound => (StatusCode::NOT_FOUND, "app_not_found"),
            Self::AppExists => (StatusCode::CONFLICT, "app_exists"),
            Self::AppChanged => (StatusCode::CONFLICT, "app_changed"),
            Self::SecretsOverlap(_) => (StatusCode::CONFLICT, "secrets_overlap"),
            Self::DeliveryNotExhausted => (StatusCode::CONFLICT, "delivery_not_exhausted"),
            Self::NothingWaits => (StatusCode::NOT_FOUND, "nothing_waits"),
        }
    }

    /// When the same request makes sense again, for the header of that name.
    pub(super) fn retry_after_seconds(&self) -> Option<i64> {
        match self {
            Self::TooManyLogins {
                retry_after_seconds,
            } => Some(*retry_after_seconds),
            _ => None,
        }
    }
}

impl From<sign_in::Error> for Problem {
    fn from(error: sign_in::Error) -> Self {
        match error {
            sign_in::Error::TooManyTries {
                retry_after_seconds,
            } => OperatorProblem::TooManyLogins {
                retry_after_seconds,
            }
            .into(),
            sign_in::Error::Wrong => OperatorProblem::LoginWrong.into(),
            sign_in::Error::EnrolmentInvalid => OperatorProblem::EnrolmentInvalid.into(),
            sign_in::Error::LinkInvalid => OperatorProblem::LinkInvalid.into(),
            sign_in::Error::Weak(rule) => Self::param("password", rule.0),
            sign_in::Error::Aws(failure) => failure.into(),
        }
    }
}

impl From<apps::Error> for Problem {
    fn from(error: apps::Error) -> Self {
        match error {
            apps::Error::NotFound(_) => OperatorProblem::AppNotFound.into(),
            apps::Error::Changed => OperatorProblem::AppChanged.into(),
            apps::Error::Exists(_) => OperatorProblem::AppExists.into(),
            apps::Error::Broken(broken) | apps::Error::Misfit(broken) => {
                Self::param(broken.field, broken.rule)
            }
            apps::Error::MerchantUnknown(_) => Self::param("merchant", "is not registered"),
            apps::Error::AccountUnknown(_) => Self::param("add_accounts", "is not registered"),
            apps::Error::Rotation(rule) => OperatorProblem::SecretsOverlap(rule).into(),
            apps::Error::Aws(failure) => failure.into(),
        }
    }
}

impl From<search::Error> for Problem {
    fn from(error: search::Error) -> Self {
        match error {
            search::Error::TooMany => Self::param(
                "mch_id",
                "must be given: there are too many merchants to ask",
            ),
            search::Error::Wechat(error) => error.into(),
            search::Error::Aws(failure) => failure.into(),
        }
    }
}

impl From<second_person::Error> for Problem {
    fn from(error: second_person::Error) -> Self {
        match error {
            second_person::Error::Promise(error) => error.into(),
            second_person::Error::NothingWaits => OperatorProblem::NothingWaits.into(),
            second_person::Error::Aws(failure) => failure.into(),
        }
    }
}

impl From<staff::Error> for Problem {
    fn from(error: staff::Error) -> Self {
        match error {
            staff::Error::Refused(rule) => Self::param("body", rule.0),
            staff::Error::NotFound => OperatorProblem::OperatorNotFound.into(),
            staff::Error::NoPass(kind) => OperatorProblem::no_pass(kind).into(),
            staff::Error::NoApp(_) => Self::param("apps", "must be apps that are registered"),
            // Operators are made by hubctl alone.
            staff::Error::Taken => Self::param("name", "is taken"),
            staff::Error::Aws(failure) => failure.into(),
        }
    }
}
