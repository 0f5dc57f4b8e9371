//! Upload reservations: what the uploads in progress take of their owners' quotas.
//!
//! They count against the number of uploads at once, and against the quota. The quota counts rows only and does not know a body
//! that is still coming: without a reservation one member could fill the disk with bodies that never end.
//! Owns the sums; leaves the limits to its callers.
//! Invariant: a member's sum is that of its reservations, and each reservation is given back once, by value.

use std::collections::BTreeMap;

use crate::limits::UPLOADS_OF_MEMBER_MAX;
use crate::model::id::ProfileId;
use crate::model::upload::UnderWay;

/// What one upload takes, until its row counts or it ends.
#[derive(Debug)]
pub struct Reservation {
    profile: ProfileId,
    bytes: u64,
    /// What its owner had left when it was admitted, before this and all others in progress.
    pub room: u64,
}

#[derive(Default)]
pub struct Reservations {
    of: BTreeMap<ProfileId, UnderWay>,
}

impl Reservations {
    /// Whether this member may start one more upload now.
    pub fn has_room(&self, profile: ProfileId) -> bool {
        self.sum(profile).files < UPLOADS_OF_MEMBER_MAX as u64
    }

    /// All uploads of this member that are being received now.
    pub fn under_way(&self, profile: ProfileId) -> UnderWay {
        self.sum(profile)
    }

    fn sum(&self, profile: ProfileId) -> UnderWay {
        self.of.get(&profile).copied().unwrap_or_default()
    }

    pub fn take(&mut self, profile: ProfileId, bytes: u64) -> Reservation {
        let sum = self.of.entry(profile).or_default();
        sum.files += 1;
        sum.bytes = sum.bytes.saturating_add(bytes);
        Reservation { profile, bytes, room: u64::MAX }
    }

    /// Records how much of a body of unknown length has come; `false` if its owner has no room for it.
    #[must_use]
    pub fn grow(&mut self, reservation: &mut Reservation, bytes: u64) -> bool {
        let more = bytes.saturating_sub(reservation.bytes);
        if more == 0 {
            return true;
        }
        reservation.bytes += more;
        let sum = self.of.entry(reservation.profile).or_default();
        sum.bytes = sum.bytes.saturating_add(more);
        sum.bytes <= reservation.room
    }

    pub fn give_back(&mut self, reservation: Reservation) {
        let Some(sum) = self.of.get_mut(&reservation.profile) else { return };
        sum.files = sum.files.saturating_sub(1);
        sum.bytes = sum.bytes.saturating_sub(reservation.bytes);
        if sum.files == 0 {
            self.of.remove(&reservation.profile);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;

    #[test]
    fn a_reservation_counts_until_it_is_given_back() {
        let (ann, bob) = (Id::from_u128(1), Id::from_u128(2));
        let mut reservations = Reservations::default();
        let whole = reservations.take(ann, 100);
        let mut growing = Reservation { room: 150, ..reservations.take(ann, 1) };
        assert!(reservations.grow(&mut growing, 1) && reservations.grow(&mut growing, 50));
        assert_eq!(reservations.under_way(ann), UnderWay { files: 2, bytes: 150 });
        assert_eq!(reservations.under_way(bob), UnderWay::default());
        assert!(!reservations.grow(&mut growing, 51));
        reservations.give_back(whole);
        assert_eq!(reservations.under_way(ann), UnderWay { files: 1, bytes: 51 });
        reservations.give_back(growing);
        assert!(reservations.of.is_empty());

        let all: Vec<Reservation> =
            (0..UPLOADS_OF_MEMBER_MAX).map(|_| reservations.take(ann, u64::MAX)).collect();
        assert!(!reservations.has_room(ann) && reservations.has_room(bob));
        all.into_iter().for_each(|reservation| reservations.give_back(reservation));
        assert!(reservations.has_room(ann) && reservations.of.is_empty());
    }
}
