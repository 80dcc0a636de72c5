//! Enums that are written as one of a few words.

/// Defines an enum whose variants are each written as one word in flags, variables and `cdr.toml`.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// All variants, in the order in which help lists them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The words of all variants.
            pub const NAMES: &'static [&'static str] = &[$($word,)+];

            /// The word of this variant.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The variant written as `word`.
            pub fn from_name(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|variant| variant.name() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }
    };
}
pub(crate) use choice;
