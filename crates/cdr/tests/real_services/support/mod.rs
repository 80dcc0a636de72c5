//! What all chapters use.

pub mod check;
pub mod clients;
pub mod cluster;
pub mod course;
pub mod links;
pub mod logins;
pub mod names;
pub mod placement;
pub mod process;
pub mod scene;
pub mod services;
pub mod topics;
pub mod uploads;
