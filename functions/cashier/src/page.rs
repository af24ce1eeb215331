//! What the payer reads: one small page in Chinese or English, usable on a
//! phone, with nothing loaded from elsewhere. It refuses to know routes and
//! storage.

use std::borrow::Cow;

use askama::Template;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use qrcode::QrCode;
use qrcode::render::svg;
use shared::ambient::random_hex;
use shared::domain::order::{Order, TradeType};
use shared::domain::signature::Params;
use shared::http::problem::Problem;

/// Who reads the page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader {
    /// Reads Chinese rather than English.
    chinese: bool,
    /// Where the page is open.
    pub(crate) browser: Browser,
}

/// Kinds of browsers, by what they can pay with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Browser {
    /// Inside WeChat, where the bridge is.
    Wechat,
    /// On a phone, where WeChat can be opened.
    Phone,
    /// Elsewhere: a code can be scanned from it.
    Desktop,
}

impl Browser {
    fn of(user_agent: &str) -> Self {
        if user_agent.contains("micromessenger") {
            Self::Wechat
        } else if ["android", "iphone", "harmony"]
            .iter()
            .any(|os| user_agent.contains(os))
        {
            Self::Phone
        } else {
            Self::Desktop
        }
    }

    /// How an order is paid there, if the app has not said.
    pub(crate) fn trade_type(self) -> TradeType {
        match self {
            Self::Wechat => TradeType::Jsapi,
            Self::Phone => TradeType::Mweb,
            Self::Desktop => TradeType::Native,
        }
    }
}

impl Reader {
    /// By `User-Agent` and `Accept-Language`: the first of the two languages
    /// that the browser names, Chinese when it names neither inside WeChat.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_ascii_lowercase()
        };
        let browser = Browser::of(&text(header::USER_AGENT));
        let languages = text(header::ACCEPT_LANGUAGE);
        let named = languages
            .split(',')
            .map(|part| part.trim().split(['-', ';']).next().unwrap_or_default())
            .find(|language| matches!(*language, "zh" | "en"));
        Self {
            chinese: named.map_or(browser == Browser::Wechat, |language| language == "zh"),
            browser,
        }
    }

    pub(crate) fn is_in_wechat(self) -> bool {
        self.browser == Browser::Wechat
    }

    fn say(self, chinese: &'static str, english: &'static str) -> &'static str {
        if self.chinese { chinese } else { english }
    }
}

/// The pages.
pub(crate) enum Page<'a> {
    /// A QR code to scan with WeChat.
    Scan { order: &'a Order, code_url: &'a str },
    /// Inside WeChat: the bridge opens.
    Bridge { order: &'a Order, bridge: Params },
    /// This order can only be paid inside WeChat.
    OpenInWechat { order: &'a Order, address: &'a str },
    /// On a phone, back from WeChat without a payment that is known yet.
    OpenWechat { order: &'a Order, address: String },
    /// Paid in the merchant's own app.
    InApp { order: &'a Order },
    /// Paid by code, at the shop's till.
    AtTill { order: &'a Order },
    /// Somebody else has just begun to pay it inside WeChat.
    Busy { order: &'a Order },
    /// Paid; back to the shop.
    Paid {
        order: &'a Order,
        return_url: &'a str,
    },
    /// Closed or expired.
    Closed {
        order: &'a Order,
        return_url: &'a str,
    },
    /// Something else is wrong.
    Problem(&'a Problem),
}

#[derive(Template)]
#[template(path = "page.html")]
struct View<'a> {
    language: &'static str,
    nonce: String,
    title: &'static str,
    /// `wait`, `done` or `stop`: what the page looks like.
    mood: &'static str,
    order: Option<&'a Order>,
    message: &'static str,
    qr: Option<String>,
    bridge: Option<Params>,
    polls: bool,
    link: Option<(Cow<'a, str>, &'static str)>,
    /// Follow the link by itself.
    follows: bool,
    code: Option<&'static str>,
    pay_again: &'static str,
}

impl Page<'_> {
    /// Renders the page.
    pub(crate) fn response(self, reader: Reader) -> Response {
        let nonce = random_hex();
        let mut view = View {
            language: reader.say("zh-CN", "en"),
            nonce: nonce.clone(),
            title: reader.say("微信支付", "WeChat Pay"),
            mood: "wait",
            order: None,
            message: "",
            qr: None,
            bridge: None,
            polls: false,
            link: None,
            follows: false,
            code: None,
            pay_again: reader.say("去支付", "Pay now"),
        };
        let back = reader.say("返回商家", "Back to the shop");
        let mut status = StatusCode::OK;
        match self {
            Self::Scan { order, code_url } => {
                view.order = Some(order);
                view.message = match reader.is_in_wechat() {
                    true => reader.say("长按识别二维码支付", "Press and hold the code to pay"),
                    false => reader.say("请用微信扫一扫支付", "Scan with WeChat to pay"),
                };
                view.qr = qr(code_url);
                view.polls = true;
            }
            Self::Bridge { order, bridge } => {
                view.order = Some(order);
                view.message = reader.say("正在打开微信支付…", "Opening WeChat Pay…");
                view.bridge = Some(bridge);
                view.polls = true;
            }
            Self::OpenInWechat { order, address } => {
                view.order = Some(order);
                view.message =
                    reader.say("请在微信中打开此页支付", "Open this page in WeChat to pay");
                view.qr = qr(address);
                view.polls = true;
            }
            Self::OpenWechat { order, address } => {
                view.order = Some(order);
                view.message = reader.say(
                    "支付完成后本页会自动返回商家",
                    "Once paid, this page returns to the shop by itself",
                );
                view.link = Some((address.into(), view.pay_again));
                view.polls = true;
            }
            Self::InApp { order } => {
                view.order = Some(order);
                view.message =
                    reader.say("请在商家的应用中支付", "Pay this order in the shop's app");
                view.polls = true;
            }
            Self::AtTill { order } => {
                view.order = Some(order);
                view.message =
                    reader.say("请在收银台出示付款码", "Show your payment code at the till");
                view.polls = true;
            }
            Self::Busy { order } => {
                view.order = Some(order);
                view.message = reader.say(
                    "这笔订单正在微信中支付，请几分钟后再试",
                    "This order is being paid inside WeChat. Try again in a few minutes.",
                );
                view.polls = true;
            }
            Self::Paid { order, return_url } => {
                view.order = Some(order);
                view.mood = "done";
                view.message = reader.say("支付成功", "Payment received");
                view.link = Some((return_url.into(), back));
                view.follows = true;
            }
            Self::Closed { order, return_url } => {
                view.order = Some(order);
                view.mood = "stop";
                view.message =
                    reader.say("订单已关闭或已过期", "This order is closed or has expired");
                view.link = Some((return_url.into(), back));
                status = StatusCode::GONE;
            }
            Self::Problem(problem) => {
                let (problem_status, code) = problem.identity();
                view.mood = "stop";
                view.message = explain(problem, reader);
                view.code = Some(code);
                status = problem_status;
            }
        }
        render(&view, &nonce, status)
    }
}

fn explain(problem: &Problem, reader: Reader) -> &'static str {
    match problem {
        Problem::SignInvalid
        | Problem::AppUnknown
        | Problem::ParamInvalid { .. }
        | Problem::TimestampExpired
        | Problem::BodyInvalid
        | Problem::BodyTooLarge
        | Problem::RefundNotFound
        | Problem::RefundConflict
        | Problem::RefundExceeds
        | Problem::OrderNotPaid
        | Problem::LoginDeclined
        | Problem::CodeInvalid
        | Problem::OrderConflict => reader.say(
            "支付链接无效，请回到商家重新下单",
            "This payment link is not valid. Please order again at the shop.",
        ),
        Problem::AppDisabled => reader.say("商家已停用", "This shop is disabled."),
        Problem::OrderNotFound => reader.say("没有这笔订单", "There is no such order."),
        Problem::OrderPaid => reader.say(
            "订单已支付，正在确认",
            "This order has been paid and is being confirmed.",
        ),
        Problem::OrderClosed => {
            reader.say("订单已关闭或已过期", "This order is closed or has expired")
        }
        Problem::WechatError { .. } | Problem::PaymentRefused { .. } => reader.say(
            "微信暂时无法受理这笔支付，请稍后重试",
            "WeChat cannot take this payment now. Please try again later.",
        ),
        Problem::OrderPaying | Problem::WechatTimeout | Problem::Unavailable => reader.say(
            "网络繁忙，请刷新重试",
            "The network is busy. Please reload this page.",
        ),
    }
}

fn render(view: &View<'_>, nonce: &str, status: StatusCode) -> Response {
    let Ok(html) = view.render() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    // WeChat's own browser talks to its bridge through hidden frames.
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; frame-src weixin: weixinping: weixinpreinject: wxlocalresource:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    let mut put = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    put(header::CONTENT_TYPE, "text/html; charset=utf-8");
    put(header::CONTENT_SECURITY_POLICY, &policy);
    put(header::CACHE_CONTROL, "no-store");
    put(header::REFERRER_POLICY, "no-referrer");
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

/// The code as inline SVG, without the XML declaration.
fn qr(content: &str) -> Option<String> {
    let code = QrCode::new(content).ok()?;
    let image = code
        .render::<svg::Color<'_>>()
        .min_dimensions(220, 220)
        .build();
    image
        .find("<svg")
        .and_then(|start| image.get(start..))
        .map(str::to_owned)
}
