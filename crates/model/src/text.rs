//! Short texts that can be copied in one piece.

use std::fmt;

/// Room for the longest word of a closed set.
pub(crate) const WORD_ROOM: usize = 16;

/// A short text with room behind it, so that it can be copied in one piece.
#[derive(Clone, Copy)]
pub struct FixedText<const ROOM: usize> {
    bytes: [u8; ROOM],
    len: u8,
}

impl<const ROOM: usize> FixedText<ROOM> {
    /// Keeps at most `ROOM` bytes of ASCII; the callers' texts are shorter.
    pub(crate) const fn new(text: &str) -> Self {
        FixedText::concat(&[text])
    }

    /// The texts back to back, of which at most `ROOM` bytes are kept.
    pub(crate) const fn concat(texts: &[&str]) -> Self {
        let (mut bytes, mut len, mut nth) = ([0; ROOM], 0, 0);
        while nth < texts.len() {
            let (text, mut at) = (texts[nth].as_bytes(), 0);
            while at < text.len() && len < ROOM {
                bytes[len] = text[at];
                (at, len) = (at + 1, len + 1);
            }
            nth += 1;
        }
        FixedText { bytes, len: len as u8 }
    }

    /// The text without the room behind it.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }

    #[inline(always)]
    pub(crate) fn room(&self) -> (&[u8; ROOM], usize) {
        (&self.bytes, self.len.into())
    }
}

impl<const ROOM: usize> fmt::Debug for FixedText<ROOM> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}
