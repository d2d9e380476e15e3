from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.config import VipRanges
from interceptor.mesh import vip
from interceptor.mesh.vip import Allocation

RANGES = VipRanges()
SMALL = VipRanges(ipv4=IPv4Network("240.0.0.0/28"), ipv6=IPv6Network("fd00::/120"))
NAMES = st.lists(st.integers(0, 40).map(lambda n: f"host-{n}.example"), unique=True, max_size=30)


def allocated(names: list[str], ranges: VipRanges = RANGES) -> Allocation:
    allocation = Allocation(ranges)
    for name in names:
        allocation.allocate(name)
    return allocation


def test_a_host_gets_one_address_of_each_family_within_the_ranges() -> None:
    v4, v6 = allocated(["a.example"]).addresses("a.example")
    assert v4 in RANGES.ipv4
    assert v6 in RANGES.ipv6


def test_an_address_is_a_matter_of_the_name_alone() -> None:
    alone = allocated(["a.example"]).addresses("a.example")
    assert allocated(["b.example", "c.example", "a.example"]).addresses("a.example") == alone
    # Held fast: another release must not move every host.
    assert [str(address) for address in alone] == ["240.240.26.171", "2001:2::1aab"]


def test_network_and_broadcast_address_are_never_given() -> None:
    allocation = allocated([f"h{n}" for n in range(14)], SMALL)
    given4 = {allocation.addresses(name)[0] for name in allocation.slots}
    assert given4 == set(SMALL.ipv4.hosts())


@settings(deadline=None)
@given(NAMES, st.sampled_from([RANGES, SMALL]))
def test_no_address_is_given_twice(names: list[str], ranges: VipRanges) -> None:
    allocation = allocated(names, ranges)
    found = [address for name in names for address in allocation.addresses(name)]
    assert len(found) == len(set(found))


STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=60)


@settings(deadline=None)
@given(STEPS)
def test_no_host_moves_while_others_come_and_go(steps: list[tuple[bool, int]]) -> None:
    allocation = Allocation(SMALL)
    held: dict[str, tuple[object, ...]] = {}
    for is_there, number in steps:
        name = f"h{number}"
        if is_there:
            allocation.allocate(name)
            held.setdefault(name, allocation.addresses(name))
        else:
            allocation.release(name)
            held.pop(name, None)
        assert {other: allocation.addresses(other) for other in held} == held
        found = [address for addresses in held.values() for address in addresses]
        assert len(found) == len(set(found))


@settings(deadline=None)
@given(STEPS)
def test_what_is_written_down_comes_back(steps: list[tuple[bool, int]]) -> None:
    allocation = Allocation(SMALL)
    for is_there, number in steps:
        (allocation.allocate if is_there else allocation.release)(f"h{number}")
    again = vip.decode(vip.encode(allocation), SMALL)
    assert again.slots == allocation.slots
    assert list(again.retired.items()) == list(allocation.retired.items())
    assert vip.encode(again) == vip.encode(allocation)


def test_a_host_that_was_gone_gets_its_address_back() -> None:
    allocation = allocated([f"h{n}" for n in range(10)], SMALL)
    before = allocation.addresses("h3")
    allocation.release("h3")
    for number in range(20, 24):
        allocation.allocate(f"h{number}")
    allocation.allocate("h3")
    assert allocation.addresses("h3") == before


def test_addresses_of_hosts_that_are_gone_are_used_last_and_oldest_first() -> None:
    allocation = allocated([f"h{n}" for n in range(14)], SMALL)
    first, second = allocation.addresses("h5"), allocation.addresses("h2")
    allocation.release("h5")
    allocation.release("h2")
    allocation.allocate("x")
    allocation.allocate("y")
    assert (allocation.addresses("x"), allocation.addresses("y")) == (first, second)
    allocation.allocate("h5")
    assert [address.version for address in allocation.addresses("h5")] == [6]


def test_when_one_range_is_used_up_the_other_goes_on_and_a_warning_says_so() -> None:
    allocation = allocated([f"h{n:02}" for n in range(17)], SMALL)
    short = [name for name in allocation.slots if len(allocation.addresses(name)) == 1]
    assert short == ["h14", "h15", "h16"]
    assert {address.version for name in short for address in allocation.addresses(name)} == {6}
    (problem,) = allocation.warnings()
    assert problem.key == "mesh.vip_ranges.ipv4"
    assert problem.value == "240.0.0.0/28 is used up"
    assert problem.legal == "a larger range: 3 hosts have no IPv4 address: h14, h15, h16"


def test_when_both_ranges_are_used_up_the_rest_get_nothing() -> None:
    ranges = VipRanges(ipv4=IPv4Network("240.0.0.0/30"), ipv6=IPv6Network("fd00::/125"))
    allocation = allocated(["a", "b", "c", "d", "e", "f", "g"], ranges)
    assert allocation.addresses("g") == ()
    assert allocation.warnings()[1].legal == "a larger range: 1 hosts have no address: g"
    allocation.release("a")
    allocation.allocate("g")
    assert len(allocation.addresses("g")) == 2
    assert len(allocation.warnings()) == 1


def test_an_address_that_a_document_names_is_never_given() -> None:
    wanted = allocated(["a.example"]).addresses("a.example")
    for address in wanted:
        allocation = Allocation(RANGES)
        assert allocation.block(address) is None
        allocation.allocate("a.example")
        assert not set(allocation.addresses("a.example")) & set(wanted)


def test_a_host_moves_when_a_document_names_its_address() -> None:
    allocation = allocated(["a.example", "b.example"])
    before = allocation.addresses("a.example")
    assert allocation.block(before[1]) == "a.example"
    allocation.allocate("a.example")
    assert not set(allocation.addresses("a.example")) & set(before)
    assert allocation.block(before[1]) is None  # named twice
    allocation.unblock(before[1])
    allocation.release("a.example")
    allocation.allocate("c.example")
    assert before[1] not in allocation.addresses("c.example")
    allocation.unblock(before[1])
    assert allocated(["a.example"]).addresses("a.example") == before


def test_addresses_outside_the_ranges_are_none_of_its_business() -> None:
    allocation = Allocation(RANGES)
    assert not allocation.covers(ip_address("10.0.0.1"))
    assert allocation.block(IPv4Address("10.0.0.1")) is None
    allocation.unblock(IPv4Address("10.0.0.1"))


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"version": 2}', b'{"version": 1, "slots": {"a": "b"}, "retired": {}}'],
)
def test_a_broken_state_file_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        vip.decode(data, RANGES)


def test_slots_that_do_not_fit_new_ranges_are_dropped() -> None:
    allocation = allocated([f"h{n:02}" for n in range(17)], SMALL)
    tiny = VipRanges(ipv4=IPv4Network("241.0.0.0/29"), ipv6=IPv6Network("fd01::/120"))
    again = vip.decode(vip.encode(allocation), tiny)
    assert 0 < len(again.slots) <= 6
    assert all(len(again.addresses(name)) == 2 for name in again.slots)


def test_two_names_with_one_slot_in_the_file_do_not_share_it() -> None:
    allocation = Allocation(RANGES, {"a": 5, "b": 5, "c": -1}, {"d": 5, "e": 6})
    assert dict(allocation.slots) == {"a": 5}
    assert dict(allocation.retired) == {"e": 6}
