"""The benchmarks run through, small; their figures are not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from interceptor.lab.world import environment

pytestmark = [pytest.mark.root, pytest.mark.envoy, pytest.mark.slow]


@pytest.mark.parametrize("part", ["dns", "connection", "table"])
def test_a_quick_run_measures_every_variant(tmp_path: Path, part: str) -> None:
    file = tmp_path / "figures.json"
    argv = [sys.executable, "-m", "interceptor.lab.bench", "--quick", "--json", str(file), part]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr
    variants = json.loads(file.read_text())[part]
    assert len(variants) >= 2
    for rows in variants.values():
        for row in rows if isinstance(rows, list) else [rows]:
            assert row
            assert all(value >= 0 for value in row.values())
