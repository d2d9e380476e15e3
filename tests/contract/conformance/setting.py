"""The configurations of the agent under which cases run. One runs at a time."""

from __future__ import annotations

from tests.contract.conformance.case import Setting
from tests.contract.conformance.world import ZONES

EXCLUDED_UID, EXCLUDED_GID, INCLUDED_UID, OTHER_UID, SIDECAR_ID = 5001, 5002, 6001, 6002, 1337
EXCLUDED_CGROUP = "aside"
EXCLUDED_PORT, INCLUDED_PORT = 7009, 7010
EXCLUDED_CIDRS = ("10.77.0.54/32", "fd77::54/128")
CIDRS = ("10.77.0.60/31", "fd77::60/127")
MARK = 0x1DC0
SECOND = {"outbound": {"cidrs": ["10.88.0.0/24", "fd88::/64"]}}

NO_IPV6 = "sysctl -qw net.ipv6.conf.all.disable_ipv6=1"
IPV6_AGAIN = """
sysctl -qw net.ipv6.conf.all.disable_ipv6=0
ip address add fd77::10/64 dev eth0 nodad; ip address add fd88::10/64 dev eth1 nodad
ip address add fd30::1/64 dev br0 nodad; ip address add fd89::10/64 dev tun0 nodad
ip route add default via fd77::1 src fd77::10
"""

SETTINGS = {
    each.name: each
    for each in (
        Setting(
            "main",
            {
                "dns": {"own_zones": ["own.example"], "forward_zones": ZONES},
                "capture": {
                    "outbound": {
                        "cidrs": list(CIDRS),
                        "exclude_cidrs": list(EXCLUDED_CIDRS),
                        "exclude_ports": [EXCLUDED_PORT],
                        "ports": [INCLUDED_PORT],
                    },
                    "owners": {"exclude_uids": [EXCLUDED_UID], "exclude_gids": [EXCLUDED_GID]},
                },
            },
        ),
        Setting("cgroup", {"capture": {"owners": {"exclude_cgroups": ["{cgroup}/aside"]}}}),
        Setting(
            "name table",
            {
                "mesh": {"source": "nametable", "nametable": "{folder}/table.json"},
                "sidecar": {"mode": "none"},
            },
        ),
        Setting(
            "wide",
            {
                "dns": {"servers": ["10.77.0.53", "fd77::53"]},
                "capture": {
                    "outbound": {"cidrs": "*"},
                    "inbound": {"ports": "*"},
                    "owners": {"include_uids": [INCLUDED_UID, SIDECAR_ID]},
                },
            },
        ),
        Setting("interface", {"capture": {"interfaces": {"exclude": ["eth1"]}, **SECOND}}),
        Setting(
            "interface DNS",
            {"capture": {"enabled": False, "interfaces": {"exclude": ["eth1"]}}},
        ),
        Setting("bridge", {"capture": {"interfaces": {"bridges": ["br0"]}}}),
        Setting(
            "bridge DNS",
            {
                "dns": {"forward_zones": ZONES},
                "capture": {"enabled": False, "interfaces": {"bridges": ["br0"]}},
            },
        ),
        Setting("tproxy", {"capture": {"inbound": {"mode": "tproxy"}}}),
        Setting(
            "away",
            {"sidecar": {"mode": "external"}, "dns": {"servers": "resolv.conf"}},
        ),
        Setting(
            "away bypass",
            {"sidecar": {"mode": "external"}, "agent": {"on_sidecar_loss": "bypass"}},
        ),
        Setting("bypass", {"agent": {"on_sidecar_loss": "bypass"}}),
        Setting("no IPv6", {}, NO_IPV6, IPV6_AGAIN.strip()),
    )
}
