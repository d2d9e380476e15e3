"""One captured packet as a value, and what is said of a file that cannot be read."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from interceptor.errors import InterceptorError

# LINKTYPE_ numbers as they stand in files (tcpdump.org/linktypes.html).
ETHERNET = 1
RAW = 101  # an IPv4 or IPv6 header comes first


class Direction(enum.IntEnum):
    """The lowest two bits of a packet block's epb_flags."""

    UNKNOWN = 0
    IN = 1
    OUT = 2


@dataclass(frozen=True, slots=True)
class Record:
    """``time_ns`` since 1970, 0 where the file tells none; ``interface`` its name there, or "";
    ``link`` a LINKTYPE_; ``data`` what was kept of ``length`` bytes."""

    time_ns: int
    interface: str
    link: int
    data: bytes
    length: int
    comment: str = ""
    direction: Direction = Direction.UNKNOWN

    @property
    def time_s(self) -> float:
        return self.time_ns / 1e9


class Damaged(InterceptorError):
    """A capture that is not one, or no longer. ``offset`` counts bytes from the file's begin."""

    def __init__(self, where: str, offset: int, what: str, legal: str) -> None:
        self.where = where
        self.offset = offset
        self.what = what
        self.legal = legal
        super().__init__(f"{where}: byte {offset}: {what}; legal: {legal}")
