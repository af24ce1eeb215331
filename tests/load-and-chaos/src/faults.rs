//! What can be done to a running stack: to the wire between the functions and
//! AWS, to their processes, to WeChat, to the shop, to AWS itself; and how
//! often it really happened.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use demo_shop::{Mode, Rule, Shop};
use journeys::Stack;
use serde_json::{Value, json};
use tokio::process::Command;

/// Something that fails, for a while.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// A call of AWS: service, operation, and how it fails.
    Aws(&'static str, &'static str, Wire),
    /// A call of WeChat: path and the simulator's name of the fault.
    Wechat(&'static str, &'static str),
    /// Every callback: how the shop answers it.
    Shop(Mode),
    /// `kill -9` of a function's process while it works; the setting that
    /// names the function.
    Kill(&'static str),
    /// AWS does nothing at all for so long.
    Stop(Duration),
}

/// How a call of AWS fails.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wire {
    /// Refused, as too much.
    Throttled,
    /// The connection ends before the call has arrived.
    Reset,
    /// Carried out, and the answer lost.
    Lost,
    /// Carried out late, by more or less than the SDK waits.
    Slow,
}

/// The stack, from the side of those who break it.
#[derive(Debug, Clone)]
pub(crate) struct Breaker {
    pub(crate) stack: Arc<Stack>,
    pub(crate) shop: Arc<Shop>,
    folder: PathBuf,
}

impl Breaker {
    /// For this stack, whose logs and processes are in `folder`.
    pub(crate) fn new(stack: Arc<Stack>, shop: Arc<Shop>, folder: &Path) -> Self {
        let folder = folder.to_owned();
        Self {
            stack,
            shop,
            folder,
        }
    }

    /// Lets the fault loose; a kill and a stop happen here and now. How often
    /// these two happened.
    pub(crate) async fn start(&self, fault: &Fault) -> u64 {
        match fault {
            Fault::Aws(service, operation, wire) => {
                let rule = json!([rule(service, operation, *wire)]);
                self.rules(&rule).await;
                0
            }
            Fault::Wechat(path, kind) => {
                let fault = json!({"path": path, "kind": kind, "times": 4});
                let answer = self.stack.wechat("faults", &fault).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                0
            }
            Fault::Shop(mode) => {
                self.shop.behave(Rule::always(*mode));
                0
            }
            Fault::Kill(function) => self.kill(function).await,
            Fault::Stop(pause) => self.stop(*pause).await,
        }
    }

    /// How often the fault that was let loose last has struck.
    pub(crate) async fn struck(&self, fault: &Fault) -> u64 {
        match fault {
            Fault::Aws(..) => {
                let fired = self
                    .get("FAULTS_URL", "_microburst/fired?limit=100000")
                    .await;
                fired.as_array().map_or(0, Vec::len) as u64
            }
            Fault::Wechat(..) => {
                let all = self.get("SIMULATOR_URL", "_control/faults").await;
                let fired = all.as_array().into_iter().flatten();
                fired.filter_map(|fault| fault["fired"].as_u64()).sum()
            }
            // No two faults of the shop's have one mode.
            Fault::Shop(mode) => self.shop.answered(*mode) as u64,
            Fault::Kill(_) | Fault::Stop(_) => 0,
        }
    }

    /// Ends every fault that `start` let loose.
    pub(crate) async fn end(&self) {
        self.rules(&json!([])).await;
        let wechat = self.stack.setting("SIMULATOR_URL");
        let url = format!("{wechat}/_control/faults");
        self.stack.send(|http| http.delete(url)).await;
        self.shop.behave_well();
    }

    /// Replaces the wire's rules and forgets what they did.
    async fn rules(&self, rules: &Value) {
        let control = format!("{}/_microburst", self.stack.setting("FAULTS_URL"));
        let url = format!("{control}/fired");
        self.stack.send(|http| http.delete(url)).await;
        let url = format!("{control}/rules");
        let set = self.stack.send(|http| http.post(url).json(rules)).await;
        let count = set.body.as_array().map(Vec::len);
        assert_eq!(count, rules.as_array().map(Vec::len), "{set:?}");
    }

    /// Kills until the emulator says that an invocation died of it. Its calls
    /// of AWS are slowed, so that the process is caught at work.
    async fn kill(&self, function: &str) -> u64 {
        let slow = json!([{"service": "dynamodb", "latency": {"min": 300, "max": 700}}]);
        self.rules(&slow).await;
        let name = self.stack.setting(function);
        let before = self.deaths(name);
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            for pid in self.processes_of(name) {
                signal("-KILL", &pid).await;
            }
            let died = self.deaths(name) - before;
            if died > 0 {
                return died;
            }
        }
        0
    }

    /// Invocations of this function that ended with its process.
    fn deaths(&self, function: &str) -> u64 {
        let log = fs::read_to_string(self.folder.join("emulator.log")).unwrap_or_default();
        let died = |line: &&str| line.contains("Runtime exited before") && line.contains(function);
        log.lines().filter(died).count() as u64
    }

    /// The emulator tells each process whose it is; the wire's address tells
    /// this stack's from another's.
    fn processes_of(&self, function: &str) -> Vec<String> {
        let marks = [
            format!("AWS_LAMBDA_FUNCTION_NAME={function}"),
            format!("AWS_ENDPOINT_URL={}", self.stack.setting("FAULTS_URL")),
        ];
        let ours = |entry: fs::DirEntry| {
            let pid = entry.file_name().into_string().ok()?;
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let environment = String::from_utf8_lossy(&environment).into_owned();
            let mut lines = environment.split('\0');
            marks
                .iter()
                .all(|mark| lines.clone().any(|line| line == mark))
                .then_some(())?;
            lines.next().map(|_| pid)
        };
        fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(ours)
            .collect()
    }

    async fn stop(&self, pause: Duration) -> u64 {
        let record = fs::read_to_string(self.folder.join("processes.json")).unwrap();
        let record: Value = serde_json::from_str(&record).unwrap();
        let pid = record["emulator"]["pid"].to_string();
        signal("-STOP", &pid).await;
        tokio::time::sleep(pause).await;
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        signal("-CONT", &pid).await;
        u64::from(state.contains(") T "))
    }

    async fn get(&self, server: &str, path: &str) -> Value {
        let url = format!("{}/{path}", self.stack.setting(server));
        self.stack.send(|http| http.get(url)).await.body
    }
}

fn rule(service: &str, operation: &str, wire: Wire) -> Value {
    let mut rule = json!({"service": service, "operation": operation, "times": 6});
    let (name, effect) = match (wire, service) {
        (Wire::Throttled, "sqs") => ("error", json!({"code": "RequestThrottled"})),
        (Wire::Throttled, _) => (
            "error",
            json!({"code": "ProvisionedThroughputExceededException"}),
        ),
        (Wire::Reset, _) => ("reset", json!(true)),
        (Wire::Lost, _) => ("response", json!({"abort_frac": 0.3})),
        (Wire::Slow, _) => ("latency", json!({"min": 500, "max": 2500})),
    };
    rule[name] = effect;
    rule
}

async fn signal(signal: &str, pid: &str) {
    // It may be gone already.
    let _ = Command::new("kill").args([signal, pid]).status().await;
}
