"""Durations on the command line: ``60s``, ``2m``, ``500ms``, ``1h``, plain seconds."""

from __future__ import annotations

import re

import click

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_FORM = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|)")


def parse(text: str) -> float:
    """Seconds. Raises ValueError."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text}: not a duration; legal: 60s, 2m, 500ms, 1h")
    return float(found[1]) * _UNITS_S[found[2]]


def option(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """A click callback."""
    if value is None:
        return None
    try:
        return parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
