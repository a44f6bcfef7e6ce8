//! A server in memory, spoken to in bytes.

#![allow(dead_code, reason = "each test crate uses a part")]

use std::time::Duration;

use mirage_device::io::{Read, Write};
use mirage_device::{Clock, Flow, FlowError, FlowWrite, Sleep, Spawn, Task};
use mirage_http::{Done, Error, Exchange, Handler, Limits, Request, Server, Status};
use mirage_sim::World;
use mirage_sim::memory::{MemoryFlow, pair};

/// Answers in every way that there is.
pub struct Lab(pub World);

impl Handler for Lab {
    async fn handle(
        &self,
        request: &Request<'_>,
        mut exchange: Exchange<'_, impl Flow, impl Sleep>,
    ) -> Result<Done, Error> {
        match request.path() {
            "/hello" => {
                exchange
                    .answer(Status::OK)
                    .field("Content-Type", "text/plain")
                    .send("hello")
                    .await
            }
            "/target" => {
                let query = request.query().unwrap_or("-");
                let text = format!("{} {} {query}", request.method(), request.host());
                exchange.answer(Status::OK).send(text).await
            }
            "/echo" => {
                let content = exchange.content().await?;
                exchange.answer(Status::OK).send(content).await
            }
            "/stream" => {
                let mut stream = exchange.answer(Status::OK).stream(None)?;
                let mut buffer = [0; 100];
                loop {
                    match stream.read(&mut buffer).await? {
                        0 => return stream.finish(),
                        count => stream.write(&buffer[..count]).await?,
                    }
                }
            }
            "/known" => {
                let mut stream = exchange.answer(Status::OK).stream(Some(10))?;
                stream.write(b"01234").await?;
                stream.write(b"56789").await?;
                stream.finish()
            }
            "/large" => exchange.answer(Status::OK).send(vec![b'x'; 100_000]).await,
            "/empty" => exchange.answer(Status::NO_CONTENT).send("ignored").await,
            "/slow" => {
                self.0.sleep(Duration::from_secs(100)).await;
                exchange.answer(Status::OK).send("at last").await
            }
            "/split-field" => {
                exchange
                    .answer(Status::OK)
                    .field("X", "a\r\nY: b")
                    .send("")
                    .await
            }
            "/framing" => {
                exchange
                    .answer(Status::OK)
                    .field("content-length", "5")
                    .send("")
                    .await
            }
            "/too-short" => {
                let mut stream = exchange.answer(Status::OK).stream(Some(10))?;
                stream.write(b"01234").await?;
                stream.finish()
            }
            "/too-long" => {
                let mut stream = exchange.answer(Status::OK).stream(Some(1))?;
                stream.write(b"01234").await?;
                stream.finish()
            }
            _ => {
                exchange
                    .answer(Status::NOT_FOUND)
                    .send("nothing here")
                    .await
            }
        }
    }
}

/// What a conversation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub received: Vec<u8>,
    pub end: Result<(), FlowError>,
    /// When the server closed.
    pub at: Duration,
}

impl Outcome {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.received).unwrap()
    }

    /// The status codes of the answers; their contents must not look like answers.
    pub fn statuses(&self) -> Vec<u16> {
        let text = String::from_utf8_lossy(&self.received);
        text.split("HTTP/1.1 ")
            .skip(1)
            .filter_map(|part| part.get(..3)?.parse().ok())
            .collect()
    }
}

/// A world without a wall clock: answers have no date.
pub fn world() -> World {
    let world = World::new(0);
    world.set_wall(None);
    world
}

/// Starts a server for one connection: the client's end of it.
pub fn connect(simulation: &World, handler: impl Handler, limits: Limits) -> MemoryFlow {
    let (client, flow) = pair(4096);
    let clock = simulation.clone();
    let server = Server::with_limits(clock.clone(), clock.clone(), clock.clone(), limits);
    simulation
        .spawn(async move { server.serve_flow(flow, &handler).await })
        .detach();
    client
}

/// Reads until the server closes or resets.
pub async fn read_all(
    simulation: &World,
    flow: &mut (impl Read<Error = FlowError> + ?Sized),
) -> Outcome {
    let mut received = Vec::new();
    let mut buffer = [0; 1000];
    let end = loop {
        match flow.read(&mut buffer).await {
            Ok(0) => break Ok(()),
            Ok(count) => received.extend(&buffer[..count]),
            Err(error) => break Err(error),
        }
    };
    Outcome {
        received,
        end,
        at: Duration::from_nanos(simulation.now().as_nanos()),
    }
}

/// Sends `parts` with a second between them, ends the client's side if `shutdown`, and reads to
/// the end. Reads while it writes.
pub fn talk(handler: fn(World) -> Lab, limits: Limits, parts: &[&[u8]], shutdown: bool) -> Outcome {
    let simulation = world();
    let flow = connect(&simulation, handler(simulation.clone()), limits);
    converse(&simulation, flow, parts, shutdown)
}

pub fn converse(simulation: &World, flow: MemoryFlow, parts: &[&[u8]], shutdown: bool) -> Outcome {
    let (mut reader, mut writer) = flow.split();
    let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
    let clock = simulation.clone();
    let writing = simulation.spawn(async move {
        for part in parts {
            if writer.write_all(&part).await.is_err() {
                break;
            }
            clock.sleep(Duration::from_secs(1)).await;
        }
        if shutdown {
            writer.shutdown();
        }
        // Keep this side open otherwise: closing is the server's part.
        std::future::pending::<()>().await;
    });
    let outcome = simulation.block_on(read_all(simulation, &mut reader));
    drop(writing);
    outcome
}

/// Sends `bytes` to [`Lab`] and reads all answers.
pub fn ask(bytes: impl AsRef<[u8]>) -> Outcome {
    talk(Lab, Limits::default(), &[bytes.as_ref()], true)
}
