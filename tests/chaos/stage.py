"""One lab of the chaos suite: what faults are done to, and how they are noted."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from interceptor.host import command as shell
from tests.chaos import cost
from tests.chaos.life import Life
from tests.chaos.mesh import History
from tests.chaos.schedule import Kind, Step
from tests.chaos.window import Ledger, Trouble
from tests.chaos.world import TWIN, VM, Place

BOTH = (VM, TWIN)
Undo = Callable[[], object]


@dataclass
class Stage:
    """One lab, its agent's life, and what is known of what was done to it."""

    place: Place
    life: Life
    backend: str
    ledger: Ledger
    history: History
    chance: random.Random
    which_resolver: int = 0
    swaps: int = 0
    is_busy: set[Kind] = field(default_factory=set)

    def sh(self, script: str, hosts: tuple[str, ...] = (VM,)) -> None:
        """A script that may fail: what it removes need not be there."""
        for host in hosts:
            self.place.lab.run(host, ["sh", "-c", script], check=False)

    def ip(self, host: str, lines: str) -> None:
        argv = ["ip", "-n", self.place.lab.namespace(host), "-force", "-batch", "-"]
        shell.run(argv, lines, check=False)

    def write(self, name: str, text: str) -> None:
        """A document, renamed into its place."""
        folder = self.place.agent.mesh
        part = folder / f".{name}.part"
        part.write_text(text)
        part.rename(folder / name)


class NoVictim(Exception):
    """There is nobody now to whom it could be done."""


def name(step: Step) -> str:
    return f"{step.kind.value} {step.variant}".strip()


def open_trouble(stage: Stage, step: Step) -> Trouble:
    return stage.ledger.open(name(step), monotonic(), cost.of(step, stage.backend))


def lasting(stage: Stage, step: Step, do: Undo, undo: Undo) -> Undo:
    """Opened before it is done, closed after it is undone."""
    trouble = open_trouble(stage, step)
    do()

    def close() -> None:
        undo()
        trouble.end_s = monotonic()
        stage.is_busy.discard(step.kind)

    return close


def alone(stage: Stage, step: Step) -> None:
    """The same twice at a time would be undone by the first."""
    if step.kind in stage.is_busy:
        raise NoVictim(step.kind.value)
    stage.is_busy.add(step.kind)
