//! Names, by the C library's resolver: it waits, so it does so on a thread of its own.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use mirage_device::{AddressFamily, StackError};

use crate::poller::Poller;

type Answer = Result<Vec<IpAddr>, StackError>;

#[derive(Default)]
struct Question {
    answer: Option<Answer>,
    waker: Option<Waker>,
}

pub(crate) async fn resolve(poller: &Poller, name: &str, family: AddressFamily) -> Answer {
    if let Ok(address) = name.parse::<IpAddr>() {
        return select(std::iter::once(address), family);
    }
    if name.is_empty() || name.len() > 254 || name.contains('\0') {
        return Err(StackError::NameNotFound);
    }
    let question = Arc::new(Mutex::new(Question::default()));
    let (asked, name, notifier) = (question.clone(), name.to_owned(), poller.notifier());
    let thread = std::thread::Builder::new()
        .name("resolve".into())
        .spawn(move || {
            let answer = ask(&name, family);
            let mut question = asked.lock().unwrap_or_else(PoisonError::into_inner);
            question.answer = Some(answer);
            if let Some(waker) = question.waker.take() {
                waker.wake();
                notifier.notify();
            }
        });
    thread.map_err(|_| StackError::NoResources)?;
    std::future::poll_fn(|cx| {
        let mut question = question.lock().unwrap_or_else(PoisonError::into_inner);
        match question.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                question.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}

fn ask(name: &str, family: AddressFamily) -> Answer {
    match (name, 0).to_socket_addrs() {
        Ok(addresses) => select(addresses.map(|address| address.ip()), family),
        Err(error) => Err(failure(&error)),
    }
}

/// The standard library passes on the C library's words alone (`EAI_AGAIN`).
fn failure(error: &io::Error) -> StackError {
    if error.to_string().contains("Temporary failure") {
        StackError::NameServer
    } else {
        StackError::NameNotFound
    }
}

fn select(addresses: impl Iterator<Item = IpAddr>, family: AddressFamily) -> Answer {
    let mut found = Vec::new();
    for address in addresses {
        let wanted = match family {
            AddressFamily::Any => true,
            AddressFamily::V4 => address.is_ipv4(),
            AddressFamily::V6 => address.is_ipv6(),
        };
        if wanted && !found.contains(&address) {
            found.push(address);
        }
    }
    if found.is_empty() {
        Err(StackError::NameNotFound)
    } else {
        Ok(found)
    }
}
