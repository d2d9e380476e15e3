"""What pydantic refuses in a document, as notes; and the rest of the document, mended.

A wrong part must not hide the other problems of its document. So the wrong
parts are taken out (or, where a text was wanted, written as one), the document
is read on, and what is then found at the same places is not said twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from interceptor.mesh.field import Note, Notes

Tree = dict[str, object]

_LEGAL = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "invalid_key": "a string, in quotes",
}
_TOP = re.compile(r"spec\.\w+")
_PORT = "a port number, 1..65535"
_WEIGHT = "a weight, 0..4294967295"


def without_nulls(value: object) -> object:
    """``key:`` with nothing behind it says nothing, to Kubernetes as well."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_nulls(inner) for inner in value]
    return value


def notes(error: ValidationError, tree: Tree) -> Notes:
    """One note for each wrong place (a union reports each of its arms)."""
    merged: dict[str, tuple[str, list[str]]] = {}
    for item in error.errors(include_url=False):
        key, value = _place(item, tree)
        _, legals = merged.setdefault(key, (repr(value), []))
        legal = _legal(item)
        if legal not in legals:
            legals.append(legal)
    return [Note(key, value, " or ".join(legals)) for key, (value, legals) in merged.items()]


def _place(item: ErrorDetails, tree: Tree) -> tuple[str, object]:
    """Dotted key and value; pydantic's own parts of a location end it."""
    here: object = tree
    key = ""
    for part in item["loc"]:
        if not isinstance(here, dict | list) or not _has(here, part):
            break
        if isinstance(here, list):
            key = f"{key}[{part}]"
        else:
            key = f"{key}.{part}" if key else str(part)
        here = here[part]  # type: ignore[index]
    return key or "(document)", here


def _has(holder: Tree | list[object], part: str | int) -> bool:
    if isinstance(holder, dict):
        return part in holder
    return isinstance(part, int) and part < len(holder)


def _legal(item: ErrorDetails) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "string_type":
        return "a string" if isinstance(item["input"], dict | list) else "a string, in quotes"
    if kind == "literal_error":
        return f"one of {context['expected']}".replace("'", "").replace(" or ", ", ")
    if kind in ("greater_than_equal", "less_than_equal"):
        return _PORT if 1 in context.values() or 65535 in context.values() else _WEIGHT
    return _LEGAL.get(kind, item["msg"])


def mend(error: ValidationError, tree: Tree) -> None:
    """Changes ``tree`` until only its legal parts are left."""
    places: dict[tuple[int, str | int], tuple[Tree | list[object], list[ErrorDetails]]] = {}
    for item in error.errors(include_url=False):
        here: object = tree
        place: tuple[Tree | list[object], str | int] | None = None
        for part in item["loc"]:
            if not isinstance(here, dict | list) or not _has(here, part):
                break
            place = (here, part)
            here = here[part]  # type: ignore[index]
        if place is not None:
            key = (id(place[0]), place[1])
            places.setdefault(key, (place[0], []))[1].append(item)
    for (_, part), (holder, items) in places.items():
        _replace(holder, part, items)


def _replace(holder: Tree | list[object], part: str | int, items: list[ErrorDetails]) -> None:
    value = items[0]["input"]
    wants_text = all(item["type"] == "string_type" for item in items)
    is_scalar = not isinstance(value, dict | list)
    if isinstance(holder, list) and isinstance(part, int):
        # Others keep their numbers. What stands in a list is a text or a mapping.
        holder[part] = (str(value) if is_scalar else "") if wants_text else {}
    elif isinstance(holder, dict) and isinstance(part, str) and wants_text and is_scalar:
        holder[part] = str(value)
    elif isinstance(holder, dict):
        holder.pop(part, None)  # type: ignore[arg-type]  # a key may be a number here


def unsaid(found: Iterable[Note], said: Notes) -> Notes:
    """The notes of ``found`` that ``said`` does not touch.

    Neither about a place of ``said``, nor dependent on one: while
    spec.resolution is wrong, nobody knows what else it would ask for.
    """
    keys = [note.key for note in said]
    words = [re.compile(rf"\b{re.escape(key[5:])}\b") for key in keys if _TOP.fullmatch(key)]
    return [
        note
        for note in found
        if not any(_related(note.key, key) for key in keys)
        and not any(word.search(note.legal) for word in words)
    ]


def _related(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return long == short or (long.startswith(short) and long[len(short)] in ".[")
