"""Name tables as the tests' control plane encodes them, with descriptors of its own."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.mesh.table import diff
from interceptor.source.nds import TOLD, NoNameTable, Register
from tests.controlplane import schema


def encode(**hosts: dict[str, object]) -> bytes:
    table = schema.NameTable()
    for name, info in hosts.items():
        entry = table.table[name.replace("_", ".")]
        entry.SetInParent()
        for key, value in info.items():
            if isinstance(value, list):
                getattr(entry, key).extend(value)
            else:
                setattr(entry, key, value)
    data: bytes = table.SerializeToString()
    return data


def test_a_service_is_known_with_all_that_is_said_of_it() -> None:
    data = encode(
        web_shop_svc_cluster_local={
            "ips": ["10.1.2.3", "2001:db8::1", "10.1.2.3"],
            "registry": "Kubernetes",
            "shortname": "web",
            "namespace": "shop",
            "alt_hosts": ["www.example"],
        }
    )
    (host,) = Register().parse(data).hosts.values()
    assert host.name == "web.shop.svc.cluster.local"
    assert host.addresses == (ip_address("10.1.2.3"), ip_address("2001:db8::1"))
    assert (host.namespace, host.extra_names, host.origin) == (
        "shop",
        ("www.example",),
        "name table (control plane)",
    )


def test_a_host_that_did_not_change_is_the_same_object() -> None:
    register = Register()
    before = register.parse(encode(a_test={"ips": ["10.0.0.1"]}, b_test={"ips": ["10.0.0.2"]}))
    after = register.parse(encode(b_test={"ips": ["10.0.0.9"]}, a_test={"ips": ["10.0.0.1"]}))
    assert after.hosts["a.test"] is before.hosts["a.test"]
    assert [host.name for host in diff(before, after).upserted] == ["b.test"]


def test_what_is_wrong_with_one_entry_costs_that_entry_only() -> None:
    register = Register()
    data = encode(
        good_test={"ips": ["10.0.0.1", "nonsense", "0.0.0.0"]},
        **{"bad host": {"ips": ["10.0.0.2"]}},
        empty_test={"ips": []},
        lost_test={"ips": ["rubbish"]},
    )
    for _ in range(2):  # the second time they are remembered
        table = register.parse(data)
        assert {name: host.addresses for name, host in table.hosts.items()} == {
            "good.test": (ip_address("10.0.0.1"),)
        }
        told = sorted((each.key, each.value) for each in table.warnings)
        assert told == [
            ("table['bad host']", "'bad host'"),
            ("table['good.test'].ips[1]", "'nonsense'"),
            ("table['good.test'].ips[2]", "'0.0.0.0'"),
            ("table['lost.test'].ips[0]", "'rubbish'"),
        ]


def test_a_thousand_wrong_entries_are_not_told_one_by_one() -> None:
    names = {f"h{number}_test": {"ips": ["x"]} for number in range(TOLD + 5)}
    warnings = Register().parse(encode(**names)).warnings
    assert len(warnings) == TOLD + 1
    assert warnings[-1].value == "5 more"


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_bytes_that_were_cut_off_are_refused_and_nothing_is_forgotten(cut: int) -> None:
    register = Register()
    data = encode(a_test={"ips": ["10.0.0.1"]}, b_test={"ips": ["10.0.0.2"]})
    before = register.parse(data)
    with pytest.raises(NoNameTable, match="cannot be decoded"):
        register.parse(data[:-cut])
    assert register.parse(data).hosts["a.test"] is before.hosts["a.test"]


def test_an_entry_that_is_corrupt_within_is_refused() -> None:
    with pytest.raises(NoNameTable):
        Register().parse(bytes([0x0A, 4]) + b"\x0a\x09ab")


@given(st.binary(max_size=200))
def test_random_bytes_are_a_table_or_refused(data: bytes) -> None:
    try:
        table = Register().parse(data)
    except NoNameTable:
        return
    assert all(host.addresses for host in table.hosts.values())
