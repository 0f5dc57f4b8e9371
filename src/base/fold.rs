//! Text as it is compared in a search: the variants of a letter that people do not tell apart when they type in a hurry
//! become one. Case and Latin diacritics are left to the index, which folds them the same way on both sides.

/// Folds alef, ya and ta-marbuta variants, drops Arabic vowel marks, tatweel and combining diacritics.
pub fn fold(text: &str) -> String {
    text.chars().filter_map(fold_char).collect()
}

fn fold_char(c: char) -> Option<char> {
    Some(match c {
        // Alef with hamza above or below, with madda, wasla, and the high-hamza forms.
        'أ' | 'إ' | 'آ' | 'ٱ' | '\u{672}' | '\u{673}' | '\u{675}' => 'ا',
        // Alef maksura, Farsi ya and its kin.
        'ى' | 'ی' | 'ې' | 'ۍ' => 'ي',
        'ة' | 'ۃ' => 'ه',
        // Tatweel stretches a word and says nothing.
        'ـ' => return None,
        // Vowel and Quranic marks.
        '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6dc}' => return None,
        '\u{6df}'..='\u{6e4}' | '\u{6e7}' | '\u{6e8}' | '\u{6ea}'..='\u{6ed}' => return None,
        // Combining diacritics, as decomposed Latin, Greek and Cyrillic have them.
        '\u{300}'..='\u{36f}' => return None,
        other => other,
    })
}

/// The words of a text: runs of letters and digits, folded, at most `max` of them.
pub fn words(text: &str, max: usize) -> Vec<String> {
    fold(text)
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .take(max)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_one() {
        let rows = [
            ("أحمد إلى آخر", "احمد الي اخر"),
            ("مَدْرَسَة", "مدرسه"),
            ("محـــمد", "محمد"),
            ("e\u{301}te\u{301}", "ete"),
            ("plain", "plain"),
        ];
        for (text, folded) in rows {
            assert_eq!(fold(text), folded, "{text}");
        }
    }

    #[test]
    fn words_are_letters_and_digits_whatever_stands_between() {
        assert_eq!(
            words("\"a\" AND (b* OR -c) NEAR/2 ^d:e 'f", 16),
            ["a", "AND", "b", "OR", "c", "NEAR", "2", "d", "e", "f"]
        );
        assert_eq!(words("؟ !  ", 16), [""; 0]);
        assert_eq!(words("a b c", 2), ["a", "b"]);
    }
}
