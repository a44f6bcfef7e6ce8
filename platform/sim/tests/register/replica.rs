//! A register on three hosts (Attiya, Bar-Noy, Dolev: Sharing memory robustly, 1995): a value is
//! stored by a majority before its writer hears of it, and what a reader saw is stored by a
//! majority before anybody hears of that.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use mirage_device::{Block, BlockError, Sleep, Stack, Udp};

pub const HOSTS: u8 = 3;
const MAJORITY: usize = 2;
const PORT: u16 = 7000;
const SECTOR: usize = 512;
const RECORD: usize = 2 * SECTOR;

/// A version of the value: a later one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Version {
    pub count: u32,
    pub writer: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Stored {
    pub version: Version,
    pub value: u32,
}

/// What this host has stored, in two places in turn: a torn record leaves the other one.
pub struct Store<B> {
    block: B,
    stored: Stored,
    next: u64,
    /// What is acknowledged is on the disk: the mistake that a test plants is to say so early.
    flushes: bool,
}

impl<B: Block> Store<B> {
    pub async fn open(block: B, flushes: bool) -> Result<Self, BlockError> {
        let mut found = [None; 2];
        for (place, found) in found.iter_mut().enumerate() {
            let mut record = [0; RECORD];
            block
                .read((place * RECORD) as u64, &mut [&mut record])
                .await?;
            *found = decode(&record);
        }
        let newest = if found[0] > found[1] { 0 } else { 1 };
        Ok(Self {
            block,
            stored: found[newest].unwrap_or_default(),
            next: 1 - newest as u64,
            flushes,
        })
    }

    async fn store(&mut self, stored: Stored) -> Result<(), BlockError> {
        if stored.version <= self.stored.version {
            return Ok(());
        }
        let record = encode(stored);
        let offset = self.next * RECORD as u64;
        self.block.write(offset, &[&record]).await?;
        if self.flushes {
            self.block.flush().await?;
        }
        (self.stored, self.next) = (stored, 1 - self.next);
        Ok(())
    }
}

/// The value fills both sectors, and so does a sum of all of it.
fn encode(stored: Stored) -> [u8; RECORD] {
    let words = [stored.version.count, stored.version.writer, stored.value];
    let sum = words.iter().fold(1, |sum: u32, word| {
        sum.wrapping_mul(0x0100_0193).wrapping_add(*word)
    });
    let words = [words[0], words[1], words[2], sum].map(u32::to_le_bytes);
    let mut record = [0; RECORD];
    for sector in record.chunks_mut(SECTOR) {
        sector[..16].copy_from_slice(&words.concat());
    }
    record
}

fn decode(record: &[u8; RECORD]) -> Option<Stored> {
    let word = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().unwrap());
    let stored = Stored {
        version: Version {
            count: word(0),
            writer: word(4),
        },
        value: word(8),
    };
    (encode(stored) == *record).then_some(stored)
}

const QUERY: u8 = 0;
const STORE: u8 = 1;
const ANSWER: u8 = 2;

#[derive(Debug, Clone, Copy)]
struct Message {
    kind: u8,
    question: u32,
    stored: Stored,
}

impl Message {
    fn bytes(self) -> [u8; 17] {
        let mut bytes = [self.kind; 17];
        let Stored { version, value } = self.stored;
        let words = [self.question, version.count, version.writer, value];
        bytes[1..].copy_from_slice(&words.map(u32::to_le_bytes).concat());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let word = |n: usize| Some(u32::from_le_bytes(bytes.get(n..n + 4)?.try_into().ok()?));
        Some(Self {
            kind: *bytes.first()?,
            question: word(1)?,
            stored: Stored {
                version: Version {
                    count: word(5)?,
                    writer: word(9)?,
                },
                value: word(13)?,
            },
        })
    }
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], PORT))
}

/// One host: it answers the others, and asks them.
pub struct Host<U, B, S> {
    number: u8,
    udp: U,
    sleep: S,
    store: RefCell<Option<Store<B>>>,
    asked: RefCell<Asked>,
}

/// The question that is under way, and who has answered it.
#[derive(Default)]
struct Asked {
    question: u32,
    answers: Vec<(u8, Stored)>,
}

impl<U: Udp, B: Block, S: Sleep> Host<U, B, S> {
    pub fn new<T: Stack<Udp = U>>(
        number: u8,
        stack: &T,
        sleep: S,
        store: Store<B>,
        first_question: u32,
    ) -> Rc<Self> {
        let udp = stack.bind_udp(address(number)).unwrap();
        Rc::new(Self {
            number,
            udp,
            sleep,
            store: RefCell::new(Some(store)),
            asked: RefCell::new(Asked {
                question: first_question,
                answers: Vec::new(),
            }),
        })
    }

    /// Answers the others for ever.
    pub async fn serve(self: Rc<Self>) {
        let mut buffer = [0; 64];
        loop {
            let Ok((len, sender)) = self.udp.receive(&mut buffer).await else {
                return;
            };
            let Some(message) = Message::read(&buffer[..len.min(64)]) else {
                continue;
            };
            if message.kind == ANSWER {
                let number = match sender.ip() {
                    std::net::IpAddr::V4(ip) => ip.octets()[3],
                    std::net::IpAddr::V6(_) => continue,
                };
                self.answered(message.question, number, message.stored);
            } else if let Some(stored) = self.act(message.kind, message.stored).await {
                let answer = Message {
                    kind: ANSWER,
                    stored,
                    ..message
                };
                let _ = self.udp.send(&answer.bytes(), sender).await;
            }
        }
    }

    /// Stores, and tells what is stored. Nobody else can do so meanwhile, and asks again later.
    async fn act(&self, kind: u8, stored: Stored) -> Option<Stored> {
        let mut store = self.store.borrow_mut().take()?;
        let done = match kind {
            STORE => store.store(stored).await.is_ok(),
            _ => true,
        };
        let now = store.stored;
        *self.store.borrow_mut() = Some(store);
        done.then_some(now)
    }

    fn answered(&self, question: u32, number: u8, stored: Stored) {
        let mut asked = self.asked.borrow_mut();
        let known = asked.answers.iter().any(|(who, _)| *who == number);
        if asked.question == question && !known {
            asked.answers.push((number, stored));
        }
    }

    /// Asks everybody until a majority has answered: the newest of what they have.
    async fn ask(&self, kind: u8, stored: Stored) -> Stored {
        let question = {
            let mut asked = self.asked.borrow_mut();
            asked.question += 1;
            asked.answers.clear();
            asked.question
        };
        let message = Message {
            kind,
            question,
            stored,
        };
        let mut pause = Duration::from_millis(20);
        loop {
            let missing = |host: &u8| {
                let asked = self.asked.borrow();
                !asked.answers.iter().any(|(who, _)| who == host)
            };
            for host in (1..=HOSTS).filter(missing) {
                if host != self.number {
                    let _ = self.udp.send(&message.bytes(), address(host)).await;
                } else if let Some(own) = self.act(kind, stored).await {
                    self.answered(question, host, own);
                }
            }
            self.sleep.sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
            let asked = self.asked.borrow();
            if asked.answers.len() >= MAJORITY {
                let newest = asked.answers.iter().map(|(_, stored)| *stored).max();
                return newest.unwrap_or_default();
            }
        }
    }

    /// Waits until the value is stored for good: its version.
    pub async fn write(&self, value: u32) -> Version {
        let newest = self.ask(QUERY, Stored::default()).await;
        let version = Version {
            count: newest.version.count + 1,
            writer: value,
        };
        self.ask(STORE, Stored { version, value }).await;
        version
    }

    /// Waits for the present value.
    pub async fn read(&self) -> Stored {
        let newest = self.ask(QUERY, Stored::default()).await;
        self.ask(STORE, newest).await;
        newest
    }
}
