"""The commands by which others do something to a host: shell, and `ip -batch`. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from interceptor.lab.description import pair
from tests.netns import detach

NFT_FLUSH = "nft flush ruleset"
FOREIGN_NFT = """nft -f - <<'X'
flush ruleset
table inet foreign {
  chain input {
    type filter hook input priority 0; policy accept;
    ct state established,related accept
    tcp dport 22 accept comment "ssh"
  }
  chain output { type filter hook output priority 0; policy accept; }
}
X
"""
FILTER = """*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:FOREIGN - [0:0]
-A INPUT -j FOREIGN
-A FOREIGN -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A FOREIGN -p tcp --dport 22 -j ACCEPT
COMMIT
"""
REST = """*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
COMMIT
"""


def restore(text: str) -> str:
    """Both families, as a firewall's reload does it: other chains of these tables are gone."""
    return f"iptables-restore <<'X'\n{text}X\nip6tables-restore <<'X'\n{text}X\n"


CHAINS = """for each in iptables ip6tables; do for table in nat mangle raw; do
    $each-save -t $table | sed -n 's/^:\\(INTERCEPTOR_[^ ]*\\) .*/\\1/p' | while read chain; do
        $each -t $table -F $chain
    done
done; done"""
SETS = """nft list sets table inet interceptor | sed -n 's/^[ \\t]*set \\([^ ]*\\) {.*/\\1/p' |
    while read set; do nft flush set inet interceptor $set; done"""
FOR_TABLES = """for table in filter nat mangle raw; do
    iptables -t $table -F; ip6tables -t $table -F
done"""

EVERYWHERE: Mapping[str, str] = {
    "nft-flush": NFT_FLUSH,
    "iptables-f": FOR_TABLES,
    "nft": FOREIGN_NFT,
    "iptables-filter": restore(FILTER),
    "iptables-all": restore(FILTER + REST),
}
"""What a firewall does, on the VM and on its twin."""

OURS: Mapping[str, str] = {
    "nft-table": "nft delete table inet interceptor",
    "nft-chain": "nft flush table inet interceptor",
    "nft-set": SETS,
    "chain": CHAINS,
    "ipset": "ipset list -n | grep ^interceptor_ | while read set; do ipset flush $set; done",
    "route": "ip route flush table all proto 157; ip -6 route flush table all proto 157",
    "detach": f"{sys.executable} {detach.__file__} '/sys/fs/bpf/interceptor/links/egress-*'",
    "unpin": "rm -f /sys/fs/bpf/interceptor/links/egress-*-$(ip -o link show eth0 | cut -d: -f1)",
    "pins": "rm -rf /sys/fs/bpf/interceptor/*",
    "link": "rm -f /sys/fs/bpf/interceptor/links/$(ls /sys/fs/bpf/interceptor/links | shuf -n 1)",
}
"""What somebody takes away who knows us."""

NUMBERS = {"vm": 10, "twin": 11}
UPLINK_NUMBERS = {"vm": 110, "twin": 111}


def addresses(host: str) -> str:
    """`ip -batch -force` that puts back what a link that went down has lost."""
    four, six = pair(NUMBERS[host])
    return (
        "link set eth0 up\n"
        f"address add {four} dev eth0\n"
        f"address add {six} dev eth0 nodad\n"
        f"route add default via 10.77.0.1 dev eth0 src {four.ip}\n"
        f"route add default via fd77::1 dev eth0 src {six.ip}\n"
    )


def uplink(host: str, namespace: str) -> tuple[str, str]:
    """`ip -batch` of the switch and of the host: a second device, by which the resolvers are
    reached from now on."""
    number = UPLINK_NUMBERS[host]
    switch = (
        f"link add up-{host} type veth peer name eth1 netns {namespace}\n"
        f"link set up-{host} master br0 up\n"
    )
    lines = [
        "link set eth1 up",
        f"address add 10.77.0.{number}/32 dev eth1",
        f"address add fd77::{number}/128 dev eth1 nodad",
    ]
    for last in (53, 54):
        lines.append(f"route add 10.77.0.{last}/32 dev eth1 src 10.77.0.{number}")
        lines.append(f"route add fd77::{last}/128 dev eth1 src fd77::{number}")
    return switch, "\n".join(lines) + "\n"


def address(host: str, family: str) -> tuple[str, str]:
    """One more address of eth0, and its end. Deprecated, where it could become the source of
    what is on its way when it goes (RFC 6724 section 5, rule 3): that is lost without us, too."""
    number = NUMBERS[host] + 110
    place = f"10.77.0.{number}/24" if family == "4" else f"fd77::{number}/64"
    more = "" if family == "4" else " nodad preferred_lft 0"
    return f"address add {place} dev eth0{more}\n", f"address del {place} dev eth0\n"


def device(kind: str) -> str:
    """A device with an address of its own, and the shell's way to it."""
    return (
        f"ip link add chaos0 type {kind}\nip link set chaos0 up\n"
        "ip address add 172.31.7.1/24 dev chaos0\n"
        "ip -6 address add fd31:7::1/64 dev chaos0 nodad\n"
    )
