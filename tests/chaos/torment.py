"""One lab's run of a schedule: faults begun and undone in time, the load judged all along."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from interceptor.host import command
from interceptor.lab.removal import LabFailed, wait_until
from interceptor.lab.world import Lab
from tests.chaos import cost, fault, process, record, shape, world
from tests.chaos.judge import Judge, Tally
from tests.chaos.life import Life
from tests.chaos.mesh import History
from tests.chaos.record import What
from tests.chaos.schedule import Kind, Step
from tests.chaos.stage import NoVictim, Stage, Undo
from tests.chaos.window import Effect, Ledger
from tests.chaos.world import OUTSIDE, TWIN, VM

TICK_S = 0.03
AHEAD = 8
PATIENCE_S = 20.0
"""A fault waits so long for a victim, one that is starting, say; then it is left out."""
JUDGED_S = 25.0
"""Records are judged so long after they were made: by then every fault of their time is over."""
CALM_S = 14.0
"""After the last fault, for every promise to be kept; and then once more as long in peace."""


class Failed(AssertionError):
    """The run is over before its time."""


@dataclass
class Outcome:
    """What one run has found."""

    backend: str
    seed: int
    wanted: int
    done: list[Step] = field(default_factory=list)
    left_out: int = 0
    cleans: int = 0
    seconds: float = 0.0
    stalls: int = 0
    worst_stall_s: float = 0.0
    tallies: dict[str, Tally] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    life: dict[str, str] = field(default_factory=dict)
    story: str = ""

    @property
    def faults(self) -> Counter[str]:
        return Counter(step.kind.value for step in self.done)

    def broken(self) -> list[str]:
        """Everything that may not be, of all hosts."""
        found = list(self.troubles)
        for host, tally in self.tallies.items():
            found += [f"{host}: WRONG {each}" for each in tally.wrong]
            found += [f"{host}: {each}" for each in tally.broken]
        return found


class Torment:
    """A run. Make it in a lab, call `run` once."""

    def __init__(self, lab: Lab, outcome: Outcome, upgraded: Path, steps: Sequence[Step]) -> None:
        self._lab, self.outcome, self._steps = lab, outcome, steps
        self._place = world.prepare(lab, over(outcome.backend, outcome.seed))
        self._before = shape.observe(lab, VM)
        self._ledger, self._history = Ledger(), History(monotonic())
        self._life = Life(self._place.agent, upgraded, self._ledger, outcome.backend)
        chance = random.Random(outcome.seed)
        backend = outcome.backend
        self._stage = Stage(self._place, self._life, backend, self._ledger, self._history, chance)
        self._judges = {host: Judge(self._ledger, self._history) for host in (VM, TWIN, OUTSIDE)}
        self._read = dict.fromkeys(self._judges, 0)
        self._unheard: dict[str, list[record.Record]] = {host: [] for host in self._judges}
        self._undos: list[tuple[float, int, Undo]] = []
        self._numbers = itertools.count()
        self._load: dict[str, command.Process] = {}

    def run(self) -> None:
        """The whole schedule. Raises Failed as soon as something is found that may not be."""
        self._place.agent.start(timeout_s=60)
        self._load = world.start_load(self._place)
        self._wait(2.0)
        began_s = monotonic()
        waiting = list(self._steps)
        while waiting or self._undos:
            now_s = monotonic() - began_s
            for step in [each for each in waiting[:AHEAD] if each.at_s <= now_s]:
                if self._begin(step, now_s):
                    waiting.remove(step)
            if len(self.outcome.done) >= self.outcome.wanted:
                waiting = []
            self._tick()
        self._wait(CALM_S)
        self._end_load()
        self._clean(Step(-1, 0, Kind.CLEAN, 0, "stop"), is_last=True)
        self.outcome.seconds = monotonic() - began_s
        self._look(everything=True)

    def _begin(self, step: Step, now_s: float) -> bool:
        """Whether the step is dealt with: done, or given up."""
        try:
            if step.kind is Kind.CLEAN:
                self._clean(step)
            elif (undo := fault.begin(self._stage, step)) is not None:
                due_s = monotonic() + step.length_s
                heapq.heappush(self._undos, (due_s, next(self._numbers), undo))
        except NoVictim:
            if now_s - step.at_s < PATIENCE_S:
                return False
            self.outcome.left_out += 1
            return True
        self.outcome.done.append(step)
        return True

    def _tick(self) -> None:
        now_s = monotonic()
        while self._undos and self._undos[0][0] <= now_s:
            heapq.heappop(self._undos)[2]()
        self._life.tick(now_s)
        self._look()
        sleep(TICK_S)

    def _wait(self, seconds: float) -> None:
        end_s = monotonic() + seconds
        while monotonic() < end_s:
            self._tick()

    # --- judging

    def _look(self, *, everything: bool = False) -> None:
        """Read what the load has said, and judge what is old enough."""
        limit_s = monotonic() + (1e9 if everything else -JUDGED_S)
        for host, judge in self._judges.items():
            self._listen(host)
            unheard = self._unheard[host]
            while unheard and unheard[0].ended_s < limit_s:
                judge.hear(unheard.pop(0))
            self.outcome.tallies[host] = judge.tally
        self.outcome.troubles = self.outcome.troubles + self._life.broken
        self._life.broken = []
        one = self._life
        self.outcome.life = {
            "back-offs announced": str(one.back_offs),
            "agent back after": told(one.back_s),
            "hung process ended after": told(one.hangs_s),
        }
        if self.outcome.broken() and not everything:
            raise Failed("something was found that may not be")

    def _listen(self, host: str) -> None:
        path = self._lab.host_folder(host) / "load.log"
        if not path.exists():
            return
        with path.open("rb") as stream:
            stream.seek(self._read[host])
            text = stream.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read[host] += len(whole)
        for line in whole.decode().splitlines():
            if line == "ready":
                continue
            if not line.startswith("{"):
                self.outcome.troubles.append(f"{host}: the load says {line}")
                continue
            one = record.decode(line)
            if one.what is What.STALL:
                self._stall(one)
            self._unheard[host].append(one)

    def _stall(self, one: record.Record) -> None:
        """The machine gave nobody the processor: every promise has that much longer."""
        length_s = one.ended_s - one.sent_s
        self.outcome.stalls += 1
        self.outcome.worst_stall_s = max(self.outcome.worst_stall_s, length_s)
        self._ledger.note("stall", one.sent_s, one.ended_s, {Effect.AWAY: 0.0})

    def _end_load(self) -> None:
        for each in self._load.values():
            each.stop(grace_s=15)
        self._load = {}

    # --- clean

    def _clean(self, step: Step, *, is_last: bool = False) -> None:
        """Everything undone, the agent ended, `clean`: the host is as it was, and as its twin."""
        while self._undos:
            heapq.heappop(self._undos)[2]()
        for pid in list(self._life._hung):
            self._life.wake(pid)
        self._life.away(f"clean {step.variant}", cost.stopping(self._stage.backend, "clean"))
        self._life.end(step.variant)
        self._place.agent.run("clean", timeout_s=60)
        self.outcome.cleans += 1
        after, twin = shape.observe(self._lab, VM), shape.observe(self._lab, TWIN)
        if left := shape.left(self._before, twin, after):
            self.outcome.troubles.append(f"left after clean ({step}):\n{left}")
        self._expect_nobody()
        if not is_last:
            self._life.launch_soon(step.length_s)

    def _expect_nobody(self) -> None:
        """No process of ours is left; the tellers and the load are the test's."""

        def left() -> list[str]:
            lines = [process.command_line(pid) for pid in self._lab.pids(VM)]
            return [line for line in lines if line and "tests.c" not in line]

        try:
            wait_until(lambda: not left(), "the end of every process", 5)
        except LabFailed:
            self.outcome.troubles.append(f"processes left after clean: {left()}")


def over(backend: str, seed: int) -> dict[str, object]:
    """Settings of a run: both policies are to be seen among the back ends and seeds."""
    chance = random.Random(f"{seed} {backend} settings")
    return {
        "capture": {"backend": backend, "inbound": {"ports": "*"}},
        "agent": {
            "on_sidecar_loss": chance.choice(["reject", "bypass"]),
            "on_agent_loss": chance.choice(["keep", "release"]) if backend == "ebpf" else "keep",
        },
        "sidecar": {"access_log": "off"},
    }


def told(times_s: list[float]) -> str:
    """Numbers for people: how many, the median, the longest."""
    if not times_s:
        return "never"
    ordered = sorted(times_s)
    middle = ordered[len(ordered) // 2]
    return f"{len(ordered)} times, median {middle:.2f} s, at most {ordered[-1]:.2f} s"


def torment(outcome: Outcome, steps: Sequence[Step], upgraded: Path) -> Outcome:
    """One back end's run in a lab of its own. What is found stands in the outcome."""
    with Lab.open(world.describe()) as lab:
        run = Torment(lab, outcome, upgraded, steps)
        try:
            run.run()
        except Failed:
            pass
        finally:
            outcome.story = outcome.story or run._ledger.tell()
            outcome.life["log"] = (lab.host_folder(VM) / "agent.log").read_text(errors="replace")
            world.dismiss(lab)
    return outcome
