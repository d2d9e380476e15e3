"""Steps as data: what is run on the host, why, and how it is undone."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """One program with its input. ``tolerant``: that it fails is no failure of ours."""

    argv: tuple[str, ...]
    stdin: str | None = None
    tolerant: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the host, and its inverse."""

    why: str
    do: Command
    undo: tuple[Command, ...] = ()


def text(steps: Iterable[Step]) -> str:
    """Steps as a shell reads them, each under the reason for it."""
    return "\n".join(f"# {step.why}\n{shell(step.do)}" for step in steps)


def shell(command: Command) -> str:
    """One command as it can be pasted into a shell."""
    line = shlex.join(command.argv)
    if command.stdin is None:
        return f"{line}\n"
    return f"{line} <<'EOF'\n{command.stdin}EOF\n"


def json(step: Step) -> dict[str, object]:
    """One step as `plan --format json` prints it."""
    return {
        "why": step.why,
        "argv": list(step.do.argv),
        "stdin": step.do.stdin,
        "undo": [{"argv": list(undo.argv), "stdin": undo.stdin} for undo in step.undo],
    }
