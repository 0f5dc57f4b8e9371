//! A generational slab: values in slots, with keys that stay safe to use after the value is removed.
//!
//! Owns slots and generations. Invariant: the key of a removed value never finds a later value in the same slot.

use std::marker::PhantomData;

/// Identifies one value and no later one: the slot in the low 32 bits, the generation in the high 32.
pub struct Key<T> {
    raw: u64,
    of: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    /// The key as one number, for use as a poll token or a lane.
    pub fn to_u64(self) -> u64 {
        self.raw
    }

    /// The reverse of [`Key::to_u64`]. A number that never was a key finds no value.
    pub fn from_u64(raw: u64) -> Key<T> {
        Key { raw, of: PhantomData }
    }

    fn slot(self) -> usize {
        (self.raw & u64::from(u32::MAX)) as usize
    }

    fn generation(self) -> u32 {
        (self.raw >> 32) as u32
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Key<T> {}
impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}
impl<T> Eq for Key<T> {}
impl<T> PartialOrd for Key<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Key<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.raw.cmp(&other.raw)
    }
}
impl<T> std::fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.slot(), self.generation())
    }
}

enum Slot<T> {
    Full { generation: u32, value: T },
    Free { generation: u32, next: Option<u32> },
}

pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Option<u32>,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { slots: Vec::new(), free: None, len: 0 }
    }
}

impl<T> Slab<T> {
    pub fn new() -> Slab<T> {
        Slab::default()
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn insert(&mut self, value: T) -> Key<T> {
        self.len += 1;
        let (slot, generation) = match self.free {
            Some(slot) => {
                let Slot::Free { generation, next } = self.slots[slot as usize] else {
                    unreachable!("the free list holds free slots only")
                };
                self.free = next;
                self.slots[slot as usize] = Slot::Full { generation, value };
                (slot, generation)
            }
            None => {
                let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 values, by every bound");
                self.slots.push(Slot::Full { generation: 1, value });
                (slot, 1)
            }
        };
        Key::from_u64(u64::from(generation) << 32 | u64::from(slot))
    }

    pub fn get(&self, key: Key<T>) -> Option<&T> {
        match self.slots.get(key.slot()) {
            Some(Slot::Full { generation, value }) if *generation == key.generation() => Some(value),
            _ => None,
        }
    }

    pub fn get_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        match self.slots.get_mut(key.slot()) {
            Some(Slot::Full { generation, value }) if *generation == key.generation() => Some(value),
            _ => None,
        }
    }

    pub fn contains(&self, key: Key<T>) -> bool {
        self.get(key).is_some()
    }

    pub fn remove(&mut self, key: Key<T>) -> Option<T> {
        self.get(key)?;
        let free = Slot::Free { generation: key.generation().wrapping_add(1), next: self.free };
        let Slot::Full { value, .. } = std::mem::replace(&mut self.slots[key.slot()], free) else {
            unreachable!("get found it")
        };
        self.free = Some(key.slot() as u32);
        self.len -= 1;
        Some(value)
    }

    /// All keys in the order of their slots: the same history gives the same order.
    pub fn keys(&self) -> impl Iterator<Item = Key<T>> + '_ {
        self.slots.iter().enumerate().filter_map(|(slot, entry)| match entry {
            Slot::Full { generation, .. } => Some(Key::from_u64(u64::from(*generation) << 32 | slot as u64)),
            Slot::Free { .. } => None,
        })
    }

    /// All values, in the order of their slots.
    pub fn values(&self) -> impl Iterator<Item = &T> + '_ {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Full { value, .. } => Some(value),
            Slot::Free { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_finds_nothing_in_a_reused_slot() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_eq!(first.slot(), second.slot());
        assert_eq!((slab.get(first), slab.get(second)), (None, Some(&"second")));
        assert_eq!((slab.remove(first), slab.len()), (None, 1));
        assert_eq!(Key::<&str>::from_u64(second.to_u64()), second);
    }
}
