"""What the daemon's status tree tells a diagnosis, and what is told where nobody may look."""

from __future__ import annotations

from pathlib import Path

import pytest

from interceptor import config, examination, inquiry
from interceptor.debug.finding import Step
from interceptor.inquiry import Question

TREE = {
    "ready": True,
    "why": "ready",
    "backend": "ebpf",
    "drift": False,
    "table": {
        "hosts": 7,
        "held": True,
        "good_age_s": 12.5,
        "from": "disk",
        "rejected": [
            {"where": "a.yaml", "line": 3, "key": "spec", "value": "x", "legal": "a mapping"}
        ],
    },
    "sidecar": {"state": "live", "conflicts": ["a cannot be reached"]},
}


def test_the_status_tree_is_read() -> None:
    found = examination.decode(TREE)
    assert (found.backend, found.hosts, found.held, found.recalled) == ("ebpf", 7, True, True)
    assert found.rejected == ("a.yaml:3: spec: x: a mapping",)
    assert (found.sidecar, found.good_age_s) == ("live", 12.5)
    assert found.knows_host is None


def test_a_daemon_that_is_not_there_is_told_and_no_fault_of_the_mesh(tmp_path: Path) -> None:
    ours = config.parse(
        "",
        flags={
            "mesh.files": [str(tmp_path)],
            "mesh.state_dir": str(tmp_path / "state"),
            "mesh.allow_empty": True,
            "agent.run_dir": str(tmp_path / "run"),
            "capture.bpf_dir": str(tmp_path / "bpf"),
        },
    )
    case = examination.observe(inquiry.begin(ours, Question("tcp", "192.0.2.1:80", uid=1)))
    assert case.running is None
    assert "no daemon answers" in case.unknown[Step.TABLE]
    assert case.envoy is None


@pytest.mark.parametrize("tree", [{}, {"table": {}, "sidecar": {"mode": "none"}}])
def test_a_tree_of_another_version_is_read_as_far_as_it_goes(tree: dict[str, object]) -> None:
    assert examination.decode(tree).hosts == 0
