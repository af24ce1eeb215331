//! The page that a browser gets instead of a log-in, in both languages. The codes
//! and rules are the hub's own; of the request nothing is repeated but the name of
//! a parameter, which may be a stranger's text.

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use shared::http::problem::Problem;

/// Tells the user to start again, and the app's developer why.
pub(crate) fn of(problem: &Problem) -> Response {
    problem.log();
    let (status, code) = problem.identity();
    let status = match status {
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        other => other,
    };
    // The rules are in English only.
    let (chinese, english) = match problem {
        Problem::ParamInvalid { field, rule } => {
            let (field, rule) = (shown(field), escaped(rule));
            let chinese = format!("参数 {field} 有误：<span lang=\"en\">{rule}</span>");
            (chinese, format!("{code}: {field} {rule}"))
        }
        _ => (format!("错误代码：{code}"), code.to_owned()),
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
         <p lang=\"en\"><small>{english}</small></p></html>"
    );
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                  form-action 'none'; frame-ancestors 'none'";
    let headers = [(header::CONTENT_SECURITY_POLICY, policy)];
    (status, headers, Html(html)).into_response()
}

/// A parameter's name, cut. No sentence can be written with it.
fn shown(name: &str) -> String {
    let plain = |character: char| match character.is_ascii_graphic() {
        true => character,
        false => '?',
    };
    let name: String = name.chars().take(32).map(plain).collect();
    escaped(&name)
}

fn escaped(text: &str) -> String {
    let mut html = String::new();
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_parameter_is_named_but_writes_nothing() {
        let long = "x".repeat(33);
        for (name, on_page) in [
            ("redirect_uri", "redirect_uri"),
            ("Order-No", "Order-No"),
            ("<b onclick=\"'\">", "&lt;b?onclick=&quot;&#39;&quot;&gt;"),
            ("a&lt;", "a&amp;lt;"),
            ("call me\u{202e}请", "call?me??"),
            (&long, &long[..32]),
        ] {
            assert_eq!(shown(name), on_page);
        }
    }
}
