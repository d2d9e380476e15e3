from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from interceptor.mesh import document, plain

KEYS = st.sampled_from(
    ["a", "host", "_x", "a/b", "n", "on", "True", "null", "a b", "<<", "1", '"a"']
)
VALUES = st.sampled_from(
    [
        *(
            "a",
            "b c",
            "svc-1.ns",
            "10.0.0.1",
            "10.0.0.0/8",
            "9080",
            "0",
            "010",
            "0x1",
            "1_0",
            "1e3",
        ),
        *('"x"', "'y z'", '"true"', '"123"', "[]", "{}", "[a, b]", '[1, "2", 10.0.0.1]', "[a,]"),
        *(
            "{app: x, n: 1}",
            "true",
            "false",
            "null",
            "~",
            "yes",
            "No",
            "inf",
            ".inf",
            "NaN",
            "nano",
        ),
        *("spiffe://a/b", "a:b", "x # c", "/etc", "- a", "a  b", '"*.a.b"', "*x", "&x", "!t", "|"),
        *(
            "",
            " ",
            '"',
            "''",
            "a=b",
            "@",
            "=",
            "a,b",
            "a]",
            "{a}",
            "1:30",
            "2026-01-01",
            '"\\n"',
            "é",
        ),
    ]
)
INDENTS = st.sampled_from(["", "", "  ", "    ", " ", "\t"])
DASHES = st.sampled_from(["", "", "- ", "- - "])
LINES = st.one_of(
    st.builds(lambda i, d, k: f"{i}{d}{k}:", INDENTS, DASHES, KEYS),
    st.builds(lambda i, d, k, v: f"{i}{d}{k}: {v}", INDENTS, DASHES, KEYS, VALUES),
    st.builds(lambda i, d, v: f"{i}- {d}{v}", INDENTS, DASHES, VALUES),
    st.sampled_from(["# a comment", "", "  # more", "..."]),
)


@settings(max_examples=1500, deadline=None)
@given(st.lists(LINES, min_size=1, max_size=7).map("\n".join))
@example("a:\n  - b\n    - c: d")  # rapidyaml: a key with spaces in front
@example("a: 1\na: 2")
@example("labels:\n  version: yes\n  zip: 010")
def test_what_is_read_quickly_is_what_pyyaml_reads(text: str) -> None:
    quick = plain.Reader().decode(text.encode())
    if quick is None:
        return
    slow = yaml.load(text, Loader=yaml.CSafeLoader)
    assert quick == slow
    assert repr(quick) == repr(slow)  # 1 is not True


@pytest.mark.parametrize(
    "text",
    [
        "a: yes",
        "a: 010",
        "a: 1:30",
        "a: 1_000",
        "a: 0x1f",
        "a: 1.5",
        "a: ~",
        "a: 2026-01-01",
        "a: &x b",
        "a: *x",
        "a: |\n  b",
        "a: !!str 1",
        "a:\tb",
        "<<: {a: b}",
        "on: b",
        'a: "\\u00e9"',
        "a: é",
        "? a",
        "a: [1",
    ],
)
def test_what_could_be_read_in_two_ways_is_left_to_pyyaml(text: str) -> None:
    assert plain.Reader().decode(text.encode()) is None


def test_quoted_numbers_and_words_stay_strings() -> None:
    text = b'a: "123"\nb: \'true\'\nc: 123\nd: true\ne: ["1", 1]\n'
    assert plain.Reader().decode(text) == {
        "a": "123",
        "b": "true",
        "c": 123,
        "d": True,
        "e": ["1", 1],
    }


def test_an_ordinary_service_entry_takes_the_quick_way() -> None:
    text = b"""# a comment
kind: ServiceEntry
spec:
  hosts:
  - "*.example.com"   # wildcard
  addresses: [10.0.0.1, 10.1.0.0/16]
  ports:
  - {number: 443, name: tls, protocol: TLS}
  location: MESH_EXTERNAL
"""
    assert plain.Reader().decode(text) == yaml.load(text, Loader=yaml.CSafeLoader)
    assert plain.Reader().decode(text) is not None


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parents[2].glob("data/mesh/*.yaml")), ids=str
)
def test_real_documents_read_alike_in_both_ways(path: Path) -> None:
    reader = plain.Reader()
    pieces = list(document.split(path.read_bytes()))
    slow = [yaml.load(piece.text, Loader=yaml.CSafeLoader) for piece in pieces]
    assert [found for piece in pieces for found in document.decode(piece, "x", reader)] == slow
    assert slow == list(yaml.load_all(path.read_bytes(), Loader=yaml.CSafeLoader))


def test_a_huge_document_is_left_to_pyyaml() -> None:
    assert plain.Reader().decode(b"a: b\n" * 1_000_000) is None


def test_a_document_larger_than_the_buffer_is_read_whole() -> None:
    reader = plain.Reader()
    text = b"".join(b"key%d: value\n" % number for number in range(10_000))
    found = reader.decode(text)
    assert isinstance(found, dict)
    assert len(found) == 10_000
    assert reader.decode(b"a: b\n") == {"a": "b"}
