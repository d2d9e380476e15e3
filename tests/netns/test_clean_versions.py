"""Rules of other versions go, old ones and ones that are not written yet, by `clean` and `rescue`.

`tests/data/versions/first-*` is what the first version that could install anything left on a
host, recorded by the host's own tools.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from interceptor.capture import clean
from interceptor.capture.iptables import Iptables
from interceptor.capture.journal import Journal
from interceptor.host import command, pin
from interceptor.lab import snapshot
from interceptor.lab.snapshot import Snapshot

if TYPE_CHECKING:
    from tests.conftest import Namespace

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests/data/versions"
RESCUE = ROOT / "scripts/rescue"
NEIGHBOURS = """
sysctl -qw net.ipv6.conf.default.accept_dad=0
ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up
ip address add 192.0.2.10/24 dev v0; ip -6 address add 2001:db8::10/64 dev v0 nodad
iptables-nft -t nat -N THEIRS; iptables-nft -t nat -A OUTPUT -p tcp --dport 7777 -j THEIRS
for program in iptables-nft ip6tables-nft; do
    for chain in FORWARD POSTROUTING; do
        $program -t mangle -A $chain -p udp --dport 9 -j ACCEPT
    done
done
iptables-legacy -t mangle -A OUTPUT -p udp --dport 9 -j MARK --set-mark 9
ipset create theirs hash:net; iptables-nft -A OUTPUT -m set --match-set theirs dst -j DROP
nft add table inet theirs; nft add chain inet theirs out
ip rule add fwmark 0x99 lookup 99; ip route add 203.0.113.0/24 dev v0 table 99
"""
FIRST = {
    "nftables": f"""
iptables-nft-restore --noflush <{DATA}/first-nftables.ipv4.save
ip6tables-nft-restore --noflush <{DATA}/first-nftables.ipv6.save
nft -f {DATA}/first-nftables.nft
""",
    "iptables": f"""
ipset restore <{DATA}/first-iptables.ipset
iptables-nft-restore --noflush <{DATA}/first-iptables.ipv4.save
ip6tables-nft-restore --noflush <{DATA}/first-iptables.ipv6.save
""",
}
ROUTES = """
for family in -4 -6; do
    ip $family route add local default dev lo table 15006 proto 157
    ip $family rule add fwmark 0x1dc2 lookup 15006 protocol 157
done
ip -6 route add local ::6 dev lo proto 157
"""
FUTURE = """
nft add table inet interceptor '{ flags dormant; }'
nft add set inet interceptor s '{ type ipv4_addr; }'
nft add map inet interceptor m '{ type mark : verdict; }'
nft add table ip interceptor; nft add chain ip interceptor unheard_of
nft add table ip6 interceptor
ipset create interceptor_future hash:ip,port
for program in iptables-nft ip6tables-nft iptables-legacy; do
    $program -t mangle -N INTERCEPTOR_FOO; $program -t mangle -N INTERCEPTOR_BAR
    $program -t mangle -A INTERCEPTOR_FOO -j INTERCEPTOR_BAR
    $program -t mangle -A FORWARD -m comment --comment "it's \\"ours\\"" -j INTERCEPTOR_FOO
    $program -t mangle -A POSTROUTING -g INTERCEPTOR_BAR
done
iptables-nft -t nat -N INTERCEPTOR_OLD; iptables-nft -t nat -A THEIRS -j INTERCEPTOR_OLD
ip route add blackhole 198.51.100.0/24 proto 157
ip route add unreachable default table 4711 proto 157
ip rule add from 192.0.2.99 iif v0 lookup 4711 priority 100 protocol 157
"""
"""Things that bear our name and that no version has ever made."""
LEFT_OUT = ("pins", "cgroups")  # of the machine, which others use too


def observe(host: Namespace) -> Snapshot:
    """Without registered legacy tables that are empty: the kernel offers no way back."""
    found = snapshot.observe_by(lambda argv: host.call(command.run, argv))
    return {title: text for title, text in found.items() if title not in LEFT_OUT}


@pytest.fixture
def host(namespaces: Callable[[str], Any]) -> Namespace:
    made: Namespace = namespaces("versions")
    made.sh(NEIGHBOURS)
    return made


@pytest.fixture
def pins(tmp_path: Path) -> Iterator[Path]:
    """A bpffs with maps of an old layout and of one that is to come."""
    place = tmp_path / "bpf"
    pin.prepare(place)
    folder = place / "interceptor"
    pin.prepare(folder)
    for each in pin.open_maps(folder).values():
        each.close()
    (ours,) = folder.glob("v[0-9]*")
    ours.rename(folder / "v0")
    for each in pin.open_maps(folder).values():
        each.close()
    (folder / ours.name).rename(folder / "v99")
    (folder / "v99" / "of_tomorrow").mkdir()
    yield folder
    command.run(["umount", str(place)])


def by_clean(host: Namespace, pins: Path, tmp_path: Path) -> None:
    del tmp_path
    host.call(clean.revert, Journal(), pins)


def rescue(host: Namespace, pins: Path, run_dir: Path, *argv: str, path: str = "") -> Any:
    environment = [f"INTERCEPTOR_BPF_DIR={pins}", f"INTERCEPTOR_RUN_DIR={run_dir}"]
    words = ["env", *environment, *([f"PATH={path}"] if path else []), *argv]
    return host.call(command.run, words, check=False)


def by_dash(host: Namespace, pins: Path, tmp_path: Path) -> None:
    done = rescue(host, pins, tmp_path, "/bin/dash", str(RESCUE))
    assert (done.code, done.stderr) == (0, "")
    assert "rescue: nothing of interceptor's is left\n" in done.stdout


APPLETS = ("awk", "cat", "grep", "id", "printf", "rm", "rmdir", "sed", "stat", "tr")
TOOLS = ("ip", "tc", "nft", "ipset")
XTABLES = tuple(
    f"{program}-{variant}{what}"
    for program in ("iptables", "ip6tables")
    for variant in ("nft", "legacy")
    for what in ("", "-save", "-restore")
)


def tools(folder: Path, *names: str) -> str:
    """A PATH with busybox's applets and these tools, and nothing else: no Python."""
    folder.mkdir()
    busybox = shutil.which("busybox")
    assert busybox, "install busybox: scripts/setup test"
    for applet in APPLETS:
        (folder / applet).symlink_to(busybox)
    for name in names:
        found = shutil.which(name)
        assert found, name
        (folder / name).symlink_to(found)
    return str(folder)


def by_busybox(host: Namespace, pins: Path, tmp_path: Path) -> None:
    path = tools(tmp_path / "tools", *TOOLS, *XTABLES)
    argv = (shutil.which("busybox") or "", "sh", str(RESCUE))
    done = rescue(host, pins, tmp_path, *argv, path=path)
    assert (done.code, done.stderr) == (0, ""), done


@pytest.mark.parametrize("remove", [by_clean, by_dash, by_busybox])
@pytest.mark.parametrize("first", FIRST)
def test_what_other_versions_left_goes_and_others_rules_stay(
    host: Namespace, pins: Path, tmp_path: Path, first: str, remove: Callable[..., None]
) -> None:
    host.sh("iptables-legacy -t mangle -L >/dev/null")
    before = observe(host)
    for script in (FIRST[first], ROUTES, FUTURE):
        host.sh(script)
    found = snapshot.diff(before, observe(host))
    for name in ("INTERCEPTOR_FOO", "INTERCEPTOR_DNS", "table ip interceptor", "proto 157"):
        assert name in found
    remove(host, pins, tmp_path)
    assert snapshot.diff(before, observe(host)) == ""
    assert not pins.exists()
    remove_again = by_clean if remove is by_busybox else remove
    remove_again(host, pins, tmp_path)
    assert snapshot.diff(before, observe(host)) == ""


def test_a_rule_that_comes_while_we_clean_stays(
    host: Namespace, pins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its chain was not there before us, and is gone with us only where it is empty."""
    host.sh(FIRST["iptables"])
    remove = Iptables._remove

    def interrupted(self: Iptables, version: int, text: str) -> None:
        remove(self, version, text)
        command.run(["iptables-nft", "-t", "mangle", "-A", "OUTPUT", "-j", "ACCEPT"])

    with monkeypatch.context() as patched:
        patched.setattr(Iptables, "_remove", interrupted)
        host.call(clean.revert, Journal(), pins)
    assert "-A OUTPUT -j ACCEPT" in host.sh("iptables-nft-save -t mangle")
    assert host.call(clean.observe, pins) == ""


@pytest.mark.parametrize("missing", ["nft", "iptables", "both"])
def test_rescue_does_what_it_can_without_a_tool_and_names_it(
    host: Namespace, pins: Path, tmp_path: Path, missing: str
) -> None:
    before = observe(host)
    host.sh(ROUTES)
    host.sh("ipset create interceptor_x hash:net")
    names = {
        "nft": ("ip", "tc", "ipset", *XTABLES),
        "iptables": TOOLS,
        "both": ("ip", "tc", "ipset"),
    }[missing]
    path = tools(tmp_path / "tools", *names)
    done = rescue(host, pins, tmp_path, "/bin/dash", str(RESCUE), path=path)
    assert done.code == 0, done
    assert ("nft is not here" in done.stdout) == (missing != "iptables")
    assert ("iptables-save is not here" in done.stdout) == (missing != "nft")
    assert "deleted route local default" in done.stdout
    assert "destroyed ipset interceptor_x" in done.stdout
    assert snapshot.diff(before, observe(host)) == ""


def test_rescue_says_what_it_could_not_remove(host: Namespace, pins: Path, tmp_path: Path) -> None:
    host.sh("ipset create interceptor_x hash:net")
    host.sh("iptables-nft -A OUTPUT -m set --match-set interceptor_x dst -j DROP")
    done = rescue(host, pins, tmp_path, str(RESCUE))
    assert done.code == 1
    assert "this is left, and could not be removed" in done.stderr
    assert "ipset interceptor_x" in done.stderr
    assert "nothing of interceptor's is left" not in done.stdout


def test_rescue_tells_how_it_is_called(host: Namespace, pins: Path, tmp_path: Path) -> None:
    for shell in ("/bin/dash", "/bin/bash"):
        done = rescue(host, pins, tmp_path, shell, str(RESCUE), "--help")
        assert (done.code, done.stderr) == (0, "")
        assert "Exit codes: 0" in done.stdout
        assert "set -eu" not in done.stdout
        assert rescue(host, pins, tmp_path, shell, str(RESCUE), "--force").code == 2
    nobody = ("setpriv", "--reuid=65534", "--clear-groups", "sh", "-s")
    done = host.call(command.run, nobody, RESCUE.read_text(), check=False)
    assert done.code == 1
    assert "must be root" in done.stderr
    assert os.access(RESCUE, os.X_OK)
