"""Where `interceptor` begins: a daemon gets its supervisor before anything large is imported."""

from __future__ import annotations

import gc
import sys

from interceptor.host import supervisor

# Exit codes (design §10); programs are written against them.
DONE = 0
FAILED = 1
USAGE = 2
UNSUPPORTED = 3
DRIFT = 4

COLLECT_AFTER = 50_000
"""New objects between two looks for garbage. Python's 700 are reached hundreds of times while
modules are imported, of which nothing becomes garbage: a tenth of a start."""


def main(argv: list[str] | None = None) -> None:
    """Run one command and leave the process with its exit code. ``argv``: in this process,
    whatever the command; None: this program's own."""
    lifeline = None
    if argv is None:
        gc.set_threshold(COLLECT_AFTER)
    if argv is None and supervisor.is_wanted(sys.argv[1:]):
        lifeline = supervisor.live()
    from interceptor.cli import group

    sys.exit(group.call(argv, lifeline))
