//! Short texts that can be copied in one piece, and digits.

use std::fmt;

/// A short text with room behind it, which is zero, so that it can be copied in one piece.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FixedText<const ROOM: usize> {
    pub(crate) bytes: [u8; ROOM],
    pub(crate) len: u8,
}

impl<const ROOM: usize> FixedText<ROOM> {
    /// The texts back to back, of which at most `ROOM` bytes of ASCII are kept; the callers' are shorter.
    pub(crate) const fn new(texts: &[&str]) -> Self {
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

    /// The text without the room behind it, as ASCII.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl<const ROOM: usize> fmt::Display for FixedText<ROOM> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<const ROOM: usize> fmt::Debug for FixedText<ROOM> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// The two digits of each number from 00 to 99.
pub(crate) static DIGIT_PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

/// The number in ten digits, zeros first; ten bytes from any digit on are its last digits and room.
#[inline(always)]
pub(crate) fn ten_digits(number: u32) -> [u8; 20] {
    let (mut text, mut rest) = ([0; 20], number as usize);
    for at in [8, 6, 4, 2, 0] {
        text[at..at + 2].copy_from_slice(&DIGIT_PAIRS[rest % 100]);
        rest /= 100;
    }
    text
}
