//! How the connection is secured, in libpq's words: `sslmode`, `sslrootcert`, `sslcert` and `sslkey`
//! in the URL. The client that we use knows some of the modes only, and none of the files.
//!
//! Source: <https://www.postgresql.org/docs/current/libpq-ssl.html>.

use std::path::{Path, PathBuf};

use postgres::config::SslMode;
use postgres::error::Error;
use postgres::{Client, Config};

use super::super::{Result, StoreError};

/// The modes that a URL may name. `allow`, without TLS where the server allows that, is not among
/// them: who does not care is served by `prefer`.
const MODES: [(&str, Mode); 5] = [
    ("disable", Mode::Disable),
    ("prefer", Mode::Prefer),
    ("require", Mode::Require),
    ("verify-ca", Mode::VerifyCa),
    ("verify-full", Mode::VerifyFull),
];

/// Instead of a file: the certificates that the system trusts.
const SYSTEM: &str = "system";

/// In the order of the security that they give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Disable,
    /// TLS where the server has it; whoever it is.
    Prefer,
    /// TLS; with whoever it is, unless there is a certificate to trust.
    Require,
    /// With a server that somebody vouches for whom we trust.
    VerifyCa,
    /// With a server that is also the one that the URL names.
    VerifyFull,
}

/// What a URL says of it.
#[derive(Debug)]
pub struct Tls {
    mode: Mode,
    /// Whom to trust; the system's certificates where it is not told, or `system`.
    root: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Tls {
    /// Takes its part out of a URL, and gives the rest.
    ///
    /// # Errors
    /// A mode that there is not. It is not told, since it may be part of a password.
    pub fn take(url: &str) -> Result<(Tls, String)> {
        let mut tls = Tls { mode: Mode::Prefer, root: None, certificate: None, key: None };
        let Some((base, query)) = url.split_once('?') else { return Ok((tls, url.to_owned())) };
        let mut rest = Vec::new();
        for pair in query.split('&') {
            // In a URL of PostgreSQL a plus sign stands for itself.
            let encoded = pair.replace('+', "%2B");
            let (name, value) = form_urlencoded::parse(encoded.as_bytes()).next().unwrap_or_default();
            let path = || Some(PathBuf::from(&*value));
            match &*name {
                "sslmode" => {
                    let known = MODES.iter().find(|(word, _)| *word == value);
                    tls.mode = known.ok_or_else(no_mode)?.1;
                }
                "sslrootcert" => tls.root = path(),
                "sslcert" => tls.certificate = path(),
                "sslkey" => tls.key = path(),
                _ => rest.push(pair),
            }
        }
        // As libpq has it: who tells whom to trust wants it to be looked at, and where that is
        // everybody whom the system trusts, a certificate says nothing without its name.
        tls.mode = match (tls.mode, tls.root.as_deref()) {
            (Mode::Disable, _) => Mode::Disable,
            (_, Some(root)) if root == Path::new(SYSTEM) => Mode::VerifyFull,
            (Mode::Require, Some(_)) => Mode::VerifyCa,
            (mode, _) => mode,
        };
        let rest = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        Ok((tls, rest))
    }

    /// Tells the client what it can know of it.
    pub fn apply(&self, config: &mut Config) {
        config.ssl_mode(match self.mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        });
    }
}

fn no_mode() -> StoreError {
    StoreError::Open {
        store: "at STORE_URL".to_owned(),
        reason: "its sslmode is none that there is".to_owned(),
        remedy: "It is one of disable, prefer, require, verify-ca and verify-full",
        passing: false,
    }
}

/// What makes connections.
pub struct Connector(imp::Connector);

impl Connector {
    /// For a server of this name.
    ///
    /// # Errors
    /// Certificates that cannot be used, or TLS that this program was built without.
    pub fn new(tls: &Tls, store: &str) -> Result<Connector> {
        let refused = |(reason, remedy)| StoreError::Open {
            store: store.to_owned(),
            reason,
            remedy,
            passing: false,
        };
        imp::connector(tls).map(Connector).map_err(refused)
    }

    pub fn connect(&self, config: &Config) -> std::result::Result<Client, Error> {
        config.connect(self.0.clone())
    }
}

#[cfg(feature = "tls")]
mod imp {
    use std::path::Path;

    use openssl::error::ErrorStack;
    use openssl::ssl::{SslConnector, SslConnectorBuilder, SslFiletype, SslMethod, SslVerifyMode};
    use postgres_openssl::MakeTlsConnector;

    use super::{Mode, SYSTEM, Tls};

    pub type Connector = MakeTlsConnector;

    type Refusal = (String, &'static str);

    pub fn connector(tls: &Tls) -> Result<Connector, Refusal> {
        let failed = |error: ErrorStack| (error.to_string(), "OpenSSL does not begin");
        let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(failed)?;
        files(tls, &mut builder)?;
        let verifies = tls.mode >= Mode::VerifyCa;
        builder.set_verify(if verifies { SslVerifyMode::PEER } else { SslVerifyMode::NONE });
        let mut connector = MakeTlsConnector::new(builder.build());
        let names = tls.mode == Mode::VerifyFull;
        connector.set_callback(move |connection, _| {
            connection.set_verify_hostname(names);
            Ok(())
        });
        Ok(connector)
    }

    fn files(tls: &Tls, builder: &mut SslConnectorBuilder) -> Result<(), Refusal> {
        if tls.mode == Mode::Disable {
            return Ok(());
        }
        if let Some(path) = tls.root.as_deref().filter(|path| *path != Path::new(SYSTEM)) {
            used("sslrootcert", path, builder.set_ca_file(path))?;
        }
        if let Some(path) = &tls.certificate {
            used("sslcert", path, builder.set_certificate_chain_file(path))?;
        }
        if let Some(path) = &tls.key {
            used("sslkey", path, builder.set_private_key_file(path, SslFiletype::PEM))?;
        }
        Ok(())
    }

    fn used(what: &str, path: &Path, result: Result<(), ErrorStack>) -> Result<(), Refusal> {
        result.map_err(|error| {
            let why = match std::fs::File::open(path) {
                Err(why) => why.to_string(),
                Ok(_) => error.to_string(),
            };
            (
                format!("{what}={} cannot be used: {why}", path.display()),
                "It is a file in PEM format that may be read; a key has no passphrase",
            )
        })
    }
}

#[cfg(not(feature = "tls"))]
mod imp {
    use postgres::NoTls;

    use super::{Mode, Tls};

    pub type Connector = NoTls;

    pub fn connector(tls: &Tls) -> Result<Connector, (String, &'static str)> {
        match tls.mode {
            Mode::Disable | Mode::Prefer => Ok(NoTls),
            _ => Err((
                "its sslmode asks for TLS, and this cdr was built without".to_owned(),
                "Build it with the feature tls, which is on by default",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, mode: Mode, root: Option<&str>, rest: &str) {
        let (tls, left) = Tls::take(url).unwrap();
        assert_eq!((tls.mode, tls.root, &*left), (mode, root.map(PathBuf::from), rest), "{url}");
    }

    #[test]
    fn its_part_of_a_url_is_taken_out() {
        check("postgres://u@h/n", Mode::Prefer, None, "postgres://u@h/n");
        check("postgres://u@h/n?sslmode=require", Mode::Require, None, "postgres://u@h/n");
        check(
            "postgres://u@h/n?connect_timeout=3&sslmode=verify-full&sslrootcert=/a%20b%2Bc+d.pem&options=-c%20x",
            Mode::VerifyFull,
            Some("/a b+c+d.pem"),
            "postgres://u@h/n?connect_timeout=3&options=-c%20x",
        );
        check(
            "postgres://u@h/n?sslrootcert=ca.pem&sslmode=require",
            Mode::VerifyCa,
            Some("ca.pem"),
            "postgres://u@h/n",
        );
        check(
            "postgres://u@h/n?sslrootcert=system",
            Mode::VerifyFull,
            Some("system"),
            "postgres://u@h/n",
        );
    }

    #[test]
    fn a_certificate_and_its_key_are_taken_out() {
        let (tls, _) = Tls::take("postgres://u@h/n?sslcert=c.pem&sslkey=k.pem").unwrap();
        let path = |path: &str| Some(PathBuf::from(path));
        assert_eq!((tls.certificate, tls.key), (path("c.pem"), path("k.pem")));
    }

    #[test]
    fn a_mode_that_there_is_not_is_refused_untold() {
        let error = Tls::take("postgres://u:p@h/n?sslmode=sesame").map(|_| ()).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("one of disable, prefer, require, verify-ca and verify-full"), "{text}");
        assert!(!text.contains("sesame"), "{text}");
    }
}
