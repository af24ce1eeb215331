//! Chaos: payments go on while one thing after another fails; then everything
//! works again, and every payment must be where it belongs. A fault that never
//! struck proves nothing, and fails the run.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_lambda::primitives::Blob;
use demo_shop::Mode;
use journeys::{Stack, random_order_no};
use serde_json::json;
use tokio::task::JoinSet;

use crate::buyer::{Buyer, Purchase, Way, Wish};
use crate::faults::{Breaker, Fault, Wire};
use crate::figures::Figures;
use crate::judge::Books;
use crate::open_shop;

/// Payers at a time. Each waits for its own order, so that a hub that is slow
/// gets fewer payments instead of a flood of repeats.
const PAYERS: usize = 4;
/// Between one payment of a payer and the next.
const PACE: Duration = Duration::from_secs(2);
/// How long a fault is at work at least.
const AT_WORK: Duration = Duration::from_secs(2);
/// How long it is waited for until it strikes.
const STRIKES_WITHIN: Duration = Duration::from_secs(60);
/// How long nothing but the last payments goes on at the end.
const SETTLE: Duration = Duration::from_secs(240);
/// A delivery later than this is counted.
const LATE: Duration = Duration::from_secs(60);

/// Every call of AWS that a payment makes.
const OPERATIONS: [(&str, &str); 7] = [
    ("dynamodb", "GetItem"),
    ("dynamodb", "PutItem"),
    ("dynamodb", "UpdateItem"),
    ("dynamodb", "DeleteItem"),
    ("dynamodb", "Query"),
    ("dynamodb", "TransactWriteItems"),
    ("sqs", "SendMessage"),
];

fn faults() -> Vec<Fault> {
    let mut all = Vec::new();
    for (service, operation) in OPERATIONS {
        for wire in [Wire::Throttled, Wire::Reset, Wire::Lost, Wire::Slow] {
            all.push(Fault::Aws(service, operation, wire));
        }
    }
    for path in ["/pay/unifiedorder", "/pay/orderquery"] {
        for kind in [
            "timeout_after",
            "http_500",
            "reset",
            "reset_after",
            "system_error_after",
        ] {
            all.push(Fault::Wechat(path, kind));
        }
    }
    all.extend(
        [
            Mode::Http500,
            Mode::Hang,
            Mode::Redirect,
            Mode::Huge,
            // Taken, and the answer lost.
            Mode::Drop,
        ]
        .map(Fault::Shop),
    );
    all.extend(
        [
            "CREATE_ORDER_FUNCTION_NAME",
            "CASHIER_FUNCTION_NAME",
            "OAUTH_FUNCTION_NAME",
            "WECHAT_NOTIFY_FUNCTION_NAME",
            "DELIVER_FUNCTION_NAME",
            "RECONCILE_FUNCTION_NAME",
            "SWEEP_FUNCTION_NAME",
        ]
        .map(Fault::Kill),
    );
    all.push(Fault::Stop(Duration::from_secs(60)));
    all
}

/// Runs all faults and prints what became of the payments. True when all is
/// well.
pub(crate) async fn run(folder: PathBuf) -> bool {
    let apps = [Arc::new(Stack::new().await), Arc::new(Stack::new().await)];
    let shop = open_shop(&apps).await;
    let buyer = Buyer::new(&apps, &shop);
    let breaker = Breaker::new(Arc::clone(&apps[0]), shop, &folder);
    let crowd = Crowd::gather(&buyer, apps.len());
    let sweeping = tokio::spawn(sweep(Arc::clone(&apps[0])));

    let (mut injected, mut missed) = (0, 0);
    for fault in faults() {
        let struck = strike(&breaker, &fault).await;
        injected += struck;
        missed += u32::from(struck == 0);
        let so_far = crowd.started();
        println!("{fault:?}: struck {struck} times, {so_far} payments begun");
    }
    let (bought, given_up) = crowd.disperse().await;
    settle(&bought, &breaker).await;
    sweeping.abort();

    let verdict = Books::read(&breaker.stack)
        .await
        .judge(&bought, &breaker.shop);
    let delivered: Vec<Duration> = bought
        .iter()
        .filter_map(|one| {
            let told = breaker.shop.told(&one.wish.order_no).first_success?;
            Some(told.saturating_duration_since(one.paid_at))
        })
        .collect();
    let late = delivered.iter().filter(|took| **took > LATE).count();
    println!("faults injected {injected}, kinds of fault that never struck {missed}");
    println!("{verdict}");
    println!("orders given up by the payer {given_up}, delivered later than {LATE:?}: {late}");
    println!("delivery {}", Figures::of(delivered.into_iter()));
    verdict.is_clean() && missed == 0 && verdict.paid > 0
}

/// Lets a fault loose for its time, and longer if it has not struck; how
/// often it did.
async fn strike(breaker: &Breaker, fault: &Fault) -> u64 {
    let began = Instant::now();
    let mut struck = breaker.start(fault).await;
    while struck == 0 || began.elapsed() < AT_WORK {
        if began.elapsed() > STRIKES_WITHIN {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        struck = struck.max(breaker.struck(fault).await);
    }
    breaker.end().await;
    struck
}

/// Payers that go on and on.
struct Crowd {
    open: Arc<AtomicBool>,
    started: Arc<AtomicUsize>,
    payers: JoinSet<Vec<Purchase>>,
}

impl Crowd {
    fn gather(buyer: &Buyer, apps: usize) -> Self {
        let mut crowd = Self {
            open: Arc::new(AtomicBool::new(true)),
            started: Arc::default(),
            payers: JoinSet::new(),
        };
        for payer in 0..PAYERS {
            let (open, started) = (Arc::clone(&crowd.open), Arc::clone(&crowd.started));
            let (buyer, app) = (buyer.clone(), payer % apps);
            crowd.payers.spawn(async move {
                let mut bought = Vec::new();
                while open.load(Ordering::SeqCst) {
                    let number = started.fetch_add(1, Ordering::SeqCst);
                    let wish = Wish {
                        app,
                        order_no: random_order_no(),
                        way: if number % 4 == 3 {
                            Way::Page
                        } else {
                            Way::Code
                        },
                        // One in five is never notified: the hub has to ask.
                        pay: json!({"copies": 3, "notify": number % 5 != 4}),
                        deadline: Instant::now() + SETTLE,
                    };
                    bought.extend(buyer.buy(wish).await);
                    tokio::time::sleep(PACE).await;
                }
                bought
            });
        }
        crowd
    }

    fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    /// The orders that were paid, and how many never came so far.
    async fn disperse(self) -> (Vec<Purchase>, usize) {
        self.open.store(false, Ordering::SeqCst);
        let bought: Vec<Purchase> = self.payers.join_all().await.into_iter().flatten().collect();
        let given_up = self.started.load(Ordering::SeqCst) - bought.len();
        (bought, given_up)
    }
}

/// Sweeps every three seconds instead of every minute. A sweep that fails is
/// one of the faults.
async fn sweep(stack: Arc<Stack>) {
    let lambda = aws_sdk_lambda::Client::new(&stack.aws);
    loop {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let sweep = lambda
            .invoke()
            .function_name(stack.setting("SWEEP_FUNCTION_NAME"));
        let _ = sweep.payload(Blob::new("{}")).send().await;
    }
}

/// Waits until nothing is owed, or for too long.
async fn settle(bought: &[Purchase], breaker: &Breaker) {
    let until = Instant::now() + SETTLE;
    while Instant::now() < until {
        let told = |one: &Purchase| breaker.shop.told(&one.wish.order_no).successes > 0;
        if bought.iter().all(told) && Books::read(&breaker.stack).await.owed(bought) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
