"""The matrix of a run, as people read it: groups in README.md, every case in docs/CONFORMANCE.md.

Run as ``python -m tests.contract.conformance.matrix RESULTS``, with the file that
``pytest --matrix RESULTS`` has written; `scripts/matrix` does both.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.contract.conformance.case import BACKENDS, Group, Results
from tests.contract.conformance.table import CASES, UNSUPPORTED

ROOT = Path(__file__).parents[3]
README, WHOLE = ROOT / "README.md", ROOT / "docs" / "CONFORMANCE.md"
BEGIN, END = "<!-- matrix -->", "<!-- /matrix -->"
HEAD = """# What each back end does

Written by `scripts/matrix` from a run of tests/contract/conformance: a real daemon, a real Envoy,
one list of cases, each over IPv4 and IPv6 where it applies. ✓ passes; a number is a cell that
cannot be, which the suite runs too and expects to fail, for the reason below.
"""


def reasons() -> list[str]:
    """Why cells cannot be, each once, in the order of their numbers."""
    order = [(case.name, backend) for case in CASES for backend in BACKENDS]
    found = [UNSUPPORTED[(b, name)].reason for name, b in order if (b, name) in UNSUPPORTED]
    return list(dict.fromkeys(found))


def cell(backend: str, name: str, results: Results) -> str:
    """One cell. Raises ValueError where the run does not say what the list says."""
    known = UNSUPPORTED.get((backend, name))
    has_passed = results.get(backend, {}).get(name)
    if has_passed is None or has_passed is (known is not None):
        raise ValueError(f"{backend}: {name}: {has_passed}; a matrix needs a whole green run")
    return "✓" if known is None else f"[{reasons().index(known.reason) + 1}](#why-not)"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _table_head() -> list[str]:
    return [_row("", *BACKENDS), _row("---", *("---" for _ in BACKENDS))]


def render_groups(results: Results) -> str:
    """README's table: a row a group, and how many of its cases pass."""
    lines = _table_head()
    for group in Group:
        names = [case.name for case in CASES if case.group is group]
        cells = ([cell(backend, name, results) for name in names] for backend in BACKENDS)
        lines.append(_row(group.value, *(f"{each.count('✓')}/{len(names)}" for each in cells)))
    return "\n".join(lines)


def render_whole(results: Results) -> str:
    """The page with a row a case, and the reasons below."""
    lines = [HEAD]
    for group in Group:
        lines += [f"## {group.value}", "", *_table_head()]
        for case in CASES:
            if case.group is group:
                cells = (cell(backend, case.name, results) for backend in BACKENDS)
                lines.append(_row(case.name, *cells))
        lines.append("")
    lines += ["## Why not", ""]
    lines += [f"{number}. {reason}." for number, reason in enumerate(reasons(), 1)]
    return "\n".join(lines) + "\n"


def insert(text: str, table: str) -> str:
    """README's text with the table between its marks. Raises ValueError without them."""
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def expected() -> Results:
    """The results of a run in which everything is as the list says."""
    return {
        backend: {case.name: (backend, case.name) not in UNSUPPORTED for case in CASES}
        for backend in BACKENDS
    }


def main(file: str) -> None:
    """Write both places from a result file."""
    results = json.loads(Path(file).read_text())
    whole = render_whole(results)
    readme = insert(README.read_text(), render_groups(results))
    WHOLE.parent.mkdir(exist_ok=True)
    WHOLE.write_text(whole)
    README.write_text(readme)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except ValueError as error:
        sys.exit(f"matrix: {error}")
