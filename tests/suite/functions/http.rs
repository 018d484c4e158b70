//! A small HTTP server on loopback, for the stand-ins of AWS's own.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A request, read whole.
pub struct Request {
    /// `POST`
    pub method: String,
    /// With its query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An answer.
pub type Answer = hyper::Response<Full<Bytes>>;

/// A server, until dropped.
pub struct Server {
    port: u16,
    _task: JoinSet<()>,
}

impl Server {
    /// Answers each request by `answer`.
    pub async fn start<F, R>(answer: F) -> Server
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Answer> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let answer = Arc::new(answer);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let answer = Arc::clone(&answer);
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let answer = Arc::clone(&answer);
                        async move { Ok::<_, Infallible>(answer(read(request).await).await) }
                    });
                    // A client that is killed leaves its connection half open.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Server { port, _task: task }
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }
}

async fn read(request: hyper::Request<Incoming>) -> Request {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    Request {
        method: head.method.to_string(),
        path: path.to_owned(),
        headers: head.headers,
        body,
    }
}

/// An answer with this status and body.
pub fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    hyper::Response::builder()
        .status(status)
        .body(Full::new(body.into()))
        .expect("a status")
}
