//! What the payer reads: one small page in Chinese or English, usable on a
//! phone, with nothing loaded from elsewhere.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use qrcode::QrCode;
use qrcode::render::svg;
use shared::ambient::random_hex;
use shared::domain::order::Order;
use shared::domain::signature::Params;
use shared::http::problem::Problem;

use crate::reader::Reader;

/// What there is to read.
pub(crate) enum Page<'a> {
    /// A QR code to scan with WeChat.
    Scan { code_url: &'a str },
    /// Inside WeChat: the bridge opens.
    Bridge { params: Params },
    /// This order can only be paid inside WeChat.
    OpenInWechat { address: &'a str },
    /// On a phone: WeChat opens. Its page takes only a browser that comes from
    /// one of the merchant's domains, and the browser says so only when it comes
    /// from a page there: never by a redirect.
    GoToWechat { address: &'a str },
    /// On a phone, back from WeChat without a payment that is known yet.
    OpenWechat { address: &'a str },
    /// This order can only be paid outside WeChat's browser.
    OpenInBrowser,
    /// Paid in the merchant's own app.
    InApp,
    /// Paid by code, at the shop's till.
    AtTill,
    /// Paid; back to the shop.
    Paid { return_url: &'a str },
    /// Closed or expired.
    Closed { return_url: &'a str },
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
    bridge: Option<&'a Params>,
    /// Ask again and again whether the payment is in.
    polls: bool,
    link: Option<(&'a str, &'static str)>,
    /// Follow the link by itself, after the payer has read the page.
    follows: bool,
    /// The link leads to WeChat, which must learn where the browser comes from.
    to_wechat: bool,
    /// Go there by itself.
    goes_on: bool,
    code: Option<&'static str>,
    pay_again: &'static str,
}

impl Page<'_> {
    /// The page about this order, for this reader.
    pub(crate) fn response(&self, order: Option<&Order>, reader: Reader) -> Response {
        let mood = match self {
            Self::Paid { .. } => "done",
            Self::Closed { .. } | Self::Problem(_) => "stop",
            _ => "wait",
        };
        let view = View {
            language: reader.say("zh-CN", "en"),
            nonce: random_hex(),
            title: reader.say("微信支付", "WeChat Pay"),
            mood,
            order,
            message: self.message(reader),
            qr: match self {
                Self::Scan { code_url } => qr(code_url),
                Self::OpenInWechat { address } => qr(address),
                _ => None,
            },
            bridge: match self {
                Self::Bridge { params } => Some(params),
                _ => None,
            },
            polls: mood == "wait",
            link: self.link(reader),
            follows: matches!(self, Self::Paid { .. }),
            to_wechat: matches!(self, Self::GoToWechat { .. } | Self::OpenWechat { .. }),
            goes_on: matches!(self, Self::GoToWechat { .. }),
            code: match self {
                Self::Problem(problem) => Some(problem.identity().1),
                _ => None,
            },
            pay_again: reader.say("去支付", "Pay now"),
        };
        render(&view, self.status())
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Closed { .. } => StatusCode::GONE,
            Self::Problem(problem) => problem.identity().0,
            _ => StatusCode::OK,
        }
    }

    fn link(&self, reader: Reader) -> Option<(&str, &'static str)> {
        match self {
            Self::GoToWechat { address } | Self::OpenWechat { address } => {
                Some((address, reader.say("去支付", "Pay now")))
            }
            Self::Paid { return_url } | Self::Closed { return_url } => {
                Some((return_url, reader.say("返回商家", "Back to the shop")))
            }
            _ => None,
        }
    }

    fn message(&self, reader: Reader) -> &'static str {
        match self {
            Self::Scan { .. } if reader.is_in_wechat() => {
                reader.say("长按识别二维码支付", "Press and hold the code to pay")
            }
            Self::Scan { .. } => reader.say("请用微信扫一扫支付", "Scan with WeChat to pay"),
            Self::Bridge { .. } => reader.say("正在打开微信支付…", "Opening WeChat Pay…"),
            Self::OpenInWechat { .. } => {
                reader.say("请在微信中打开此页支付", "Open this page in WeChat to pay")
            }
            Self::OpenInBrowser => reader.say(
                "请点右上角菜单，选择在浏览器中打开此页支付",
                "Open this page in your browser to pay: use the menu at the top right",
            ),
            Self::GoToWechat { .. } => reader.say("正在打开微信…", "Opening WeChat…"),
            Self::OpenWechat { .. } => reader.say(
                "支付完成后本页会自动返回商家",
                "Once paid, this page returns to the shop by itself",
            ),
            Self::InApp => reader.say("请在商家的应用中支付", "Pay this order in the shop's app"),
            Self::AtTill => {
                reader.say("请在收银台出示付款码", "Show your payment code at the till")
            }
            Self::Paid { .. } => reader.say("支付成功", "Payment received"),
            Self::Closed { .. } => {
                reader.say("订单已关闭或已过期", "This order is closed or has expired")
            }
            Self::Problem(problem) => explain(problem, reader),
        }
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
        | Problem::NotificationInvalid
        | Problem::Operator(_)
        | Problem::OrderConflict => reader.say(
            "支付链接无效，请回到商家重新下单",
            "This payment link is not valid. Please order again at the shop.",
        ),
        Problem::MerchantDisabled | Problem::AccountMissing => reader.say(
            "商家暂时无法收款，请联系商家",
            "This shop cannot take this payment. Please contact the shop.",
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
        Problem::TooManyAttempts => reader.say(
            "打开次数过多，请几分钟后再试，或回到商家重新下单",
            "This order was opened too often. Try again in a few minutes, or order again at the shop.",
        ),
        Problem::WechatError { .. } | Problem::PaymentRefused { .. } => reader.say(
            "微信暂时无法受理这笔支付，请稍后重试",
            "WeChat cannot take this payment now. Please try again later.",
        ),
        Problem::OrderPaying | Problem::WechatTimeout | Problem::Unavailable => reader.say(
            "网络不稳定，请刷新重试",
            "Something went wrong on the way. Please reload this page.",
        ),
    }
}

fn render(view: &View<'_>, status: StatusCode) -> Response {
    let Ok(html) = view.render() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let nonce = &view.nonce;
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
    if view.to_wechat {
        put(header::REFERRER_POLICY, "origin");
    }
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
