//! WeChat's host in this process: it answers each call with what it was told last,
//! and keeps what it received.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use shared::wechat::v3::Proof;

/// What it answers.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Three digits.
    pub status: u16,
    /// Version 3's headers.
    pub proof: Proof,
    /// Empty where the status has none.
    pub body: Vec<u8>,
}

/// A call as it came in.
#[derive(Debug, Clone)]
pub struct Received {
    /// `POST`, say.
    pub method: String,
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As long as it said.
    pub body: Vec<u8>,
}

impl Received {
    /// The values of a header.
    pub fn header(&self, name: &str) -> Vec<&str> {
        let same = self.headers.iter().filter(|(named, _)| named == name);
        same.map(|(_, value)| value.as_str()).collect()
    }
}

#[derive(Debug, Default)]
struct State {
    answer: Option<Answer>,
    received: Vec<Received>,
}

/// The host, which lives as long as the process.
#[derive(Debug)]
pub(crate) struct Host {
    /// Without a trailing slash.
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
}

impl Host {
    /// Listens on a free port.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || while serve(&stream, &state).is_some() {});
            }
        });
        Self {
            address: format!("http://{address}"),
            state,
        }
    }

    /// What it answers from now on.
    pub(crate) fn answers(&self, answer: Answer) {
        let mut state = self.state.lock().expect("nobody panics with it");
        state.answer = Some(answer);
        state.received.clear();
    }

    /// What was received since then.
    pub(crate) fn received(&self) -> Vec<Received> {
        let mut state = self.state.lock().expect("nobody panics with it");
        std::mem::take(&mut state.received)
    }
}

/// One call; none when the connection has ended.
fn serve(mut stream: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        line.strip_suffix("\r\n").map(str::to_owned)
    };
    let request = line()?;
    let mut words = request.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    while let Some((name, value)) = line()?.split_once(": ") {
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(Some(0), |(_, length)| length.parse().ok())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = {
        let mut state = state.lock().expect("nobody panics with it");
        state.received.push(Received {
            method,
            path,
            headers,
            body,
        });
        state.answer.clone()?
    };
    let Proof {
        timestamp,
        nonce,
        serial,
        signature,
    } = answer.proof;
    let head = format!(
        "HTTP/1.1 {} x\r\nwechatpay-timestamp: {timestamp}\r\nwechatpay-nonce: {nonce}\r\n\
         wechatpay-serial: {serial}\r\nwechatpay-signature: {signature}\r\n\
         content-length: {}\r\n\r\n",
        answer.status,
        answer.body.len()
    );
    // In one piece: the second one of two would wait 40 ms to be asked for.
    let whole = [head.as_bytes(), &answer.body].concat();
    stream.write_all(&whole).ok()
}
