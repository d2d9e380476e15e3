"""Hosts whose mesh is broken in every way that documents and settings can break it, and what
`explain` says there."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from interceptor.host import command
from interceptor.lab import agent as lab_agent
from interceptor.lab import description
from interceptor.lab.agent import Agent
from interceptor.lab.description import World
from interceptor.lab.world import PACKAGE_ROOT, Lab

DOCUMENTS = Path(__file__).parents[1] / "data" / "broken" / "mesh.yaml"
UID, SPARED = 1000, 4242
WELL = "spared.mesh.internal:9080"
SERVED = "200 OK"

BREAKS: tuple[tuple[str, str, str], ...] = (
    # what is asked, the cause, what `explain` has to say of it
    ("http cart:9080", "wrong-namespace", "namespace bookinfo has no cart; namespace store has"),
    ("http reveiws:9080", "name-typo", "reviews.bookinfo.svc.cluster.local is"),
    ("http empty:9080", "no-endpoint", "nobody serves empty.bookinfo.svc.cluster.local"),
    ("http down.mesh.internal:9080 --probe", "all-endpoints-down", "every endpoint of down"),
    ("http spared.mesh.internal:9999", "excluded-port", "excluded outbound port (9999)"),
    (f"http {WELL} --uid {SPARED}", "excluded-uid", f"(uid {SPARED}"),
    ("http shop.shade.example:9080 --probe", "wildcard-shadowing", "*.shade.example answers"),
    ("http six.mesh.internal:9080", "ipv6-only-endpoint", "this VM has no IPv6 way there"),
    ("tcp clash-b.mesh.internal:5000", "vip-clash", "clash-a.mesh.internal has it"),
    ("http misnamed.mesh.internal:7000 --probe", "wrong-port-name", "is HTTP by its name"),
    ("http misnamed.mesh.internal:9080", "wrong-port-name", "is TCP by its name 'mysql'"),
)
"""The six others need something done to the host, and have a test each."""

SOUND = (
    "http cart.store:9080",
    "http reviews:9080 --probe",
    f"http {WELL} --probe --uid {UID}",
    "tcp misnamed.mesh.internal:7001 --probe",
    "tcp clash-b.mesh.internal:5001 --probe",
    "http details:9080 --probe",
    "http any.shade.example:9080 --probe",
    "tcp www.corp.example:80 --probe",
    "udp 10.77.0.53:53 --probe",
)
"""The same hosts, called as they should be."""


# Several questions to one process: what is asked is the same, and starting it takes longest.
MANY = """
import contextlib, io, json, sys
from interceptor.cli import group
said = []
for argv in json.loads(sys.argv[1]):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        group.call(argv)
    said.append(out.getvalue())
print(json.dumps(said))
"""


@dataclass(frozen=True, slots=True)
class Told:
    """What `explain --json` said: each finding's cause, the first one's sentence and evidence."""

    causes: tuple[str, ...]
    why: str
    evidence: str
    next: str
    text: str


def explain(agent: Agent, *words: str) -> Told:
    return next(iter(explain_all(agent, [" ".join(words)]).values()))


def explain_all(agent: Agent, every: Iterable[str]) -> dict[str, Told]:
    """Each of the command lines, as user 1000 where none is named, with what was said to it."""
    lines = list(every)
    argvs = [_argv(agent, line) for line in lines]
    words = ["env", f"PYTHONPATH={PACKAGE_ROOT}", sys.executable, "-c", MANY, json.dumps(argvs)]
    said = json.loads(agent.lab.run(agent.host, words, timeout_s=120).stdout)
    return {line: _told(text) for line, text in zip(lines, said, strict=True)}


def _argv(agent: Agent, line: str) -> list[str]:
    uid = [] if "--uid" in line else ["--uid", str(UID), "--gid", str(UID)]
    return ["explain", *line.split(), *uid, "--json", "--config", str(agent.config)]


def _told(text: str) -> Told:
    findings = cast("list[dict[str, object]]", json.loads(text)["findings"])
    first = findings[0] if findings else {}
    return Told(
        tuple(str(each["cause"]) for each in findings),
        str(first.get("why", "")),
        "\n".join(cast("list[str]", first.get("evidence", []))),
        str(first.get("next", "")),
        text,
    )


def curl(agent: Agent, url: str, uid: int = UID, *words: str) -> str:
    """The status line of a call as that user; what curl says of it where there is none."""
    argv = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    argv += ["curl", "-sS", "-I", "-m", "2", *words, f"http://{url}/"]
    done = agent.lab.run(agent.host, argv, check=False)
    return done.stdout.partition("\n")[0].strip() or done.stderr.strip()


def world() -> World:
    """The demo's, whose server knows one more name: the one that a wildcard hides."""
    made = description.default()
    record = "host-record=shop.shade.example,10.77.0.61"
    hosts = tuple(
        dataclasses.replace(host, records=(*host.records, record)) if host.records else host
        for host in made.hosts
    )
    return dataclasses.replace(made, hosts=hosts)


@contextmanager
def open_broken(backend: str) -> Iterator[Agent]:
    with Lab.open(world()) as lab:
        # The VM has IPv6 on its own segment, and no way beyond.
        command.run(["ip", "-n", lab.namespace("vm"), "-6", "route", "del", "default"])
        over = {
            "capture": {
                "backend": backend,
                "outbound": {"exclude_ports": [9999]},
                "owners": {"exclude_uids": [SPARED]},
            }
        }
        one = lab_agent.prepare(lab, "vm", over)
        (one.mesh / "broken.yaml").write_text(DOCUMENTS.read_text())
        try:
            one.start(timeout_s=90)
            yield one
        finally:
            one.stop()
