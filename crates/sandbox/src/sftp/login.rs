//! Who may log in.

use russh::keys::PublicKey;
use russh::{MethodKind, MethodSet};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::config::{Config, Password};

/// Who may log in, and how.
#[derive(Debug)]
pub(super) struct Login {
    user: String,
    password: Option<Password>,
    keys: Vec<PublicKey>,
}

impl Login {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            user: config.user.clone(),
            password: config.password.clone(),
            keys: config.authorized_keys.clone(),
        }
    }

    /// The ways that could succeed.
    pub(super) fn methods(&self) -> MethodSet {
        let mut methods = MethodSet::empty();
        if !self.keys.is_empty() {
            methods.push(MethodKind::PublicKey);
        }
        if self.password.is_some() {
            methods.push(MethodKind::Password);
        }
        methods
    }

    /// The time this takes shows nothing of how much of either is right.
    pub(super) fn takes_password(&self, user: &str, password: &str) -> bool {
        let expected = self.password.as_ref().map_or("", Password::reveal);
        let right = same(user, &self.user) & same(password, expected);
        bool::from(right) && self.password.is_some()
    }

    /// Whether a key is one of those to accept. Public keys are no secret.
    pub(super) fn takes_key(&self, user: &str, key: &PublicKey) -> bool {
        let known = self.keys.iter().any(|known| known.key_data() == key.key_data());
        bool::from(same(user, &self.user)) && known
    }
}

/// Compares digests, because comparing the texts would show whether their lengths are the same.
fn same(a: &str, b: &str) -> Choice {
    Sha256::digest(a).as_slice().ct_eq(Sha256::digest(b).as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(password: Option<&str>) -> Login {
        let config = Config { password: password.map(Password::new), ..Config::new("", "") };
        Login::new(&config)
    }

    #[test]
    fn user_and_password_must_both_be_right() {
        let login = login(Some("secret"));
        assert!(login.takes_password("cdr_data", "secret"));
        assert!(!login.takes_password("root", "secret"));
        for wrong in ["", "s", "Secret", "secret ", "secretsecret"] {
            assert!(!login.takes_password("cdr_data", wrong), "{wrong:?}");
        }
    }

    #[test]
    fn without_a_password_an_empty_one_is_wrong() {
        assert!(!login(None).takes_password("cdr_data", ""));
        assert!(login(None).methods().is_empty());
    }
}
