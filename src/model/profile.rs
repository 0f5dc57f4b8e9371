//! A profile: what others see of a member.

use serde::Serialize;

use super::message::Time;
use super::upload::Image;
use crate::base::id::Id;

#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    pub id: Id,
    /// The member's id in one's own profile, `None` in other people's and in events.
    pub member: Option<Id>,
    pub display_name: String,
    pub nick_name: String,
    pub profile_image: Option<Image>,
    pub is_private: bool,
    pub created_at: Time,
    /// Only in one's own profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence: Option<bool>,
}

impl Profile {
    /// As other people see it.
    pub fn for_others(mut self) -> Profile {
        self.member = None;
        self.presence = None;
        self
    }
}
