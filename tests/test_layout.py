"""The house keeps its order: what may import what, what is tested where, how large things get."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "interceptor"
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))

TOP_LEVEL = {
    "setup.cfg",
    "pyproject.toml",
    "interceptor",
    "bpf",
    "docs",
    "scripts",
    "tests",
    "vagrant",
    "README.md",
    "CHANGES.md",
    "LICENSE",
}

# design.md §3: what each part may import besides itself. `lab` is a user of
# the package, as the command line is: it starts `interceptor` as a program.
BASE = {"errors", "config", "mesh"}
SIBLINGS = {"source", "dns", "capture", "sidecar", "workload", "debug"}
ALLOWED = {
    "errors": set[str](),
    "config": {"errors"},
    "migration": {"errors", "config"},
    "mesh": {"errors", "config"},
    "host": BASE,
    "source": BASE | {"host"},
    "dns": BASE | {"host"},
    "capture": BASE | {"host"},
    "sidecar": BASE | {"host"},
    "workload": BASE | {"host"},
    "debug": BASE | {"host", "capture"},
    "lab": BASE | {"host", "sidecar"},
    # What commands and daemon both put together; the daemon alone runs it.
    "inquiry": BASE | SIBLINGS | {"host", "assembly"},
    "proxyview": BASE | SIBLINGS | {"host", "inquiry"},
    "examination": BASE | SIBLINGS | {"host", "assembly", "inquiry", "proxyview"},
    "probing": BASE | SIBLINGS | {"host", "assembly", "examination", "inquiry"},
    "proving": BASE | SIBLINGS | {"host"},
    "issuing": BASE | {"host", "workload"},
    "membership": BASE | SIBLINGS | {"host", "issuing", "proving"},
    "running": BASE | SIBLINGS | {"host", "membership", "reload"},
    "figure": BASE | SIBLINGS | {"host", "running"},
    "observation": BASE | {"host", "debug"},
    "rewatch": BASE | {"debug"},
    "moving": BASE | {"host", "debug", "assembly"},
    "hearing": BASE | {"debug"},
    "tap": BASE | SIBLINGS | {"host", "assembly"},
    "recording": BASE | SIBLINGS | {"host", "assembly", "hearing", "tap"},
    "report": BASE | SIBLINGS | {"host", "figure", "running"},
    "affiliation": BASE | SIBLINGS | {"host"},
    "origin": BASE | SIBLINGS | {"host", "affiliation"},
    "assembly": BASE | SIBLINGS | {"host", "origin"},
    "visit": BASE | SIBLINGS | {"host", "assembly", "inquiry"},
    "checkup": BASE | SIBLINGS | {"host", "visit"},
    "joining": BASE | {"host", "migration", "workload"},
    "enlistment": BASE | SIBLINGS | {"host", "assembly", "joining"},
    "selftest": BASE | SIBLINGS | {"host", "lab"},
    "bundle": BASE | SIBLINGS | {"host", "assembly", "checkup"},
    "situation": BASE | SIBLINGS | {"host", "assembly"},
    "loss": BASE | SIBLINGS | {"host", "assembly"},
    "witness": BASE | SIBLINGS | {"host", "onlooker", "running"},
    "onlooker": BASE | SIBLINGS | {"host", "assembly", "running"},
    "reload": BASE | {"host"},
    "ruling": BASE | SIBLINGS | {"host"},
    "rehearsal": BASE | SIBLINGS | {"host", "assembly", "ruling"},
    "daemon": BASE
    | SIBLINGS
    | {
        "host",
        "affiliation",
        "assembly",
        "loss",
        "membership",
        "reload",
        "report",
        "situation",
        "witness",
    },
    "life": BASE | SIBLINGS | {"host", "assembly", "daemon", "loss", "origin", "reload", "report"},
}

ONE_IMPORTER = {
    "bcc": {"host/compiler.py"},
    "netfilterqueue": {"dns/nfqueue.py"},
    "pyroute2": {"host/netlink.py"},
    "scapy": {"debug/pcap.py"},
    "dnslib": {"dns/wire.py"},
    "grpc": {"host/rpc.py", "host/rpcserver.py"},
    "subprocess": {"host/command.py"},
    "kubernetes": {"workload/cluster.py"},
    "cryptography": {"workload/certificate.py", "workload/signing.py"},
}
"""Modules that may import the package; none at all where the set is empty."""

AT_OPENING_ONLY = ("bcc", "netfilterqueue", "pyroute2", "cryptography")

WITHOUT_A_TEST_OF_ITS_OWN = {
    "capture/anchor.py": "tests/netns/bpf/test_ebpf_backend.py",
    "capture/ebpf.py": "tests/netns/bpf/test_ebpf_backend.py",
    "capture/foreign.py": "a value only",
    "capture/generation.py": "tests/netns/bpf/test_ebpf_backend.py",
    "capture/trial.py": "tests/netns/bpf/test_trial.py",
    "host/scratch.py": "tests/netns/bpf/test_trial.py",
    "lab/bench/dns.py": "tests/netns/test_e2e_bench.py runs every part",
    "lab/bench/part.py": "values only",
    "debug/dashboard/plane.py": "tests/unit/debug/dashboard/test_query.py, test_form.py",
    "debug/dashboard/proxy.py": "tests/unit/debug/dashboard/test_query.py, test_form.py",
    "debug/dashboard/state.py": "tests/unit/debug/dashboard/test_query.py, test_form.py",
    "lab/demo.py": "tests/netns/test_e2e_demo.py runs it whole",
    "lab/world.py": "tests/netns/test_lab.py",
    "lab/removal.py": "tests/netns/test_lab.py",
    "lab/session.py": "tests/netns/test_e2e_calls.py",
    "lab/demo_call.py": "tests/netns/test_e2e_calls.py",
    "debug/case.py": "values only",
    "debug/finding.py": "values only",
    "dns/kernel.py": "tests/netns/bpf/worker",
    "dns/raw.py": "tests/netns/bpf/worker, tests/netns/dns/test_dns_bridge.py",
    "dns/view.py": "tests/netns/bpf/test_publisher.py",
    "sidecar/fixture.py": "tests/unit/sidecar/test_bootstrap.py",
    "sidecar/served.py": "values only",
    "sidecar/composed.py": "tests/envoy/test_managed.py",
    "proxyview.py": "tests/unit/test_examination.py",
    "situation.py": "tests/netns/test_daemon.py",
    "checkup.py": "tests/netns/test_doctor.py",
    "debug/doctor/fact.py": "values only",
    "selftest.py": "tests/netns/test_doctor.py",
    "lab/selftest/call.py": "tests/netns/test_doctor.py",
    "lab/selftest/channel.py": "tests/netns/test_doctor.py",
    "lab/selftest/client.py": "tests/netns/test_doctor.py",
    "lab/selftest/question.py": "tests/netns/test_doctor.py",
    "lab/selftest/server.py": "tests/netns/test_doctor.py",
    "lab/selftest/session.py": "tests/netns/test_doctor.py",
    "workload/applicant.py": "tests/unit/workload/test_identity.py",
    "workload/surrounding.py": "tests/unit/workload/test_identity.py",
    "debug/sign.py": "tests/unit/debug/test_concern.py has a case of each",
    "lab/agent.py": "every tests/netns/test_e2e_*.py",
}

MAXIMUM_FILE_LINES = 300
MAXIMUM_FUNCTION_LINES = 40


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def part_of(path: Path) -> str:
    """The part of the house that a module belongs to: mesh, dns, ..., daemon."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported below ``tree``, dotted; relative imports are not used."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_parts(path: Path) -> set[str]:
    """The parts of this package that a module imports."""
    found = set()
    for name in imports(tree_of(path)):
        words = name.split(".")
        if words[0] == "interceptor" and len(words) > 1 and words[1] != "__version__":
            found.add(words[1])
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_downwards_only(path: Path) -> None:
    part = part_of(path)
    if part in ("__init__", "__main__", "cli"):
        return
    forbidden = own_parts(path) - ALLOWED[part] - {part}
    assert not forbidden, f"{name_of(path)} imports {sorted(forbidden)}"


def test_every_part_of_the_package_has_its_place_in_the_map() -> None:
    parts = {part_of(path) for path in MODULES} - {"__init__", "__main__", "cli"}
    assert parts <= ALLOWED.keys()


@pytest.mark.parametrize("package", ONE_IMPORTER)
def test_third_party_packages_have_one_importing_module_each(package: str) -> None:
    importers = {
        name_of(path)
        for path in MODULES
        if package in {name.split(".")[0] for name in imports(tree_of(path))}
    }
    assert importers <= ONE_IMPORTER[package]


@pytest.mark.parametrize("package", AT_OPENING_ONLY)
def test_large_packages_and_the_distribution_s_are_imported_when_opened(package: str) -> None:
    for path in MODULES:
        for node in tree_of(path).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert package not in {name.split(".")[0] for name in imports(node)}


def test_debug_reads_of_capture_only_its_pure_part() -> None:
    pure = {"scope", "plan", "rule", "order"}
    for path in (PACKAGE / "debug").glob("*.py"):
        for name in imports(tree_of(path)):
            words = name.split(".")
            if words[:2] == ["interceptor", "capture"] and len(words) > 2:
                assert words[2] in pure, f"{name_of(path)} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_each_module_has_its_test_file(path: Path) -> None:
    name = name_of(path)
    if path.name in ("__init__.py", "__main__.py") or name in WITHOUT_A_TEST_OF_ITS_OWN:
        return
    folder = ROOT / "tests"
    stem = f"test_{path.name}"
    mirror = folder / "unit" / path.relative_to(PACKAGE).with_name(stem)
    rooted = [folder / kind / stem for kind in ("netns", "netns/bpf", "contract", "envoy")]
    assert any(file.exists() for file in (mirror, *rooted)), f"no {mirror.relative_to(ROOT)}"


def test_exceptions_from_the_mirror_are_still_needed() -> None:
    assert not [name for name in WITHOUT_A_TEST_OF_ITS_OWN if not (PACKAGE / name).exists()]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_and_functions_stay_small(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= MAXIMUM_FILE_LINES, f"{name_of(path)} has {lines} lines"
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MAXIMUM_FUNCTION_LINES, f"{node.name} has {length} lines"


def test_the_top_level_is_fixed() -> None:
    there = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    there -= {path.name for path in ROOT.glob("*.egg-info")} | {"build", "dist"}
    assert there <= TOP_LEVEL, f"what is {sorted(there - TOP_LEVEL)} doing here?"


def test_no_file_is_named_after_nothing() -> None:
    vague = {"utils", "helpers", "common", "misc", "base", "util", "helper"}
    assert not [path for path in MODULES if path.stem in vague]


WALL_CLOCK = {
    "checkup.py": "the year, which is only shown",
    "host/admission.py": "whether a token has ended, where it was refused; only told",
    "host/handshake.py": "this host's date, shown beside a certificate's refusal",
    "workload/certificate.py": "certificates and tokens are dated by others: who goes by it asks",
    "workload/signing.py": "the dates in a certificate",
    "source/moment.py": "the date of the last good table, which is only shown",
    "debug/event.py": "when something was decided, which is only shown",
    "debug/accessline.py": "when the sidecar took a connection, which is only shown",
}
"""Modules that may ask for the date. Nothing may be decided by it: clocks jump."""


@pytest.mark.parametrize("path", [path for path in MODULES if part_of(path) != "lab"], ids=name_of)
def test_the_wall_clock_decides_nothing(path: Path) -> None:
    names = set(imports(tree_of(path)))
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names.add(f"{node.value.id}.{node.attr}")
    dates = {"time.time", "time.time_ns", "time.CLOCK_REALTIME", "time.localtime", "time.gmtime"}
    found = {name for name in names if name in dates or name.split(".")[0] == "datetime"}
    assert not found or name_of(path) in WALL_CLOCK, sorted(found)
