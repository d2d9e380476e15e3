"""Filters take what a capture wants from a link, by libpcap's own judgement."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from interceptor.debug import tapfilter
from interceptor.debug.viewpoint import Role
from interceptor.host import packetfilter

OWN = (ip_address("10.0.0.9"), ip_address("fd00::9"), ip_address("127.0.0.1"))


@pytest.mark.parametrize("role", [Role.LOCAL, Role.UPLINK, Role.BRIDGE])
@pytest.mark.parametrize("wanted", ["", "host 10.0.0.1 or host 10.0.0.2"])
def test_libpcap_takes_every_filter(role: Role, wanted: str) -> None:
    text = tapfilter.render(role, (15001, 15006), OWN, wanted, everything=False)
    assert packetfilter.build(text, packetfilter.ETHERNET, 96).steps


def test_what_a_user_adds_narrows() -> None:
    text = tapfilter.render(Role.UPLINK, (), OWN, "host a or host b", everything=False)
    assert text == "(udp port 53 or tcp) and (host a or host b)"


def test_everything_is_only_what_the_user_asks_for() -> None:
    assert tapfilter.render(Role.LOCAL, (15001,), OWN, "", everything=True) == ""
    assert tapfilter.render(Role.LOCAL, (15001,), OWN, "udp", everything=True) == "udp"


def test_what_has_one_end_elsewhere_is_taken_from_lo_too() -> None:
    text = tapfilter.render(Role.LOCAL, (15001,), OWN, "", everything=False)
    for end in ("src", "dst"):
        assert f"{end} host 10.0.0.9" in text
        assert f"{end} host fd00::9" in text
        assert f"{end} host 127.0.0.1" not in text
