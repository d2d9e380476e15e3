"""A unit of systemd, asked and told by systemctl(1)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from interceptor.host import command
from interceptor.host.command import Completed

RUNNING = Path("/run/systemd/system")
"""There where systemd is the first process (sd_booted(3))."""
FOLDERS = (
    "etc/systemd/system",
    "run/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
)
ORDER_LIMIT_S = 150.0  # a unit's own TimeoutStartSec= and TimeoutStopSec= end it sooner


@dataclass(frozen=True, slots=True)
class Unit:
    """What systemd knows of it. ``file`` is its UnitFileState: enabled, disabled, static, ..."""

    name: str
    is_there: bool
    file: str
    active: str

    @property
    def is_active(self) -> bool:
        return self.active in ("active", "activating", "reloading")

    @property
    def is_enabled(self) -> bool:
        return self.file.startswith("enabled")


def is_running() -> bool:
    """Whether systemd runs here."""
    return RUNNING.is_dir()


def decode(name: str, text: str) -> Unit:
    """What `systemctl show` prints."""
    found = dict(line.partition("=")[::2] for line in text.splitlines())
    is_there = found.get("LoadState") not in (None, "", "not-found")
    return Unit(name, is_there, found.get("UnitFileState", ""), found.get("ActiveState", ""))


def observe(name: str) -> Unit:
    """Nothing is there where systemctl cannot say."""
    argv = ["systemctl", "show", "--property=LoadState,UnitFileState,ActiveState", name]
    return decode(name, command.run(argv, check=False).stdout)


def observe_image(name: str, root: Path) -> Unit:
    """The same of a tree that is not booted."""
    is_there = any((root / folder / name).exists() for folder in FOLDERS)
    argv = ["systemctl", f"--root={root}", "is-enabled", name]
    state = command.run(argv, check=False).stdout.strip() if is_there else ""
    return Unit(name, is_there, state, "inactive")


def apply(
    verb: str, name: str = "", root: Path = Path("/"), limit_s: float = ORDER_LIMIT_S
) -> Completed:
    """Give systemctl an order, and wait until it is done. Its failure is the caller's to judge."""
    image = [] if root == Path("/") else [f"--root={root}"]
    argv = ["systemctl", "--quiet", *image, verb, *([name] if name else [])]
    return command.run(argv, timeout_s=limit_s, check=False)


def read_journal(name: str, lines: int = 15) -> str:
    """The last it said; empty where there is no journal."""
    argv = ["journalctl", f"--unit={name}", f"--lines={lines}", "--output=cat", "--no-pager"]
    return command.run(argv, check=False).stdout
