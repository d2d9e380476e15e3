"""What was observed, told: a report for people in Markdown, the same as a tree for JSON. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from interceptor.debug import sign
from interceptor.debug.concern import Concern, Weight
from interceptor.debug.draft import Draft, Port, Wish
from interceptor.debug.observed import Observation, Tally

MOST_CASES = 12
MOST_PEERS = 4
_TITLES = {
    Weight.BREAKS: "What would break",
    Weight.CHANGES: "What would be other than before",
    Weight.KNOW: "Good to know",
}


def render(
    found: Observation, drafted: Draft, concerns: Sequence[Concern], commands: Sequence[str]
) -> str:
    """report.md."""
    parts = [
        f"# What {found.host or 'this VM'} calls and serves\n",
        " ".join(summary(found, drafted, concerns)) + "\n",
        *_called(drafted),
        *_literal(found, drafted),
        *_served(drafted),
        *_asked(found, drafted),
        *_concerns(concerns),
        "## What to do next\n",
        "```sh",
        *commands,
        "```",
    ]
    return "\n".join(parts) + "\n"


def summary(found: Observation, drafted: Draft, concerns: Sequence[Concern]) -> Iterator[str]:
    """A few sentences."""
    runs = f" in {found.runs} runs" if found.runs > 1 else ""
    whence = "Watched for" if found.live else "A capture of"
    yield f"{whence} {span(found.seconds)}{runs}."
    count = sum(call.count for call in found.calls)
    yield f"{_of(count, 'connection')} made to {_of(len(drafted.services), 'host')} called by name"
    yield f"and {_of(len(_nameless(found)), 'address', 'addresses')} called without one;"
    yield f"{_of(len(found.asked), 'name')} asked; {_of(len(drafted.served), 'port')} served."
    worst = sum(concern.weight is Weight.BREAKS for concern in concerns)
    yield f"{_of(worst, 'thing')} would break." if worst else "Nothing was seen that would break."


def span(seconds: float) -> str:
    """A length of time in its largest units: 90 s, 12 min, 5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def tree(
    found: Observation, drafted: Draft, concerns: Sequence[Concern], files: Sequence[str]
) -> dict[str, object]:
    """For --json."""
    return {
        "host": found.host,
        "seconds": found.seconds,
        "runs": found.runs,
        "services": [dataclasses.asdict(service) for service in drafted.services],
        "served": [dataclasses.asdict(served) for served in drafted.served],
        "include_cidrs": [str(network) for network in drafted.include],
        "exclude_cidrs": [str(network) for network in drafted.exclude],
        "wildcards": {suffix: list(hosts) for suffix, hosts in drafted.wildcards},
        "calls": [dataclasses.asdict(call) for call in found.calls],
        "asked": [dataclasses.asdict(row) for row in found.asked],
        "concerns": [
            dataclasses.asdict(concern) | {"weight": concern.weight.value} for concern in concerns
        ],
        "files": list(files),
    }


def commands(folder: str, wish: Wish, drafted: Draft) -> list[str]:
    """What to type next, for files that stand in ``folder``."""
    config = f"--config {folder}/config.yaml"
    first = drafted.services[0] if drafted.services else None
    lines = [
        f"interceptor mesh check {config}      # are the documents legal",
        f"interceptor plan {config}            # what would be installed",
    ]
    if first is not None:
        port = first.ports[0].number
        lines.append(f"interceptor explain tcp {first.host}:{port} {config}")
    lines += [
        f"interceptor replay CAPTURE {config}  # what would become of captured traffic",
        f"interceptor run --confirm 60s {config}",
        f"kubectl apply -n {wish.namespace} -f {folder}/serviceentries.yaml "
        f"-f {folder}/workloadgroup.yaml  # where the mesh is Istio's",
    ]
    return lines


def _called(drafted: Draft) -> Iterator[str]:
    yield "## Called by name\n"
    rows = [
        (
            f"`{service.host}`",
            ", ".join(map(_port, service.ports)),
            f"{service.count}" + (f" + {service.before} before" if service.before else ""),
            _tally(service.owners),
            _few(service.addresses) + (" (/etc/hosts)" if service.static else ""),
        )
        for service in drafted.services
    ]
    yield from _table(("host", "ports", "connections", "by", "at"), rows)


def _literal(found: Observation, drafted: Draft) -> Iterator[str]:
    yield "## Called by address\n"
    rows = [
        (
            f"`{sign.place(call)}`",
            call.protocol or "?",
            f"{call.count}" + (f" + {call.before} before" if call.before else ""),
            _tally(call.owners),
        )
        for call in found.calls
        if call.transport == "tcp" and not call.name
    ]
    yield from _table(("address", "protocol", "connections", "by"), rows)
    if drafted.include:
        yield "Captured by `capture.outbound.cidrs`: " + ", ".join(map(str, drafted.include)) + "\n"


def _served(drafted: Draft) -> Iterator[str]:
    yield "## Served here\n"
    rows = [
        (
            str(served.port.number),
            _port(served.port),
            served.owner,
            _tally(served.peers) or "nobody",
        )
        for served in drafted.served
    ]
    yield from _table(("port", "as", "program", "called by"), rows)


def _asked(found: Observation, drafted: Draft) -> Iterator[str]:
    """Names without a call: of UDP, of connections that stay open, or of nothing."""
    called = {service.host for service in drafted.services} | {call.name for call in found.calls}
    rows = [
        (f"`{row.name}`", str(row.count), "no such name" if row.failed else _few(row.addresses))
        for row in found.asked
        if row.name not in called
    ]
    if rows:
        yield "## Asked, and not called meanwhile\n"
        yield from _table(("name", "times", "answer"), rows[: 2 * MOST_CASES])
        if len(rows) > 2 * MOST_CASES:
            yield f"... and {len(rows) - 2 * MOST_CASES} more\n"


def _concerns(concerns: Sequence[Concern]) -> Iterator[str]:
    for weight, title in _TITLES.items():
        found = [concern for concern in concerns if concern.weight is weight]
        if not found:
            continue
        yield f"## {title}\n"
        for concern in found:
            yield f"### {concern.title}\n"
            yield from (f"- {_plain(case)}" for case in concern.cases[:MOST_CASES])
            if len(concern.cases) > MOST_CASES:
                yield f"- ... and {len(concern.cases) - MOST_CASES} more"
            yield f"\n{concern.cure}\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        yield "None.\n"
        return
    yield f"| {' | '.join(head)} |"
    yield f"| {' | '.join('---' for _ in head)} |"
    yield from (f"| {' | '.join(map(_plain, row))} |" for row in rows)
    yield ""


def _plain(text: str) -> str:
    """Nothing that would end a cell or a line."""
    return "".join(c if c.isprintable() and c != "|" else "?" for c in text)


def _port(port: Port) -> str:
    sure = "" if port.sure else "?"
    heard = f" ({port.heard})" if port.heard and port.protocol == "TCP" else ""
    return f"{port.number} {port.protocol}{heard}{sure}"


def _tally(found: Tally) -> str:
    most = sorted(found, key=lambda row: (-row[1], row[0]))
    return _few(f"{what} ({count})" for what, count in most)


def _few(texts: Iterable[str]) -> str:
    found = list(texts)
    more = f", {len(found) - MOST_PEERS} more" if len(found) > MOST_PEERS else ""
    return ", ".join(found[:MOST_PEERS]) + more


def _nameless(found: Observation) -> set[str]:
    return {call.address for call in found.calls if call.transport == "tcp" and not call.name}


def _of(count: int, one: str, many: str = "") -> str:
    return f"{count or 'no'} {one if count == 1 else many or one + 's'}"
