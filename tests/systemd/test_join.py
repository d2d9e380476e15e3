"""`interceptor join` on a machine with systemd: one command, then names work; `leave` restores the
machine byte for byte, and the service to what it was."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from interceptor.lab import agent, snapshot
from interceptor.lab.removal import wait_until
from interceptor.workload import bundle, carrier, group
from interceptor.workload.bundle import Plane, Wish
from interceptor.workload.group import Group
from tests.systemd import load, neighbour
from tests.systemd.machine import UNIT, Image, Machine

pytestmark = [pytest.mark.root, pytest.mark.envoy, pytest.mark.timeout(900)]
Boot = Callable[[Image], Machine]

CONFIG = "/etc/interceptor/interceptor.yaml"
GROUP = Group("member", "vm", labels={"app": "member"})

MANIFEST = r"""
cd /
# Programs, and what systemd and the journal write as time goes by.
find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp \
    -o -path ./var/log/journal -o -path ./var/lib/systemd -o -path ./usr/lib/python3 \
    -o -path ./var/lib/interceptor-lab {0} \) -prune -o -type d -printf '%p d %m %U:%G\n' \
    -o -printf '%p %y %m %U:%G %s %T@ %l\n' | sort
find ./etc ./var/lib/interceptor -xdev -type f {1} -exec sha256sum {{}} + 2>/dev/null | sort
"""
NEAR_STATE = "-o -path ./var/lib/interceptor"
NOT_STATE = "-not -path './var/lib/interceptor/*'"


def manifest(machine: Machine, *, with_state: bool = True) -> list[str]:
    """Every file of the root with mode, owner, size and time; folders without their times."""
    words = ("", "") if with_state else (NEAR_STATE, NOT_STATE)
    return machine.sh(MANIFEST.format(*words), check=False).splitlines()


def difference(before: list[str], after: list[str]) -> str:
    return "\n".join(difflib.unified_diff(before, after, "before", "after", lineterm="", n=0))


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    """A tree with a bundle in it, /bundle: the demo's documents, for a site without istiod."""
    documents = {path.name: path.read_bytes() for path in sorted(agent.DEMO_MESH.glob("*.yaml"))}
    files = bundle.build(GROUP, Plane(b"", "", documents=documents), Wish())
    tree = tmp_path / "tree"
    carrier.apply(tree / "bundle", files)
    tree.chmod(0o755)
    return tree


def test_one_command_makes_a_member_and_one_takes_it_back(
    image: Image, boot: Boot, lower: Path
) -> None:
    """On a machine with the packages, where nothing is configured and nothing runs."""
    machine = boot(replace(image, lower=(lower, *image.lower)))
    machine.sh(f"rm -r {CONFIG} /etc/interceptor/mesh")
    load.open_control(machine)
    before, rules = manifest(machine), neighbour.rules(machine)
    assert neighbour.failures(machine).keys() >= {"mesh name", "captured"}

    said = machine.sh("interceptor join /bundle --yes", timeout_s=240)
    assert "this host is" in said
    assert "names of the mesh" in said
    assert load.MESH in machine.sh("interceptor mesh list")
    # The bundle captures everything, as Istio's agent does; names of others stay theirs.
    assert not neighbour.failures(machine)
    assert machine.systemctl("is-enabled", UNIT) == "enabled\n"
    assert machine.properties(UNIT, "ActiveState")["ActiveState"] == "active"

    joined = manifest(machine)
    assert len(before) > 1000, "a manifest of nothing proves nothing"
    assert any("/var/lib/interceptor/join/journal.json f 600" in line for line in joined)

    said = machine.sh("interceptor leave", timeout_s=120)
    assert f"disabled {UNIT}" in said
    left = difference(before, manifest(machine))
    assert not left, left
    assert not snapshot.diff(rules, neighbour.rules(machine))
    assert machine.systemctl("is-enabled", UNIT, check=False) == "disabled\n"
    assert not machine.sh("pidof envoy", check=False)
    assert neighbour.failures(machine).keys() >= {"mesh name", "captured"}


def test_a_join_that_is_killed_half_way_is_taken_back_and_an_edit_is_kept(
    image: Image, boot: Boot, lower: Path
) -> None:
    """On a machine whose service runs with a configuration of its own."""
    settings = {"capture": {"backend": "nftables"}}
    machine = boot(replace(image, lower=(lower, *image.lower), settings=settings))
    load.open_control(machine)
    machine.start()
    before = manifest(machine, with_state=False)

    # A daemon that never becomes ready: its unit has no program to start.
    drop = "/run/systemd/system/interceptor.service.d"
    machine.sh(
        f"mkdir -p {drop}; printf '[Service]\\nExecStart=\\nExecStart=false\\n' >{drop}/x.conf"
    )
    failed = machine.run(["interceptor", "join", "/bundle", "--yes"], timeout_s=240, check=False)
    assert failed.code == 1
    assert "interceptor leave" in failed.stderr
    machine.sh(f"rm -r {drop}; systemctl daemon-reload")
    machine.sh(f"echo '# edited' >>{CONFIG}")

    said = machine.sh("interceptor leave", timeout_s=240)
    assert f"kept as {CONFIG}.yours" in said
    assert f"started {UNIT} as it was before" in said
    assert "# edited" in machine.sh(f"cat {CONFIG}.yours; rm {CONFIG}.yours")
    left = difference(before, manifest(machine, with_state=False))
    assert not left, left
    assert not neighbour.failures(machine)
    assert machine.properties(UNIT, "ActiveState")["ActiveState"] == "active"


PLANE = "10.77.0.73"  # the lab's host `spare`
WEB = Group(
    "web",
    "bookinfo",
    labels={"app": "web"},
    ports={"http": 8080},
    probe={"tcpSocket": {"port": 8080}, "periodSeconds": 1},
)


def open_control_plane(machine: Machine) -> Path:
    """istiod's stand-in on a host of its own, with the demo's mesh and a group. Its record."""
    home = machine.lab.host_folder("spare")
    folder = agent.copy_mesh(home / "mesh")
    (folder / "group.yaml").write_text(group.render(WEB))
    argv = [sys.executable, "-m", "tests.controlplane", "--folder", str(folder), "--tls"]
    argv += ["--listen", f"{PLANE}:15012", "--write", str(home), "--bearer", "bookinfo:default"]
    machine.lab.start("spare", [*argv, "--record", str(home / "record")], "controlplane")
    wait_until(lambda: "ready" in machine.lab.log("spare", "controlplane"), "control plane", 30)
    return home / "record"


@pytest.mark.long
def test_a_bundle_for_istiod_makes_a_member_with_a_certificate(image: Image, boot: Boot) -> None:
    """From an archive, by the address of `hosts` and without a line in /etc/hosts."""
    machine = boot(image)
    load.open_control(machine)
    machine.sh(f"rm -r {CONFIG} /etc/interceptor/mesh")
    record = open_control_plane(machine)
    given = {name: (record.parent / name).read_bytes() for name in ("root-cert.pem", "istio-token")}
    plane = Plane(
        given["root-cert.pem"],
        given["istio-token"].decode(),
        discovery="istiod.istio-system.svc:15012",
        ingress=(PLANE,),
    )
    for name, data in bundle.build(WEB, plane, Wish(autoregister=True)).items():
        machine.sh("mkdir -p /root/vm")
        machine.write(f"/root/vm/{name}", data.decode(), 0o600)
    machine.sh("tar -C /root -czf /root/vm.tar.gz vm; rm -r /root/vm")
    before = manifest(machine)

    said = machine.sh("interceptor join /root/vm.tar.gz --yes", timeout_s=240)
    assert "web in bookinfo, as spiffe://cluster.local/ns/bookinfo/sa/default" in said
    wait_until(lambda: not neighbour.failures(machine), "names and calls", 30)
    wait_until(lambda: '"registered"' in record.read_text(), "the registration", 30)
    assert "spiffe://cluster.local/ns/bookinfo/sa/default" in machine.sh("interceptor status")
    assert PLANE not in machine.sh("cat /etc/hosts")

    # The same VM by a group that the control plane does not have.
    machine.sh("cd /root; tar -xzf vm.tar.gz; sed -i s/GROUP=.web/GROUP=\\'none/ vm/cluster.env")
    unknown = ["interceptor", "join", "/root/vm", "--yes", "--timeout", "6"]
    refused = machine.run(unknown, timeout_s=240, check=False)
    assert refused.code == 1
    assert "WorkloadGroup bookinfo/none" in refused.stderr
    machine.sh("rm -r /root/vm")

    machine.sh("interceptor leave", timeout_s=120)
    left = difference(before, manifest(machine))
    assert not left, left
    assert machine.sh("ls -A /var/lib/interceptor", check=False) == ""


def test_what_cannot_work_is_refused_before_anything_is_written(
    image: Image, boot: Boot, lower: Path
) -> None:
    machine = boot(replace(image, lower=(lower, *image.lower)))
    before = manifest(machine)
    machine.sh("cp -r /bundle /root/bad; rm /root/bad/mesh.yaml")
    machine.sh("printf '[Service]\\nExecStart=sleep 60\\n' >/run/systemd/system/istio.service")
    machine.sh("systemctl daemon-reload; systemctl start istio.service")
    refused = machine.run(["interceptor", "join", "/root/bad", "--yes"], check=False)
    assert refused.code == 2
    for word in ("mesh.yaml: (missing)", "istio.service runs here"):
        assert word in refused.stderr
    machine.sh("rm -r /root/bad")
    left = difference(before, manifest(machine))
    assert not left, left
