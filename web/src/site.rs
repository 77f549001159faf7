//! The same-site check: which site sent a request, and whether the request is intended for this
//! server.
//!
//! The browser of an operator can reach loopback addresses and private networks on behalf of any page.
//! Three headers identify such requests, and none of them suffices alone:
//!
//! * `Host`. Through DNS rebinding, a page of `evil.example` resolves its own name to this machine, so
//!   its requests are same-origin according to `Sec-Fetch-Site`. But `Host` contains the foreign name.
//!   If no token protects the server, `Host` must be `localhost`, an IP address (which cannot be
//!   rebound) or a configured name. (etcd: CVE-2018-1098, CVE-2018-1099.)
//! * `Origin`, sent with every request that may change something: it must be the server itself or a
//!   configured name.
//! * `Sec-Fetch-Site`, which also covers requests without `Origin`.
//!
//! Clients other than browsers send neither `Origin` nor `Sec-Fetch-Site`.
//!
//! An upstream proxy may interpret a request with two `Host` headers differently, so such a request is
//! rejected (RFC 9112 §3.2).

use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header,
    uri::Authority,
};
use std::{collections::BTreeSet, net::IpAddr};

/// Why a request is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SiteError {
    /// The `Host` header is missing, duplicated or malformed.
    #[error("the request must have one Host header that names this server")]
    BadHost,
    /// The host name is not allowed.
    #[error(
        "the Host header is not allowed: use localhost, an IP address, or a name given with \
         --http-allow-host"
    )]
    ForeignHost,
    /// The request comes from a page of another site.
    #[error("requests made by pages of other sites are refused")]
    ForeignOrigin,
}

impl SiteError {
    /// The status of the response. After a 400 the connection is closed, because the following bytes
    /// may be a request that was intended for another server.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadHost => StatusCode::BAD_REQUEST,
            Self::ForeignHost | Self::ForeignOrigin => StatusCode::FORBIDDEN,
        }
    }
}

/// The allowed host names of a server.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    names: BTreeSet<String>,
    /// Whether all names are allowed, because a token is required in any case.
    any_name: bool,
}

impl Policy {
    /// Creates the policy of a server with or without a token. `names` are allowed in addition to
    /// `localhost` and IP addresses. If `names` is not empty, the policy is enforced with a token too.
    pub fn new(names: impl IntoIterator<Item = String>, has_token: bool) -> Self {
        let names: BTreeSet<_> = names.into_iter().map(|name| normalized(&name)).collect();
        Self {
            any_name: has_token && names.is_empty(),
            names,
        }
    }

    /// Checks a request.
    ///
    /// # Errors
    /// See [`SiteError`].
    pub fn check<B>(&self, request: &Request<B>) -> Result<(), SiteError> {
        let headers = request.headers();
        let named = one(headers, header::HOST).map_err(|()| SiteError::BadHost)?;
        let named = named.map(host_of).transpose()?;
        // The authority of an absolute request target replaces Host (RFC 9112 §3.2.2).
        let host = match request.uri().authority() {
            Some(authority) => Some(Host::new(authority)?),
            None => named,
        };
        match &host {
            None if request.version() >= Version::HTTP_11 => return Err(SiteError::BadHost),
            Some(host) if !self.may_be_called(host) => return Err(SiteError::ForeignHost),
            _ => {}
        }
        let origin = one(headers, header::ORIGIN).map_err(|()| SiteError::ForeignOrigin)?;
        if let Some(origin) = origin
            && !self.is_own_origin(origin, host.as_ref())
        {
            return Err(SiteError::ForeignOrigin);
        }
        // A navigation to the page itself is harmless.
        let is_link =
            request.uri().path() == "/" && matches!(*request.method(), Method::GET | Method::HEAD);
        let mut sites = headers.get_all("sec-fetch-site").into_iter();
        if !is_link && !sites.all(|site| site == "same-origin" || site == "none") {
            return Err(SiteError::ForeignOrigin);
        }
        Ok(())
    }

    fn may_be_called(&self, host: &Host) -> bool {
        self.any_name
            || host.name == "localhost"
            || is_address(&host.name)
            || self.names.contains(&host.name)
    }

    fn is_own_origin(&self, origin: &HeaderValue, host: Option<&Host>) -> bool {
        let Some((scheme, authority)) = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"))
        else {
            // For example, `null`.
            return false;
        };
        let port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return false,
        };
        let Ok(origin) = authority
            .parse()
            .map_err(|_| SiteError::BadHost)
            .and_then(|authority| Host::new(&authority))
        else {
            return false;
        };
        let is_same = host.is_some_and(|host| {
            host.name == origin.name && host.port.unwrap_or(port) == origin.port.unwrap_or(port)
        });
        is_same || self.names.contains(&origin.name)
    }
}

/// Parses a name for [`Policy::new`] from a command line: a host name without scheme and port.
///
/// # Errors
/// If the name is invalid.
pub fn parse_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    if is_name {
        Ok(normalized(name))
    } else {
        Err(format!(
            "{text:?} is not a host name: give it without scheme and port, as in raft.example"
        ))
    }
}

/// The host of a request: a name in lower case, or an address without brackets.
#[derive(Debug)]
struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    fn new(authority: &Authority) -> Result<Self, SiteError> {
        let text = authority.as_str();
        let port = authority.port_u16();
        let is_whole = match port {
            None => authority.host().len() == text.len(),
            // A port that is not a number is invalid.
            Some(_) => true,
        };
        if text.contains('@') || authority.host().is_empty() || !is_whole {
            return Err(SiteError::BadHost);
        }
        Ok(Self {
            name: normalized(authority.host()),
            port,
        })
    }
}

fn host_of(value: &HeaderValue) -> Result<Host, SiteError> {
    let text = value.to_str().map_err(|_| SiteError::BadHost)?;
    let authority = text.parse().map_err(|_| SiteError::BadHost)?;
    Host::new(&authority)
}

/// Converts a name to lower case, without the dot of the root.
fn normalized(name: &str) -> String {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.to_ascii_lowercase()
}

fn is_address(name: &str) -> bool {
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    match bare {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => matches!(name.parse(), Ok(IpAddr::V4(_))),
    }
}

/// The only value of a header.
fn one(headers: &HeaderMap, name: HeaderName) -> Result<Option<&HeaderValue>, ()> {
    let mut values = headers.get_all(name).into_iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests;
