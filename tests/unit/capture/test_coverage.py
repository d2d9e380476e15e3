"""What capture covers follows the mesh, host by host, and ends up where a new start would."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from interceptor.capture import plan
from interceptor.capture.coverage import Coverage
from interceptor.capture.plan import Facts
from interceptor.config import Config
from interceptor.mesh.model import Host, Kind
from interceptor.mesh.table import Difference, MeshTable, diff

PLAN = plan.build(Config(), Facts())


def host(name: str, *addresses: str, networks: tuple[str, ...] = ()) -> Host:
    return Host(
        name,
        "a",
        Kind.SERVICE,
        tuple(ip_address(address) for address in addresses),
        networks=tuple(ip_network(network) for network in networks),
    )


def test_vips_are_covered_as_a_range_and_cost_nothing() -> None:
    coverage = Coverage(PLAN)
    coverage.add([host("a", "240.240.3.4", "2001:2::1"), host("b", "10.0.0.1")])
    assert coverage.places() == (ip_address("10.0.0.1"),)


def test_an_address_stays_until_its_last_host_is_gone() -> None:
    coverage = Coverage(PLAN)
    one, two = host("a", "10.0.0.1"), host("b", "10.0.0.1")
    assert coverage.follow(Difference((one, two)))
    assert not coverage.follow(Difference((), ("a",), (one,)))
    assert coverage.follow(Difference((), ("b",), (two,)))
    assert coverage.places() == ()


def test_a_cidr_of_a_service_entry_is_a_place_too() -> None:
    coverage = Coverage(PLAN)
    coverage.add([host("a", networks=("198.51.100.0/24",))])
    assert coverage.places() == (ip_network("198.51.100.0/24"),)


def test_an_address_that_moves_from_one_host_to_another_is_no_change() -> None:
    coverage = Coverage(PLAN)
    one, two = host("a", "10.0.0.1"), host("b", "10.0.0.1")
    coverage.follow(Difference((one,)))
    assert not coverage.follow(Difference((two,), ("a",), (one,)))
    assert coverage.places() == (ip_address("10.0.0.1"),)


def test_nothing_is_counted_where_no_tcp_is_captured() -> None:
    config = Config.model_validate({"sidecar": {"mode": "none"}})
    coverage = Coverage(plan.build(config, Facts()))
    one = host("a", "10.0.0.1")
    coverage.add([one])
    assert not coverage.follow(Difference((one,)))
    assert coverage.places() == ()


tables = st.dictionaries(
    st.sampled_from("abcd"),
    st.lists(st.integers(0, 4).map(lambda n: IPv4Address(0x0A000000 + n)), max_size=3, unique=True),
    max_size=4,
)


@given(st.lists(tables, min_size=1, max_size=5))
def test_following_differences_equals_starting_anew(
    states: list[dict[str, list[IPv4Address]]],
) -> None:
    coverage, table = Coverage(PLAN), MeshTable()
    for state in states:
        hosts = {
            name: Host(name, "n", Kind.SERVICE, tuple(addresses))
            for name, addresses in state.items()
        }
        new = MeshTable(hosts)
        found = diff(table, new)
        replaced = [table.hosts[each.name] for each in found.upserted if each.name in table.hosts]
        gone = [table.hosts[name] for name in found.removed]
        coverage.follow(Difference(found.upserted, found.removed, (*replaced, *gone)))
        table = new
    assert set(coverage.places()) == table.addresses()
