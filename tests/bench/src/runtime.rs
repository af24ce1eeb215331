//! Lambda, as a function's process sees it: the runtime API on a port of its
//! own, and the process that polls it. It owns when a process polled first and
//! how long an event took.

use std::collections::HashMap;
use std::ffi::OsString;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::Failed;

/// No function of ours, and no Node.js either, starts or works longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// An event on its way, and where its answer goes.
type Work = (String, oneshot::Sender<Result<Bytes, Bytes>>);

struct Runtime {
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<Work>>,
    polled: Mutex<Option<oneshot::Sender<Instant>>>,
    answers: Mutex<HashMap<String, oneshot::Sender<Result<Bytes, Bytes>>>>,
    serial: AtomicU64,
}

/// A function's process, from its start to its end.
pub(crate) struct Function {
    child: Mutex<Child>,
    events: mpsc::UnboundedSender<Work>,
    server: JoinHandle<()>,
    logged: Arc<AtomicU64>,
    /// From the process's start to its first poll.
    pub(crate) started_in: Duration,
    /// Processor time until then: the same whatever else the machine does.
    pub(crate) started_with: Duration,
}

impl Function {
    /// Starts the process and waits for its first poll.
    pub(crate) async fn start(
        command: &[OsString],
        environment: &[(String, String)],
    ) -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let (events, received) = mpsc::unbounded_channel();
        let (polled, first_poll) = oneshot::channel();
        let runtime = Arc::new(Runtime {
            events: tokio::sync::Mutex::new(received),
            polled: Mutex::new(Some(polled)),
            answers: Mutex::default(),
            serial: AtomicU64::new(0),
        });
        let server = serve(listener, runtime);
        let (program, arguments) = command.split_first().ok_or("no command")?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let begun = Instant::now();
        let mut child = command.spawn()?;
        let logged = Arc::new(AtomicU64::new(0));
        if let Some(mut output) = child.stdout.take() {
            let logged = Arc::clone(&logged);
            tokio::spawn(async move {
                let mut buffer = [0_u8; 4096];
                while let Ok(count @ 1..) = output.read(&mut buffer).await {
                    logged.fetch_add(count.try_into().unwrap_or_default(), Ordering::Relaxed);
                }
            });
        }
        let polled = timeout(PATIENCE, first_poll)
            .await
            .map_err(|_| format!("{} never polled", program.display()))??;
        let mut function = Self {
            child: Mutex::new(child),
            events,
            server,
            logged,
            started_in: polled.duration_since(begun),
            started_with: Duration::ZERO,
        };
        function.started_with = function.cpu()?;
        Ok(function)
    }

    /// Gives it an event; its answer, and how long it took.
    pub(crate) async fn invoke(&self, event: &Value) -> Result<(Value, Duration), Failed> {
        let (sender, answer) = oneshot::channel();
        let begun = Instant::now();
        self.events.send((event.to_string(), sender))?;
        let answer = timeout(PATIENCE, answer)
            .await
            .map_err(|_| "a function did not answer")??;
        let took = begun.elapsed();
        let body = answer
            .map_err(|error| format!("a function failed: {}", String::from_utf8_lossy(&error)))?;
        Ok((serde_json::from_slice(&body)?, took))
    }

    /// The most memory it has held so far, in KiB.
    pub(crate) fn peak_kib(&self) -> Result<u64, Failed> {
        let status = std::fs::read_to_string(self.proc("status")?)?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| "no VmHWM in /proc".into())
    }

    /// Processor time of all its threads so far.
    pub(crate) fn cpu(&self) -> Result<Duration, Failed> {
        let mut total = 0;
        for task in std::fs::read_dir(self.proc("task")?)? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            let nanos: u64 = text.split(' ').next().unwrap_or_default().parse()?;
            total += nanos;
        }
        Ok(Duration::from_nanos(total))
    }

    /// Bytes it has written to its log so far.
    pub(crate) fn logged(&self) -> u64 {
        self.logged.load(Ordering::Relaxed)
    }

    fn proc(&self, file: &str) -> Result<String, Failed> {
        let id = lock(&self.child).id().ok_or("the function has ended")?;
        Ok(format!("/proc/{id}/{file}"))
    }

    /// Ends the process, before the runtime API that it would miss.
    pub(crate) fn stop(&self) -> Result<(), Failed> {
        lock(&self.child).start_kill()?;
        self.server.abort();
        Ok(())
    }
}

fn serve(listener: TcpListener, runtime: Arc<Runtime>) -> JoinHandle<()> {
    const INVOCATION: &str = "/2018-06-01/runtime/invocation";
    let router = Router::new()
        .route(&format!("{INVOCATION}/next"), get(next))
        .route(&format!("{INVOCATION}/{{id}}/response"), post(respond))
        .route(&format!("{INVOCATION}/{{id}}/error"), post(fail))
        .with_state(runtime);
    tokio::spawn(async move {
        // It ends with the process that it serves.
        let _ended = axum::serve(listener, router).await;
    })
}

async fn next(State(runtime): State<Arc<Runtime>>) -> Response {
    let now = Instant::now();
    let first = lock(&runtime.polled).take();
    if let Some(first) = first {
        let _nobody_waits = first.send(now);
    }
    let Some((event, answer)) = runtime.events.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let id = format!("request-{}", runtime.serial.fetch_add(1, Ordering::Relaxed));
    lock(&runtime.answers).insert(id.clone(), answer);
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-type", "application/json"),
        ("lambda-runtime-aws-request-id", &id),
        ("lambda-runtime-deadline-ms", "4102444800000"),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:000000000000:function:bench",
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-00000000-000000000000000000000000",
        ),
    ] {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    }
    (headers, event).into_response()
}

async fn respond(
    State(runtime): State<Arc<Runtime>>,
    Path(id): Path<String>,
    body: Bytes,
) -> StatusCode {
    answer(&runtime, &id, Ok(body))
}

async fn fail(
    State(runtime): State<Arc<Runtime>>,
    Path(id): Path<String>,
    body: Bytes,
) -> StatusCode {
    answer(&runtime, &id, Err(body))
}

fn answer(runtime: &Runtime, id: &str, result: Result<Bytes, Bytes>) -> StatusCode {
    if let Some(waiting) = lock(&runtime.answers).remove(id) {
        let _nobody_waits = waiting.send(result);
    }
    StatusCode::ACCEPTED
}

/// Nothing here panics while it holds a lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
