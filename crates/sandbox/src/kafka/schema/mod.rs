//! A look at a request before it is decoded: whether what it announces can be there.
//!
//! The message library makes room for as many elements as an array announces, before it reads the
//! first. A few bytes could make it allocate more memory than there is, which ends the process. So the
//! counts and lengths are compared with the bytes that are there, element by element.

mod requests;

use kafka_protocol::messages::ApiKey;

/// Elements of all arrays, and tagged fields, of one request: each takes a few hundred bytes when it is
/// decoded.
const ELEMENTS_MAX: usize = 50_000;

/// What a field is on the wire, as far as its length goes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// A length of two bytes, or a compact one, and as many bytes; null where the length is negative.
    Text,
    /// The same with a length of four bytes.
    Data,
    /// A count of four bytes, or a compact one, and as many elements; null as above.
    Array(&'static Kind),
    Structs(&'static [Field]),
}

/// A field, in the versions that have it.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub since: i16,
    pub until: i16,
    pub kind: Kind,
}

/// Looks over the body of a request. What follows the body is nobody's concern.
///
/// # Errors
/// What it announces is not there.
pub fn check(key: ApiKey, version: i16, body: &[u8]) -> Result<(), &'static str> {
    let (flexible_since, fields) = requests::of(key).ok_or("its fields are not known")?;
    let mut walk = Walk { rest: body, version, flexible: version >= flexible_since, elements: 0 };
    walk.fields(fields)
}

/// Looks over what comes before the body: the request's key, version and number, the client's name, and
/// tagged fields in version 2.
///
/// # Errors
/// As [`check`].
pub fn check_header(request: &[u8], header_version: i16) -> Result<(), &'static str> {
    // The name's length has two bytes in all versions.
    let mut walk = Walk { rest: request, version: header_version, flexible: false, elements: 0 };
    walk.skip(8)?;
    if header_version >= 1 {
        walk.value(&Kind::Text)?;
    }
    if header_version >= 2 { walk.tags() } else { Ok(()) }
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    /// Whether lengths are compact, and tagged fields follow each structure (KIP-482).
    flexible: bool,
    /// Elements so far, of all arrays together, and tagged fields.
    elements: usize,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &[Field]) -> Result<(), &'static str> {
        for field in fields {
            if self.has(field) {
                self.value(&field.kind)?;
            }
        }
        if self.flexible { self.tags() } else { Ok(()) }
    }

    fn has(&self, field: &Field) -> bool {
        (field.since..=field.until).contains(&self.version)
    }

    fn value(&mut self, kind: &Kind) -> Result<(), &'static str> {
        match kind {
            Kind::Fixed(bytes) => self.skip(*bytes),
            Kind::Text => {
                let length = self.length(2)?;
                self.skip(length)
            }
            Kind::Data => {
                let length = self.length(4)?;
                self.skip(length)
            }
            Kind::Array(element) => {
                let count = self.length(4)?;
                if count > self.rest.len() / self.least(element).max(1) {
                    return Err("an array announces more elements than there are bytes for");
                }
                self.count(count)?;
                (0..count).try_for_each(|_| self.value(element))
            }
            Kind::Structs(fields) => self.fields(fields),
        }
    }

    /// The fewest bytes that a value can have.
    fn least(&self, kind: &Kind) -> usize {
        match kind {
            Kind::Fixed(bytes) => *bytes,
            Kind::Text | Kind::Data | Kind::Array(_) if self.flexible => 1,
            Kind::Text => 2,
            Kind::Data | Kind::Array(_) => 4,
            Kind::Structs(fields) => {
                let there = fields.iter().filter(|field| self.has(field));
                let least: usize = there.map(|field| self.least(&field.kind)).sum();
                least + usize::from(self.flexible)
            }
        }
    }

    /// A length or count, 0 for null: compact, or of so many bytes.
    fn length(&mut self, bytes: usize) -> Result<usize, &'static str> {
        if self.flexible {
            return Ok((self.varint()? as usize).saturating_sub(1));
        }
        let length = match bytes {
            2 => i32::from(i16::from_be_bytes(self.take()?)),
            _ => i32::from_be_bytes(self.take()?),
        };
        Ok(usize::try_from(length).unwrap_or(0))
    }

    /// Tagged fields are passed over by the sizes they announce. Those that the library knows in the
    /// versions that are served stand at the end of a request, so that nothing follows in which it
    /// could lose its way.
    fn tags(&mut self) -> Result<(), &'static str> {
        let tags = self.varint()? as usize;
        self.count(tags)?;
        for _ in 0..tags {
            self.varint()?;
            let size = self.varint()? as usize;
            self.skip(size)?;
        }
        Ok(())
    }

    fn count(&mut self, elements: usize) -> Result<(), &'static str> {
        self.elements = self.elements.saturating_add(elements);
        if self.elements > ELEMENTS_MAX { Err("it has too many elements") } else { Ok(()) }
    }

    fn varint(&mut self) -> Result<u32, &'static str> {
        let mut value: u32 = 0;
        for shift in (0..35).step_by(7) {
            let [byte] = self.take()?;
            value |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a compact length goes on for more than five bytes")
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(ENDS)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn skip(&mut self, bytes: usize) -> Result<(), &'static str> {
        self.rest = self.rest.get(bytes..).ok_or(ENDS)?;
        Ok(())
    }
}

const ENDS: &str = "it ends in the middle of a field";

#[cfg(test)]
mod tests;
