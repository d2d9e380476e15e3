"""Maps by their raw bytes: in batches and without, per CPU, of maps."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_network

import pytest

from interceptor.host import bpf, bpfmap, layout
from interceptor.host.bpf import Command
from interceptor.host.bpfmap import BpfMap
from interceptor.host.layout import SPECS, Map, MapSpec, MapType, Network

pytestmark = pytest.mark.root

COUNT = 10_000


@pytest.fixture
def make() -> Iterator[Callable[[MapSpec], BpfMap]]:
    made: list[BpfMap] = []

    def create(spec: MapSpec) -> BpfMap:
        made.append(bpfmap.create(spec))
        return made[-1]

    yield create
    for each in made:
        each.close()


@pytest.fixture(params=["in batches", "one by one"])
def batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel as it is, and one without batch operations (5.10 has none for LPM tries)."""
    real = bpf.call

    def refuse(command: Command, attributes: bytes) -> int:
        if command.name.endswith("_BATCH"):
            raise OSError(bpfmap.ENOTSUPP, command.name)
        return real(command, attributes)

    if request.param == "one by one":
        monkeypatch.setattr(bpf, "call", refuse)


def numbered(spec: MapSpec, count: int = COUNT) -> dict[bytes, bytes]:
    return {
        number.to_bytes(spec.key_size, "big"): number.to_bytes(spec.value_size, "little")
        for number in range(count)
    }


@pytest.mark.usefixtures("batches")
def test_what_is_written_at_once_is_read_and_deleted_at_once(
    make: Callable[[MapSpec], BpfMap],
) -> None:
    some = make(SPECS[Map.ALIAS6])
    wanted = numbered(some.spec)
    some.update_batch(list(wanted), list(wanted.values()))
    assert some.items() == wanted
    assert (some.count(), some.capacity()) == (COUNT, some.spec.max_entries)
    assert set(some.keys()) == wanted.keys()
    gone = list(wanted)[: COUNT // 2]
    some.delete_batch([b"\xff" * 8, *gone, *gone[:3]])
    assert some.items() == {key: wanted[key] for key in list(wanted)[COUNT // 2 :]}
    some.update_batch([], [])
    some.delete_batch([])


@pytest.mark.usefixtures("batches")
def test_networks_are_found_by_their_longest_prefix(make: Callable[[MapSpec], BpfMap]) -> None:
    trie = make(SPECS[Map.NETWORKS])
    networks = ["10.0.0.0/8", "10.1.0.0/16", "2001:2::/48"]
    keys = [layout.network_key(Network.OUTBOUND, 0, ip_network(each)) for each in networks]
    trie.update_batch(keys, [b"\1", b"\2", b"\3"])
    found = [
        trie.lookup(layout.network_key(kind, 0, ip_network(each)))
        for kind, each in (
            (Network.OUTBOUND, "10.1.2.3"),
            (Network.OUTBOUND, "10.2.2.3"),
            (Network.OUTBOUND, "2001:2::9"),
            (Network.OUTBOUND, "11.0.0.1"),
            (Network.SPARED, "10.1.2.3"),
        )
    ]
    assert found == [b"\2", b"\1", b"\3", None, None]
    assert trie.items() == dict(zip(keys, [b"\1", b"\2", b"\3"], strict=True))
    assert trie.count() == 3
    trie.delete_batch(keys)
    assert trie.items() == {}


@pytest.mark.usefixtures("batches")
def test_an_array_is_read_whole(make: Callable[[MapSpec], BpfMap]) -> None:
    state = make(SPECS[Map.STATE])
    state.update(struct.pack("=I", 3), struct.pack("=Q", 5))
    values = [struct.unpack("=Q", value)[0] for _, value in sorted(state.items().items())]
    assert values == [0, 0, 0, 5, 0, 0, 0, 0]


def test_one_key_is_written_looked_up_and_deleted(make: Callable[[MapSpec], BpfMap]) -> None:
    some = make(SPECS[Map.ALIAS4])
    key, value = b"slot", b"addr"
    assert some.lookup(key) is None
    some.update(key, value, bpfmap.NOEXIST)
    with pytest.raises(FileExistsError):
        some.update(key, value, bpfmap.NOEXIST)
    assert some.lookup(key) == value
    assert some.delete(key)
    assert not some.delete(key)
    with pytest.raises(FileNotFoundError):
        some.update(key, value, bpfmap.EXIST)


def test_a_map_that_is_full_says_so(make: Callable[[MapSpec], BpfMap]) -> None:
    small = make(replace(SPECS[Map.ALIAS6], max_entries=16))
    wanted = numbered(small.spec, 17)
    with pytest.raises(OSError, match="MAP_UPDATE_BATCH") as caught:
        small.update_batch(list(wanted), list(wanted.values()))
    assert caught.value.errno == errno.E2BIG


def test_counters_are_summed_over_all_cpus(make: Callable[[MapSpec], BpfMap]) -> None:
    counts = make(SPECS[Map.TCP_COUNTS])
    key = struct.pack("=I", 2)
    cpus = bpfmap.possible_cpus()
    counts.update(key, struct.pack(f"={cpus}Q", *range(1, cpus + 1)))
    assert counts.sum(key) == cpus * (cpus + 1) // 2
    assert counts.sum(struct.pack("=I", 1)) == 0
    assert len(counts.lookup(key) or b"") == 8 * cpus


def test_an_inner_map_may_have_more_room_than_the_template(
    make: Callable[[MapSpec], BpfMap],
) -> None:
    outer = make(SPECS[Map.NAMES])
    assert outer.spec.inner is not None
    inner = make(replace(outer.spec.inner, max_entries=200_000))
    key = struct.pack("=I", 1)
    assert outer.lookup(key) is None
    outer.update(key, struct.pack("=I", inner.fd))
    number = struct.unpack("=I", outer.lookup(key) or b"")[0]
    again = bpfmap.open_id(number, inner.spec)
    assert bpfmap.map_id(again.fd) == bpfmap.map_id(inner.fd) == number
    again.close()


def test_wrong_sizes_do_not_reach_the_kernel(make: Callable[[MapSpec], BpfMap]) -> None:
    some = make(SPECS[Map.ALIAS4])
    with pytest.raises(AssertionError):
        some.lookup(b"abc")
    with pytest.raises(AssertionError):
        some.update(b"slot", b"longer")
    with pytest.raises(AssertionError):
        some.update_batch([b"slot"], [b"longer"])
    assert some.spec.type is MapType.HASH
