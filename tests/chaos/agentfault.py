"""Faults of the agent: its daemon, its worker, its sidecar, its disk and its descriptors."""

from __future__ import annotations

import resource
import signal
from contextlib import suppress
from pathlib import Path
from time import monotonic

from tests.chaos import cost, life, process, world
from tests.chaos import stage as stages
from tests.chaos.life import Life
from tests.chaos.schedule import Kind, Step
from tests.chaos.stage import Stage, Undo

ENVOY = "envoy"
HASTE = 4
"""Each so many-th fault does not wait for an agent that is ready."""


def _up(stage: Stage, step: Step) -> Life:
    """The agent, ready mostly: one that is hit before it is up again and again never is."""
    is_patient = step.number % HASTE != 0
    if not stage.life.is_up or (is_patient and not stage.life.is_ready):
        raise stages.NoVictim("agent")
    return stage.life


def agent_kill(stage: Stage, step: Step) -> None:
    _up(stage, step).kill(stages.name(step), step.length_s, cost.passing(stage.backend))


def agent_stop(stage: Stage, step: Step) -> None:
    one = _up(stage, step)
    one.next_on_exit = step.variant
    name = f"{step.kind.value} {one.on_exit}"
    one.stop(name, step.length_s, cost.stopping(stage.backend, one.on_exit))


def upgrade(stage: Stage, step: Step) -> None:
    one = _up(stage, step)
    one.next_upgraded = not one.next_upgraded
    agent_stop(stage, step)


def daemon_kill(stage: Stage, step: Step) -> None:
    _up(stage, step).kill_daemon(stages.name(step), step.length_s, cost.passing(stage.backend))


def _victim(pid: int) -> int:
    if not pid or not process.is_alive(pid):
        raise stages.NoVictim("process")
    return pid


def daemon_hang(stage: Stage, step: Step) -> Undo:
    pid = _victim(_up(stage, step).daemon())
    stage.life.hang(stages.name(step), pid, cost.of(step, stage.backend))
    return lambda: stage.life.wake(pid)


def worker_hang(stage: Stage, step: Step) -> Undo:
    pid = _victim(stage.life.find(life.WORKER))
    stage.life.hang(stages.name(step), pid, cost.of(step, stage.backend))
    return lambda: stage.life.wake(pid)


def worker_kill(stage: Stage, step: Step) -> None:
    pid = _victim(stage.life.find(life.WORKER))
    trouble = stages.open_trouble(stage, step)
    process.send(pid, signal.SIGKILL)
    trouble.end_s = monotonic()


def _envoy(stage: Stage) -> int:
    return _victim(stage.life.find("envoy-bootstrap") or stage.life.find(ENVOY))


def sidecar_kill(stage: Stage, step: Step) -> None:
    """One that is stopped hears of it when it is woken, unless it is SIGKILL."""
    if Kind.SIDECAR_HANG in stage.is_busy:
        raise stages.NoVictim("a sidecar that hears")
    pid = _envoy(stage)
    trouble = stages.open_trouble(stage, step)
    process.send(pid, signal.Signals[f"SIG{step.variant}"])
    trouble.end_s = monotonic() + (3.0 if step.variant == "TERM" else 0.0)


def sidecar_hang(stage: Stage, step: Step) -> Undo:
    stages.alone(stage, step)
    try:
        pid = _envoy(stage)
    except stages.NoVictim:
        stage.is_busy.discard(step.kind)
        raise
    return stages.lasting(
        stage,
        step,
        lambda: process.send(pid, signal.SIGSTOP),
        lambda: process.send(pid, signal.SIGCONT),
    )


def disk_full(stage: Stage, step: Step) -> Undo:
    stages.alone(stage, step)
    stage.life.impaired += 1
    files = [stage.place.folder / name / "filler" for name in world.TMPFS]

    def fill() -> None:
        for file in files:
            with suppress(OSError), file.open("wb", buffering=0) as stream:
                while stream.write(bytes(1 << 16)):
                    pass

    def empty() -> None:
        for file in files:
            file.unlink(missing_ok=True)
        stage.life.impaired -= 1
        stage.life.lifted_s = monotonic()

    return stages.lasting(stage, step, fill, empty)


def descriptors(stage: Stage, step: Step) -> Undo:
    stages.alone(stage, step)
    try:
        pid = _victim(_up(stage, step).daemon())
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        count = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except (OSError, stages.NoVictim):
        stage.is_busy.discard(step.kind)
        raise stages.NoVictim("daemon") from None
    stage.life.impaired += 1

    def limit() -> None:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (count, before[1]))

    def lift() -> None:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        stage.life.impaired -= 1
        stage.life.lifted_s = monotonic()

    return stages.lasting(stage, step, limit, lift)
