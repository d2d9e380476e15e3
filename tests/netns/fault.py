"""Runs on a host of the lab: makes one fault, and sees how soon everything is as it was.

In one process there, so that what is measured is the daemon and not how long it takes to enter
the host. Reads a JSON object (``fault`` and ``looks``: shell scripts, ``patience_s``) and prints
one: ``harm`` whether anything was different after the fault, ``back_s`` from the beginning of the
fault until the end of the look that showed all as before, ``answered_s`` until a mesh name was
answered after that; null where that did not come.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time

DIG = "dig +short +tries=1 +time=1 @10.77.0.53 reviews.bookinfo.svc.cluster.local"
ANSWER = "10.96.0.11"

# What moves though nothing is different: counters, and numbers that the kernel gives anew.
_MOVING = (
    (re.compile(r"packets \d+ bytes \d+"), "packets 0 bytes 0"),
    (re.compile(r" id \d+"), " id 0"),
    (re.compile(r"^Size in memory: \d+", re.MULTILINE), "Size in memory: 0"),
    (re.compile(r"(bucketsize|initval) \S+"), r"\1 0"),
    (re.compile(r"(valid|preferred)_lft \S+"), r"\1_lft 0"),
)


def still(text: str) -> str:
    """``text`` without what moves by itself, and in an order where there is none."""
    for pattern, instead in _MOVING:
        text = pattern.sub(instead, text)
    if "Members:" in text or text.startswith("/sys/fs/bpf"):
        text = "\n".join(sorted(text.splitlines()))
    return text


def shell(script: str) -> str:
    done = subprocess.run(["sh", "-uc", script], capture_output=True, text=True, check=False)
    return done.stdout


def main() -> None:
    task = json.load(sys.stdin)
    looks = task["looks"]
    before = still(shell(looks))
    began_s = time.monotonic()
    end_s = began_s + task["patience_s"]
    told: dict[str, object] = {"back_s": None, "answered_s": None}
    shell(task["fault"])
    told["harm"] = still(shell(looks)) != before
    while time.monotonic() < end_s:
        if told["back_s"] is None and still(shell(looks)) == before:
            told["back_s"] = time.monotonic() - began_s
        if told["back_s"] is not None and ANSWER in shell(DIG).splitlines():
            told["answered_s"] = time.monotonic() - began_s
            break
        time.sleep(0.02)
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
