"""The virtual machine of a test: started from a snapshot or from nothing, spoken to over ssh."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from interceptor.host import command
from interceptor.host.command import Completed, Process
from tests.vm.guest import qemu
from tests.vm.guest.qemu import Emulator, Image

BOOT_LIMIT_S = 600  # 20 s on an idle machine, emulated
COMMAND_LIMIT_S = 600

SLOWNESS = 10
"""How much longer than promised something may take where the processor is emulated: it is 11 to
28 times slower, but a promise is kept by timers for a part, and those are as fast as anywhere."""
SNAPSHOT = "ready"


class MachineFailed(Exception):
    """The machine does not boot, or a command in it failed."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a machine is made of. ``bench``: the disk with our packages; ``keys``: of ssh."""

    image: Image
    bench: Path
    keys: Path


class Machine:
    """Root's shell on a machine; `close` ends it and removes all of it.

    Commands go through one ssh connection, for making one takes a second.
    """

    def __init__(self, parts: Parts, saved: Path | None = None) -> None:
        """Start it: from nothing, or from the ``saved`` overlay, which is copied."""
        self._parts = parts
        self._master: Process | None = None
        # Short: the path of a Unix socket has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="interceptor-vm-"))
        self.disk = self.folder / "disk.qcow2"
        self.port = qemu.free_port()
        monitor = self.folder / "monitor"
        try:
            self._make_disk(saved)
            argv = qemu.build_argv(parts.image, self.disk, parts.bench, self.port, monitor)
            self.emulator = Emulator(argv, monitor)
        except BaseException:
            shutil.rmtree(self.folder)
            raise
        try:
            if saved is not None:
                self.emulator.load(SNAPSHOT)
            self.reach()
            if saved is not None:
                self.set_clock()
        except BaseException:
            self.close()
            raise

    @property
    def slowness(self) -> int:
        """What a promised time is multiplied by."""
        return 1 if qemu.is_accelerated() else SLOWNESS

    def _make_disk(self, saved: Path | None) -> None:
        if saved is None:
            qemu.overlay(self.disk, self._parts.image.disk)
        else:
            argv = ["cp", "--reflink=auto", "--sparse=always", str(saved), str(self.disk)]
            command.run(argv, timeout_s=60)

    @property
    def ssh_argv(self) -> tuple[str, ...]:
        """ssh into it by its key, to a shell or with a command."""
        keys, known = self._parts.keys, self.folder / "known"
        known.write_text(f"interceptor-vm {(keys / 'host.pub').read_text()}")
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "10",
            "HostKeyAlias": "interceptor-vm",
            "IdentitiesOnly": "yes",
            "LogLevel": "ERROR",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(known),
        }
        words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        place = ("-i", str(keys / "id"), "-p", str(self.port), "root@127.0.0.1")
        return ("ssh", "-F", "/dev/null", *words, *place)

    def reach(self, limit_s: float = BOOT_LIMIT_S) -> None:
        """Open the ssh connection, as soon as the machine takes one."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            self._hang_up()
            argv = (*self.ssh_argv, "-MN", "-S", str(self.folder / "ssh"))
            self._master = command.start(argv, stdout=None, stderr=None)
            while self._master.wait(0.1) is None and time.monotonic() < until:
                if (self.folder / "ssh").exists() and self.run("true", check=False):
                    return
        raise MachineFailed(f"no ssh after {limit_s:g} s\n{self.console()[-3000:]}")

    def _hang_up(self) -> None:
        if self._master is not None:
            self._master.stop()
            self._master = None
        (self.folder / "ssh").unlink(missing_ok=True)

    def run(
        self,
        script: str,
        stdin: str | None = None,
        *,
        timeout_s: float = COMMAND_LIMIT_S,
        check: bool = True,
    ) -> Completed:
        """A shell script as root. Raises MachineFailed unless it ends with 0."""
        remote = f"sh -euc {shlex.quote(script)}"
        argv = (*self.ssh_argv, "-S", str(self.folder / "ssh"), remote)
        done = command.run(argv, stdin, timeout_s=timeout_s, check=False)
        if check and not done:
            raise MachineFailed(f"{script}\nended with {done.code}\n{done.stdout}\n{done.stderr}")
        return done

    def read(self, script: str, *, timeout_s: float = COMMAND_LIMIT_S) -> str:
        """What a script prints, without the space around it."""
        return self.run(script, timeout_s=timeout_s).stdout.strip()

    def write(self, path: str, text: str) -> None:
        self.run(f"mkdir -p $(dirname {path}); cat >{path}", text)

    def wait_until(self, script: str, limit_s: float = COMMAND_LIMIT_S) -> None:
        """Wait inside the machine until a script ends with 0."""
        loop = f"until {{ {script}\n}} >/dev/null 2>&1; do sleep 0.2; done"
        if not self.run(loop, timeout_s=limit_s, check=False):
            last = self.run(script, check=False)
            raise MachineFailed(f"not within {limit_s:g} s: {script}\n{last.stdout}\n{last.stderr}")

    def set_clock(self) -> None:
        """To this host's: a snapshot goes on where it was saved."""
        self.run(f"date -s @{time.time():.3f}")

    def save(self) -> None:
        """Keep all of it in its overlay, as it is now."""
        self._hang_up()  # a snapshot holds no half connection
        self.emulator.save(SNAPSHOT)

    def reboot(self) -> None:
        """As an administrator does; returns when it is there again."""
        before = self.read("cat /proc/sys/kernel/random/boot_id")
        self.run("systemctl reboot", check=False)
        until = time.monotonic() + BOOT_LIMIT_S
        while time.monotonic() < until:
            self._hang_up()
            self.reach(until - time.monotonic())
            done = self.run("cat /proc/sys/kernel/random/boot_id", check=False)
            if done and done.stdout.strip() != before:
                return
            time.sleep(0.5)
        raise MachineFailed(f"has not rebooted\n{self.console()[-3000:]}")

    def leave(self) -> None:
        """Let it run on after this program, known by its pid and folder only."""
        self._hang_up()

    @staticmethod
    def remove(pid: int, folder: Path, how: signal.Signals) -> None:
        """End one that was left."""
        with suppress(ProcessLookupError):
            # Only what it was: a pid may have become another's.
            if str(folder) in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, how)
        shutil.rmtree(folder, ignore_errors=True)

    def console(self) -> str:
        """What came out of its serial port so far."""
        path = self.folder / "console"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self) -> None:
        self._hang_up()
        self.emulator.close()
        shutil.rmtree(self.folder)
