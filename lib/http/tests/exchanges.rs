//! Requests and answers, in the order of RFC 9112.

mod common;

use common::{Lab, ask, connect, converse, read_all, talk};
use mirage_device::io::{Read, Write};
use mirage_device::{FlowError, Sleep, Spawn};
use mirage_http::Limits;
use std::time::Duration;

#[test]
fn an_answer_is_what_the_handler_said_and_nothing_more() {
    let outcome = ask("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    let expected = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(outcome.text(), expected);
    assert_eq!(outcome.end, Ok(()));
}

#[test]
fn with_a_wall_clock_every_answer_is_dated() {
    let simulation = common::world();
    simulation.set_wall(Some(Duration::from_secs(784_111_776)));
    let flow = connect(&simulation, Lab(simulation.clone()), Limits::default());
    let ask: &[u8] = b"GET /empty HTTP/1.1\r\nHost: a\r\n\r\n";
    let outcome = converse(&simulation, flow, &[ask, ask], true);
    let text = outcome.text();
    assert!(
        text.starts_with("HTTP/1.1 204 No Content\r\nDate: Sun, 06 Nov 1994 08:49:36 GMT\r\n"),
        "{text}"
    );
    assert!(
        text.ends_with("HTTP/1.1 204 No Content\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"),
        "{text}"
    );
}

#[test]
fn pipelined_requests_are_answered_in_order_on_one_connection() {
    let outcome = ask(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none\
         GET /target?two HTTP/1.1\r\nHost: b:80\r\n\r\n\
         \r\nPOST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nthr\r\n2;x=\"y\"\r\nee\r\n0\r\nT: t\r\n\r\n\
         HEAD /hello HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n\
         GET /never HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    let expected = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none\
         HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nGET b:80 two\
         HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthree\
         HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
    assert_eq!(outcome.text(), expected);
}

#[test]
fn an_absolute_target_replaces_the_host() {
    let outcome = ask("GET http://b:81/target HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(outcome.text().ends_with("GET b:81 -"), "{}", outcome.text());
}

#[test]
fn an_http_1_0_connection_closes_unless_it_asks_to_stay() {
    let once = ask("GET /hello HTTP/1.0\r\n\r\nGET /hello HTTP/1.0\r\n\r\n");
    assert_eq!(once.statuses(), [200]);
    assert!(once.text().contains("\r\nConnection: close\r\n"));
    let keep = "GET /hello HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
    let twice = ask(format!("{keep}{keep}"));
    assert_eq!(twice.statuses(), [200, 200]);
    assert_eq!(
        twice
            .text()
            .matches("\r\nConnection: keep-alive\r\n")
            .count(),
        2
    );
}

#[test]
fn a_stream_of_unknown_length_is_chunked_or_ends_with_the_connection() {
    let body = "Content-Length: 5\r\n\r\nabcde";
    let outcome = ask(format!("POST /stream HTTP/1.1\r\nHost: a\r\n{body}"));
    let expected = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n";
    assert_eq!(outcome.text(), expected);
    let outcome = ask(format!(
        "POST /stream HTTP/1.0\r\nConnection: keep-alive\r\n{body}"
    ));
    assert_eq!(
        outcome.text(),
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde"
    );
}

#[test]
fn a_stream_of_known_length_keeps_the_connection() {
    let outcome =
        ask("GET /known HTTP/1.1\r\nHost: a\r\n\r\nHEAD /known HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    assert_eq!(outcome.text(), format!("{head}0123456789{head}"));
}

#[test]
fn an_answer_larger_than_every_buffer_arrives_whole() {
    let outcome = ask("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
    assert!(outcome.text().starts_with(head));
    assert_eq!(outcome.received.len(), head.len() + 100_000);
}

#[test]
fn a_status_without_content_has_none() {
    assert_eq!(
        ask("GET /empty HTTP/1.1\r\nHost: a\r\n\r\n").text(),
        "HTTP/1.1 204 No Content\r\n\r\n"
    );
}

#[test]
fn a_client_that_waits_for_100_gets_it_when_the_content_is_wanted() {
    let simulation = common::world();
    let mut flow = connect(&simulation, Lab(simulation.clone()), Limits::default());
    simulation.block_on(async {
        let head =
            b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
        flow.write_all(head).await.unwrap();
        let mut interim = [0; 25];
        flow.read_exact(&mut interim).await.unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        flow.write_all(b"ok").await.unwrap();
        let mut answer = [0; 40];
        flow.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
}

#[test]
fn a_client_that_waits_for_100_and_is_answered_otherwise_loses_the_connection() {
    // Whether the content follows cannot be known.
    let outcome = ask(
        "POST /hello HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 20\r\n\r\n",
    );
    assert_eq!(outcome.statuses(), [200]);
    assert!(outcome.text().contains("Connection: close"));
    let unknown = ask("GET /hello HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n");
    assert_eq!(unknown.statuses(), [417]);
}

#[test]
fn content_that_the_handler_left_is_read_or_the_connection_closed() {
    let next = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
    for (length, statuses) in [
        (10, &[200, 200][..]),
        (60_000, &[200, 200]),
        (70_000, &[200]),
    ] {
        let content = "x".repeat(length);
        let head = format!("POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        assert_eq!(
            ask(format!("{head}{content}{next}")).statuses(),
            statuses,
            "{length}"
        );
    }
    let chunked = "POST /hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(
        ask(format!("{chunked}5\r\nabcde\r\n0\r\n\r\n{next}")).statuses(),
        [200, 200]
    );
    assert_eq!(ask(format!("{chunked}x\r\n{next}")).statuses(), [200]);
}

#[test]
fn a_field_that_would_break_the_head_is_not_sent() {
    for path in ["/split-field", "/framing"] {
        let outcome = ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(outcome.statuses(), [500]);
        assert!(!outcome.text().contains("Y: b"));
    }
}

#[test]
fn an_answer_of_the_wrong_length_is_cut_off_by_a_reset() {
    for path in ["/too-short", "/too-long"] {
        let outcome = ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(outcome.end, Err(FlowError::Reset), "{path}");
    }
}

#[test]
fn the_last_answer_survives_what_the_client_still_sends() {
    // The client sends more than it is allowed, and reads only afterwards: closing at once would
    // answer its bytes with a reset, and the reset would destroy the 413.
    let simulation = common::world();
    let mut flow = connect(&simulation, Lab(simulation.clone()), Limits::default());
    simulation.block_on(async {
        let head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n";
        flow.write_all(head).await.unwrap();
        for _ in 0..50 {
            flow.write_all(&[b'x'; 1000]).await.unwrap();
            simulation.sleep(Duration::from_millis(10)).await;
        }
        let outcome = read_all(&simulation, &mut flow).await;
        assert_eq!((outcome.statuses(), outcome.end), (vec![413], Ok(())));
    });
}

#[test]
fn a_client_that_ends_its_side_still_gets_its_answer() {
    let outcome = ask("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(outcome.text().ends_with("at last"));
    assert!(outcome.at >= Duration::from_secs(100));
}

#[test]
fn an_answer_is_sent_before_a_slow_handler_is_asked_for_the_next() {
    let simulation = common::world();
    let mut flow = connect(&simulation, Lab(simulation.clone()), Limits::default());
    let ask = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\nGET /slow HTTP/1.1\r\nHost: a\r\n\r\n";
    simulation.block_on(async {
        flow.write_all(ask).await.unwrap();
        let first = simulation
            .timeout(Duration::from_secs(1), flow.read(&mut [0; 100]))
            .await;
        assert_eq!(first, Some(Ok(69)));
    });
}

#[test]
fn content_beyond_the_limit_is_refused_with_and_without_a_length() {
    let mut limits = Limits::default();
    limits.body = 10;
    let ask = |text: &str| talk(Lab, limits.clone(), &[text.as_bytes()], true).statuses();
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\n";
    assert_eq!(
        ask(&format!("{head}Content-Length: 10\r\n\r\n0123456789")),
        [200]
    );
    assert_eq!(
        ask(&format!("{head}Content-Length: 11\r\n\r\n0123456789a")),
        [413]
    );
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    assert_eq!(
        ask(&format!("{chunked}a\r\n0123456789\r\n0\r\n\r\n")),
        [200]
    );
    assert_eq!(
        ask(&format!("{chunked}a\r\n0123456789\r\n1\r\na\r\n0\r\n\r\n")),
        [413]
    );
}

#[test]
fn a_dropped_server_lets_its_connections_finish() {
    use mirage_device::Stack;
    let simulation = common::world();
    let network = mirage_sim::memory::Network::new();
    let server = network.stack([10, 0, 0, 1].into());
    let client = network.stack([10, 0, 0, 2].into());
    let address = "10.0.0.1:80".parse().unwrap();
    let listener = server.listen(address, 8).unwrap();
    let clock = simulation.clone();
    let http = mirage_http::Server::new(clock.clone(), clock.clone(), clock.clone());
    let task = simulation.spawn(async move { http.serve(listener, Lab(clock)).await.unwrap_err() });
    simulation.block_on(async {
        let mut idle = client.connect(address).await.unwrap();
        let mut busy = client.connect(address).await.unwrap();
        busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        simulation.sleep(Duration::from_secs(1)).await;
        drop(task);
        assert_eq!(idle.read(&mut [0]).await, Ok(0));
        let outcome = read_all(&simulation, &mut busy).await;
        assert!(
            outcome.text().contains("Connection: close") && outcome.text().ends_with("at last")
        );
        assert_eq!(
            client.connect(address).await.err(),
            Some(mirage_device::StackError::Refused)
        );
    });
}
