"""How Envoy is started, and found again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.config import parse
from interceptor.sidecar import launch
from interceptor.sidecar.launch import Launch, Record

WANTED = launch.build(parse(""), Path("/usr/bin/envoy"), "1-2", "{}")


@given(st.builds(Record, st.integers(1), st.integers(), st.text()))
def test_a_record_survives_its_file(record: Record) -> None:
    assert launch.decode(launch.encode(record)) == record


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": "x"}', '{"pid": 1}'])
def test_a_broken_record_is_none(text: str) -> None:
    assert launch.decode(text) is None


def test_the_start_time_is_found_behind_any_name() -> None:
    rest = " ".join(str(number) for number in range(4, 53))
    assert launch.decode_start_ticks(f"7 (a) b) c) S {rest}") == 22
    assert launch.decode_start_ticks(f"7 (envoy) Z {rest}") == -1


@pytest.mark.parametrize(
    "other",
    [
        replace(WANTED, binary=Path("/opt/envoy")),
        replace(WANTED, stamp="3-4"),
        replace(WANTED, bootstrap="{ }"),
        replace(WANTED, arguments=("--x",)),
        replace(WANTED, uid=7),
        replace(WANTED, net_admin=True),
        replace(WANTED, join=("sh",)),
    ],
)
def test_whatever_makes_another_envoy_changes_the_digest(other: Launch) -> None:
    assert other.digest != WANTED.digest


def test_the_command_line_is_envoys_own() -> None:
    argv = launch.render(WANTED, "/usr/bin/envoy")
    assert argv[:3] == (
        "/usr/bin/envoy",
        "--config-path",
        "/run/interceptor/sidecar/bootstrap.json",
    )
    assert argv[-2:] == ("--concurrency", "2")
    every_processor = launch.build(parse("sidecar: {concurrency: 0}"), Path("/e"), "", "")
    assert "--concurrency" not in every_processor.arguments


def test_tproxy_asks_for_one_capability() -> None:
    wanted = launch.build(parse("capture: {inbound: {mode: tproxy}}"), Path("/e"), "", "")
    argv = launch.render(wanted, "/e")
    assert argv[0] == "setpriv"
    assert {"--reuid=1337", "--regid=1337", "--ambient-caps=+net_admin"} <= set(argv)
    assert argv[argv.index("--") + 1] == "/e"


def test_joining_a_cgroup_comes_before_the_change_of_user_and_leaves_no_capability() -> None:
    wanted = launch.build(parse(""), Path("/e"), "", "", ("sh", "-c", "join"))
    argv = launch.render(wanted, "/e")
    assert wanted.needs_root
    assert argv[:4] == ("sh", "-c", "join", "setpriv")
    assert "--ambient-caps=-all" in argv
    assert argv[argv.index("--") + 1] == "/e"
