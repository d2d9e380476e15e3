"""The Debian packages: reproducible; an upgrade loses nothing, and a purge leaves nothing."""

from __future__ import annotations

import configparser
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from interceptor.host import command
from interceptor.lab import snapshot
from interceptor.lab.world import PACKAGE_ROOT
from tests.systemd import layer, load, neighbour
from tests.systemd.machine import Image, Machine
from tests.systemd.test_unit import assert_unbroken, calling, envoy

pytestmark = [pytest.mark.root, pytest.mark.envoy, pytest.mark.timeout(900)]
Boot = Callable[[Image], Machine]

NEXT = "0.9.9~test"
OURS = """
find / -xdev \\( -path /proc -o -path /sys -o -path /run/interceptor-lab \\) -prune \
    -o -name '*interceptor*' -print
getent passwd 1337
getent group 1337
"""


def build(output: Path, version: str = NEXT) -> Path:
    argv = [str(PACKAGE_ROOT / "scripts/package"), "--only", "interceptor"]
    argv += ["--output", str(output), "--version", version]
    told = command.run(argv, timeout_s=layer.BUILD_LIMIT_S).stdout.split()
    assert told == [str(output / f"interceptor_{version}_amd64.deb")]
    return Path(told[0])


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The next version, of the same sources; alone in a folder, as /next.deb."""
    made = build(tmp_path_factory.mktemp("package"))
    return made.rename(made.with_name("next.deb"))


@pytest.fixture
def machine(image: Image, package: Path, boot: Boot) -> Machine:
    settings = {"capture": {"backend": "nftables"}}
    one = boot(replace(image, lower=(package.parent, *image.lower), settings=settings))
    load.open_control(one)
    return one


def test_what_it_carries_is_what_setup_cfg_asks_for() -> None:
    """scapy is the tests' alone so far; cryptography is Debian's, and depended on."""
    lists = PACKAGE_ROOT / "scripts/debian"
    carried = {
        line.split("==")[0]: line.split("==")[1].split()[0]
        for path in (lists / "requirements.txt", lists / "envoy.txt")
        for line in path.read_text().splitlines()
        if not line.startswith("#")
    }
    read = configparser.RawConfigParser()
    read.read(PACKAGE_ROOT / "setup.cfg")
    wanted = read["options"]["install_requires"] + read["options.extras_require"]["envoy"]
    asked = [Requirement(line) for line in wanted.split() if line != "#"]
    for one in asked:
        name = one.name.lower().replace("_", "-")
        if name in ("scapy", "cryptography"):
            assert name not in carried
        else:
            assert one.specifier.contains(carried[name]), one


def test_the_same_sources_give_the_same_bytes(package: Path, tmp_path: Path) -> None:
    assert build(tmp_path).read_bytes() == package.read_bytes()


def test_it_has_what_a_package_of_debian_has(package: Path) -> None:
    def field(name: str) -> str:
        return command.run(["dpkg-deb", "--field", str(package), name]).stdout.strip()

    assert field("Version") == NEXT
    assert "python3 (<< 3.12), python3-cryptography" in field("Depends")
    whole = command.run(["dpkg-deb", "--contents", str(package)]).stdout
    rows = [line.split(maxsplit=5) for line in whole.splitlines()]
    paths = {row[5].removeprefix("."): row[0] for row in rows}
    for path in (
        *("/usr/bin/interceptor", "/usr/sbin/interceptor-rescue", "/etc/interceptor/mesh/"),
        *("/lib/systemd/system/interceptor.service", "/etc/interceptor/interceptor.yaml"),
        *("/usr/share/man/man8/interceptor.8.gz", "/usr/share/man/man5/interceptor.yaml.5.gz"),
        *("/usr/share/bash-completion/completions/interceptor", "/usr/share/doc/interceptor/"),
    ):
        assert path in paths
    assert {row[1] for row in rows} == {"root/root"}
    assert not [path for path, mode in paths.items() if "w" in mode[4:] or "s" in mode]
    sources = {path for path in paths if path.endswith(".py") and "/__pycache__/" not in path}
    compiled = [path for path in paths if path.endswith(".pyc")]
    assert len(compiled) == len(sources), "the command would compile, or try to, at each start"


def test_an_upgrade_under_load_loses_no_connection(machine: Machine) -> None:
    machine.start()
    sidecar, daemon = envoy(machine), machine.pid_of()
    assert NEXT not in machine.sh("interceptor --version")
    with calling(machine) as calls:
        with load.applied(machine) as asked:
            machine.sh("dpkg --install /next.deb", timeout_s=240)
        assert not neighbour.failures(machine)
        made = calls()
    assert_unbroken(made, asked)
    assert envoy(machine) == sidecar
    assert machine.pid_of() not in (0, daemon)
    assert NEXT in machine.sh("interceptor --version")


def test_a_removal_takes_everything_back_and_a_purge_leaves_no_file(machine: Machine) -> None:
    before = neighbour.rules(machine)
    machine.start()
    assert neighbour.rules(machine) != before
    machine.sh("dpkg --remove interceptor", timeout_s=120)
    assert not snapshot.diff(before, neighbour.rules(machine))
    assert not machine.sh("pidof envoy", check=False)
    assert machine.sh("ls /etc/interceptor/interceptor.yaml"), "a removal keeps what is configured"

    machine.sh("dpkg --purge interceptor interceptor-envoy; rm -r /etc/interceptor/mesh")
    machine.sh("rmdir /etc/interceptor")
    left = set(machine.sh(OURS, check=False).split())
    assert not {path for path in left if not Path(f"{layer.tree()}{path}").exists()}
    listed = machine.systemctl("list-unit-files", "interceptor.service", check=False)
    assert "\n0 unit files listed" in listed


def test_a_first_installation_starts_the_service_and_reserves_the_sidecars_user(
    machine: Machine,
) -> None:
    machine.sh("cp -r /etc/interceptor /root/kept; dpkg --purge interceptor")
    machine.sh("cp /root/kept/interceptor.yaml /etc/interceptor/", check=False)
    machine.sh("dpkg --install --force-confold /next.deb", timeout_s=240)
    assert machine.systemctl("is-active", "interceptor.service") == "active\n"
    assert machine.systemctl("is-enabled", "interceptor.service") == "enabled\n"
    assert not neighbour.failures(machine)
    user = machine.sh("getent passwd 1337").strip().split(":")
    assert (user[0], user[-1]) == ("interceptor-proxy", "/usr/sbin/nologin")


def test_somebody_else_with_the_sidecars_user_id_is_named(machine: Machine) -> None:
    machine.sh("dpkg --remove interceptor; userdel interceptor-proxy; useradd -u 1337 alice")
    done = machine.run(["dpkg", "--install", "/next.deb"], timeout_s=240)
    assert "user id 1337 is alice's" in done.stderr
    assert machine.sh("getent passwd interceptor-proxy", check=False) == ""
