from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from interceptor.errors import ConfigError
from interceptor.mesh import document, plain


def read(data: bytes) -> list[object]:
    reader = plain.Reader()
    return [
        found
        for piece in document.split(data)
        for found in document.decode(piece, "mesh.yaml", reader)
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"---\n---\n", []),
        (b"# nothing\n---\n# here\n", []),
        (b"a: 1\n---\nb: 2\n", [{"a": 1}, {"b": 2}]),
        (b"---\na: 1\n---   \nb: 2\n---", [{"a": 1}, {"b": 2}]),
        (b"--- {a: 1}\n--- # comment\nb: 2\n", [{"a": 1}, {"b": 2}]),
        (b"a: 1\r\n---\r\nb: 2\r\n", [{"a": 1}, {"b": 2}]),
        (b"a: ---x\n---x: 1\n", [{"a": "---x", "---x": 1}]),
        (b"%YAML 1.1\n---\na: 1\n...\n---\nb: 2\n", [{"a": 1}, {"b": 2}]),
        (b"a: 1\n...\n---\nb: 2\n", [{"a": 1}, {"b": 2}]),
        ("\ufeffa: é\n".encode(), [{"a": "é"}]),
        ("\ufeffa: é\n".encode("utf-16-le"), [{"a": "é"}]),
        (b'{"a": "yes", "b": "\\u00e9"}', [{"a": "yes", "b": "é"}]),
        (b'\n{\n\t"a": 1\n}\n', [{"a": 1}]),
        (b'{"a": 1}\n{"b": 2}\n', [{"a": 1}, {"b": 2}]),
        (b'{"a": 1}\n---\n{"b": 2}\n', [{"a": 1}, {"b": 2}]),
        (b'[{"a": 1}]', [[{"a": 1}]]),
        (b"a: &x {b: 1}\nc: {<<: *x, d: 2}\n", [{"a": {"b": 1}, "c": {"b": 1, "d": 2}}]),
        (b"a: |\n  --- x\n  y\nb: >\n  z\n  z\n", [{"a": "--- x\ny\n", "b": "z z\n"}]),
    ],
)
def test_a_file_holds_any_number_of_documents(data: bytes, expected: list[object]) -> None:
    assert read(data) == expected


@given(
    st.lists(st.sampled_from(["a: 1", "---", "--- b", "---\t", "# c", "", "---x: 2"]), max_size=8)
)
def test_cutting_a_file_gives_what_pyyaml_reads_in_one_go(lines: list[str]) -> None:
    data = "\n".join(lines).encode()
    try:
        expected = [d for d in yaml.load_all(data, Loader=yaml.CSafeLoader) if d is not None]
    except yaml.YAMLError:
        return
    assert read(data) == expected


def test_pieces_know_their_lines() -> None:
    pieces = list(document.split(b"a: 1\n---\nb: 2\nc: 3\n--- d\n"))
    assert [(piece.line, piece.text) for piece in pieces] == [
        (1, b"a: 1\n"),
        (3, b"b: 2\nc: 3\n"),
        (5, b" d\n"),
    ]


@given(st.lists(st.sampled_from(["a: 1", "---", "b: 2", "", "--- # c"]), max_size=8))
def test_every_piece_starts_on_its_line_and_none_holds_a_marker(lines: list[str]) -> None:
    pieces = list(document.split("\n".join(lines).encode()))
    for piece in pieces:
        found = piece.text.decode().split("\n")
        there = lines[piece.line - 1 : piece.line + len(found) - 2]
        assert there == found[:-1] or "#" in found[0]
        assert "---" not in found
    texts = [line for piece in pieces for line in piece.text.decode().split("\n")]
    assert [line for line in texts if line[1:2] == ":"] == [x for x in lines if x[1:2] == ":"]


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"a: 1\n---\nb: [1\n---\nc: 1\n", 4, "did not find expected ',' or ']'"),
        (b"a: 1\n---\nb: c: d\n", 3, "mapping values are not allowed in this context"),
        (b"a:\n\tb: 1\n", 2, "found character that cannot start any token"),
        (b"a: *nobody\n", 1, "found undefined alias"),
        (b"a: \xff\n", 1, "invalid leading UTF-8 octet"),
        (b"a: 1\n...\nb: 2\n", 3, "did not find expected <document start>"),
    ],
)
def test_what_is_not_yaml_is_a_problem_with_its_line(data: bytes, line: int, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(data)
    (problem,) = caught.value.problems
    assert (problem.where, problem.line, problem.key) == ("mesh.yaml", line, "(document)")
    assert reason in problem.value
    assert problem.legal == "YAML or JSON"


def test_every_key_has_the_line_it_stands_on() -> None:
    (piece,) = document.split(b"kind: A\nspec:\n  hosts:\n  - a\n  - b\n  ports: [{number: 1}]\n")
    (keys,) = document.lines(piece)
    assert document.line_of("spec.hosts[1]", keys) == 5
    assert document.line_of("spec.ports[0].number", keys) == 6
    assert document.line_of("spec.ports[0].name", keys) == 6
    assert document.line_of("metadata.name", keys) == 1


def test_equal_texts_have_equal_digests() -> None:
    one, two, three = document.split(b"a: 1\n---\na: 1\n---\na: 2\n")
    assert one.digest == two.digest != three.digest
