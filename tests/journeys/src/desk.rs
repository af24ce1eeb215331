//! The operators' API as a person at a desk, or a machine, uses it. Codes are made
//! by an implementation of the test's own.

use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Method;
use serde_json::{Value, json};
use sha1::Sha1;
use shared::ambient::random_hex;

use crate::judge::Received;
use crate::{Answer, Ran, Stack, unix_seconds};

/// Somebody who has enrolled.
#[derive(Debug, Clone)]
pub struct Person {
    /// What they log in by.
    pub name: String,
    /// Their password.
    pub password: String,
    /// What their telephone makes codes from.
    pub secret: Vec<u8>,
    /// From where they come, in a place of their own.
    pub from: String,
}

/// With what a request to the operators' API proves who sends it.
#[derive(Debug, Clone, Default)]
pub struct Proof {
    /// The session's cookie, name and value.
    pub cookie: Option<String>,
    /// What goes with it for a change.
    pub csrf_token: Option<String>,
    /// A machine's key.
    pub key: Option<String>,
    /// What `X-Payer-Address` says, as the local stack's proxy would.
    pub from: Option<String>,
}

impl Proof {
    /// Nobody, from an address of their own: tries are counted by it.
    #[must_use]
    pub fn from_somewhere() -> Self {
        let bytes = hex_bytes(&random_hex());
        Self {
            from: Some(format!("10.{}.{}.{}", bytes[0], bytes[1], bytes[2])),
            ..Self::default()
        }
    }

    /// A machine's key.
    #[must_use]
    pub fn of_key(key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..Self::default()
        }
    }
}

impl Person {
    /// The code of the step that is so many steps from now: 0 is for enrolling, and 1
    /// for logging in afterwards; both are still good when a step ends meanwhile.
    #[must_use]
    pub fn code(&self, steps: i64) -> String {
        let step = unix_seconds() / 30 + steps;
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.secret).unwrap();
        mac.update(&step.to_be_bytes());
        let digest = mac.finalize().into_bytes();
        // RFC 4226, 5.3.
        let offset = usize::from(digest[19] & 15);
        let four: [u8; 4] = digest[offset..offset + 4].try_into().unwrap();
        let number = u32::from_be_bytes(four) & 0x7fff_ffff;
        format!("{:06}", number % 1_000_000)
    }

    /// What is sent to log in with this code.
    #[must_use]
    pub fn login(&self, code: &str) -> Value {
        json!({"name": self.name, "password": self.password, "code": code})
    }
}

/// A header that is said once, or not at all.
#[must_use]
pub fn header(received: &Received, name: &str) -> Option<String> {
    let value = received.headers.get(name)?;
    Some(value.to_str().unwrap().to_owned())
}

impl Stack {
    /// A request to the operators' API. A body that is null is none.
    pub async fn desk(&self, proof: &Proof, method: &str, path: &str, body: &Value) -> Answer {
        let received = self.at_desk(proof, method, path, body).await;
        Answer {
            status: received.status,
            body: serde_json::from_str(&received.text).unwrap_or(Value::String(received.text)),
        }
    }

    /// The same with the answer's headers.
    pub async fn at_desk(&self, proof: &Proof, method: &str, path: &str, body: &Value) -> Received {
        let url = format!("{}/v1/operator/{path}", self.setting("HUB_URL"));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, url);
        for (name, value) in [
            ("cookie", proof.cookie.clone()),
            ("x-csrf-token", proof.csrf_token.clone()),
            ("x-payer-address", proof.from.clone()),
            (
                "authorization",
                proof.key.as_ref().map(|key| format!("Bearer {key}")),
            ),
        ] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        if !body.is_null() {
            request = request.json(body);
        }
        self.judge.ask(request).await.1
    }

    /// A new operator with this role, by hubctl, who has enrolled.
    pub async fn enrolled(&self, role: &str) -> Person {
        let name = format!("j-{}", &random_hex()[..12]);
        let ran = self
            .run(&["operator", "create", &name, "--role", role])
            .await;
        self.enrols(&name, &ran).await
    }

    /// Somebody enrols with the token that hubctl printed.
    pub async fn enrols(&self, name: &str, ran: &Ran) -> Person {
        let token = printed(ran, "token");
        let proof = Proof::from_somewhere();
        let from = proof.from.clone().unwrap();
        let asked = json!({"name": name, "token": token});
        let offered = self.desk(&proof, "POST", "enrolment/codes", &asked).await;
        assert_eq!(offered.status, 200, "{offered:?}");
        let secret = offered.body["secret"].as_str().unwrap();
        let address = offered.body["address"].as_str().unwrap();
        assert!(
            address.contains(secret) && address.contains(name),
            "{address}"
        );
        let person = Person {
            name: name.to_owned(),
            password: format!("a password {}", random_hex()),
            secret: base32(secret),
            from,
        };
        let asked = json!({
            "name": name, "token": token, "password": person.password,
            "code": person.code(0),
        });
        let enrolled = self.desk(&proof, "POST", "enrolment", &asked).await;
        assert_eq!(enrolled.status, 204, "{enrolled:?}");
        person
    }

    /// A person logs in with the code after that of now; the proof is good for everything.
    pub async fn logs_in(&self, person: &Person) -> Proof {
        let mut proof = Proof {
            from: Some(person.from.clone()),
            ..Proof::default()
        };
        let login = person.login(&person.code(1));
        let received = self.at_desk(&proof, "POST", "session", &login).await;
        assert_eq!(received.status, 201, "{received:?}");
        let cookie = header(&received, "set-cookie").unwrap();
        proof.cookie = cookie.split(';').next().map(str::to_owned);
        let session: Value = serde_json::from_str(&received.text).unwrap();
        proof.csrf_token = session["csrf_token"].as_str().map(str::to_owned);
        proof
    }

    /// A new operator with this role, logged in.
    pub async fn at_work(&self, role: &str) -> Proof {
        let person = self.enrolled(role).await;
        self.logs_in(&person).await
    }
}

impl Stack {
    /// The owner of these apps, by a link of hubctl's, in a session.
    pub async fn with_link(&self, apps: &[&str]) -> Proof {
        let mut made = vec!["owner-link", "create", "--name", "j", "--days", "1"];
        made.extend(apps);
        let token = printed(&self.run(&made).await, "token");
        self.opens(&token).await
    }

    /// Somebody opens a session with a link.
    pub async fn opens(&self, token: &str) -> Proof {
        let asked = json!({"token": token});
        let proof = Proof::from_somewhere();
        let received = self.at_desk(&proof, "POST", "link-session", &asked).await;
        assert_eq!(received.status, 201, "{received:?}");
        let cookie = header(&received, "set-cookie").unwrap();
        let session: Value = serde_json::from_str(&received.text).unwrap();
        Proof {
            cookie: cookie.split(';').next().map(str::to_owned),
            csrf_token: session["csrf_token"].as_str().map(str::to_owned),
            ..proof
        }
    }
}

/// A line `name=value` that hubctl printed.
#[must_use]
pub fn printed(ran: &Ran, name: &str) -> String {
    assert_eq!(ran.code, 0, "{ran:?}");
    let mut lines = ran.out.lines().filter_map(|line| line.split_once('='));
    let found = lines.find(|(known, _)| *known == name);
    found.map(|(_, value)| value.to_owned()).unwrap()
}

fn hex_bytes(text: &str) -> Vec<u8> {
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// RFC 4648, without padding.
fn base32(text: &str) -> Vec<u8> {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_usize, 0);
    for letter in text.chars() {
        held = (held << 5 | LETTERS.find(letter).unwrap()) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).unwrap());
        }
    }
    bytes
}
