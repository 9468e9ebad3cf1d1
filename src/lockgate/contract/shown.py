"""Foreign text before a person's eyes: what cannot be seen is made visible, what looks like something else is said. It must not change what is signed or stored."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any, Final

MAX_NOTICES: Final = 20
MAX_MARKS: Final = 3
"""Combining marks on one character; more of them are drawn over what stands above and below."""

# Unicode's Default_Ignorable_Code_Point, and letters and signs that are drawn as nothing. `str.isprintable` lets these through.
_UNSEEN: Final = frozenset(
    code
    for first, last in (
        (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
        (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x2800, 0x2800), (0x3164, 0x3164), (0xFE00, 0xFE0F),
        (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFC), (0x1BCA0, 0x1BCA3), (0x1D159, 0x1D159), (0x1D173, 0x1D17A),
        (0xE0000, 0xE0FFF),
    )
    for code in range(first, last + 1)
)  # fmt: skip
_NOT_PLAIN_ASCII: Final = re.compile(r"[^\n\t -~]+")
_WORD: Final = re.compile(r"\w+")
_TOGETHER: Final = tuple(
    frozenset(scripts.split()) for scripts in ("LATIN CJK HIRAGANA KATAKANA", "LATIN CJK BOPOMOFO", "LATIN CJK HANGUL")
)
"""Scripts that are written together (UTS 39, highly restrictive)."""
_ALIKE: Final = frozenset("асеорхуіјѕԁһԛԝьАВЕЗКМНОРСТХУІЈЅԌԚԜονυαικρχΑΒΕΖΗΙΚΜΝΟΡΤΥΧօսոհցզ")
"""Letters of Cyrillic, Greek and Armenian that are drawn as Latin ones."""
_NO_SCRIPTS: Final = frozenset(
    (
        "MICRO",
        "OHM",
        "KELVIN",
        "ANGSTROM",
        "SCRIPT",
        "MATHEMATICAL",
        "DOUBLE",
        "FULLWIDTH",
        "HALFWIDTH",
        "FEMININE",
        "MASCULINE",
        "MODIFIER",
        "SUPERSCRIPT",
        "SUBSCRIPT",
        "BLACK",
    )
)
"""What a letter's name may begin with instead of a script. Such letters are told by what they stand for."""


def visible(text: str, *, limit: int = 10_000) -> str:
    """Text for a person's eyes: control, bidi and other invisible characters shown as escapes, cut at `limit` characters. Lines stay lines."""
    shown = _NOT_PLAIN_ASCII.sub(_escaped, text[:limit])
    return shown + (f"… ({len(text) - limit} more characters)" if len(text) > limit else "")


def flat(text: str, *, limit: int = 10_000) -> str:
    """The same on one line: foreign text that brings its own lines could write ours."""
    return visible(text, limit=limit).replace("\n", "⏎").replace("\t", "⇥")


def quoted(text: str, *, limit: int = 500) -> str:
    """The same on one line and in quotes that the text cannot end."""
    return '"' + flat(text, limit=limit).replace('"', "'") + '"'


def _escaped(match: re.Match[str]) -> str:
    marks = 0 if match.start() else MAX_MARKS  # a mark at the very beginning would sit on our own words
    shown = []
    for char in match[0]:
        marks = marks + 1 if unicodedata.category(char)[0] == "M" else 0
        shown.append(char if _plain(char) and marks <= MAX_MARKS else f"⟨U+{ord(char):04X}⟩")
    return "".join(shown)


def _plain(char: str) -> bool:
    return char in "\n\t" or (char.isprintable() and ord(char) not in _UNSEEN)


def oddities(text: str) -> tuple[str, ...]:
    """What about a text may deceive who reads it: characters that are not seen, and words whose letters are not what they look like.

    Each is a sentence for a person; at most MAX_NOTICES. Time is linear in the text. Not found: words of one foreign script that only resemble
    one another, and digits or signs that resemble letters.
    """
    if not _NOT_PLAIN_ASCII.search(text):
        return ()
    found = [f"holds {_named(char)}" for char in sorted(set(text)) if not _plain(char)]
    foreign = _really_foreign(text)
    for word in dict.fromkeys(_WORD.findall(text)):
        if len(found) > MAX_NOTICES:
            break
        if not word.isascii() and (why := _odd_word(word, foreign)):
            found.append(f"the word {_spelt(word[:60])} {why}")
    if len(found) > MAX_NOTICES:
        found[MAX_NOTICES:] = ["and more of the kind"]
    return tuple(found)


def notices(value: Any, where: str, limit: int = MAX_NOTICES) -> list[str]:
    """`where: sentence` for every string of a JSON value, keys included, at most `limit` and a last one that says there are more."""
    found: list[str] = []
    stack: list[tuple[Any, str]] = [(value, where)]
    while stack and len(found) <= limit:
        item, place = stack.pop()
        if isinstance(item, str):
            found += [f"{place}: {oddity}" for oddity in oddities(item)]
        elif isinstance(item, dict):
            for key, inner in reversed(item.items()):
                stack += [(inner, f"{place}.{flat(key, limit=60)}"), (key, f"a name in {place}")]
        elif isinstance(item, list | tuple):
            stack += [(inner, f"{place}[{index}]") for index, inner in reversed(list(enumerate(item)))]
    return found if len(found) <= limit else [*found[:limit], f"{where}: and more of the kind"]


def _named(char: str) -> str:
    return f"U+{ord(char):04X} {unicodedata.name(char, 'a control character')}"


def _spelt(word: str) -> str:
    return "".join(char if char.isascii() else f"⟨U+{ord(char):04X}⟩" for char in word)


def _odd_word(word: str, foreign: bool) -> str:
    scripts = {script for char in word if (script := _script(char))}
    if len(scripts) > 1 and not any(scripts <= together for together in _TOGETHER):
        return f"mixes letters of {' and '.join(sorted(scripts))}"
    for char in word:
        plain = unicodedata.normalize("NFKC", char) if not char.isascii() else char
        if plain != char and plain.isascii() and plain.isalnum() and unicodedata.category(char) != "No":
            return f"has {_named(char)}, which looks like {plain!r}"
    letters = [char for char in word if char.isalpha()]
    if len(letters) > 1 and not foreign and all(char in _ALIKE for char in letters):
        return f"is of {' and '.join(sorted(scripts))} letters that all look like Latin ones"
    return ""


def _really_foreign(text: str) -> bool:
    """Whether some letter is of a look-alike script and looks like itself: then a word without such a letter is only a short word."""
    return any(_script(char) in ("CYRILLIC", "GREEK", "ARMENIAN") and char not in _ALIKE for char in set(text))


@lru_cache(maxsize=4096)
def _script(char: str) -> str:
    """The script of a letter by its name's first word; "" for what is of none."""
    if char.isascii():
        return "LATIN" if char.isalpha() else ""
    if not char.isalpha():
        return ""
    script = unicodedata.name(char, "").partition(" ")[0].partition("-")[0]
    return "" if script in _NO_SCRIPTS else script
