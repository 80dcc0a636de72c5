//! A line under construction, written in pieces of fixed size.
//!
//! Copies whose length the compiler knows become one or two instructions; what they write beyond
//! the text is overwritten by the next piece. That is what makes encoding fast without `unsafe`.

use crate::population::Msisdn;
use crate::text::FixedText;
use crate::time::DIGIT_PAIRS;

/// Room for the longest line (some 300 bytes) and one piece more.
const LINE_ROOM: usize = 512;

/// The decimal texts of 0 to 255.
static OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([0; 4], 0); 256];
    let mut n = 0;
    while n < 256 {
        let digits = [b'0' + (n / 100) as u8, b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8];
        octets[n] = match n {
            0..10 => ([digits[2], 0, 0, 0], 1),
            10..100 => ([digits[1], digits[2], 0, 0], 2),
            _ => ([digits[0], digits[1], digits[2], 0], 3),
        };
        n += 1;
    }
    octets
};

/// One line; `clear` begins the next without touching the bytes.
pub(crate) struct Line {
    bytes: [u8; LINE_ROOM],
    len: usize,
}

impl Line {
    pub fn new() -> Self {
        Line { bytes: [0; LINE_ROOM], len: 0 }
    }

    #[inline]
    pub fn clear(&mut self) {
        self.len = 0;
    }

    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Writes a whole piece, of which the first `len` bytes count.
    #[inline(always)]
    pub fn piece<const N: usize>(&mut self, piece: &[u8; N], len: usize) {
        self.bytes[self.len..self.len + N].copy_from_slice(piece);
        self.len += len;
    }

    #[inline(always)]
    pub fn text<const N: usize>(&mut self, text: &[u8; N]) {
        self.piece(text, N);
    }

    #[inline(always)]
    pub fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    #[inline(always)]
    pub fn name<const ROOM: usize>(&mut self, name: &FixedText<ROOM>) {
        let (bytes, len) = name.room();
        self.piece(bytes, len);
    }

    #[inline(always)]
    pub fn msisdn(&mut self, number: &Msisdn) {
        let (bytes, len) = number.room();
        self.piece(bytes, len);
    }

    #[inline(always)]
    pub fn number(&mut self, number: u32) {
        let mut text = [0; 20];
        let mut rest = number as usize;
        for at in [8, 6, 4, 2, 0] {
            text[at..at + 2].copy_from_slice(&DIGIT_PAIRS[rest % 100]);
            rest /= 100;
        }
        let digits = number.checked_ilog10().unwrap_or(0) as usize + 1;
        let from = 10 - digits;
        self.bytes[self.len..self.len + 10].copy_from_slice(&text[from..from + 10]);
        self.len += digits;
    }

    #[inline(always)]
    pub fn ipv4(&mut self, octets: [u8; 4]) {
        for (i, octet) in octets.into_iter().enumerate() {
            if i > 0 {
                self.byte(b'.');
            }
            let (text, len) = &OCTETS[usize::from(octet)];
            self.piece(text, usize::from(*len));
        }
    }
}
