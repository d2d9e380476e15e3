"""Plain YAML, quickly: the part of the language that every reader reads alike.

PyYAML needs 80 µs for a short ServiceEntry, rapidyaml 15, but the two follow
different versions of YAML: ``yes``, ``010``, ``1:30``, ``~``, timestamps,
anchors, merge keys and block scalars do not mean the same to both. So a
document takes the fast way only where each of its lines is of a form whose
meaning is beyond doubt; every other document, and every one that rapidyaml
refuses, goes to PyYAML. A test holds that both ways agree.

This module is the only importer of ryml (rapidyaml).
"""

from __future__ import annotations

import re

import orjson
import ryml

_LONGEST = 1 << 22  # bytes; a larger document would need about ten times that as a tree
_REMEMBERED = 4096  # lines; most lines of a mesh's documents are alike


def _either(*patterns: str) -> str:
    return "(?:" + "|".join(patterns) + ")"


# What a plain scalar may not be: YAML 1.1 reads these as something else. A look at the first
# letter, and whole runs of letters instead of one at a time, halve the time that a line takes.
_SPECIAL = r"(?=[TtFfYyNnOoIi])(?i:true|false|yes|no|on|off|null|inf|infinity|nan)"
_END = r"(?= *(?:[,\]}]|\Z| \#))"
_KEY = rf"(?!{_SPECIAL} *:)[A-Za-z_][A-Za-z0-9_./-]*"
_QUOTED = _either(r'"[ !#-\[\]-~]*"', r"'[ -&(-~]*'")
_ADDRESS = rf"[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{3}}(?:/[0-9]{{1,2}})?{_END}"
_NUMBER = rf"(?:0|[1-9][0-9]{{0,14}}){_END}"
_CONSTANT = rf"(?:true|false|null){_END}"
_LETTERS = "[A-Za-z0-9_./@+=-]*"
_WORD = rf"(?!{_SPECIAL}{_END})[A-Za-z/_]{_LETTERS}(?: (?=[A-Za-z0-9_./]){_LETTERS})*"
_SIGNS = "[A-Za-z0-9_./@+=()-]*"
_TEXT = (
    rf"(?!{_SPECIAL}{_END})[A-Za-z/_]{_SIGNS}"
    rf"(?:(?: (?=[A-Za-z0-9_./])|:(?=[A-Za-z0-9/])){_SIGNS})*"
)
_ITEM = _either(_WORD, _NUMBER, _ADDRESS, _QUOTED, _CONSTANT)
_PAIR = rf"{_KEY}: +{_ITEM}"
_LIST = rf"\[ *(?:{_ITEM}(?: *, *{_ITEM})* *)?\]"
_MAP = rf"\{{ *(?:{_PAIR}(?: *, *{_PAIR})* *)?\}}"
_VALUE = _either(_TEXT, _NUMBER, _ADDRESS, _QUOTED, _CONSTANT, _LIST, _MAP)
_COMMENT = r" *(?:(?<![^ ])\#[ -~]*)?"
_LINE = re.compile(
    rf" *(?:(?:- +)*{_KEY}:(?: +{_VALUE})?|(?:- +)+{_VALUE})?{_COMMENT}".encode("ascii")
)


class Reader:
    """Reads plain documents; remembers which lines it has found to be plain."""

    def __init__(self) -> None:
        self._lines: set[bytes] = set()
        self._tree = ryml.Tree()
        self._buffer = bytearray(1 << 16)

    def decode(self, text: bytes) -> object | None:
        """The one document in ``text``, or None where only PyYAML can tell."""
        if len(text) > _LONGEST:
            return None
        fresh = set(text.split(b"\n")) - self._lines
        for line in fresh:
            if not _LINE.fullmatch(line):
                return None
        if len(self._lines) < _REMEMBERED:
            self._lines |= fresh
        return self._decode(text)

    def _decode(self, text: bytes) -> object | None:
        """By way of JSON; tree and buffer are used again, because emit_json_malloc leaks."""
        tree = self._tree
        tree.clear()
        tree.clear_arena()
        try:
            ryml.parse_in_arena(text, tree=tree)
            try:
                rendered = ryml.emit_json_in_place(tree, self._buffer, 0)
            except IndexError:  # the buffer is too small
                self._buffer = bytearray(2 * ryml.compute_json_length(tree, 0))
                rendered = ryml.emit_json_in_place(tree, self._buffer, 0)
        except (ryml.ExceptionBasic, ryml.ExceptionParse, ryml.ExceptionVisit):
            return None
        # rapidyaml takes a line that is indented too far after a list item for a
        # key that starts with spaces; PyYAML says what is wrong with it.
        if not rendered or self._buffer.find(b'" ', 0, len(rendered)) >= 0:
            return None
        found: object = orjson.loads(rendered)
        return found
