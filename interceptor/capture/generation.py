"""The policy in the kernel's maps: two generations, of which one is in force.

A new policy is written where nobody reads and then put in force by one write,
so that every packet and call meets the old one or the new. Mesh addresses alone
are exchanged in the generation that is in force, one by one.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Collection, Iterable, Mapping

from interceptor.capture import policy
from interceptor.capture.policy import Element, Policy
from interceptor.host import bpfmap
from interceptor.host.bpfmap import BpfMap
from interceptor.host.layout import NETWORK_KEY, NUMBER_KEY, Map, State

PRESENT = b"\1"
DIGEST_AT = 16
"""Where struct policy has its digest."""
WEIGHT = 1 << 64


def digest_in_force(state: BpfMap, policies: BpfMap) -> int:
    """What tells the policy in force from others; 0 where there is none, or it is being changed."""
    raw = policies.lookup(bpfmap.index(_in_force(state))) or b""
    return int.from_bytes(raw[DIGEST_AT : DIGEST_AT + 8], sys.byteorder)


def _in_force(state: BpfMap) -> int:
    return bpfmap.read_state(state, State.GENERATION) & 1


class Generations:
    """The writer of the policy maps: the only one while it lives."""

    def __init__(self, maps: Mapping[Map, BpfMap]) -> None:
        self._state, self._policies = maps[Map.STATE], maps[Map.POLICY]
        self._sets = {Map.NUMBERS: maps[Map.NUMBERS], Map.NETWORKS: maps[Map.NETWORKS]}
        # Whoever wrote them before: what is there now is all that counts.
        self._there: dict[int, dict[Map, set[bytes]]] = {0: {}, 1: {}}
        for kind, field in ((Map.NUMBERS, NUMBER_KEY), (Map.NETWORKS, NETWORK_KEY)):
            keys = list(self._sets[kind].items())
            at = 2 if field is NUMBER_KEY else 6
            for generation in self._there:
                self._there[generation][kind] = {
                    k for k in keys if _generation(k, at) == generation
                }

    @property
    def digest(self) -> int:
        """Of the policy in force; 0 where there is none yet."""
        return digest_in_force(self._state, self._policies)

    def install(self, wanted: Policy, digest: int) -> bool:
        """Put a policy, whose digest it is, in force. False where it is so already."""
        if digest == self.digest:
            return False
        spare = 1 - _in_force(self._state)
        numbers = {policy.encode_number(each, spare) for each in wanted.numbers}
        networks = {policy.encode_network(each, spare) for each in wanted.networks}
        self._fill(spare, Map.NUMBERS, numbers)
        self._fill(spare, Map.NETWORKS, networks)
        self._policies.update(bpfmap.index(spare), policy.encode(wanted, digest))
        bpfmap.write_state(self._state, State.GENERATION, spare)
        return True

    def _fill(self, generation: int, kind: Map, wanted: set[bytes]) -> None:
        there = self._there[generation][kind]
        gone, fresh = list(there - wanted), list(wanted - there)
        self._sets[kind].delete_batch(gone)
        self._sets[kind].update_batch(fresh, [PRESENT] * len(fresh))
        self._there[generation][kind] = wanted

    def exchange(self, gone: Collection[Element], fresh: Collection[Element]) -> int:
        """Exchange networks of the policy in force, and tell its digest now.

        What is fresh is in before what is gone is out; until both are done the
        digest is 0, so that a crash meanwhile is seen.
        """
        generation = _in_force(self._state)
        key = bpfmap.index(generation)
        raw = self._policies.lookup(key) or b""
        digest = int.from_bytes(raw[DIGEST_AT : DIGEST_AT + 8], sys.byteorder)
        self._policies.update(key, _with_digest(raw, 0))
        there = self._there[generation][Map.NETWORKS]
        added = [policy.encode_network(each, generation) for each in fresh]
        removed = [policy.encode_network(each, generation) for each in gone]
        networks = self._sets[Map.NETWORKS]
        networks.update_batch(added, [PRESENT] * len(added))
        networks.delete_batch(removed)
        there |= set(added)
        there -= set(removed)
        digest = (digest + _weigh(fresh) - _weigh(gone)) % WEIGHT
        self._policies.update(key, _with_digest(raw, digest))
        return digest


def _weigh(elements: Iterable[Element]) -> int:
    return policy.weigh(policy.encode_network(each, 0) for each in elements)


def _with_digest(raw: bytes, digest: int) -> bytes:
    return raw[:DIGEST_AT] + struct.pack("=Q", digest) + raw[DIGEST_AT + 8 :]


def _generation(key: bytes, at: int) -> int:
    return int.from_bytes(key[at : at + 2], sys.byteorder)
