//! The server of an irmin store: Git's smart HTTP, a JSON interface, and watches as server-sent
//! events.
//!
//! ```no_run
//! use std::sync::Arc;
//! use irmin_serve::{Options, Server};
//!
//! let store = Arc::new(irmin::Memory::new(irmin::Format::GitSha1));
//! let server = Server::bind(store, Options::default())?;
//! println!("git clone {}/store.git", server.url());
//! let stop = server.stop();
//! std::thread::spawn(move || {
//!     std::io::stdin().read_line(&mut String::new()).ok();
//!     stop.stop();
//! });
//! server.run()?;
//! # Ok::<(), irmin_serve::ServeError>(())
//! ```
//!
//! It speaks HTTP/1.1, with TLS where it is given a certificate, listens on a loopback address
//! unless it is told otherwise, and needs no asynchronous code from who starts it. Calls into the
//! store run in threads of their own; a waiting event stream takes none.
//!
//! # Git
//!
//! A store in one of Git's formats is cloned from, fetched from and pushed to at `/NAME.git`, by
//! any Git (protocol versions 0, 1 and 2, shallow clones too). `git` sends a token as password, or
//! as `-c http.extraHeader='Authorization: Bearer TOKEN'`. What it may fetch and push, and how
//! pushes are judged, is told by the engines that answer it, [`irmin_sync::server`]. A store in the
//! native format is synchronised with irmin only.
//!
//! # The JSON interface
//!
//! Below `/api/v1`. `NAME` is a branch's short name (`main`, `ada/notes`), `PATH` a path with `%`
//! escapes for all bytes that a URL does not hold, `REV` any name of a commit that
//! `irmin::Repo::resolve` understands (`main`, `v1~3`, an id); where `at` is left out the default
//! branch is meant. `?` marks what may be left out.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | what is served: `name`, `format`, `default_branch`, `git`, `endpoints` |
//! | `GET /branches` `prefix`? `limit`? | lines of `branch`, `commit` |
//! | `GET /branches/NAME` | `branch`, `commit` |
//! | `PUT /branches/NAME` `{commit: REV, expect: ID or null}` | moves or (null) makes a branch; 201 if made |
//! | `DELETE /branches/NAME` `expect` | deletes it, if it is there |
//! | `GET /contents/PATH` `at`? | the bytes of a file; `ETag` is its id, `X-Irmin-Kind` what it is; `If-None-Match` gives 304 |
//! | `GET /list/PATH` `at`? `from`? `limit`? | lines of `name`, `kind`, `id`, in the store's order, from a name on |
//! | `GET /tree/PATH` `at`? `limit`? | lines of `path`, `kind`, `id`: all files below |
//! | `POST /commits` `{branch, expect?, message, author, edits}` | one commit of all the edits: `branch`, `commit`, `tree`, `before`; 201, or 200 where nothing changed |
//! | `GET /commits/REV` | `commit`, `tree`, `parents`, `author`, `committer`, `message` |
//! | `GET /log` `at`? `path`? `limit`? | lines of commits, newest first; with a path those that changed it |
//! | `GET /lcas` `a` `b` | `lcas`: the best common ancestors |
//! | `GET /diff` `old` `new` `path`? `limit`? | lines of `path`, `old`, `new` |
//! | `GET /merge` `ours` `theirs` | tries a merge and moves nothing: `tree` (or null), `conflicts` |
//! | `POST /merge` `{branch, theirs, message, author, resolve?}` | merges into a branch, as `POST /commits` answers; 409 with `conflicts` |
//! | `GET /watch` `branch`? `prefix`? | an event stream, see below |
//!
//! * **Edits** happen in order: `{op: "set", path, text, kind?}` with kind `file`, `executable` or
//!   `link` (what is there keeps its kind), `{op: "remove", path}`, `{op: "rename", path, to}`.
//!   With `expect`, an id or null, they happen only if the branch is there; without it on whatever
//!   head there is.
//! * **`author`** is `{name, email, time?, offset?}`: seconds since 1970 and minutes east of
//!   Greenwich; without a time it is now. The committer is the same person, now.
//! * **`resolve`** is a list of `{path, text}` for paths in conflict; without a text the path is
//!   removed.
//! * **Conflicts** have `path`, `why` (`contents`, `mode`, `file-and-directory`, `renamed`), `detail`, and
//!   `base`, `ours`, `theirs`: null, or `kind` and `id`. Files are merged line by line, and
//!   renames followed, as Git does.
//! * **Bytes that are no UTF-8** stand in hexadecimal digits under the same key with `_hex` behind
//!   it (`path_hex`, `text_hex`, `name_hex`, `message_hex`), in requests and in answers. Small
//!   contents of a store in the native format have no id of their own: `id` is null and `text` has
//!   them.
//! * **Lines** (`application/x-ndjson`) are sent as they are found. If a problem comes up the last
//!   line is an error, and the answer breaks off without its end, so that no part is taken for the
//!   whole.
//! * What an answer acknowledges survives a loss of power.
//!
//! **Errors** are `{error, hint}`: what happened, and what to do. 400: the request is wrong. 401,
//! 403: the token is missing, unknown, or not for this; or a web page may not ask. 404: it is not
//! here, or not for this token. 405. 408: the body came too slowly. 409: a branch is elsewhere
//! (`found` tells where), a name is taken, or there are conflicts. 413, 431: too large. 421: see
//! below. 422: it contradicts what is in the store. 503 with `Retry-After`: too much is under way,
//! or a lock is held. 507: the store is full. 500.
//!
//! # Watches
//!
//! `GET /watch` is a stream of [server-sent
//! events](https://html.spec.whatwg.org/multipage/server-sent-events.html). The first is
//! `snapshot`, with `branch`, `commit` and the `entry` at the prefix; each further one `change`,
//! with `branch`, `before`, `after` and `changes` (as lines of `diff`; of more than 1000 the first,
//! and `more` is true). `id` is where to resume: a client that comes again with `Last-Event-ID` is
//! told what it missed as one change. If that state is gone it begins with a snapshot. Changes
//! elsewhere than at or below the prefix are not told. A comment every 15 seconds says that the
//! stream is alive.
//!
//! Nothing is queued: who reads slowly skips states, and always sees the last. A browser's
//! `EventSource` sends no token; `fetch` does.
//!
//! # Who may do what
//!
//! With [`Tokens`] every request needs one. A token reads and writes the names of its patterns;
//! what it may write it may read. Names that it may not read are nowhere listed, and commits are
//! found by id only while one of its names has them in its history; whatever else is asked for is
//! answered as if it were not here. What this does not promise: an id is a hash of contents, and
//! who knows the id of an object that is hidden from them can push a commit that refers to it, and
//! read it from there (so it is with Git).
//!
//! Web pages of other origins are refused unless [`Options::origins`] lists them, and a server on a
//! loopback address answers only to `localhost`, loopback addresses and [`Options::hosts`] (421
//! otherwise), so that no page reaches it by a name of its own. [`Limits`] bound what a client can
//! cost.

#![forbid(unsafe_code)]

mod answer;
mod api;
mod body;
mod feed;
mod git;
mod intake;
mod options;
mod origin;
mod paced;
mod server;
mod shared;
mod tls;
mod tokens;

use std::sync::Arc;

pub use options::{Hidden, Limits, Options, Receiver};
pub use server::{ServeError, Server, Stop};
pub use tls::{Tls, TlsError};
pub use tokens::{Names, TokenError, Tokens};

/// What is served.
pub type Store = Arc<dyn irmin_packfile::PackStore>;
