"""Runs on a host of the lab: makes one fault, and sees how soon everything is as it should be.

In one process there, so that what is measured is the daemon and not how long it takes to enter
the host. Reads a JSON object and prints one. ``fault`` is a shell script; ``looks`` one whose
output has to be again what it was before, or ``until`` one that has to succeed; ``asks`` a server
that has to be asked for a mesh name then, with an answer, ``name`` which. ``harm``: whether
anything was different after the fault;
``back_s``: from the beginning of the fault until the end of the look that showed all in order, an
answer included; null where it was not within ``patience_s``.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable

ANSWER = socket.inet_aton("10.96.0.11")
ASK_S = 0.2

# What moves though nothing is different: counters, and numbers that the kernel gives anew.
_MOVING = (
    (re.compile(r"packets \d+ bytes \d+"), "packets 0 bytes 0"),
    (re.compile(r" id \d+"), " id 0"),
    (re.compile(r"^Size in memory: \d+", re.MULTILINE), "Size in memory: 0"),
    (re.compile(r"(bucketsize|initval) \S+"), r"\1 0"),
    (re.compile(r"(valid|preferred)_lft \S+"), r"\1_lft 0"),
)


def still(text: str) -> str:
    """``text`` without what moves by itself, in order where there is none."""
    for pattern, instead in _MOVING:
        text = pattern.sub(instead, text)
    if "Members:" in text or text.startswith("/sys/fs/bpf"):
        text = "\n".join(sorted(text.splitlines()))
    return text


def shell(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-uc", script], capture_output=True, text=True, check=False)


def is_answered(server: str, name: str) -> bool:
    """Whether the mesh answers a query to ``server`` (RFC 1035, 4.1: type A, class IN)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(ASK_S)
        asking.connect((server, 53))
        try:
            asking.send(query)
            return ANSWER in asking.recv(4096)
        except OSError:
            return False


def condition(task: dict[str, str]) -> Callable[[], bool]:
    """Whether all is in order."""
    before = still(shell(task["looks"]).stdout)

    def is_in_order() -> bool:
        if task["until"] and shell(task["until"]).returncode != 0:
            return False
        if task["looks"] and still(shell(task["looks"]).stdout) != before:
            return False
        return not task["asks"] or is_answered(task["asks"], task["name"])

    return is_in_order


def main() -> None:
    task = json.load(sys.stdin)
    is_in_order = condition(task)
    began_s = time.monotonic()
    shell(task["fault"])
    told: dict[str, object] = {"back_s": None, "harm": not is_in_order()}
    while time.monotonic() - began_s < task["patience_s"]:
        if is_in_order():
            told["back_s"] = time.monotonic() - began_s
            break
        time.sleep(0.02)
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
