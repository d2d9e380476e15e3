from __future__ import annotations

import pytest

from interceptor.host import tc
from interceptor.host.tc import ETH_P_ALL_BE, Filter, Hook


def standing(
    priority: int, kind: str = "u32", protocol_be: int = ETH_P_ALL_BE, chain: int = 0
) -> Filter:
    return Filter(2, Hook.EGRESS, priority, 1, kind, protocol_be, chain, "theirs", 0, "")


@pytest.mark.parametrize(
    ("there", "priority"),
    [
        ([], 1),
        ([standing(1)], 2),
        ([standing(2)], 1),
        ([standing(1), standing(2)], 3),
        ([standing(1, "bpf")], 1),
        ([standing(1, "bpf", protocol_be=0x0008)], 2),
        ([standing(1), standing(2, "bpf")], 2),
        ([standing(1, chain=5)], 1),
    ],
)
def test_ours_takes_the_first_priority_that_is_free_or_shared_with_bpf(
    there: list[Filter], priority: int
) -> None:
    assert tc.choose_priority(there) == priority


def test_a_filter_is_ours_by_kind_and_name() -> None:
    named = Filter(2, Hook.EGRESS, 1, 1, "bpf", 3, 0, "interceptor_dns_lo", 9, "ab")
    assert (named.ours, named.program) == (True, "dns_lo")
    assert not standing(1, "bpf").ours
