//! An app's answer to a callback: a status of two bytes, then the body. Only
//! `success` ends a delivery.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::callback::is_success;

fuzz_target!(|input: &[u8]| {
    let Some((status, body)) = input.split_first_chunk() else {
        return;
    };
    let status = u16::from_be_bytes(*status);
    let said: Vec<char> = std::str::from_utf8(body)
        .map(|text| text.chars().filter(|c| !c.is_whitespace()).collect())
        .unwrap_or_default();
    let success = said.iter().collect::<String>().to_ascii_lowercase() == "success";
    assert!(!is_success(status, body) || (status / 100 == 2 && success));
});
