"""What the control plane does wrong, as a value. The default is a good one."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Faults:
    """Everything that may be wrong at once. Answers are changed for ``types`` only (``nds``,
    ``cds`` ...; empty: all)."""

    types: tuple[str, ...] = ()
    delay_s: float = 0
    """Each answer comes so much later."""
    mute: bool = False
    """No answers at all; requests are still read."""
    empty: bool = False
    """Answers without what is in them: a name table without names, no resources of other types."""
    no_resources: bool = False
    """Answers with an empty list of resources, a name table's too."""
    huge: int = 0
    """So many hosts more in the name table: host-N.huge.test."""
    nonce: str = ""
    """same: each answer bears the same; none: an empty one; deaf: every ACK is taken for stale."""
    inner_url: str = ""
    """Type URL of the Any in the resource."""
    outer_url: str = ""
    """Type URL of the answer."""
    truncate: int = 0
    """So many bytes are cut off each resource's end."""
    garbage: str = ""
    """resource: random bytes in the Any; frame: instead of the whole message."""
    duplicate: int = 0
    """Each answer is sent so many times more."""
    unasked: bool = False
    """With each answer comes one of a type that nobody asked for, and one of an unknown type."""
    close_after_s: float = 0
    """Each stream ends after so long, as by a maximum connection age."""
    close_code: str = "OK"
    """How it ends."""
    refuse: str = ""
    """gRPC's name of the status by which streams and calls are refused."""
    refuse_message: str = "refused by the test"
    header_bytes: int = 0
    """Size of the metadata that comes with each stream."""
    certificate: str = ""
    """expired, future, other (of another authority), name (of another host)."""
    drip_bps: int = 0
    """Bytes a second that go out of each connection."""
    half_open: bool = False
    """Nothing is read or written any more; connections stay, and are taken."""
    reject: bool = False
    """Connections are closed as soon as they are there."""
    ca: str = ""
    """late, rubbish, expired, future, other-key, other-root, empty, refuse."""
    ca_delay_s: float = 0

    def concerns(self, kind: str) -> bool:
        return not self.types or kind in self.types


NO_FAULTS = Faults()
NAMES = tuple(item.name for item in fields(Faults))


def decode(raw: dict[str, object]) -> Faults:
    """Faults of their JSON. Raises ValueError for an unknown one, so that no test is vain."""
    unknown = raw.keys() - set(NAMES)
    if unknown:
        raise ValueError(f"no such fault: {sorted(unknown)}; there are {', '.join(NAMES)}")
    made = dict(raw)
    types = made.get("types", ())
    if not isinstance(types, list | tuple):
        raise ValueError(f"types: {types!r} is not a list")
    made["types"] = tuple(types)
    return Faults(**made)  # type: ignore[arg-type]
