//! What the example shows is read by a parser of somebody else's.

use std::time::Duration;

use mirage_counters::Table;
use mirage_kit::device::{Sleep, Spawn, Task};
use mirage_sim::World;
use mirage_sim::memory::Network;
use prometheus_parse::{Scrape, Value};

#[test]
fn what_is_counted_is_read_by_a_parser_of_prometheus() {
    let world = World::new(0);
    let network = Network::new();
    let counters = Table::new(None);
    counters
        .counter("stack", "frames_dropped_total{cause=\"not for us\"}")
        .add(4);
    let main = metrics::main(
        network.stack([10, 0, 0, 2].into()),
        world.clone(),
        world.clone(),
        world.clone(),
        counters,
        metrics::Keys { port: 80 },
    );
    world.spawn(main).detach();
    let client = network.stack([10, 0, 0, 3].into());
    world.block_on(async {
        world.sleep(Duration::from_secs(1)).await;
        let get = async |path: &str| {
            let url = format!("http://10.0.0.2{path}");
            mirage_http::get(&client, &world, &url).await.unwrap()
        };
        for _ in 0..3 {
            assert_eq!(get("/").await.content(), b"Hello\n");
        }
        let response = get("/metrics").await;
        let kind = response.fields().get("content-type");
        assert_eq!(kind, Some(&b"text/plain; version=0.0.4; charset=utf-8"[..]));
        let text = String::from_utf8(response.content().to_vec()).unwrap();
        let lines = text.lines().map(|line| Ok(line.to_owned()));
        let scrape = Scrape::parse(lines).unwrap();
        let value = |metric: &str, device: &str, label: Option<(&str, &str)>| {
            let found = scrape.samples.iter().find(|sample| {
                sample.metric == metric
                    && sample.labels.get("device") == Some(device)
                    && label.is_none_or(|(key, text)| sample.labels.get(key) == Some(text))
            });
            match found
                .unwrap_or_else(|| panic!("no {metric} in:\n{text}"))
                .value
            {
                Value::Counter(value) | Value::Gauge(value) => value,
                ref other => panic!("{other:?}"),
            }
        };
        assert_eq!(value("mirage_greetings_total", "metrics", None), 3.0);
        assert_eq!(value("mirage_requests_total", "http", None), 4.0);
        let code = Some(("code", "2xx"));
        assert_eq!(value("mirage_responses_total", "http", code), 3.0);
        let cause = Some(("cause", "not for us"));
        assert_eq!(value("mirage_frames_dropped_total", "stack", cause), 4.0);
    });
}
