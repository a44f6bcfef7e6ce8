//! Every provider that runs in a test keeps its contract.

mod rigs;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mirage_conformance as conformance;
use mirage_conformance::stack::Network;
use mirage_counters::Table;
use mirage_device::{Clock, Spawn, Task};
use mirage_sim::memory::pair;
use mirage_smoltcp::Smoltcp;
use rigs::{Disk, Page, Random, name_server, run, wire};

#[test]
fn the_simulations_clocks_and_tasks() {
    run(async |simulation| {
        let s = &simulation;
        let mut report = conformance::clock::check(s, s).await;
        report.append(conformance::sleep::check(s, s).await);
        report.append(conformance::spawn::check(s, s).await);
        let counters = Table::new(None);
        report.append(conformance::counters::check(&counters, s).await);
        report.append(conformance::wall::check(s, s, None).await);
        s.set_wall(Some(Duration::from_secs(1_700_000_000)));
        let truth =
            Some(Duration::from_secs(1_700_000_000) + Duration::from_nanos(s.now().as_nanos()));
        report.append(conformance::wall::check(s, s, truth).await);
        report
    })
    .assert();
}

#[test]
fn the_devices_of_the_rigs() {
    run(async |s| {
        let page = Page::default();
        let shown = page.clone();
        let screen = || shown.0.borrow().clone();
        let mut report = conformance::console::check(&page, &s, Some(&screen)).await;
        report.append(conformance::entropy::check(&Random::default(), &s).await);
        let (near, far) = wire();
        report.append(conformance::net::check(&near, &far, &s).await);
        report
    })
    .assert();
}

#[test]
fn a_disk_in_memory_also_when_its_power_is_cut() {
    let report = run(async |s| {
        let disk = Disk::new(true);
        let mut report = conformance::block::check(&disk, &s).await;
        conformance::block::before_cut(&disk, &s).await.unwrap();
        disk.cut_power();
        report.append(conformance::block::after_cut(&disk, &s).await);
        report.append(conformance::block::check(&Disk::new(false), &s).await);
        report
    });
    report.assert();
    assert_eq!(
        report.counts()[2],
        0,
        "everything is applicable here:\n{report}"
    );
}

#[test]
fn a_flow_in_memory_whatever_it_holds() {
    for capacity in [16, 999, 64 << 10] {
        println!("capacity {capacity}");
        run(async |s| conformance::flow::check(async || Some(pair(capacity)), &s).await).assert();
    }
}

#[test]
fn a_stack_in_memory() {
    run(async |s| {
        let network = mirage_sim::memory::Network::new();
        let addresses = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse::<IpAddr>().unwrap());
        network.name("there.example", &addresses[1..]);
        let [near, far] = addresses.map(|address| network.stack(address));
        let known = Network {
            name: Some(("there.example", addresses[1])),
            multicast: true,
        };
        conformance::stack::check(&near, &far, &s, known).await
    })
    .assert();
}

#[test]
fn the_stack_on_smoltcp_with_a_name_server() {
    const NAME: &str = "there.example";
    let report = run(async |s| {
        let (near, far) = wire();
        let stack = async |end, number: u8| {
            let keys = mirage_smoltcp::Keys {
                ipv4: format!("10.0.0.{number}/24"),
                ipv6: format!("fd00::{number}/64"),
                dns: Some("10.0.0.2".parse().unwrap()),
                ..Default::default()
            };
            let (sleep, spawn, random) = (s.clone(), s.clone(), Random::default());
            let counters = Table::new(None);
            let stack = Smoltcp::new(end, sleep, spawn, random, counters, "stack", keys);
            stack.await.unwrap()
        };
        let (near, far) = (stack(near, 1).await, stack(far, 2).await);
        let address = Ipv4Addr::new(203, 0, 113, 9);
        s.spawn(name_server(far.clone(), NAME, address)).detach();
        let known = Network {
            name: Some((NAME, address.into())),
            multicast: true,
        };
        conformance::stack::check(&near, &far, &s, known).await
    });
    report.assert();
    assert_eq!(
        report.counts()[2],
        2,
        "only what a network leaves behind is not applicable here:\n{report}"
    );
}

#[test]
fn sealed_files() {
    let folder = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8]); 3] = [
        ("a.html", b"<p>a</p>"),
        ("css/site.css", b"body { margin: 0 }"),
        ("empty", b""),
    ];
    std::fs::create_dir(folder.path().join("css")).unwrap();
    for (path, bytes) in files {
        std::fs::write(folder.path().join(path), bytes).unwrap();
    }
    let sealed = mirage_assets::pack::seal(folder.path()).unwrap().leak();
    let sealed = mirage_assets::Sealed::new(sealed).unwrap();
    run(async |s| conformance::assets::check(&sealed, &s, Some(&files)).await).assert();
}
