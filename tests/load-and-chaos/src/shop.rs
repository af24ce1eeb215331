//! The apps' server: takes callbacks, verifies them with code that is not the
//! hub's, misbehaves as agreed, and remembers who was told what. It refuses to
//! know how an order was made.

use std::collections::{BTreeSet, HashMap};
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use journeys::Stack;

/// How a callback is spoilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not taken: status 500.
    Error,
    /// Not taken: no answer at all.
    Hang,
    /// Not taken: sent elsewhere, where `success` waits.
    Redirect,
    /// Not taken: more than a hub should read.
    Endless,
    /// Taken, but the answer is lost.
    Lost,
}

/// The callbacks of one order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    /// Those that the app took.
    pub(crate) successes: u32,
    /// When the first of these was.
    pub(crate) first_success: Option<Instant>,
    /// The events they told of.
    pub(crate) event_ids: BTreeSet<String>,
    /// Those with a wrong signature.
    pub(crate) forged: u32,
}

#[derive(Debug)]
struct Inside {
    apps: HashMap<String, Arc<Stack>>,
    told: Mutex<HashMap<String, Told>>,
    dead: AtomicBool,
    /// The fault at work, and how many callbacks it has spoilt.
    fault: Mutex<(Option<Fault>, u32)>,
}

/// The server.
#[derive(Debug, Clone)]
pub(crate) struct Shop {
    url: String,
    inside: Arc<Inside>,
}

impl Shop {
    /// A server for these apps on a port of its own.
    pub(crate) async fn open(apps: &[Arc<Stack>]) -> Self {
        let apps = apps.iter().map(|app| (app.app.id.clone(), Arc::clone(app)));
        let inside = Arc::new(Inside {
            apps: apps.collect(),
            told: Mutex::default(),
            dead: AtomicBool::new(true),
            fault: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/{manner}/{address}", get(told))
            .with_state(Arc::clone(&inside));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, inside }
    }

    /// The synchronous and the asynchronous address of a server that is
    /// `live`, `failing` (at the first attempt), `dead` or `moody`.
    pub(crate) fn addresses(&self, manner: &str) -> (String, String) {
        let address = |name: &str| format!("{}/{manner}/{name}", self.url);
        (address("return"), address("notify"))
    }

    /// The dead server answers from now on.
    pub(crate) fn revive(&self) {
        self.inside.dead.store(false, Ordering::SeqCst);
    }

    /// Spoils callbacks in this way, or none.
    pub(crate) fn spoil(&self, fault: Option<Fault>) {
        *self.inside.fault.lock().unwrap() = (fault, 0);
    }

    /// How many callbacks the fault at work has spoilt.
    pub(crate) fn spoilt(&self) -> u32 {
        self.inside.fault.lock().unwrap().1
    }

    /// What was told of an order.
    pub(crate) fn told(&self, order_no: &str) -> Told {
        let told = self.inside.told.lock().unwrap();
        told.get(order_no).cloned().unwrap_or_default()
    }
}

type Params = std::collections::BTreeMap<String, String>;

async fn told(
    State(shop): State<Arc<Inside>>,
    Path((manner, _)): Path<(String, String)>,
    Query(params): Query<Params>,
) -> Response {
    let param = |name: &str| params.get(name).map(String::as_str).unwrap_or_default();
    let app = shop.apps.get(param("app_id"));
    let verified = app.is_some_and(|app| app.app.sign(&params) == param("sign"));
    let fault = match manner.as_str() {
        _ if !verified => Some(Fault::Error),
        "failing" if param("attempt") == "1" => Some(Fault::Error),
        "dead" if shop.dead.load(Ordering::SeqCst) => Some(Fault::Hang),
        "moody" => shop.next_fault(),
        _ => None,
    };
    {
        let mut told = shop.told.lock().unwrap();
        let told = told.entry(param("order_no").to_owned()).or_default();
        told.forged += u32::from(!verified);
        told.event_ids.insert(param("event_id").to_owned());
        if matches!(fault, None | Some(Fault::Lost)) {
            told.successes += 1;
            told.first_success.get_or_insert_with(Instant::now);
        }
    }
    answer(fault).await
}

impl Inside {
    fn next_fault(&self) -> Option<Fault> {
        let mut fault = self.fault.lock().unwrap();
        fault.1 += u32::from(fault.0.is_some());
        fault.0
    }
}

async fn answer(fault: Option<Fault>) -> Response {
    match fault {
        None => "success".into_response(),
        Some(Fault::Error) => (StatusCode::INTERNAL_SERVER_ERROR, "success").into_response(),
        Some(Fault::Hang | Fault::Lost) => pending().await,
        Some(Fault::Redirect) => (
            StatusCode::FOUND,
            [(header::LOCATION, "/live/return")],
            "success",
        )
            .into_response(),
        Some(Fault::Endless) => "success ".repeat(1 << 16).into_response(),
    }
}
