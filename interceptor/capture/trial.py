"""Whether this host can do the ebpf back end: programs are loaded, nothing is attached to it.

Maps, programs, and the network namespace in which filter and look-up are tried
are thrown away at the end.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from interceptor.capture.attachment import LINKS
from interceptor.capture.program import Loaded, Programs
from interceptor.errors import InterceptorError, Unsupported, VerifierError
from interceptor.host import bpflink, bpfmap, bytecode, probe, scratch, tc, tcx
from interceptor.host.bpf import AttachType
from interceptor.host.bytecode import Bytecode
from interceptor.host.layout import LAYOUT, SPECS

LO = 1  # its index in every network namespace
FILTER = "dns_lo"
"""One stands for all four: they are one source, and the verifier needs 0.2 s for each."""


@dataclass(frozen=True, slots=True)
class Found:
    """What stands between a plane and this host; empty where nothing does."""

    cgroup2: bool
    bytecode: str
    dns: str
    tcp: str


NOT_ASKED = Found(cgroup2=False, bytecode="", dns="not asked for", tcp="not asked for")


def observe(read: Callable[[], Bytecode] = bytecode.read) -> Found:
    """Try it. Takes 0.2 s."""
    cgroup2 = bool(probe.cgroup_mount())
    if os.geteuid() != 0:
        return _alike(cgroup2, "", "to be root")
    try:
        code = read()
    except Unsupported as error:
        return _alike(cgroup2, "", error.needs)
    made = f"v{LAYOUT}"
    if not cgroup2:
        return _alike(False, made, "a cgroup2 mount")
    if not probe.netns_cookie():
        return _alike(True, made, "Linux 5.14 or later, which numbers network namespaces")
    programs = Programs(lambda: code)
    with ExitStack() as stack:
        try:
            maps = {number: bpfmap.create(spec) for number, spec in SPECS.items()}
        except OSError as error:
            return _alike(True, made, f"BPF maps of the kernel ({error})")
        for each in maps.values():
            stack.callback(each.close)
        loaded = stack.enter_context(programs.over(maps))
        links = _refusals(loaded, LINKS) or _try_lookup(loaded)
        filters = _refusals(loaded, (FILTER,)) or _try_filter(loaded)
    return Found(True, made, dns=links or filters, tcp=links)


def _alike(cgroup2: bool, made: str, lacks: str) -> Found:
    return Found(cgroup2, made, lacks, lacks)


def _refusals(loaded: Loaded, names: Iterable[str]) -> str:
    """Which programs the kernel does not take. The verifier's work is done by all processors."""

    def refusal(name: str) -> str:
        try:
            loaded(name)
        except KeyError:
            return f"{name} (not in the bytecode)"
        except VerifierError as error:
            return f"{name} ({error.lines[-1] if error.lines else error.code})"
        except OSError as error:
            return f"{name} ({error.strerror})"
        return ""

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return _sentence([found for found in pool.map(refusal, names) if found])


def _sentence(refused: Collection[str]) -> str:
    return f"a kernel that takes the programs {', '.join(refused)}" if refused else ""


def _try_lookup(loaded: Loaded) -> str:
    def attach() -> None:
        namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.close(bpflink.create(loaded("lookup"), namespace, AttachType.SK_LOOKUP))
        finally:
            os.close(namespace)

    return _tried("BPF links of a network namespace", attach)


def _try_filter(loaded: Loaded) -> str:
    def attach() -> None:
        if tcx.is_supported():  # programs are the same: what runs in one way does in the other
            return
        with tempfile.TemporaryDirectory() as folder:
            tc.attach(Path(folder), LO, tc.Hook.EGRESS, FILTER, loaded(FILTER))
            tc.release(Path(folder), LO)

    return _tried("tc with clsact and BPF filters", attach)


def _tried(what: str, attach: Callable[[], None]) -> str:
    try:
        scratch.call(attach)
    except (OSError, InterceptorError) as error:
        return f"{what} ({error})"
    return ""
