//! Which host resource each device gets.

use std::collections::BTreeMap;
use std::path::PathBuf;

use miette::Diagnostic;
use mirage_gateway::Publish;
use thiserror::Error;

use super::arguments::{Attach, BlockFile};
use crate::descriptor::Attached;

/// What a device is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// A tap of this name.
    Tap(String),
    /// The user-mode gateway, with these ports.
    Gateway(Vec<Publish>),
    /// A file.
    File {
        /// Its path.
        file: PathBuf,
        /// The unikernel may only read it.
        read_only: bool,
    },
}

impl Resource {
    /// Frames go through it.
    pub fn has_frames(&self) -> bool {
        matches!(self, Self::Tap(_) | Self::Gateway(_))
    }
}

/// Why the options do not fit the devices.
#[derive(Debug, Error, Diagnostic, PartialEq, Eq)]
pub enum Unfit {
    /// A block device has no file.
    #[error("{app} has the block device `{device}`, and no file is given for it")]
    #[diagnostic(help("add --block {device}=FILE; a new file: truncate -s 16M FILE"))]
    NoFile { app: String, device: String },
    /// There is no such device.
    #[error("{option}: {app} has no {kind} device `{device}`")]
    #[diagnostic(help("{hint}"))]
    NoDevice {
        option: &'static str,
        app: String,
        kind: &'static str,
        device: String,
        hint: String,
    },
    /// There is none of this kind.
    #[error("{option}: {app} has no {kind} device")]
    #[diagnostic(help("leave the option out; `mirage describe` shows the devices"))]
    NoneAtAll {
        option: &'static str,
        app: String,
        kind: &'static str,
    },
    /// It is not clear which is meant.
    #[error("{option}: {app} has several network devices: {devices}")]
    #[diagnostic(help("{hint}"))]
    Which {
        option: &'static str,
        app: String,
        devices: String,
        hint: &'static str,
    },
    /// A device is given twice.
    #[error("{option}: the device `{device}` is given twice")]
    #[diagnostic(help("leave one of them out"))]
    Twice {
        option: &'static str,
        device: String,
    },
    /// A port is published on a tap.
    #[error("--publish: the network device `{device}` is connected to a tap")]
    #[diagnostic(help(
        "reach the unikernel at its own address, or leave --tap out to go through the gateway"
    ))]
    PublishOnTap { device: String },
    /// The file is not there.
    #[error("--block {device}: there is no file {file}")]
    #[diagnostic(help("make it: truncate -s 16M {file}"))]
    NoSuchFile { device: String, file: String },
    /// A program has nobody between it and the network, and is not watched.
    #[error("{option}: a program on the host uses the host's own network and debugger")]
    #[diagnostic(help("{hint}"))]
    DebugOnHost {
        option: &'static str,
        hint: &'static str,
    },
    /// A program has no network devices.
    #[error("--tap: a program on the host uses the host's own network")]
    #[diagnostic(help("leave --tap out, or run it as a process: --on process"))]
    TapOnHost,
}

impl Unfit {
    /// The command line is wrong for this application, whatever the machine has.
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::NoSuchFile { .. })
    }
}

/// Frames can only be written down where there are some.
pub fn check_capture(app: &str, devices: &[(String, Attached)]) -> Result<(), Unfit> {
    if names(devices, Attached::Net).is_empty() {
        return Err(no_device("--pcap", app, Attached::Net, &[], ""));
    }
    Ok(())
}

/// Matches the options with the devices, each one given and none more.
pub fn connect(
    app: &str,
    devices: &[(String, Attached)],
    taps: &[Attach],
    publish: &[Publish],
    blocks: &[BlockFile],
) -> Result<Vec<(String, Resource)>, Unfit> {
    let mut taps = match_taps(app, devices, taps)?;
    let mut files = match_files(app, devices, blocks)?;
    let mut publish = match_publish(app, devices, &taps, publish)?;
    devices
        .iter()
        .map(|(name, kind)| {
            let resource = match kind {
                Attached::Net => match taps.remove(name) {
                    Some(tap) => Resource::Tap(tap),
                    None => Resource::Gateway(std::mem::take(&mut publish)),
                },
                Attached::Block => files.remove(name).ok_or_else(|| Unfit::NoFile {
                    app: app.into(),
                    device: name.clone(),
                })?,
            };
            Ok((name.clone(), resource))
        })
        .collect()
}

fn names(devices: &[(String, Attached)], wanted: Attached) -> Vec<&str> {
    let mine = devices.iter().filter(|(_, kind)| *kind == wanted);
    mine.map(|(name, _)| name.as_str()).collect()
}

fn word(kind: Attached) -> &'static str {
    match kind {
        Attached::Net => "network",
        Attached::Block => "block",
    }
}

fn no_device(
    option: &'static str,
    app: &str,
    kind: Attached,
    known: &[&str],
    device: &str,
) -> Unfit {
    let (app, kind) = (app.to_string(), word(kind));
    if known.is_empty() {
        return Unfit::NoneAtAll { option, app, kind };
    }
    let hint = match crate::graph::nearest(device, known.iter().copied()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("it has {}", crate::graph::list(known.iter().copied())),
    };
    Unfit::NoDevice {
        option,
        app,
        kind,
        device: device.into(),
        hint,
    }
}

fn match_taps(
    app: &str,
    devices: &[(String, Attached)],
    taps: &[Attach],
) -> Result<BTreeMap<String, String>, Unfit> {
    const OPTION: &str = "--tap";
    let nets = names(devices, Attached::Net);
    let mut found = BTreeMap::new();
    for Attach { device, tap } in taps {
        let device = match (device.as_deref(), &nets[..]) {
            (Some(device), _) if nets.contains(&device) => device,
            (None, [only]) => only,
            (None, []) => return Err(no_device(OPTION, app, Attached::Net, &nets, tap)),
            (Some(device), _) => return Err(no_device(OPTION, app, Attached::Net, &nets, device)),
            (None, _) => {
                return Err(Unfit::Which {
                    option: OPTION,
                    app: app.into(),
                    devices: crate::graph::list(nets),
                    hint: "say which: --tap DEVICE=TAP",
                });
            }
        };
        if found.insert(device.to_string(), tap.clone()).is_some() {
            return Err(Unfit::Twice {
                option: OPTION,
                device: device.into(),
            });
        }
    }
    Ok(found)
}

fn match_files(
    app: &str,
    devices: &[(String, Attached)],
    blocks: &[BlockFile],
) -> Result<BTreeMap<String, Resource>, Unfit> {
    const OPTION: &str = "--block";
    let known = names(devices, Attached::Block);
    let mut found = BTreeMap::new();
    for block in blocks {
        let device = &block.device;
        if !known.contains(&device.as_str()) {
            return Err(no_device(OPTION, app, Attached::Block, &known, device));
        }
        if !block.file.exists() {
            return Err(Unfit::NoSuchFile {
                device: device.clone(),
                file: block.file.display().to_string(),
            });
        }
        let resource = Resource::File {
            file: block.file.clone(),
            read_only: block.read_only,
        };
        if found.insert(device.clone(), resource).is_some() {
            return Err(Unfit::Twice {
                option: OPTION,
                device: device.clone(),
            });
        }
    }
    Ok(found)
}

/// The ports are those of the one network device that has no tap.
fn match_publish(
    app: &str,
    devices: &[(String, Attached)],
    taps: &BTreeMap<String, String>,
    publish: &[Publish],
) -> Result<Vec<Publish>, Unfit> {
    const OPTION: &str = "--publish";
    if publish.is_empty() {
        return Ok(Vec::new());
    }
    let nets = names(devices, Attached::Net);
    let free: Vec<&str> = nets
        .iter()
        .copied()
        .filter(|net| !taps.contains_key(*net))
        .collect();
    match (&nets[..], &free[..]) {
        ([], _) => Err(no_device(OPTION, app, Attached::Net, &nets, "")),
        ([first, ..], []) => Err(Unfit::PublishOnTap {
            device: first.to_string(),
        }),
        (_, [_]) => Ok(publish.to_vec()),
        _ => Err(Unfit::Which {
            option: OPTION,
            app: app.into(),
            devices: crate::graph::list(free),
            hint: "connect all but one to a tap: --tap DEVICE=TAP",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NET: (&str, Attached) = ("net", Attached::Net);
    const UP: (&str, Attached) = ("up", Attached::Net);
    const DISK: (&str, Attached) = ("disk", Attached::Block);

    fn connect(
        devices: &[(&str, Attached)],
        taps: &[&str],
        publish: &[&str],
        blocks: &[&str],
    ) -> Result<Vec<Resource>, String> {
        let devices: Vec<_> = devices.iter().map(|(n, k)| (n.to_string(), *k)).collect();
        let taps: Vec<Attach> = taps.iter().map(|t| t.parse().unwrap()).collect();
        let publish: Vec<Publish> = publish.iter().map(|p| p.parse().unwrap()).collect();
        let blocks: Vec<BlockFile> = blocks.iter().map(|b| b.parse().unwrap()).collect();
        super::connect("app", &devices, &taps, &publish, &blocks)
            .map(|found| found.into_iter().map(|(_, resource)| resource).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_network_device_without_a_tap_goes_through_the_gateway() {
        let ports = vec!["8080:80".parse().unwrap()];
        assert_eq!(
            connect(&[NET], &[], &[], &[]),
            Ok(vec![Resource::Gateway(vec![])])
        );
        assert_eq!(
            connect(&[NET, UP], &["net=tap0"], &["8080:80"], &[]),
            Ok(vec![Resource::Tap("tap0".into()), Resource::Gateway(ports)])
        );
    }

    #[test]
    fn frames_are_written_down_only_where_there_are_some() {
        let check = |devices: &[(&str, Attached)]| {
            let devices: Vec<_> = devices.iter().map(|(n, k)| (n.to_string(), *k)).collect();
            check_capture("app", &devices).map_err(|error| error.to_string())
        };
        assert_eq!(check(&[DISK, NET]), Ok(()));
        let error = check(&[DISK]).unwrap_err();
        assert_eq!(error, "--pcap: app has no network device");
    }

    #[test]
    fn every_device_must_be_given_and_none_more() {
        let error = |devices: &[_], taps: &[_], publish: &[_], blocks: &[_]| {
            connect(devices, taps, publish, blocks).unwrap_err()
        };
        assert!(error(&[DISK], &[], &[], &[]).contains("block device `disk`"));
        assert!(error(&[NET], &["nett=tap0"], &[], &[]).contains("no network device `nett`"));
        assert!(error(&[], &["tap0"], &[], &[]).contains("no network device"));
        assert!(error(&[NET, UP], &["tap0"], &[], &[]).contains("several network devices"));
        assert!(error(&[NET], &["tap0", "tap1"], &[], &[]).contains("given twice"));
        assert!(error(&[NET], &["tap0"], &["1:1"], &[]).contains("connected to a tap"));
        assert!(error(&[], &[], &["1:1"], &[]).contains("--publish: app has no network device"));
        assert!(error(&[NET, UP], &[], &["1:1"], &[]).contains("`net`, `up`"));
        assert!(error(&[], &[], &[], &["disk=/dev/null"]).contains("no block device"));
        assert!(error(&[DISK], &[], &[], &["disk=/none/x"]).contains("there is no file /none/x"));
        let twice = ["disk=/dev/null", "disk=/dev/zero"];
        assert!(error(&[DISK], &[], &[], &twice).contains("given twice"));
    }
}
