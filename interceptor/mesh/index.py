"""Hosts under a key that several of them may share: addresses, extra names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

K = TypeVar("K", int, str)


class Index(Generic[K]):
    """Nearly every key has one host, which is then kept by itself: a set costs 200 bytes.

    Every change is one assignment that other threads see whole.
    """

    __slots__ = ("_hosts",)

    def __init__(self) -> None:
        self._hosts: dict[K, str | set[str]] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._hosts

    def __iter__(self) -> Iterator[K]:
        return iter(self._hosts)

    def __len__(self) -> int:
        return len(self._hosts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Index) and self._hosts == other._hosts

    __hash__ = None  # type: ignore[assignment]  # it changes

    def members(self, key: K) -> tuple[str, ...]:
        """The hosts under ``key``, sorted: whatever their order of arrival."""
        value = self._hosts.get(key)
        if value is None:
            return ()
        # sorted() copies the set in one step of the interpreter, whatever another thread adds.
        return (value,) if isinstance(value, str) else tuple(sorted(value))

    def add(self, key: K, host: str) -> None:
        known = self._hosts.get(key)
        if known is None:
            self._hosts[key] = host
        elif isinstance(known, set):
            known.add(host)
        elif known != host:
            self._hosts[key] = {known, host}

    def discard(self, key: K, host: str) -> None:
        known = self._hosts.get(key)
        if known == host:
            del self._hosts[key]
        elif isinstance(known, set):
            known.discard(host)
            if len(known) == 1:
                self._hosts[key] = next(iter(known))

    def release(self) -> None:
        """Empty it bit by bit: see `Directory.release`."""
        while self._hosts:
            self._hosts.popitem()
