//! What a million payments cost: counted calls times list prices. It owns the
//! prices and every assumption behind the figures.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Failed;
use crate::backends::Counts;
use crate::functions::Invocation;
use crate::payment::{Stage, WAYS};
use crate::report::{Budget, Report, table};

/// AWS's list prices in us-east-1 without any free tier, as of November 2026,
/// in dollars. They are taken from the public pages and change now and then.
mod price {
    /// HTTP API, a million requests.
    pub(super) const API: f64 = 1.00;
    /// Lambda, a million requests.
    pub(super) const INVOCATIONS: f64 = 0.20;
    /// Lambda on arm64, a GB for a second.
    pub(super) const GB_SECOND: f64 = 0.000_013_333_4;
    /// DynamoDB on demand, a million write units.
    pub(super) const WRITE_UNITS: f64 = 0.625;
    /// DynamoDB on demand, a million read units.
    pub(super) const READ_UNITS: f64 = 0.125;
    /// SQS, a million requests of a standard queue, with the 0.10 that message
    /// groups (fair queues) add.
    pub(super) const SQS: f64 = 0.50;
    /// CloudWatch Logs, a GB taken in.
    pub(super) const LOG_GB: f64 = 0.50;
    /// DynamoDB, a GB stored for a month, and its point-in-time copies.
    pub(super) const STORED_GB: f64 = 0.25 + 0.20;
}

/// What no machine of ours can measure: how long others take, in
/// milliseconds. Lambda bills the waiting.
mod assumed {
    /// DynamoDB, a call.
    pub(super) const DYNAMODB_MILLIS: f64 = 5.0;
    /// SQS, a call.
    pub(super) const SQS_MILLIS: f64 = 10.0;
    /// WeChat, a call from another country.
    pub(super) const WECHAT_MILLIS: f64 = 150.0;
    /// An app, a call.
    pub(super) const APP_MILLIS: f64 = 200.0;
    /// A function with this many MB has a whole processor, one with less its
    /// share.
    pub(super) const PROCESSOR_MB: f64 = 1769.0;
    /// Lambda's own log lines of an invocation.
    pub(super) const PLATFORM_LOG: f64 = 600.0;
    /// API Gateway's line of a request, by the template's format.
    pub(super) const ACCESS_LOG: f64 = 330.0;
    /// The queue's pollers ask this often when nothing comes: three queues,
    /// five pollers each, 20 s a question.
    pub(super) const IDLE_RECEIVES_PER_SECOND: f64 = 3.0 * 5.0 / 20.0;
    /// A payer looks at the page this long; it asks every 2 s at first.
    pub(super) const POLLS: f64 = 10.0;
    /// What an app costs at most: 10 s a call.
    pub(super) const HANGING_MILLIS: f64 = 10_000.0;
}

/// Payments of each kind that are measured.
const SAMPLES: usize = 9;
const REFUSED: &str = "NATIVE, refused 14 times, given up";
const MONTH_SECONDS: f64 = 30.0 * 86_400.0;

/// What a million of something cost, in dollars.
#[derive(Debug, Clone, Copy, Default)]
struct Bill {
    api: f64,
    lambda: f64,
    dynamodb: f64,
    sqs: f64,
    logs: f64,
}

impl Bill {
    fn total(self) -> f64 {
        self.api + self.lambda + self.dynamodb + self.sqs
    }

    fn cells(self) -> Vec<String> {
        [
            self.api,
            self.lambda,
            self.dynamodb,
            self.sqs,
            self.total(),
            self.logs,
        ]
        .map(|dollars| format!("{dollars:.2}"))
        .into()
    }
}

/// How the functions are deployed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deployed {
    /// The template's `MemorySize`.
    pub(crate) memory_mb: u16,
}

impl Deployed {
    fn bill(self, used: &[Invocation]) -> Bill {
        let mut bill = Bill::default();
        for invocation in used {
            let counts = invocation.counts;
            // A message is sent, received and deleted, alone when there are few.
            let by_queue = if invocation.function == "deliver" {
                2.0
            } else {
                0.0
            };
            let api = if invocation.by_api { 1.0 } else { 0.0 };
            bill.api += api * price::API;
            bill.lambda += price::INVOCATIONS + self.waiting(self.billed_millis(invocation));
            bill.dynamodb +=
                counts.write_units * price::WRITE_UNITS + counts.read_units * price::READ_UNITS;
            bill.sqs += (f64::from(counts.sent) + by_queue) * price::SQS;
            let logged =
                exact(invocation.logged) + assumed::PLATFORM_LOG + api * assumed::ACCESS_LOG;
            bill.logs += logged / 1000.0 * price::LOG_GB;
        }
        bill
    }

    /// A million times so many milliseconds of a function, in dollars.
    fn waiting(self, millis: f64) -> f64 {
        millis * 1000.0 * f64::from(self.memory_mb) / 1024.0 * price::GB_SECOND
    }

    /// Processor time as a function of this size has it, and the waiting.
    fn billed_millis(self, invocation: &Invocation) -> f64 {
        let counts = invocation.counts;
        let calls = f64::from(counts.writes + counts.reads);
        let cpu = invocation.cpu.as_secs_f64() * 1000.0;
        (cpu * assumed::PROCESSOR_MB / f64::from(self.memory_mb)
            + calls * assumed::DYNAMODB_MILLIS
            + f64::from(counts.sent) * assumed::SQS_MILLIS
            + f64::from(counts.wechat) * assumed::WECHAT_MILLIS
            + f64::from(counts.app) * assumed::APP_MILLIS)
            .ceil()
    }
}

fn exact(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// What each of these used on one stage.
struct Counted<'s> {
    stage: &'s Stage,
    /// Every way of paying that succeeds, by its name.
    paid: Vec<(&'static str, Vec<Invocation>)>,
    /// A payment whose app refuses every call.
    refused: Vec<Invocation>,
    /// One question of the pay page.
    poll: Vec<Invocation>,
    /// A sweep of a hub that owes nothing.
    sweep: Vec<Invocation>,
}

impl<'s> Counted<'s> {
    async fn on(stage: &'s Stage) -> Result<Self, Failed> {
        // The first payment of each kind opens connections and reads the secrets.
        for (_, way) in WAYS {
            stage.payment(way).await?;
        }
        let mut paid = Vec::new();
        for (name, way) in WAYS {
            let mut samples = Vec::new();
            for _ in 0..SAMPLES {
                samples.push(stage.payment(way).await?);
            }
            paid.push((name, median(samples)));
        }
        Ok(Self {
            stage,
            paid,
            refused: stage.refused_payment().await?,
            sweep: stage.idle_sweep().await?,
            poll: stage.poll().await?,
        })
    }

    fn payments(&self) -> impl Iterator<Item = (&str, &[Invocation])> {
        let paid = self
            .paid
            .iter()
            .map(|(name, used)| (*name, used.as_slice()));
        paid.chain([(REFUSED, self.refused.as_slice())])
    }

    fn hold(&self, deployed: Deployed, report: &mut Report) -> Result<(), Failed> {
        let (_, native) = self.paid.first().ok_or("no payment")?;
        let (dollars, counts) = (deployed.bill(native).total(), together(native));
        let suffix = self.stage.suffix;
        for (name, figure, limit, unit) in [
            ("a million NATIVE payments by the API", dollars, 12.0, "USD"),
            (
                "DynamoDB write calls of a payment",
                counts.writes.into(),
                5.0,
                "calls",
            ),
            (
                "DynamoDB items written by a payment",
                counts.items.into(),
                6.0,
                "items",
            ),
            (
                "DynamoDB read calls of a payment",
                counts.reads.into(),
                4.0,
                "calls",
            ),
            ("messages of a payment", counts.sent.into(), 1.0, "calls"),
        ] {
            let name = format!("{name}{suffix}");
            report.hold(&name, figure, Budget::AtMost(limit), unit);
        }
        for (function, kib) in self.stage.functions.peaks()? {
            let name = format!("peak memory of {function} after its payments{suffix}");
            report.hold(&name, exact(kib) / 1024.0, Budget::AtMost(12.0), "MB");
        }
        Ok(())
    }
}

/// Counts the payments and prices them.
pub(crate) async fn measure(
    stages: &[Stage],
    deployed: Deployed,
    report: &mut Report,
) -> Result<(), Failed> {
    let mut counted = Vec::new();
    for stage in stages {
        counted.push(Counted::on(stage).await?);
    }
    calls(deployed, &counted);
    prices(deployed, &counted);
    notes(deployed, counted.first().ok_or("no stage")?)?;
    counted
        .iter()
        .try_for_each(|one| one.hold(deployed, report))
}

/// Every payment of every stage, the same ones beside each other.
fn side_by_side<'c>(
    counted: &'c [Counted<'_>],
) -> impl Iterator<Item = (String, &'c [Invocation])> {
    let ways = WAYS.iter().map(|(name, _)| *name).chain([REFUSED]);
    ways.flat_map(move |way| {
        counted.iter().flat_map(move |one| {
            let same = one.payments().filter(move |(name, _)| *name == way);
            same.map(|(name, used)| (format!("{name}{}", one.stage.suffix), used))
        })
    })
}

/// The payment with the median processor time; the counts are equal in all.
fn median(mut samples: Vec<Vec<Invocation>>) -> Vec<Invocation> {
    samples.sort_by_key(|used| used.iter().map(|one| one.cpu).sum::<Duration>());
    let middle = samples.len() / 2;
    samples.into_iter().nth(middle).unwrap_or_default()
}

fn prices(deployed: Deployed, counted: &[Counted<'_>]) {
    let polls = counted.iter().take(1).map(|one| {
        let name = "each question of the pay page".to_owned();
        (name, one.poll.as_slice())
    });
    let rows: Vec<Vec<String>> = side_by_side(counted)
        .chain(polls)
        .map(|(name, used)| row(name, deployed.bill(used)))
        .collect();
    println!(
        "\nDollars per million: us-east-1 list prices, no free tier, arm64 functions of {} MB\n",
        deployed.memory_mb
    );
    let head = [
        "", "API", "Lambda", "DynamoDB", "SQS", "together", "and logs",
    ];
    table(&head, &rows);
}

fn row(name: String, bill: Bill) -> Vec<String> {
    let mut cells = vec![name];
    cells.extend(bill.cells());
    cells
}

fn together(used: &[Invocation]) -> Counts {
    let counts = used.iter().map(|invocation| invocation.counts);
    counts.fold(Counts::default(), Counts::and)
}

/// The calls of each payment, function by function.
fn calls(deployed: Deployed, counted: &[Counted<'_>]) {
    let mut rows = Vec::new();
    for (mut first, used) in side_by_side(counted) {
        let mut by_function: BTreeMap<&str, (u32, Duration, f64, Counts)> = BTreeMap::new();
        for one in used {
            let sum = by_function.entry(one.function).or_default();
            sum.0 += 1;
            sum.1 += one.cpu;
            sum.2 += deployed.billed_millis(one);
            sum.3 = sum.3.and(one.counts);
        }
        for (function, (runs, cpu, billed, counts)) in by_function {
            rows.push(vec![
                std::mem::take(&mut first),
                function.to_owned(),
                runs.to_string(),
                format!("{:.2}", cpu.as_secs_f64() * 1000.0),
                format!("{billed:.0}"),
                format!("{} ({})", counts.writes, counts.items),
                counts.write_units.to_string(),
                counts.reads.to_string(),
                counts.read_units.to_string(),
                counts.sent.to_string(),
                counts.wechat.to_string(),
                counts.app.to_string(),
            ]);
        }
    }
    println!("\nCalls of one payment\n");
    let head = [
        "",
        "function",
        "runs",
        "CPU ms",
        "billed ms",
        "writes (items)",
        "WRU",
        "reads",
        "RRU",
        "SQS",
        "WeChat",
        "app",
    ];
    table(&head, &rows);
}

fn notes(deployed: Deployed, counted: &Counted<'_>) -> Result<(), Failed> {
    let by_name = |wanted: &str| {
        let found = counted.paid.iter().find(|(name, _)| *name == wanted);
        let bill = found.map(|(_, used)| deployed.bill(used).total());
        bill.ok_or("no such payment")
    };
    let page = by_name("NATIVE, by the cashier")? - by_name("NATIVE, by the API")?;
    let polls = deployed.bill(&counted.poll).total() * assumed::POLLS;
    let called = f64::from(together(&counted.refused).app);
    let hanging = deployed.waiting((assumed::HANGING_MILLIS - assumed::APP_MILLIS) * called);
    let sweeps = deployed.bill(&counted.sweep).total() * (MONTH_SECONDS / 60.0) / 1e6;
    let receives = assumed::IDLE_RECEIVES_PER_SECOND * MONTH_SECONDS / 1e6 * price::SQS;
    let bytes = exact(u64::try_from(counted.stage.backends.stored_bytes()?)?);
    println!(
        "\nThe cashier's page adds {page:.2} and, with {:.0} questions while the payer pays, {polls:.2} more.\n\
         An app that hangs for 10 s each time instead of refusing adds up to {hanging:.0} (less in batches).\n\
         A hub with nothing to do costs {:.2} a month: {sweeps:.2} for sweeps, {receives:.2} for asking the queues.\n\
         A payment's rows are about {:.1} KB: a million kept for a month cost {:.2}.\n\
         Assumed: DynamoDB takes {:.0} ms a call, SQS {:.0}, WeChat {:.0}, an app {:.0}; a processor is {:.0} MB's;\n\
         every message in a batch of its own; warm functions; logs as the functions write them, plus {:.0} bytes an\n\
         invocation and {:.0} a request.",
        assumed::POLLS,
        sweeps + receives,
        bytes / 1000.0,
        bytes * 1e6 / 1e9 * price::STORED_GB,
        assumed::DYNAMODB_MILLIS,
        assumed::SQS_MILLIS,
        assumed::WECHAT_MILLIS,
        assumed::APP_MILLIS,
        assumed::PROCESSOR_MB,
        assumed::PLATFORM_LOG,
        assumed::ACCESS_LOG,
    );
    Ok(())
}
