//! Record → bytes: CSV files and JSON messages.

mod csv;
mod json;
mod line;

pub use csv::LineEnd;
pub use json::Message;
pub(crate) use line::FixedText;
