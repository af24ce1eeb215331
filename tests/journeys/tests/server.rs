//! What WeChat asks of the domain itself: the official account's server check,
//! its messages, and the files that prove whose the domain is.

use journeys::{Stack, unix_seconds};
use sha1::{Digest, Sha1};

/// The address as WeChat asks for it, signed with this token.
fn asked(stack: &Stack, token: &str, timestamp: i64, more: &str) -> String {
    let (timestamp, nonce) = (timestamp.to_string(), "1372623149");
    let mut parts = [token, &timestamp, nonce];
    parts.sort_unstable();
    let signature = hex::encode(Sha1::digest(parts.concat()));
    let base = stack.setting("HUB_URL");
    format!("{base}/wechat/server?signature={signature}&timestamp={timestamp}&nonce={nonce}{more}")
}

/// The same with a sign before the time, which is signed as well.
fn with_plus(stack: &Stack, token: &str, timestamp: i64, more: &str) -> String {
    let (timestamp, nonce) = (format!("+{timestamp}"), "1372623149");
    let mut parts = [token, &timestamp, nonce];
    parts.sort_unstable();
    let signature = hex::encode(Sha1::digest(parts.concat()));
    let base = stack.setting("HUB_URL");
    let time = timestamp.replace('+', "%2B");
    format!("{base}/wechat/server?signature={signature}&timestamp={time}&nonce={nonce}{more}")
}

#[tokio::test]
async fn the_server_check_echoes_for_wechat_and_nobody_else() {
    let stack = Stack::new().await;
    let (token, now) = (stack.setting("WECHAT_SERVER_TOKEN"), unix_seconds());
    let echo = "&echostr=5838479218127813673";
    let good = stack
        .send(|http| http.get(asked(&stack, token, now, echo)))
        .await;
    // The harness reads digits as JSON.
    assert_eq!(
        (good.status, good.body.to_string().as_str()),
        (200, "5838479218127813673")
    );

    let script = "&echostr=%3Cscript%3Ealert(1)%3C/script%3E";
    for bad in [
        asked(&stack, "another token", now, script),
        asked(&stack, "", now, script),
        with_plus(&stack, token, now, echo),
        asked(&stack, token, now - 301, script),
        asked(&stack, token, now + 400, script),
        asked(&stack, token, now, "&echostr=a&echostr=b"),
        asked(&stack, token, now, ""),
        asked(&stack, token, now, "&nonce=1").replace("nonce=1372623149&", ""),
        format!("{}/wechat/server?echostr=x", stack.setting("HUB_URL")),
    ] {
        let refused = stack.send(|http| http.get(&bad)).await;
        assert_eq!((refused.status, &refused.body), (403, &"forbidden".into()));
    }
}

#[tokio::test]
async fn messages_are_taken_from_wechat_only_and_not_without_bounds() {
    let stack = Stack::new().await;
    let (token, now) = (stack.setting("WECHAT_SERVER_TOKEN"), unix_seconds());
    let message = "<xml><MsgType><![CDATA[text]]></MsgType></xml>";
    let good = asked(&stack, token, now, "&openid=oSimulated");
    let taken = stack.send(|http| http.post(&good).body(message)).await;
    assert_eq!((taken.status, &taken.body), (200, &"success".into()));
    let forged = asked(&stack, "another token", now, "");
    let refused = stack.send(|http| http.post(forged).body(message)).await;
    assert_eq!((refused.status, &refused.body), (403, &"forbidden".into()));
    let huge = "x".repeat(64 * 1024 + 1);
    assert_eq!(
        stack.send(|http| http.post(&good).body(huge)).await.status,
        413
    );
}

#[tokio::test]
async fn a_domain_file_is_there_when_it_is_configured_and_nothing_else_is() {
    let stack = Stack::new().await;
    let (base, code) = (stack.setting("HUB_URL"), stack.setting("MP_VERIFY_CODE"));
    let file = stack
        .send(|http| http.get(format!("{base}/MP_verify_{code}.txt")))
        .await;
    assert_eq!((file.status, &file.body), (200, &code.into()));
    for path in [
        "MP_verify_another.txt",
        "MP_verify_.txt",
        "MP_verify_<script>.txt",
        "mp_verify_x.txt",
        "favicon.ico",
        "robots.txt",
        "",
        "a/b",
    ] {
        let missing = stack.send(|http| http.get(format!("{base}/{path}"))).await;
        assert_eq!(missing.status, 404, "{path}: {missing:?}");
    }
}
