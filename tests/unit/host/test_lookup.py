"""With libc's own answers; the thread's group is read from the kernel."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest

from interceptor.host import lookup
from interceptor.host.lookup import LookupFailed, Manner


def test_a_name_of_the_hosts_file_and_an_address_are_found() -> None:
    assert "127.0.0.1" in asyncio.run(lookup.find("localhost", Manner(os.getgid()), 20))
    assert asyncio.run(lookup.find("192.0.2.7", Manner(os.getgid()), 20)) == ("192.0.2.7",)


def test_a_name_that_nobody_can_have_is_told_with_the_reason() -> None:
    with pytest.raises(LookupFailed, match=r"\w"):
        asyncio.run(lookup.find("a..b", Manner(os.getgid()), 20))


def test_a_name_server_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "_ask", lambda *_: ())
    monkeypatch.setattr(lookup, "_observe", lambda _host: time.sleep(0.3) or ((), "late"))
    with pytest.raises(LookupFailed, match=r"no name server answers in 0\.05 s"):
        asyncio.run(lookup.find("a.test", Manner(os.getgid()), 0.05))
    time.sleep(0.4)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may choose a group")
def test_the_thread_that_asks_is_in_the_sidecars_group_and_no_other_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    groups: dict[int, str] = {}

    def observe(_host: str) -> tuple[tuple[str, ...], str]:
        for task in Path("/proc/self/task").iterdir():
            (line,) = (x for x in (task / "status").read_text().splitlines() if x[:4] == "Gid:")
            groups[int(task.name)] = line.split()[2]
        groups[-1] = groups.pop(threading.get_native_id())
        return ("192.0.2.1",), ""

    monkeypatch.setattr(lookup, "_ask", lambda *_: ())
    monkeypatch.setattr(lookup, "_observe", observe)
    asyncio.run(lookup.find("a.test", Manner(1337), 20))
    assert groups.pop(-1) == "1337"
    assert set(groups.values()) == {str(os.getegid())}
