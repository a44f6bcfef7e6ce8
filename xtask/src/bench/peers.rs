//! The peers that we measure against: nginx, wrk, kernel TCP, a static C program.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::http;
use crate::net::{Namespace, run};
use crate::process::{Process, family, until};

/// The page that both servers serve: as long as the page that nginx is shipped with.
pub fn page() -> String {
    let (head, tail) = ("<!doctype html>\n<title>A page</title>\n<p>", "\n");
    format!("{head}{}{tail}", "x".repeat(612 - head.len() - tail.len()))
}

/// nginx with one worker, tuned as its authors advise for small files: no access log, open files
/// cached, connections kept.
pub struct Nginx {
    process: Process,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it in `namespace`, listening on `address`.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let root = folder.path();
        std::fs::write(root.join("index.html"), page())?;
        let shown = root.display();
        let configuration = root.join("nginx.conf");
        std::fs::write(
            &configuration,
            format!(
                "daemon off; user root; worker_processes 1; worker_rlimit_nofile 8192;\n\
                 pid {shown}/pid; error_log {shown}/error.log;\n\
                 events {{ worker_connections 4096; multi_accept on; }}\n\
                 http {{\n\
                 access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;\n\
                 open_file_cache max=16; types {{ text/html html; }}\n\
                 client_body_temp_path {shown}/1; proxy_temp_path {shown}/2;\n\
                 fastcgi_temp_path {shown}/3; uwsgi_temp_path {shown}/4; scgi_temp_path {shown}/5;\n\
                 server {{ listen {address} backlog=4096; root {shown}; }}\n}}\n"
            ),
        )?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(root).arg("-c").arg(&configuration);
        command.arg("-e").arg(root.join("error.log"));
        let process = namespace
            .enter(|| Process::start(&mut command))?
            .ending_with(Signal::TERM);
        Ok(Self {
            process,
            _folder: folder,
        })
    }

    /// The worker's process id.
    pub fn worker(&self) -> Result<u32> {
        let master = self.process.id();
        until(Duration::from_secs(5), "nginx's worker", || {
            family(master).get(1).copied()
        })
    }
}

/// Waits until `server` answers `/`, as seen from the calling thread's namespace.
pub fn ready(server: SocketAddr) -> Result<()> {
    until(Duration::from_secs(10), "the first answer", || {
        http::get(server, "/", Duration::from_secs(2))
            .ok()
            .filter(|response| response.status == 200)
    })
    .with_context(|| format!("http://{server}/ does not answer"))
    .map(drop)
}

/// Requests a second over 32 kept connections, as wrk counts them.
pub fn wrk(server: SocketAddr, seconds: u64) -> Result<f64> {
    let mut command = Command::new("wrk");
    command.args([
        "-t1",
        "-c32",
        &format!("-d{seconds}s"),
        &format!("http://{server}/"),
    ]);
    let output = command.output().context("cannot start wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    requests_per_second(&text).with_context(|| format!("wrk against {server} said:\n{text}"))
}

fn requests_per_second(text: &str) -> Result<f64> {
    for trouble in ["Socket errors", "Non-2xx"] {
        if let Some(line) = text.lines().find(|line| line.contains(trouble)) {
            bail!("{}", line.trim());
        }
    }
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"));
    Ok(line.context("no line `Requests/sec`")?.trim().parse()?)
}

/// A static C program that writes one byte, compiled into `folder`.
pub fn static_c(folder: &Path) -> Result<PathBuf> {
    let (source, program) = (folder.join("one.c"), folder.join("one"));
    std::fs::write(
        &source,
        "#include <unistd.h>\nint main(void) { return write(1, \"x\", 1) != 1; }\n",
    )?;
    run(Command::new("gcc")
        .args(["-O2", "-static", "-s", "-o"])
        .arg(&program)
        .arg(&source))?;
    Ok(program)
}

/// Two std programs' worth of kernel TCP: on `port` zeros without end, on the next port a sink.
///
/// Its threads end with the process.
pub fn bulk_server(namespace: &Namespace, address: SocketAddr) -> Result<()> {
    namespace.enter(|| {
        let source = TcpListener::bind(address)?;
        let sink = TcpListener::bind(SocketAddr::new(address.ip(), address.port() + 1))?;
        std::thread::spawn(move || {
            let zeros = vec![0; BULK_BUFFER];
            for mut stream in source.incoming().flatten() {
                while stream.write_all(&zeros).is_ok() {}
            }
        });
        std::thread::spawn(move || {
            let mut buffer = vec![0; BULK_BUFFER];
            for mut stream in sink.incoming().flatten() {
                while stream.read(&mut buffer).is_ok_and(|n| n > 0) {}
            }
        });
        Ok(())
    })
}

const BULK_BUFFER: usize = 256 * 1024;

/// MB/s read from a source of zeros.
pub fn pull(source: SocketAddr, time: Duration) -> Result<f64> {
    let mut stream = TcpStream::connect_timeout(&source, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut buffer = vec![0; BULK_BUFFER];
    stream
        .read_exact(&mut [0])
        .context("the source sends nothing")?;
    let (start, mut bytes) = (Instant::now(), 0);
    while start.elapsed() < time {
        match stream
            .read(&mut buffer)
            .context("the source stopped sending")?
        {
            0 => bail!("the source closed after {bytes} bytes"),
            n => bytes += n,
        }
    }
    Ok(bytes as f64 / 1e6 / start.elapsed().as_secs_f64())
}

/// MB/s written to a sink, until it has taken every byte.
pub fn push(sink: SocketAddr, time: Duration) -> Result<f64> {
    let mut stream = TcpStream::connect_timeout(&sink, Duration::from_secs(5))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let zeros = vec![0; BULK_BUFFER];
    let (start, mut bytes) = (Instant::now(), 0);
    while start.elapsed() < time {
        bytes += stream.write(&zeros).context("the sink stopped reading")?;
    }
    // The sink closes when it has read the end: what lies in buffers does not count as moved.
    stream.shutdown(Shutdown::Write)?;
    let rest = stream
        .read(&mut [0])
        .context("the sink did not read to the end")?;
    if rest != 0 {
        bail!("the sink sent bytes");
    }
    Ok(bytes as f64 / 1e6 / start.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_612_bytes() {
        assert_eq!(page().len(), 612);
    }

    #[test]
    fn the_output_of_wrk_is_a_number_only_without_errors() {
        assert_eq!(
            requests_per_second("x\nRequests/sec:  1234.56\n").unwrap(),
            1234.56
        );
        let errors = "Requests/sec: 5\n  Socket errors: connect 0, read 3, write 0, timeout 0\n";
        assert!(
            requests_per_second(errors)
                .unwrap_err()
                .to_string()
                .contains("read 3")
        );
        assert!(requests_per_second("unable to connect").is_err());
    }
}
