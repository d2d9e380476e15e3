"""The policy as bytes, and the number by which one is told from another."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.capture import policy
from interceptor.capture.plan import Steering
from interceptor.capture.policy import NOBODY, CgroupRef, Policy
from interceptor.host.layout import CGROUPS, POLICY, Network, Number, PolicyFlag

FULL = Policy(
    flags=PolicyFlag.DNS | PolicyFlag.OUTBOUND,
    steering=Steering(mark=7, lease_s=3, bypass=True),
    netns_cookie=0x1_0000_0001,
    sidecar_uid=1337,
    excluded=(CgroupRef(77, 2), CgroupRef(78, 1)),
    included=(CgroupRef(79, 3),),
    sidecar_cgroup=80,
    numbers=frozenset({(Number.OUT_PORT, 443)}),
    networks=frozenset({(Network.OUTBOUND, ip_network("10.0.0.0/8"))}),
)


def test_a_policy_is_written_as_the_programs_read_it() -> None:
    cookie, lease_ns, digest, flags, mark, uid, gid, *rest, home = POLICY.unpack(
        policy.encode(FULL, 9)
    )
    assert (cookie, lease_ns, digest) == (0x1_0000_0001, 3_000_000_000, 9)
    said = PolicyFlag.DNS | PolicyFlag.OUTBOUND | PolicyFlag.BYPASS | PolicyFlag.CONFINED
    assert PolicyFlag(flags) == said
    assert (mark, uid, gid) == (7, 1337, NOBODY)
    assert rest[:5] == [15001, 15006, 15053, 2, 1]
    references = [tuple(rest[at : at + 3]) for at in range(5, len(rest), 3)]
    assert len(references) == 2 * CGROUPS
    assert references[:2] == [(77, 2, 0), (78, 1, 0)]
    assert references[CGROUPS] == (79, 3, 0)
    assert home == 80


def test_without_a_cgroup_the_sidecar_is_exempt_wherever_it_is() -> None:
    *_, flags, _, _, _ = POLICY.unpack(policy.encode(replace(FULL, sidecar_cgroup=0)))[:7]
    assert PolicyFlag.CONFINED not in PolicyFlag(flags)


def test_keys_differ_by_their_generation_alone() -> None:
    for generation in (0, 1):
        number = policy.encode_number((Number.OUT_PORT, 443), generation)
        assert number == bytes((6, 0, generation, 0, 443 & 255, 443 >> 8, 0, 0))
        network = policy.encode_network((Network.OUTBOUND, ip_network("10.0.0.0/8")), generation)
        assert network[:8] == bytes((32 + 96 + 8, 0, 0, 0, 1, 0, generation, 0))


@pytest.mark.parametrize(
    "change",
    [
        {"netns_cookie": 5},
        {"steering": Steering(mark=8, lease_s=3, bypass=True)},
        {"excluded": ()},
        {"sidecar_cgroup": 0},
        {"numbers": frozenset()},
        {"networks": frozenset({(Network.SPARED, ip_network("10.0.0.0/8"))})},
    ],
)
def test_whatever_changes_makes_another_digest(change: dict[str, object]) -> None:
    assert policy.digest(replace(FULL, **change)) != policy.digest(FULL)  # type: ignore[arg-type]


@given(st.sets(st.binary(min_size=1)), st.sets(st.binary(min_size=1)))
def test_a_digest_follows_a_change_without_the_rest(one: set[bytes], other: set[bytes]) -> None:
    moved = policy.weigh(one) - policy.weigh(one - other) + policy.weigh(other - one)
    assert moved % (1 << 64) == policy.weigh(other) % (1 << 64)
