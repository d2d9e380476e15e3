"""What the ebpf programs decide by: one struct policy, and sets of numbers and networks.

Values and their bytes; `placement` makes them of a plan. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

from interceptor.capture.plan import Steering
from interceptor.capture.rule import Network as IpNetwork
from interceptor.host.layout import (
    CGROUPS,
    NUMBER_KEY,
    POLICY,
    Network,
    Number,
    PolicyFlag,
    network_key,
)

NOBODY = 0xFFFFFFFF
"""No user or group (linux/uidgid.h: INVALID_UID)."""
NO_CGROUP = 0xFFFFFFFFFFFFFFFF
"""No cgroup: 0 would be the ancestor of whoever is not that deep."""
NS = 1_000_000_000
NO_FLAGS = PolicyFlag(0)


Element = tuple[Network, IpNetwork]


@dataclass(frozen=True, slots=True)
class CgroupRef:
    """A cgroup as programs compare it: inode of its folder, depth below the root."""

    id: int
    level: int


@dataclass(frozen=True, slots=True)
class Policy:
    """What is in force at one time, without its generation.

    ``spared_devices`` have no filter (rule 1), ``bridges`` have one on their
    ingress as well (rule 5 of containers). ``sidecar_cgroup`` is the inode of
    the folder in which alone the sidecar's user and group are exempt; 0: anywhere.
    """

    flags: PolicyFlag = NO_FLAGS
    steering: Steering = field(default_factory=Steering)
    netns_cookie: int = 0
    sidecar_uid: int = NOBODY
    sidecar_gid: int = NOBODY
    excluded: tuple[CgroupRef, ...] = ()
    included: tuple[CgroupRef, ...] = ()
    numbers: frozenset[tuple[Number, int]] = frozenset()
    networks: frozenset[Element] = frozenset()
    spared_devices: tuple[str, ...] = ()
    bridges: tuple[str, ...] = ()
    sidecar_cgroup: int = 0


def encode(policy: Policy, digest: int = 0) -> bytes:
    """struct policy."""
    steering = policy.steering
    flags = policy.flags
    if steering.bypass:
        flags |= PolicyFlag.BYPASS
    if steering.release:
        flags |= PolicyFlag.RELEASE
    if policy.sidecar_cgroup:
        flags |= PolicyFlag.CONFINED
    refs: list[int] = []
    for group in (policy.excluded, policy.included):
        padded = [(ref.id, ref.level, 0) for ref in group] + [(0, 0, 0)] * (CGROUPS - len(group))
        refs += [number for ref in padded for number in ref]
    return POLICY.pack(
        *(policy.netns_cookie, steering.lease_s * NS, digest, flags, steering.mark),
        *(policy.sidecar_uid, policy.sidecar_gid),
        *(steering.outbound_port, steering.inbound_port, steering.dns_port),
        *(len(policy.excluded), len(policy.included), *refs),
        policy.sidecar_cgroup,
    )


def encode_number(number: tuple[Number, int], generation: int) -> bytes:
    """struct number_key."""
    kind, value = number
    return NUMBER_KEY.pack(kind, generation, value)


def encode_network(network: Element, generation: int) -> bytes:
    """struct network_key."""
    kind, address = network
    return network_key(kind, generation, address)


def weigh(keys: Iterable[bytes]) -> int:
    """A number of 64 bits for a set of keys; that of a union is the sum of both (modulo 2^64)."""
    return sum(int.from_bytes(blake2b(key, digest_size=8).digest(), "big") for key in keys)


def digest(policy: Policy) -> int:
    """What tells one policy from another, in 64 bits, whatever its generation."""
    keys = [encode(policy)]
    keys += [b"n" + encode_number(number, 0) for number in policy.numbers]
    keys += [encode_network(network, 0) for network in policy.networks]
    return weigh(keys) % (1 << 64)
