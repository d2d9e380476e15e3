"""The values that commands and daemon share come out of a configuration the same way."""

from __future__ import annotations

import os
import signal
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from interceptor import assembly, config
from interceptor.capture import plan
from interceptor.capture.plan import Facts
from interceptor.capture.rule import Verdict
from interceptor.errors import InterceptorError
from interceptor.host import command, lock
from interceptor.mesh.model import Host, Kind
from interceptor.mesh.table import MeshTable
from interceptor.sidecar import launch, pid
from interceptor.sidecar.launch import Record


def configured(tmp_path: Path, text: str = "") -> config.Config:
    return config.parse(
        text,
        flags={
            "agent.run_dir": str(tmp_path / "run"),
            "mesh.files": [str(tmp_path / "mesh")],
            "mesh.state_dir": str(tmp_path / "state"),
        },
    )


def test_the_search_list_is_resolv_confs_unless_one_is_given(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("search a.example\n")
    path = f"dns: {{resolv_conf: {tmp_path}/resolv.conf}}"
    assert assembly.locale(config.parse(path)).search == ("a.example",)
    given = config.parse("dns: {search: [b.example], own_zones: [Mesh.Internal.]}")
    assert assembly.locale(given).search == ("b.example",)
    assert assembly.locale(given).own_zones == ("mesh.internal",)


def test_addresses_and_cidrs_are_places() -> None:
    host = Host(
        "a",
        "n",
        Kind.SERVICE_ENTRY,
        (ip_address("10.0.0.1"),),
        networks=(ip_network("10.1.0.0/16"),),
    )
    assert set(assembly.places(MeshTable({"a": host}))) == {
        ip_address("10.0.0.1"),
        ip_network("10.1.0.0/16"),
    }


@pytest.mark.parametrize(
    ("backend", "word"), [("nftables", "redirect to :15001"), ("iptables", "--to-ports 15001")]
)
@pytest.mark.parametrize(("version", "other"), [(4, "ip6 daddr"), (6, "ip daddr")])
def test_a_rule_is_told_as_it_is_installed(
    backend: str, word: str, version: int, other: str
) -> None:
    ours = config.parse("", flags={"capture.backend": backend})
    built = plan.build(ours, Facts())
    rule = next(rule for rule in built.rules if rule.verdict is Verdict.OUTBOUND)
    lines = assembly.rule_lines(ours, built, rule, version)
    assert lines
    assert all(word in line and other not in line for line in lines)


def test_every_rule_of_a_plan_is_found_in_its_text() -> None:
    for backend in ("nftables", "iptables"):
        ours = config.parse("capture: {inbound: {ports: '*'}}", flags={"capture.backend": backend})
        built = plan.build(ours, Facts())
        missing = [rule for rule in built.rules if not assembly.rule_lines(ours, built, rule, 4)]
        # Rule 9 of PREROUTING and OUTPUT share words, so each is found.
        assert [rule.why for rule in missing] == []


@pytest.mark.parametrize("backend", ["ebpf", "auto"])
def test_programs_have_no_rule_text(backend: str) -> None:
    ours = config.parse("", flags={"capture.backend": backend})
    built = plan.build(ours, Facts())
    assert assembly.rule_lines(ours, built, built.rules[0], 4) == ()


def test_clean_is_refused_while_a_daemon_holds_the_run_directory(tmp_path: Path) -> None:
    ours = configured(tmp_path)
    with (
        lock.Lock(ours.agent.run_dir / lock.NAME),
        pytest.raises(InterceptorError, match=f"pid {os.getpid()}"),
    ):
        assembly.clean_host(ours)


def recorded(run_dir: Path) -> command.Process:
    """A child that stands for Envoy, with its record."""
    child = command.start([sys.executable, "-c", "import time; time.sleep(60)"])
    files = launch.files(run_dir)
    run_dir.mkdir()
    record = Record(child.pid, pid.read_start_ticks(child.pid), "x")
    files.record.write_text(launch.encode(record))
    return child


def test_a_left_envoy_is_ended_by_its_record(tmp_path: Path) -> None:
    child = recorded(tmp_path / "run")
    try:
        assert assembly.end_sidecar(tmp_path / "run")
        assert child.wait(5) == -signal.SIGTERM
        assert not assembly.end_sidecar(tmp_path / "run")
    finally:
        child.stop()


def test_a_record_of_another_process_ends_nobody(tmp_path: Path) -> None:
    child = recorded(tmp_path / "run")
    try:
        files = launch.files(tmp_path / "run")
        files.record.write_text(launch.encode(Record(child.pid, 1, "x")))
        assert not assembly.end_sidecar(tmp_path / "run")
        assert child.poll() is None
    finally:
        child.stop()
