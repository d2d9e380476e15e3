"""QEMU: its command line, its monitor (QMP), and disks that overlay another one."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interceptor.host import command

MEMORY_MB = 1536
GUEST_ADDRESS = "10.0.2.15"  # what QEMU's user network forwards to
START_LIMIT_S = 20
MONITOR_LIMIT_S = 120  # of one command: savevm writes the whole memory
ROOT_DISK, BENCH_DISK = "/dev/vda", "/dev/vdb"

KERNEL_LINE = (
    "console=ttyS0 net.ifnames=0 mitigations=off panic=-1 quiet "
    # Emulated, the processor does not say that its counter is steady. It is, and is read
    # without leaving the guest.
    "tsc=reliable clocksource=tsc no_timer_check "
    # A fifth of the time to boot, for nothing that a server has.
    "module_blacklist=cfg80211,rfkill,psmouse,pcspkr,iTCO_wdt,button,serio_raw,evdev,drm,loop "
    "systemd.mask=systemd-binfmt.service systemd.mask=proc-sys-fs-binfmt_misc.automount"
)


class MonitorFailed(Exception):
    """QEMU refused a command, or does not answer."""


@dataclass(frozen=True, slots=True)
class Image:
    """What `tests/vm/guest/image` has made: never written to."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk.raw"


def is_accelerated() -> bool:
    """By KVM, where the processor says so: /dev/kvm may be there and hang a stock kernel."""
    return re.search(r"\b(vmx|svm)\b", Path("/proc/cpuinfo").read_text()) is not None


def overlay(disk: Path, backing: Path) -> None:
    """A qcow2 that holds what differs from a raw disk."""
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(backing), str(disk)]
    command.run(argv, timeout_s=30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port


def build_argv(image: Image, disk: Path, bench: Path, port: int, monitor: Path) -> list[str]:
    """A machine whose only way out is its ssh port, on this host's loopback.

    A snapshot is of this very machine: whoever changes a device makes new ones.
    """
    forward = f"hostfwd=tcp:127.0.0.1:{port}-{GUEST_ADDRESS}:22"
    line = f"root={ROOT_DISK} rw {KERNEL_LINE}"
    native = is_accelerated()
    return [
        *(
            "nice",
            "-n3",
            "qemu-system-x86_64",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
        ),
        *(
            "-machine",
            "q35,sata=off,smbus=off,usb=off",
            "-accel",
            "kvm" if native else "tcg,thread=multi",
        ),
        # Emulated, a second processor makes everything a third dearer, and the host's are taken
        # by other machines.
        *("-cpu", "host" if native else "qemu64,svm=off", "-smp", "2" if native else "1"),
        *("-m", str(MEMORY_MB), "-rtc", "base=utc,clock=host"),
        *("-kernel", str(image.folder / "vmlinuz"), "-initrd", str(image.folder / "initrd.img")),
        *("-append", line, "-serial", f"file:{disk.with_name('console')}"),
        *("-drive", f"if=virtio,format=qcow2,cache=unsafe,file={disk}"),
        *("-drive", f"if=virtio,format=raw,readonly=on,file={bench}"),
        *("-netdev", f"user,id=n0,restrict=on,{forward}", "-device", "virtio-net-pci,netdev=n0"),
        *("-device", "virtio-rng-pci", "-qmp", f"unix:{monitor},server=on,wait=off"),
    ]


class Emulator:
    """A running QEMU. `close` ends it; whatever the guest did goes with its overlay."""

    def __init__(self, argv: Sequence[str], monitor: Path) -> None:
        self._log = monitor.with_name("qemu.log")
        with self._log.open("wb") as log:
            self._process = command.start(argv, stdout=log, stderr=log, detached=True)
        try:
            self._socket = self._connect(monitor)
        except MonitorFailed:
            self._process.stop()
            raise
        self._answers = self._socket.makefile("r")
        self._answers.readline()  # QEMU's greeting
        self._ask("qmp_capabilities")

    def _connect(self, monitor: Path) -> socket.socket:
        until = time.monotonic() + START_LIMIT_S
        while True:
            one = socket.socket(socket.AF_UNIX)
            one.settimeout(MONITOR_LIMIT_S)
            try:
                one.connect(str(monitor))
                return one
            except OSError as error:
                one.close()
                if self._process.wait(0.05) is not None or time.monotonic() > until:
                    raise MonitorFailed(self._log.read_text()) from error

    @property
    def pid(self) -> int:
        return self._process.pid

    def save(self, name: str) -> None:
        """Keep memory, devices and disk in the overlay."""
        self._order(f"savevm {name}")

    def load(self, name: str) -> None:
        self._order(f"loadvm {name}")

    def reset(self) -> None:
        """What a reset button does."""
        self._ask("system_reset")

    def _order(self, line: str) -> None:
        """A command of the monitor for people, which speaks only of what went wrong."""
        if said := self._ask("human-monitor-command", {"command-line": line}):
            raise MonitorFailed(f"{line}: {said}")

    def _ask(self, name: str, arguments: dict[str, str] | None = None) -> object:
        order = {"execute": name} | ({"arguments": arguments} if arguments else {})
        self._socket.sendall(json.dumps(order).encode() + b"\n")
        while line := self._answers.readline():
            answer = json.loads(line)
            if "error" in answer:
                raise MonitorFailed(f"{name}: {answer['error']}")
            if "return" in answer:  # anything else is an event
                return answer["return"]
        raise MonitorFailed(f"{name}: QEMU has ended: {self._log.read_text()}")

    def close(self) -> None:
        self._answers.close()
        self._socket.close()
        self._process.stop()
