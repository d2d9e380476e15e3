"""Frames between daemon and worker."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.dns import frame
from interceptor.dns.frame import Beat, Change, Kind, Lease, Message, Seen, Settings
from interceptor.dns.sighting import Sighting
from interceptor.mesh.model import Locale

TEXT = st.text(max_size=20)
ROWS = st.lists(st.tuples(TEXT, st.binary(max_size=40)), max_size=5).map(tuple)


def received(data: bytes) -> list[tuple[Kind, Message]]:
    async def read() -> list[tuple[Kind, Message]]:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        found = []
        try:
            while True:
                found.append(await frame.receive(reader))
        except asyncio.IncompleteReadError as error:
            assert not error.partial
        return found

    return asyncio.run(read())


@given(
    st.integers(-1, 65535),
    st.integers(1, 65536),
    st.integers(1, 65535),
    st.integers(1, 2**32),
    TEXT,
)
def test_settings_come_through(queue: int, length: int, port: int, mark: int, maps: str) -> None:
    settings = Settings(queue, length, port, mark, maps)
    assert received(frame.encode_settings(settings)) == [(Kind.SETTINGS, settings)]


@given(TEXT, TEXT, st.lists(TEXT).map(tuple), st.lists(TEXT).map(tuple), st.integers(0, 86400))
def test_locales_come_through(
    namespace: str, domain: str, search: tuple[str, ...], zones: tuple[str, ...], ttl_s: int
) -> None:
    locale = Locale(namespace, domain, search, zones, ttl_s)
    assert received(frame.encode_locale(locale)) == [(Kind.LOCALE, locale)]


@given(ROWS, st.lists(TEXT).map(tuple))
def test_rows_and_changes_come_through_in_order(
    rows: tuple[tuple[str, bytes], ...], removed: tuple[str, ...]
) -> None:
    data = frame.encode_load(rows) + frame.encode_change(Change(rows, removed))
    data += frame.encode(Kind.COMMIT) + frame.encode(Kind.READY)
    assert received(data) == [
        (Kind.LOAD, rows),
        (Kind.CHANGE, Change(rows, removed)),
        (Kind.COMMIT, None),
        (Kind.READY, None),
    ]


def test_life_signs_come_through() -> None:
    beat = Beat(3, {("nfqueue", "answer", "A"): 7}, {"tcp-steered": 1}, (1, 2), 0.5)
    assert received(frame.encode_beat(beat)) == [(Kind.BEAT, beat)]


def test_a_frame_beyond_all_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        received(b"\xff\xff\xff\xff\x01")


def test_counts_bear_the_name_of_their_plane() -> None:
    assert frame.counted("tcp", {("answer", "A"): 2}) == {("tcp", "answer", "A"): 2}


@given(st.floats(0, 1e9))
def test_leases_come_through(until_s: float) -> None:
    lease = Lease(until_s)
    assert received(frame.encode_lease(lease)) == [(Kind.TRACE, lease)]


FLOW = st.tuples(TEXT, st.integers(0, 65535), TEXT, st.integers(0, 65535))
SIGHTINGS = st.builds(
    Sighting,
    plane=TEXT,
    protocol=TEXT,
    at_s=st.floats(0, 1e9),
    took_s=st.floats(0, 1e9),
    flow=FLOW,
    name=TEXT,
    qtype=TEXT,
    verdict=TEXT,
    host=TEXT,
    why=TEXT,
    answer=st.binary(max_size=40),
    uid=st.none() | st.integers(0, 2**32),
    pid=st.integers(0, 2**22),
    comm=TEXT,
    unit=TEXT,
)


@given(st.integers(0, 2**32), st.lists(SIGHTINGS, max_size=3).map(tuple))
def test_sightings_come_through(lost: int, rows: tuple[Sighting, ...]) -> None:
    seen = Seen(lost, rows)
    assert received(frame.encode_seen(seen)) == [(Kind.SEEN, seen)]
