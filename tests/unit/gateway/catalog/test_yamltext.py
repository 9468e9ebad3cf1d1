import pytest

from lockgate.gateway.catalog.yamltext import MAX_DOCUMENTS, MAX_NODES, YamlError, read_documents


def refusal(text: bytes) -> str:
    with pytest.raises(YamlError) as caught:
        read_documents("a.yaml", text)
    return str(caught.value)


def test_documents_keep_the_place_of_every_node_and_key():
    first, second = read_documents("a.yaml", b"a: 1\nb: [x, {c: 1.5, d: 'no'}]\n---\n---\ne: true\nf:\n")
    assert first.value == {"a": 1, "b": ["x", {"c": 1.5, "d": "no"}]}
    assert first.place(("b", 1, "c")) == (2, 12) and first.place(("b", 1, "c"), key=True) == (2, 9)
    assert first.place(("b", 1, "missing", "deeper")) == (2, 8)
    assert second.value == {"e": True, "f": None} and second.place(("e",)) == (5, 4)


@pytest.mark.parametrize(
    "text", ["no", "Yes", "on", "0777", "0o17", "1:30", "2026-01-01", "1_000", "+1", ".inf", "TRUE", "0x1F", "=", "00"]
)
def test_a_plain_scalar_that_readers_take_differently_must_be_quoted(text):
    if text == "0o17":
        assert read_documents("a.yaml", b"a: 0o17")[0].value == {"a": "0o17"}
    else:
        assert (
            refusal(f"a: {text}".encode()) == "a.yaml:1:4: a: YAML readers disagree on what this is; put it in quotes"
        )
    assert read_documents("a.yaml", f"a: '{text}'".encode())[0].value == {"a": text}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a: 1\nb: 2\na: 3", "a.yaml:3:1: a: the key stands twice; first on line 1"),
        (b"a: &x 1\nb: *x", "a.yaml:1:4: a: anchors and aliases are not allowed; write the value out"),
        (b"a: *x", "a.yaml:1:4: a: anchors and aliases are not allowed; write the value out"),
        (
            b"a: !!python/object/apply:os.system [id]",
            "a.yaml:1:4: a: YAML tags (!\u2026) are not allowed; remove the tag",
        ),
        (b"a: !!str 1", "a.yaml:1:4: a: YAML tags (!\u2026) are not allowed; remove the tag"),
        (b"<<: {a: 1}", "a.yaml:1:1: a key must be text; put it in quotes"),
        (b"1: 2", "a.yaml:1:1: a key must be text; put it in quotes"),
        (b"? [a]\n: 1", "a.yaml:1:3: a key must be text, not a collection"),
        (b"ok: 1\nb: c: d", "a.yaml:2:5: not YAML: mapping values are not allowed in this context"),
        (b"a: 1\n\xff", "a.yaml:2:1: not UTF-8 at byte 5; save the file as UTF-8"),
        (b"a: 9007199254740993", "a.yaml:1:4: a: is outside \u00b1(2**53-1)"),
    ],
)
def test_what_is_no_plain_data_is_refused_at_its_place(text, expected):
    assert refusal(text) == expected


@pytest.mark.parametrize("text", [b"[" * 100_000, b"- " * 50_000, b"{a: " * 100_000])
def test_deep_nesting_ends_at_the_bound(text):
    assert "nested deeper than 24 levels" in refusal(text)


def test_counts_are_bounded():
    assert f"more than {MAX_NODES} values" in refusal(b"[" + b"1," * (MAX_NODES + 1) + b"]")
    assert f"more than {MAX_DOCUMENTS} documents" in refusal(b"---\n" * (MAX_DOCUMENTS + 1))
    assert "the file is larger than" in refusal(b" " * ((1 << 20) + 1))


def test_control_characters_are_refused():
    assert refusal(b"a: 1\nb: \x01").startswith("a.yaml:2:")
