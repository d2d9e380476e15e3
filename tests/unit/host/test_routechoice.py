"""Which way the kernel would take."""

from __future__ import annotations

import errno
import json
import os
import struct
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from interceptor.host import command, netlink, routechoice

LOOPBACK = ip_address("127.0.0.1")


def test_the_kernel_s_answer_is_what_ip_route_get_says() -> None:
    for text in ("127.0.0.1", "127.9.9.9", "::1"):
        seen = routechoice.observe(ip_address(text))
        told = command.run(["ip", "-json", "route", "get", text], check=False)
        if not told:
            assert seen.error
            continue
        (entry,) = json.loads(told.stdout)
        assert (seen.device, str(seen.source)) == (entry["dev"], entry["prefsrc"])


def test_a_refusal_is_told_in_words() -> None:
    body = struct.pack("=i", -errno.ENETUNREACH)
    message = netlink.HEADER.pack(netlink.HEADER.size + 4, netlink.ERROR, 0, 0, 0) + body
    found = routechoice.decode(LOOPBACK, message, {})
    assert found.error == os.strerror(errno.ENETUNREACH)
    assert found.source is None


@given(st.ip_addresses())
def test_a_question_has_the_whole_address(address: object) -> None:
    assert isinstance(address, type(LOOPBACK) | type(ip_address("::1")))
    message = routechoice.encode(address)
    assert message.endswith(address.packed)
    assert int.from_bytes(message[:4], "little" if message[0] else "big") == len(message)


def test_the_usual_rules_and_ours_are_left_out() -> None:
    text = """\
0:	from all lookup local
100:	from all fwmark 0x1dc1 lookup 15006
5210:	from all fwmark 0x80000/0xff0000 lookup main
32766:	from all lookup main
32767:	from all lookup default
"""
    assert routechoice.parse_rules(text, 15006) == (
        "5210: from all fwmark 0x80000/0xff0000 lookup main",
    )
