"""Who gives this VM its identity."""

from __future__ import annotations

import enum
import socket
from pathlib import Path

from interceptor.config import Config

CONNECT_S = 1.0


class Provider(enum.Enum):
    """As identity.provider has it, ``auto`` decided."""

    ISTIOD = "istiod"
    LOCAL = "local"
    SOCKET = "socket"
    NONE = "none"


def observe(config: Config) -> Provider:
    """Now. Somebody else's SDS is taken where its socket lives, not where only its file is left."""
    wanted = config.identity.provider
    if wanted != "auto":
        return Provider(wanted)
    if is_alive(config.identity.socket):
        return Provider.SOCKET
    return Provider.ISTIOD if config.mesh.source == "istiod" else Provider.NONE


def is_alive(path: Path) -> bool:
    """Whether somebody takes connections at a Unix socket. Blocks, for `CONNECT_S` at most."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(CONNECT_S)
        try:
            link.connect(str(path))
        except OSError:
            return False
    return True
