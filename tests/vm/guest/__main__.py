"""What `scripts/vm` does beyond the tree: prepare, up, ssh, down.

The machine of `up` outlives this program; a file in the cache says where it is.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from tests.vm.guest import setup
from tests.vm.guest.machine import Machine


def state_file() -> Path:
    return setup.cache() / "up"


def prepare() -> None:
    """Make the snapshot, unless it is there; tell how long each step took."""
    started = time.monotonic()
    saved = setup.open_saved()
    took_s = time.monotonic() - started
    print(f"vm: {saved.disk}: {took_s:.0f} s; when it was made: {saved.record.times()}")


def up() -> None:
    if state_file().exists():
        sys.exit("vm: there is one: scripts/vm ssh, scripts/vm down")
    machine = setup.open_saved().open()
    machine.leave()
    state = {"pid": machine.emulator.pid, "folder": str(machine.folder), "ssh": machine.ssh_argv}
    state_file().write_text(json.dumps(state))
    print(f"vm: up: ssh on port {machine.port} of 127.0.0.1; scripts/vm ssh [COMMAND]")


def read_state() -> dict[str, str]:
    try:
        state: dict[str, str] = json.loads(state_file().read_text())
    except FileNotFoundError:
        sys.exit("vm: there is none: scripts/vm up")
    return state


def ssh(words: list[str]) -> None:
    argv = [*read_state()["ssh"], *words]
    os.execvp(argv[0], argv)


def down() -> None:
    state = read_state()
    Machine.remove(int(state["pid"]), Path(state["folder"]), signal.SIGTERM)
    state_file().unlink()


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    if verb == "ssh":
        ssh(rest)
    else:
        {"prepare": prepare, "up": up, "down": down}[verb]()
