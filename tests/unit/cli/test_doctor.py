"""The doctor's options and exit codes; what it finds is in tests/netns/test_doctor.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interceptor import checkup, selftest
from interceptor.capture.backend import Choice
from interceptor.checkup import Seen
from interceptor.cli import group
from interceptor.config import Config
from interceptor.debug.doctor.check import Check, Group, State
from interceptor.debug.doctor.fact import Envoy, Facts, Host

WELL = Facts(
    host=Host(kernel="6.1", chosen=("backend: ebpf [...]",), cgroup_mount="/x"),
    envoy=Envoy("/usr/bin/envoy", "1.33.0"),
    mesh_hosts=1,
)
CHOICE = Choice("ebpf", "ebpf")
Settle = Callable[[Seen], None]


@pytest.fixture
def settle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settle:
    """Have the doctor see what it is given, and every self-test pass."""
    config = tmp_path / "interceptor.yaml"
    config.write_text("{}")

    def tests(_choice: Choice | None, _tell: object) -> Iterator[Check]:
        yield Check(Group.SELF_TEST, "steering", State.OK, "10.0.0.1", took_s=0.1)

    def make(seen: Seen) -> None:
        def observe(_config: Config, _tell: object) -> Seen:
            return seen

        monkeypatch.setattr(checkup, "observe", observe)
        monkeypatch.setattr(selftest, "run", tests)

    monkeypatch.setenv("INTERCEPTOR_MESH_STATE_DIR", str(tmp_path))
    return make


def run(*words: str) -> int:
    return group.call(["doctor", *words])


def test_a_host_that_is_well_ends_with_zero(
    settle: Settle, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(Seen(WELL, CHOICE))
    assert run("--json", "--only", "kernel", "--only", "self-test") == 0
    tree = json.loads(capsys.readouterr().out)
    assert {each["group"] for each in tree["checks"]} == {"kernel", "self-test"}
    assert tree["whole"] is True
    assert tree["counts"]["fault"] == 0


def test_a_fault_ends_with_one_and_says_how_to_report_it(
    settle: Settle, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(Seen(Facts(host=WELL.host, envoy=Envoy(error="none")), CHOICE))
    assert run("--only", "sidecar") == 1
    assert "--bundle" in capsys.readouterr().out


def test_a_host_without_a_back_end_ends_with_three(settle: Settle) -> None:
    settle(Seen(Facts(host=Host(refusal="any back end: not supported")), None))
    assert run("--no-self-test", "--json") == 3


def test_without_self_tests_none_is_made(
    settle: Settle, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(Seen(WELL, CHOICE))
    run("--no-self-test")
    assert "self-test" not in capsys.readouterr().out


def test_a_bundle_is_not_written_over_anything(settle: Settle, tmp_path: Path) -> None:
    settle(Seen(WELL, CHOICE))
    path = tmp_path / "x.zip"
    path.write_text("mine")
    assert run("--bundle", str(path)) == 2
    assert path.read_text() == "mine"


def test_a_pipe_gets_no_colours_and_no_spaces_at_the_ends(
    settle: Settle, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(Seen(WELL, CHOICE))
    run("--no-self-test")
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert not [line for line in out.splitlines() if line != line.rstrip()]


def test_a_group_that_is_none_is_refused(settle: Settle) -> None:
    settle(Seen(WELL, CHOICE))
    assert run("--only", "weather") == 2
