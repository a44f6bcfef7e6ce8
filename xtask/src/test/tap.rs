//! The fast way: an image on a tap in a network namespace of its own.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::need::Need;
use super::publish::{all_served, echoes_tcp, echoes_udp};
use super::system::{PATIENCE, Tap, listens};
use super::{Context, Test};
use crate::http;

pub const TESTS: &[Test] = &[
    Test {
        name: "curl loads the website on a tap over IPv4 and IPv6",
        needs: &[Need::Tap, Need::Program("curl", "curl")],
        run: curl,
    },
    Test {
        name: "1,000 connections opened at once on a tap are all served",
        needs: &[Need::Tap],
        run: burst,
    },
    Test {
        name: "echo answers over TCP and UDP on a tap, over IPv4 and IPv6",
        needs: &[Need::Tap],
        run: echo,
    },
];

fn curl(context: &Context) -> Result<()> {
    let tap = Tap::new()?;
    let (_process, server) = tap.website(context)?;
    tap.client.enter(|| {
        let page = http::get(server, "/", PATIENCE)?.body;
        for host in [Tap::V4.to_string(), format!("[{}]", Tap::V6)] {
            let mut command = Command::new("curl");
            command.args([
                "-gsS",
                "--fail",
                "--max-time",
                "20",
                &format!("http://{host}/"),
            ]);
            let output = command.output()?;
            let error = String::from_utf8_lossy(&output.stderr);
            ensure!(
                output.status.success(),
                "curl {host} ended with {}: {error}",
                output.status
            );
            ensure!(output.stdout == page, "curl {host} got another page");
        }
        Ok(())
    })
}

fn burst(context: &Context) -> Result<()> {
    let tap = Tap::new()?;
    let (_process, server) = tap.website(context)?;
    tap.client.enter(|| all_served(server))
}

fn echo(context: &Context) -> Result<()> {
    let tap = Tap::new()?;
    let process = tap.run(context, "examples/echo")?;
    listens(&process)?;
    tap.client.enter(|| {
        for ip in [Tap::V4, Tap::V6.parse()?] {
            let server = SocketAddr::new(ip, 7);
            echoes_tcp(server).with_context(|| process.output())?;
            echoes_udp(server).with_context(|| process.output())?;
        }
        Ok(())
    })
}
