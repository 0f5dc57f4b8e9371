#!/usr/bin/env python3
"""Writes src/site/client/emoji.txt: every emoji with its names, from Unicode's data as npm has it.

    npm pack emojibase-data@17.0.0 cldr-annotations-full@47.0.0 cldr-annotations-derived-full@47.0.0
    scripts/emoji_table.py FOLDER-OF-THE-ARCHIVES

The file has parts with an empty line between them. In the first a line is `=` and the name of a group, or an emoji (`+` after it:
it takes a skin tone). Then there is a part for each language: its code, and a line for each emoji, its name and after `|`
further words that find it. So equal things are close together: 44 kB compressed, where one line for all was 47.
"""

import collections
import json
import os
import re
import sys
import tarfile

LANGUAGES = ["en", "ar"]
# Further words of one emoji in one language. All of them would be 75 kB compressed.
WORDS_MAX = 3
# Newer ones are not in the fonts of many devices yet.
VERSION_MAX = 15.1
GROUPS = ["smileys", "people", None, "nature", "food", "travel", "activities", "objects", "symbols", "flags"]
OUT = os.path.join(os.path.dirname(__file__), "../src/site/client/emoji.txt")
NOTICE = "# Emoji, names and keywords: Unicode CLDR, (c) Unicode, Inc., Unicode License V3 (unicode.org/license.txt)"


def loaded(folder, archive, path):
    name = next(n for n in sorted(os.listdir(folder)) if n.startswith(archive) and n.endswith(".tgz"))
    with tarfile.open(os.path.join(folder, name)) as tar:
        return json.load(tar.extractfile("package/" + path))


def words_of(folder, language):
    plain = loaded(folder, "cldr-annotations-full", f"annotations/{language}/annotations.json")
    derived = loaded(folder, "cldr-annotations-derived-full", f"annotationsDerived/{language}/annotations.json")
    return derived["annotationsDerived"]["annotations"] | plain["annotations"]["annotations"]


def counts_of(words):
    return collections.Counter(
        word for found in words.values() for word in set(re.findall(r"\w+", " ".join(found.get("default", [])).lower()))
    )


def entry(words, counts, emoji, is_variant):
    found = words.get(emoji) or words.get(emoji.replace("\ufe0f", ""))
    if not found:
        return ""
    name = re.sub(r"^[^:]{1,8}: ", "", found["tts"][0]) if 0x1F1E6 <= ord(emoji[0]) <= 0x1F1FF else found["tts"][0]
    known = set(re.findall(r"\w+", name.lower()))
    more = []
    for word in re.findall(r"\w+", " ".join(found.get("default", [])).lower()):
        if word not in known and len(word) > 1:
            known.add(word)
            more.append(word)
    # The words of many emoji are those that people look for, and they compress well. The group finds a flag, and a person
    # of a gender is next to the person.
    more = [] if is_variant else sorted(more, key=lambda word: -counts[word])[:WORDS_MAX]
    return name + ("|" + " ".join(more) if more else "")


def is_family(emoji):
    """Of three or four people, which no font draws apart any more."""
    return emoji.count("\u200d") > 1 and any(sign in emoji for sign in "\U0001f466\U0001f467\U0001f9d2") and "\ufe0f" not in emoji


def written(one):
    """As Unicode writes it: a variation selector only after what would be drawn as text without it."""
    is_emoji = one["type"] == 1 and "\u200d" not in one["emoji"] and "\u20e3" not in one["emoji"]
    return one["emoji"].replace("\ufe0f", "") if is_emoji else one["emoji"]


def main(folder):
    data = loaded(folder, "emojibase-data", "en/data.json")
    tables = [(words, counts_of(words)) for words in (words_of(folder, language) for language in LANGUAGES)]
    shown = sorted((e for e in data if "order" in e and e["version"] <= VERSION_MAX and e.get("group") != 2 and not is_family(e["emoji"])), key=lambda e: e["order"])
    lines, group = [NOTICE], None
    parts = [[language] for language in LANGUAGES]
    for one in shown:
        if one["group"] != group:
            group = one["group"]
            lines.append("=" + GROUPS[group])
        is_variant = GROUPS[group] == "flags" or "\u200d" in one["emoji"]
        lines.append(written(one) + ("+" if "skins" in one else ""))
        for part, table in zip(parts, tables):
            part.append(entry(*table, one["emoji"], is_variant))
    with open(OUT, "w", encoding="utf-8") as out:
        out.write("\n\n".join("\n".join(part) for part in [lines, *parts]) + "\n")


if {"-h", "--help"} & set(sys.argv):
    sys.exit(print(__doc__.strip()))
main(sys.argv[1])
