"""Which aliases connections use. Sweeping real maps: tests/netns/bpf/tcp/test_alias.py."""

from __future__ import annotations

import struct

from interceptor.host import alias
from interceptor.host.alias import Slots

HEAD = "  sl  local_address rem_address   st\n"


def slot4(number: int) -> bytes:
    return struct.pack("=I", number)


def test_both_ends_of_a_connection_use_its_alias() -> None:
    client = "   0: 0200000A:C001 0700607F:0050 01 0 0\n"  # 10.0.0.2 to 127.96.0.7
    server = "   1: 0800607F:0050 0200000A:C001 06 0 0\n"  # ... in TIME_WAIT
    expected = {slot4(0x200007), slot4(0x200008)}
    assert alias.parse(HEAD + client + server).four == expected


def test_the_ways_of_a_destination_share_its_slot() -> None:
    lines = [f"   0: 0200000A:C001 0700{way}7F:0050 01\n" for way in ("60", "A0", "E0")]
    assert alias.parse(HEAD + "".join(lines)) == Slots(four=frozenset({slot4(0x200007)}))


def test_loopback_itself_is_no_alias() -> None:
    lines = "   0: 0100007F:C001 0600007F:0050 01\n   1: 0100007F:C002 3500007F:0035 01\n"
    assert alias.parse(HEAD + lines) == Slots()


def test_an_ipv6_alias_is_the_last_eight_bytes() -> None:
    words = [0xFDC83D1F, 0x62A70001, 0x01020304, 0x05060708]
    text = "".join(f"{struct.unpack('=I', struct.pack('!I', word))[0]:08X}" for word in words)
    found = alias.parse(HEAD + f"   0: {'0' * 32}:C001 {text}:0050 01\n")
    assert found == Slots(six=frozenset({struct.pack("=Q", 0x0102030405060708)}))


def test_a_mapped_address_uses_an_ipv4_alias() -> None:
    line = f"   0: {'0' * 16}FFFF00000200000A:C001 {'0' * 16}FFFF00000700607F:0050 01\n"
    assert alias.parse(HEAD + line).four == {slot4(0x200007)}
