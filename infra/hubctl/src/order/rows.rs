//! What the rows of an order tell. WeChat's times are whole seconds, cut off: an
//! event of WeChat's is not told before the one of ours that led to it.

use shared::aws::ledger::Partition;
use shared::domain::UnknownAttributes;
use shared::domain::delivery::{self, Address, Delivery};
use shared::domain::order::{Order, Payment, TradeType};
use shared::domain::refund::Refund;
use shared::domain::time::Timestamp;

use super::{Event, written};

/// Everything that has a time, and last how it stands now.
pub(super) fn events(partition: &Partition, now: Timestamp) -> Vec<Event> {
    let Partition {
        order,
        deliveries,
        refunds,
    } = partition;
    let mut events = of_order(order);
    deliveries
        .iter()
        .for_each(|delivery| events.extend(of_delivery(delivery)));
    refunds
        .iter()
        .for_each(|refund| events.extend(of_refund(refund)));

    let mut open = vec![standing(order)];
    open.extend(deliveries.iter().filter_map(owed));
    open.extend(refunds.iter().filter_map(under_way));
    events.extend(open.iter().map(|what| Event::of_ledger(now, what)));
    events
}

fn of_order(order: &Order) -> Vec<Event> {
    let request = &order.request;
    let trade_type = request.trade_type.map(TradeType::as_str);
    let created = format!(
        "order created: {} fen, {}, version {}, may be paid until {}",
        request.total_fee,
        trade_type.unwrap_or("the payer chooses how"),
        request.version.as_str(),
        written(order.expires_at),
    );
    let mut events = vec![Event::of_ledger(order.created_at, created)];
    for attempt in &order.attempts {
        let code = attempt.payment_code.as_ref();
        let end = match (
            &attempt.prepay,
            code.and_then(|code| code.err_code.as_ref()),
        ) {
            (_, Some(err_code)) => format!(", it failed: {err_code}"),
            (Some(_), None) => ", WeChat takes payments for it".to_owned(),
            (None, None) => String::new(),
        };
        let number = attempt.number;
        let what = format!(
            "attempt {number} opened: {}{end}",
            attempt.trade_type.as_str()
        );
        events.push(Event::of_ledger(attempt.started_at, what));
    }
    if let Some(payment) = &order.payment {
        let at = payment.paid_at.max(started(order, payment.attempt));
        events.push(Event::of_ledger(
            at,
            format!("paid: {}", of_payment(payment)),
        ));
    }
    for anomaly in &order.anomalies {
        let payment = of_payment(&anomaly.payment);
        let what = format!(
            "a payment must go back ({}): {payment}",
            anomaly.kind.as_str()
        );
        events.push(Event::of_ledger(anomaly.seen_at, what));
    }
    events.extend(put_back(&order.unknown, "the order"));
    events
}

fn started(order: &Order, attempt: u8) -> Timestamp {
    let started = order.attempt(attempt).map(|attempt| attempt.started_at);
    started.unwrap_or(order.created_at)
}

fn of_payment(payment: &Payment) -> String {
    format!(
        "{} fen, {} in cash, by attempt {} ({}), WeChat's number {}",
        payment.total_fee,
        payment.cash_fee,
        payment.attempt,
        payment.trade_type,
        payment.transaction_id
    )
}

/// What the event tells of: `refund.succeeded R1`.
fn name(delivery: &Delivery) -> String {
    let subject = delivery.subject.as_deref().unwrap_or_default();
    format!("{} {subject}", delivery.event.as_str())
        .trim_end()
        .to_owned()
}

fn of_delivery(delivery: &Delivery) -> Vec<Event> {
    let (name, event_id) = (name(delivery), &delivery.event_id);
    let called = delivery.attempts.iter().map(|attempt| {
        let address = match attempt.address {
            Address::Return => "return_url",
            Address::Notify => "notify_url",
        };
        let status = attempt.http_status.map(|status| format!("HTTP {status}, "));
        let what = format!(
            "the app's {address} called with {name}, event {event_id}, attempt {}: {}{} ms, {}",
            u32::from(attempt.step) + 1,
            status.unwrap_or_default(),
            attempt.latency_ms,
            attempt.answer
        );
        Event::of_ledger(attempt.at, what)
    });
    called.collect()
}

fn of_refund(refund: &Refund) -> Vec<Event> {
    let refund_no = &refund.refund_no;
    let promised = format!(
        "refund {refund_no} promised: {} fen of payment {}, by {}",
        refund.refund_fee,
        refund.transaction_id,
        refund_no.source().as_str()
    );
    let mut events = vec![Event::of_ledger(refund.created_at, promised)];
    if let Some(ended_at) = refund.ended_at {
        let mut what = format!("refund {refund_no} {}", refund.status.as_str());
        if let Some(err_code) = &refund.err_code {
            what.extend([": ", err_code]);
        }
        let at = ended_at.max(refund.created_at);
        events.push(Event::of_ledger(at, what));
    }
    events.extend(put_back(&refund.unknown, &format!("refund {refund_no}")));
    events
}

/// The mark of `hubctl restore`.
fn put_back(unknown: &UnknownAttributes, what: &str) -> Option<Event> {
    let from = unknown.get("restored_from")?.as_str()?;
    let at = unknown.get("restored_at")?.as_i64()?;
    let what = format!("the row of {what} was put back from {from}");
    Some(Event::of_ledger(Timestamp::from_millis(at), what))
}

fn standing(order: &Order) -> String {
    let mut what = format!("now the order is {}", order.status.as_str());
    if let Some(payment) = &order.payment {
        let (total, back) = (payment.total_fee, payment.refunded);
        what += &format!(", {back} of {total} fen have gone back");
        if payment.refund_reserved > back {
            what += &format!(", {} are promised in all", payment.refund_reserved);
        }
    }
    if let Some(due) = order.due {
        what += &format!(", WeChat is asked at {}", written(due));
    }
    what
}

fn owed(delivery: &Delivery) -> Option<String> {
    let name = name(delivery);
    match delivery.status {
        delivery::Status::Delivered => None,
        delivery::Status::Exhausted => Some(format!("now {name} is exhausted: redeliver it")),
        delivery::Status::Pending => {
            let due = written(delivery.due);
            let attempt = u32::from(delivery.step) + 1;
            Some(format!(
                "now {name} is owed to the app: attempt {attempt} is due at {due}"
            ))
        }
    }
}

fn under_way(refund: &Refund) -> Option<String> {
    if refund.status.is_final() {
        return None;
    }
    let (refund_no, status) = (&refund.refund_no, refund.status.as_str());
    let mut what = format!("now refund {refund_no} is {status}");
    if let Some(err_code) = &refund.err_code {
        what += &format!(" ({err_code})");
    }
    if let Some(due) = refund.due {
        what += &format!(", WeChat is asked at {}", written(due));
    }
    Some(what)
}
