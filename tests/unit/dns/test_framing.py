"""Messages on a stream, whole or cut short."""

from __future__ import annotations

import asyncio

import pytest

from interceptor.dns import framing


def read(data: bytes, start: bytes | None = None) -> list[bytes]:
    async def work() -> list[bytes]:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        found = [await framing.message(reader, start)]
        while found[-1]:
            found.append(await framing.message(reader))
        return found[:-1]

    return asyncio.run(work())


@pytest.mark.parametrize("start", [None, b"\0"])
def test_messages_come_one_by_one_with_their_lengths(start: bytes | None) -> None:
    data = b"\0\3abc\0\0\0\1x"
    assert read(data[len(start or b"") :], start) == [b"\0\3abc", b"\0\0", b"\0\1x"]


@pytest.mark.parametrize("cut", [b"\0", b"\0\3", b"\0\3ab"])
def test_what_there_is_of_a_message_that_is_cut_short_is_given(cut: bytes) -> None:
    assert read(b"\0\1x" + cut) == [b"\0\1x", cut]
    assert not framing.is_whole(cut)


def test_a_whole_message_is_as_long_as_it_says() -> None:
    assert framing.is_whole(b"\0\3abc")
    assert not framing.is_whole(b"\0\3abcd")
    assert not framing.is_whole(b"\0\0")
