//! What host names mean to one process, and to no other on the machine.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files that the resolver reads, as a process of [`Names::known_to`] sees them.
pub struct Names {
    hosts: PathBuf,
    order: PathBuf,
}

impl Names {
    /// No names but that of this machine; the files are made in `folder`.
    pub fn new(folder: &Path) -> Names {
        let names = Names { hosts: folder.join("hosts"), order: folder.join("nsswitch.conf") };
        // No server is queried for names, which could have none or all.
        fs::write(&names.order, "hosts: files\n").expect("the folder is ours");
        names.forget();
        names
    }

    pub fn set(&self, name: &str, address: IpAddr) {
        fs::write(&self.hosts, format!("{address} {name}\n")).expect("the folder is ours");
    }

    /// No name means anything any more.
    pub fn forget(&self) {
        fs::write(&self.hosts, "").expect("the folder is ours");
    }

    /// The command, to be run where these names are known: in a mount namespace of its own, which ends
    /// with the process.
    pub fn known_to(&self, command: &Command) -> Command {
        let mut inside = Command::new("unshare");
        // As whoever runs the tests, who may mount files in there.
        inside.args(["--map-root-user", "--mount", "bash", "-euc"]);
        inside.arg(
            r#"mount --bind "$0" /etc/hosts; mount --bind "$1" /etc/nsswitch.conf; shift; exec "$@""#,
        );
        inside.arg(&self.hosts).arg(&self.order);
        inside.arg(command.get_program()).args(command.get_args()).env_clear();
        inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        inside
    }
}
