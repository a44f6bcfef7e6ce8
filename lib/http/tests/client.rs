//! The client against our server, and against servers that misbehave.

mod common;

use common::Lab;
use mirage_device::io::{Read, Write};
use mirage_device::{Flow, FlowWrite, Sleep, Spawn, Stack, StackError, Task};
use mirage_http::{Client, ClientError, Error, Limits, Outgoing, Server, get};
use mirage_sim::World;
use mirage_sim::memory::{MemoryFlow, MemoryStack, Network, pair};
use std::time::Duration;

/// The lab on port 80 and 8080 of `lab.test`, and a host beside it.
fn network(simulation: &World) -> MemoryStack {
    let network = Network::new();
    let server = network.stack([10, 0, 0, 1].into());
    network.name("lab.test", &[[10, 0, 0, 9].into(), [10, 0, 0, 1].into()]);
    for port in [80, 8080] {
        let listener = server.listen(([0, 0, 0, 0], port).into(), 8).unwrap();
        let clock = simulation.clone();
        let server = Server::new(clock.clone(), clock.clone(), clock.clone());
        simulation
            .spawn(async move { server.serve(listener, Lab(clock)).await })
            .detach();
    }
    network.stack([10, 0, 0, 2].into())
}

#[test]
fn a_name_is_resolved_and_its_addresses_are_tried_in_order() {
    let simulation = World::new(0);
    let stack = network(&simulation);
    simulation.block_on(async {
        for (url, expected) in [
            ("http://lab.test/target?q", "GET lab.test q"),
            ("HTTP://lab.test:8080/target", "GET lab.test:8080 -"),
            ("http://10.0.0.1/target", "GET 10.0.0.1 -"),
            ("http://lab.test", "nothing here"),
            ("http://lab.test?q", "nothing here"),
        ] {
            let response = get(&stack, &simulation, url).await.unwrap();
            assert_eq!(response.content(), expected.as_bytes(), "{url}");
        }
        for (url, error) in [
            ("https://lab.test/", ClientError::Url),
            ("lab.test/", ClientError::Url),
            ("http://", ClientError::Url),
            ("http://:80/", ClientError::Url),
            ("http://lab.test/ ", ClientError::Url),
            (
                "http://none.test/",
                ClientError::Stack(StackError::NameNotFound),
            ),
            (
                "http://10.0.0.1:81/",
                ClientError::Stack(StackError::Refused),
            ),
        ] {
            assert_eq!(get(&stack, &simulation, url).await, Err(error), "{url}");
        }
    });
}

#[test]
fn requests_follow_each_other_on_one_connection_in_every_framing() {
    let simulation = World::new(0);
    let stack = network(&simulation);
    simulation.block_on(async {
        let mut client = Client::connect(&stack, simulation.clone(), "lab.test", 80)
            .await
            .unwrap();
        assert_eq!(client.get("/hello").await.unwrap().content(), b"hello");
        let large = client.get("/large").await.unwrap();
        assert_eq!((large.status(), large.content().len()), (200, 100_000));
        assert_eq!(large.fields().get("content-length"), Some(&b"100000"[..]));

        let head = Outgoing {
            method: "HEAD",
            target: "/large",
            fields: &[],
        };
        assert_eq!(
            client
                .request(head, b"")
                .await
                .unwrap()
                .content()
                .await
                .unwrap(),
            b""
        );

        let post = Outgoing {
            method: "POST",
            target: "/echo",
            fields: &[("X-One", "1")],
        };
        let mut answer = client.request(post, b"content").await.unwrap();
        assert_eq!(
            (answer.status(), answer.content().await.unwrap()),
            (200, b"content".to_vec())
        );

        let stream = Outgoing {
            target: "/stream",
            ..post
        };
        let mut upload = client.upload(stream, None).unwrap();
        for part in [&b"one "[..], b"", b"two ", &[b'x'; 3000]] {
            upload.write(part).await.unwrap();
        }
        let mut answer = upload.finish().await.unwrap();
        assert_eq!(
            answer.fields().get("transfer-encoding"),
            Some(&b"chunked"[..])
        );
        let content = answer.content().await.unwrap();
        assert!(content.starts_with(b"one two xxx") && content.len() == 3008);
        assert!(client.is_reusable());

        // An answer that was not read to its end leaves the connection unusable.
        client
            .request(
                Outgoing {
                    target: "/large",
                    method: "GET",
                    fields: &[],
                },
                b"",
            )
            .await
            .unwrap();
        assert_eq!(client.get("/hello").await, Err(Error::Answered));
    });
}

#[test]
fn a_request_that_cannot_be_sent_is_refused_before_anything_is_sent() {
    let simulation = World::new(0);
    let (flow, _server) = pair(100);
    let mut client = Client::new(flow, simulation.clone(), "a").unwrap();
    let good = Outgoing {
        method: "GET",
        target: "/",
        fields: &[],
    };
    for bad in [
        Outgoing { method: "", ..good },
        Outgoing {
            method: "GET /x HTTP/1.1\r\nX:",
            ..good
        },
        Outgoing {
            target: "x",
            ..good
        },
        Outgoing {
            target: "/ HTTP/1.1\r\nX: y",
            ..good
        },
        Outgoing {
            target: "http://b/",
            ..good
        },
        Outgoing {
            fields: &[("X", "a\r\nY: b")],
            ..good
        },
        Outgoing {
            fields: &[("X Y", "a")],
            ..good
        },
        Outgoing {
            fields: &[("Host", "b")],
            ..good
        },
        Outgoing {
            fields: &[("Content-Length", "5")],
            ..good
        },
    ] {
        assert_eq!(
            client.upload(bad, Some(0)).err(),
            Some(Error::Field),
            "{bad:?}"
        );
    }
    assert!(client.is_reusable());
    let mut upload = client
        .upload(
            Outgoing {
                method: "PUT",
                ..good
            },
            Some(1),
        )
        .unwrap();
    assert_eq!(simulation.block_on(upload.write(b"ab")), Err(Error::Length));
    assert_eq!(
        simulation.block_on(upload.finish()).err(),
        Some(Error::Length)
    );
    let (flow, _server) = pair(100);
    assert_eq!(
        Client::new(flow, simulation, "a/b").err(),
        Some(Error::Field)
    );
}

/// What the client makes of a server that answers with `answer` and closes if `ends`.
fn answered(answer: &[u8], ends: bool, method: &str) -> Result<(u16, Vec<u8>), Error> {
    let simulation = World::new(0);
    let (flow, server) = pair(100_000);
    let (mut reader, mut writer) = server.split();
    let answer = answer.to_vec();
    let task = simulation.spawn(async move {
        reader.read(&mut [0; 1000]).await.unwrap();
        writer.write_all(&answer).await.unwrap();
        if ends {
            writer.shutdown();
        }
        std::future::pending::<()>().await;
    });
    let mut limits = Limits::default();
    limits.body = 100;
    let mut client = Client::with_limits(flow, simulation.clone(), "a", limits).unwrap();
    let outcome = simulation.block_on(async {
        let request = Outgoing {
            method,
            target: "/",
            fields: &[],
        };
        let mut answer = client.request(request, b"").await?;
        Ok((answer.status(), answer.content().await?))
    });
    drop(task);
    outcome
}

#[test]
fn every_framing_of_an_answer_is_understood() {
    for (answer, ends, expected) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            false,
            (200, "ok"),
        ),
        (
            "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
            false,
            (200, "ok"),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a\r\no\r\n1\r\nk\r\n0\r\nT: t\r\n\r\n",
            false,
            (200, "ok"),
        ),
        (
            "HTTP/1.0 200 OK\r\n\r\nok until the end",
            true,
            (200, "ok until the end"),
        ),
        (
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
            false,
            (204, ""),
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            false,
            (304, ""),
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
            false,
            (404, ""),
        ),
    ] {
        let found = answered(answer.as_bytes(), ends, "GET");
        assert_eq!(
            found,
            Ok((expected.0, expected.1.as_bytes().to_vec())),
            "{answer}"
        );
    }
    let head = answered(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
        false,
        "HEAD",
    );
    assert_eq!(head, Ok((200, vec![])));
}

#[test]
fn an_answer_that_breaks_the_protocol_is_an_error() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n\r\n",
    ] {
        let found = answered(answer.as_bytes(), false, "GET");
        assert!(
            matches!(found, Err(Error::Malformed(_))),
            "{answer}: {found:?}"
        );
    }
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(50);
    assert!(matches!(
        answered(endless.as_bytes(), false, "GET"),
        Err(Error::Malformed(_))
    ));
    let head = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(20_000));
    assert!(matches!(
        answered(head.as_bytes(), false, "GET"),
        Err(Error::Malformed(_))
    ));
}

#[test]
fn an_answer_beyond_the_limits_is_an_error() {
    let long = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n{}",
        "x".repeat(101)
    );
    assert_eq!(
        answered(long.as_bytes(), false, "GET"),
        Err(Error::TooLarge)
    );
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1000));
    assert_eq!(
        answered(endless.as_bytes(), false, "GET"),
        Err(Error::TooLarge)
    );
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort";
    assert_eq!(answered(cut, true, "GET"), Err(Error::Ended));
    assert_eq!(answered(cut, false, "GET"), Err(Error::TimedOut));
    assert_eq!(answered(b"", true, "GET"), Err(Error::Ended));
    assert_eq!(answered(b"", false, "GET"), Err(Error::TimedOut));
    assert_eq!(
        answered(b"HTTP/1.1 200", false, "GET"),
        Err(Error::TimedOut)
    );
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab";
    assert_eq!(answered(chunked, true, "GET"), Err(Error::Ended));
    // Even when all of it arrives at once.
    let head = format!("HTTP/1.1 204 OK\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    assert_eq!(
        answered(head.as_bytes(), false, "GET"),
        Err(Error::Malformed("its head is too long"))
    );
}

#[test]
fn an_address_that_does_not_answer_costs_ten_seconds() {
    #[derive(Clone)]
    struct Silent;
    impl Stack for Silent {
        type Flow = MemoryFlow;
        type Listener = mirage_sim::memory::MemoryListener;
        type Udp = mirage_sim::memory::MemoryUdp;
        async fn up(&self) {}
        fn addresses(&self) -> Vec<mirage_device::Cidr> {
            vec![]
        }
        fn listen(&self, _: std::net::SocketAddr, _: usize) -> Result<Self::Listener, StackError> {
            Err(StackError::NoResources)
        }
        async fn connect(&self, _: std::net::SocketAddr) -> Result<MemoryFlow, StackError> {
            std::future::pending().await
        }
        fn bind_udp(&self, _: std::net::SocketAddr) -> Result<Self::Udp, StackError> {
            Err(StackError::NoResources)
        }
        async fn resolve(
            &self,
            _: &str,
            _: mirage_device::AddressFamily,
        ) -> Result<Vec<std::net::IpAddr>, StackError> {
            Ok(vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()])
        }
    }
    let simulation = World::new(0);
    let found = simulation.block_on(get(&Silent, &simulation, "http://silent.test/"));
    assert_eq!(found, Err(ClientError::Stack(StackError::TimedOut)));
    let early = simulation.timeout(Duration::ZERO, std::future::ready(()));
    assert!(simulation.block_on(early).is_some());
    use mirage_device::Clock;
    assert_eq!(simulation.now().as_nanos(), 20_000_000_000);
}
