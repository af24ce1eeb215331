//! Cold starts: each binary again and again, one after the other in turn, so
//! that whatever else this machine does meets all of them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::Failed;
use crate::backends::Caught;
use crate::functions::http_event;
use crate::payment::Stage;
use crate::report::{Budget, Report, millis, quartiles, table};
use crate::runtime::Function;

const BARE: &str = "bare lambda_runtime";
const NODE: &str = "Node.js";
/// The function that Node.js has a counterpart of.
const NOTIFY: &str = "wechat-notify";
/// Those that read a merchant's keys: the others know no version.
const WITH_KEYS: [&str; 5] = ["cashier", "create-order", "orders", "reconcile", NOTIFY];

/// A program that is started again and again, for one stage.
struct Candidate<'s> {
    stage: &'s Stage,
    /// The program's, without its stage's ending.
    name: String,
    command: Vec<OsString>,
    zip_bytes: Option<u64>,
    starts: Vec<Duration>,
    cpu: Vec<Duration>,
    first: Vec<Duration>,
    peak_kib: Vec<u64>,
}

/// Where the programs are that are started.
pub(crate) struct Places<'p> {
    /// The functions, the bare one among them, and a zip beside each.
    pub(crate) functions: &'p Path,
    /// Node.js and the script, if they are there.
    pub(crate) node: Option<(&'p OsString, &'p OsString)>,
}

impl<'s> Candidate<'s> {
    fn new(stage: &'s Stage, name: &str, command: Vec<OsString>) -> Self {
        Self {
            stage,
            name: name.to_owned(),
            command,
            zip_bytes: None,
            starts: Vec::new(),
            cpu: Vec::new(),
            first: Vec::new(),
            peak_kib: Vec::new(),
        }
    }

    fn tells(&self) -> bool {
        self.name == NOTIFY || self.name == NODE
    }

    /// With its stage's ending.
    fn label(&self) -> String {
        format!("{}{}", self.name, self.stage.suffix)
    }

    async fn run(&mut self) -> Result<(), Failed> {
        let event = match self.tells() {
            true => notice(self.stage.notification().await?),
            false => neutral(),
        };
        let environment = self.stage.backends.environment(&self.stage.functions.url);
        let function = Function::start(&self.command, &environment).await?;
        let (answer, took) = function.invoke(&event).await?;
        let body = answer["body"].as_str().unwrap_or_default();
        // Version 3 goes by the status.
        let accepted = answer["statusCode"] == 204 || body.contains("SUCCESS");
        if self.tells() && !accepted {
            return Err(format!("{} refused a good notification: {answer}", self.label()).into());
        }
        self.starts.push(function.started_in);
        self.cpu.push(function.started_with);
        self.first.push(took);
        self.peak_kib.push(function.peak_kib()?);
        function.stop()
    }

    fn start(&self) -> Duration {
        quartiles(self.starts.clone())[1]
    }

    fn peak_mb(&self) -> f64 {
        let kib = self.peak_kib.iter().max().copied().unwrap_or_default();
        u32::try_from(kib).map_or(f64::INFINITY, f64::from) / 1024.0
    }

    fn zip_mb(&self) -> Option<f64> {
        let bytes = u32::try_from(self.zip_bytes?).ok()?;
        Some(f64::from(bytes) / 1e6)
    }
}

/// A notification as the function URL passes it on.
fn notice(caught: Caught) -> Value {
    http_event("POST", "/", "", &caught.headers, &caught.body)
}

/// An event that every function takes and that gives none of them work: no
/// route of the HTTP functions, no message for the others.
fn neutral() -> Value {
    let mut event = http_event("GET", "/neutral", "", &Map::new(), "");
    event["Records"] = json!([]);
    event
}

/// Starts everything `runs` times and holds the budgets against it.
pub(crate) async fn measure(
    stages: &[Stage],
    places: &Places<'_>,
    runs: u32,
    report: &mut Report,
) -> Result<(), Failed> {
    let mut candidates = find(stages, places)?;
    // Whoever comes right after Node.js pays for what it leaves behind: each round
    // begins with another.
    let mut turns: Vec<usize> = (0..candidates.len()).collect();
    // Whoever comes right after itself finds everything in the caches.
    turns.sort_by_key(|turn| {
        let candidate = &candidates[*turn];
        (candidate.name == NODE, candidate.stage.suffix)
    });
    for _ in 0..runs {
        for turn in &turns {
            candidates[*turn].run().await?;
        }
        turns.rotate_left(1);
    }
    show(&candidates, runs);
    hold(&candidates, report)
}

/// The bare one first, then each function, for every stage if it has keys, and
/// Node.js, which knows version 2 only.
fn find<'s>(stages: &'s [Stage], places: &Places<'_>) -> Result<Vec<Candidate<'s>>, Failed> {
    let first = stages.first().ok_or("no stage")?;
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(places.functions)? {
        let path = entry?.path();
        if path.extension().is_some() {
            continue;
        }
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let is_bare = file == "bare-lambda";
        let name = if is_bare { BARE } else { &file };
        let many = if WITH_KEYS.contains(&name) {
            stages.len()
        } else {
            1
        };
        for (place, stage) in stages.iter().take(many).enumerate() {
            let mut candidate = Candidate::new(stage, name, vec![path.clone().into_os_string()]);
            candidate.zip_bytes = Some(std::fs::metadata(path.with_extension("zip"))?.len());
            found.insert((!is_bare, file.clone(), place), candidate);
        }
    }
    let mut candidates: Vec<Candidate<'_>> = found.into_values().collect();
    if let Some((node, script)) = places.node {
        let command = vec![node.clone(), script.clone()];
        candidates.push(Candidate::new(first, NODE, command));
    }
    Ok(candidates)
}

fn show(candidates: &[Candidate<'_>], runs: u32) {
    println!(
        "\nCold starts: median [quartiles] of {runs} runs in turn, from the process's start\n"
    );
    let times = |samples: &[Duration]| {
        let [low, median, high] = quartiles(samples.to_vec()).map(millis);
        format!("{median:.1} [{low:.1} {high:.1}]")
    };
    let mut rows = Vec::new();
    for candidate in candidates {
        let first = times(&candidate.first);
        rows.push(vec![
            candidate.label(),
            times(&candidate.starts),
            times(&candidate.cpu),
            if candidate.tells() {
                first
            } else {
                format!("({first})")
            },
            format!("{:.1}", candidate.peak_mb()),
            candidate
                .zip_mb()
                .map_or_else(|| "-".to_owned(), |zip| format!("{zip:.2}")),
        ]);
    }
    table(
        &[
            "",
            "first poll ms",
            "of it CPU",
            "first event ms",
            "peak MB",
            "zip MB",
        ],
        &rows,
    );
    println!(
        "\nThe first event of wechat-notify and Node.js is a real notification: verified, the order read, WeChat asked,\n\
         committed, rung. That of the others, in brackets, gives them no work. AWS and WeChat are on this machine and\n\
         without TLS: their distance comes on top, equal for both. Node.js takes its key from the environment, which\n\
         saves it Secrets Manager's client; its modules are loaded as npm installs them, not bundled."
    );
}

fn hold(candidates: &[Candidate<'_>], report: &mut Report) -> Result<(), Failed> {
    let by_name = |name: &str| candidates.iter().find(|candidate| candidate.name == name);
    let bare = by_name(BARE).ok_or("no bare function")?;
    let ours = candidates
        .iter()
        .filter(|c| c.name != BARE && c.name != NODE);
    for candidate in ours.clone() {
        let ratio = millis(candidate.start()) / millis(bare.start());
        let name = format!("start of {} beside the bare one", candidate.label());
        report.hold(&name, ratio, Budget::AtMost(3.0), "x");
    }
    for notify in ours.clone().filter(|candidate| candidate.name == NOTIFY) {
        let label = notify.label();
        let faster = format!("start of {label}, faster than Node.js");
        match by_name(NODE) {
            Some(node) => {
                let ratio = millis(node.start()) / millis(notify.start());
                report.hold(&faster, ratio, Budget::AtLeast(25.0), "x");
            }
            None => report.unmeasured(&faster, "no node"),
        }
        let peak = format!("peak memory of {label} after one event");
        report.hold(&peak, notify.peak_mb(), Budget::AtMost(12.0), "MB");
    }
    let largest = ours.filter_map(Candidate::zip_mb).fold(0.0, f64::max);
    report.hold("largest zip", largest, Budget::AtMost(3.2), "MB");
    Ok(())
}
