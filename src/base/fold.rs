//! Folds text for search: one normal form, no case, no diacritics, one letter for similar letters.
//!
//! Similar letters are those that people do not distinguish when they type fast. Owns which texts are equal; `words` decides
//! where a word begins.
//! Invariant: a message and a query are folded by the same function, so two spellings with the same folded form match.

use unicode_normalization::UnicodeNormalization;

/// Folds a text. The result is in NFC, so that Hangul and kana are composed letters again.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // NFKD turns compatibility forms (full width, ligatures, presentation forms, superscripts) into plain letters and separates
    // marks from their letters. The lower case of a letter may contain a mark again (U+0130), so marks are removed after that.
    let mut plain = String::with_capacity(text.len());
    for c in text.nfkd().flat_map(char::to_lowercase) {
        push(&mut plain, c);
    }
    plain.nfc().collect()
}

fn push(out: &mut String, c: char) {
    match c {
        '\0'..='\x7f' => out.push(c),
        'ß' => out.push_str("ss"),
        'æ' => out.push_str("ae"),
        'œ' => out.push_str("oe"),
        // Letters with a stroke have no decomposition.
        'ø' => out.push('o'),
        'ł' => out.push('l'),
        'đ' | 'ð' => out.push('d'),
        'ħ' => out.push('h'),
        'ŧ' => out.push('t'),
        // Turkish: the letter without a dot equals the one with a dot, since many keyboards have only one of them.
        'ı' => out.push('i'),
        'ς' => out.push('σ'),
        // Alef wasla, and the forms whose hamza is not a separate mark.
        'ٱ' | '\u{672}' | '\u{673}' | '\u{675}' => out.push('ا'),
        // Alef maksura, Farsi ya and similar letters.
        'ى' | 'ی' | 'ې' | 'ۍ' | 'ے' => out.push('ي'),
        // Ta marbuta, and the forms of heh in Persian and Urdu.
        'ة' | 'ۃ' | 'ہ' | 'ھ' | 'ە' => out.push('ه'),
        'ک' | 'ڪ' => out.push('ك'),
        _ if is_dropped(c) => {}
        _ => out.push(digit(c).unwrap_or(c)),
    }
}

/// Characters that a search ignores: marks in scripts that are also written without them, and invisible characters.
fn is_dropped(c: char) -> bool {
    matches!(c,
        // Combining diacritics of decomposed Latin, Greek and Cyrillic.
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}'
        // Hebrew points and accents. Maqaf (U+05BE), paseq and sof pasuq separate words, so they are kept.
        | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}' | '\u{5c2}' | '\u{5c4}' | '\u{5c5}' | '\u{5c7}'
        // Tatweel (it only makes a word wider), vowel and Quranic marks, the hamza that NFKD separates from its letter.
        | 'ـ' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6dc}'
        | '\u{6df}'..='\u{6e4}' | '\u{6e7}' | '\u{6e8}' | '\u{6ea}'..='\u{6ed}' | '\u{8d3}'..='\u{8ff}'
        // Soft hyphen, joiners, direction marks, variation selectors.
        | '\u{ad}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200c}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0100}'..='\u{e01ef}')
}

/// The zero of each set of decimal digits that people write in chats. The other nine digits follow it.
const ZEROS: [char; 13] = [
    '\u{660}', '\u{6f0}', '\u{7c0}', '\u{966}', '\u{9e6}', '\u{a66}', '\u{ae6}', '\u{be6}', '\u{c66}',
    '\u{e50}', '\u{ed0}', '\u{1040}', '\u{17e0}',
];

fn digit(c: char) -> Option<char> {
    let value =
        ZEROS.iter().find_map(|zero| (c as u32).checked_sub(*zero as u32).filter(|value| *value < 10))?;
    char::from_digit(value, 10)
}

#[cfg(test)]
mod tests {
    use unicode_normalization::UnicodeNormalization;

    use super::*;

    #[test]
    fn spellings_of_one_text_have_one_folded_form() {
        let rows = [
            ("PLAIN text 42", "plain text 42"),
            ("Crème Brûlée Ångström", "creme brulee angstrom"),
            ("Tiếng Việt Đà Nẵng", "tieng viet da nang"),
            ("STRASSE Straße ſtraße GROẞ", "strasse strasse strasse gross"),
            ("Ærø œuvre łódź", "aero oeuvre lodz"),
            ("ｆｕｌｌ　ＷＩＤＴＨ１２", "full width12"),
            ("ﬁne oﬃce Ⅷ x²", "fine office viii x2"),
            ("İstanbul ISPARTA ısı IŞIK", "istanbul isparta isi isik"),
            ("Καλημέρα ΚΌΣΜΟΣ κόσμος", "καλημερα κοσμοσ κοσμοσ"),
            ("ещё Ёлка Мой", "еще елка мои"),
            ("שָׁלוֹם עֲלֵיכֶם", "שלום עליכם"),
            ("أحمد إلى آخر ٱلله", "احمد الي اخر الله"),
            ("مَدْرَسَة محـــمد", "مدرسه محمد"),
            ("سؤال شاطئ", "سوال شاطي"),
            ("کتاب خانهٔ یک", "كتاب خانه يك"),
            ("ہے پاکستان", "هي پاكستان"),
            ("١٢٣ ۴۵۶ १२३ ๑๒", "123 456 123 12"),
            ("ﷺ ﻣﺮﺣﺒﺎ", "صلي الله عليه وسلم مرحبا"),
            ("می\u{200c}خواهم", "ميخواهم"),
            ("ガンダム ｶﾞﾝﾀﾞﾑ", "ガンダム ガンダム"),
            ("한국어", "한국어"),
            ("ໝູ່", "ຫມູ່"),
            ("❤\u{fe0f} 👩\u{200d}💻", "❤ 👩💻"),
            ("co\u{ad}operate", "cooperate"),
        ];
        for (text, folded) in rows {
            assert_eq!(fold(text), folded, "{text}");
            for form in [text.nfc().collect::<String>(), text.nfd().collect()] {
                assert_eq!(fold(&form), folded, "{text} in another normal form");
            }
            assert_eq!(fold(folded), folded, "{text} folded twice");
        }
    }
}
