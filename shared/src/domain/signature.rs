//! The canonical form that both WeChat's v2 protocol and the third parties'
//! API sign, and the third parties' signature itself (HMAC-SHA256).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::app::AppSecret;

/// Parameters by name. The map's order is the signature's order: by bytes,
/// case-sensitive.
pub type Params = BTreeMap<String, String>;

/// The parameter's value, or the empty text: to both signatures an empty
/// parameter is as good as none.
#[must_use]
pub fn field<'p>(params: &'p Params, name: &str) -> &'p str {
    params.get(name).map_or("", String::as_str)
}

/// The text that is signed: every non-empty parameter but `sign`, sorted by
/// name, `k=v` joined by `&`, raw values, then `&key=<key>`.
///
/// ```
/// use shared::domain::signature::{Params, canonical};
///
/// let params = Params::from([
///     ("total_fee".to_owned(), "1999".to_owned()),
///     ("body".to_owned(), "Tea & cups".to_owned()),
///     ("attach".to_owned(), String::new()),
///     ("sign".to_owned(), "8D9C".to_owned()),
/// ]);
/// assert_eq!(canonical(&params, "secret"), "body=Tea & cups&total_fee=1999&key=secret");
/// ```
#[must_use]
pub fn canonical(params: &Params, key: &str) -> String {
    let mut text = String::with_capacity(512);
    for (name, value) in params {
        if name != "sign" && !value.is_empty() {
            text.push_str(name);
            text.push('=');
            text.push_str(value);
            text.push('&');
        }
    }
    text.push_str("key=");
    text.push_str(key);
    text
}

/// HMAC-SHA256 of the canonical form under the same key, in upper-case hex.
#[must_use]
pub fn hmac_sha256(params: &Params, key: &str) -> String {
    let mut mac = keyed(key);
    mac.update(canonical(params, key).as_bytes());
    hex::encode_upper(mac.finalize().into_bytes())
}

/// HMAC takes keys of any length; the type cannot say so.
#[expect(clippy::expect_used, reason = "HMAC accepts every key length")]
fn keyed(key: &str) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC accepts every key length")
}

/// Compares in constant time; the length of a signature is no secret.
#[must_use]
pub fn same(expected: &str, given: &str) -> bool {
    expected.as_bytes().ct_eq(given.as_bytes()).into()
}

/// Signs parameters for or as a third party.
#[must_use]
pub fn sign(params: &Params, secret: &AppSecret) -> String {
    hmac_sha256(params, secret.expose())
}

/// Signs a webhook for a third party, as Standard Webhooks says:
/// `<id>.<timestamp>.<body>`, in base64 behind the scheme's name. The texts that
/// [`sign`] signs end in the secret, these in JSON: none is taken for the other.
#[must_use]
pub fn sign_webhook(id: &str, timestamp: &str, body: &str, secret: &AppSecret) -> String {
    let mut mac = keyed(secret.expose());
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// Whether `sign` among the parameters is the one this secret makes.
#[must_use]
pub fn verify(params: &Params, secret: &AppSecret) -> bool {
    same(&sign(params, secret), field(params, "sign"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::{app, params};
    use proptest::prelude::*;

    #[test]
    fn the_documented_vector_is_reproduced() {
        let params = params(&[
            ("appid", "wxd930ea5d5a258f4f"),
            ("body", "test"),
            ("device_info", "1000"),
            ("mch_id", "10000100"),
            ("nonce_str", "ibuaiVcKdpRxkhJA"),
            ("attach", ""),
            ("sign", "whatever"),
        ]);
        assert_eq!(
            hmac_sha256(&params, "192006250b4c09247ec02edce69f6a2d"),
            "6A9AE1657590FD6257D693A078E1C3E4BB6BA4DC30B23E0EE2496E54170DACD6"
        );
    }

    #[test]
    fn what_is_signed_is_sorted_by_bytes_and_has_neither_empty_values_nor_the_signature() {
        for (pairs, text) in [
            (&[][..], "key=k"),
            (&[("b", "2"), ("a", "1"), ("B", "3")], "B=3&a=1&b=2&key=k"),
            (&[("a", ""), ("b", "0"), ("sign", "x")], "b=0&key=k"),
            (&[("a", "1 &=%")], "a=1 &=%&key=k"),
        ] {
            assert_eq!(canonical(&params(pairs), "k"), text);
        }
    }

    /// The second worked example of docs/openapi.yaml.
    #[test]
    fn the_documents_worked_example_is_reproduced() {
        let signed = params(&[
            ("app_id", "demo000000000001"),
            ("order_no", "A000000001"),
            ("timestamp", "1790000060"),
            ("nonce", "c0ffee00c0ffee01"),
        ]);
        assert_eq!(
            sign(&signed, &app().app_secret),
            "0C0F881EA4692EA89A396D4FB43C2FED47463E067155249B51DF182A1B606206"
        );
    }

    #[test]
    fn a_missing_or_empty_signature_is_never_valid() {
        let secret = app().app_secret;
        assert!(!verify(&params(&[("a", "1")]), &secret));
        assert!(!verify(&params(&[("a", "1"), ("sign", "")]), &secret));
        assert!(!verify(&Params::new(), &secret));
    }

    proptest! {
        #[test]
        fn any_change_of_a_signed_value_is_noticed(
            pairs in proptest::collection::btree_map("[a-z_]{1,8}", "[ -~]{1,12}", 1..8),
            pick in any::<proptest::sample::Index>(),
            suffix in "[ -~]{1,3}",
        ) {
            let secret = app().app_secret;
            let mut signed: Params = pairs.into_iter().filter(|(k, _)| k != "sign").collect();
            prop_assume!(!signed.is_empty());
            let signature = sign(&signed, &secret);
            signed.insert("sign".into(), signature);
            prop_assert!(verify(&signed, &secret));
            let names: Vec<String> = signed.keys().cloned().collect();
            let name = pick.get(&names).clone();
            signed.entry(name).and_modify(|value| value.push_str(&suffix));
            prop_assert!(!verify(&signed, &secret));
        }
    }
}
