//! Where and to whom the usage API answers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::secret::Secret;
use crate::settings::{parsed, secret, settings, text, whole};

/// Everybody knows it.
const DEFAULT_PASSWORD: &str = "password";

settings! {
    /// Where and to whom the usage API answers.
    #[derive(Eq)]
    pub struct ApiConfig in "api" {
        /// where the usage API listens
        pub bind: Option<IpAddr> = parsed("API_BIND", "an address", |text| text.parse().ok())
            .value("ADDRESS").optional()
            .unset("127.0.0.1 while the password is the default, otherwise 0.0.0.0"),
        /// port of the usage API; 0 for one that is free
        pub port: u16 = whole("API_PORT", 0..=65_535).value("PORT").default("18089"),
        /// user of the usage API
        pub user: String = text("API_USER", "a user name without a colon", is_user)
            .value("NAME").default("cdr_data"),
        /// password of the usage API
        pub password: Secret = secret("API_PASSWORD").default(DEFAULT_PASSWORD),
    }
}

impl ApiConfig {
    /// Whoever has not chosen a password answers only those on the same machine, unless the setting names where
    /// to listen.
    pub fn address(&self) -> SocketAddr {
        let chosen = self.bind.unwrap_or(match self.has_default_password() {
            true => IpAddr::V4(Ipv4Addr::LOCALHOST),
            false => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        });
        SocketAddr::new(chosen, self.port)
    }

    /// Whether the password is the one that everybody knows.
    pub fn has_default_password(&self) -> bool {
        self.password.expose() == DEFAULT_PASSWORD
    }
}

/// A user name for HTTP basic authentication, in which a colon ends it.
fn is_user(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c == ':' || c.is_control())
}
