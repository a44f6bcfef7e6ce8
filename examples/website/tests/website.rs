//! The project's own pages, sealed and served in memory.

use std::path::Path;
use std::time::Duration;

use mirage_assets::{Sealed, pack};
use mirage_counters::Table;
use mirage_kit::device::{Assets, Sleep, Spawn, Task};
use mirage_sim::World;
use mirage_sim::memory::Network;

#[test]
fn every_page_of_the_docs_folder_is_served_as_it_is() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let assets = Sealed::new(pack::seal(&docs).unwrap().leak()).unwrap();
    let simulation = World::new(0);
    let network = Network::new();
    let main = website::main(
        network.stack([10, 0, 0, 2].into()),
        simulation.clone(),
        simulation.clone(),
        simulation.clone(),
        assets,
        Table::new(None),
        website::Keys { port: 8080 },
    );
    simulation.spawn(main).detach();
    let client = network.stack([10, 0, 0, 3].into());
    simulation.block_on(async {
        simulation.sleep(Duration::from_secs(1)).await;
        for path in assets.paths() {
            let url = format!("http://10.0.0.2:8080/{path}");
            let response = mirage_http::get(&client, &simulation, &url).await.unwrap();
            let page = assets.get(path).unwrap();
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(response.content(), page.bytes, "{path}");
            assert_eq!(
                response.fields().get("content-type"),
                Some(page.media_type.as_bytes())
            );
        }
        let response = mirage_http::get(&client, &simulation, "http://10.0.0.2:8080/none").await;
        assert_eq!(response.unwrap().status(), 404);
    });
}
