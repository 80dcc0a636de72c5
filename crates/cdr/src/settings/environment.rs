//! Which set of defaults applies.

use super::choice;

choice! {
    /// Which set of defaults applies.
    Environment {
        /// A developer's machine: `USER` is set and not empty.
        Dev = "dev",
        /// A container or service.
        Prod = "prod",
    }
}
