//! The server: it listens, answers and ends.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::answer::Problem;
use crate::body::Body;
use crate::feed::{First, first_of, poll_others};
use crate::intake::Intake;
use crate::paced::Paced;
use crate::shared::{Answered, Shared};
use crate::tokens::Access;
use crate::{Options, Store, api, git, origin};

/// A store that listens for clients. It answers them while it [runs](Server::run).
pub struct Server {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Stop,
}

/// Ends a [`Server`], from any thread.
#[derive(Clone)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    /// Has the server take no more clients, end its event streams, finish what else is under way, and
    /// return from [`Server::run`]. Returns at once.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// A server that does not come up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another address or port")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Threads could not be started.
    #[error("the server's threads cannot be started: {source}")]
    Threads {
        /// Why.
        source: io::Error,
    },
}

impl Server {
    /// Listens at the address that the options give, and returns. Raises the number of files that
    /// this process may have open as far as it may, since each client takes one.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn bind(store: Store, options: Options) -> Result<Server, ServeError> {
        let listen = |source| ServeError::Listen {
            address: options.listen,
            source,
        };
        let listener = TcpListener::bind(options.listen).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let limits = &options.limits;
        let runtime = Builder::new_multi_thread()
            .thread_name("irmin-serve")
            // One for each permit, and some for the looks at other processes' moves.
            .max_blocking_threads(limits.calls + limits.streams + 8)
            .enable_all()
            .build()
            .map_err(|source| ServeError::Threads { source })?;
        raise_files();
        let (stop, ending) = watch::channel(false);
        let shared = Arc::new(Shared::new(store, options, ending));
        Ok(Server {
            runtime,
            listener,
            address,
            shared,
            stop: Stop(Arc::new(stop)),
        })
    }

    /// Where it listens, with the port that it was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its own address as a URL, without a slash at the end: the JSON interface is at `/api/v1` below it.
    pub fn url(&self) -> String {
        let scheme = if self.shared.options.tls.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.address)
    }

    /// What ends it.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Answers clients until it is stopped. Waits.
    ///
    /// # Errors
    /// [`ServeError`] if the address can no longer be listened on.
    pub fn run(self) -> Result<(), ServeError> {
        let Server {
            runtime,
            listener,
            address,
            shared,
            stop: _,
        } = self;
        let farewell = shared.options.limits.farewell;
        let result = runtime.block_on(accept(listener, shared));
        runtime.shutdown_timeout(if result.is_ok() {
            Duration::ZERO
        } else {
            farewell
        });
        result.map_err(|source| ServeError::Listen { address, source })
    }
}

fn raise_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Without it fewer clients fit, and each gets the system's own refusal.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        );
    }
}

/// Takes clients until the server is to end, and then waits for those that are here.
async fn accept(listener: TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let limits = &shared.options.limits;
    let most = limits.connections.clamp(1, Semaphore::MAX_PERMITS >> 1) as u32;
    let places = Arc::new(Semaphore::new(most as usize));
    let others = tokio::spawn(poll_others(shared.clone()));
    loop {
        let place = match first_of(
            ended(&shared),
            places.clone().acquire_owned(),
            pending::<()>(),
        )
        .await
        {
            First::B(Ok(place)) => place,
            _ => break,
        };
        let client = match first_of(ended(&shared), listener.accept(), pending::<()>()).await {
            First::B(client) => client,
            _ => break,
        };
        let Ok((client, _)) = client else {
            // Too many files are open, or the client is gone again: there will be others.
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            connection(client, shared).await;
            drop(place);
        });
    }
    drop(listener);
    // Nobody holds a place any more.
    let _ = timeout(limits.farewell, places.acquire_many(most)).await;
    others.abort();
    Ok(())
}

/// Waits until the server is to end.
async fn ended(shared: &Shared) {
    let mut ending = shared.ending.clone();
    // The sender is gone together with the server.
    let _ = ending.wait_for(|is_ending| *is_ending).await;
}

async fn connection(client: TcpStream, shared: Arc<Shared>) {
    let is_loopback = client
        .local_addr()
        .is_ok_and(|address| address.ip().to_canonical().is_loopback());
    let _ = client.set_nodelay(true);
    let limits = &shared.options.limits;
    let client = Paced::new(client, limits.stall);
    match &shared.options.tls {
        None => http(client, is_loopback, shared).await,
        Some(tls) => {
            // What goes wrong before a request is the client's to tell.
            if let Ok(Ok(client)) = timeout(limits.idle, tls.acceptor().accept(client)).await {
                http(client, is_loopback, shared).await;
            }
        }
    }
}

async fn http(
    client: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    is_loopback: bool,
    shared: Arc<Shared>,
) {
    let limits = &shared.options.limits;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_buf_size(limits.head.max(8192));
    let service = service_fn({
        let shared = shared.clone();
        move |request| {
            let shared = shared.clone();
            async move { Ok::<_, Infallible>(answer(&shared, is_loopback, request).await) }
        }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(client), service));
    // A client that goes away in the middle is not told.
    if let First::B(_) = first_of(connection.as_mut(), ended(&shared), pending::<()>()).await {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

/// Answers a request, whatever it is.
async fn answer(
    shared: &Arc<Shared>,
    is_loopback: bool,
    request: Request<Incoming>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    // hyper bounds the buffer only.
    let sizes = parts
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    let size =
        sizes.sum::<usize>() + parts.uri.path().len() + parts.uri.query().map_or(0, str::len);
    if size > shared.options.limits.head {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Problem::new(
            status,
            "the request's head is too large",
            "send fewer or shorter headers",
        )
        .answer();
    }
    let allowed = match origin::check(&shared.options, is_loopback, &parts) {
        Ok(allowed) => allowed,
        Err(problem) => return problem.answer(),
    };
    if parts.method == Method::OPTIONS {
        return origin::preflight(allowed);
    }
    let body = Intake::new(body, shared.options.limits.stall);
    let answer: Pin<Box<dyn Future<Output = Answered> + Send>> =
        Box::pin(route(shared, parts, body));
    let mut answer = answer.await.unwrap_or_else(|problem| problem.answer());
    origin::allow(answer.headers_mut(), allowed);
    answer
}

async fn route(shared: &Arc<Shared>, parts: hyper::http::request::Parts, body: Intake) -> Answered {
    let mut access = access(shared, &parts.headers)?;
    if shared.options.read_only {
        access = access.reading();
    }
    if parts.uri.path() == "/api/v1" || parts.uri.path().starts_with("/api/v1/") {
        let body = body.whole(shared.options.limits.body).await?;
        return api::answer(shared, access, parts, body).await;
    }
    if let Some(place) = git::place(shared, parts.uri.path()) {
        return git::answer(shared, access, place, &parts, body).await;
    }
    Err(Problem::absent(
        "nothing is at this address",
        "GET /api/v1 tells what there is",
    ))
}

/// What the token of a request may do.
fn access(shared: &Shared, headers: &hyper::HeaderMap) -> Result<Access, Problem> {
    let Some(tokens) = &shared.options.tokens else {
        return Ok(Access::full());
    };
    let given = headers.get(AUTHORIZATION);
    let access = given.and_then(|given| tokens.access(given.as_bytes()));
    access.ok_or_else(|| {
        let error = match given {
            None => "a token is needed",
            Some(_) => "the token is not known here",
        };
        let hint = "send Authorization: Bearer TOKEN, or the token as the password";
        Problem::new(StatusCode::UNAUTHORIZED, error, hint)
    })
}
