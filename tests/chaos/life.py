"""The agent's life on the VM: started again as systemd would, looked at, and hurt."""

from __future__ import annotations

import json
import re
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep, time

import yaml

from interceptor.host import command
from interceptor.lab import description, removal
from interceptor.lab.agent import Agent
from tests.chaos import cost, process, waiting
from tests.chaos.window import Effect, Ledger, Trouble

STOPPING = '"event": "stopping"'
READY = '"event": "ready"'
BACK_OFF, PAUSES = "next repair: ", re.compile(r" in ([0-9.]+) s")
RESTART_S = 0.5
BACK_S = 75.0
"""A start on a busy machine, Envoy and a supervisor's own back-off included."""
STOP_S = 45.0  # a start waits 30 s for its worker, and hears nothing meanwhile
TICK_S = 0.02
HANG_S = 5.0
LIFTED_S = 3.0
DYING_S = 0.5
WORKER, DAEMON = "interceptor.dns.worker", "interceptor"


@dataclass
class Life:
    """The agent's processes. `tick` looks at them, and starts what has ended."""

    agent: Agent
    upgraded: Path
    ledger: Ledger
    backend: str
    on_exit: str = "clean"  # of the daemon that runs
    next_on_exit: str = "clean"
    next_upgraded: bool = False
    broken: list[str] = field(default_factory=list)
    hangs_s: list[float] = field(default_factory=list)
    back_s: list[float] = field(default_factory=list)
    back_offs: int = 0
    impaired: int = 0  # by so many faults it may end by itself
    lifted_s: float = 0.0
    _aways: list[Trouble] = field(default_factory=list)
    _hung: dict[int, Trouble] = field(default_factory=dict)
    _ended: set[int] = field(default_factory=set)
    _anew: set[int] = field(default_factory=set)
    _launch_s: float | None = None
    _launched_s: float = 0.0
    _hurt_s: float = 0.0
    _stopping_s: float | None = None
    _pause_s: float = RESTART_S
    _read: int = 0
    _worker: int = 0

    # --- looking

    def tick(self, now_s: float) -> None:
        """Follow the log and the processes; start what is due."""
        self._follow_log(now_s)
        self._follow_hung(now_s)
        self._follow_worker(now_s)
        self._follow_end(now_s)
        if self._launch_s is not None and now_s >= self._launch_s:
            self._launch()
        if self._aways and now_s - max(self._hurt_s, self.lifted_s) > BACK_S and not self.impaired:
            away = self._aways.pop(0)
            self.broken.append(f"{away.cause} at {away.begin_s:.3f}: not back in {BACK_S} s")

    def _follow_log(self, now_s: float) -> None:
        log = self.agent.lab.host_folder(self.agent.host) / "agent.log"
        if not log.exists():
            return
        with log.open("rb") as stream:
            stream.seek(self._read)
            text = stream.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            if READY in line:
                self._back(said_s(line))
            elif STOPPING in line and self._stopping_s is None and self.agent.process:
                self._fails(said_s(line))
            elif BACK_OFF in line:
                # What the agent announces is no broken promise; the run's end counts them.
                pause_s = max(map(float, PAUSES.findall(line.partition(BACK_OFF)[2])))
                self.back_offs += 1
                self.ledger.note("back-off", now_s - 0.3, now_s + pause_s, {Effect.AWAY: 0.3})

    def _back(self, now_s: float) -> None:
        """Ready: what came before that is over. A stop that came after it is not."""
        for away in [each for each in self._aways if each.begin_s < now_s]:
            if id(away) in self._anew and not away.begin_s < self._launched_s < now_s:
                continue
            away.end_s = now_s
            self.back_s.append(now_s - away.begin_s)
            self._aways.remove(away)
        for pid, hang in list(self._hung.items()):
            if not process.is_alive(pid):
                hang.end_s = now_s
                del self._hung[pid]

    def _follow_worker(self, now_s: float) -> None:
        if self._worker and not process.is_alive(self._worker):
            self.ledger.note(
                "worker-end", now_s - 0.3, now_s, {Effect.LOSE_TCP: 0.1, Effect.AWAY: 0}
            )
            if (hang := self._hung.pop(self._worker, None)) is not None:
                hang.end_s = now_s
            self._worker = 0
        if not self._worker:
            self._worker = self.find(WORKER)

    def _follow_hung(self, now_s: float) -> None:
        """One that hangs is to be ended in time, unless who should notice was away, too."""
        for pid, hang in self._hung.items():
            if pid in self._ended or process.is_alive(pid):
                continue
            self._ended.add(pid)
            self.hangs_s.append(now_s - hang.begin_s)
            others = [each for each in self.ledger.troubles if each is not hang]
            if now_s > Ledger(others).settle(hang.begin_s, HANG_S):
                self.broken.append(f"{hang.cause} for {self.hangs_s[-1]:.2f} s, {hang.begin_s:.3f}")

    def _follow_end(self, now_s: float) -> None:
        launched = self.agent.process
        if launched is None:
            return
        code = launched.poll()
        if code is None:
            if self._stopping_s is not None and now_s - self._stopping_s > STOP_S:
                self.broken.append(f"the stop at {self._stopping_s:.3f} took over {STOP_S} s")
                launched.signal(signal.SIGKILL)
                self._stopping_s = now_s
            return
        launched.close()
        self.agent.process = None
        if self._stopping_s is None and not self.is_impaired(now_s):
            self.broken.append(f"the agent ended by itself with {code} at {now_s:.3f}")
        if self._stopping_s is None:
            self._fails(now_s)
            self._pause_s = RESTART_S
        self._launch_s, self._stopping_s = now_s + self._pause_s, None

    def _fails(self, now_s: float) -> None:
        """It ends by itself, and takes everything back."""
        self._away("ended", cost.stopping(self.backend, "clean"))
        self._aways[-1].begin_s = now_s - 0.5

    def is_impaired(self, now_s: float) -> bool:
        """Whether it is, or was a moment ago, without disk or descriptors."""
        return self.impaired > 0 or now_s - self.lifted_s < LIFTED_S

    def find(self, words: str) -> int:
        """The process on the VM whose command line holds the words; 0 where there is none."""
        top = removal.cgroup(self.agent.lab.token, self.agent.host)
        pids = []
        for file in (top / "cgroup.procs", *top.glob("*/cgroup.procs")):
            with suppress(OSError):
                pids += [int(word) for word in file.read_text().split()]
        # Not remembered: a process has its parent's words until it begins its own program.
        return next((pid for pid in pids if words in process.command_line(pid)), 0)

    def daemon(self) -> int:
        """The process that runs the loop: the worker's parent. 0 while there is none."""
        if self.agent.process is None or self._launch_s is not None:
            return 0
        worker = self.find(WORKER)
        return process.parent(worker) if worker else self.agent.process.pid

    @property
    def is_up(self) -> bool:
        """Whether it runs, and is not about to end."""
        return self.agent.process is not None and self._stopping_s is None

    @property
    def is_ready(self) -> bool:
        """Whether it has come back from everything that was done to it."""
        return self.is_up and not self._aways and not self._hung

    # --- hurting

    def _away(self, cause: str, more: dict[Effect, float], *, anew: bool = True) -> None:
        """``anew``: until a daemon is ready that we are still to start."""
        self._hurt_s = monotonic()
        after_s = {Effect.AWAY: 0.5, Effect.PASS_TCP: 1.0} | more
        self._aways.append(self.ledger.open(cause, monotonic(), after_s))
        if anew:
            self._anew.add(id(self._aways[-1]))

    def _lose_worker(self) -> None:
        """It dies with the agent, as soon as the processor is its for a moment."""
        now_s = monotonic()
        self.ledger.note("worker-end", now_s - 0.3, now_s, {Effect.LOSE_TCP: DYING_S})

    def kill(self, cause: str, pause_s: float, more: dict[Effect, float]) -> None:
        """SIGKILL for what was started; it is started again after a while."""
        assert self.agent.process is not None
        self._away(cause, more)
        self._lose_worker()
        self.agent.kill()
        self._stopping_s, self._launch_s = None, monotonic() + pause_s

    def stop(self, cause: str, pause_s: float, more: dict[Effect, float]) -> None:
        """SIGTERM; it is started again a while after it has ended, or after the one that ends."""
        assert self.agent.process is not None
        self._away(cause, more)
        self._stopping_s, self._pause_s = monotonic(), pause_s
        self.agent.process.signal(signal.SIGTERM)

    def kill_daemon(self, cause: str, pause_s: float, more: dict[Effect, float]) -> None:
        """SIGKILL for the process that runs the loop, whoever watches over it."""
        pid = self.daemon()
        assert self.agent.process is not None
        if pid in (0, self.agent.process.pid):
            self.kill(cause, pause_s, more)
            return
        self._away(cause, more, anew=False)
        process.send(pid, signal.SIGKILL)

    def hang(self, cause: str, pid: int, more: dict[Effect, float]) -> None:
        """SIGSTOP; `wake` or somebody's SIGKILL ends it."""
        self._hurt_s = monotonic()
        self._hung[pid] = self.ledger.open(cause, monotonic(), {Effect.AWAY: 1.0} | more)
        process.send(pid, signal.SIGSTOP)

    def empty_queue(self, cause: str) -> None:
        """A device or a hook goes, and with it what waits there."""
        hang = self._hung.get(self._worker)
        if hang is not None and process.is_alive(self._worker):
            waiting.note_dropped(self.ledger, cause, hang, monotonic())

    def wake(self, pid: int) -> None:
        """SIGCONT, where nobody has made an end of it."""
        process.send(pid, signal.SIGCONT)
        if pid in self._hung and process.is_alive(pid):
            self._hung.pop(pid).end_s = monotonic()

    def _launch(self) -> None:
        self._launch_s, self._launched_s = None, monotonic()
        self._hurt_s = monotonic()
        tree = yaml.safe_load(self.agent.config.read_text())
        over = {"agent": {"on_exit": self.next_on_exit}}
        self.agent.config.write_text(yaml.safe_dump(description.merge(tree, over)))
        self.on_exit = self.next_on_exit
        if not self.next_upgraded:
            self.agent.launch()
            return
        argv = ["env", f"PYTHONPATH={self.upgraded}", *self.agent.argv("run")]
        lab = self.agent.lab
        self.agent.process = lab.start(self.agent.host, argv, "agent", detached=True)

    def launch_soon(self, pause_s: float = 0.0) -> None:
        """Have it started, where nothing runs."""
        self._launch_s = monotonic() + pause_s

    def end(self, how: str) -> None:
        """End it for `clean`, and wait until it has ended. It is away until it is launched."""
        if self.agent.process is None:
            self._launch_s = None
            return
        if how == "kill":
            self._lose_worker()
            self.agent.kill()
        else:
            self._await_stop(self.agent.process)
        self._stopping_s = self._launch_s = None

    def _await_stop(self, launched: command.Process) -> None:
        launched.signal(signal.SIGTERM)
        deadline_s = monotonic() + STOP_S
        while launched.poll() is None and monotonic() < deadline_s:
            self._follow_worker(monotonic())
            sleep(TICK_S)
        self._follow_worker(monotonic())
        self.agent.stop(0.1)

    def away(self, cause: str, more: dict[Effect, float]) -> None:
        """From now on it is away, until it is ready again."""
        self._away(cause, more)


def said_s(line: str) -> float:
    """When a line was logged, by CLOCK_MONOTONIC."""
    said = datetime.fromisoformat(json.loads(line)["timestamp"])
    return said.timestamp() - time() + monotonic()
