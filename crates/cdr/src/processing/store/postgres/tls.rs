//! How the connection is secured, in libpq's words: `sslmode`, `sslrootcert`, `sslcert` and `sslkey`
//! in the URL. The client that we use knows some of the modes only, and none of the files.
//!
//! Source: <https://www.postgresql.org/docs/current/libpq-ssl.html>.

use std::path::{Path, PathBuf};

use postgres::Config;
use postgres::config::{Host, SslMode};

use super::super::{Result, StoreError};

/// In the order of the security that they give. `allow`, without TLS where the server allows that, is not
/// among them: who does not care is served by `prefer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Disable,
    /// TLS where the server has it; whoever it is.
    Prefer,
    /// TLS; with whoever it is, unless there is a certificate to trust.
    Require,
    /// With a server that one of the named authorities vouches for.
    VerifyCa,
    /// With a server that is also the one that the URL names.
    VerifyFull,
}

impl Mode {
    fn parse(word: &str) -> Result<Mode> {
        Ok(match word {
            "disable" => Mode::Disable,
            "prefer" => Mode::Prefer,
            "require" => Mode::Require,
            "verify-ca" => Mode::VerifyCa,
            "verify-full" => Mode::VerifyFull,
            _ => {
                return Err(refused(
                    "at STORE_URL",
                    "its sslmode is none that there is",
                    "It is one of disable, prefer, require, verify-ca and verify-full",
                ));
            }
        })
    }
}

/// What a URL has of it.
#[derive(Debug)]
pub struct Tls {
    mode: Mode,
    /// The authorities to trust, and nobody else; those of the system where none are named.
    root: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Tls {
    /// Takes its part out of a URL, and gives the rest.
    ///
    /// # Errors
    /// A mode or a file's name that cannot be. It is not shown, since it may be part of a password.
    pub fn take(url: &str) -> Result<(Tls, String)> {
        let mut tls = Tls { mode: Mode::Prefer, root: None, certificate: None, key: None };
        let Some((base, query)) = url.split_once('?') else { return Ok((tls, url.to_owned())) };
        let mut rest = Vec::new();
        let (mut mode, mut root) = (None, None);
        for pair in query.split('&') {
            // In a URL of PostgreSQL a plus sign stands for itself.
            let encoded = pair.replace('+', "%2B");
            let (name, value) = form_urlencoded::parse(encoded.as_bytes()).next().unwrap_or_default();
            let file = || match value.is_empty() || value.contains('\0') {
                false => Ok(PathBuf::from(&*value)),
                true => Err(refused(
                    "at STORE_URL",
                    "its sslrootcert, sslcert or sslkey names no file",
                    "It is the file's name, in which special characters are encoded, such as %20 for a space",
                )),
            };
            match &*name {
                "sslmode" => mode = Some(Mode::parse(&value)?),
                "sslrootcert" => root = Some(file()?),
                "sslcert" => tls.certificate = Some(file()?),
                "sslkey" => tls.key = Some(file()?),
                _ => rest.push(pair),
            }
        }
        // Instead of a file: the certificates that the system trusts.
        let is_system = root.as_deref() == Some(Path::new("system"));
        tls.root = root.filter(|_| !is_system);
        tls.mode = match (mode, &tls.root) {
            // As libpq has it: whoever names whom to trust wants it to be looked at.
            (Some(Mode::Require), Some(_)) => Mode::VerifyCa,
            // Where everybody is trusted whom the system trusts, a certificate proves nothing without
            // the name in it.
            (Some(Mode::VerifyCa), None) => Mode::VerifyFull,
            (mode, None) if is_system && mode != Some(Mode::Disable) => Mode::VerifyFull,
            (mode, _) => mode.unwrap_or(Mode::Prefer),
        };
        let rest = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        Ok((tls, rest))
    }

    /// Whether a connection without TLS will do where one with it does not come about.
    pub fn is_optional(&self) -> bool {
        self.mode == Mode::Prefer
    }

    /// Gives the client what it can know of it. A socket of this machine needs none.
    pub fn apply(&self, config: &mut Config) {
        let is_local = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        config.ssl_mode(match self.mode {
            _ if is_local => SslMode::Disable,
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        });
    }
}

/// Where what is wrong is the URL itself, the reason shows nothing of it: any part may be one of a password.
pub fn refused(store: &str, reason: &str, remedy: &'static str) -> StoreError {
    StoreError::Open { store: store.to_owned(), reason: reason.to_owned(), remedy, passing: false }
}

#[cfg(feature = "tls")]
mod imp {
    use std::error::Error;
    use std::path::Path;

    use openssl::error::ErrorStack;
    use openssl::pkey::PKey;
    use openssl::ssl::{ErrorCode, SslConnector, SslConnectorBuilder, SslMethod, SslVerifyMode};
    use openssl::x509::store::X509StoreBuilder;
    use postgres_openssl::{MakeTlsConnector, set_postgresql_alpn};

    use super::{Mode, Tls};

    pub type Connector = MakeTlsConnector;

    type TlsError = (String, &'static str);

    pub fn connector(tls: &Tls) -> Result<Connector, TlsError> {
        let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(failed)?;
        set_postgresql_alpn(&mut builder).map_err(failed)?;
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

    fn files(tls: &Tls, builder: &mut SslConnectorBuilder) -> Result<(), TlsError> {
        if tls.mode == Mode::Disable {
            return Ok(());
        }
        if let Some(path) = &tls.root {
            // Instead of those of the system, with which the builder begins.
            let none = X509StoreBuilder::new().map_err(failed)?.build();
            builder.set_cert_store(none);
            used("sslrootcert", path, || builder.set_ca_file(path))?;
        }
        if let Some(path) = &tls.certificate {
            used("sslcert", path, || builder.set_certificate_chain_file(path))?;
        }
        if let Some(path) = &tls.key {
            used("sslkey", path, || {
                let pem = std::fs::read(path).unwrap_or_default();
                // One with a passphrase would be prompted for at the terminal.
                let key = PKey::private_key_from_pem_callback(&pem, |_| Ok(0))?;
                builder.set_private_key(&key)
            })?;
        }
        Ok(())
    }

    fn failed(error: ErrorStack) -> TlsError {
        (error.to_string(), "OpenSSL does not begin")
    }

    fn used(
        what: &str,
        path: &Path,
        mut act: impl FnMut() -> Result<(), ErrorStack>,
    ) -> Result<(), TlsError> {
        let why = match (std::fs::File::open(path), act()) {
            (_, Ok(())) => return Ok(()),
            (Err(why), _) => why.to_string(),
            (Ok(_), Err(error)) => error.to_string(),
        };
        Err((
            format!("{what}={} cannot be used: {why}", path.display()),
            "It is a file in PEM format that may be read; a key has no passphrase",
        ))
    }

    /// Whether a handshake failed because the connection broke.
    pub fn is_broken(cause: &(dyn Error + 'static)) -> bool {
        let cause = cause.downcast_ref::<openssl::ssl::Error>();
        cause.is_some_and(|error| {
            error.io_error().is_some()
                || matches!(error.code(), ErrorCode::SYSCALL | ErrorCode::ZERO_RETURN)
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
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => Err((
                "its sslmode requires TLS, and this cdr was built without".to_owned(),
                "Build it with the feature tls, which is on by default",
            )),
        }
    }

    pub fn is_broken(_: &(dyn std::error::Error + 'static)) -> bool {
        false
    }
}

/// `connector` makes what connects, unless certificates cannot be used, or TLS that this program was built
/// without is wanted.
pub use imp::{Connector, connector, is_broken};

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
        for system in ["sslrootcert=system", "sslmode=require&sslrootcert=system", "sslmode=verify-ca"] {
            check(&format!("postgres://u@h/n?{system}"), Mode::VerifyFull, None, "postgres://u@h/n");
        }
        let disabled = "postgres://u@h/n?sslmode=disable&sslrootcert=system";
        check(disabled, Mode::Disable, None, "postgres://u@h/n");
    }

    #[test]
    fn a_certificate_and_its_key_are_taken_out() {
        let (tls, _) = Tls::take("postgres://u@h/n?sslcert=c.pem&sslkey=k.pem").unwrap();
        let path = |path: &str| Some(PathBuf::from(path));
        assert_eq!((tls.certificate, tls.key), (path("c.pem"), path("k.pem")));
    }

    #[test]
    fn what_names_no_file_is_refused() {
        for value in ["", "sesame%00"] {
            let error = Tls::take(&format!("postgres://u@h/n?sslcert={value}")).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains("sslcert or sslkey names no file"), "{error}");
            assert!(!error.to_string().contains("sesame"), "{error}");
        }
    }

    #[test]
    fn a_mode_that_there_is_not_is_refused_without_its_name() {
        let error = Tls::take("postgres://u:p@h/n?sslmode=sesame").map(|_| ()).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("one of disable, prefer, require, verify-ca and verify-full"), "{text}");
        assert!(!text.contains("sesame"), "{text}");
    }
}
