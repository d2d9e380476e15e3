"""What has to be there before the ebpf back end: pins, maps, the agent's cgroup.

The DNS worker publishes into the maps, and sidecar and worker are put in the
cgroup: both before the first plan is applied.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from interceptor.capture.backend import Choice
from interceptor.capture.ebpfstep import Sites
from interceptor.capture.journal import Journal
from interceptor.capture.step import Command, Step
from interceptor.config import Config
from interceptor.errors import InterceptorError
from interceptor.host import cgroup, pin, probe
from interceptor.host.bpfmap import BpfMap
from interceptor.host.layout import Map

AGENT = "interceptor"
"""The agent's cgroup where the daemon itself is in none of its own."""
PATIENCE_S, PAUSE_S = 2.0, 0.02


def choose(config: Config, choice: Choice) -> Sites:
    """Where the back end lives on this host. Raises Unsupported without cgroup2, if it is used."""
    if "ebpf" not in (choice.tcp, choice.dns):
        return Sites(config.capture.bpf_dir)
    mount = cgroup.root()
    agent = agent_path(config, cgroup.of())
    return Sites(
        config.capture.bpf_dir,
        cgroup.folder(config.capture.cgroup, mount),
        cgroup.folder(agent, mount),
        # We put it there ourselves; where somebody else's Envoy is, nobody knows.
        confines=config.sidecar.mode == "managed",
    )


def agent_path(config: Config, own: str) -> str:
    """The cgroup of sidecar and DNS worker. ``own``: the daemon's, ``/`` or empty for the root.

    The daemon's, unless applications live there as well.
    """
    if config.agent.cgroup:
        return config.agent.cgroup
    captured, own = (f"/{path.strip('/')}".rstrip("/") for path in (config.capture.cgroup, own))
    if own.startswith(f"{captured}/"):
        return own
    return f"{captured}/{AGENT}"


@contextmanager
def named() -> Iterator[None]:
    """Whatever the kernel refuses becomes an error of ours."""
    try:
        yield
    except OSError as error:
        raise InterceptorError(f"back end ebpf: {error}") from error


def prepare(sites: Sites, journal: Journal) -> dict[Map, BpfMap]:
    """Make what is missing, and open the maps: the caller's to close. Raises InterceptorError.

    The pins are taken away by the back end's `revert`, the cgroup by `dismiss`.
    """
    with named():
        make_cgroup(sites, journal)
        pin.prepare(sites.bpf_dir)
        return pin.open_maps(sites.bpf_dir)


def make_cgroup(sites: Sites, journal: Journal) -> None:
    """The agent's cgroup, if it is not there. Raises OSError."""
    if not sites.agent.exists():
        journal.record([_step(sites.agent)])
        cgroup.create(sites.agent)


def _step(agent: Path) -> Step:
    why = "a cgroup for sidecar and DNS worker, by which the programs know them"
    undo = Command(("rmdir", str(agent)), tolerant=True)
    return Step(why, Command(("mkdir", str(agent))), (undo,))


def remains(config: Config, journal: Journal) -> tuple[Path, ...]:
    """Cgroups of our making that may be there: by the journal, and where this one would be."""
    made = [Path(item.argv[-1]) for item in journal.read() if item.argv[0] == "rmdir"]
    mount = probe.cgroup_mount()
    if mount:
        made.append(cgroup.folder(config.capture.cgroup, Path(mount)) / AGENT)
    return tuple(folder for folder in dict.fromkeys(made) if folder.is_dir())


def dismiss(agent: Path, patience_s: float = PATIENCE_S) -> bool:
    """Remove an agent's cgroup, if it is of our making, once nobody is left in it: a worker
    whose daemon was killed may be ending still. Whether it is gone by us."""
    if agent.name != AGENT:
        return False
    end_s = monotonic() + patience_s
    while not (removed := cgroup.remove(agent)) and monotonic() < end_s and agent.is_dir():
        sleep(PAUSE_S)
    return removed
