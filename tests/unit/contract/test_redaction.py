"""Known secrets are masked in every form a tool may print them, and in time linear in the text."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.contract.redaction import MASK, Redactor

SECRET = 'p4ss/w"rd+ü?&'


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        quote(SECRET, safe=""),
        SECRET.encode().hex(),
    ],
)
def test_each_form_is_masked(form: str) -> None:
    assert Redactor([SECRET]).text(f"before {form} after") == f"before {MASK} after"


@given(st.binary(max_size=12), st.binary(max_size=12))
def test_base64_of_a_text_around_the_secret_does_not_give_it_back(before: bytes, after: bytes) -> None:
    secret = b"correct-horse-battery"
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(before + secret + after).decode()
        shown = Redactor([secret.decode()]).text(encoded)
        assert MASK in shown
        assert encoded not in shown


def test_documents_are_masked_in_keys_and_values() -> None:
    value = {"key hunter22": ["hunter22", {"a": ("x hunter22",)}], "n": 1, "none": None}
    assert Redactor(["hunter22"]).value(value) == {f"key {MASK}": [MASK, {"a": [f"x {MASK}"]}], "n": 1, "none": None}


def test_the_longer_secret_is_masked_first() -> None:
    assert Redactor(["hunter", "hunter22"]).text("hunter22 hunter") == f"{MASK} {MASK}"


def test_without_secrets_nothing_changes_and_the_empty_secret_masks_nothing() -> None:
    assert Redactor([]).text("text") == "text"
    assert Redactor(["", "abc"]).text("abc") == "abc"


def test_ten_megabytes_of_one_letter_are_searched_in_one_pass() -> None:
    text = "a" * (10 << 20)
    assert Redactor(["a" * 40 + "b"]).text(text) == text
