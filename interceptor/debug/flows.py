"""Who made which connection, for what is told of it later by others."""

from __future__ import annotations

from collections import OrderedDict

from interceptor.host.process import NOBODY, Process

ROOM = 8192  # connections; the oldest are forgotten
End = tuple[str, int]


class Flows:
    """Written by whoever sees connections begin, read by whoever sees them end."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[End, End], Process] = OrderedDict()

    def note(self, client: End, server: End, process: Process) -> None:
        """``server`` is what the client dialled."""
        if process.pid or process.unit:
            self._known[client, server] = process
            self._known.move_to_end((client, server))
            if len(self._known) > ROOM:
                self._known.popitem(last=False)

    def find(self, client: End, server: End) -> Process:
        """`NOBODY` where it is not known."""
        return self._known.get((client, server), NOBODY)
