from __future__ import annotations

import pytest

from interceptor.lab.bench import life
from interceptor.lab.removal import LabFailed
from interceptor.lab.world import PACKAGE_ROOT


def test_the_next_layout_is_one_more_in_both_languages() -> None:
    for name in ("interceptor/host/layout.py", "bpf/include/layout.h"):
        text = (PACKAGE_ROOT / name).read_text()
        raised = life.raise_layout(text)
        assert raised != text
        assert len(set(raised.splitlines()) - set(text.splitlines())) == 1


def test_a_layout_that_is_not_found_is_an_error() -> None:
    with pytest.raises(LabFailed, match="layout"):
        life.raise_layout("nothing = 1\n")


def test_the_clients_last_line_is_summarised() -> None:
    line = "ok=10 bad=3 wrong=1 missed=2 lost=0 extra=0 gap_ms=7.5 seconds=1 cpu_us=5"
    found = life.summarise(f"noise\n{line}\n")
    assert found == {"queries": 13, "wrong": 1, "missed": 2, "lost": 0, "gap_ms": 7.5}
