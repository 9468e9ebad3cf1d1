"""Foreign text before a person's eyes: nothing unseen, nothing that writes our lines, and look-alikes are told."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.contract.shown import MAX_NOTICES, flat, notices, oddities, quoted, visible


def test_invisible_characters_are_shown_and_long_text_is_cut() -> None:
    assert visible("a\u202eb\x1b[1m\u200bc\nd é") == "a⟨U+202E⟩b⟨U+001B⟩[1m⟨U+200B⟩c\nd é"
    assert visible("x" * 12, limit=10) == "x" * 10 + "… (2 more characters)"


@pytest.mark.parametrize(
    "char", "\u3164\uffa0\u115f\u034f\ufe0f\u2800\u180e\u00ad\U000e0041\U000e0100\x7f\x9b\ufffc\ue000"
)
def test_what_is_drawn_as_nothing_is_shown_and_told(char: str) -> None:
    assert visible(f"a{char}b") == f"a⟨U+{ord(char):04X}⟩b"
    assert f"U+{ord(char):04X}" in oddities(f"a{char}b")[0]


def test_marks_stay_on_their_letter_and_in_their_line() -> None:
    assert visible("e\u0301") == "e\u0301"
    assert visible("\u0301e") == "⟨U+0301⟩e"
    assert visible("e" + "\u0301" * 4) == "e" + "\u0301" * 3 + "⟨U+0301⟩"


@given(st.text())
def test_shown_text_never_commands_a_terminal_nor_changes_direction(text: str) -> None:
    shown = flat(text)
    assert not [char for char in shown if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs")]
    assert quoted(text).count('"') == 2 and "\n" not in shown


@given(st.text(alphabet=st.characters(max_codepoint=126, min_codepoint=32)))
def test_plain_text_is_shown_as_it_is_and_is_not_odd(text: str) -> None:
    assert visible(text) == text and oddities(text) == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("p\u0430ypal", "mixes letters of CYRILLIC and LATIN"),
        ("\u0441\u043e\u0440\u0435", "all look like Latin ones"),
        ("\uff21\uff22", "looks like 'A'"),
        ("\U0001d41abc", "looks like 'a'"),
        ("web\u2066prod", "U+2066 LEFT-TO-RIGHT ISOLATE"),
        ("v\u03bf\u13aa", "mixes letters of CHEROKEE and GREEK and LATIN"),
    ],
)
def test_look_alikes_are_told(text: str, told: str) -> None:
    assert told in " ".join(oddities(text))


@pytest.mark.parametrize(
    "text",
    ["naïve café", "это просто хор", "東京タワー Tokyo", "Größe 10µs x²", "סיבה טובה", "서울A동", "line\n\tline", "Ω"],
)
def test_ordinary_words_of_the_worlds_languages_are_not_odd(text: str) -> None:
    assert oddities(text) == ()


def test_notices_say_where_and_are_bounded() -> None:
    plan = {"changes": [{"add\u202eress": "p\u0430ypal"}]}
    assert notices(plan, "plan") == [
        "a name in plan.changes[0]: holds U+202E RIGHT-TO-LEFT OVERRIDE",
        "plan.changes[0].add⟨U+202E⟩ress: the word p⟨U+0430⟩ypal mixes letters of CYRILLIC and LATIN",
    ]
    many = notices(["\u202e"] * 1000, "plan")
    assert len(many) == MAX_NOTICES + 1 and many[-1] == "plan: and more of the kind"
