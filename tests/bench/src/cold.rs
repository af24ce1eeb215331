//! Cold starts: each binary again and again, one after the other in turn, so
//! that whatever else this machine does meets all of them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::Failed;
use crate::functions::http_event;
use crate::payment::Stage;
use crate::report::{Budget, Report, millis, quartiles, table};
use crate::runtime::Function;

const BARE: &str = "bare lambda_runtime";
const NODE: &str = "Node.js";
/// The function that Node.js has a counterpart of.
const NOTIFY: &str = "wechat-notify";

/// A program that is started again and again.
struct Candidate {
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
    pub(crate) node: Option<(OsString, OsString)>,
}

impl Candidate {
    fn new(name: &str, command: Vec<OsString>) -> Self {
        Self {
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

    async fn run(&mut self, stage: &Stage, environment: &[(String, String)]) -> Result<(), Failed> {
        let event = match self.tells() {
            true => notice(&stage.notification().await?),
            false => neutral(),
        };
        let function = Function::start(&self.command, environment).await?;
        let (answer, took) = function.invoke(&event).await?;
        let accepted = answer["body"]
            .as_str()
            .is_some_and(|body| body.contains("SUCCESS"));
        if self.tells() && !accepted {
            return Err(format!("{} refused a good notification: {answer}", self.name).into());
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
fn notice(body: &str) -> Value {
    let mut headers = Map::new();
    headers.insert("content-type".to_owned(), json!("text/xml"));
    http_event("POST", "/", "", &headers, body)
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
    stage: &Stage,
    places: &Places<'_>,
    runs: u32,
    report: &mut Report,
) -> Result<(), Failed> {
    let mut candidates = find(places)?;
    let environment = stage.backends.environment(&stage.functions.url);
    // Whoever comes right after Node.js pays for what it leaves behind: each round
    // begins with another.
    let mut turns: Vec<usize> = (0..candidates.len()).collect();
    for _ in 0..runs {
        for turn in &turns {
            candidates[*turn].run(stage, &environment).await?;
        }
        turns.rotate_left(1);
    }
    show(&candidates, runs);
    hold(&candidates, report)
}

fn find(places: &Places<'_>) -> Result<Vec<Candidate>, Failed> {
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
        let name = if file == "bare-lambda" { BARE } else { &file };
        let mut candidate = Candidate::new(name, vec![path.clone().into_os_string()]);
        candidate.zip_bytes = Some(std::fs::metadata(path.with_extension("zip"))?.len());
        // The bare one first.
        found.insert((file != "bare-lambda", file.clone()), candidate);
    }
    let mut candidates: Vec<Candidate> = found.into_values().collect();
    if let Some((node, script)) = &places.node {
        candidates.push(Candidate::new(NODE, vec![node.clone(), script.clone()]));
    }
    Ok(candidates)
}

fn show(candidates: &[Candidate], runs: u32) {
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
            candidate.name.clone(),
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

fn hold(candidates: &[Candidate], report: &mut Report) -> Result<(), Failed> {
    let by_name = |name: &str| candidates.iter().find(|candidate| candidate.name == name);
    let bare = by_name(BARE).ok_or("no bare function")?;
    let ours = candidates
        .iter()
        .filter(|c| c.name != BARE && c.name != NODE);
    for candidate in ours.clone() {
        let ratio = millis(candidate.start()) / millis(bare.start());
        let name = format!("start of {} beside the bare one", candidate.name);
        report.hold(&name, ratio, Budget::AtMost(3.0), "x");
    }
    let notify = by_name(NOTIFY).ok_or("no wechat-notify")?;
    let faster = "start of wechat-notify, faster than Node.js";
    match by_name(NODE) {
        Some(node) => {
            let ratio = millis(node.start()) / millis(notify.start());
            report.hold(faster, ratio, Budget::AtLeast(25.0), "x");
        }
        None => report.unmeasured(faster, "no node"),
    }
    let peak = "peak memory of wechat-notify after one event";
    report.hold(peak, notify.peak_mb(), Budget::AtMost(12.0), "MB");
    let largest = ours.filter_map(Candidate::zip_mb).fold(0.0, f64::max);
    report.hold("largest zip", largest, Budget::AtMost(3.2), "MB");
    Ok(())
}
