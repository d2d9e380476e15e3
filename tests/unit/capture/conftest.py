"""Plans of a made-up host, in every shape that the rules can take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address

import pytest

from interceptor.capture.plan import Facts, Plan, build
from interceptor.config import Config

FACTS = Facts(
    own_addresses=(ip_address("10.0.0.2"), ip_address("fd10::2")),
    servers=(ip_address("127.0.0.53"), ip_address("2606::53")),
    route_source4=ip_address("10.0.0.2"),
    route_source6=ip_address("fd10::2"),
    routed4=False,
    routed6=False,
    cgroups=(("system.slice/chrony.service", 77),),
    cgroup_mount="/sys/fs/cgroup",
)
MESH = (ip_address("192.0.2.7"), ip_address("fd20::7"), ip_address("240.240.0.9"))

SHAPES: Mapping[str, Mapping[str, object]] = {
    "default": {},
    "everything": {
        "capture": {
            "outbound": {
                "cidrs": ["10.96.0.0/12", "fd50::/32"],
                "exclude_cidrs": ["10.96.9.0/24"],
                "ports": [443, *range(9000, 9016)],
                "exclude_ports": [25],
            },
            "inbound": {"ports": "*"},
            "owners": {
                "exclude_uids": [5, 6],
                "exclude_gids": [7],
                "exclude_cgroups": ["system.slice/chrony.service", "no/such.slice"],
            },
            "interfaces": {"exclude": ["eth9"], "bridges": ["docker0", "br-1"]},
        },
        "dns": {"servers": ["10.96.0.10", "fd50::10"]},
    },
    "include_owners": {
        "capture": {
            "owners": {
                "include_uids": [1000, 1001],
                "include_gids": [2000],
                "include_cgroups": ["system.slice/chrony.service"],
            }
        }
    },
    "tproxy_all_outbound": {
        "capture": {
            "inbound": {"mode": "tproxy", "ports": [80, 22, 15008]},
            "outbound": {"cidrs": "*"},
        }
    },
    "dns_only": {"sidecar": {"mode": "none"}, "dns": {"servers": "resolv.conf"}},
    "tcp_only_ipv4": {"dns": {"enabled": False}, "capture": {"ipv6": False}},
    "nothing": {"dns": {"enabled": False}, "capture": {"enabled": False}},
}

Make = Callable[[str], Plan]


@pytest.fixture
def make() -> Make:
    """A shape's name to its plan."""
    return lambda shape: build(Config.model_validate(SHAPES[shape]), FACTS, MESH)


@pytest.fixture
def facts() -> Facts:
    return FACTS


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def golden(pytestconfig: pytest.Config) -> Callable[[str, str], None]:
    """Compare a text with its file; INTERCEPTOR_GOLDEN=write writes it anew, for review."""
    import os
    from pathlib import Path

    def compare(name: str, text: str) -> None:
        path = Path(__file__).parent / "golden" / name
        if os.environ.get("INTERCEPTOR_GOLDEN") == "write":
            path.write_text(text)
        assert text == path.read_text()

    return compare
