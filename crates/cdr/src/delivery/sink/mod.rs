//! Where a run delivers to. Each sink walks the plan by itself, at its own speed.

pub mod content;
pub mod directory;
pub mod files;
pub mod kafka;
pub mod sftp;
pub mod temporary;
