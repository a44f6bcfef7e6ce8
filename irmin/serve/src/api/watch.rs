//! Watches as server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::HeaderMap;
use irmin::Id;

use super::call::{Query, unknown};
use crate::answer::{self, Problem};
use crate::body::Body;
use crate::feed;
use crate::shared::{Answered, Shared};
use crate::tokens::Access;

/// `GET watch`
pub(super) async fn watch(
    shared: &Arc<Shared>,
    access: Access,
    query: Query,
    headers: &HeaderMap,
) -> Answered {
    query.only(&["branch", "prefix"])?;
    let prefix = query.path("prefix")?;
    let branch = match query.text("branch")? {
        Some(name) => irmin::RefName::branch(name)?,
        None => {
            shared
                .call(|shared| Ok(shared.repo.backend().default_branch()?))
                .await?
        }
    };
    if !access.may_read(&branch) {
        return Err(unknown(branch.short()));
    }
    let after = headers
        .get("last-event-id")
        .map(|id| position(id.as_bytes()))
        .transpose()?;
    let events = feed::subscribe(shared, access, (branch, prefix), after).await?;
    Ok(answer::with_type(
        StatusCode::OK,
        "text/event-stream",
        Body::Made(events),
    ))
}

/// The commit's id, or `-` where the branch was not there.
fn position(text: &[u8]) -> Result<Option<Id>, Problem> {
    if text == b"-" {
        return Ok(None);
    }
    let id = Id::from_hex(text).map(Some);
    id.map_err(|_| {
        Problem::wrong(
            "the Last-Event-ID is none of this server's",
            "leave it out to begin with a snapshot",
        )
    })
}
