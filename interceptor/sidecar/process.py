"""Envoy's life on this host: started detached, adopted again, watched, restarted, stopped.

Envoy outlives the daemon. Which process it is stands in a record beside its
bootstrap; a new daemon that would start the very same Envoy takes over the one
that runs, and its connections never notice.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import os
import signal
import time
from collections.abc import Callable

from interceptor.errors import InterceptorError
from interceptor.host import command, share
from interceptor.sidecar import binary, folder, launch, pid, pulse
from interceptor.sidecar.admin import LIVE, Admin, Unreachable
from interceptor.sidecar.launch import Files, Launch, Record

log = logging.getLogger(__name__)

BACK_OFF_FIRST_S = 0.2
BACK_OFF_LAST_S = 10.0
STEADY_S = 30.0  # having lived so long, a failure is the first again
POLL_S = 0.02
TERM_S = 3.0  # between SIGTERM and SIGKILL
DRAIN_POLL_S = 0.1


# Children that outlive us, held because Python complains of one that it forgets.
_LEFT: list[command.Process] = []


class State(enum.Enum):
    """How the sidecar is."""

    STOPPED = "stopped"
    STARTING = "starting"
    LIVE = "live"
    HUNG = "hung"  # it runs, and its workers answer nobody
    DOWN = "down"  # it died, and is started again after a back-off


class Sidecar:
    """The managed Envoy. All methods belong to one event loop."""

    def __init__(
        self,
        wanted: Launch,
        files: Files,
        admin: Admin,
        on_state: Callable[[State], None] = lambda state: None,
        access_log: str = "",
    ) -> None:
        self.state = State.STOPPED
        self.restarts = self.hangs = 0
        self.was_adopted = False
        self.pid = 0
        self._wanted = wanted
        self._files = files
        self._admin = admin
        self._on_state = on_state
        self._access_log = access_log
        self._child: command.Process | None = None
        self._pidfd = -1
        self._watcher: asyncio.Task[None] | None = None
        self._live = asyncio.Event()

    async def start(self) -> None:
        """Adopt the Envoy that runs, if it is the wanted one, else start it. Watched from then on.

        Raises CommandFailed when it cannot be executed.
        """
        folder.prepare(self._wanted, self._files, self._access_log)
        record = pid.read_record(self._files.record)
        if record is not None:
            self._pidfd = pid.open_pidfd(record)
        if record is not None and self._pidfd >= 0:
            if record.digest == self._wanted.digest:
                self.pid, self.was_adopted = record.pid, True
                log.info("adopted envoy, pid %d", record.pid)
            else:
                log.info("envoy, pid %d, has another configuration: replacing it", record.pid)
                await self._end(drain_s=0)
        if self._pidfd < 0:
            await self._end_stray()
            self._spawn()
        self._watcher = asyncio.create_task(self._watch())

    async def wait_live(self, timeout_s: float) -> bool:
        """Wait until Envoy serves: it has its clusters and listeners, and says LIVE."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._live.wait()
        except TimeoutError:
            return False
        return True

    async def leave(self) -> None:
        """Stop watching. Envoy goes on, for the next daemon to adopt."""
        await self._unwatch()
        if self._child is not None:
            _LEFT.append(self._child)
        self._forget()

    async def stop(self, drain_s: float) -> None:
        """Let connections end for at most ``drain_s``, then end Envoy. Bounded, and final."""
        await self._unwatch()
        if self._pidfd >= 0:
            await self._end(drain_s)
        self._files.record.unlink(missing_ok=True)
        self._set(State.STOPPED)

    async def _watch(self) -> None:
        back_off_s = BACK_OFF_FIRST_S
        while True:
            self._set(State.STARTING)
            began_s = time.monotonic()
            ended = asyncio.create_task(pid.wait_ended(self._pidfd))
            live = asyncio.create_task(self._wait_live())
            try:
                await asyncio.wait((ended, live), return_when=asyncio.FIRST_COMPLETED)
                if live.done() and not ended.done():
                    self._set(State.LIVE)
                    live = asyncio.create_task(self._feel())
                await ended
            finally:
                live.cancel()
                ended.cancel()
            self._report_end()
            self._set(State.DOWN)
            if time.monotonic() - began_s > STEADY_S:
                back_off_s = BACK_OFF_FIRST_S
            while self._pidfd < 0:
                await asyncio.sleep(back_off_s)
                back_off_s = min(2 * back_off_s, BACK_OFF_LAST_S)
                self._respawn()

    async def _wait_live(self) -> None:
        """Until it says so. One that was adopted and hangs is ended, to be started anew; one that
        has nobody to configure it yet says that it is initializing."""
        heard_s = time.monotonic()
        while (state := await asyncio.to_thread(self._admin.state)) != LIVE:
            if state:
                heard_s = time.monotonic()
            if self.was_adopted and time.monotonic() - heard_s > pulse.END_S:
                log.error("the adopted envoy, pid %d, is ended: it does not answer", self.pid)
                pid.send_signal(self._pidfd, signal.SIGKILL)
                return await asyncio.sleep(TERM_S)
            await asyncio.sleep(POLL_S)

    async def _feel(self) -> None:
        """Whether it works, and not only lives. One that is silent for too long is ended."""
        async for silent_s in pulse.follow(self._wanted.readiness_port):
            if silent_s >= pulse.END_S:
                log.error("envoy, pid %d, is ended: no answer for %.0f s", self.pid, silent_s)
                return pid.send_signal(self._pidfd, signal.SIGKILL)
            if not silent_s:
                self._set(State.LIVE)
            elif silent_s >= pulse.HUNG_S and self.state is not State.HUNG:
                self.hangs += 1
                log.error("envoy, pid %d, does not answer", self.pid)
                self._set(State.HUNG)

    def _respawn(self) -> None:
        self.restarts += 1
        try:
            self._spawn()
        except (InterceptorError, OSError) as error:
            log.error("envoy cannot be started: %s", error)

    def _spawn(self) -> None:
        """Start Envoy in a session of its own, and write down which process it is."""
        share.raise_files()
        wanted = self._wanted
        with (
            folder.open_log(self._files.log) as output,
            binary.open_program(wanted.binary, wanted.uid, wanted.gid) as (program, fds),
        ):
            self._child = command.start(
                launch.render(wanted, program),
                pass_fds=fds,
                env={"PATH": os.environ.get("PATH", os.defpath)},
                detached=True,
                stdout=output,
                stderr=output,
                user=None if wanted.needs_root else wanted.uid,
                group=None if wanted.needs_root else wanted.gid,
            )
        share.rank(share.SIDECAR, self._child.pid)
        self.pid, self._pidfd, self.was_adopted = self._child.pid, self._child.pidfd, False
        log.info("started envoy, pid %d", self.pid)
        record = Record(self.pid, pid.read_start_ticks(self.pid), self._wanted.digest)
        try:
            folder.write(self._files.record, launch.encode(record), 0o600)
        except (
            OSError
        ) as error:  # the next daemon finds a stray by its command line, and replaces it
            log.error("envoy's pid cannot be written down: %s", error)

    def _report_end(self) -> None:
        code = self._child.poll() if self._child is not None else None
        last = folder.tail(self._files.log)
        log.error("envoy, pid %d, ended with %s: %s", self.pid, code, last or "nothing logged")
        self._forget()

    async def _end_stray(self) -> None:
        """An Envoy that nobody recorded holds our ports."""
        self._pidfd = pid.open_stray(self._files.bootstrap)
        if self._pidfd >= 0:
            log.info("an envoy without a record runs: replacing it")
            await self._end(drain_s=0)

    async def _end(self, drain_s: float) -> None:
        """Drain, SIGTERM, SIGKILL: each only as long as the one before did not do."""
        ended = asyncio.create_task(pid.wait_ended(self._pidfd))
        try:
            if drain_s > 0:
                await self._drain(ended, drain_s)
            for number, wait_s in ((signal.SIGTERM, TERM_S), (signal.SIGKILL, TERM_S)):
                if not ended.done():
                    pid.send_signal(self._pidfd, number)
                    await asyncio.wait((ended,), timeout=wait_s)
        finally:
            ended.cancel()
        self._forget()

    async def _drain(self, ended: asyncio.Task[None], drain_s: float) -> None:
        """Until no connection is left, at most for ``drain_s``."""
        deadline_s = time.monotonic() + drain_s
        try:
            await asyncio.to_thread(self._admin.drain)
            while time.monotonic() < deadline_s and not ended.done():
                if await asyncio.to_thread(self._admin.active_connections) == 0:
                    return
                await asyncio.wait((ended,), timeout=DRAIN_POLL_S)
        except Unreachable as error:
            log.warning("envoy is not drained: %s", error)

    async def _unwatch(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
            self._watcher = None

    def _forget(self) -> None:
        """Give back what we hold of the process: its exit code if it is ours, its pidfd."""
        if self._child is not None:
            self._child.poll()
            self._child.close()
            self._child = None
        elif self._pidfd >= 0:
            os.close(self._pidfd)
        self._pidfd = -1

    def _set(self, state: State) -> None:
        (self._live.set if state is State.LIVE else self._live.clear)()
        if state is not self.state:
            self.state = state
            self._on_state(state)
