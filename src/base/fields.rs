//! Numbered fields: the bytes of a value that other builds of natter read, too.
//!
//! Owns the form and its reader, the form of the common types (`types`), and the macros `fields!` and `variants!`, which write both
//! directions of a type from one list. Leaves to its callers what is encoded.
//!
//! ```text
//! structure   (number: 1 byte, length: LEB128, value) for each field; a field whose value has no bytes is left out
//! enum        the number of the variant, then the value of the variant, if it has one
//! list        (length: LEB128, value) for each item
//! option      nothing, or a byte 1 and the value; so an option in an option keeps all three cases
//! number      little-endian, without the zero bytes at its end; 0 and `false` have no bytes
//! text        UTF-8
//! ```
//!
//! A value does not know its length: what contains it says it. A field that is missing is read from no bytes, which is its
//! default if the type has one: 0, `false`, `None`, the empty text or list, a structure of such fields. For an id, a hash or an enum it is
//! an error. So a build can add a field with a default, and ignores a field that it does not know.
//!
//! Reading a value cannot fail by itself: it notes in the [`Reader`] that the bytes are none, and [`read`] throws the value away.
//! An early return from each field would need code that frees what was read before. A list ends at the first failure.
//!
//! Invariant: reading never panics, allocates no more than a small multiple of what it reads, and gives what was written.

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
mod types;

/// A value with a form in bytes.
pub trait Field: Sized {
    /// Appends the value.
    fn put(&self, out: &mut Vec<u8>);

    /// The value of exactly these bytes. If they are none, any value, and the reader has failed.
    fn take(bytes: &[u8], reader: &mut Reader) -> Self;
}

/// The greatest number of a field.
pub const FIELDS_MAX: usize = 16;

/// Whether what was read so far is right.
#[derive(Debug, Default)]
pub struct Reader {
    failed: bool,
}

impl Reader {
    /// The bytes are none of what was asked for.
    pub fn fail(&mut self) {
        self.failed = true;
    }

    fn or_fail<T: Default>(&mut self, value: Option<T>) -> T {
        self.failed |= value.is_none();
        value.unwrap_or_default()
    }

    /// Takes one item from the front; no bytes if there is none.
    fn item<'a>(&mut self, bytes: &mut &'a [u8]) -> &'a [u8] {
        let item = take_item(bytes);
        if item.is_none() {
            *bytes = &[];
        }
        self.or_fail(item)
    }

    /// The values of the fields of a structure, by number from 1; no bytes for those that are missing. Greater numbers are ignored.
    #[inline(never)]
    pub fn split<'a>(&mut self, mut bytes: &'a [u8]) -> [&'a [u8]; FIELDS_MAX] {
        let mut values = [&bytes[..0]; FIELDS_MAX];
        while let Some((number, rest)) = bytes.split_first() {
            bytes = rest;
            let value = self.item(&mut bytes);
            match values.get_mut(usize::from(*number).wrapping_sub(1)) {
                Some(slot) => *slot = value,
                None if *number == 0 => self.fail(),
                None => {}
            }
        }
        values
    }
}

/// The number of a variant, and the bytes of its value. No variant has the number 0.
pub fn variant(bytes: &[u8]) -> (u8, &[u8]) {
    bytes.split_first().map_or((0, bytes), |(number, rest)| (*number, rest))
}

/// The value of exactly these bytes, or `None`.
pub fn read<T: Field>(bytes: &[u8]) -> Option<T> {
    let mut reader = Reader::default();
    let value = T::take(bytes, &mut reader);
    (!reader.failed).then_some(value)
}

/// Bits of a byte of a length; the highest says that another byte follows.
const LENGTH_BITS: u32 = 7;
const MORE: u8 = 1 << LENGTH_BITS;
/// Bytes of the longest length, which has 32 bits.
const LENGTH_BYTES_MAX: usize = 5;

/// Begins an item whose length is not known yet: appends one byte for it. Returns where the value begins.
pub fn begin(out: &mut Vec<u8>) -> usize {
    out.push(0);
    out.len()
}

/// Ends the item that began at `start`. A value of less than 128 bytes stays where it is.
pub fn end(out: &mut Vec<u8>, start: usize) {
    let len = out.len() - start;
    match u8::try_from(len) {
        Ok(short) if short < MORE => out[start - 1] = short,
        _ => end_long(out, start, len),
    }
}

#[inline(never)]
fn end_long(out: &mut Vec<u8>, start: usize, len: usize) {
    let (mut length, mut used, mut rest) = ([0; LENGTH_BYTES_MAX], 0, len);
    while rest > 0 {
        assert!(used < LENGTH_BYTES_MAX, "a value has less than 4 GiB");
        length[used] = rest as u8 | MORE;
        rest >>= LENGTH_BITS;
        used += 1;
    }
    length[used - 1] &= !MORE;
    let more = used - 1;
    out.extend_from_slice(&length[..more]);
    out.copy_within(start..start + len, start + more);
    out[start - 1..start + more].copy_from_slice(&length[..used]);
}

/// Appends a field of a structure. There are hundreds of fields, so as little as possible of it is inlined.
#[inline(never)]
pub fn put_field<T: Field>(out: &mut Vec<u8>, number: u8, value: &T) {
    let start = begin_field(out, number);
    value.put(out);
    end_field(out, start);
}

#[inline(never)]
fn begin_field(out: &mut Vec<u8>, number: u8) -> usize {
    out.extend_from_slice(&[number, 0]);
    out.len()
}

#[inline(never)]
fn end_field(out: &mut Vec<u8>, start: usize) {
    if out.len() == start {
        out.truncate(start - 2);
    } else {
        end(out, start);
    }
}

/// Takes one item from the front.
fn take_item<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut len = 0u64;
    for i in 0..LENGTH_BYTES_MAX as u32 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        len |= u64::from(byte & !MORE) << (i * LENGTH_BITS);
        if byte & MORE == 0 {
            let (item, rest) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
            *bytes = rest;
            return Some(item);
        }
    }
    None
}

/// The greatest number of a list. That they ascend from 1 is checked at compile time, so that none is used twice.
pub const fn greatest(numbers: &[u8]) -> usize {
    let (mut i, mut last) = (0, 0);
    while i < numbers.len() {
        assert!(numbers[i] > last, "the numbers ascend, from 1");
        last = numbers[i];
        i += 1;
    }
    last as usize
}

/// Implements [`Field`] for a structure: each field after its number, which never changes and is never used again. After a `;`
/// the fields that are not encoded, each with its value in what is read. A field that is in no list does not compile.
macro_rules! fields {
    ($(
        $name:ident { $($number:literal $field:ident),* $(; $($absent:ident = $value:expr),*)? }
    )*) => {$(
        impl $crate::base::fields::Field for $name {
            fn put(&self, out: &mut Vec<u8>) {
                let $name { $($field,)* $($($absent: _,)*)? } = self;
                $($crate::base::fields::put_field(out, $number, $field);)*
            }

            fn take(bytes: &[u8], reader: &mut $crate::base::fields::Reader) -> $name {
                const { assert!($crate::base::fields::greatest(&[$($number),*]) <= $crate::base::fields::FIELDS_MAX) };
                let values = reader.split(bytes);
                $name {
                    $($field: $crate::base::fields::Field::take(values[$number - 1], reader),)*
                    $($($absent: $value,)*)?
                }
            }
        }

        #[cfg(test)]
        impl $crate::base::fields::sample::Sample for $name {
            fn sample(entropy: &mut dyn $crate::base::crypto::Entropy) -> $name {
                $name {
                    $($field: $crate::base::fields::sample::Sample::sample(entropy),)*
                    $($($absent: $value,)*)?
                }
            }
        }
    )*};
}
pub(crate) use fields;

/// Implements [`Field`] for an enum: each variant after its number. The name in parentheses stands for the value of the variant. A
/// variant that is not in the list does not compile.
macro_rules! variants {
    ($(
        $name:ident {
            $first:literal $default:ident $(($content:ident))? $(, $number:literal $variant:ident $(($value:ident))?)*
        }
    )*) => {$(
        impl $crate::base::fields::Field for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $name::$default $(($content))? => {
                        out.push($first);
                        $($crate::base::fields::Field::put($content, out);)?
                    }
                    $($name::$variant $(($value))? => {
                        out.push($number);
                        $($crate::base::fields::Field::put($value, out);)?
                    })*
                }
            }

            fn take(bytes: &[u8], reader: &mut $crate::base::fields::Reader) -> $name {
                const { $crate::base::fields::greatest(&[$first $(, $number)*]) };
                let (number, rest) = $crate::base::fields::variant(bytes);
                // Of no use for an enum whose variants have no values.
                let _ = rest;
                match number {
                    $($number => $name::$variant $(({
                        let $value = $crate::base::fields::Field::take(rest, reader);
                        $value
                    }))?,)*
                    number => {
                        if number != $first {
                            reader.fail();
                        }
                        $name::$default $(({
                            let $content = $crate::base::fields::Field::take(rest, reader);
                            $content
                        }))?
                    }
                }
            }
        }

        #[cfg(test)]
        impl $crate::base::fields::sample::Sample for $name {
            fn sample(entropy: &mut dyn $crate::base::crypto::Entropy) -> $name {
                let numbers = [$first $(, $number)*];
                match numbers[entropy.below(numbers.len() as u64) as usize] {
                    $($number => $name::$variant $(({
                        let $value = $crate::base::fields::sample::Sample::sample(entropy);
                        $value
                    }))?,)*
                    _ => $name::$default $(({
                        let $content = $crate::base::fields::sample::Sample::sample(entropy);
                        $content
                    }))?,
                }
            }
        }
    )*};
}
pub(crate) use variants;
