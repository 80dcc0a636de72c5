//! Enums that are written as one of a few words.

use cdr_model::Stream;

/// An enum whose variants are each written as one word in flags, variables and `cdr.toml`.
pub trait Choice: Copy + 'static {
    /// All variants, in the order in which help lists them.
    const ALL: &'static [Self];

    /// The word of this variant.
    fn word(self) -> &'static str;

    /// The variant written as `word`.
    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|variant| variant.word() == word)
    }
}

/// Defines an enum with its words once: the enum, [`Choice`], `name` and `Display`.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $crate::settings::Choice for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn word(self) -> &'static str {
                self.name()
            }
        }

        impl $name {
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

/// The model's enums have names of their own.
macro_rules! model_choice {
    ($($name:ty),+) => {
        $(impl Choice for $name {
            const ALL: &'static [Self] = &<$name>::ALL;

            fn word(self) -> &'static str {
                self.name()
            }
        })+
    };
}

model_choice!(cdr_model::LineEnd, cdr_model::Profile);

impl Choice for Stream {
    const ALL: &'static [Self] = &Stream::ALL;

    fn word(self) -> &'static str {
        self.short_name()
    }

    fn from_word(word: &str) -> Option<Self> {
        Stream::from_name(word)
    }
}
