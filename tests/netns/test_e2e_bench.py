"""The benchmarks run through, small; their figures are not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from interceptor.lab.bench import program
from interceptor.lab.world import environment

pytestmark = [pytest.mark.root, pytest.mark.envoy, pytest.mark.slow]

VARIANTS = {
    "dns": {"nsd, direct", "knot, direct", "dnsmasq, REDIRECT", "unbound, REDIRECT", "no agent"},
    "connection": {"no agent", "direct", "istio", "istio-10k", "ebpf-10k"},
}
"""What is measured against; everywhere our own back ends besides."""
BACKENDS = {"dns": ("ebpf", "nftables"), "table": ("nftables",)}
"""Of the other parts, the first back end alone: they bring up what takes its time."""
ONCE = {"dns-100k"}
"""Parts that differ from another in nothing but their amounts."""


SHORT = {"dns", "push"}
"""What the gate runs: they bring up all that the others need. The rest is long."""


def pick(name: str) -> object:
    return pytest.param(name, marks=() if name in SHORT else pytest.mark.long)


@pytest.mark.parametrize(
    "part", [pick(part.name) for part in program.PARTS if part.name not in ONCE]
)
def test_a_quick_run_measures_every_variant(tmp_path: Path, part: str) -> None:
    backends = BACKENDS.get(part, ("ebpf",))
    argv = [sys.executable, "-m", "interceptor.lab.bench", "--quick", "--docs", str(tmp_path), part]
    argv += [word for backend in backends for word in ("--backend", backend)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr
    rounds = json.loads((tmp_path / "bench.json").read_text())[part]["rounds"]
    assert VARIANTS.get(part, set()) <= rounds.keys()
    for backend in backends:
        assert any(variant.startswith(backend) for variant in rounds), backend
    for variant, rows in rounds.items():
        assert rows, variant
        assert all(row and min(row.values()) >= 0 for row in rows), variant
    page = (tmp_path / "BENCHMARKS.md").read_text()
    assert all(f"| {variant} |" in page for variant in rounds)
    assert (tmp_path / "bench.svg").read_text().startswith("<svg")
