"""What `interceptor trace` costs: while nobody listens, against a build without it; and on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from interceptor.lab import description
from interceptor.lab.agent import Agent
from interceptor.lab.bench import dns, load, member, meter, peer
from interceptor.lab.bench.meter import Figures, Rounds, Row, Variant, at_most
from interceptor.lab.bench.part import BACKENDS, Chart, Part, Session
from interceptor.lab.description import Host, World
from interceptor.lab.removal import LabFailed, wait_until
from interceptor.lab.world import PACKAGE_ROOT, Lab

NAMES = 1000
MOST = ("--rate", "20000")  # what a listener may ask for
WAIT_S = 30
METRICS_URL = "http://127.0.0.1:15020/metrics"
LISTENERS = "interceptor_trace_listeners"
HOOKS = {
    "dns/nfqueue.py": ("self._judge(packet)", "self._decide(packet)", 2),
    "dns/handover.py": ("self._judge(record)", "self._take(record)", 1),
}
"""File → what a packet passes for the trace's sake, what stood there before, how often."""

FIGURES = {
    "many_cpu_us": f"CPU µs a query, {dns.WINDOW} in flight, everything on the host together",
    "one_cpu_us": "the same, one in flight",
    "one_p50_us": "µs from query to answer, one in flight, median",
    "many_per_s": f"answers a second, {dns.WINDOW} in flight",
}


def bare(backend: str) -> str:
    """The variant of that back end without the hook, and its host."""
    return f"{backend}-bare"


def traced(backend: str) -> str:
    """The variant that is listened to as `interceptor trace` does, on the host of the plain one."""
    return f"{backend}, traced"


def told(backend: str) -> str:
    """The variant that is listened to for all that there is."""
    return f"{backend}, all told"


def world() -> World:
    """A host for each daemon, all asking the same upstream."""
    names = (*BACKENDS, *map(bare, BACKENDS))
    hosts = (
        Host(name, description.pair(10 + number), namespace="bench")
        for number, name in enumerate(names)
    )
    return World(
        description.pair(1), (*hosts, Host("upstream", description.pair(53))), (dns.UPSTREAM,)
    )


def strip(text: str, file: str) -> str:
    """A module's text without the hook. Raises LabFailed where it is not there as expected."""
    hook, before, times = HOOKS[file]
    if text.count(hook) != times:
        raise LabFailed(f"{file}: {hook} stands there {text.count(hook)} times, not {times}")
    return text.replace(hook, before)


def build_bare(folder: Path) -> Path:
    """A copy of this package without the hook. Returns what to put on PYTHONPATH."""
    copy = folder / "bare"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE_ROOT / "interceptor", copy / "interceptor", ignore=ignored)
    for file in HOOKS:
        path = copy / "interceptor" / file
        path.write_text(strip(path.read_text(), file))
    return copy


def open_variants(session: Session, lab: Lab) -> tuple[Variant, ...]:
    """Start every daemon, and give what to measure."""
    count = min(NAMES, session.amount.many_names)
    text = member.render_nametable(peer.names(count))
    copy = build_bare(session.folder)
    dns.start_peer(lab, "upstream", "nsd", (dns.UPSTREAM, 53), 0)
    measure = partial(_measure, session, lab, count)
    variants = []
    for name in session.backends:
        one, _ = member.with_names(lab, name, text)
        if not member.start(session, one, name):
            continue
        other, _ = member.with_names(lab, bare(name), text)
        argv = ["env", f"PYTHONPATH={copy}", *other.argv("run", "--backend", name)]
        other.process = lab.start(other.host, argv, "agent", detached=True)
        if not member.settle(session, other, name):
            continue
        for host in (one.host, other.host):
            dns.await_answer(lab, host, dns.UPSTREAM, *peer.names(count)[-1])
        variants += [
            Variant(name, partial(measure, one.host)),
            Variant(bare(name), partial(measure, other.host)),
            Variant(traced(name), partial(_measure_traced, measure, one)),
            Variant(told(name), partial(_measure_traced, measure, one, *MOST)),
        ]
    return tuple(variants)


def _measure(session: Session, lab: Lab, names: int, host: str) -> Figures:
    def ask(total: int, window: int) -> dict[str, float]:
        words = ("dns", dns.UPSTREAM, peer.PATTERN, names, total, window)
        return load.measure(lab, host, session.load, words)

    one, many = ask(session.amount.queries, 1), ask(session.amount.queries * 4, dns.WINDOW)
    return {
        "many_cpu_us": many["cpu_us"],
        "one_cpu_us": one["cpu_us"],
        "one_p50_us": one["p50_us"],
        "many_per_s": many["per_s"],
    }


def _measure_traced(measure: partial[Figures], one: Agent, *words: str) -> Figures:
    with listening(one, *words):
        return measure(one.host)


@contextmanager
def listening(one: Agent, *words: str) -> Iterator[None]:
    """Somebody listens to everything on the agent's own host, and throws it away."""
    # What is stopped has to be the listener itself: a pipe's shell would leave it behind.
    argv = ["sh", "-c", 'exec "$@" >/dev/null', "sh", *one.argv("trace")]
    listener = one.lab.start(one.host, [*argv, "--json", *words], "trace", detached=True)
    try:
        wait_until(lambda: listeners(one) == 1, f"the trace on {one.host}", WAIT_S)
        yield
    finally:
        listener.stop()
        wait_until(lambda: listeners(one) == 0, f"the end of the trace on {one.host}", WAIT_S)


def listeners(one: Agent) -> int:
    """How many listen, by the agent's own word."""
    page = one.lab.run(one.host, ["curl", "--silent", METRICS_URL]).stdout
    lines = (line.split() for line in page.splitlines() if line.startswith(LISTENERS))
    return int(float(next(lines)[1]))


def run(session: Session) -> Rounds:
    """The whole comparison, in a lab of its own."""
    with Lab.open(world()) as lab:
        return meter.alternate(open_variants(session, lab), session.amount.rounds, session.say)


def build_rows() -> Sequence[Row]:
    """Off against a build without; on against off, to be seen."""
    rows = []
    for name in BACKENDS:
        rows += [
            Row("trace off, CPU per query", "many_cpu_us", name, bare(name), at_most(1.02)),
            Row("trace off, p50", "one_p50_us", name, bare(name), at_most(1.02)),
            Row("trace on, CPU per query", "many_cpu_us", traced(name), name),
            Row("trace on, p50", "one_p50_us", traced(name), name),
            Row("trace on, answers/s", "many_per_s", traced(name), name),
            Row("all told, CPU per query", "many_cpu_us", told(name), name),
        ]
    return rows


ABOUT = f"""\
Each daemon is on a host of its own. `-bare` is the same program without the hook that a trace
swaps in: what a packet pays while nobody listens is the ratio of the two. Traced means that one
`interceptor trace --json` listens on the same host and is thrown away there; its CPU time counts,
as do the daemon's and the worker's. It is told 1,000 queries a second, with `{" ".join(MOST)}`
(all told) so many; of the others it is told how many they were.
"""

PARTS = (
    Part(
        "trace",
        "Trace: off and on",
        ABOUT,
        run,
        tuple(build_rows()),
        FIGURES,
        (Chart("CPU per mesh query, trace off and on", "many_cpu_us", "µs"),),
    ),
)
