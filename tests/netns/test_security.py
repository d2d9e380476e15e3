"""What an unprivileged user of the host reaches of us: walked, not listed from memory."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from interceptor.host import command
from interceptor.lab import agent as lab_agent
from interceptor.lab.agent import Agent
from interceptor.lab.removal import bpffs
from interceptor.lab.world import Lab

pytestmark = [pytest.mark.root, pytest.mark.envoy]

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
PUBLIC = {
    15001: "outbound: black-holed without an original destination",
    15006: "inbound: likewise",
    15000: "Envoy's admin port: /ready and /stats",
    15020: "agent: health and metrics",
    15021: "readiness",
    15053: "DNS over TCP: mesh names",
    15090: "Envoy's Prometheus",
}
"""Every TCP port that may appear with us."""
PAGES = {
    15000: ("/ready", "/stats", "/stats/prometheus"),
    15020: ("/healthz/ready", "/metrics", "/stats/prometheus"),
    15021: ("/healthz/ready",),
    15090: ("/stats/prometheus",),
}
SECRET = (
    *("/", "/config_dump", "/clusters", "/certs", "/listeners", "/server_info", "/help"),
    *("/runtime", "/memory", "/logging", "/debug/ndsz", "/status", "/quitquitquit"),
    *("/debug/pprof", "/debug/config_dump", "/stats/recentlookups", "/ready/../config_dump"),
)
POSTS = (
    *("/quitquitquit", "/drain_listeners", "/healthcheck/fail", "/reset_counters"),
    *("/logging?level=trace", "/confirm", "/ready", "/stats", "/stats/prometheus"),
)


KNOWN: dict[str, set[tuple[str, str]]] = {}
"""Lab → who listened before the agent."""


@pytest.fixture(scope="module", params=["nftables", "ebpf"])
def walked(request: pytest.FixtureRequest) -> Iterator[Agent]:
    """A running agent, whose files lie where nobody may pass, as in /run."""
    with Lab.open() as lab:
        inbound = {"ports": [8080]}
        over = {"capture": {"backend": request.param, "inbound": inbound}}
        one = lab_agent.prepare(lab, "vm", over)
        KNOWN[lab.token] = listening(lab)
        one.start()
        yield one
        one.stop()


def listening(lab: Lab) -> set[tuple[str, str]]:
    """(kind, address) of every TCP listener, UDP and Unix socket, by ss."""
    found = set()
    text = lab.run("vm", ["ss", "-Hlntuwx"]).stdout
    for line in text.splitlines():
        words = line.split()
        found.add((words[0], words[4]))
    return found


def as_nobody(agent: Agent, *argv: str, stdin: str | None = None) -> command.Completed:
    return agent.lab.run(agent.host, [*NOBODY, *argv], stdin, check=False)


def curl(agent: Agent, *words: str) -> str:
    """The status that nobody gets; 000 where there is no connection or no HTTP."""
    argv = ("curl", "-s", "-m", "3", "-o", "/dev/null", "--path-as-is", "-w", "%{http_code}")
    return as_nobody(agent, *argv, *words).stdout


def test_only_known_ports_appear_and_those_of_root_on_loopback(walked: Agent) -> None:
    fresh = listening(walked.lab) - KNOWN[walked.lab.token]
    tcp = {place for kind, place in fresh if kind == "tcp"}
    assert {int(place.rpartition(":")[2]) for place in tcp} == set(PUBLIC)
    everywhere = {15021, 15090}
    for place in tcp:
        host, _, port = place.rpartition(":")
        if int(port) not in everywhere and int(port) not in (15006, 15001):
            assert host.strip("[]") in ("127.0.0.1", "::1"), place
    assert {place for kind, place in fresh if kind == "udp"} == set()
    raw = {place for kind, place in fresh if kind in ("???", "raw", "icmp6")}
    assert all("255" in place or place.startswith(("*", "[::]", "0.0.0.0")) for place in raw), raw


def test_unix_sockets_are_closed_to_others(walked: Agent) -> None:
    folder = walked.lab.host_folder(walked.host)
    sockets = [path for path in folder.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)]
    assert {path.name for path in sockets} == {"control.sock", "xds.sock", "sock"}
    for path in sockets:
        assert path.stat().st_mode & 0o007 == 0, path
        done = as_nobody(walked, "curl", "-s", "--unix-socket", str(path), "http://x/status")
        assert done.code == 7, (path, done)
    abstract = {place for _, place in listening(walked.lab) if place.startswith("@")}
    assert not [place for place in abstract if "interceptor" in place or "envoy" in place]
    root = ["curl", "-s", "--unix-socket", str(folder / "run/sidecar/admin/sock")]
    assert '"state": "LIVE"' in walked.lab.run("vm", [*root, "http://x/server_info"]).stdout


def test_health_and_metrics_are_for_everybody(walked: Agent) -> None:
    for port, pages in PAGES.items():
        for page in pages:
            assert curl(walked, f"http://127.0.0.1:{port}{page}") == "200", (port, page)


@pytest.mark.parametrize("port", sorted(PAGES))
def test_nothing_else_is_read_or_done_by_them(walked: Agent, port: int) -> None:
    for address in ("127.0.0.1", "10.77.0.10"):
        for page in SECRET:
            if page not in PAGES[port]:
                status = curl(walked, f"http://{address}:{port}{page}")
                assert status in ("000", "403", "404"), (address, port, page, status)
        for page in POSTS:
            status = curl(walked, "-X", "POST", "-d", "", f"http://{address}:{port}{page}")
            assert status in ("000", "403", "404", "405"), (address, port, page, status)
    assert walked.is_ready()


@pytest.mark.parametrize("port", [15001, 15006])
def test_the_sidecar_called_outright_leads_nowhere(walked: Agent, port: int) -> None:
    """Neither as a proxy nor by its own address: it would be a way past every rule."""
    for address in ("127.0.0.1", "10.77.0.10"):
        place = f"http://{address}:{port}"
        for words in (
            (f"{place}/",),
            ("-H", "Host: reviews.bookinfo.svc.cluster.local:9080", f"{place}/"),
            ("-x", place, "http://10.77.0.61/"),
            ("-p", "-x", place, "http://10.77.0.61:80/"),
        ):
            status = curl(walked, *words)
            assert status in ("000", "403", "404", "503"), (address, words, status)
    assert curl(walked, "http://10.77.0.61/") == "200"


def test_the_dns_relay_called_outright_leads_nowhere(walked: Agent) -> None:
    dig = ("dig", "+tcp", "+tries=1", "+time=2", "+short", "-p", "15053", "@127.0.0.1")
    assert as_nobody(walked, *dig, "reviews.bookinfo", "A").stdout == "10.96.0.11\n"
    assert "10.77" not in as_nobody(walked, *dig, "www.corp.example", "A").stdout


def test_no_file_of_ours_can_be_written_and_none_with_contents_be_read(walked: Agent) -> None:
    lab = walked.lab
    token, run_dir = lab.token, lab.host_folder("vm") / "run"
    places = [run_dir, lab.host_folder("vm") / "state"]
    if any(path.name == "interceptor" for path in bpffs(token, "vm").iterdir()):
        places.append(bpffs(token, "vm") / "interceptor")
    every = [path for place in places for path in (place, *place.rglob("*"))]
    assert {"journal", "lock", "bootstrap.json"} <= {path.name for path in every}
    for path in every:
        mode = path.lstat().st_mode
        assert not stat.S_ISLNK(mode), path
        assert mode & 0o002 == 0, f"{path} can be written by everybody"
        if not stat.S_ISDIR(mode):
            assert mode & 0o004 == 0, f"{path} can be read by everybody"
        if path.stat().st_uid not in (0, 1337):
            raise AssertionError(f"{path} belongs to {path.stat().st_uid}")


def test_nothing_of_ours_runs_as_its_owner_whoever_starts_it() -> None:
    """No set-user-ID: uid 1337 and its exemption are root's to give."""
    package = Path(lab_agent.__file__).parents[1]
    for path in package.rglob("*"):
        assert not path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID) or path.is_dir(), path


def test_nothing_is_imported_from_the_folder_that_root_starts_it_in(tmp_path: Path) -> None:
    """Anybody may have put modules there."""
    planted, trace = tmp_path / "interceptor", tmp_path / "was-run"
    planted.mkdir()
    for name in ("interceptor/__init__.py", "asyncio.py", "json.py"):
        (tmp_path / name).write_text(f"open({str(trace)!r}, 'a').write({name!r})\n")
    with Lab.open() as lab:
        one = lab_agent.prepare(lab, "vm", {"sidecar": {"mode": "none"}})
        argv = ["env", f"--chdir={tmp_path}", *one.argv("run")]
        one.process = lab.start("vm", argv, "agent", detached=True)
        one.wait_ready()
        one.stop()
    assert not trace.exists(), trace.read_text()


def test_the_mark_of_our_sockets_is_not_for_everybody(walked: Agent) -> None:
    script = "import socket; socket.socket().setsockopt(1, 36, 0x1DC0)"
    done = as_nobody(walked, "/usr/bin/python3", "-c", script)
    assert "PermissionError" in done.stderr


def test_an_alias_made_up_by_hand_leads_nowhere(walked: Agent) -> None:
    """With ebpf captured connections go to aliases; each way has its own, for all ports."""
    assert curl(walked, "http://10.96.0.11:9080/") == "200"
    for network in (64, 128, 192):
        slot = f"127.{network + 96 % 64}.0.11"
        assert curl(walked, f"http://{slot}:9080/") == "000", slot
        assert curl(walked, f"http://{slot}:22/") == "000", slot


def test_envoy_runs_as_its_own_user_without_capabilities(walked: Agent) -> None:
    record = json.loads((walked.lab.host_folder("vm") / "run" / "sidecar.pid").read_text())
    status = Path(f"/proc/{record['pid']}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == fields["Gid"].split() == ["1337"] * 4
    assert fields["Groups"].strip() == ""
    assert {fields[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {"0" * 16}
    assert os.geteuid() == 0
