"""What the demo changes in the mesh's documents while calls are being made."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from interceptor.lab import caller
from interceptor.lab.agent import Agent
from interceptor.lab.caller import Call
from interceptor.lab.demo_call import Deviation
from interceptor.lab.removal import wait_until

WEIGHTED = "http://ratings.mesh.internal:9080/"
SHARE, TOLERANCE = 0.80, 0.08
BALANCED = "http://reviews.bookinfo.svc.cluster.local:9080/"
MOVE_S = 1.0
WRONG = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: broken, namespace: bookinfo}
spec:
  hosts: [broken.example]
  ports: [{number: 99999, name: http}]
"""


def call_for(agent: Agent, url: str, seconds: float) -> tuple[Call, ...]:
    """Calls over a new connection each, one after the other, made on the agent's host."""
    argv = [sys.executable, "-m", caller.__name__, url, str(seconds)]
    log = f"caller-{time.monotonic_ns()}"
    agent.lab.start(agent.host, argv, log).wait(seconds + 20)
    return caller.decode(agent.lab.log(agent.host, log))


def weights(agent: Agent) -> Iterator[str]:
    """The share that each endpoint of a weighted service gets."""
    calls = call_for(agent, WEIGHTED, 2)
    _expect_no_failure(calls)
    counts = Counter(call.answer for call in calls)
    share = counts["ratings-v1"] / len(calls)
    if abs(share - SHARE) > TOLERANCE:
        raise Deviation(f"ratings-v1 got {share:.0%} of {len(calls)} calls, and not {SHARE:.0%}")
    yield f"{len(calls)} calls: " + ", ".join(
        f"{k} {n / len(calls):.1%}" for k, n in counts.items()
    )


def removal(agent: Agent) -> Iterator[str]:
    """One of two endpoints leaves the YAML while calls go on without a pause."""
    argv = [sys.executable, "-m", caller.__name__, BALANCED, "4"]
    process = agent.lab.start(agent.host, argv, "caller")

    def made() -> tuple[Call, ...]:
        return caller.decode(agent.lab.log(agent.host, "caller"))

    wait_until(lambda: len({call.answer for call in made()}) == 2, "both endpoints answering")
    file = agent.mesh / "bookinfo.yaml"
    text = file.read_text()
    changed_s = time.monotonic()
    replace(file, without_v2(text))
    process.wait(20)
    calls = made()
    _expect_no_failure(calls)
    last = max(call.at_s for call in calls if call.answer == "reviews-v2") - changed_s
    after = sum(call.at_s > changed_s for call in calls)
    if last > MOVE_S:
        raise Deviation(f"reviews-v2 was called {last:.2f} s after it had left the mesh")
    yield f"reviews-v2 left the YAML; its last call was {max(last, 0) * 1000:.0f} ms later"
    yield f"{len(calls)} calls, {after} of them after the change, none failed"
    replace(file, text)


def replace(file: Path, text: str) -> None:
    """Renamed into place, as a careful writer does it; never seen half-written."""
    part = file.with_name(f".{file.name}.part")
    part.write_text(text)
    part.rename(file)


def without_v2(text: str) -> str:
    """The demo's bookinfo document without the endpoint of reviews-v2."""
    start = text.index('  - addresses: ["10.77.0.51"]')
    return text[:start] + text[text.index("---", start) :]


def wrong(agent: Agent) -> Iterator[str]:
    """A document with an impossible port: the table stays, and status says what is wrong."""
    before = agent.read("status")
    file = agent.mesh / "wrong.yaml"
    file.write_text(WRONG)
    wait_until(lambda: "99999" in agent.run("status", "--json", check=False).stdout, "its report")
    status = agent.read("status")
    calls = call_for(agent, BALANCED, 0.5)
    _expect_no_failure(calls)
    if _hosts(before) != _hosts(status):
        raise Deviation(f"the table changed: {before} and then {status}")
    yield f"status: {problem_of(status)}"
    yield f"{len(calls)} calls meanwhile, none failed"
    file.unlink()
    wait_until(lambda: "99999" not in agent.run("status", "--json").stdout, "an end of the report")


def _hosts(status: dict[str, object]) -> object:
    table = status.get("table")
    return table.get("hosts") if isinstance(table, dict) else None


def problem_of(tree: object) -> str:
    """The first text in a status tree that tells of the wrong port."""
    if isinstance(tree, dict):
        if "legal" in tree and "99999" in str(tree.get("value")):
            return " ".join(str(value) for value in tree.values() if value)
        tree = list(tree.values())
    if isinstance(tree, list):
        return next(filter(None, map(problem_of, tree)), "")
    return tree if isinstance(tree, str) and "99999" in tree else ""


def _expect_no_failure(calls: tuple[Call, ...]) -> None:
    failed = caller.failures(calls)
    if failed or not calls:
        raise Deviation(f"{len(failed)} of {len(calls)} calls failed: {failed[:3]}")
