"""The build without the hook is this one but for the hook."""

from __future__ import annotations

from difflib import ndiff
from pathlib import Path

import pytest

from interceptor.lab.bench import trace
from interceptor.lab.bench.part import BACKENDS
from interceptor.lab.removal import LabFailed
from interceptor.lab.world import PACKAGE_ROOT


def test_the_copy_differs_in_the_hook_alone(tmp_path: Path) -> None:
    copy = trace.build_bare(tmp_path)
    for file, (hook, before, times) in trace.HOOKS.items():
        ours = (PACKAGE_ROOT / "interceptor" / file).read_text().splitlines()
        theirs = (copy / "interceptor" / file).read_text().splitlines()
        changes = [line for line in ndiff(ours, theirs) if line[:1] in "+-"]
        assert len(changes) == 2 * times
        for change in changes:
            assert (hook if change[0] == "-" else before) in change


def test_a_hook_that_has_moved_is_missed() -> None:
    with pytest.raises(LabFailed, match="1 times, not 2"):
        trace.strip("self._judge(packet)", "dns/nfqueue.py")


def test_each_daemon_has_a_host_of_its_own() -> None:
    names = [host.name for host in trace.world().hosts]
    assert len(names) == len(set(names)) == 2 * len(BACKENDS) + 1


def test_every_row_compares_variants_that_there_are() -> None:
    names = {
        form(name) for name in BACKENDS for form in (str, trace.bare, trace.traced, trace.told)
    }
    for row in trace.PARTS[0].rows:
        assert {row.ours, row.theirs} <= names
        assert row.figure in trace.FIGURES
