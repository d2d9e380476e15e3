"""The status tree of the daemon as text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SHORT = 24  # characters of a list's item that may stand beside others


def _line(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}"
    return "-" if value is None else str(value)


def _is_group(value: object) -> bool:
    return isinstance(value, Mapping | list | tuple)


def _inline(value: object) -> str | None:
    """A list of few words as one line; None for what needs lines of its own."""
    if not isinstance(value, list | tuple) or any(map(_is_group, value)):
        return None
    words = [_line(item) for item in value]
    return ", ".join(words) if all(len(word) <= SHORT for word in words) else None


def _render(value: object, depth: int) -> list[str]:
    pad = "  " * depth
    if isinstance(value, Mapping):
        return _group(value, depth)
    out: list[str] = []
    if isinstance(value, Sequence) and not isinstance(value, str):
        records = [item for item in value if isinstance(item, Mapping)]
        if records and len(records) == len(value):
            return [f"{pad}{line}" for line in _table(records)]
        out += [f"{pad}{_line(item)}" for item in value]
    return out


def _group(tree: Mapping[str, object], depth: int) -> list[str]:
    pad = "  " * depth
    width = max((len(str(key)) for key in tree), default=0)
    out: list[str] = []
    for key, value in tree.items():
        text = _inline(value) if _is_group(value) else _line(value)
        if text is not None:
            out += [f"{pad}{str(key).ljust(width)}  {text}"] if text else []
        elif value:
            out += [f"{pad}{key}", *_render(value, depth + 1)]
    return out


def _table(records: Sequence[Mapping[str, object]]) -> list[str]:
    """Records as columns under their names."""
    rows = [{key: _line(value) for key, value in record.items()} for record in records]
    names = list(dict.fromkeys(key for row in rows for key in row))
    widths = {name: max(len(name), *(len(row.get(name, "")) for row in rows)) for name in names}
    lines = [dict(zip(names, names, strict=True)), *rows]
    return ["  ".join(line.get(name, "").ljust(widths[name]) for name in names) for line in lines]


def render(tree: Mapping[str, object]) -> str:
    """Every key of the tree on a line, groups indented, records as columns; what is empty is left
    out."""
    return "".join(f"{line.rstrip()}\n" for line in _render(tree, 0))
