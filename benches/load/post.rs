//! A post of a load, as a template: a hundred bytes of words, with the marks that the ledger needs.
//!
//! Owns the text. Invariant: no two posts of a run have one `client_id`, and filling the template allocates nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use natter::base::id::Id;

use super::conn::FIRST;
use super::ledger::{NUMBER_DIGITS, SENDER_DIGITS};

/// Words of a body, of so many letters: with its mark it has a hundred bytes, which is a usual length.
const WORDS: usize = 12;
const LETTERS: usize = 6;
/// Different words, so that a search finds some of the messages and not all.
const VOCABULARY: u64 = 16 * 16 * 16;
const CONSONANTS: &[u8; 16] = b"bcdfghjklmnprstv";
const VOWELS: &[u8; 4] = b"aeio";

pub struct Post {
    text: Vec<u8>,
    number_at: usize,
    id_at: usize,
    mark_at: usize,
    words_at: usize,
}

impl Post {
    pub fn new(conversation: &str, sender: u32) -> Post {
        let mut text = b"{\"id\":".to_vec();
        let number_at = text.len();
        text.extend(format!("{FIRST},\"op\":\"message.post\",\"conversation\":\"{conversation}\"").bytes());
        text.extend(b",\"client_id\":\"");
        let id_at = text.len();
        text.extend(<Id>::from_u128(0).text());
        text.extend(format!("\",\"body\":\"#{sender:0SENDER_DIGITS$} ").bytes());
        let mark_at = text.len();
        text.extend([b'0'; NUMBER_DIGITS]);
        let words_at = text.len();
        text.extend([b' '; WORDS * (LETTERS + 1)]);
        text.extend(b"\"}");
        Post { text, number_at, id_at, mark_at, words_at }
    }

    /// Appends the request with the number `number` for the post `mark` of the sender.
    pub fn write(&mut self, number: u64, mark: u64, random: &mut Random, out: &mut Vec<u8>) {
        digits(&mut self.text[self.number_at..][..NUMBER_DIGITS], number);
        digits(&mut self.text[self.mark_at..][..NUMBER_DIGITS], mark);
        self.text[self.id_at..][..26].copy_from_slice(&client_id(random).text());
        for at in 0..WORDS {
            let start = self.words_at + at * (LETTERS + 1) + 1;
            self.text[start..start + LETTERS].copy_from_slice(&word(random.next()));
        }
        out.extend_from_slice(&self.text);
    }
}

/// A `client_id`, drawn as clients do.
pub fn client_id(random: &mut Random) -> Id {
    let ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    <Id>::from_u128(ms << 80 | u128::from(random.next()) << 16)
}

/// A word of the vocabulary.
pub fn word(random: u64) -> [u8; LETTERS] {
    let mut rest = random % VOCABULARY;
    let mut word = [0; LETTERS];
    for syllable in word.chunks_mut(2) {
        let consonant = (rest % 16) as usize;
        syllable.copy_from_slice(&[CONSONANTS[consonant], VOWELS[consonant % 4]]);
        rest /= 16;
    }
    word
}

fn digits(text: &mut [u8], mut value: u64) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Numbers from a seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        // splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}
