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


def test_a_dump_ends_with_its_last_message_and_is_not_run_over() -> None:
    local = pack("=HH4s", 8, 2, b"\x0a\0\0\1")
    peer = pack("=HH4s", 8, 1, b"\x0a\0\0\2")
    body = pack("=BBBBI", 2, 24, 0, 0, 7) + peer + local
    message = pack("=IHHII", 16 + len(body), 20, 2, 1, 9) + body
    done = pack("=IHHIIi", 20, 3, 2, 1, 9, 0)
    found: set[tuple[int, bytes]] = set()
    assert not address.parse(message, found)
    assert found == {(7, b"\x0a\0\0\1")}
    assert address.parse(message + done, set())
    assert address.parse(pack("=IHHII", 0, 20, 2, 1, 9), set())
    assert not address.parse(message[:30], set())
