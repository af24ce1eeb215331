//! Hostile apps, over real sockets. "Public" is 127.0.0.1, which these callers
//! exempt; everything else on the loopback network stands for the hub's own.

use std::net::IpAddr;
use std::sync::Mutex;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const QUICK: Limits = Limits {
    call: Duration::from_millis(400),
    connect: Duration::from_millis(200),
};

/// A caller for which these lookups find these addresses.
fn caller(lookups: &[&[&str]]) -> Caller {
    let parse = |ips: &&[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect();
    let dns = Dns::Scripted(Mutex::new(lookups.iter().map(parse).collect()));
    let guard = Guard::new(vec!["127.0.0.1/32".parse().unwrap()]);
    Caller::build(guard, dns, QUICK).unwrap()
}

async fn listen(ip: &str, port: u16) -> (TcpListener, u16) {
    let listener = TcpListener::bind((ip.parse::<IpAddr>().unwrap(), port))
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn was_dialled(listener: &TcpListener) -> bool {
    let dialled = tokio::time::timeout(Duration::from_millis(50), listener.accept());
    dialled.await.is_ok()
}

/// Reads one request to its end.
async fn request(stream: &mut TcpStream) {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        seen.push(stream.read_u8().await.unwrap());
    }
}

/// How a call ends whose server says `first` and then `again` every
/// `pause`, until it is hung up on.
async fn call_of(first: &str, again: &str, pause: Duration) -> Outcome {
    let (listener, port) = listen("127.0.0.1", 0).await;
    let (first, again) = (first.to_owned(), again.to_owned());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        let mut said = stream.write_all(first.as_bytes()).await;
        while said.is_ok() && !again.is_empty() {
            tokio::time::sleep(pause).await;
            said = stream.write_all(again.as_bytes()).await;
        }
    });
    let address = format!("http://127.0.0.1:{port}/notify");
    caller(&[]).call(&address, &Params::new()).await
}

/// One line for each way to write an address that must not be dialled.
#[rustfmt::skip]
const SPELLINGS: [(&str, &str); 41] = [
    ("plain",                  "127.0.0.2"),
    ("short",                  "127.2"),
    ("shorter",                "127.0.2"),
    ("decimal",                "2130706434"),
    ("hex",                    "0x7f000002"),
    ("hex, upper case",        "0X7F000002"),
    ("hex, by part",           "0x7f.0x0.0x0.0x2"),
    ("octal",                  "017700000002"),
    ("octal, by part",         "0177.0.0.02"),
    ("leading zeros",          "0177.000.000.002"),
    ("mixed",                  "0x7f.2"),
    ("empty hex is zero",      "127.0.0x.2"),
    ("zero",                   "0"),
    ("all zeros",              "0.0.0.0"),
    ("trailing dot",           "127.0.0.2."),
    ("name",                   "localhost"),
    ("name, trailing dot",     "localhost."),
    ("name, upper case",       "LOCALHOST"),
    ("name, below localhost",  "x.localhost"),
    ("full-width digits",      "１２７.０.０.２"),
    ("ideographic full stops", "127。0。0。2"),
    ("circled digits",         "①②⑦.⓪.⓪.②"),
    ("circled letters",        "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ"),
    ("soft hyphen",            "local\u{ad}host"),
    ("percent-encoded",        "%31%32%37.0.0.2"),
    ("percent-encoded dot",    "127%2e0%2e0%2e2"),
    ("tab",                    "127.0.\t0.2"),
    ("user",                   "user@127.0.0.2"),
    ("a public user",          "1.1.1.1@127.0.0.2"),
    ("a public user and port", "1.1.1.1:80@127.0.0.2"),
    ("an encoded at sign",     "1.1.1.1%40@127.0.0.2"),
    ("metadata",               "169.254.169.254"),
    ("metadata, decimal",      "2852039166"),
    ("loopback",               "[::1]"),
    ("unspecified",            "[::]"),
    ("mapped",                 "[::ffff:127.0.0.2]"),
    ("mapped, in hex",         "[::ffff:7f00:2]"),
    ("even mapped 127.0.0.1",  "[::ffff:127.0.0.1]"),
    ("NAT64",                  "[64:ff9b::7f00:2]"),
    ("6to4",                   "[2002:7f00:2::]"),
    ("metadata, IPv6",         "[fd00:ec2::254]"),
];

/// One line for each address that means nothing, or nothing to a web client.
#[rustfmt::skip]
const NOT_ADDRESSES: [(&str, &str); 13] = [
    ("too many parts",         "http://127.0.0.0.2/"),
    ("a part over 255",        "http://256.0.0.1/"),
    ("over 32 bits",           "http://4294967296/"),
    ("zone",                   "http://[fe80::1%25eth0]/"),
    ("no port like that",      "http://127.0.0.2:65536/"),
    ("negative port",          "http://127.0.0.2:-1/"),
    ("port in words",          "http://127.0.0.2:http/"),
    ("port, then a user",      "http://127.0.0.2:80:80@1.1.1.1:1:1/"),
    ("no host",                "http://"),
    ("file",                   "file:///etc/passwd"),
    ("gopher",                 "gopher://127.0.0.2:25/_HELO"),
    ("data",                   "data:text/plain,success"),
    ("unix socket",            "http+unix://%2Fvar%2Frun%2Fdocker.sock/"),
];

#[tokio::test]
async fn no_spelling_of_a_private_address_is_ever_dialled() {
    // On all addresses, so that whatever is dialled is seen.
    let (listener, port) = listen("0.0.0.0", 0).await;
    let allowed = vec!["127.0.0.1/32".parse().unwrap()];
    let guard = Guard::new(allowed);
    let strict = Caller::build(Guard::default(), Dns::System, QUICK).unwrap();
    let literal = Caller::build(guard, Dns::Scripted(Mutex::default()), QUICK).unwrap();
    for (name, host) in SPELLINGS {
        for port in [format!(":{port}"), format!(":0{port}"), String::new()] {
            let address = format!("http://{host}{port}/notify");
            let outcome = strict.call(&address, &Params::new()).await;
            assert_eq!(outcome.http_status, None, "{name}: {address}");
            // Some resolvers do not know every name of this machine.
            if !name.starts_with("name") {
                assert_eq!(outcome.answer, guard::REFUSED, "{name}: {address}");
            }
            let outcome = literal.call(&address, &Params::new()).await;
            assert_eq!(outcome.http_status, None, "{name}: {address}");
        }
    }
    for form in [
        "http:127.0.0.2:{}",
        "http:/127.0.0.2:{}",
        "http:\\\\127.0.0.2:{}\\x",
    ] {
        let address = form.replace("{}", &port.to_string());
        let outcome = strict.call(&address, &Params::new()).await;
        assert_eq!(outcome.answer, guard::REFUSED, "{address}");
    }
    for (name, address) in NOT_ADDRESSES {
        let outcome = strict.call(address, &Params::new()).await;
        assert!(
            outcome.answer.starts_with("the address is"),
            "{name}: {}",
            outcome.answer
        );
    }
    assert!(!was_dialled(&listener).await, "somebody was dialled");
}

proptest! {
    #[test]
    fn every_spelling_of_every_address_is_judged_as_that_address(
        bits in prop_oneof![any::<u32>(), (0u32..=0xff_ffff).prop_map(|low| 0x7f00_0000 | low)],
        bases in proptest::collection::vec(0..3, 4),
        parts in 1..=4usize,
        dot in any::<bool>(),
    ) {
        let octets = bits.to_be_bytes();
        let mut numbers: Vec<u32> = octets.iter().take(parts - 1).map(|o| u32::from(*o)).collect();
        numbers.push([bits, bits & 0xff_ffff, bits & 0xffff, bits & 0xff][parts - 1]);
        let spelled: Vec<String> = numbers
            .iter()
            .zip(bases)
            .map(|(number, base)| match base {
                0 => number.to_string(),
                1 => format!("{number:#x}"),
                _ => format!("0{number:o}"),
            })
            .collect();
        let address = format!("http://{}{}/n", spelled.join("."), if dot { "." } else { "" });
        let caller = Caller::new(Vec::new()).unwrap();
        let permitted = Guard::default().permits(IpAddr::from(octets));
        prop_assert_eq!(caller.vet(&address).is_ok(), permitted, "{}", address);
    }

    #[test]
    fn only_success_ends_a_delivery(
        status in 0u16..1000,
        body in "\\PC{0,20}|\\s{0,3}(?i:success)\\s{0,3}",
    ) {
        let said = body.trim().to_lowercase() == "success";
        prop_assert_eq!(is_success(status, body.as_bytes()), said && status / 100 == 2);
    }
}

#[tokio::test]
async fn one_private_address_among_public_ones_is_enough_to_refuse_a_name() {
    let (public, port) = listen("127.0.0.1", 0).await;
    let (private, _) = listen("127.0.0.2", port).await;
    let address = format!("http://shop.example:{port}/notify");
    for found in [
        &["127.0.0.1", "127.0.0.2"][..],
        &["127.0.0.2", "127.0.0.1"],
        &["127.0.0.1", "127.0.0.1", "10.0.0.1"],
        &["127.0.0.1", "::1"],
        &["127.0.0.1", "::ffff:127.0.0.1"],
        &["127.0.0.1", "169.254.169.254"],
    ] {
        let outcome = caller(&[found]).call(&address, &Params::new()).await;
        assert_eq!(outcome.answer, guard::REFUSED, "{found:?}");
    }
    let outcome = caller(&[&[]]).call(&address, &Params::new()).await;
    assert_eq!(outcome.answer, "the name has no address");
    assert!(!was_dialled(&public).await && !was_dialled(&private).await);
}

#[tokio::test]
async fn a_name_that_turns_private_is_refused_and_a_call_looks_it_up_once() {
    let (public, port) = listen("127.0.0.1", 0).await;
    let (private, _) = listen("127.0.0.2", port).await;
    let server = tokio::spawn(async move {
        for _ in 0..2 {
            let (mut stream, _) = public.accept().await.unwrap();
            request(&mut stream).await;
            let answer =
                b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 7\r\n\r\nsuccess";
            stream.write_all(answer).await.unwrap();
        }
    });
    // Were a call to look twice, the second call would get the private answer.
    let caller = caller(&[&["127.0.0.1"], &["127.0.0.1"], &["127.0.0.2"]]);
    let address = format!("http://rebinding.example:{port}/notify");
    for _ in 0..2 {
        assert!(caller.call(&address, &Params::new()).await.delivered);
    }
    let outcome = caller.call(&address, &Params::new()).await;
    assert_eq!(outcome.answer, guard::REFUSED);
    assert!(
        !was_dialled(&private).await,
        "the private address was dialled"
    );
    server.await.unwrap();
}

#[tokio::test]
async fn redirects_are_answers_not_orders() {
    let (private, port) = listen("127.0.0.2", 0).await;
    for status in [300, 301, 302, 303, 304, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {status} X\r\nlocation: http://127.0.0.2:{port}/\r\ncontent-length: 7\r\n\r\nsuccess"
        );
        let outcome = call_of(&answer, "", Duration::ZERO).await;
        assert_eq!(
            (outcome.http_status, outcome.delivered),
            (Some(status), false)
        );
    }
    assert!(!was_dialled(&private).await, "a redirect was followed");
}

/// One line for each way to answer badly: what is said first, what is said
/// again and again, the pause between, and what the app's developer reads.
#[rustfmt::skip]
const BAD_ANSWERS: [(&str, &str, &str, u64, &str); 18] = [
    ("nothing, then closed",    "", "", 0, "connection closed before message completed"),
    ("half a status line",      "HTTP/1.1 20", "", 0, "connection closed before message completed"),
    ("half the headers",        "HTTP/1.1 200 OK\r\ncontent-le", "", 0, "connection closed before message completed"),
    ("half the body",           "HTTP/1.1 200 OK\r\ncontent-length: 70\r\n\r\nsuccess", "", 0, "end of file before message length reached"),
    ("half a chunk",            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\nsuccess", "", 0, "end of file before message length reached"),
    ("slow status",             "", "H", 2_000, "timed out"),
    ("slow headers",            "HTTP/1.1 200 OK\r\n", "a: b\r\n", 30, "timed out"),
    ("slow body",               "HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n", " ", 10, "timed out"),
    ("success, never ending",   "HTTP/1.1 200 OK\r\ncontent-length: 70\r\n\r\nsuccess", " ", 50, "timed out"),
    ("early hints for ever",    "", "HTTP/1.1 103 Early Hints\r\n\r\n", 1, "timed out"),
    ("endless headers",         "HTTP/1.1 200 OK\r\n", "a: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n", 0, "message head is too large"),
    ("one endless header",      "HTTP/1.1 200 OK\r\na: ", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", 0, "message head is too large"),
    ("endless body",            "HTTP/1.1 200 OK\r\n\r\n", "successsuccesssuccesssuccesssuccesssuccess", 0, "the answer is too large"),
    ("endless chunks",          "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "7\r\nsuccess\r\n", 0, "the answer is too large"),
    ("a length of exabytes",    "HTTP/1.1 200 OK\r\ncontent-length: 9223372036854775807\r\n\r\n", "successsuccesssuccesssuccesssuccesssuccess", 0, "the answer is too large"),
    ("two lengths",             "HTTP/1.1 200 OK\r\ncontent-length: 7\r\ncontent-length: 8\r\n\r\nsuccess", "", 0, "invalid content-length parsed"),
    ("an endless chunk size",   "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "0000000000000000", 0, "timed out"),
    ("another protocol",        "220 smtp.example ESMTP\r\n", "", 0, "invalid HTTP version parsed"),
];

#[tokio::test]
async fn every_bad_answer_is_a_short_failure_within_the_deadline() {
    for (name, first, again, pause, expected) in BAD_ANSWERS {
        let again = match pause {
            // As fast as it goes, in pieces a socket takes at once.
            0 => again.repeat(1024),
            _ => again.to_owned(),
        };
        let outcome = call_of(first, &again, Duration::from_millis(pause)).await;
        assert_eq!(outcome.answer, expected, "{name}");
        assert!(!outcome.delivered, "{name}");
        assert!(
            outcome.latency < Duration::from_secs(2),
            "{name}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_body_that_is_compressed_is_not_unpacked() {
    // `success` by gzip; a bomb is read the same way, as the bytes it is.
    let gzip = "\u{1f}\u{8b}";
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n{gzip}",
        gzip.len()
    );
    let outcome = call_of(&answer, "", Duration::ZERO).await;
    assert_eq!((outcome.http_status, outcome.delivered), (Some(200), false));
    let bomb = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n";
    let outcome = call_of(bomb, &gzip.repeat(4096), Duration::ZERO).await;
    assert_eq!(outcome.answer, "the answer is too large");
}

#[tokio::test]
async fn a_server_that_half_closes_after_its_answer_has_answered() {
    let answer = "HTTP/1.1 200 OK\r\n\r\nsuccess\n";
    assert!(call_of(answer, "", Duration::ZERO).await.delivered);
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_costs_the_deadline() {
    let (listener, port) = listen("127.0.0.1", 0).await;
    for scheme in ["http", "https"] {
        let address = format!("{scheme}://127.0.0.1:{port}/notify");
        let outcome = caller(&[]).call(&address, &Params::new()).await;
        assert_eq!(outcome.answer, "timed out", "{scheme}");
        assert!(outcome.latency < Duration::from_secs(2), "{scheme}");
    }
    drop(listener);
}

/// What arrives of a webhook, and how its answer is taken.
#[tokio::test]
async fn a_webhook_arrives_as_it_was_signed_and_any_2xx_is_a_success() {
    let webhook = Webhook {
        id: "evt".into(),
        timestamp: "1790000000".into(),
        signature: "v1,c2lnbmVk".into(),
        body: r#"{"type":"test"}"#.into(),
    };
    // The status alone decides, also where the body breaks off or never comes.
    for (status, rest, delivered) in [
        (200, "\r\n", true),
        (204, "\r\n", true),
        (299, "\r\n", true),
        (200, "content-length: 99\r\n\r\nhalf", true),
        (302, "\r\n", false),
        (400, "\r\n", false),
        (500, "\r\n", false),
        (500, "content-length: 99\r\n\r\nhalf", false),
    ] {
        let (listener, port) = listen("127.0.0.1", 0).await;
        let body = webhook.body.clone();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(body.as_bytes()) {
                seen.push(stream.read_u8().await.unwrap());
            }
            let answer =
                format!("HTTP/1.1 {status} X\r\nlocation: /x\r\nconnection: close\r\n{rest}");
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(seen).unwrap()
        });
        let address = format!("http://127.0.0.1:{port}/notify");
        let message = Message::Webhook(webhook.clone());
        let outcome = caller(&[]).tell(&address, &message).await;
        assert_eq!(
            (outcome.http_status, outcome.delivered),
            (Some(status), delivered),
            "{status} {rest}"
        );
        let seen = server.await.unwrap();
        for line in [
            "POST /notify HTTP/1.1\r\n",
            "content-type: application/json\r\n",
            "webhook-id: evt\r\n",
            "webhook-timestamp: 1790000000\r\n",
            "webhook-signature: v1,c2lnbmVk\r\n",
        ] {
            assert!(seen.contains(line), "{seen}");
        }
    }
    let message = Message::Webhook(webhook);
    let outcome = caller(&[]).tell("http://127.0.0.2/", &message).await;
    assert_eq!(outcome.answer, guard::REFUSED);
}
