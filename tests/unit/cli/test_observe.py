"""`interceptor observe` on the command line, of a capture: that needs no root."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from scapy.utils import wrpcap

from interceptor.cli import main, observe
from interceptor.observation import Progress
from tests.unit.test_rewatch import conversation, layered

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def capture(tmp_path: Path) -> str:
    path = tmp_path / "vm.pcap"
    wrpcap(str(path), [layered(packet) for packet in conversation()])
    return str(path)


@pytest.fixture
def settings(tmp_path: Path) -> str:
    path = tmp_path / "interceptor.yaml"
    tree = {
        "node": {"name": "till", "namespace": "shop"},
        "mesh": {"files": [], "state_dir": str(tmp_path / "state")},
    }
    path.write_text(yaml.safe_dump(tree))
    return str(path)


def test_files_are_written_and_are_legal(
    run: Run, capture: str, settings: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, said, _ = run("observe", "-r", capture, "-o", str(out), "--config", settings)
    assert code == main.DONE
    assert "A capture of 6 s." in said
    assert str(out / "serviceentries.yaml") in said
    config = ("--config", str(out / "config.yaml"))
    assert run("config", "check", *config)[0] == main.DONE
    code, said, problems = run("mesh", "check", *config)
    assert (code, problems) == (main.DONE, "")
    assert said == "2 hosts, 0 warnings\n"
    listed = json.loads(run("mesh", "list", "--json", *config)[1])
    assert {host["host"] for host in listed} == {"api.example", "till.shop.svc.cluster.local"}


def test_without_a_folder_the_report_is_printed(run: Run, capture: str, settings: str) -> None:
    code, said, _ = run("observe", "-r", capture, "--config", settings)
    assert code == main.DONE
    assert said.startswith("# What till calls and serves\n")
    assert "`api.example`" in said


def test_json_tells_everything(run: Run, capture: str, settings: str) -> None:
    code, said, _ = run("observe", "-r", capture, "--json", "--config", settings)
    tree = json.loads(said)
    assert code == main.DONE
    assert [service["host"] for service in tree["services"]] == ["api.example"]


def test_the_user_chooses_namespace_app_and_what_is_left_out(
    run: Run, capture: str, settings: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("--namespace", "other", "--app", "pos", "--exclude", "api.*")
    run("observe", "-r", capture, "-o", str(out), *words, "--config", settings)
    entries = list(yaml.safe_load_all((out / "serviceentries.yaml").read_text()))
    assert not any(entries)
    group = next(iter(yaml.safe_load_all((out / "workloadgroup.yaml").read_text())))
    assert group["metadata"] == {"name": "pos", "namespace": "other"}


def test_a_second_run_is_refused_forced_or_added(
    run: Run, capture: str, settings: str, tmp_path: Path
) -> None:
    words = ("observe", "-r", capture, "-o", str(tmp_path / "out"), "--config", settings)
    assert run(*words)[0] == main.DONE
    code, _, problem = run(*words)
    assert code == main.FAILED
    assert "--force" in problem
    assert "--append" in problem
    assert "in 2 runs" in run(*words, "--append")[1]
    assert "in 3 runs" in run(*words, "--append")[1]
    assert "runs" not in run(*words, "--force")[1]


def test_a_namespace_that_is_none_is_a_usage_error(run: Run, capture: str, settings: str) -> None:
    words = ("-r", capture, "--namespace", "My_NS", "--config", settings)
    code, _, problem = run("observe", *words)
    assert code == main.USAGE
    assert "'My_NS': a namespace" in problem


def test_a_wrong_duration_is_a_usage_error(run: Run, settings: str) -> None:
    code, _, problem = run("observe", "--duration", "soon", "--config", settings)
    assert code == main.USAGE
    assert "60s" in problem


def test_progress_is_told_on_a_terminal_and_not_to_a_file(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Progress(30.0, names=3, connections=7, listeners=2, lost=1)
    with observe._progress(60) as tell:
        tell(seen)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with observe._progress(60) as tell:
        tell(seen)
    out, err = capfd.readouterr()
    assert out == "", "the report's"
    assert "3 names, 7 connections, 2 listeners, 1 packets lost" in err


def test_sigterm_ends_a_watch_as_ctrl_c_does() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), observe._interrupted_by_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
