"""The figures of a run are printed at its end, whether or not it failed, and by whatever worker."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for key, value in getattr(report, "user_properties", ()):
                if key == "chaos" and report.when == "call":
                    terminalreporter.section("chaos", "-")
                    terminalreporter.write_line(str(value))
