//! What is the same for merchants and accounts on the command line.

use shared::flows::registrar::Error;

use crate::Stop;

/// Why a row is as it was, for a script by its exit code.
pub(crate) fn stop(error: Error) -> Box<dyn std::error::Error> {
    let text = error.to_string();
    match error {
        Error::NotFound(..) => Stop::NotFound(text).into(),
        Error::Exists(..) | Error::Broken(_) | Error::Changed(_) => Stop::Refused(text).into(),
        Error::Aws(failure) => failure.into(),
    }
}

/// In a list.
pub(crate) fn state(disabled: bool) -> String {
    if disabled { "disabled" } else { "" }.to_owned()
}
