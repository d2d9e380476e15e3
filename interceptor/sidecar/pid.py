"""A process that may not be our child: found by its record, watched and signalled by pidfd."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from interceptor.host import tcptable
from interceptor.sidecar import launch
from interceptor.sidecar.launch import Record


def read_start_ticks(pid: int) -> int:
    """When ``pid`` was started, in clock ticks since boot; -1 when there is no such process."""
    try:
        return launch.decode_start_ticks(Path(f"/proc/{pid}/stat").read_text())
    except (OSError, ValueError, IndexError):
        return -1


def read_record(path: Path) -> Record | None:
    """The record of the last Envoy, whether or not it lives."""
    try:
        return launch.decode(path.read_text())
    except OSError:
        return None


def open_pidfd(record: Record) -> int:
    """A pidfd of the recorded process, -1 when it is gone. The caller closes it.

    Opened first and compared afterwards, so that a pid that changes hands in
    between is not taken for the old one.
    """
    try:
        pidfd = os.pidfd_open(record.pid)
    except OSError:
        return -1
    if record.start_ticks < 0 or read_start_ticks(record.pid) != record.start_ticks:
        os.close(pidfd)
        return -1
    return pidfd


def open_stray(bootstrap: Path) -> int:
    """A pidfd of an Envoy that runs by this bootstrap file, -1 where there is none.

    A daemon that is killed after it started Envoy and before it wrote the
    record leaves such a one. The caller closes the pidfd.
    """
    wanted = {b"--config-path", os.fsencode(bootstrap)}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted <= set((folder / "cmdline").read_bytes().split(b"\0")):
                return os.pidfd_open(int(folder.name))
        except OSError:
            continue
    return -1


async def wait_ended(pidfd: int) -> None:
    """Wait until the process has ended, which is when its pidfd turns readable."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(pidfd, tell)
    try:
        await ended
    finally:
        loop.remove_reader(pidfd)


def send_signal(pidfd: int, number: signal.Signals) -> None:
    """Signal exactly this process, whoever has its pid by now."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass


def is_listening(port: int) -> bool:
    """Whether anybody listens on TCP ``port`` of this network namespace, for mode `external`."""
    return tcptable.has_sockets(port, tcptable.LISTEN)
