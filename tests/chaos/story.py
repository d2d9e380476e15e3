"""What a run of the chaos suite has to say for itself: figures, and how to see it again. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tests.chaos import schedule
from tests.chaos.judge import Tally
from tests.chaos.record import What
from tests.chaos.torment import Outcome
from tests.chaos.world import OUTSIDE, TWIN, VM

LOOKUPS = (What.OTHER_UDP, What.OTHER_TCP, What.MESH_UDP, What.MESH_TCP)
SHOWN = 25
LOG_LINES = 60


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


def _row(title: str, text: object) -> str:
    return f"  {title + ':':<46}{text}"


def _sum(counts: Counter[str], names: Iterable[What]) -> int:
    return sum(counts[name.value] for name in names)


def lost(tally: Tally, *, by_us: bool, names: str = "other") -> Counter[str]:
    """Single queries for names of others that were lost: by our doing, or as without us."""
    return Counter(
        {
            key: count
            for key, count in tally.lost.items()
            if key.startswith(names) and "whole" not in key and (", LOSE:" not in key) is by_us
        }
    )


def whole(tally: Tally) -> int:
    """Lookups of names of others whose every query was lost, as without us."""
    found = (n for key, n in tally.lost.items() if key.startswith("other") and "whole" in key)
    return sum(found)


def tell(outcome: Outcome) -> str:
    """One back end's figures."""
    vm, twin, outside = (outcome.tallies[host] for host in (VM, TWIN, OUTSIDE))
    connections = [what for what in What if what not in (*LOOKUPS, What.STALL)]
    as_twin = [_causes(lost(tally, by_us=False)) for tally in (vm, twin)]
    lines = [
        f"{outcome.backend}, seed {outcome.seed}: {len(outcome.done)} faults in "
        f"{outcome.seconds:.0f} s",
        _row("faults", _counted(outcome.faults)),
        _row("had no victim", outcome.left_out),
        _row("lookups", f"{_sum(vm.made, LOOKUPS)} ({_sum(vm.queries, LOOKUPS)} queries)"),
        _row("connections", _sum(vm.made, connections) + _sum(outside.made, connections)),
        _row("wrong", sum(len(tally.wrong) for tally in outcome.tallies.values())),
        _row("other things that may not be", len(outcome.broken()) - len(vm.wrong)),
        "  names of others",
        _row("  lookups lost by our doing", sum("no query" in each for each in vm.broken)),
        _row("  lookups lost as without us", f"{whole(vm)} (twin: {whole(twin)})"),
        _row("  queries lost as without us", as_twin[0]),
        _row("    by the twin", as_twin[1]),
        _row("  queries lost by our doing", _causes(lost(vm, by_us=True))),
        _row("  longest gap", f"{vm.gap_s:.2f} s (twin: {twin.gap_s:.2f} s)"),
        _row(
            "queries for mesh names lost by our doing", _causes(lost(vm, by_us=True, names="mesh"))
        ),
        _row("host identical after clean", f"{outcome.cleans} times"),
        _row(
            "the load did not get the processor",
            f"{outcome.stalls} times, at most {outcome.worst_stall_s:.2f} s",
        ),
    ]
    lines += [_row(key, value) for key, value in outcome.life.items() if key != "log"]
    for tally in (vm, outside):
        for key, count in sorted(tally.allowed.items()):
            lines.append(_row(f"allowed: {key}", f"{count}, last {tally.slowest_s[key]:.2f} s on"))
    return "\n".join(lines)


def _causes(counts: Counter[str]) -> str:
    """How many, by which faults and over what."""
    found: Counter[str] = Counter()
    for key, count in counts.items():
        over = key.partition(",")[0].rpartition("-")[2]
        found[f"{over} {key.rpartition(': ')[2]}"] += count
    return f"{sum(counts.values())} ({_counted(found)})"


def complain(outcome: Outcome) -> str:
    """What went wrong, the schedule up to there, and how to replay it."""
    broken = outcome.broken()
    log = outcome.life.get("log", "").splitlines()[-LOG_LINES:]
    return "\n".join(
        [
            f"{outcome.backend}, seed {outcome.seed}:",
            *broken[:SHOWN],
            *([f"... and {len(broken) - SHOWN} more"] if len(broken) > SHOWN else []),
            "to replay it: put these lines into a file and set INTERCEPTOR_CHAOS_SCHEDULE to it,",
            f"INTERCEPTOR_CHAOS_BACKEND={outcome.backend} and "
            f"INTERCEPTOR_CHAOS_SEED={outcome.seed}",
            schedule.encode(outcome.done),
            "what each fault allowed:",
            outcome.story,
            "the agent's last words:",
            *log,
        ]
    )
