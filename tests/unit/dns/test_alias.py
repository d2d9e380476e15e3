"""Which server an alias stands for, from maps that are dictionaries here."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from interceptor.dns.alias import Aliases
from interceptor.host.layout import ALIAS4_BASE, Map, Way

SIX = "fdc8:3d1f:62a7:{}::".format  # way, as a group


class Slots:
    """An alias map, as the kernel keeps it: numbers in the machine's order to addresses."""

    def __init__(self, code: str, **slots: str) -> None:
        self._slots = {
            struct.pack(code, int(slot[1:], 16)): ip_address(address).packed
            for slot, address in slots.items()
        }

    def lookup(self, key: bytes) -> bytes | None:
        return self._slots.get(key)


@pytest.fixture
def aliases() -> Aliases:
    four = Slots("=I", x3a0001="10.250.0.1", x3fffff="8.8.8.8")
    six = Slots("=Q", x1122334455667788="2001:db8::53", x7="fd00::7")
    return Aliases({Map.ALIAS4: four, Map.ALIAS6: six})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("alias", "server"),
    [
        (str(ip_address(ALIAS4_BASE | Way.DNS << 22 | 0x3A0001)), "10.250.0.1"),
        ("127.255.255.255", "8.8.8.8"),
        ("::ffff:127.255.255.255", "8.8.8.8"),
        (SIX(3) + "7", "fd00::7"),
        (SIX(3).removesuffix("::") + ":1122:3344:5566:7788", "2001:db8::53"),
    ],
)
def test_an_alias_tells_its_server(aliases: Aliases, alias: str, server: str) -> None:
    assert aliases.find(alias) == server


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "::1", "127.127.255.255", "10.250.0.1", SIX(2) + "7", "fe80::7%lo"]
)
def test_other_addresses_are_no_aliases_for_dns(aliases: Aliases, host: str) -> None:
    assert aliases.find(host) is None


@pytest.mark.parametrize("host", ["127.192.0.1", SIX(3) + "8"])
def test_an_alias_that_nobody_made_is_refused(aliases: Aliases, host: str) -> None:
    with pytest.raises(ConnectionRefusedError, match="no destination"):
        aliases.find(host)
