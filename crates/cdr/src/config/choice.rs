//! Enums that are written as one of a few words.

/// An enum whose variants are each written as one word in flags, variables and `cdr.toml`.
pub trait Choice: Copy + 'static {
    /// Each word with its variant, in the order in which help lists them.
    const WORDS: &'static [(&'static str, Self)];

    /// The variant written as `word`.
    fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(name, _)| *name == word).map(|(_, variant)| *variant)
    }
}

/// Defines an enum with its words once: the enum, [`Choice`], `NAMES`, `name` and `Display`.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $crate::config::choice::Choice for $name {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant),)+];
        }

        impl $name {
            /// The words of all variants.
            pub const NAMES: &'static [&'static str] = &[$($word,)+];

            /// The word of this variant.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
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
