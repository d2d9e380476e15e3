"""From the bytes of a file to its documents, each with its text's digest and line.

A file is cut at its ``---`` lines before anything is parsed, so that a file of
any size is read piece by piece, and a piece whose text is known from before is
not parsed again. YAML forbids that line inside any scalar, so the cut is safe.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

import orjson
import yaml

from interceptor.errors import ConfigError, Problem
from interceptor.mesh import plain, weight

_MARKER = re.compile(rb"---(?:[ \t]*(?:\n|\Z)|(?=[ \t]))")
_BARE = b"\n---\n"
_BYTE_ORDER_MARKS = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


class Piece(NamedTuple):
    """Some text of a file that holds one document, or none, or (a rarity) several.

    ``line`` is the file's line, from one, that ``text`` starts on.
    """

    text: bytes
    line: int

    @property
    def digest(self) -> int:
        """Tells pieces apart within this process: keyed SipHash, 64 bits."""
        return hash(self.text)


def split(data: bytes) -> Iterator[Piece]:
    """The pieces of a file, in order. JSON is one piece."""
    data = _utf8(data)
    is_json = data.lstrip()[:1] in (b"{", b"[") and b"\n---" not in data
    # A directive belongs to the document after its marker; a document may end
    # without one. Both are rare: then PyYAML cuts the file itself.
    is_odd = data.startswith(b"%") or b"\n%" in data or b"\n..." in data
    if is_json or is_odd:
        yield Piece(data, 1)
        return
    # Whether every line that begins with --- is that and nothing else, as nearly always.
    is_bare = data.count(_BARE[:-1]) == data.count(_BARE)
    if is_bare and (not data.startswith(b"---") or data.startswith(_BARE[1:])):
        yield from _quickly(data)
        return
    start, line = 0, 1
    for marker in _markers(data):
        if marker.start() > start:
            text = data[start : marker.start()]
            yield Piece(text, line)
            line += text.count(b"\n")
        line += marker.group().count(b"\n")
        start = marker.end()
    if start < len(data):
        yield Piece(data[start:], line)


def _quickly(data: bytes) -> Iterator[Piece]:
    """The same with bare markers only, in half the time. Two of them share a newline at the very
    beginning at most, for they were counted without overlaps."""
    start, line = (len(_BARE) - 1, 2) if data.startswith(_BARE[1:]) else (0, 1)
    while (at := data.find(_BARE, max(start - 1, 0))) >= 0:
        if text := data[start : at + 1]:
            yield Piece(text, line)
        line += text.count(b"\n") + 1
        start = at + len(_BARE)
    if start < len(data):
        yield Piece(data[start:], line)


def _markers(data: bytes) -> Iterator[re.Match[bytes]]:
    """Where documents begin; a search for the bytes is ten times as quick as a pattern."""
    at = 0 if data.startswith(b"---") else data.find(b"\n---") + 1
    is_first = at == 0 and data.startswith(b"---")
    while at or is_first:
        is_first = False
        if marker := _MARKER.match(data, at):
            yield marker
        at = data.find(b"\n---", at) + 1


def _utf8(data: bytes) -> bytes:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            data = data.decode(encoding, "replace").encode()
    return data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")


def decode(piece: Piece, where: str, reader: plain.Reader) -> list[object]:
    """The documents of ``piece``; empty ones are left out. Raises ConfigError."""
    text = piece.text
    if text.lstrip()[:1] in (b"{", b"["):
        found = _json(text)
        if found is not None:
            return found
    quick = reader.decode(text)
    if quick is not None:
        return [quick]
    try:
        return [document for document in _load(text) if document is not None]
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError([_syntax(error, where, piece.line)]) from error


def _load(text: bytes) -> Iterator[object]:
    """`yaml.load_all`, unless there is more in a document than it looks. ValueError, YAMLError."""
    loader = yaml.CSafeLoader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            assert node is not None  # for one was there
            if weight.measure(node) > len(text) + weight.COPIES:
                raise ValueError("its aliases make it too large")
            yield loader.construct_document(node)
    finally:
        loader.dispose()


def _json(text: bytes) -> list[object] | None:
    """JSON: one value, or several one after the other; None where it is not JSON."""
    try:
        return [orjson.loads(text)]
    except ValueError:
        pass
    found: list[object] = []
    decoder = json.JSONDecoder()
    try:
        rest = text.decode().strip()
        while rest:
            value, end = decoder.raw_decode(rest)
            found.append(value)
            rest = rest[end:].lstrip()
    except ValueError:
        return None
    return found


def _syntax(error: Exception, where: str, line: int) -> Problem:
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    place = line + mark.line if mark else line
    return Problem(where, "(document)", str(reason), "YAML or JSON", place)


def lines(piece: Piece) -> list[dict[str, int]]:
    """For each document of ``piece``: dotted key → line of the file.

    Slow, and so only for documents that are wrong. Empty where the text cannot
    be read as YAML (JSON with tabs).
    """
    found: list[dict[str, int]] = []
    try:
        for node in yaml.compose_all(piece.text, Loader=yaml.CSafeLoader):
            keys: dict[str, int] = {}
            if node is not None and not _is_null(node):
                keys[""] = node.start_mark.line + piece.line
                _walk(node, "", piece.line, keys)
                found.append(keys)
    except yaml.YAMLError:
        return []
    return found


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _walk(node: yaml.Node, key: str, first: int, keys: dict[str, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            inner = f"{key}.{name.value}" if key else str(name.value)
            keys[inner] = name.start_mark.line + first
            _walk(value, inner, first, keys)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            inner = f"{key}[{index}]"
            keys[inner] = value.start_mark.line + first
            _walk(value, inner, first, keys)


def line_of(key: str, keys: dict[str, int]) -> int:
    """The line of ``key``, or of the nearest key above it; 0 where unknown."""
    while key not in keys and key:
        key = key[: max(key.rfind("."), key.rfind("["), 0)]
    return keys.get(key, 0)
