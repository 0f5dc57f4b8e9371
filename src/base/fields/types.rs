//! The form of the common types as [`Field`]s.
//!
//! What is used for hundreds of fields is not inlined, which halves the code.
//! Invariant: 0, `false`, `None` and what is empty have no bytes, so that they are the value of a missing field.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Field, Reader, begin, end, put_field};
use crate::base::id::Id;
use crate::base::secret::Secret;
use crate::base::time::{UnixMs, UnixS};

impl Field for bool {
    fn put(&self, out: &mut Vec<u8>) {
        u64::from(*self).put(out);
    }

    #[inline(never)]
    fn take(bytes: &[u8], reader: &mut Reader) -> bool {
        let number = u64::take(bytes, reader);
        if number > 1 {
            reader.fail();
        }
        number == 1
    }
}

impl Field for u64 {
    #[inline(never)]
    fn put(&self, out: &mut Vec<u8>) {
        let used = (u64::BITS - self.leading_zeros()).div_ceil(u8::BITS) as usize;
        out.extend_from_slice(&self.to_le_bytes()[..used]);
    }

    #[inline(never)]
    fn take(bytes: &[u8], reader: &mut Reader) -> u64 {
        let mut all = [0; 8];
        match all.get_mut(..bytes.len()) {
            Some(used) => used.copy_from_slice(bytes),
            None => reader.fail(),
        }
        u64::from_le_bytes(all)
    }
}

/// The narrower numbers have the bytes of the widest, so that a field can get wider.
macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Field for $number {
            fn put(&self, out: &mut Vec<u8>) {
                (*self as u64).put(out);
            }

            #[inline(never)]
            fn take(bytes: &[u8], reader: &mut Reader) -> $number {
                let number = u64::take(bytes, reader);
                reader.or_fail(number.try_into().ok())
            }
        }
    )*};
}
numbers! { u16 u32 usize }

impl Field for UnixMs {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn take(bytes: &[u8], reader: &mut Reader) -> UnixMs {
        UnixMs(u64::take(bytes, reader))
    }
}

impl Field for UnixS {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn take(bytes: &[u8], reader: &mut Reader) -> UnixS {
        UnixS(u64::take(bytes, reader))
    }
}

impl<K: Copy> Field for Id<K> {
    fn put(&self, out: &mut Vec<u8>) {
        put_u128(self.to_u128(), out);
    }

    fn take(bytes: &[u8], reader: &mut Reader) -> Id<K> {
        Id::from_u128(take_u128(bytes, reader))
    }
}

#[inline(never)]
fn put_u128(number: u128, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_be_bytes());
}

#[inline(never)]
fn take_u128(bytes: &[u8], reader: &mut Reader) -> u128 {
    u128::from_be_bytes(Field::take(bytes, reader))
}

impl Field for String {
    #[inline(never)]
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    #[inline(never)]
    fn take(bytes: &[u8], reader: &mut Reader) -> String {
        reader.or_fail(std::str::from_utf8(bytes).ok()).to_owned()
    }
}

/// What is read is a copy.
impl Field for Cow<'static, str> {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn take(bytes: &[u8], reader: &mut Reader) -> Cow<'static, str> {
        Cow::Owned(String::take(bytes, reader))
    }
}

impl<const N: usize> Field for [u8; N] {
    #[inline(never)]
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    #[inline(never)]
    fn take(bytes: &[u8], reader: &mut Reader) -> [u8; N] {
        bytes.try_into().unwrap_or_else(|_| {
            reader.fail();
            [0; N]
        })
    }
}

/// Without lengths, since each has as many bytes.
impl<K: Copy, const N: usize> Field for [Id<K>; N] {
    fn put(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|id| id.put(out));
    }

    fn take(bytes: &[u8], reader: &mut Reader) -> [Id<K>; N] {
        let (parts, rest) = bytes.as_chunks::<16>();
        if parts.len() != N || !rest.is_empty() {
            reader.fail();
        }
        std::array::from_fn(|i| Id::from_bytes(parts.get(i).copied().unwrap_or_default()))
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        if let Some(value) = self {
            out.push(1);
            value.put(out);
        }
    }

    #[inline(never)]
    fn take(bytes: &[u8], reader: &mut Reader) -> Option<T> {
        let (one, value) = bytes.split_first()?;
        if *one != 1 {
            reader.fail();
        }
        Some(T::take(value, reader))
    }
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_items(self, out);
    }

    #[inline(never)]
    fn take(mut bytes: &[u8], reader: &mut Reader) -> Vec<T> {
        let mut items = Vec::new();
        // After a failure each item could be larger than its bytes.
        while !bytes.is_empty() && !reader.failed {
            let item = reader.item(&mut bytes);
            items.push(T::take(item, reader));
        }
        items
    }
}

impl<T: Field> Field for Box<[T]> {
    fn put(&self, out: &mut Vec<u8>) {
        put_items(self, out);
    }

    fn take(bytes: &[u8], reader: &mut Reader) -> Box<[T]> {
        Vec::take(bytes, reader).into_boxed_slice()
    }
}

fn put_items<T: Field>(items: &[T], out: &mut Vec<u8>) {
    for item in items {
        let start = begin(out);
        item.put(out);
        end(out, start);
    }
}

/// As a structure with the fields 1 and 2.
impl<A: Field, B: Field> Field for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        put_field(out, 1, &self.0);
        put_field(out, 2, &self.1);
    }

    fn take(bytes: &[u8], reader: &mut Reader) -> (A, B) {
        let [a, b, ..] = reader.split(bytes);
        (A::take(a, reader), B::take(b, reader))
    }
}

impl<T: Field> Field for Box<T> {
    fn put(&self, out: &mut Vec<u8>) {
        T::put(self, out);
    }

    fn take(bytes: &[u8], reader: &mut Reader) -> Box<T> {
        Box::new(T::take(bytes, reader))
    }
}

impl<T: Field> Field for Arc<T> {
    fn put(&self, out: &mut Vec<u8>) {
        T::put(self, out);
    }

    fn take(bytes: &[u8], reader: &mut Reader) -> Arc<T> {
        Arc::new(T::take(bytes, reader))
    }
}

/// In clear: what contains secrets is sealed as a whole.
impl<T: Field> Field for Secret<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.expose().put(out);
    }

    fn take(bytes: &[u8], reader: &mut Reader) -> Secret<T> {
        Secret::new(T::take(bytes, reader))
    }
}
