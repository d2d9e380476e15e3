from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from interceptor.mesh.model import Host, Kind
from interceptor.mesh.table import EMPTY, MeshTable, diff


def host(name: str, address: int = 1) -> Host:
    return Host(name, "n", Kind.SERVICE_ENTRY, (ip_address(address),))


TABLES = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 3)).map(
    lambda found: MeshTable({name: host(name, address) for name, address in found.items()})
)


@given(TABLES, TABLES)
def test_a_difference_leads_from_one_table_to_the_other(old: MeshTable, new: MeshTable) -> None:
    difference = diff(old, new)
    hosts = dict(old.hosts)
    for name in difference.removed:
        del hosts[name]
    hosts.update((found.name, found) for found in difference.upserted)
    assert hosts == dict(new.hosts)
    assert all(old.hosts.get(found.name) != found for found in difference.upserted)
    touched = {found.name for found in difference.upserted} | set(difference.removed)
    assert {found.name: found for found in difference.before} == {
        name: old.hosts[name] for name in touched if name in old.hosts
    }
    assert bool(difference) is (dict(old.hosts) != dict(new.hosts))


def test_a_table_does_not_differ_from_itself() -> None:
    assert not diff(EMPTY, EMPTY)


def test_a_table_knows_all_that_is_to_be_captured() -> None:
    found = Host("a", "n", Kind.SERVICE_ENTRY, networks=(ip_network("10.0.0.0/8"),))
    table = MeshTable({"a": found, "b": host("b", 5)})
    assert table.addresses() == {ip_address(5)}
    assert table.networks() == {ip_network("10.0.0.0/8")}
    assert len(table) == 2
