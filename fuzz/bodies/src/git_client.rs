use std::io::{Cursor, Read};

use irmin::{Backend, Format, Memory};
use irmin_sync::advertisement::Advertisement;
use irmin_sync::pktline::{Packet, Reader, Writer};
use irmin_sync::server::Service;
use irmin_sync::transport::{Connection, Transport, WriteRequest};
use irmin_sync::{FetchOptions, Refspec, Remote, SyncError, walk};

/// A server's side of a conversation: the first byte chooses what it answers to, and the rest is what
/// it says. Packets are written back as they were read, a greeting that is understood is read again
/// when it is written afresh, and whatever a fetch makes of it, no name leads to what is not all here.
pub fn git_client(input: &[u8]) {
    let Some((&choice, said)) = input.split_first() else {
        return;
    };
    packets(said);
    greeting(said);
    // The greeting ends with the first flush packet, each answer with the next.
    let mut parts = Vec::new();
    let mut rest = said;
    while let Some(at) = rest.windows(4).position(|four| four == b"0000") {
        parts.push(rest[..at + 4].to_vec());
        rest = &rest[at + 4..];
        if parts.len() == 2 {
            break;
        }
    }
    parts.push(rest.to_vec());
    let greeting = parts.remove(0);
    let format = match choice & 3 {
        0 => Format::GitSha256,
        _ => Format::GitSha1,
    };
    let store = Memory::new(format);
    let server = Server {
        greeting,
        answers: parts,
        stateless: choice & 4 == 0,
    };
    let options = FetchOptions::new(vec![Refspec::tracking("origin").expect("a good name")]);
    let mut remote = Remote::over(server);
    let fetched = remote.fetch(&store, options);
    let tips = walk::tips(&store).expect("memory does not fail");
    walk::connected(&store, &tips, &[], &mut walk::Options::default()).expect("all is here");
    match fetched {
        Err(error) => {
            assert!(tips.is_empty(), "names moved though it failed");
            assert!(
                !error
                    .to_string()
                    .chars()
                    .any(|c| c.is_control() && c != '\n')
            );
        }
        Ok(_) => {
            for (name, _) in store.heads("refs/").expect("memory does not fail") {
                let name = name.as_str();
                assert!(name.starts_with("refs/remotes/origin/") || name.starts_with("refs/tags/"));
            }
        }
    }
}

/// What is read, written again, is what was there.
fn packets(said: &[u8]) {
    let mut reader = Reader::new(said);
    let mut writer = Writer::new(Vec::new());
    loop {
        let written = match reader.read() {
            Ok(Packet::Data(data)) => writer.data(data),
            Ok(Packet::Flush) => writer.flush_packet(),
            Ok(Packet::Delimiter) => writer.delimiter(),
            Ok(Packet::ResponseEnd) => writer.response_end(),
            Err(_) => break,
        };
        written.expect("memory takes everything");
    }
    let again = writer.into_inner();
    assert!(
        again.eq_ignore_ascii_case(&said[..again.len()]),
        "packets changed"
    );
}

fn greeting(said: &[u8]) {
    let Ok(greeting) = Advertisement::read(&mut Reader::new(said)) else {
        return;
    };
    let Ok(format) = greeting.format() else {
        return;
    };
    let version = match &greeting {
        Advertisement::Commands { .. } => 2,
        Advertisement::Names { .. } => 1,
    };
    let mut writer = Writer::new(Vec::new());
    if greeting.write(&mut writer, version, format).is_ok() {
        let bytes = writer.into_inner();
        let again = Advertisement::read(&mut Reader::new(&bytes[..])).expect("it was understood");
        assert_eq!(again, greeting);
    }
}

/// A server that says what is written down, whatever it is told.
struct Server {
    greeting: Vec<u8>,
    answers: Vec<Vec<u8>>,
    stateless: bool,
}

struct Conversation<'a> {
    server: &'a Server,
    next: usize,
}

impl Transport for Server {
    fn url(&self) -> String {
        "script".into()
    }

    fn connect(&mut self, _: Service, _: u8) -> Result<Box<dyn Connection + '_>, SyncError> {
        Ok(Box::new(Conversation {
            server: self,
            next: 0,
        }))
    }
}

impl Connection for Conversation<'_> {
    fn is_stateless(&self) -> bool {
        self.server.stateless
    }

    fn greeting(&mut self) -> Result<Box<dyn Read + '_>, SyncError> {
        Ok(Box::new(&self.server.greeting[..]))
    }

    fn request(&mut self, write: &mut WriteRequest<'_>) -> Result<Box<dyn Read + '_>, SyncError> {
        write(&mut std::io::sink())?;
        self.next += 1;
        let answer = self.server.answers.get(self.next - 1);
        Ok(Box::new(Cursor::new(
            answer.map_or(&b""[..], Vec::as_slice),
        )))
    }
}
