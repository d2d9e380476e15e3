"""The header and the module that say the same, held against each other by the C compiler."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct, calcsize

import pytest

from interceptor.host import layout
from interceptor.host.layout import CGROUPS, SPECS, SUFFIXES, Map, MapType

HEADER = Path(__file__).parents[3] / "bpf" / "include" / "layout.h"
Values = Callable[[tuple[str, ...], list[str]], dict[str, int]]

ENUMS = {
    "MAP_": layout.Map,
    "STATE_": layout.State,
    "POLICY_": layout.PolicyFlag,
    "NUMBER_": layout.Number,
    "NETWORK_": layout.Network,
    "WAY_": layout.Way,
    "OWNER_": layout.Owner,
    "LISTENER_": layout.Listener,
    "VALUE_": layout.ValueFlag,
    "SUFFIX_": layout.Suffix,
    "LOCALE_": layout.LocaleFlag,
    "PLACE_": layout.Place,
    "EVENT_": layout.EventKind,
}
LISTS = {"DNS_": layout.DNS_RESULTS, "DNS_TYPE_": layout.DNS_TYPES, "TCP_": layout.TCP_RESULTS}
UNDER_ANOTHER_NAME = {
    "DNS_RESULTS": layout.RESULTS_SIZE,
    "TCP_RESULTS": layout.RESULTS_SIZE,
    "DNS_TYPES": len(layout.DNS_TYPES),
}
HERE_ONLY = {"INTERCEPTOR_LAYOUT_H", "ALIAS6_PREFIX"}


def defined() -> set[str]:
    """What the header defines, macros with parameters left out."""
    return set(re.findall(r"^#define (\w+)(?!\()\b", HEADER.read_text(), re.MULTILINE)) - HERE_ONLY


def expected() -> dict[str, int]:
    """What the header should define, by what the module says."""
    found = {f"{prefix}{each.name}": int(each) for prefix, kind in ENUMS.items() for each in kind}
    for prefix, names in LISTS.items():
        for number, name in enumerate(names):
            found[prefix + name.upper().replace("-", "_")] = number
    found |= UNDER_ANOTHER_NAME
    for name in defined() - found.keys():
        found[name] = getattr(layout, name)
    return found


STRUCTS: dict[str, tuple[Struct, list[str]]] = {
    "policy": (
        layout.POLICY,
        [
            *("netns_cookie", "lease_ns", "digest", "flags", "mark", "sidecar_uid", "sidecar_gid"),
            *("outbound_port", "inbound_port", "dns_port", "excluded_cgroups", "included_cgroups"),
            *(
                f"{kind}[{number}].{field}"
                for kind in ("exclude", "include")
                for number in range(CGROUPS)
                for field in ("id", "level", "pad")
            ),
            "sidecar_cgroup",
        ],
    ),
    "cgroup_ref": (layout.CGROUP_REF, ["id", "level", "pad"]),
    "number_key": (layout.NUMBER_KEY, ["kind", "generation", "value"]),
    "network_key": (layout.NETWORK_KEY, ["prefixlen", "kind", "generation", "address"]),
    "name_value": (
        layout.NAME_VALUE,
        ["hash", "count4", "count6", "flags", "pad", "v4", "v6"],
    ),
    "suffix": (layout.SUFFIX, ["bytes", "length", "pad"]),
    "handover": (layout.HANDOVER, ["length", "ifindex", "place", "pad", "packet"]),
    "event": (
        layout.EVENT,
        [
            *("time_ns", "kind", "result", "uid", "ifindex", "pid", "qtype", "port"),
            *("address", "name", "cookie", "cgroup", "source", "source_port", "comm"),
        ],
    ),
}


def offsets(packing: Struct) -> Iterator[int]:
    """Where each field of a packing begins, padding left out."""
    order, *fields = re.findall(r"^=|\d*[A-Za-z]", packing.format)
    before = order
    for field in fields:
        count, code = int(field[:-1] or 1), field[-1]
        for part in [field] if code in "sx" else [code] * count:
            if code != "x":
                yield calcsize(before)
            before += part


def test_every_number_of_the_header_is_the_module_s_and_the_other_way(c_values: Values) -> None:
    wanted = expected()
    assert defined() == wanted.keys()
    assert c_values(("layout.h",), sorted(wanted)) == wanted


@pytest.mark.parametrize("name", STRUCTS)
def test_every_field_lies_where_the_module_packs_it(name: str, c_values: Values) -> None:
    packing, fields = STRUCTS[name]
    wanted = {f"offsetof(struct {name}, {field})" for field in fields}
    found = c_values(("layout.h",), [f"offsetof(struct {name}, {field})" for field in fields])
    assert found.keys() == wanted
    assert list(found.values()) == list(offsets(packing))
    size = f"sizeof(struct {name})"
    assert c_values(("layout.h",), [size]) == {size: packing.size}


def test_keys_and_locales_have_the_header_s_sizes(c_values: Values) -> None:
    head = ["ttl_s", "flags", "wild_depths", "suffixes"]
    wanted = [f"offsetof(struct locale, {field})" for field in head]
    found = c_values(("layout.h",), [*wanted, "sizeof(struct locale)", "sizeof(struct name_key)"])
    head_size, whole = layout.LOCALE_HEAD.size, layout.LOCALE_SIZE
    assert list(found.values()) == [0, 4, 8, head_size, whole, layout.NAME_SIZE]
    assert whole == head_size + SUFFIXES * layout.SUFFIX.size


def test_the_prefix_of_ipv6_aliases_is_the_header_s(c_values: Values) -> None:
    groups = [f"((int[]){{ALIAS6_PREFIX}})[{number}]" for number in range(3)]
    assert tuple(c_values(("layout.h",), groups).values()) == layout.ALIAS6_PREFIX


def test_map_types_are_the_kernel_s(c_values: Values) -> None:
    wanted = {f"BPF_MAP_TYPE_{each.name}": int(each) for each in MapType}
    wanted["BPF_F_NO_PREALLOC"] = layout.NO_PREALLOC
    assert c_values(("linux/bpf.h",), list(wanted)) == wanted


def test_each_map_has_a_specification_and_a_pin_of_its_own() -> None:
    assert set(SPECS) == set(Map)
    assert len({spec.name for spec in SPECS.values()}) == len(SPECS)
    assert all(len(spec.name) < 16 for spec in SPECS.values())


def test_the_networks_of_aliases_hold_what_the_header_computes() -> None:
    texts = [str(network) for network in layout.ALIAS4_NETWORKS]
    assert texts == ["127.64.0.0/10", "127.128.0.0/10", "127.192.0.0/10"]
    assert str(layout.ALIAS6_NETWORK) == "fdc8:3d1f:62a7::/48"
