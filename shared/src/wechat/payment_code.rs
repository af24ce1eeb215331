//! What is the same in both versions about payment by the code on the payer's phone:
//! the outcomes, and the codes that end it.

use crate::domain::order::Payment;

/// WeChat's answer to a payer's code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Charge {
    /// Paid at once.
    Paid(Payment),
    /// Nobody knows yet: the payer types the password, or WeChat is not sure.
    Paying,
    /// Refused for good, with WeChat's code; the payer must show another code.
    Refused(String),
}

/// How taking a payment back went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reversal {
    /// It is closed, or on its way back to the payer.
    Done,
    /// WeChat wants to be called again.
    Again,
    /// WeChat does not know the payment: the charge may still be on its way.
    Unknown,
}

/// Whether this payment can no longer come about after this code. Any other,
/// USERPAYING first of all, leaves that to a query.
pub(super) fn ends_it(code: &str) -> bool {
    // WeChat's pages write some with an underscore more or less.
    let bare = code.replace('_', "");
    if is_ours(&bare) {
        // Every till fails like this, and no payer can help it.
        tracing::error!(
            alarm = "configuration",
            code,
            "WeChat refuses payments by code"
        );
    }
    is_final(&bare) || is_ours(&bare)
}

/// The codes that are about the payer's code or money.
fn is_final(bare: &str) -> bool {
    matches!(
        bare,
        "AUTHCODEEXPIRE"
            | "AUTHCODEERROR"
            | "AUTHCODEINVALID"
            | "NOTSUPORTCARD"
            | "NOTENOUGH"
            | "BUYERMISMATCH"
    )
}

/// The codes that name a mistake of ours or of the account's: as final.
fn is_ours(bare: &str) -> bool {
    matches!(
        bare,
        "PARAMERROR"
            | "LACKPARAMS"
            | "NOAUTH"
            | "APPIDNOTEXIST"
            | "MCHIDNOTEXIST"
            | "MCHNOTEXISTS"
            | "APPIDMCHIDNOTMATCH"
            | "SIGNERROR"
            | "XMLFORMATERROR"
            | "REQUIREPOSTMETHOD"
            | "POSTDATAEMPTY"
            | "NOTUTF8"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_ends_the_payment_in_either_spelling_or_leaves_it_open() {
        for code in [
            "AUTHCODEEXPIRE",
            "AUTH_CODE_EXPIRE",
            "AUTH_CODE_INVALID",
            "NOT_ENOUGH",
            "NOTENOUGH",
            "NO_AUTH",
            "PARAM_ERROR",
            "MCH_NOT_EXISTS",
        ] {
            assert!(ends_it(code), "{code}");
        }
        for code in [
            "USERPAYING",
            "USER_PAYING",
            "SYSTEMERROR",
            "BANKERROR",
            "TRADE_ERROR",
            "RULELIMIT",
            "INVALID_REQUEST",
            "OUT_TRADE_NO_USED",
            "",
        ] {
            assert!(!ends_it(code), "{code}");
        }
    }
}
