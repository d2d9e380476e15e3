"""A mesh broken fifteen ways: `explain` names the true cause of each, and of what is well none.

Each break is real: a call of the very kind fails (or goes elsewhere than it should) on a host
with the daemon and Envoy, and the call beside it, that is well, succeeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from interceptor.lab import agent as lab_agent
from interceptor.lab import demo_change
from interceptor.lab.agent import Agent
from interceptor.lab.removal import wait_until
from tests.netns import overtls
from tests.netns.broken import (
    BREAKS,
    SERVED,
    SOUND,
    SPARED,
    UID,
    WELL,
    Told,
    curl,
    explain,
    explain_all,
    open_broken,
)

pytestmark = [pytest.mark.root, pytest.mark.envoy]

BRIEFLY = ("-m", "1")  # a call that is to fail
FROM_ETH0 = ("--interface", "if!eth0")


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
        assert SERVED not in curl(broken, target, uid, *BRIEFLY)
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
        assert SERVED not in curl(broken, "reviews:9080", UID, *BRIEFLY)
        told = explain(broken, "http reviews:9080 --probe")
    assert told.causes == ("firewall-before-us",), told.text
    assert "nft inet guard out" in told.evidence


def test_a_rule_of_iptables_in_front_of_ours_is_named(broken: Agent) -> None:
    rule = ["OUTPUT", "-p", "tcp", "-d", "10.96.0.0/16", "--dport", "9080", "-j", "DROP"]
    table = ["iptables-nft", "-t", "raw"]
    broken.lab.run("vm", [*table, "-A", *rule])
    try:
        assert SERVED not in curl(broken, "reviews:9080", UID, *BRIEFLY)
        told = explain(broken, "http reviews:9080")
    finally:
        broken.lab.run("vm", [*table, "-D", *rule])
    assert told.causes == ("firewall-before-us",), told.text
    assert "iptables-nft raw OUTPUT" in told.evidence


def test_a_firewall_for_others_is_not_blamed(broken: Agent) -> None:
    with guarded(broken, "ip daddr 192.0.2.1 tcp dport 9080 drop", -300):
        assert explain(broken, "http reviews:9080 --probe").causes == ()


def test_a_firewall_that_takes_queries_is_named(broken: Agent) -> None:
    lines = ["udp 10.77.0.53:53 --probe", "http reviews:9080"]
    with guarded(broken, "udp dport 53 drop", -300):
        told = explain_all(broken, lines)
    assert [each.causes for each in told.values()] == [("firewall-before-us",)] * 2, told


def test_programs_steer_before_any_firewall_and_see_queries_behind_it(programs: Agent) -> None:
    tcp = "ip daddr 10.96.0.0/12 tcp dport 9080 drop"
    with guarded(programs, f"udp dport 53 drop\n{tcp}", -300):
        assert SERVED in curl(programs, "10.96.0.11:9080")
        told = explain_all(programs, ["http 10.96.0.11:9080 --probe", "udp 10.77.0.53:53 --probe"])
    assert [each.causes for each in told.values()] == [(), ("firewall-before-us",)], told


# --- bound device


def test_a_bound_socket_is_lost_in_nat(broken: Agent) -> None:
    assert SERVED not in curl(broken, "reviews:9080", UID, *BRIEFLY, *FROM_ETH0)
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
    assert SERVED in curl(programs, "reviews:9080", 0, *FROM_ETH0)
    assert said_of_programs[BOUND_ROOT].causes == ()
    assert SERVED not in curl(programs, "10.96.0.11:9080", UID, *BRIEFLY, *FROM_ETH0)
    assert said_of_programs[BOUND].causes == ("bound-device",)


# --- DoT


def test_a_resolver_that_asks_over_tls_is_named(broken: Agent) -> None:
    with overtls.asking(broken.lab, "reviews.bookinfo.svc.cluster.local") as client:
        told = explain(broken, "http reviews:9080")
        assert f"(pid {client.pid})" in told.evidence
    assert told.causes == ("dot-resolver",), told.text


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
        other.start(timeout_s=90)
        assert SERVED not in curl(other, "reviews.bookinfo:9080")
        told = explain(other, "http reviews.bookinfo:9080 --probe")
    finally:
        other.stop()
    assert told.causes == ("envoy-down",), told.text
    assert "no socket listens on port 15001" in told.evidence


def test_without_root_it_says_what_it_could_not_look_at(broken: Agent) -> None:
    done = broken.run_unprivileged("explain", "tcp", "empty:9080", "--json", timeout_s=90)
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
