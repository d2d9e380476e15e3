"""The mesh's own faults: documents that are refused, and hosts that cannot be called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from interceptor.debug.doctor.check import Check, Group, State
from interceptor.debug.doctor.fact import Ailment, Facts

WANTED = ("excluded-interface", "excluded-port", "excluded-uid", "excluded-address")
"""Causes that somebody wrote into the configuration."""
NAMED = 4  # of the targets of one cause


def decide(facts: Facts) -> Iterator[Check]:
    """All of it."""
    yield from _documents(facts)
    by_cause: dict[str, list[Ailment]] = {}
    for each in facts.ailments:
        by_cause.setdefault(each.cause, []).append(each)
    for cause, found in by_cause.items():
        yield _ailing(cause, found)


def _ailing(cause: str, found: Sequence[Ailment]) -> Check:
    """One line for a cause, whatever the number of calls that it breaks."""
    targets = list(dict.fromkeys(each.target for each in found))
    more = f" and {len(targets) - NAMED} more" if len(targets) > NAMED else ""
    state = State.NOTE if cause in WANTED else State.WARNING
    first = found[0]
    cure = "; ".join(filter(None, (first.cure, f"interceptor explain tcp {first.target}")))
    seen = ", ".join(targets[:NAMED]) + more
    return Check(Group.MESH, cause, state, seen, first.why, cure)


def _documents(facts: Facts) -> Iterator[Check]:
    if facts.mesh_problems:
        count = len(facts.mesh_problems)
        seen = facts.mesh_problems[0] + (f" and {count - 1} more" if count > 1 else "")
        if count == 1 and "No such file" in seen:
            why, cure = "no name is answered", "put the mesh's documents there, or mesh.files"
            yield Check(Group.MESH, "documents", State.WARNING, seen, why, cure)
            return
        why = "these documents are refused; the last good ones are in force, if there are any"
        yield Check(Group.MESH, "documents", State.FAULT, seen, why, "interceptor mesh check")
    elif not facts.mesh_hosts:
        why = "no name is answered, nothing is captured"
        cure = "put documents in mesh.files, or name mesh.nametable"
        yield Check(Group.MESH, "documents", State.WARNING, "no hosts", why, cure)
    else:
        yield Check(Group.MESH, "documents", State.OK, f"{facts.mesh_hosts} hosts")
    for warning in facts.mesh_warnings[:5]:
        why, cure = "what the document asks for is not done", "interceptor mesh check"
        yield Check(Group.MESH, "warning", State.NOTE, warning, why, cure)
