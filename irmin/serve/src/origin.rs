//! Which web pages may use this server.
//!
//! A browser sends a page's requests to any address, loopback too. It says from which page they
//! come (`Origin`, `Sec-Fetch-Site`), and a page whose own name was made to lead here (DNS
//! rebinding) is known by that name (`Host`).

use std::net::IpAddr;

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HOST, HeaderMap, HeaderValue, ORIGIN,
    VARY,
};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use crate::Options;
use crate::answer::Problem;
use crate::body::Body;

/// The origin that the answer allows, if a page of another one asks.
pub(crate) fn check(
    options: &Options,
    is_loopback: bool,
    parts: &Parts,
) -> Result<Option<HeaderValue>, Problem> {
    let headers = &parts.headers;
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = parts
        .uri
        .authority()
        .map(|authority| authority.as_str())
        .or(host)
        .unwrap_or_default();
    if is_loopback && !is_own(options, host) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!("this server is not called {host:?}"),
            "address it as localhost or 127.0.0.1, or start it with this name among its hosts",
        ));
    }
    if let Some(origin) = headers.get(ORIGIN) {
        let text = origin.to_str().unwrap_or_default();
        if options.origins.iter().any(|known| known == text) {
            return Ok(Some(origin.clone()));
        }
        let scheme = if options.tls.is_some() {
            "https://"
        } else {
            "http://"
        };
        // A proxy may speak TLS for a server that does not.
        let own = text
            .strip_prefix(scheme)
            .or_else(|| text.strip_prefix("https://"));
        if own.is_none_or(|own| host.is_empty() || !own.eq_ignore_ascii_case(host)) {
            return Err(refused(text));
        }
        return Ok(None);
    }
    let header = |name| headers.get(name).map(HeaderValue::as_bytes);
    let is_foreign = matches!(header("sec-fetch-site"), Some(b"cross-site" | b"same-site"));
    // To follow a link shows a page's reader what is here, and the page nothing.
    let is_followed = header("sec-fetch-mode") == Some(b"navigate") && parts.method.is_safe();
    match is_foreign && !is_followed {
        true => Err(refused("another site")),
        false => Ok(None),
    }
}

fn refused(origin: &str) -> Problem {
    Problem::forbidden(
        format!("pages of {origin} may not use this server"),
        "start it with this origin among those that are allowed",
    )
}

/// Whether a server on a loopback address may be addressed so.
fn is_own(options: &Options, host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
        || options
            .hosts
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
}

/// The answer to a browser that asks before it sends a request (a preflight).
pub(crate) fn preflight(allowed: Option<HeaderValue>) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    if allowed.is_some() {
        let text = HeaderValue::from_static;
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            text("GET, HEAD, POST, PUT, DELETE"),
        );
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            text("authorization, content-type, if-none-match, last-event-id, git-protocol, content-encoding"),
        );
        headers.insert(ACCESS_CONTROL_MAX_AGE, text("600"));
    }
    allow(headers, allowed);
    answer
}

/// Lets the page of this origin read an answer.
pub(crate) fn allow(headers: &mut HeaderMap, allowed: Option<HeaderValue>) {
    if let Some(origin) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("etag, x-irmin-kind"),
        );
        headers.insert(VARY, HeaderValue::from_static("origin"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(options: &Options, headers: &[(&str, &str)]) -> u16 {
        let mut request = hyper::Request::get("/api/v1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        check(options, true, &parts).map_or_else(|problem| problem.status.as_u16(), |_| 200)
    }

    #[test]
    fn a_page_of_another_site_reaches_a_loopback_server_in_no_way() {
        let options = Options {
            origins: vec!["https://app.example.org".into()],
            ..Options::default()
        };
        let host = ("host", "127.0.0.1:8080");
        for (headers, expected) in [
            (&[host][..], 200),
            (&[("host", "localhost")], 200),
            (&[("host", "[::1]:8080")], 200),
            (&[], 421),
            (&[("host", "evil.example.org:8080")], 421),
            (&[("host", "127.0.0.1.evil.example.org")], 421),
            (&[host, ("origin", "https://app.example.org")], 200),
            (&[host, ("origin", "http://127.0.0.1:8080")], 200),
            (&[host, ("origin", "http://127.0.0.1:8081")], 403),
            (&[host, ("origin", "https://evil.example.org")], 403),
            (&[host, ("origin", "null")], 403),
            (&[host, ("sec-fetch-site", "cross-site")], 403),
            (
                &[
                    host,
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                ],
                200,
            ),
            (&[host, ("sec-fetch-site", "same-origin")], 200),
        ] {
            assert_eq!(status(&options, headers), expected, "{headers:?}");
        }
        let named = Options {
            hosts: vec!["store.example.org".into()],
            ..Options::default()
        };
        assert_eq!(status(&named, &[("host", "Store.example.org")]), 200);
    }
}
