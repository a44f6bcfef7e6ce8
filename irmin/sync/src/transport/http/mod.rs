//! Git's smart HTTP (gitprotocol-http(5)): one request for what the server says first, and one for each
//! thing that is asked.

mod body;

use std::io::{Read, Write};
use std::sync::Arc;

use ureq::http::{HeaderValue, Response, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, ResponseExt};

use self::body::Request;
use super::settings::AskCredentials;
use super::{Connection, Credentials, Service, Settings, Transport, WriteRequest};
use crate::error::SyncError;
use crate::text::quote;

/// A server that speaks HTTP or HTTPS.
pub struct Http {
    agent: Agent,
    base: String,
    user: Option<String>,
    credentials: Option<Credentials>,
    ask: Option<AskCredentials>,
}

impl Http {
    /// The repository at this URL, which names neither user nor password.
    ///
    /// # Errors
    /// [`SyncError::Invalid`] if the file of certificates cannot be read.
    pub fn new(
        base: String,
        user: Option<(String, Option<String>)>,
        settings: &Settings,
    ) -> Result<Http, SyncError> {
        let roots = match &settings.certificates {
            None => RootCerts::PlatformVerifier,
            Some(path) => {
                let invalid = |why: String| {
                    SyncError::Invalid(format!("the certificates in {}: {why}", path.display()))
                };
                let pem = std::fs::read(path).map_err(|error| invalid(error.to_string()))?;
                let items = parse_pem(&pem).filter_map(|item| match item {
                    Ok(PemItem::Certificate(one)) => Some(Ok(one)),
                    Ok(_) => None,
                    Err(error) => Some(Err(invalid(error.to_string()))),
                });
                let all: Vec<Certificate<'static>> = items.collect::<Result<_, _>>()?;
                if all.is_empty() {
                    return Err(invalid("there is none".into()));
                }
                RootCerts::Specific(Arc::new(all))
            }
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(10)
            .user_agent(crate::capabilities::agent())
            .timeout_connect(Some(settings.connect))
            .timeout_per_read(Some(settings.idle))
            .timeout_per_write(Some(settings.idle))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        let (user, password) = user.map_or((None, None), |(user, password)| (Some(user), password));
        let in_url = match (&user, password) {
            (Some(user), Some(password)) => Some(Credentials::Basic {
                user: user.clone(),
                password,
            }),
            _ => None,
        };
        Ok(Http {
            agent: config.into(),
            base,
            user,
            credentials: in_url.or_else(|| settings.credentials.clone()),
            ask: settings.ask.clone(),
        })
    }

    fn authorization(&self) -> Option<HeaderValue> {
        let text = match self.credentials.as_ref()? {
            Credentials::Basic { user, password } => {
                format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
            }
            Credentials::Bearer(token) => format!("Bearer {token}"),
        };
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn unauthorized(&self) -> SyncError {
        SyncError::Unauthorized {
            url: self.base.clone(),
            given: self.credentials.is_some(),
        }
    }

    /// Asks for credentials, once.
    fn ask(&mut self) -> Result<(), SyncError> {
        let asked = self
            .ask
            .as_ref()
            .filter(|_| self.credentials.is_none())
            .and_then(|ask| ask(&self.base, self.user.as_deref()));
        if asked.is_none() {
            return Err(self.unauthorized());
        }
        self.credentials = asked;
        Ok(())
    }

    /// What the server says first.
    fn first(&mut self, service: Service, version: u8) -> Result<Response<Body>, SyncError> {
        let tail = format!("/info/refs?service={}", service.name());
        let asked = format!("{}{tail}", self.base);
        let mut request = self.agent.get(&asked).header("Pragma", "no-cache");
        if version > 0 {
            request = request.header("Git-Protocol", format!("version={version}"));
        }
        if let Some(value) = self.authorization() {
            request = request.header("Authorization", value);
        }
        let answer = request.call().map_err(|error| self.failed(&error))?;
        let to = answer.get_uri().to_string();
        if to != asked {
            self.follow(&to, &tail)?;
        }
        Ok(answer)
    }

    /// The server sent us elsewhere: all later requests go there.
    fn follow(&mut self, to: &str, tail: &str) -> Result<(), SyncError> {
        let shown = quote(to.as_bytes());
        let Some(base) = to.strip_suffix(tail) else {
            return Err(SyncError::Connect(format!(
                "{} sends us to {shown}, which is no repository",
                self.base
            )));
        };
        if self.base.starts_with("https://") && !base.starts_with("https://") {
            return Err(SyncError::Connect(format!(
                "{} sends us to {shown}, which is not encrypted; give that URL if it is meant",
                self.base
            )));
        }
        if host(base) != host(&self.base) {
            // They were for the other host.
            self.credentials = None;
        }
        self.base = base.into();
        Ok(())
    }

    fn failed(&self, error: &ureq::Error) -> SyncError {
        SyncError::Connect(format!("{}: {error}", self.base))
    }

    /// Checks that an answer is what was asked for.
    fn check(&self, answer: &Response<Body>, expected: &str) -> Result<(), SyncError> {
        let connect = |what: String| Err(SyncError::Connect(format!("{}: {what}", self.base)));
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err(self.unauthorized()),
            StatusCode::FORBIDDEN => return connect("the server forbids it (403)".into()),
            StatusCode::NOT_FOUND => return connect("there is no repository (404)".into()),
            status => return connect(format!("the server answers {status}")),
        }
        let found = answer.headers().get("Content-Type");
        let found = found.map_or(&b""[..], HeaderValue::as_bytes);
        if found != expected.as_bytes() {
            return connect(format!(
                "it is no server of Git's smart protocol: it answers with {:?} instead of {expected}",
                quote(found)
            ));
        }
        Ok(())
    }
}

fn host(url: &str) -> &str {
    let from = url.find("://").map_or(0, |at| at + 3);
    let rest = &url[from..];
    &url[..from + rest.find('/').unwrap_or(rest.len())]
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let mut bits = 0u32;
        for at in 0..3 {
            bits = bits << 8 | u32::from(three.get(at).copied().unwrap_or(0));
        }
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= three.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

impl Transport for Http {
    fn url(&self) -> String {
        self.base.clone()
    }

    fn connect(
        &mut self,
        service: Service,
        version: u8,
    ) -> Result<Box<dyn Connection + '_>, SyncError> {
        let mut answer = self.first(service, version)?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.ask()?;
            answer = self.first(service, version)?;
        }
        self.check(
            &answer,
            &format!("application/x-{}-advertisement", service.name()),
        )?;
        Ok(Box::new(Requests {
            http: self,
            service,
            version,
            greeting: Some(answer),
        }))
    }
}

/// A conversation of requests.
struct Requests<'a> {
    http: &'a mut Http,
    service: Service,
    version: u8,
    greeting: Option<Response<Body>>,
}

impl Requests<'_> {
    fn post(&self) -> ureq::RequestBuilder<ureq::typestate::WithBody> {
        let name = self.service.name();
        let mut request = self
            .http
            .agent
            .post(format!("{}/{name}", self.http.base))
            .config()
            .max_redirects(0)
            .build()
            .header("Content-Type", format!("application/x-{name}-request"))
            .header("Accept", format!("application/x-{name}-result"));
        if self.version > 0 {
            request = request.header("Git-Protocol", format!("version={}", self.version));
        }
        if let Some(value) = self.http.authorization() {
            request = request.header("Authorization", value);
        }
        request
    }
}

impl Connection for Requests<'_> {
    fn is_stateless(&self) -> bool {
        true
    }

    fn greeting(&mut self) -> Result<Box<dyn Read + '_>, SyncError> {
        match self.greeting.take() {
            Some(answer) => Ok(Box::new(answer.into_body().into_reader())),
            None => Ok(Box::new(std::io::empty())),
        }
    }

    fn request(&mut self, write: &mut WriteRequest<'_>) -> Result<Box<dyn Read + '_>, SyncError> {
        let mut request = Request::new(|| self.post());
        let written = write(&mut request).and_then(|()| Ok(request.flush()?));
        let (answer, whole) = request.finish(written)?;
        let mut answer = answer.map_err(|error| self.http.failed(&error))?;
        if answer.status() == StatusCode::UNAUTHORIZED
            && let Some(body) = whole
        {
            self.http.ask()?;
            let again = body::send(self.post(), &body);
            answer = again.map_err(|error| self.http.failed(&error))?;
        }
        let expected = format!("application/x-{}-result", self.service.name());
        self.http.check(&answer, &expected)?;
        Ok(Box::new(answer.into_body().into_reader()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_passwords_are_encoded_as_rfc_4648_has_it() {
        let all =
            ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(all.join(" "), " Zg== Zm8= Zm9v Zm9vYg== Zm9vYmE= Zm9vYmFy");
        assert_eq!(host("https://a:1/b/c"), "https://a:1");
    }
}
