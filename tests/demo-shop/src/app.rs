//! An app's requests to the hub, as any app would sign them: the shop's own,
//! and those of every test that plays an app.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::clock;
use crate::signature::sign;

/// The fields of a request, by name.
pub type Fields = Map<String, Value>;

/// An app of the hub.
#[derive(Clone)]
pub struct App {
    /// 16 letters and digits, given by the operator.
    pub id: String,
    /// 32 characters, known to the app and the hub only.
    pub secret: String,
}

impl App {
    /// The signature of these parameters.
    #[must_use]
    pub fn sign(&self, params: &BTreeMap<String, String>) -> String {
        sign(params, &self.secret)
    }

    /// These fields as a signed request, for a body or a query.
    ///
    /// `app_id`, `timestamp` (`now`, in Unix seconds), `nonce` and `sign` are
    /// filled in where they are not given. A field given as null is left out,
    /// even one that would be filled in: tests of the hub's refusals need that.
    /// The parameters of the `path` are signed, and are not among the fields.
    ///
    /// # Errors
    /// When the operating system has no random bytes for the nonce.
    pub fn request(
        &self,
        path: &[(&str, &str)],
        mut fields: Fields,
        now: i64,
    ) -> Result<Fields, getrandom::Error> {
        fill(&mut fields, "app_id", || Ok(self.id.clone().into()))?;
        fill(&mut fields, "timestamp", || Ok(now.into()))?;
        fill(&mut fields, "nonce", || Ok(clock::nonce()?.into()))?;
        fields.retain(|_, value| !value.is_null());
        let mut params = texts(&fields);
        params.extend(
            path.iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned())),
        );
        fill(&mut fields, "sign", || Ok(self.sign(&params).into()))?;
        Ok(fields)
    }

    /// A signed order for the shop at this address. What a request has is filled
    /// in as there; besides these a random `order_no`, `total_fee`, `body`, and
    /// the shop's addresses.
    ///
    /// # Errors
    /// As for [`App::request`].
    pub fn order(
        &self,
        shop_url: &str,
        mut fields: Fields,
        now: i64,
    ) -> Result<Fields, getrandom::Error> {
        fill(&mut fields, "order_no", || Ok(clock::order_no()?.into()))?;
        fill(&mut fields, "total_fee", || Ok(1.into()))?;
        fill(&mut fields, "body", || Ok("Demo order".into()))?;
        for name in ["notify", "return"] {
            let address = format!("{shop_url}/{name}");
            fill(&mut fields, &format!("{name}_url"), || Ok(address.into()))?;
        }
        self.request(&[], fields, now)
    }
}

/// Without the secret: tests print what they hold.
impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Fields as they are signed and as a query has them: texts raw, all else as
/// JSON writes it, which for integers is decimal.
#[must_use]
pub fn texts(fields: &Fields) -> BTreeMap<String, String> {
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    fields
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

/// Null is given, too.
fn fill(
    fields: &mut Fields,
    name: &str,
    value: impl FnOnce() -> Result<Value, getrandom::Error>,
) -> Result<(), getrandom::Error> {
    if !fields.contains_key(name) {
        fields.insert(name.to_owned(), value()?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{App, Fields, texts};

    fn app() -> App {
        App {
            id: "demo000000000001".to_owned(),
            secret: "0123456789abcdef0123456789abcdef".to_owned(),
        }
    }

    fn fields(value: serde_json::Value) -> Fields {
        value.as_object().unwrap().clone()
    }

    /// The worked examples of docs/openapi.yaml, computed apart from all code.
    #[test]
    fn the_examples_of_the_api_are_signed_as_written() {
        let order = fields(json!({
            "order_no": "A000000001", "total_fee": 1999, "body": "Tea, two cups",
            "attach": "table 7", "trade_type": "NATIVE", "nonce": "5f2b6c1d9e8a7b40",
        }));
        let order = app().order("https://shop.example/wechat", order, 1_790_000_000);
        assert_eq!(
            order.unwrap()["sign"],
            "8F483A7701F5F7C87DFED922182A9091B85849B41B764EB5657AC742D065283A"
        );
        let path = [("order_no", "A000000001")];
        let show = fields(json!({"nonce": "c0ffee00c0ffee01"}));
        let show = app().request(&path, show, 1_790_000_060).unwrap();
        assert_eq!(
            show["sign"],
            "0C0F881EA4692EA89A396D4FB43C2FED47463E067155249B51DF182A1B606206"
        );
        assert!(!show.contains_key("order_no"));
    }

    #[test]
    fn what_is_given_stays_and_null_is_left_out() {
        let given = fields(json!({"timestamp": 7, "nonce": null, "sign": "mine", "attach": null}));
        let request = app().request(&[], given, 1).unwrap();
        assert_eq!(
            request,
            fields(json!({"app_id": "demo000000000001", "timestamp": 7, "sign": "mine"}))
        );
        assert!(!format!("{:?}", app()).contains("0123456789abcdef"));
    }

    #[test]
    fn every_request_has_a_nonce_of_its_own_and_a_signature_over_what_is_sent() {
        let [one, other] = [(); 2].map(|()| app().order("http://s", Fields::new(), 1).unwrap());
        assert_ne!(one["nonce"], other["nonce"]);
        assert_ne!(one["order_no"], other["order_no"]);
        assert_eq!(one["sign"], app().sign(&texts(&one)));
    }
}
