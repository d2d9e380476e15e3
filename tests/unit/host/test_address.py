"""The host's addresses, against what iproute2 says."""

from __future__ import annotations

import json
import socket
from struct import pack

from interceptor.host import address, command


def test_addresses_are_those_that_ip_lists() -> None:
    links = json.loads(command.run(["ip", "-json", "-4", "address"]).stdout)
    told = {
        (link["ifindex"], socket.inet_aton(one["local"]))
        for link in links
        for one in link["addr_info"]
        if one.get("family") == "inet"
    }
    assert (socket.if_nametoindex("lo"), b"\x7f\0\0\1") in told
    assert address.observe() == told


def test_the_local_end_counts_where_a_link_is_point_to_point() -> None:
    local = pack("=HH4s", 8, 2, b"\x0a\0\0\1")
    peer = pack("=HH4s", 8, 1, b"\x0a\0\0\2")
    head = pack("=BBBBI", 2, 24, 0, 0, 7)
    assert address.parse([head + peer + local, head + peer]) == {(7, b"\x0a\0\0\1")}
