"""Whom the services of this VM take: with a member's certificate only, without one too, or not
by certificate at all."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Mode(enum.Enum):
    """PeerAuthentication.mtls.mode, without UNSET."""

    STRICT = "STRICT"
    PERMISSIVE = "PERMISSIVE"
    DISABLE = "DISABLE"


@dataclass(frozen=True, slots=True)
class Policy:
    """``ports`` holds (port of an application, mode) where it is not ``mode``; sorted."""

    mode: Mode = Mode.DISABLE
    ports: tuple[tuple[int, Mode], ...] = ()

    def of(self, port: int) -> Mode:
        return dict(self.ports).get(port, self.mode)


PLAIN = Policy()
