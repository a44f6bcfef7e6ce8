//! A sandboxed process, started by the tender, with the gateway for its network.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::thread;

use miette::{Diagnostic, IntoDiagnostic as _, Report, WrapErr as _};
use mirage_counters::Table;
use mirage_gateway::{BindError, Config, Counters, Gateway, Protocol, Publish};
use mirage_record::Description;
use mirage_tender_process::mac::Mac;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use thiserror::Error;

use super::capture::Capture;
use super::devices::{self, Resource};
use super::holder::holder;
use super::record::{Record, hash};
use super::session::{News, Session};
use super::tap;
use super::tender::Tender;
use crate::cli::Run;
use crate::running::Page;
use crate::summary::Summary;
use crate::ui::{Event, Ui, say};

/// Why a port cannot be published.
#[derive(Debug, Error, Diagnostic)]
pub(super) enum PublishError {
    /// Somebody has it.
    #[error("--publish: port {port} of this machine is in use")]
    #[diagnostic(help("{hint}"))]
    InUse { port: u16, hint: String },
    /// It is reserved.
    #[error("--publish: no permission for port {port} of this machine")]
    #[diagnostic(help(
        "ports below 1024 are root's; publish a higher one, for example --publish {higher}:{guest}"
    ))]
    Denied { port: u16, higher: u32, guest: u16 },
    /// Anything else.
    #[error("--publish: {0}")]
    #[diagnostic(help("publish [ADDRESS:]HOST:GUEST, for example 8080:80"))]
    Bind(BindError),
}

impl From<BindError> for PublishError {
    fn from(error: BindError) -> Self {
        match error {
            BindError::InUse(publish) => Self::InUse {
                port: publish.host.port(),
                hint: in_use(publish),
            },
            BindError::Denied(publish) => Self::Denied {
                port: publish.host.port(),
                higher: u32::from(publish.host.port()) + 8000,
                guest: publish.guest,
            },
            other => Self::Bind(other),
        }
    }
}

/// What to do about a port that somebody holds.
fn in_use(publish: Publish) -> String {
    let port = publish.host.port();
    let udp = publish.protocol == Protocol::Udp;
    let other = if port < u16::MAX { port + 1 } else { port - 1 };
    let other = format!(
        "publish another one, for example --publish {other}:{}",
        publish.guest
    );
    match holder(publish.host, udp) {
        Some(holder) => format!("{holder} holds it; end that, or {other}"),
        None => {
            let tables = if udp { "-lunp" } else { "-ltnp" };
            format!(
                "a process of another user holds it (sudo ss {tables} 'sport = {port}' tells \
                 which); {other}"
            )
        }
    }
}

pub fn run(summary: &Summary, run: &Run, words: &[String], ui: &Ui) -> Result<i32, Report> {
    let resources = devices::connect(
        &summary.name,
        &summary.devices,
        &run.tap,
        &run.publish,
        &run.block,
    )?;
    let capture = run.pcap.as_deref();
    if capture.is_some() {
        devices::check_capture(&summary.name, &summary.devices)?;
    }
    let devices_with_frames = resources
        .iter()
        .filter(|(_, resource)| resource.has_frames());
    let devices_with_frames = devices_with_frames.count();
    let capture = |device: &str| {
        let path = capture?;
        Some(Capture::of_device(path, device, devices_with_frames))
    };
    let watch = run.debug.watch(&summary.product, ui)?;
    let tender = Tender::new()
        .into_diagnostic()
        .wrap_err("the tender could not be laid down in memory")?;
    let mut command = tender.command();
    command.arg("--memory").arg(run.memory.0.to_string());
    let mut gateways: Vec<(Gateway, OwnedFd)> = Vec::new();
    let mut guests = Vec::new();
    let mut captures = Vec::new();
    for (device, resource) in resources {
        match resource {
            Resource::Tap(name) => {
                tap::check(&name)?;
                let Some(capture) = capture(&device).transpose()? else {
                    command.arg("--net").arg(format!("{device}=tap:{name}"));
                    continue;
                };
                let network = tap::open(&name)?;
                let (ours, guest) = pair().into_diagnostic()?;
                let (number, mtu) = (guest.as_raw_fd(), network.mtu);
                // The address that it would have without.
                let image = summary.product.file_name().unwrap_or_default();
                let mac = Mac::derive(&[image.as_bytes(), device.as_bytes(), name.as_bytes()]);
                let word = format!("{device}=fd:{number},mac={mac},mtu={mtu}");
                command.arg("--net").arg(word);
                captures.push((capture, ours, network.descriptor));
                guests.push(guest);
            }
            Resource::Gateway(publish) => {
                let gateway = Gateway::bind(Config {
                    publish,
                    ..Config::default()
                })
                .map_err(PublishError::from)?;
                let (mut ours, guest) = pair().into_diagnostic()?;
                let number = guest.as_raw_fd();
                command.arg("--net").arg(format!("{device}=fd:{number}"));
                if let Some(capture) = capture(&device).transpose()? {
                    let (gateways, between) = pair().into_diagnostic()?;
                    fcntl_setfd(&between, FdFlags::CLOEXEC).into_diagnostic()?;
                    let images = std::mem::replace(&mut ours, gateways);
                    captures.push((capture, images, between));
                }
                gateways.push((gateway, ours));
                guests.push(guest);
            }
            Resource::File { file, read_only } => {
                let mut word = std::ffi::OsString::from(format!("{device}="));
                word.push(file);
                if read_only {
                    word.push(",ro");
                }
                command.arg("--block").arg(word);
            }
        }
    }
    let mut page = Page::new(&summary.name, gateways.len());
    if let Some(page) = &page {
        let number = page.descriptor();
        command.arg("--counters").arg(format!("fd:{number}"));
    }
    let counters = page.as_ref().map_or(0, Page::len);
    let record = run.record.as_deref();
    let record = record.map(|file| recording(file, summary, run, words, counters));
    let record = record.transpose()?;
    if let Some(record) = &record {
        command.arg("--record").arg(record.word());
    }
    command.arg(&summary.product).args(words);

    let published: Vec<Publish> = gateways.iter().flat_map(|(g, _)| g.published()).collect();
    let session = Session::start(&summary.name, command, Some(watch), ui)?;
    if let Some(page) = &mut page {
        page.started(session.pid());
    }
    // The image has its ends now: when it dies, the gateway sees it.
    drop(guests);
    for (capture, image, network) in captures {
        capture.stand_between(image, network);
    }
    for publish in published {
        tell(publish, ui);
    }
    for (number, (gateway, link)) in gateways.into_iter().enumerate() {
        let news = session.news();
        let shown = page.as_ref().map(|page| page.gateway(number));
        thread::spawn(move || {
            let table = Table::new(None);
            let name = match number {
                0 => "gateway",
                _ => format!("gateway{}", number + 1).leak(),
            };
            let tally = table.tally(name, &Counters::NAMES);
            let observe = |event| match event {
                mirage_gateway::Event::FirstFrame { at } => {
                    // Nobody listens when the session is over.
                    let _ = news.send(News::Sign(at, "first network frame"));
                }
                mirage_gateway::Event::Counted(counters) => {
                    let values = counters.values().into_iter().enumerate();
                    values.for_each(|(which, value)| tally.set(which, value));
                    shown.iter().for_each(|shown| shown.show(&table));
                }
                _ => {}
            };
            if let Err(error) = gateway.run(link, observe) {
                say(&format!("the network gateway failed: {error}\n"));
            }
        });
    }
    let status = session.wait(ui)?;
    if let Some(record) = record {
        record.finish(status, ui);
    }
    Ok(status)
}

/// Makes the file of a recording.
fn recording(
    file: &Path,
    summary: &Summary,
    run: &Run,
    words: &[String],
    counters: u64,
) -> Result<Record, Report> {
    let path = summary.product.canonicalize().into_diagnostic()?;
    let image = std::fs::read(&path).into_diagnostic()?;
    let description = Description {
        name: summary.name.clone(),
        image: hash(&image),
        path: path.to_string_lossy().into(),
        platform: summary.on.clone(),
        arguments: words.to_vec(),
        memory: run.memory.0,
        counters,
    };
    Ok(Record::create(file, run.record_size.0, &description)?)
}

/// Two ends of a link: frames go whole, neither end waits. The second is for the guest.
pub(super) fn pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, guest) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    // It is to be inherited.
    fcntl_setfd(&guest, FdFlags::empty())?;
    Ok((ours, guest))
}

/// Says where a published port is.
pub(super) fn tell(publish: Publish, ui: &Ui) {
    let host = publish.host;
    let event = Event::Published {
        address: &host.ip().to_string(),
        port: host.port(),
        guest: publish.guest,
        protocol: &publish.protocol.to_string(),
    };
    let place = reachable(host);
    let text = match publish.protocol {
        Protocol::Tcp if WEB.contains(&publish.guest) => format!("http://{place}/"),
        protocol => format!("{protocol} {place}"),
    };
    ui.tell(&event, "Serving", &text);
}

/// The unikernel's ports that a browser is for, as far as one can tell.
const WEB: [u16; 3] = [80, 8000, 8080];

/// An address to connect to: an unspecified one stands for this machine.
fn reachable(host: SocketAddr) -> String {
    if host.ip().is_unspecified() {
        format!("localhost:{}", host.port())
    } else {
        host.to_string()
    }
}
