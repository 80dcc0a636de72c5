//! What subscribers use: kinds of data and of calls, as the words that records carry.

use crate::text::FixedText;

/// Room for the longest word.
const WORD_ROOM: usize = 16;

/// A closed set of words as the values of a field.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($variant,)* }

        impl $name {
            /// Every one, in the order in which random draws select them.
            pub const ALL: [$name; [$($word),*].len()] = [$($name::$variant,)*];

            /// Their names, in the same order.
            pub const NAMES: &'static [&'static str] = &[$($word,)*];

            const TEXTS: [FixedText<WORD_ROOM>; $name::ALL.len()] = [$(FixedText::new(&[$word]),)*];

            /// The field's value.
            pub const fn name(self) -> &'static str {
                $name::NAMES[self as usize]
            }

            /// The one that a field's value names.
            pub fn from_name(name: &str) -> Option<$name> {
                $name::ALL.into_iter().find(|word| word.name() == name)
            }

            #[inline(always)]
            pub(crate) fn text(self) -> &'static FixedText<WORD_ROOM> {
                const TEXTS: &[FixedText<WORD_ROOM>; $name::ALL.len()] = &$name::TEXTS;
                &TEXTS[self as usize]
            }
        }
    };
}

words! {
    /// What a data session carried.
    DataType {
        Video = "video",
        Audio = "audio",
        Image = "image",
        Text = "text",
        Application = "application",
    }
}

words! {
    /// Whether a call carried only voice, or pictures too.
    CallType {
        Voice = "voice",
        Video = "video",
    }
}
