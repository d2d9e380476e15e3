"""File systems as /proc tells them; the oracle is stat(1)."""

from __future__ import annotations

import subprocess
from pathlib import Path

from interceptor.host import filesystem

MOUNTS = """
21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
22 21 0:20 / /run rw,nosuid - tmpfs tmpfs rw
23 22 8:2 / /run/kept\\040here rw - xfs /dev/sdb rw
24 21 8:3 / /home rw - ext4 /dev/sdc rw
25 24 0:21 / /home rw - tmpfs over rw
rubbish
"""


def test_the_longest_mount_point_counts_and_the_last_of_it() -> None:
    def kind(path: str) -> str:
        return filesystem.parse(MOUNTS.splitlines(), Path(path))

    assert kind("/etc/token") == "ext4"
    assert kind("/run/secrets/token") == "tmpfs"
    assert kind("/runner") == "ext4"
    assert kind("/run/kept here/token") == "xfs"
    assert kind("/home/a") == "tmpfs"
    assert filesystem.parse([], Path("/")) == ""


def test_this_host_is_seen_as_stat_sees_it() -> None:
    for path in ("/dev/shm", "/", "/proc"):
        words = ["stat", "-f", "-c", "%T", path]
        kind = subprocess.run(words, capture_output=True, text=True).stdout.strip()
        assert filesystem.is_volatile(Path(path) / "x" / "y") is (kind in ("tmpfs", "ramfs"))
