"""The status tree of the daemon as text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def _line(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}"
    return str(value)


def _render(value: object, depth: int) -> list[str]:
    pad = "  " * depth
    out: list[str] = []
    if isinstance(value, Mapping):
        width = max((len(str(key)) for key in value), default=0)
        for key, inner in value.items():
            if isinstance(inner, Mapping | list | tuple):
                if inner:
                    out.append(f"{pad}{key}")
                    out += _render(inner, depth + 1)
            else:
                out.append(f"{pad}{str(key).ljust(width)}  {_line(inner)}")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for inner in value:
            if isinstance(inner, Mapping):
                out.append(pad + "  ".join(f"{key}={_line(item)}" for key, item in inner.items()))
            else:
                out.append(pad + _line(inner))
    return out


def render(tree: Mapping[str, object]) -> str:
    """Every key of the tree on a line, groups indented, empty groups left out."""
    return "".join(f"{line.rstrip()}\n" for line in _render(tree, 0))
