//! Load: payments at a steady rate, each notified three times at once, one
//! callback in ten failing once; then the same with one app dead. The other
//! apps must not feel it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use demo_shop::{Mode, Rule, Shop};
use journeys::{Stack, random_order_no};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::buyer::{Buyer, Purchase, Way, Wish};
use crate::figures::Figures;
use crate::judge::Books;
use crate::open_shop;

const APPS: usize = 5;
/// The app that dies in the second phase.
const DEAD: usize = 0;
/// Of one payment in ten the first attempt fails, which calls both addresses.
const FIRST_ATTEMPT: u32 = 2;
/// How long a phase's last payment is given to be delivered.
const SETTLE: Duration = Duration::from_secs(120);
/// A p99 that is below this is felt by nobody, whatever it was before.
const UNFELT: Duration = Duration::from_millis(200);

/// Runs both phases and prints their figures. True when all is well.
pub(crate) async fn run(payments: u32, rate: u32, within: Duration) -> bool {
    let mut apps = Vec::new();
    for _ in 0..APPS {
        apps.push(Arc::new(Stack::new().await));
    }
    let shop = open_shop(&apps).await;
    let stand = Stand {
        buyer: Buyer::new(&apps, &shop),
        shop: Arc::clone(&shop),
        stack: Arc::clone(&apps[0]),
        pace: Duration::from_secs(1) / rate,
        deadline: Instant::now() + within,
    };
    println!("{APPS} apps, {rate} payments/s, {payments} payments in all");
    let half = payments / 2;
    let (calm, mut bought) = stand.phase("all apps alive", half, None).await;
    shop.behave(Rule {
        app_id: Some(apps[DEAD].app.id.clone()),
        ..Rule::always(Mode::Hang)
    });
    let rest = payments - half;
    let (dead, more) = stand.phase("one app dead", rest, Some(DEAD)).await;
    bought.extend(more);

    shop.behave_well();
    println!("\nthe dead app answers again");
    stand.settled(&bought).await;
    let books = Books::read(&stand.stack).await;
    let verdict = books.judge(&bought, &shop);
    println!("  {verdict}");
    let missing = usize::try_from(payments).unwrap() - bought.len();
    println!("  not bought within {} s: {missing}", within.as_secs());
    let bearable = (calm * 2).max(UNFELT);
    println!("  delivery p99 of the other apps: {calm:?} -> {dead:?}, may be {bearable:?}");
    verdict.is_clean() && missing == 0 && dead <= bearable
}

struct Stand {
    shop: Arc<Shop>,
    buyer: Buyer,
    stack: Arc<Stack>,
    pace: Duration,
    deadline: Instant,
}

impl Stand {
    /// One phase; the other apps' delivery p99 and what was bought.
    async fn phase(
        &self,
        name: &str,
        payments: u32,
        dead: Option<usize>,
    ) -> (Duration, Vec<Purchase>) {
        println!("\n{name}");
        let mut failing = HashSet::new();
        let mut ticks = interval(self.pace);
        // A late tick is no reason to crowd the next ones.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let began = Instant::now();
        let mut buying = JoinSet::new();
        for number in 0..usize::try_from(payments).unwrap() {
            ticks.tick().await;
            if Instant::now() > self.deadline {
                break;
            }
            let (round, app) = (number / APPS, number % APPS);
            let order_no = random_order_no();
            if round % 10 == 0 && dead != Some(app) {
                self.shop.behave(Rule {
                    order_no: Some(order_no.clone()),
                    times: Some(FIRST_ATTEMPT),
                    ..Rule::always(Mode::Http500)
                });
                failing.insert(order_no.clone());
            }
            let wish = Wish {
                app,
                order_no,
                way: Way::Code,
                pay: json!({"copies": 3}),
                deadline: self.deadline,
            };
            let buyer = self.buyer.clone();
            buying.spawn(async move { buyer.buy(wish).await });
        }
        let bought: Vec<Purchase> = buying.join_all().await.into_iter().flatten().collect();
        let took = began.elapsed();
        let others: Vec<Purchase> = bought
            .iter()
            .filter(|one| one.wish.app != DEAD)
            .cloned()
            .collect();
        self.settled(&others).await;
        let p99 = self.report(&bought, &failing, took).await;
        (p99, bought)
    }

    async fn report(
        &self,
        bought: &[Purchase],
        failing: &HashSet<String>,
        took: Duration,
    ) -> Duration {
        let refused: u32 = bought.iter().map(|one| one.refused).sum();
        let rate = u128::try_from(bought.len()).unwrap() * 100_000 / took.as_millis().max(1);
        println!(
            "  payments        {} in {} s: {}.{:02}/s; creates that failed and were repeated: {refused}",
            bought.len(),
            took.as_secs(),
            rate / 100,
            rate % 100
        );
        println!(
            "  create          {}",
            Figures::of(bought.iter().map(|one| one.created_in))
        );
        let books = Books::read(&self.stack).await;
        println!(
            "  notify answer   {}",
            Figures::of(books.notified_in(bought).into_iter())
        );
        let others = |failed: bool| {
            let wanted = bought.iter().filter(|one| {
                one.wish.app != DEAD && failing.contains(&one.wish.order_no) == failed
            });
            Figures::of(wanted.filter_map(|one| self.delivered_in(one)))
        };
        let delivered = others(false);
        println!("  delivery        {delivered}");
        println!("  after a failure {}", others(true));
        delivered.percentile(99)
    }

    fn delivered_in(&self, one: &Purchase) -> Option<Duration> {
        let told = self.shop.told(&one.wish.order_no).first_success?;
        Some(told.saturating_duration_since(one.paid_at))
    }

    /// Waits until nothing is owed for these orders, or for too long.
    async fn settled(&self, bought: &[Purchase]) {
        let until = Instant::now() + SETTLE;
        let told = |one: &Purchase| self.shop.told(&one.wish.order_no).successes > 0;
        while Instant::now() < until {
            if bought.iter().all(told) && Books::read(&self.stack).await.owed(bought) == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}
