//! Where a store is, as Git writes it (git-fetch(1), "Git URLs").

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::SyncError;
use crate::text::{self, quote, without_secrets};

/// Where a store is.
#[derive(Clone, PartialEq, Eq)]
pub enum Url {
    /// `https://` or `http://`.
    Http {
        /// All of it but user and password, without a slash at the end.
        base: String,
        /// `user@` or `user:password@`.
        user: Option<(String, Option<String>)>,
    },
    /// `ssh://[user@]host[:port]/path` or `[user@]host:path`; with `irmin+ssh://` the programs there
    /// are irmin's.
    Ssh {
        /// The host, with `user@` before it if there is one.
        host: String,
        /// The port, if it is not the usual one.
        port: Option<u16>,
        /// The path there, as it is given to the command there.
        path: String,
        /// Whether `irmin upload-pack` and `irmin receive-pack` are called there, and not Git's.
        by_irmin: bool,
    },
    /// `git://host[:port]/path`.
    Git {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The path, which begins with a slash.
        path: String,
    },
    /// A folder of this machine.
    Path(PathBuf),
    /// `file://` and the path of a folder of this machine.
    File(PathBuf),
}

impl FromStr for Url {
    type Err = SyncError;

    fn from_str(text: &str) -> Result<Url, SyncError> {
        let wrong = |why: &str| {
            let shown = quote(without_secrets(text).as_bytes());
            Err(SyncError::Invalid(format!(
                "{shown:?} is no URL of a store: {why}"
            )))
        };
        if text.is_empty() || text.chars().any(char::is_control) {
            return wrong("it is empty or holds control characters");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(short_ssh(text).unwrap_or_else(|| Url::Path(text.into())));
        };
        if scheme == "file" {
            return match unescaped(rest) {
                Some(path) if path.starts_with('/') => Ok(Url::File(path.into())),
                _ => wrong("after file:// comes a path from the root"),
            };
        }
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let (user, host_port) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let Some((host, port)) = host_and_port(host_port) else {
            return wrong("it has no host, or a port that is no number");
        };
        if host.starts_with('-') || user.is_some_and(|user| user.starts_with('-')) {
            return wrong("a host or user begins with -");
        }
        match scheme {
            "https" | "http" => {
                let user = match user.map(user_and_password) {
                    Some(None) => {
                        return wrong("user or password have a % that stands for nothing");
                    }
                    user => user.flatten(),
                };
                Ok(Url::Http {
                    base: format!("{scheme}://{host_port}{}", path.trim_end_matches('/')),
                    user,
                })
            }
            "ssh" | "git+ssh" | "ssh+git" | "irmin+ssh" => {
                let Some(path) = unescaped(path).filter(|path| path.len() > 1) else {
                    return wrong("it has no path");
                };
                let path = if path.starts_with("/~") {
                    path[1..].into()
                } else {
                    path
                };
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let host = match user {
                    // A password is nothing that ssh takes.
                    Some(user) => format!("{}@{host}", user.split(':').next().unwrap_or(user)),
                    None => host.into(),
                };
                Ok(Url::Ssh {
                    host,
                    port,
                    path,
                    by_irmin: scheme == "irmin+ssh",
                })
            }
            "git" => match unescaped(path).filter(|path| path.len() > 1) {
                Some(path) => Ok(Url::Git {
                    host: host.into(),
                    port: port.unwrap_or(super::tcp::PORT),
                    path,
                }),
                None => wrong("it has no path"),
            },
            _ => wrong("it begins with none of https, http, ssh, irmin+ssh, git and file"),
        }
    }
}

/// `host:path`, unless a slash comes before the colon: then it is a path.
fn short_ssh(text: &str) -> Option<Url> {
    // An IPv6 address stands in brackets.
    let from = if text.starts_with('[') || text.contains("@[") {
        text.find(']')?
    } else {
        0
    };
    let colon = from + text[from..].find(':')?;
    let (host, path) = (&text[..colon], &text[colon + 1..]);
    if host.contains('/') || host.is_empty() {
        return None;
    }
    Some(Url::Ssh {
        host: host.replace(['[', ']'], ""),
        port: None,
        path: path
            .strip_prefix("/~")
            .map_or(path.into(), |rest| format!("~{rest}")),
        by_irmin: false,
    })
}

fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let end = if text.starts_with('[') {
        text.find(']')? + 1
    } else {
        0
    };
    let (host, port) = match text[end..].split_once(':') {
        Some((_, "")) => (&text[..text.len() - 1], None),
        Some((before, port)) => (&text[..end + before.len()], Some(port.parse().ok()?)),
        None => (text, None),
    };
    (!host.is_empty()).then_some((host, port))
}

fn user_and_password(text: &str) -> Option<(String, Option<String>)> {
    Some(match text.split_once(':') {
        Some((user, password)) => (unescaped(user)?, Some(unescaped(password)?)),
        None => (unescaped(text)?, None),
    })
}

/// What the text stands for, if that is text without NUL.
fn unescaped(text: &str) -> Option<String> {
    String::from_utf8(text::unescaped(text)?)
        .ok()
        .filter(|text| !text.contains('\0'))
}

impl fmt::Display for Url {
    /// Without password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Url::Http { base, .. } => f.write_str(base),
            Url::Ssh {
                host,
                port: None,
                path,
                by_irmin: false,
            } => write!(f, "{host}:{path}"),
            Url::Ssh {
                host,
                port,
                path,
                by_irmin,
            } => {
                let scheme = if *by_irmin { "irmin+ssh" } else { "ssh" };
                write!(f, "{scheme}://{host}")?;
                if let Some(port) = port {
                    write!(f, ":{port}")?;
                }
                write!(f, "/{}", path.trim_start_matches('/'))
            }
            Url::Git { host, port, path } => write!(f, "git://{host}:{port}{path}"),
            Url::Path(path) => write!(f, "{}", path.display()),
            Url::File(path) => write!(f, "file://{}", path.display()),
        }
    }
}

impl fmt::Debug for Url {
    /// Without password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_git_reads_them() {
        let ssh = |host: &str, port, path: &str| Url::Ssh {
            host: host.into(),
            port,
            path: path.into(),
            by_irmin: false,
        };
        let http = |base: &str, user: Option<(&str, Option<&str>)>| Url::Http {
            base: base.into(),
            user: user.map(|(user, password)| (user.into(), password.map(Into::into))),
        };
        for (text, url) in [
            ("https://host/a/b.git/", http("https://host/a/b.git", None)),
            (
                "http://u:p%40@host:81/a",
                http("http://host:81/a", Some(("u", Some("p@")))),
            ),
            ("https://u@host", http("https://host", Some(("u", None)))),
            ("https://[::1]:8/x", http("https://[::1]:8/x", None)),
            ("git@host:a/b", ssh("git@host", None, "a/b")),
            ("host:/a", ssh("host", None, "/a")),
            ("u@[::1]:a", ssh("u@::1", None, "a")),
            ("ssh://u@host:22/a%20b", ssh("u@host", Some(22), "/a b")),
            ("ssh://host/~u/a", ssh("host", None, "~u/a")),
            (
                "git://host/a",
                Url::Git {
                    host: "host".into(),
                    port: 9418,
                    path: "/a".into(),
                },
            ),
            ("/a/b:c", Url::Path("/a/b:c".into())),
            ("./a:b", Url::Path("./a:b".into())),
            ("../x", Url::Path("../x".into())),
            ("file:///a/b", Url::File("/a/b".into())),
        ] {
            assert_eq!(text.parse::<Url>().unwrap(), url, "{text}");
        }
        for bad in [
            "",
            "ftp://h/x",
            "https://",
            "https:///x",
            "ssh://host",
            "git://host",
            "ssh://-o/x",
            "https://host:x/a",
            "file://x",
            "https://a%zz@h/x",
            "ssh://h/a\nb",
            "ext::sh -c x://y",
            "irmin+ssh://-o/x",
            "irmin+ssh://-o@h/x",
            "irmin+ssh://h",
            "irmin+https://h/x",
        ] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
        let by_irmin = "irmin+ssh://ada@h:2222/~/notes".parse::<Url>().unwrap();
        assert_eq!(
            by_irmin,
            Url::Ssh {
                host: "ada@h".into(),
                port: Some(2222),
                path: "~/notes".into(),
                by_irmin: true,
            }
        );
        assert_eq!(by_irmin.to_string(), "irmin+ssh://ada@h:2222/~/notes");
        let secret = "ftp://u:secret@h/x".parse::<Url>().unwrap_err().to_string();
        assert!(!secret.contains("secret"), "{secret}");
        let shown = format!("{:?}", "https://u:secret@h/x".parse::<Url>().unwrap());
        assert_eq!(shown, "Url(https://h/x)");
    }
}
