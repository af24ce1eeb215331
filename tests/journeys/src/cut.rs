//! A wire between the SDK and AWS that loses answers: the request arrives and
//! is carried out, the connection ends before the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A wire in front of one address.
#[derive(Debug)]
pub struct Wire {
    /// Where to send requests instead.
    pub url: String,
    to_cut: Arc<AtomicU32>,
    cut: Arc<AtomicU32>,
}

impl Wire {
    /// A wire to `http://host:port`.
    pub async fn to(upstream: &str) -> Self {
        let upstream = upstream
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (to_cut, cut) = (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default());
        let (wanted, done) = (Arc::clone(&to_cut), Arc::clone(&cut));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&upstream).await.unwrap();
                let (wanted, done) = (Arc::clone(&wanted), Arc::clone(&done));
                tokio::spawn(carry(client, server, wanted, done));
            }
        });
        Self { url, to_cut, cut }
    }

    /// Loses the next answers.
    pub fn cut_next(&self, answers: u32) {
        self.to_cut.store(answers, Ordering::SeqCst);
    }

    /// How many answers were lost: a test that lost none proves nothing.
    #[must_use]
    pub fn lost(&self) -> u32 {
        self.cut.load(Ordering::SeqCst)
    }
}

async fn carry(client: TcpStream, server: TcpStream, to_cut: Arc<AtomicU32>, cut: Arc<AtomicU32>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let upward = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    });
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from_server.read(&mut piece).await {
        let take = |left: u32| left.checked_sub(1);
        if to_cut
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
            .is_ok()
        {
            cut.fetch_add(1, Ordering::SeqCst);
            break;
        }
        if to_client.write_all(&piece[..length]).await.is_err() {
            break;
        }
    }
    upward.abort();
}
