//! As much of an HTTP server as the hub needs to reach WeChat and the apps over
//! real sockets: each request is parked in the scheduler, and a connection may
//! end without an answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::scheduler::{Call, Host, HttpCall, Reply, Scheduler};

/// Listens on a free port of this machine for as long as the runtime lives.
///
/// # Errors
/// When there is none.
pub(crate) async fn listen(scheduler: Arc<Scheduler>, host: Host) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let scheduler = Arc::clone(&scheduler);
            // A connection's end is the caller's business.
            tokio::spawn(async move { converse(stream, host, &scheduler).await });
        }
    });
    Ok(address)
}

async fn converse(mut stream: TcpStream, host: Host, scheduler: &Scheduler) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(2048);
    while let Some(call) = read(&mut stream, host, &mut buffer).await? {
        let (status, headers, body) = match scheduler.park(call).await {
            Ok(Reply::Answer(status, body)) => (status, Vec::new(), body),
            Ok(Reply::Signed {
                status,
                headers,
                body,
            }) => (status, headers, body),
            Ok(Reply::Broken | Reply::TimedOut) | Err(_) => return Ok(()),
        };
        let length = body.len();
        let mut answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n");
        for (name, value) in headers {
            answer.extend([name, ": ", &value, "\r\n"]);
        }
        answer.extend(["\r\n", &body]);
        stream.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

/// The next request; what follows it stays in the buffer.
async fn read(
    stream: &mut TcpStream,
    host: Host,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<Call>> {
    loop {
        if let Some((call, used)) = parse(host, buffer) {
            buffer.drain(..used);
            return Ok(Some(call));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn parse(host: Host, buffer: &[u8]) -> Option<(Call, usize)> {
    let head_length = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(buffer.get(..head_length)?).ok()?;
    let mut lines = head.lines();
    let (method, uri) = lines.next()?.split_once(' ')?;
    let uri = uri.split(' ').next()?;
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_str(value.trim()).ok()?);
    }
    let body_length = headers.get("content-length");
    let body_length = body_length.map_or(Some(0), |length| length.to_str().ok()?.parse().ok())?;
    let end = head_length + body_length;
    let body = String::from_utf8_lossy(buffer.get(head_length..end)?).into_owned();
    let call = HttpCall {
        host,
        method: Method::from_bytes(method.as_bytes()).ok()?,
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body,
    };
    Some((Call::Http(call), end))
}
