"""This VM's entry where the mesh is made of files: kept in ``workload.entry``, so that other
members find it and send their calls here while it is fit."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import structlog

from interceptor.config import Config
from interceptor.host import atomic
from interceptor.mesh.model import Address, WorkloadGroup
from interceptor.workload import entry
from interceptor.workload.entry import Fitness

log = structlog.get_logger(__name__)

MODE = 0o644  # nothing in it is secret, and members may read it over a network file system
MARK = "workload-healthy"
"""In agent.run_dir, which a reboot empties: that this service was fit when last looked at."""

READ = (".yaml", ".yml", ".json")  # as source.files has it
NOT_PROBED = Fitness()


@dataclass(frozen=True, slots=True)
class Facts:
    """What an entry is made of besides the configuration."""

    group: WorkloadGroup | None = None
    address: Address | None = None
    fitness: Fitness = NOT_PROBED
    is_secure: bool = False


def hindrance(path: Path, error: OSError) -> str:
    """Why the entry is not in its file, and what to do."""
    why = f"{path}: {error.strerror or error}"
    if error.errno != errno.EROFS:
        return why
    folder = path.parent
    return f"{why}; with systemd: `systemctl edit interceptor`, [Service] ReadWritePaths={folder}"


def missing(config: Config, facts: Facts) -> str:
    """Why there can be no entry, and what to do; empty where there can."""
    where = f"{config.node.namespace}/{config.workload.group}"
    path = config.workload.entry
    if path is not None and path.suffix not in READ:
        return f"workload.entry {path}: members read files of {', '.join(READ)} only; rename it"
    if not config.workload.group:
        return "workload.group is empty: name the WorkloadGroup that this VM's entry is made from"
    if facts.group is None:
        return (
            f"no document of mesh.files is WorkloadGroup {where}: add it, or set workload.group "
            "and node.namespace to one that is there"
        )
    if facts.address is None:
        return "this VM has no address that others could call: set node.addresses"
    return ""


def advise(config: Config, error: str) -> str:
    """What to do about a refusal of istiod's that concerns the registration; empty for others.
    istiod ends the stream of a member whose group it does not have (FAILED_PRECONDITION), or
    whose certificate or token is another's than the group's (PERMISSION_DENIED)."""
    node, group = config.node, config.workload.group
    if not group:
        return ""
    if "FAILED_PRECONDITION" in error:
        return (
            f"istiod does not know WorkloadGroup {node.namespace}/{group}: create it there "
            f"(`interceptor workload group create`), or set workload.group and node.namespace to "
            f"one that is there; it said: {error}"
        )
    if "PERMISSION_DENIED" in error:
        return (
            f"istiod does not let this VM register with WorkloadGroup {node.namespace}/{group}: "
            f"token and certificate must be of its namespace and service account "
            f"(node.service_account is {node.service_account}); it said: {error}"
        )
    return ""


def build(config: Config, facts: Facts) -> str:
    """The entry's text; empty where there can be none."""
    path = config.workload.entry
    if facts.group is None or facts.address is None or path is None:
        return ""
    document = entry.build(
        config.node, facts.group, facts.address, facts.fitness, is_secure=facts.is_secure
    )
    return entry.render(document, as_json=path.suffix == ".json")


class Registration:
    """The file. Every method blocks on the disk."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._path = config.workload.entry
        self._mark = config.agent.run_dir / MARK
        self.name = ""
        self.problem = ""
        self.written = 0

    def was_healthy(self) -> bool:
        """Whether an agent before this one, since the last boot, left the service fit."""
        return self._mark.exists()

    def apply(self, facts: Facts) -> None:
        """Have the entry as ``facts`` say. Where there can be none, what is there stays: a group
        that is lost for a moment must not cost a service its calls. Raises OSError."""
        self.problem = missing(self._config, facts)
        text = build(self._config, facts)
        if self._path is None or not text or facts.group is None or facts.address is None:
            return
        network = self._config.node.network or facts.group.network
        self.name = entry.name_of(facts.group.name, facts.address, network)
        if facts.fitness.is_healthy:
            self._mark.touch()
        else:
            self._mark.unlink(missing_ok=True)
        if _read(self._path) != text:
            _write(self._path, text)
            self.written += 1
            log.info("registered", entry=self.name, healthy=facts.fitness.is_healthy)

    def revert(self) -> None:
        """Take the entry back, so that nobody sends calls here any more. Raises OSError."""
        if self._path is not None and entry.GROUP_NOTE in _read(self._path):
            self._path.unlink(missing_ok=True)
            log.info("deregistered", entry=self.name)
        self._mark.unlink(missing_ok=True)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def _write(path: Path, text: str) -> None:
    def write(file: BinaryIO) -> None:
        os.fchmod(file.fileno(), MODE)
        file.write(text.encode())

    atomic.replace(path, write)
