"""Names as text: lower case, without the final dot, labels joined by dots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

IPV4_SUFFIX = ".in-addr.arpa"
IPV6_SUFFIX = ".ip6.arpa"


def above(name: str, suffix: str) -> str | None:
    """What stands in front of ``.suffix`` in ``name``; None where nothing does."""
    if not name.endswith(suffix):
        return None
    cut = len(name) - len(suffix) - 1
    return name[:cut] if cut > 0 and name[cut] == "." else None


def is_within(name: str, zone: str) -> bool:
    """Whether ``name`` is the zone's apex or below it. The root holds everything."""
    return not zone or name == zone or name.endswith("." + zone)


def zone_of(name: str, zones: Iterable[tuple[str, tuple[str, ...]]]) -> tuple[str, tuple[str, ...]]:
    """The longest of (zone, servers) that ``name`` is within; ("", ()) for none."""
    found = (each for each in zones if is_within(name, each[0]))
    return max(found, key=lambda each: len(each[0]), default=("", ()))


def parents(name: str) -> Iterator[str]:
    """``a.b.c`` gives ``b.c`` and ``c``: the longest suffix first."""
    cut = name.find(".")
    while cut >= 0:
        yield name[cut + 1 :]
        cut = name.find(".", cut + 1)


def reversed_address(name: str) -> bytes | None:
    """The packed address (4 or 16 bytes) that a reverse name stands for (RFC 1035 §3.5,
    RFC 3596 §2.5); None for every other name, partial reverse names included."""
    if name.endswith(IPV4_SUFFIX):
        parts = name[: -len(IPV4_SUFFIX)].split(".")
        if len(parts) != 4 or not all(_is_octet(part) for part in parts):
            return None
        return bytes(int(part) for part in reversed(parts))
    if name.endswith(IPV6_SUFFIX):
        nibbles = name[: -len(IPV6_SUFFIX)].split(".")
        if len(nibbles) != 32 or not all(_is_nibble(nibble) for nibble in nibbles):
            return None
        return bytes.fromhex("".join(reversed(nibbles)))
    return None


def _is_octet(text: str) -> bool:
    # One spelling an address: "010" is nobody's reverse name.
    return text.isascii() and text.isdigit() and int(text) < 256 and str(int(text)) == text


def _is_nibble(text: str) -> bool:
    return len(text) == 1 and text in "0123456789abcdef"
