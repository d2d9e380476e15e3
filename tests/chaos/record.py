"""What the load has seen: one line for each lookup, call or event of a connection. Pure."""

from __future__ import annotations

import enum
import json
from dataclasses import asdict, dataclass
from typing import cast

LOST = "lost"


class What(enum.Enum):
    """Which kind of work a record is about."""

    OTHER_UDP = "other-udp"
    OTHER_TCP = "other-tcp"
    MESH_UDP = "mesh-udp"
    MESH_TCP = "mesh-tcp"
    HTTP = "http"  # a new connection through the sidecar
    DIRECT = "direct"  # a new connection to an address that is nobody's of the mesh
    SSH = "ssh"  # a new connection to port 22 of the VM
    INBOUND = "inbound"  # a new connection to a captured port of the VM
    STREAM = "stream"  # a connection through the sidecar that is kept
    KEPT_DIRECT = "kept-direct"
    KEPT_SSH = "kept-ssh"
    STALL = "stall"  # the load itself was not given the processor


@dataclass(frozen=True, slots=True)
class Record:
    """One piece of work, by CLOCK_MONOTONIC. ``asked`` is the name and type, or the address.

    ``got`` is what came: ``RCODE ADDRESS...`` of a lookup, the greeting or body of a call,
    ``LOST``, or an error's name. ``tries`` are the times of a lookup's queries; only the last
    was answered. Of kept connections there is one record for each spell in which one was open.
    """

    what: What
    sent_s: float
    ended_s: float
    asked: str
    got: str
    tries: tuple[float, ...] = ()
    count: int = 1  # of what a kept connection has exchanged


def encode(record: Record) -> str:
    """A record as a line without its end."""
    fields = asdict(record) | {"what": record.what.value}
    return json.dumps(fields, separators=(",", ":"))


def decode(line: str) -> Record:
    """The inverse of `encode`. Raises ValueError, KeyError or TypeError for anything else."""
    fields = cast("dict[str, object]", json.loads(line))
    fields["what"] = What(fields["what"])
    fields["tries"] = tuple(cast("list[float]", fields["tries"]))
    return Record(**fields)  # type: ignore[arg-type]
