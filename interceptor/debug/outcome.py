"""What became of captured connections in the sidecar, as a source of events: its access log.

The log is followed from its end, while somebody listens. Envoy writes a line when a connection or
request is over, and to the file within a second of that. What the sidecar's own processes call is
in it as well, as it is in the mesh.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from interceptor.debug import accessline
from interceptor.debug.allowance import Allowance
from interceptor.debug.event import Sink
from interceptor.debug.flows import Flows
from interceptor.errors import InterceptorError
from interceptor.host.endure import endure

LOOK_S = 0.1
READ_BYTES = 1 << 18  # in one look; more waits for the next
LINE_BYTES = 1 << 16  # a longer one is none of ours
EACH_S = 2000


class Outcome:
    """A `Source`. ``path``: the access log, empty where the configuration has none."""

    def __init__(self, path: str, flows: Flows) -> None:
        self._path = Path(path) if path else None
        self._flows = flows
        self._allowance = Allowance(EACH_S)
        self._file: BinaryIO | None = None
        self._rest = b""
        self._odd = 0
        self._sink: Sink | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def left_out(self) -> int:
        return self._allowance.refused + self._odd

    async def open(self, sink: Sink) -> None:
        self._sink = sink
        if self._path is None or self._task is not None:
            return
        if self._path.is_char_device() or self._path.is_fifo():
            raise InterceptorError(
                f"what becomes of connections is not told: {self._path} cannot be read; "
                "set sidecar.access_log to a file"
            )
        self._reopen(from_end=True)
        self._task = asyncio.create_task(endure("the sidecar's access log", self._follow))

    async def close(self) -> None:
        task, self._task = self._task, None
        self._sink = None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._shut()

    def _shut(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._rest = None, b""

    def _reopen(self, *, from_end: bool) -> None:
        self._shut()
        assert self._path is not None
        with suppress(FileNotFoundError):  # no sidecar yet
            self._file = self._path.open("rb", buffering=0)
            if from_end:
                self._file.seek(0, os.SEEK_END)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self._look()

    def _look(self) -> None:
        """Tell what is new. A file that was rotated away is read to its end first."""
        data = self._file.read(READ_BYTES) if self._file is not None else b""
        if data:
            self._take(data)
        elif self._is_another():
            self._reopen(from_end=False)

    def _is_another(self) -> bool:
        """Whether the path leads to another file now, or the file was emptied."""
        assert self._path is not None
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        if self._file is None:
            return True
        here = os.fstat(self._file.fileno())
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino) or (
            here.st_size < self._file.tell()
        )

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES:
            self._rest, self._odd = b"", self._odd + 1
        for line in lines:
            if self._sink is not None and self._allowance.take():
                self._tell(line, self._sink)

    def _tell(self, line: bytes, sink: Sink) -> None:
        fields = accessline.parse(line)
        if fields is None:
            self._odd += 1
            return
        source, dialled = accessline.client(fields)
        whose = self._flows.find((source.address, source.port), (dialled.address, dialled.port))
        try:
            sink(accessline.build(fields, whose))
        except ValueError:
            self._odd += 1
