"""The parent of `interceptor run`: ends a daemon that hangs, and starts it again.

It forks before anything large is imported (its memory is the bare
interpreter's), hears the daemon's life signs from a pipe, and has nothing else
to do: what could hang here? A daemon that is silent for HANG_S is ended by
SIGKILL, which works on stopped processes too, and its DNS worker with it
(see `parent`): the queue rule's bypass then gives all DNS back to the host. So
is a daemon that ends by a signal that nobody sent through us. An exit code is
its own decision, and passes through. When this process is killed the daemon is,
at once.

Under systemd with a watchdog there is no such parent: systemd is it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic

from interceptor.host import notify, share
from interceptor.host.lifeline import AGAIN, BEAT, CONFIRMED, EXTEND, HOLD, RELEASE, Lifeline

HANG_S = 3.0
FIRST_SIGN_S = 60.0  # until the loop runs: imports and the configuration, on a busy machine
TICK_S = 0.25
WORKER_S = 0.3  # for a DNS worker that lives to finish what waits
BACK_OFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # before each further start; the last stays
CALM_S = 60.0  # a daemon that lived so long starts the list again
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
OFF = "--no-supervisor"


def is_wanted(words: Sequence[str], environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a command line is a daemon's that nobody else looks after."""
    others = {OFF, "-h", "--help"}
    return (
        words[:1] == ["run"]
        and not others & set(words)
        and notify.watchdog_interval_s(environment) is None
    )


class Silence:
    """How long nothing was heard, in time in which we ourselves could hear: neither a machine
    that was suspended nor a Ctrl-Z that stopped us both is the daemon's fault."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.silent_s = 0.0

    def wait(self, elapsed_s: float) -> None:
        self.silent_s += min(elapsed_s, 2 * TICK_S)

    def hear(self, word: str) -> None:
        """Take a life sign, or the announcement of a long step."""
        if word == BEAT:
            self.silent_s, self.limit_s = 0.0, HANG_S
        elif word.startswith(EXTEND) and word[len(EXTEND) :].isdigit():
            self.silent_s, self.limit_s = 0.0, HANG_S + int(word[len(EXTEND) :]) / 1e6

    @property
    def is_too_long(self) -> bool:
        return self.silent_s > self.limit_s


class Supervisor:
    """One in a process, in its main thread."""

    def __init__(self) -> None:
        self.restarts = self.failures = 0
        self.why = ""
        self.is_confirmed = self.is_reloading = False
        self.release_s: float | None = None  # a loss that is longer lets go of what is captured
        self.stopping = 0  # the signal by which we are to end
        self._lost_s = monotonic()  # the last time that a daemon was well
        self._hold = -1, 0  # of the daemon's descriptors the one of its queue, and its number
        self._woken, self._waker = os.pipe()
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in PASSED_ON:
            signal.signal(number, lambda *_: None)

    def leave(self) -> None:
        """In a child: nothing of the parent's stays."""
        signal.set_wakeup_fd(-1)
        os.close(self._woken)
        os.close(self._waker)
        for number in PASSED_ON:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def follow(self, child: int, reader: int) -> int | None:
        """One daemon's life. Returns the exit code to leave with, None to start another."""
        pidfd, born_s = os.pidfd_open(child), monotonic()
        self._hold = -1, 0
        try:
            killed = self._attend(pidfd, reader)
        finally:
            os.close(pidfd)
            os.close(reader)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if self.is_reloading and code == 0 and not self.stopping:
            return None
        if code >= 0 and not killed:
            return code
        self.why = killed or f"was ended by {signal.Signals(-code).name}"
        if self.stopping:
            return 1 if killed else code
        self.failures = 0 if monotonic() - born_s > CALM_S else self.failures + 1
        self.restarts += 1
        return None

    def _attend(self, pidfd: int, reader: int) -> str:
        """Until the daemon is gone. Returns for what we ended it, empty when we did not."""
        poll, silence, killed = select.poll(), Silence(FIRST_SIGN_S), ""
        for descriptor in (pidfd, reader, self._woken):
            poll.register(descriptor, select.POLLIN)
        now_s = monotonic()
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(TICK_S * 1000)}
            before_s, now_s = now_s, monotonic()
            silence.wait(now_s - before_s)
            if self._woken in ready:
                self._pass_on(pidfd)
            if reader in ready and not self._listen(reader, silence):
                poll.unregister(reader)
            if pidfd in ready:
                return killed
            if silence.is_too_long and not killed:
                killed = f"gave no life sign for {silence.silent_s:.1f} s"
                self._kill(pidfd)

    def _kill(self, pidfd: int) -> None:
        """End a daemon, which may be stopped. Its worker may have died before it: what waits in
        the queue that both have left would be dropped with the daemon's hold on it."""
        taken, (descriptor, number) = -1, self._hold
        if descriptor >= 0:
            from interceptor.host import pidfd as process  # ctypes: a megabyte more

            with suppress(OSError):
                taken = process.copy(pidfd, descriptor)
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        if taken >= 0:
            from interceptor.host import waitqueue

            if count := waitqueue.settle(taken, number, WORKER_S):
                print(f"interceptor: {count} queries that waited go on", file=sys.stderr)

    def _pass_on(self, pidfd: int) -> None:
        """Give the daemon the signals that came for it."""
        for number in os.read(self._woken, 64):
            if number != signal.SIGHUP:
                self.stopping = number
            try:
                signal.pidfd_send_signal(pidfd, number)
            except ProcessLookupError:
                return

    def _listen(self, reader: int, silence: Silence) -> bool:
        """Take what the daemon says; False when it will say nothing more."""
        # Writes of whole lines, each smaller than PIPE_BUF, are never torn.
        words = os.read(reader, 1 << 16).decode(errors="replace").splitlines()
        for word in words:
            silence.hear(word)
            if word == BEAT:
                self._lost_s = monotonic()
            elif word == AGAIN:
                self.is_reloading = True
            elif word == CONFIRMED:
                self.is_confirmed = True
            elif word.startswith(HOLD):
                descriptor, _, number = word[len(HOLD) :].partition(",")
                self._hold = int(descriptor), int(number)
            elif word.startswith(RELEASE):
                self.release_s = float(word[len(RELEASE) :])
            else:
                notify.send(word)
        return bool(words)

    def pause(self) -> bool:
        """Before the next start. False when we are told to end meanwhile."""
        if self.is_reloading:
            self.is_reloading = False
            return not self.stopping
        pause_s = BACK_OFF_S[min(self.failures, len(BACK_OFF_S)) - 1] if self.failures else 0.0
        if self.release_s is not None:
            pause_s = min(pause_s, max(0.0, self._lost_s + self.release_s - monotonic()))
        print(f"interceptor: the daemon {self.why}; next start in {pause_s:g} s", file=sys.stderr)
        until_s = monotonic() + pause_s
        while not self.stopping and (left_s := until_s - monotonic()) > 0:
            if select.select([self._woken], [], [], left_s)[0]:
                told = set(os.read(self._woken, 64)) - {signal.SIGHUP}
                self.stopping = max(told, default=0)
        return not self.stopping

    def is_lost(self) -> bool:
        """Whether it is time to let go of what is captured, as the last daemon asked us to."""
        return self.release_s is not None and monotonic() - self._lost_s > self.release_s

    def has_released(self, code: int | None) -> bool:
        """Whether it is done and a daemon's turn at once. One that failed is tried again when
        the next daemon is lost, too."""
        self._lost_s = monotonic()
        if code == 0:
            self.release_s = None
        return code == 0 and not self.stopping

    def fork(self, writer: int, *, releases: bool) -> tuple[int, Lifeline | None]:
        """The child's pid; in the child 0, and what its work is."""
        parent = os.getpid()
        # A signal between the fork and `leave` would be taken by handlers that do nothing.
        signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
        child = os.fork()
        if child == 0:
            self.leave()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        if child:
            return child, None
        from interceptor.host import parent as life  # ctypes: a megabyte more

        life.die_with(parent)
        return 0, Lifeline(
            writer,
            restarts=self.restarts,
            why=self.why,
            is_confirmed=self.is_confirmed,
            releases=releases,
        )


def live() -> Lifeline:
    """Become the supervisor. Returns in each of its children, whose work it is to be the daemon;
    the supervisor itself leaves by SystemExit, or by the signal that ended the daemon."""
    supervisor = Supervisor()
    share.rank(share.SUPERVISOR)
    while True:
        releases = supervisor.is_lost()
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        child, lifeline = supervisor.fork(writer, releases=releases)
        if lifeline is not None:
            os.close(reader)
            return lifeline
        os.close(writer)
        code = supervisor.follow(child, reader)
        if releases and supervisor.has_released(code):
            continue
        if (code is not None and not releases) or not supervisor.pause():
            _leave(1 if code is None else code)


def _leave(code: int) -> None:
    """End as the daemon did."""
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)
