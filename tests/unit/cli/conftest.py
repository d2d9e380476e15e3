"""A configuration with one Service, and the command line called as a program would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from interceptor.cli.main import main

MESH = """\
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: bookinfo}
spec:
  clusterIP: 10.0.0.7
  ports: [{name: http, port: 9080}]
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """A configuration file whose mesh has one Service."""
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh" / "a.yaml").write_text(MESH)
    path = tmp_path / "interceptor.yaml"
    path.write_text(
        f"mesh: {{files: [{tmp_path}/mesh], state_dir: {tmp_path}/state}}\n"
        f"agent: {{run_dir: {tmp_path}/run}}\n"
        "dns: {search: [corp.example]}\n"
    )
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command: exit code, standard output, standard error."""

    def call(*argv: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(argv))
        assert isinstance(ended.value.code, int)
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return call
