"""The demo: an unchanged application on a VM calls the mesh, step by step, each step checked.

Every step yields the lines that tell what happened, and raises Deviation where
anything was other than it should be.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from interceptor.errors import InterceptorError
from interceptor.lab import demo_call, demo_change, session, snapshot
from interceptor.lab.agent import Agent
from interceptor.lab.demo_call import Deviation
from interceptor.lab.snapshot import Snapshot
from interceptor.lab.world import Lab


@dataclass(frozen=True, slots=True)
class Stage:
    """The running lab with its two agents, and how their hosts were before them."""

    lab: Lab
    vm: Agent
    vm2: Agent
    before: dict[str, Snapshot]


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it shows, and how."""

    title: str
    run: Callable[[Stage], Iterator[str]]


def _members(stage: Stage) -> Iterator[str]:
    for each in (stage.vm, stage.vm2):
        status = each.read("status")
        yield from (f"{each.host}: {line}" for line in demo_call.texts(status["backend_why"]))
        if not status.get("ready"):
            raise Deviation(f"{each.host} is not ready: {status}")


def _calls(stage: Stage) -> Iterator[str]:
    for call in demo_call.CALLS:
        yield from demo_call.run({"vm": stage.vm, "vm2": stage.vm2}[call.host], call)
    yield "what the sidecars logged of it:"
    for each in (stage.vm, stage.vm2):
        yield from (f"   {line}" for line in demo_call.logged(each, 0))


def _clean(stage: Stage) -> Iterator[str]:
    for each in (stage.vm, stage.vm2):
        code = each.stop()
        if code != 0:
            raise Deviation(f"the agent on {each.host} ended with {code}:\n{each.log()}")
        each.run("clean")
        left = snapshot.diff(stage.before[each.host], snapshot.observe(stage.lab, each.host))
        if left:
            raise Deviation(f"{each.host} is not as it was:\n{left}")
        yield f"{each.host}: as before, byte for byte, say"
        yield f"   {', '.join(snapshot.COMMANDS)}"


STEPS = (
    Step("both VMs are members of the mesh", _members),
    Step("calls by name, from both VMs, in both families", _calls),
    Step("80 % and 20 % by weight", lambda stage: demo_change.weights(stage.vm)),
    Step("an endpoint leaves under load", lambda stage: demo_change.removal(stage.vm)),
    Step("a wrong document is reported and changes nothing", lambda s: demo_change.wrong(s.vm)),
    Step("names of others are left alone", lambda stage: demo_call.other(stage.vm)),
    Step("both agents stop, and leave nothing behind", _clean),
)


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


def _show(stage: Stage, steps: Sequence[Step], console: Console) -> None:
    with _progress(console) as progress:
        task = progress.add_task("", total=len(steps))
        for number, step in enumerate(steps, 1):
            progress.update(task, description=step.title)
            console.print(f"[bold]{number}. {step.title}[/bold]")
            for line in step.run(stage):
                console.print(f"   {line}", markup=False, highlight=False, soft_wrap=True)
            progress.advance(task)


def run(console: Console | None = None) -> int:
    """Bring a lab up, show everything, take it down. Returns 0, or 1 where anything deviated."""
    console = console or Console(width=None if sys.stdout.isatty() else 160)
    start = time.monotonic()
    try:
        with Lab.open() as lab:
            hosts = ", ".join(host.name for host in lab.world.hosts)
            console.print(f"lab {lab.token} is up: {hosts}", highlight=False)
            before = {host: snapshot.observe(lab, host) for host in ("vm", "vm2")}
            vm, vm2 = session.open_agents(lab)
            _show(Stage(lab, vm, vm2, before), STEPS, console)
    except InterceptorError as error:
        console.print(f"deviation: {error}", style="bold red", markup=False, highlight=False)
        return 1
    took = time.monotonic() - start
    console.print(f"all as it should be; the lab is gone; {took:.0f} s", style="bold green")
    return 0


if __name__ == "__main__":
    sys.exit(run())
