//! The page that a browser gets instead of a log-in, in both languages. Nothing
//! of the request is repeated on it: the codes and rules are the hub's own.

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use shared::http::problem::Problem;

/// Tells the user to start again, and the app's developer why.
pub(crate) fn of(problem: &Problem) -> Response {
    tracing::warn!(%problem, "a login failed");
    let (status, code) = problem.identity();
    let status = match status {
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        other => other,
    };
    // The field is the caller's own text where a parameter is unknown.
    let (field, rule) = match problem {
        Problem::ParamInvalid { field, rule } if is_name(field) => (field.as_str(), *rule),
        Problem::ParamInvalid { rule, .. } => ("", *rule),
        _ => ("", ""),
    };
    let chinese = match field {
        "" => String::new(),
        field => format!("参数 {field} 有误。"),
    };
    let html = format!(
        "<!doctype html><html lang=\"zh-CN\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>WeChat</title>\
         <style>body{{margin:20vh auto 0;max-width:24em;padding:0 1em;font:1.1em/1.6 sans-serif;\
         text-align:center}}small{{color:#767676}}</style>\
         <p>登录未完成，请返回重新打开。</p>\
         <p lang=\"en\">The login was not completed. Please go back and open the page again.</p>\
         <p><small>{chinese}</small></p>\
         <p lang=\"en\"><small>{code} {field} {rule}</small></p></html>"
    );
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                  form-action 'none'; frame-ancestors 'none'";
    let headers = [(header::CONTENT_SECURITY_POLICY, policy)];
    (status, headers, Html(html)).into_response()
}

/// Whether a text can stand on the page as it is.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    text.len() <= 32 && text.bytes().all(plain)
}
