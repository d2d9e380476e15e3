"""From the bare image to the snapshot that every test starts from: packages in, daemon warm.

`open_saved` gives what is in the cache, or makes it. What was seen on the way is kept beside
it, for tests to look at: an installation happens once.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from interceptor.host import command
from tests.vm.guest import agent, bench, peer
from tests.vm.guest.machine import SLOWNESS, Machine, Parts
from tests.vm.guest.qemu import BENCH_DISK, Image

HERE = Path(__file__).parent
BUILD_LIMIT_S = 900
INSTALL_LIMIT_S = 600
WATCHDOG_S = 3  # of the unit

LOOK = """\
#!/bin/sh
# Everything of the host that the agent may change, counters and handles left out.
ip rule; ip -6 rule
ip route show table all | grep -v '^default via 10.0.2' | sort
ip -6 route show table all | sort
ip -o link | sed 's/ qlen.*//'; tc qdisc
for each in up0 lo eth0; do tc filter show dev $each egress; tc filter show dev $each ingress; done
nft list ruleset
for each in iptables-nft ip6tables-nft iptables-legacy ip6tables-legacy; do
\t$each-save 2>/dev/null | grep -v '^#' | sed 's/\\[[0-9:]*\\]$//'
done
ipset list; bpftool -j link show; find /sys/fs/bpf -mindepth 1
find /sys/fs/cgroup -maxdepth 1 -name '*interceptor*'
cat /etc/resolv.conf /etc/hosts
"""

STRETCH = f"""\
[Service]
TimeoutStartSec=600s
TimeoutStopSec=300s
WatchdogSec={WATCHDOG_S * SLOWNESS}s
"""

MODULES = "lsmod | tail -n +2 | cut -d' ' -f1 | sort"


@dataclass(frozen=True, slots=True)
class Record:
    """What was seen during set-up. Times in seconds of this host's clock."""

    boot_s: float
    install_s: float
    modules_before: list[str]
    modules_after: list[str]
    install_said: str
    bench_s: float
    warm_s: float

    def times(self) -> str:
        pairs = (
            ("packages", self.bench_s),
            ("boot", self.boot_s),
            ("installation", self.install_s),
        )
        return ", ".join(f"{what} {s:.0f} s" for what, s in (*pairs, ("warming up", self.warm_s)))


@dataclass(frozen=True, slots=True)
class Saved:
    """A machine with the agent running, to be started as often as one likes."""

    parts: Parts
    disk: Path
    record: Record

    def open(self) -> Machine:
        return Machine(self.parts, self.disk)

    @classmethod
    def read(cls, parts: Parts, folder: Path) -> Self:
        record = Record(**json.loads((folder / "record").read_text()))
        return cls(parts, folder / "disk.qcow2", record)


def script(name: str, *words: str) -> Path:
    """The path that one of the scripts ends its output with."""
    done = command.run([name, *words], timeout_s=BUILD_LIMIT_S)
    return Path(done.stdout.splitlines()[-1])


def cache() -> Path:
    """Where trees, disks and snapshots are."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "interceptor", "vm")


def open_saved() -> Saved:
    """From the cache, or made, which takes two to five minutes."""
    bench_key = bench.key([HERE / f"{name}.py" for name in ("machine", "peer", "qemu", "setup")])
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "saving").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with ThreadPoolExecutor(1) as beside:
            making = beside.submit(open_bench, cache() / f"bench-{bench_key}.raw")
            tree = script(str(bench.ROOT / "scripts" / "vm"), "root")
            image = Image(script(str(HERE / "image"), str(tree)))
            disk, bench_s = making.result()
        folder = image.folder / f"saved-{bench_key}"
        parts = Parts(image, disk, tree.parent / "ssh")
        if not (folder / "record").exists():
            for old in image.folder.glob("saved-*"):
                shutil.rmtree(old)
            folder.mkdir()
            record = make(parts, folder / "disk.qcow2", bench_s)
            (folder / "record").write_text(json.dumps(asdict(record), indent=1))
    return Saved.read(parts, folder)


def open_bench(disk: Path) -> tuple[Path, float]:
    """The second disk, and the seconds that it took: it needs nothing of the first."""
    started = time.monotonic()
    if not disk.exists():
        for old in disk.parent.glob("bench-*"):
            old.unlink()
        with tempfile.TemporaryDirectory(dir=disk.parent) as work:
            made = Path(work, "disk")
            bench.build(made, Path(work))
            made.rename(disk)
    return disk, time.monotonic() - started


def make(parts: Parts, disk: Path, bench_s: float) -> Record:
    """Boot, install, warm up, save."""
    started = time.monotonic()
    machine = Machine(parts)
    try:
        boot_s = time.monotonic() - started
        machine.run(f"mkdir -p {bench.MOUNT} && mount -o ro {BENCH_DISK} {bench.MOUNT}")
        options = "ro,nofail,x-systemd.device-timeout=600"
        machine.run(f"echo '{BENCH_DISK} {bench.MOUNT} ext4 {options} 0 0' >>/etc/fstab")
        place_peer(machine)
        place_stretch(machine)
        before = machine.read(MODULES).split()
        machine.wait_until(f"ip -6 route show table local | grep -q {peer.LINK_LOCAL}")
        machine.run("host-look >" + agent.BEFORE)
        started = time.monotonic()
        said = machine.read(
            f"apt-get install -y {bench.MOUNT}/packages/now/*.deb 2>&1", timeout_s=INSTALL_LIMIT_S
        )
        install_s = time.monotonic() - started
        after = machine.read(MODULES).split()
        started = time.monotonic()
        agent.wait_ready(machine)
        warm_s = time.monotonic() - started
        machine.save()
        shutil.copy(machine.disk, disk)
        return Record(boot_s, install_s, before, after, said, bench_s, warm_s)
    finally:
        machine.close()


def place_peer(machine: Machine) -> None:
    """The network that the guest finds, and a resolv.conf that nobody writes to."""
    for path, text in peer.FILES.items():
        machine.write(path, text)
    machine.write("/usr/local/bin/host-look", LOOK)
    machine.run(
        "chmod 755 /usr/local/bin/host-look /usr/local/sbin/peer-up; mkdir -p /var/lib/bench"
    )
    machine.run(
        "systemctl disable --now systemd-resolved; rm -f /etc/resolv.conf\n"
        f"echo nameserver {peer.PEER} >/etc/resolv.conf\n"
        f"systemctl daemon-reload; systemctl enable --now {' '.join(peer.UNITS)}"
    )
    machine.wait_until(f"getent ahostsv4 {peer.OTHER_NAME}")


def place_stretch(machine: Machine) -> None:
    """Emulated, a start, a stop and a sign of life take many times as long as the unit allows."""
    if machine.slowness > 1:
        machine.write("/etc/systemd/system/interceptor.service.d/emulated.conf", STRETCH)
