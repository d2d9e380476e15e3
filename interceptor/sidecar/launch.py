"""How Envoy is started, as a value, and the record by which it is found again. PURE."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from interceptor.config import Config

FOLDER = "sidecar"
DRAIN_S = 600  # how long a removed service's connections may go on


@dataclass(frozen=True, slots=True)
class Files:
    """Where the sidecar's files are. ``folder`` is open to the sidecar's group, nobody else;
    ``admin`` is a socket that Envoy makes, in a folder where it may. By ``socket`` it gets its
    configuration, by ``sds`` its certificates."""

    folder: Path
    bootstrap: Path
    socket: Path
    sds: Path
    admin: Path
    record: Path
    log: Path


def files(run_dir: Path) -> Files:
    """The sidecar's files below the daemon's run_dir."""
    folder = run_dir / FOLDER
    return Files(
        folder=folder,
        bootstrap=folder / "bootstrap.json",
        socket=folder / "xds.sock",
        sds=folder / "sds.sock",
        admin=folder / "admin" / "sock",
        record=run_dir / "sidecar.pid",
        log=run_dir / "sidecar.log",
    )


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that makes one Envoy. Two that are equal need no restart between them.

    ``stamp`` stands for the binary's content (its size and time), so that an
    upgraded Envoy is another one. ``join`` are the words in front of the
    command that put it in its cgroup, as root, before it becomes its user.
    """

    binary: Path
    stamp: str
    bootstrap: str
    arguments: tuple[str, ...]
    uid: int
    gid: int
    net_admin: bool = False
    join: tuple[str, ...] = ()
    readiness_port: int = 15021

    @property
    def needs_root(self) -> bool:
        """Whether the command changes the user by itself, once it has done what root may."""
        return self.net_admin or bool(self.join)

    @property
    def digest(self) -> str:
        """Eight bytes of a hash over all of it, in hex."""
        parts = (
            str(self.binary),
            self.stamp,
            self.bootstrap,
            *self.arguments,
            f"{self.uid}:{self.gid}:{self.net_admin}",
            *self.join,
        )
        return blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Record:
    """Which process is the sidecar. ``start_ticks`` (field 22 of /proc/PID/stat) tells it
    from a later process of the same pid."""

    pid: int
    start_ticks: int
    digest: str


def build(
    config: Config, binary: Path, stamp: str, bootstrap: str, join: tuple[str, ...] = ()
) -> Launch:
    """The launch that ``config`` asks for."""
    return Launch(
        binary=binary,
        stamp=stamp,
        bootstrap=bootstrap,
        arguments=_arguments(config),
        uid=config.sidecar.uid,
        gid=config.sidecar.gid,
        net_admin=config.capture.inbound.mode == "tproxy",
        join=join,
        readiness_port=config.sidecar.readiness_port,
    )


def _arguments(config: Config) -> tuple[str, ...]:
    """Envoy's flags. Removed listeners tell HTTP clients at the next response (immediate) and
    leave other connections alone for DRAIN_S."""
    flags = [
        "--config-path",
        str(files(config.agent.run_dir).bootstrap),
        "--disable-hot-restart",
        "--drain-strategy",
        "immediate",
        "--drain-time-s",
        str(DRAIN_S),
        "--file-flush-interval-msec",
        "1000",
        "--log-level",
        config.sidecar.log_level,
    ]
    if config.sidecar.concurrency:
        flags += ["--concurrency", str(config.sidecar.concurrency)]
    return tuple(flags)


def render(launch: Launch, program: str) -> tuple[str, ...]:
    """The command line. ``program`` is the path by which the binary is executed.

    With TPROXY Envoy needs one capability, which setpriv leaves it as it
    changes the user.
    """
    if not launch.needs_root:
        return (program, *launch.arguments)
    capability = "+net_admin" if launch.net_admin else "-all"
    return (
        *launch.join,
        "setpriv",
        f"--reuid={launch.uid}",
        f"--regid={launch.gid}",
        "--clear-groups",
        f"--inh-caps={capability}",
        f"--ambient-caps={capability}",
        "--",
        program,
        *launch.arguments,
    )


def encode(record: Record) -> str:
    """The record as it is kept in a file."""
    return json.dumps(
        {"pid": record.pid, "start_ticks": record.start_ticks, "digest": record.digest}
    )


def decode(text: str) -> Record | None:
    """The record of a file's text; None for anything else."""
    try:
        tree = json.loads(text)
        return Record(int(tree["pid"]), int(tree["start_ticks"]), str(tree["digest"]))
    except (ValueError, KeyError, TypeError):
        return None


def decode_start_ticks(stat: str) -> int:
    """Field 22 of /proc/PID/stat (proc(5)): clock ticks from boot to start.

    The second field is the program's name in parentheses and may hold anything,
    so counting starts behind its last parenthesis. A zombie counts as gone: -1.
    """
    fields = stat.rpartition(")")[2].split()
    return -1 if fields[0] in ("Z", "X") else int(fields[19])
