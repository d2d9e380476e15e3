"""`metrics` asks the daemon; `dashboard` prints what docs/ has a copy of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Run = Callable[..., tuple[int, str, str]]
DOCS = Path(__file__).parents[3] / "docs"


def test_metrics_without_a_daemon_end_with_1_and_say_what_to_do(
    run: Run, configuration: Path
) -> None:
    code, _, err = run("metrics", "--config", str(configuration))
    assert code == 1
    assert "interceptor run" in err


def test_the_copies_in_docs_are_what_is_printed(run: Run) -> None:
    how = "`interceptor dashboard >docs/grafana.json`, with --alerts >docs/alerts.yaml"
    assert run("dashboard")[:2] == (0, (DOCS / "grafana.json").read_text()), how
    assert run("dashboard", "--alerts")[:2] == (0, (DOCS / "alerts.yaml").read_text()), how
