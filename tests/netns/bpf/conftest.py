"""The kernel as a place to run the checkout's BPF programs in: fresh maps, pinned nowhere."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interceptor.capture.attachment import FILTERS, LINKS
from interceptor.capture.ebpf import Ebpf
from interceptor.capture.ebpfstep import Sites
from interceptor.capture.journal import Journal
from interceptor.host import bpf, bpfmap, bytecode, cgroup, command, pin, probe, tcx
from interceptor.host.bpf import AttachType, ProgramType, Run
from interceptor.host.bpfmap import BpfMap
from interceptor.host.bytecode import SOURCE, Bytecode, Program
from interceptor.host.layout import SPECS, VIEWS, Map
from tests.netns.bpf.ebpf_host import Host


class Compiled:
    """Programs of the C files as they are now, compiled when asked for and kept by their digest."""

    def __init__(self, folder: Path) -> None:
        digest = bytecode.source_digest()
        for old in folder.iterdir():
            if old.name != digest:
                shutil.rmtree(old, ignore_errors=True)
        self.folder = folder / digest
        self.folder.mkdir(exist_ok=True)
        self._read: dict[str, Program] = {}

    def __getitem__(self, name: str) -> Program:
        if name not in self._read:
            self._read[name] = self._code(name).programs[name]
        return self._read[name]

    def _code(self, name: str) -> Bytecode:
        path = self.folder / f"{name}.json"
        if not path.exists():
            made = path.with_suffix(f".{os.getpid()}")
            argv = [sys.executable, "-m", "interceptor.host.compiler", "--only", name, str(made)]
            done = command.run(argv, timeout_s=60, check=False)
            if not done:
                pytest.fail(f"{name} does not compile:\n{done.stderr}", pytrace=False)
            made.rename(path)
        return bytecode.parse(path.read_text())


class Kernel:
    """Fresh maps of layout.SPECS, and programs over them.

    ``maps[Map.X]`` are open maps; of a map of maps ``inner[Map.X]`` are the
    inner ones, one a view, which stand in it already.
    """

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self.maps: dict[Map, BpfMap] = {number: bpfmap.create(s) for number, s in SPECS.items()}
        self.inner: dict[Map, tuple[BpfMap, ...]] = {}
        self._loaded: dict[str, int] = {}
        for number, spec in SPECS.items():
            if spec.inner is not None:
                self.inner[number] = tuple(bpfmap.create(spec.inner) for _ in range(VIEWS))
                for view, each in enumerate(self.inner[number]):
                    self.maps[number].update(key(view), key(each.fd))

    def load(self, name: str) -> int:
        """The program's descriptor, which stays ours. Compiled and loaded once."""
        if name not in self._loaded:
            descriptors = {number: each.fd for number, each in self.maps.items()}
            self._loaded[name] = bytecode.load(self.compiled[name], descriptors)
        return self._loaded[name]

    def run(self, name: str, packet: bytes, context: bytes = b"", repeat: int = 1) -> Run:
        """BPF_PROG_TEST_RUN: what the program makes of a packet (Ethernet header first for tc)."""
        return bpf.run_program(self.load(name), packet, context, repeat)

    def close(self) -> None:
        inner = [each for views in self.inner.values() for each in views]
        for each in [*self.maps.values(), *inner]:
            each.close()
        for descriptor in self._loaded.values():
            os.close(descriptor)


def key(index: int) -> bytes:
    """A u32 in the machine's byte order: an array's index, or a map's descriptor as a value."""
    return index.to_bytes(4, sys.byteorder)


@pytest.fixture(scope="session")
def compiled(pytestconfig: pytest.Config) -> Compiled:
    return Compiled(pytestconfig.cache.mkdir("bpf"))


@pytest.fixture
def kernel(compiled: Compiled) -> Iterator[Kernel]:
    """Maps of this test's own; programs are loaded into them as it asks for them."""
    opened = Kernel(compiled)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture(scope="module")
def module_kernel(compiled: Compiled) -> Iterator[Kernel]:
    """The same for all tests of a file."""
    opened = Kernel(compiled)
    try:
        yield opened
    finally:
        opened.close()


PASS = bytes.fromhex("b7000000ffffffff9500000000000000")  # r0 = -1; exit


@pytest.fixture(scope="module")
def code(compiled: Any) -> Bytecode:
    """What there is of C files; a program that passes everything where there is none."""
    programs = {}
    for name in (*LINKS, *FILTERS):
        if name in FILTERS and not (SOURCE / "dns.c").exists():
            programs[name] = Program(name, ProgramType.SCHED_CLS, AttachType.NONE, PASS)
        else:
            programs[name] = compiled[name]
    return Bytecode("", "", programs)


@pytest.fixture
def bpffs(tmp_path: Path) -> Iterator[Path]:
    """A place for pins: `prepare` mounts a bpffs there."""
    place = tmp_path / "bpf"
    pin.prepare(place)
    try:
        yield place
    finally:
        command.run(["umount", str(place)])


@pytest.fixture(params=["tcx", "clsact"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """By what programs are attached to devices."""
    assert request.param == "clsact" or tcx.is_supported(), "a kernel before 6.6 has no tcx"
    if request.param == "clsact":
        monkeypatch.setenv(tcx.SWITCH, "no")
    return str(request.param)


@pytest.fixture
def host(
    namespaces: Callable[[str], Any], code: Bytecode, tmp_path: Path, kind: str
) -> Iterator[Host]:
    del kind
    vm = namespaces("ebpf")
    vm.sh(
        "ip link add d0 type veth peer name d1; ip link set d0 addrgenmode none;"
        "ip link set d1 addrgenmode none up; ip link set d0 up;"
        "ip addr add 10.0.0.2/24 dev d0; ip addr add fd10::2/64 dev d0 nodad"
    )
    mount = tmp_path / "bpffs"
    mount.mkdir()
    top = Path(probe.cgroup_mount(), f"itest-{os.getpid()}-ebpf")
    sites = Sites(mount / "interceptor", top / "app", top / "agent")
    command.run(["mount", "-t", "bpf", "bpf", str(mount)])
    try:
        for folder in (sites.capture, sites.agent):
            cgroup.create(folder)
        yield Host(vm, sites, code, tmp_path)
    finally:
        vm.call(Ebpf(Journal(), sites).revert)
        command.run(["umount", str(mount)])
        for folder in (sites.capture, sites.agent, top):
            assert cgroup.remove(folder)
