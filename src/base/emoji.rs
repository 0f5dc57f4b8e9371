//! Decides whether a text is exactly one emoji, and converts between its two spellings.
//!
//! Owns the grammar of emoji sequences (UTS #51, 1.4) and the properties that it needs, from emoji-data.txt 17.0. It does not
//! check whether a font has a picture for a well-formed sequence. Newer devices send emoji that are newer than this table, so
//! code points that Unicode reserves for later emoji are accepted too.
//! Invariant: two spellings of one emoji have the same bare form, and [`qualified`] of the bare form is fully qualified.

/// VARIATION SELECTOR-16: selects the coloured picture. Some keyboards and systems send it, others do not.
const EMOJI_STYLE: char = '\u{fe0f}';
const JOINER: char = '\u{200d}';
const KEYCAP: char = '\u{20e3}';
const BLACK_FLAG: char = '\u{1f3f4}';
const TAG_END: char = '\u{e007f}';
/// Tags in the code of a country's subdivision (ISO 3166-2): two for the country, then one to three letters or digits.
const SUBDIVISION_TAGS: std::ops::RangeInclusive<usize> = 3..=5;

/// A text without U+FE0F.
pub fn without_style(text: &str) -> String {
    text.chars().filter(|&c| c != EMOJI_STYLE).collect()
}

/// The form in which emoji are compared: `text` without U+FE0F. `None` if `text` is not exactly one emoji.
pub fn bare(text: &str) -> Option<String> {
    let bare = without_style(text);
    let chars: Vec<char> = bare.chars().collect();
    let one = match chars[..] {
        ['0'..='9' | '#' | '*', KEYCAP] => true,
        [first, second] if is_regional(first) && is_regional(second) => true,
        [BLACK_FLAG, ref tags @ .., TAG_END] if !tags.is_empty() => is_subdivision(tags),
        _ => chars.split(|&c| c == JOINER).all(is_element),
    };
    one.then_some(bare)
}

/// The fully qualified form of a bare form: U+FE0F follows each character that is text by default, except before a skin
/// tone. A text that is not an emoji is returned unchanged.
pub fn qualified(bare: &str) -> String {
    let mut out = String::with_capacity(bare.len() + EMOJI_STYLE.len_utf8());
    let mut chars = bare.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(c);
        let next = chars.peek().copied();
        let is_text = next == Some(KEYCAP) || (is_in(TEXT_BY_DEFAULT, c) && !next.is_some_and(is_skin_tone));
        if is_text {
            out.push(EMOJI_STYLE);
        }
    }
    out
}

/// One element of a joined sequence: an emoji, with a skin tone if the emoji shows skin.
fn is_element(chars: &[char]) -> bool {
    match *chars {
        [c] => is_in(TEXT_BY_DEFAULT, c) || is_in(PICTURE_BY_DEFAULT, c),
        [c, tone] => is_in(SHOWS_SKIN, c) && is_skin_tone(tone),
        _ => false,
    }
}

fn is_subdivision(tags: &[char]) -> bool {
    SUBDIVISION_TAGS.contains(&tags.len())
        && tags.iter().all(|c| matches!(c, '\u{e0030}'..='\u{e0039}' | '\u{e0061}'..='\u{e007a}'))
}

fn is_regional(c: char) -> bool {
    matches!(c, '\u{1f1e6}'..='\u{1f1ff}')
}

fn is_skin_tone(c: char) -> bool {
    matches!(c, '\u{1f3fb}'..='\u{1f3ff}')
}

fn is_in(table: &[(u32, u32)], c: char) -> bool {
    let c = u32::from(c);
    let after = table.partition_point(|&(first, _)| first <= c);
    after > 0 && c <= table[after - 1].1
}

/// Emoji=Yes and Emoji_Presentation=No, outside ASCII.
#[rustfmt::skip]
const TEXT_BY_DEFAULT: &[(u32, u32)] = &[
    (0xa9, 0xa9), (0xae, 0xae), (0x203c, 0x203c), (0x2049, 0x2049), (0x2122, 0x2122), (0x2139, 0x2139),
    (0x2194, 0x2199), (0x21a9, 0x21aa), (0x2328, 0x2328), (0x23cf, 0x23cf), (0x23ed, 0x23ef), (0x23f1,
    0x23f2), (0x23f8, 0x23fa), (0x24c2, 0x24c2), (0x25aa, 0x25ab), (0x25b6, 0x25b6), (0x25c0, 0x25c0),
    (0x25fb, 0x25fc), (0x2600, 0x2604), (0x260e, 0x260e), (0x2611, 0x2611), (0x2618, 0x2618), (0x261d,
    0x261d), (0x2620, 0x2620), (0x2622, 0x2623), (0x2626, 0x2626), (0x262a, 0x262a), (0x262e, 0x262f),
    (0x2638, 0x263a), (0x2640, 0x2640), (0x2642, 0x2642), (0x265f, 0x2660), (0x2663, 0x2663), (0x2665,
    0x2666), (0x2668, 0x2668), (0x267b, 0x267b), (0x267e, 0x267e), (0x2692, 0x2692), (0x2694, 0x2697),
    (0x2699, 0x2699), (0x269b, 0x269c), (0x26a0, 0x26a0), (0x26a7, 0x26a7), (0x26b0, 0x26b1), (0x26c8,
    0x26c8), (0x26cf, 0x26cf), (0x26d1, 0x26d1), (0x26d3, 0x26d3), (0x26e9, 0x26e9), (0x26f0, 0x26f1),
    (0x26f4, 0x26f4), (0x26f7, 0x26f9), (0x2702, 0x2702), (0x2708, 0x2709), (0x270c, 0x270d), (0x270f,
    0x270f), (0x2712, 0x2712), (0x2714, 0x2714), (0x2716, 0x2716), (0x271d, 0x271d), (0x2721, 0x2721),
    (0x2733, 0x2734), (0x2744, 0x2744), (0x2747, 0x2747), (0x2763, 0x2764), (0x27a1, 0x27a1), (0x2934,
    0x2935), (0x2b05, 0x2b07), (0x3030, 0x3030), (0x303d, 0x303d), (0x3297, 0x3297), (0x3299, 0x3299),
    (0x1f170, 0x1f171), (0x1f17e, 0x1f17f), (0x1f202, 0x1f202), (0x1f237, 0x1f237), (0x1f321, 0x1f321),
    (0x1f324, 0x1f32c), (0x1f336, 0x1f336), (0x1f37d, 0x1f37d), (0x1f396, 0x1f397), (0x1f399, 0x1f39b),
    (0x1f39e, 0x1f39f), (0x1f3cb, 0x1f3ce), (0x1f3d4, 0x1f3df), (0x1f3f3, 0x1f3f3), (0x1f3f5, 0x1f3f5),
    (0x1f3f7, 0x1f3f7), (0x1f43f, 0x1f43f), (0x1f441, 0x1f441), (0x1f4fd, 0x1f4fd), (0x1f549, 0x1f54a),
    (0x1f56f, 0x1f570), (0x1f573, 0x1f579), (0x1f587, 0x1f587), (0x1f58a, 0x1f58d), (0x1f590, 0x1f590),
    (0x1f5a5, 0x1f5a5), (0x1f5a8, 0x1f5a8), (0x1f5b1, 0x1f5b2), (0x1f5bc, 0x1f5bc), (0x1f5c2, 0x1f5c4),
    (0x1f5d1, 0x1f5d3), (0x1f5dc, 0x1f5de), (0x1f5e1, 0x1f5e1), (0x1f5e3, 0x1f5e3), (0x1f5e8, 0x1f5e8),
    (0x1f5ef, 0x1f5ef), (0x1f5f3, 0x1f5f3), (0x1f5fa, 0x1f5fa), (0x1f6cb, 0x1f6cb), (0x1f6cd, 0x1f6cf),
    (0x1f6e0, 0x1f6e5), (0x1f6e9, 0x1f6e9), (0x1f6f0, 0x1f6f0), (0x1f6f3, 0x1f6f3),
];

/// Emoji_Presentation=Yes, without regional indicators and skin tones; and unassigned code points that are
/// Extended_Pictographic.
#[rustfmt::skip]
const PICTURE_BY_DEFAULT: &[(u32, u32)] = &[
    (0x231a, 0x231b), (0x23e9, 0x23ec), (0x23f0, 0x23f0), (0x23f3, 0x23f3), (0x25fd, 0x25fe), (0x2614,
    0x2615), (0x2648, 0x2653), (0x267f, 0x267f), (0x2693, 0x2693), (0x26a1, 0x26a1), (0x26aa, 0x26ab),
    (0x26bd, 0x26be), (0x26c4, 0x26c5), (0x26ce, 0x26ce), (0x26d4, 0x26d4), (0x26ea, 0x26ea), (0x26f2,
    0x26f3), (0x26f5, 0x26f5), (0x26fa, 0x26fa), (0x26fd, 0x26fd), (0x2705, 0x2705), (0x270a, 0x270b),
    (0x2728, 0x2728), (0x274c, 0x274c), (0x274e, 0x274e), (0x2753, 0x2755), (0x2757, 0x2757), (0x2795,
    0x2797), (0x27b0, 0x27b0), (0x27bf, 0x27bf), (0x2b1b, 0x2b1c), (0x2b50, 0x2b50), (0x2b55, 0x2b55),
    (0x1f004, 0x1f004), (0x1f02c, 0x1f02f), (0x1f094, 0x1f09f), (0x1f0af, 0x1f0b0), (0x1f0c0, 0x1f0c0),
    (0x1f0cf, 0x1f0d0), (0x1f0f6, 0x1f0ff), (0x1f18e, 0x1f18e), (0x1f191, 0x1f19a), (0x1f1ae, 0x1f1e5),
    (0x1f201, 0x1f201), (0x1f203, 0x1f20f), (0x1f21a, 0x1f21a), (0x1f22f, 0x1f22f), (0x1f232, 0x1f236),
    (0x1f238, 0x1f23a), (0x1f23c, 0x1f23f), (0x1f249, 0x1f25f), (0x1f266, 0x1f320), (0x1f32d, 0x1f335),
    (0x1f337, 0x1f37c), (0x1f37e, 0x1f393), (0x1f3a0, 0x1f3ca), (0x1f3cf, 0x1f3d3), (0x1f3e0, 0x1f3f0),
    (0x1f3f4, 0x1f3f4), (0x1f3f8, 0x1f3fa), (0x1f400, 0x1f43e), (0x1f440, 0x1f440), (0x1f442, 0x1f4fc),
    (0x1f4ff, 0x1f53d), (0x1f54b, 0x1f54e), (0x1f550, 0x1f567), (0x1f57a, 0x1f57a), (0x1f595, 0x1f596),
    (0x1f5a4, 0x1f5a4), (0x1f5fb, 0x1f64f), (0x1f680, 0x1f6c5), (0x1f6cc, 0x1f6cc), (0x1f6d0, 0x1f6d2),
    (0x1f6d5, 0x1f6df), (0x1f6eb, 0x1f6ef), (0x1f6f4, 0x1f6ff), (0x1f7da, 0x1f7ff), (0x1f80c, 0x1f80f),
    (0x1f848, 0x1f84f), (0x1f85a, 0x1f85f), (0x1f888, 0x1f88f), (0x1f8ae, 0x1f8af), (0x1f8bc, 0x1f8bf),
    (0x1f8c2, 0x1f8cf), (0x1f8d9, 0x1f8ff), (0x1f90c, 0x1f93a), (0x1f93c, 0x1f945), (0x1f947, 0x1f9ff),
    (0x1fa58, 0x1fa5f), (0x1fa6e, 0x1faff), (0x1fc00, 0x1fffd),
];

/// Emoji_Modifier_Base=Yes.
#[rustfmt::skip]
const SHOWS_SKIN: &[(u32, u32)] = &[
    (0x261d, 0x261d), (0x26f9, 0x26f9), (0x270a, 0x270d), (0x1f385, 0x1f385), (0x1f3c2, 0x1f3c4), (0x1f3c7,
    0x1f3c7), (0x1f3ca, 0x1f3cc), (0x1f442, 0x1f443), (0x1f446, 0x1f450), (0x1f466, 0x1f478), (0x1f47c,
    0x1f47c), (0x1f481, 0x1f483), (0x1f485, 0x1f487), (0x1f48f, 0x1f48f), (0x1f491, 0x1f491), (0x1f4aa,
    0x1f4aa), (0x1f574, 0x1f575), (0x1f57a, 0x1f57a), (0x1f590, 0x1f590), (0x1f595, 0x1f596), (0x1f645,
    0x1f647), (0x1f64b, 0x1f64f), (0x1f6a3, 0x1f6a3), (0x1f6b4, 0x1f6b6), (0x1f6c0, 0x1f6c0), (0x1f6cc,
    0x1f6cc), (0x1f90c, 0x1f90c), (0x1f90f, 0x1f90f), (0x1f918, 0x1f91f), (0x1f926, 0x1f926), (0x1f930,
    0x1f939), (0x1f93c, 0x1f93e), (0x1f977, 0x1f977), (0x1f9b5, 0x1f9b6), (0x1f9b8, 0x1f9b9), (0x1f9bb,
    0x1f9bb), (0x1f9cd, 0x1f9cf), (0x1f9d1, 0x1f9dd), (0x1fac3, 0x1fac5), (0x1faf0, 0x1faf8),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_emoji_in_its_spellings() {
        for (sent, shown) in [
            ("\u{1f44d}", "\u{1f44d}"),
            ("\u{1f44d}\u{fe0f}", "\u{1f44d}"),
            ("\u{2764}", "\u{2764}\u{fe0f}"),
            ("\u{2764}\u{fe0f}", "\u{2764}\u{fe0f}"),
            ("\u{a9}", "\u{a9}\u{fe0f}"),
            ("1\u{20e3}", "1\u{fe0f}\u{20e3}"),
            ("#\u{fe0f}\u{20e3}", "#\u{fe0f}\u{20e3}"),
            ("\u{1f1e9}\u{1f1ea}", "\u{1f1e9}\u{1f1ea}"),
            ("\u{1f44d}\u{1f3fd}", "\u{1f44d}\u{1f3fd}"),
            ("\u{261d}\u{1f3fb}", "\u{261d}\u{1f3fb}"),
            ("\u{261d}", "\u{261d}\u{fe0f}"),
            // A family, a couple with a heart, a couple with two skin tones, a detective with a skin tone, a flag.
            ("\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}", "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}"),
            (
                "\u{1f469}\u{200d}\u{2764}\u{200d}\u{1f468}",
                "\u{1f469}\u{200d}\u{2764}\u{fe0f}\u{200d}\u{1f468}",
            ),
            (
                "\u{1f469}\u{1f3fb}\u{200d}\u{2764}\u{fe0f}\u{200d}\u{1f48b}\u{200d}\u{1f468}\u{1f3ff}",
                "\u{1f469}\u{1f3fb}\u{200d}\u{2764}\u{fe0f}\u{200d}\u{1f48b}\u{200d}\u{1f468}\u{1f3ff}",
            ),
            ("\u{1f575}\u{1f3fe}\u{200d}\u{2640}", "\u{1f575}\u{1f3fe}\u{200d}\u{2640}\u{fe0f}"),
            ("\u{1f575}\u{200d}\u{2642}", "\u{1f575}\u{fe0f}\u{200d}\u{2642}\u{fe0f}"),
            ("\u{1f3f3}\u{200d}\u{1f308}", "\u{1f3f3}\u{fe0f}\u{200d}\u{1f308}"),
            (
                "\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
                "\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
            ),
            ("\u{1f3f4}", "\u{1f3f4}"),
            ("\u{1f3f4}\u{200d}\u{2620}", "\u{1f3f4}\u{200d}\u{2620}\u{fe0f}"),
            // Reserved for a later version.
            ("\u{1faff}", "\u{1faff}"),
        ] {
            let bare = bare(sent).unwrap_or_else(|| panic!("{sent:?} is one emoji"));
            assert!(!bare.contains(EMOJI_STYLE));
            assert_eq!(qualified(&bare), shown, "{sent:?}");
            assert_eq!(super::bare(shown).as_deref(), Some(bare.as_str()), "{shown:?}");
        }
    }

    #[test]
    fn texts_that_are_not_exactly_one_emoji() {
        for text in [
            "",
            "a",
            "1",
            "#",
            "+1",
            "\u{e9}",
            "\u{200d}",
            "\u{fe0f}",
            "\u{20e3}",
            "\u{1f3fb}",
            "\u{1f1e9}",
            "\u{e007f}",
            "\n",
            "1\u{fe0f}",
            "a\u{20e3}",
            "\u{1f44d}\u{1f44d}",
            "\u{1f44d}\u{200d}",
            "\u{200d}\u{1f44d}",
            "\u{1f44d} ",
            "\u{1f44d}a",
            "\u{1f1e9}\u{1f1ea}\u{1f1eb}",
            "\u{1f600}\u{1f3fb}",
            "\u{1f44d}\u{1f3fb}\u{1f3fc}",
            "\u{2764}\u{fe0e}",
            "\u{1f3f4}\u{e007f}",
            "\u{1f3f4}\u{e0067}\u{e0062}",
            "\u{1f44d}\u{e0067}\u{e0062}\u{e0073}\u{e007f}",
            "\u{1f468}\u{200d}\u{200d}\u{1f469}",
            "\u{1f468}\u{200d}a",
            "\u{2605}",
            "\u{1f1e9}\u{200d}\u{1f44d}",
        ] {
            assert_eq!(bare(text), None, "{text:?}");
        }
    }

    #[test]
    fn tables_are_sorted_and_disjoint() {
        for table in [TEXT_BY_DEFAULT, PICTURE_BY_DEFAULT, SHOWS_SKIN] {
            assert!(table.iter().all(|(first, last)| first <= last));
            assert!(table.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
        for &(first, last) in SHOWS_SKIN {
            for c in (first..=last).filter_map(char::from_u32) {
                assert!(is_in(TEXT_BY_DEFAULT, c) != is_in(PICTURE_BY_DEFAULT, c), "{c:?}");
            }
        }
    }
}
