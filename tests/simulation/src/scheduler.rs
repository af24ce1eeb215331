//! Where every network call waits until the seed lets it go on: the records
//! that are being handled, the calls they are parked at, and when all stand
//! still. What becomes of a call is decided in `serve`.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::{HeaderMap, Method};
use tokio::sync::{Notify, oneshot};
use tokio::task::{AbortHandle, yield_now};
use tokio::time::timeout;

/// No record works for this long, in real time, between two calls.
const STUCK: Duration = Duration::from_secs(10);

/// One run of a function.
pub(crate) type Invocation = u64;
/// One thread of work in it: a request, or one record of a batch.
pub(crate) type Record = u64;

/// Where a call arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    /// WeChat's main host; the apps are at its side.
    Main,
    /// WeChat's spare host.
    Spare,
}

/// A network call, as it is on the wire.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    /// To an AWS service, in its JSON protocol.
    Aws {
        /// As in `X-Amz-Target`: `DynamoDB_20120810.GetItem`.
        target: String,
        body: Vec<u8>,
    },
    /// To WeChat or an app.
    Http(HttpCall),
}

/// A call over HTTP.
#[derive(Debug, Clone)]
pub(crate) struct HttpCall {
    pub(crate) host: Host,
    pub(crate) method: Method,
    /// The path, without the query.
    pub(crate) path: String,
    /// The query, empty when there is none.
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// What comes back to a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Answer(u16, String),
    /// The same with headers, as WeChat signs it.
    Signed {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// The connection ends without one.
    Broken,
    /// The caller's patience ends.
    TimedOut,
}

/// A call that waits.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) record: Record,
    pub(crate) call: Call,
    reply: oneshot::Sender<Reply>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// An HTTP answer: its status and body.
    Http(u16, String),
    /// A batch: the messages that SQS keeps.
    Batch(Vec<String>),
    Swept,
    /// The process died, or the handler panicked.
    Died,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    parked: Vec<Parked>,
    /// The records at work: whose they are, and how many calls they wait for.
    records: BTreeMap<Record, (Invocation, usize)>,
    running: BTreeMap<Invocation, Option<AbortHandle>>,
    ended: Vec<(Invocation, Ended)>,
    /// Whose future is being polled.
    polled: Option<Record>,
    /// Who was let go last; a request from the kernel is this one's.
    released: Option<Record>,
    panics: u32,
}

/// The scheduler of one thread.
#[derive(Debug, Default)]
pub(crate) struct Scheduler {
    state: Mutex<State>,
    changed: Notify,
}

impl Scheduler {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the last seed.
    pub(crate) fn clear(&self) {
        *self.state() = State::default();
    }

    /// Starts a run of a function.
    pub(crate) fn start<F>(self: &Arc<Self>, run: impl FnOnce(Invocation) -> F) -> Invocation
    where
        F: Future<Output = Ended> + Send + 'static,
    {
        let invocation = self.next_id();
        self.state().running.insert(invocation, None);
        let guard = Run(Arc::clone(self), invocation, Ended::Died);
        let work = run(invocation);
        let task = tokio::spawn(async move {
            let mut guard = guard;
            guard.2 = work.await;
        });
        if let Some(handle) = self.state().running.get_mut(&invocation) {
            *handle = Some(task.abort_handle());
        }
        invocation
    }

    /// A future whose calls are known to be one record's.
    pub(crate) fn attend<F: Future>(
        self: &Arc<Self>,
        invocation: Invocation,
        work: F,
    ) -> Attended<F> {
        let record = self.next_id();
        self.state().records.insert(record, (invocation, 0));
        Attended {
            scheduler: Arc::clone(self),
            record,
            work: Box::pin(work),
        }
    }

    fn next_id(&self) -> u64 {
        let mut state = self.state();
        state.last_id += 1;
        state.last_id
    }

    /// Parks a call of the record that is being polled, or else, for what came
    /// through the kernel, of the record that was let go last.
    pub(crate) fn park(&self, call: Call) -> oneshot::Receiver<Reply> {
        let (reply, waiting) = oneshot::channel();
        let mut state = self.state();
        let record = match call {
            Call::Aws { .. } => state.polled,
            Call::Http(_) => state.released,
        };
        // A caller that is gone already gets no answer.
        if let Some(record) = record
            && let Some((_, calls)) = state.records.get_mut(&record)
        {
            *calls += 1;
            state.parked.push(Parked {
                record,
                call,
                reply,
            });
        }
        drop(state);
        self.changed.notify_one();
        waiting
    }

    /// Whether a record is being polled; a process that starts has none yet.
    pub(crate) fn is_attending(&self) -> bool {
        self.state().polled.is_some()
    }

    /// Waits until every record at work waits for a call. False when one waits
    /// for something else for very long: the run cannot go on.
    pub(crate) async fn stand_still(&self) -> bool {
        loop {
            // Each lets every task that can go on do so.
            yield_now().await;
            yield_now().await;
            if self.is_still() {
                return true;
            }
            if timeout(STUCK, self.changed.notified()).await.is_err() {
                return false;
            }
        }
    }

    fn is_still(&self) -> bool {
        let state = self.state();
        let waits = |invocation: &Invocation| {
            let mut own = state
                .records
                .values()
                .filter(|(whose, _)| whose == invocation)
                .peekable();
            own.peek().is_some() && own.all(|(_, calls)| *calls > 0)
        };
        state.running.keys().all(waits)
    }

    /// How many calls wait to be decided about.
    pub(crate) fn waiting(&self) -> usize {
        self.state().parked.len()
    }

    /// Takes a call to decide about it; its record still waits.
    pub(crate) fn take(&self, index: usize) -> Option<Parked> {
        let mut state = self.state();
        (index < state.parked.len()).then(|| state.parked.remove(index))
    }

    /// Answers a call: its record goes on. Nothing when the process is gone.
    pub(crate) fn answer(&self, parked: Parked, reply: Reply) {
        let mut state = self.state();
        if let Some((_, calls)) = state.records.get_mut(&parked.record) {
            *calls = calls.saturating_sub(1);
            state.released = Some(parked.record);
            let _gone = parked.reply.send(reply);
        }
    }

    /// Whether the record is still at work.
    pub(crate) fn is_live(&self, record: Record) -> bool {
        self.state().records.contains_key(&record)
    }

    /// Whose record it is.
    pub(crate) fn invocation_of(&self, record: Record) -> Option<Invocation> {
        self.state().records.get(&record).map(|(whose, _)| *whose)
    }

    /// The records of a run that are still at work.
    pub(crate) fn records_of(&self, invocation: Invocation) -> Vec<Record> {
        let state = self.state();
        let own = state
            .records
            .iter()
            .filter(|(_, (whose, _))| *whose == invocation);
        own.map(|(record, _)| *record).collect()
    }

    /// The process dies, and with it everything it was doing.
    pub(crate) async fn kill(&self, invocation: Invocation) {
        let handle = self.state().running.get(&invocation).cloned().flatten();
        if let Some(handle) = handle {
            handle.abort();
        }
        while self.has_traces_of(invocation) {
            yield_now().await;
        }
    }

    fn has_traces_of(&self, invocation: Invocation) -> bool {
        let state = self.state();
        state.running.contains_key(&invocation)
            || state
                .records
                .values()
                .any(|(whose, _)| *whose == invocation)
    }

    /// Ends everything: the run is over.
    pub(crate) async fn kill_all(&self) {
        let all: Vec<Invocation> = self.state().running.keys().copied().collect();
        for invocation in all {
            self.kill(invocation).await;
        }
        self.state().parked.clear();
    }

    /// The runs that have ended since the last question.
    pub(crate) fn ended(&self) -> Vec<(Invocation, Ended)> {
        std::mem::take(&mut self.state().ended)
    }

    /// How many handlers have panicked.
    pub(crate) fn panics(&self) -> u32 {
        self.state().panics
    }

    fn finished(&self, record: Record) {
        let mut state = self.state();
        state.records.remove(&record);
        state.parked.retain(|parked| parked.record != record);
        state.panics += u32::from(std::thread::panicking());
        drop(state);
        self.changed.notify_one();
    }
}

/// Notes the end of a run, however it ends.
struct Run(Arc<Scheduler>, Invocation, Ended);

impl Drop for Run {
    fn drop(&mut self) {
        let ended = std::mem::replace(&mut self.2, Ended::Died);
        let mut state = self.0.state();
        state.running.remove(&self.1);
        state.ended.push((self.1, ended));
        drop(state);
        self.0.changed.notify_one();
    }
}

/// One record's work; while it is polled, its calls are known to be its.
pub(crate) struct Attended<F> {
    scheduler: Arc<Scheduler>,
    record: Record,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Attended<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let before = self.scheduler.state().polled.replace(self.record);
        let polled = self.work.as_mut().poll(context);
        self.scheduler.state().polled = before;
        polled
    }
}

impl<F> Drop for Attended<F> {
    fn drop(&mut self) {
        self.scheduler.finished(self.record);
    }
}
