"""A mesh broken fifteen ways: `explain` names the true cause of each, and of what is well none.

Each break is real: a call of the very kind fails (or goes elsewhere than it should) on a host
with the daemon and Envoy, and the call beside it, that is well, succeeds.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from interceptor.host import command
from interceptor.lab import agent as lab_agent
from interceptor.lab import demo_change, description
from interceptor.lab.agent import Agent
from interceptor.lab.description import World
from interceptor.lab.removal import wait_until
from interceptor.lab.world import PACKAGE_ROOT, Lab

pytestmark = [pytest.mark.root, pytest.mark.envoy]

DOCUMENTS = Path(__file__).parents[1] / "data" / "broken" / "mesh.yaml"
UID, SPARED = 1000, 4242
WELL = "spared.mesh.internal:9080"
SERVED = "200 OK"

BREAKS: tuple[tuple[str, str, str], ...] = (
    # what is asked, the cause, what `explain` has to say of it
    ("http cart:9080", "wrong-namespace", "namespace bookinfo has no cart; namespace store has"),
    ("http reveiws:9080", "name-typo", "reviews.bookinfo.svc.cluster.local is"),
    ("http empty:9080", "no-endpoint", "nobody serves empty.bookinfo.svc.cluster.local"),
    ("http down.mesh.internal:9080 --probe", "all-endpoints-down", "every endpoint of down"),
    ("http spared.mesh.internal:9999", "excluded-port", "excluded outbound port (9999)"),
    (f"http {WELL} --uid {SPARED}", "excluded-uid", f"(uid {SPARED}"),
    ("http shop.shade.example:9080 --probe", "wildcard-shadowing", "*.shade.example answers"),
    ("http six.mesh.internal:9080", "ipv6-only-endpoint", "this VM has no IPv6 way there"),
    ("tcp clash-b.mesh.internal:5000", "vip-clash", "clash-a.mesh.internal has it"),
    ("http misnamed.mesh.internal:7000 --probe", "wrong-port-name", "is HTTP by its name"),
    ("http misnamed.mesh.internal:9080", "wrong-port-name", "is TCP by its name 'mysql'"),
)
"""The six others need something done to the host, and have a test each."""

SOUND = (
    "http cart.store:9080",
    "http reviews:9080 --probe",
    f"http {WELL} --probe --uid {UID}",
    "tcp misnamed.mesh.internal:7001 --probe",
    "tcp clash-b.mesh.internal:5001 --probe",
    "http details:9080 --probe",
    "http any.shade.example:9080 --probe",
    "tcp www.corp.example:80 --probe",
    "udp 10.77.0.53:53 --probe",
)
"""The same hosts, called as they should be."""


# Several questions to one process: what is asked is the same, and starting it takes longest.
MANY = """
import contextlib, io, json, sys
from interceptor.cli import group
said = []
for argv in json.loads(sys.argv[1]):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        group.call(argv)
    said.append(out.getvalue())
print(json.dumps(said))
"""


@dataclass(frozen=True, slots=True)
class Told:
    """What `explain --json` said: each finding's cause, the first one's sentence and evidence."""

    causes: tuple[str, ...]
    why: str
    evidence: str
    next: str
    text: str


def explain(agent: Agent, *words: str) -> Told:
    return next(iter(explain_all(agent, [" ".join(words)]).values()))


def explain_all(agent: Agent, every: Iterable[str]) -> dict[str, Told]:
    """Each of the command lines, as user 1000 where none is named, with what was said to it."""
    lines = list(every)
    argvs = [_argv(agent, line) for line in lines]
    words = ["env", f"PYTHONPATH={PACKAGE_ROOT}", sys.executable, "-c", MANY, json.dumps(argvs)]
    said = json.loads(agent.lab.run(agent.host, words, timeout_s=120).stdout)
    return {line: _told(text) for line, text in zip(lines, said, strict=True)}


def _argv(agent: Agent, line: str) -> list[str]:
    uid = [] if "--uid" in line else ["--uid", str(UID), "--gid", str(UID)]
    return ["explain", *line.split(), *uid, "--json", "--config", str(agent.config)]


def _told(text: str) -> Told:
    findings = cast("list[dict[str, object]]", json.loads(text)["findings"])
    first = findings[0] if findings else {}
    return Told(
        tuple(str(each["cause"]) for each in findings),
        str(first.get("why", "")),
        "\n".join(cast("list[str]", first.get("evidence", []))),
        str(first.get("next", "")),
        text,
    )


def curl(agent: Agent, url: str, uid: int = UID, *words: str) -> str:
    """The status line of a call as that user; what curl says of it where there is none."""
    argv = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    argv += ["curl", "-sS", "-I", "-m", "2", *words, f"http://{url}/"]
    done = agent.lab.run(agent.host, argv, check=False)
    return done.stdout.partition("\n")[0].strip() or done.stderr.strip()


def world() -> World:
    """The demo's, whose server knows one more name: the one that a wildcard hides."""
    made = description.default()
    record = "host-record=shop.shade.example,10.77.0.61"
    hosts = tuple(
        dataclasses.replace(host, records=(*host.records, record)) if host.records else host
        for host in made.hosts
    )
    return dataclasses.replace(made, hosts=hosts)


@contextmanager
def open_broken(backend: str) -> Iterator[Agent]:
    with Lab.open(world()) as lab:
        # The VM has IPv6 on its own segment, and no way beyond.
        command.run(["ip", "-n", lab.namespace("vm"), "-6", "route", "del", "default"])
        over = {
            "capture": {
                "backend": backend,
                "outbound": {"exclude_ports": [9999]},
                "owners": {"exclude_uids": [SPARED]},
            }
        }
        one = lab_agent.prepare(lab, "vm", over)
        (one.mesh / "broken.yaml").write_text(DOCUMENTS.read_text())
        try:
            one.start()
            yield one
        finally:
            one.stop()


@pytest.fixture(scope="module")
def broken() -> Iterator[Agent]:
    """A host of nftables, its mesh broken in every way that documents can break it."""
    with open_broken("nftables") as one:
        yield one


@pytest.fixture(scope="module")
def programs() -> Iterator[Agent]:
    """The same with ebpf."""
    with open_broken("ebpf") as one:
        yield one


@pytest.fixture(scope="module")
def said(broken: Agent) -> dict[str, Told]:
    """What is said of every call that only documents and settings break, or leave well."""
    return explain_all(broken, [*(words for words, _, _ in BREAKS), *SOUND])


@pytest.mark.parametrize(
    ("words", "cause", "why"), BREAKS, ids=[f"{words}: {cause}" for words, cause, _ in BREAKS]
)
def test_a_break_is_told_by_its_true_cause(
    broken: Agent, said: dict[str, Told], words: str, cause: str, why: str
) -> None:
    target = words.split()[1]
    if cause not in ("vip-clash", "wildcard-shadowing") and "'mysql'" not in why:
        uid = SPARED if "--uid" in words else UID
        assert SERVED not in curl(broken, target, uid)
    told = said[words]
    assert told.causes == (cause,), told.text
    assert why in told.why
    assert told.next


@pytest.mark.parametrize("words", SOUND)
def test_of_what_is_well_nothing_is_said(broken: Agent, said: dict[str, Told], words: str) -> None:
    protocol, target = words.split()[:2]
    if protocol == "http":
        assert SERVED in curl(broken, target)
    told = said[words]
    assert told.causes == (), told.text


def test_the_loser_of_a_clash_is_answered_by_the_other(broken: Agent) -> None:
    """The break of vip-clash: clash-b's own endpoint is ratings-v1, and reviews-v1 answers."""
    argv = ["curl", "-sS", "-m", "2", "http://clash-b.mesh.internal:5000/"]
    assert broken.lab.run("vm", argv).stdout.strip() == "reviews-v1"


def test_a_wildcard_leads_elsewhere_than_the_name_of_the_outside(broken: Agent) -> None:
    """The break of wildcard-shadowing: the real server knows the name as another address."""
    argv = ["dig", "+short", "@10.77.0.53", "shop.shade.example"]
    assert broken.lab.run("vm", argv).stdout.strip() == "10.96.1.5"
    assert broken.lab.run("vm2", argv).stdout.strip() == "10.77.0.61"


# --- firewall before us


@contextmanager
def guarded(agent: Agent, rule: str, priority: int) -> Iterator[None]:
    """Somebody's firewall on the agent's host."""
    base = f"type filter hook output priority {priority}"
    text = f"table inet guard {{\nchain out {{\n{base};\n{rule}\n}}\n}}\n"
    agent.lab.run(agent.host, ["nft", "-f", "-"], text)
    try:
        yield
    finally:
        agent.lab.run(agent.host, ["nft", "delete", "table", "inet", "guard"])


@pytest.mark.parametrize(
    "rule",
    [
        "ip daddr 10.96.0.0/12 tcp dport 9080 drop",
        # A condition that nobody here reads: blamed because the probe did not reach our rule.
        "ip daddr 10.96.0.11 ip ttl 64 meta l4proto tcp counter reject with tcp reset",
    ],
)
def test_a_firewall_in_front_of_our_rules_is_named(broken: Agent, rule: str) -> None:
    with guarded(broken, rule, -300):
        assert SERVED not in curl(broken, "reviews:9080")
        told = explain(broken, "http reviews:9080 --probe")
    assert told.causes == ("firewall-before-us",), told.text
    assert "nft inet guard out" in told.evidence


def test_a_firewall_for_others_is_not_blamed(broken: Agent) -> None:
    with guarded(broken, "ip daddr 192.0.2.1 tcp dport 9080 drop", -300):
        assert explain(broken, "http reviews:9080 --probe").causes == ()


def test_a_firewall_that_takes_queries_is_named(broken: Agent) -> None:
    with guarded(broken, "udp dport 53 drop", -300):
        told = explain(broken, "udp 10.77.0.53:53 --probe")
    assert told.causes == ("firewall-before-us",), told.text


def test_programs_steer_before_any_firewall_and_see_queries_behind_it(programs: Agent) -> None:
    tcp = "ip daddr 10.96.0.0/12 tcp dport 9080 drop"
    with guarded(programs, f"udp dport 53 drop\n{tcp}", -300):
        assert SERVED in curl(programs, "10.96.0.11:9080")
        told = explain_all(programs, ["http 10.96.0.11:9080 --probe", "udp 10.77.0.53:53 --probe"])
    assert [each.causes for each in told.values()] == [(), ("firewall-before-us",)], told


# --- bound device


def test_a_bound_socket_is_lost_in_nat(broken: Agent) -> None:
    assert SERVED not in curl(broken, "reviews:9080", UID, "--interface", "if!eth0")
    told = explain(broken, "http reviews:9080 --bound eth0")
    assert told.causes == ("bound-device",), told.text


def test_a_program_that_has_bound_its_socket_is_found(broken: Agent) -> None:
    argv = ["curl", "-s", "-m", "20", "--interface", "if!eth0", "http://10.96.0.11:9080/"]
    calling = broken.lab.start("vm", argv, "bound", detached=True)
    try:
        see = ["ss", "-Htn", "dst", "10.96.0.11"]
        wait_until(lambda: "eth0" in broken.lab.run("vm", see).stdout, "the bound socket")
        told = explain(broken, "http reviews:9080")
    finally:
        calling.stop()
    assert told.causes == ("bound-device",), told.text
    assert "curl (pid" in told.why


BOUND, BOUND_ROOT = (
    "http reviews:9080 --bound eth0",
    "http reviews:9080 --bound eth0 --uid 0 --probe",
)


def test_programs_keep_the_bound_socket_of_those_who_may(
    programs: Agent, said_of_programs: dict[str, Told]
) -> None:
    """The kernel takes nobody off a device without CAP_NET_RAW, whoever asks it to."""
    assert SERVED in curl(programs, "reviews:9080", 0, "--interface", "if!eth0")
    assert said_of_programs[BOUND_ROOT].causes == ()
    assert SERVED not in curl(programs, "10.96.0.11:9080", UID, "--interface", "if!eth0")
    assert said_of_programs[BOUND].causes == ("bound-device",)


# --- DoT


DOT_SERVER = """
server:
  interface: 10.77.0.53@853
  tls-port: 853
  tls-service-key: "{folder}/key.pem"
  tls-service-pem: "{folder}/cert.pem"
  access-control: 0.0.0.0/0 allow
  do-daemonize: no
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  directory: "{folder}"
  local-zone: "." static
remote-control:
  control-enable: no
"""

# A stub of DNS over TLS (RFC 7858): asks one name, prints the rcode, and stays connected.
DOT_CLIENT = """
import socket, ssl, sys, time
name = b"".join(bytes([len(l)]) + l.encode() for l in sys.argv[1].split(".")) + b"\\0"
query = b"\\0\\7\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0" + name + b"\\0\\1\\0\\1"
context = ssl._create_unverified_context()
with socket.create_connection(("10.77.0.53", 853), 5) as one, context.wrap_socket(one) as tls:
    tls.sendall(len(query).to_bytes(2, "big") + query)
    print("rcode", tls.recv(4096)[5] & 15, flush=True)
    time.sleep(30)
"""


def test_a_resolver_that_asks_over_tls_is_named(broken: Agent) -> None:
    lab, folder = broken.lab, broken.lab.host_folder("dns")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    out = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem", "-subj", "/CN=dns"]
    command.run(["openssl", "req", "-x509", *curve, *out])
    (folder / "dot.conf").write_text(DOT_SERVER.format(folder=folder))
    server = lab.start("dns", ["unbound", "-d", "-c", f"{folder}/dot.conf"], "dot", detached=True)
    name = "reviews.bookinfo.svc.cluster.local"
    client = None
    try:
        see = ["ss", "-Htln", "sport", "=", ":853"]
        wait_until(lambda: ":853" in lab.run("dns", see).stdout, "the DoT server")
        argv = [sys.executable, "-c", DOT_CLIENT, name]
        client = lab.start("vm", argv, "dot-client", detached=True)
        wait_until(lambda: "rcode" in lab.log("vm", "dot-client"), "the answer over TLS")
        assert "rcode 3" in lab.log("vm", "dot-client")
        told = explain(broken, "http reviews:9080")
    finally:
        for each in filter(None, (client, server)):
            each.stop()
    assert told.causes == ("dot-resolver",), told.text
    assert f"(pid {client.pid if client else 0})" in told.evidence


# --- the daemon's own


def test_a_stale_table_is_told_with_the_document_that_is_refused(broken: Agent) -> None:
    file = broken.mesh / "stale.yaml"
    text = (broken.mesh / "ratings.yaml").read_text().replace("ratings", "fresh")
    demo_change.replace(file, text)
    ask = ["dig", "+short", "fresh.mesh.internal"]
    wait_until(lambda: bool(broken.lab.run("vm", ask).stdout.strip()), "the new service")
    try:
        demo_change.replace(file, text.replace("9080", "99080"))
        refused = lambda: "99080" in broken.run("status", "--json").stdout  # noqa: E731
        wait_until(refused, "the refusal")
        told = explain(broken, "http fresh.mesh.internal:9080")
        assert told.causes[0] == "stale-table", told.text
        assert "stale.yaml" in told.evidence
        assert "99080" in told.evidence
    finally:
        file.unlink()
        status = lambda: "99080" not in broken.run("status", "--json").stdout  # noqa: E731
        wait_until(status, "the end of the refusal")


def test_an_envoy_that_is_away_is_told_and_nothing_behind_it(broken: Agent) -> None:
    over = {"sidecar": {"mode": "external"}, "capture": {"backend": "nftables"}}
    other = lab_agent.prepare(broken.lab, "vm2", over)
    try:
        other.start()
        assert SERVED not in curl(other, "reviews.bookinfo:9080")
        told = explain(other, "http reviews.bookinfo:9080 --probe")
    finally:
        other.stop()
    assert told.causes == ("envoy-down",), told.text
    assert "no socket listens on port 15001" in told.evidence


def test_without_root_it_says_what_it_could_not_look_at(broken: Agent) -> None:
    done = broken.run_unprivileged("explain", "tcp", "empty:9080", "--json")
    tree = json.loads(done.stdout)
    assert [each["cause"] for each in tree["findings"]] == ["no-endpoint"]
    links = {each["step"]: each for each in tree["links"]}
    assert links["rule"]["ok"] is None
    assert "only root" in links["rule"]["said"]
    assert "only root" in str(links["listener"])


# --- what each back end decides by


ENTRIES = (
    # what is asked, the rule of nft, the entry of a map
    (f"http {WELL} --probe --uid {UID}", "@outbound4", "outbound 10.96.1.4/32"),
    ("http spared.mesh.internal:9999", "dport 9999", "out-port-spared 9999"),
    (f"http {WELL} --uid {SPARED}", f"skuid {SPARED}", f"exclude-uid {SPARED}"),
)
SIDECAR, STRANGER = f"tcp {WELL} --uid 1337", f"tcp {WELL} --uid 1337 --cgroup /somewhere"


@pytest.fixture(scope="module")
def said_of_programs(programs: Agent) -> dict[str, Told]:
    lines = [line for line, _, _ in ENTRIES]
    return explain_all(programs, [*lines, SIDECAR, STRANGER, BOUND, BOUND_ROOT])


@pytest.mark.parametrize("backend", ["nftables", "ebpf"])
@pytest.mark.parametrize(("words", "rule", "entry"), ENTRIES)
def test_the_very_rule_or_entry_is_shown_with_its_counter(
    request: pytest.FixtureRequest, backend: str, words: str, rule: str, entry: str
) -> None:
    fixture = "said" if backend == "nftables" else "said_of_programs"
    told = json.loads(request.getfixturevalue(fixture)[words].text)
    link = next(each for each in told["links"] if each["step"] == "rule")
    detail = "\n".join(link["detail"])
    assert (rule if backend == "nftables" else entry) in detail, detail
    if "--probe" in words:
        assert told["probe"]["after"] > told["probe"]["before"]


def test_the_sidecars_user_is_exempt_in_its_cgroup_alone_with_programs(
    said_of_programs: dict[str, Told],
) -> None:
    inside = json.loads(said_of_programs[SIDECAR].text)
    assert (inside["verdict"], inside["rule"]) == ("pass", 2)
    assert "elsewhere is captured" in inside["why"]
    outside = json.loads(said_of_programs[STRANGER].text)
    assert (outside["verdict"], outside["rule"]) == ("outbound", 7)
