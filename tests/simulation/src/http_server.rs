//! As much of an HTTP server as the hub needs to reach WeChat and the apps over
//! real sockets: each request is parked in the scheduler, and a connection may
//! end without an answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::scheduler::{Call, Host, Reply, Scheduler};

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
        let Ok(Reply::Answer(status, body)) = scheduler.park(call).await else {
            return Ok(());
        };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n{body}"
        );
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
    let uri = lines.next()?.split(' ').nth(1)?;
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let body_length: usize = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(Some(0), |(_, value)| value.trim().parse().ok())?;
    let end = head_length + body_length;
    let body = String::from_utf8_lossy(buffer.get(head_length..end)?).into_owned();
    let call = Call::Http {
        host,
        path: path.to_owned(),
        query: query.to_owned(),
        body,
    };
    Some((call, end))
}
