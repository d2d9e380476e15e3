"""One configuration with its mesh judges as `explain` does, whatever was asked before."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from interceptor import assembly, config, rehearsal
from interceptor.capture import plan, scope
from interceptor.capture.factfile import Saved
from interceptor.capture.plan import Facts, Flow, Hook
from interceptor.config import Config
from interceptor.debug import explain
from interceptor.debug.attempt import Attempt, Sender
from interceptor.mesh.model import AppProtocol, Endpoint, Host, Kind, Port
from interceptor.mesh.table import MeshTable
from interceptor.rehearsal import Called, Owner, Rehearsal

WEB = Port("tcp-web", 80, AppProtocol.TCP)
VIP, POD, OWN = ip_address("240.240.0.7"), ip_address("10.1.0.9"), ip_address("192.0.2.10")
TABLE = MeshTable(
    {
        host.name: host
        for host in (
            Host("wide.example", "n", Kind.SERVICE_ENTRY, networks=(ip_network("10.1.0.0/16"),)),
            Host("web.example", "n", Kind.SERVICE_ENTRY, (VIP,), (WEB,), (Endpoint(POD),)),
            Host("pods.example", "n", Kind.HEADLESS, (POD,), (WEB,), (Endpoint(POD),)),
            Host("mine.example", "n", Kind.SERVICE_ENTRY, (), (WEB,), (Endpoint(OWN),)),
        )
    }
)
FACTS = Facts(own_addresses=(OWN,), servers=(ip_address("192.0.2.53"),))
SAVED = Saved(FACTS, ("corp.example",))
CALL = Attempt(1, 0, Hook.OUTPUT, "eth0", "tcp", OWN, 4000, VIP, 80)


def configured(text: str = "") -> Config:
    return config.parse(text)


def judge(text: str = "", owner: Owner = Owner()) -> Rehearsal:  # noqa: B008
    return Rehearsal(configured(text), SAVED, owner, TABLE)


def test_a_connection_to_a_vip_has_its_host_cluster_and_endpoints() -> None:
    fate = judge().connection(CALL)
    assert (fate.verdict, fate.rule, fate.host) == ("outbound", 7, "web.example")
    assert fate.cluster == "outbound|80||web.example"
    assert fate.endpoints == ("10.1.0.9:80",)
    assert fate.to == "127.0.0.1:15001"


def test_what_arrives_is_inbound_to_the_host_that_is_offered_there() -> None:
    arriving = replace(CALL, hook=Hook.PREROUTING, source=POD, destination=OWN)
    fate = judge("capture: {inbound: {ports: [80]}}").connection(arriving)
    assert (fate.verdict, fate.host) == ("inbound", "mine.example")


def test_who_sent_it_is_told_by_the_capture_else_by_the_options() -> None:
    text = "capture: {owners: {exclude_uids: [1000], exclude_cgroups: [system.slice]}}"
    assert judge(text).connection(CALL).verdict == "outbound"
    assert judge(text, Owner(uid=1000)).connection(CALL).rule == 4
    assert judge(text).connection(replace(CALL, sender=Sender(1000))).rule == 4
    assert (
        judge(text, Owner(uid=1000)).connection(replace(CALL, sender=Sender(7))).verdict
        == "outbound"
    )
    assert judge(text, Owner(cgroup="system.slice/a")).connection(CALL).rule == 4
    assert judge(text).connection(replace(CALL, sender=Sender(is_sidecars=True))).rule == 2
    relayed = replace(CALL, port=53, sender=Sender(is_agents=True))
    assert judge(text).connection(relayed).rule == 2


def test_udp_to_a_mesh_host_is_told_to_pass() -> None:
    fate = judge().connection(replace(CALL, protocol="udp"))
    assert (fate.verdict, fate.host) == ("pass", "web.example")
    assert "UDP other than DNS is not captured" in fate.why


def test_the_search_list_is_the_captured_host_s() -> None:
    assert rehearsal.settle(configured(), SAVED).dns.search == ("corp.example",)
    given = configured("dns: {search: [b.example]}")
    assert rehearsal.settle(given, SAVED).dns.search == ("b.example",)


def test_the_back_end_that_the_captured_host_takes_counts_where_it_may_choose() -> None:
    saved = replace(SAVED, dns_backend="ebpf")
    assert rehearsal.settle(configured(), saved).dns.backend == "ebpf"
    for text in ("dns: {backend: iptables}", "capture: {backend: nftables}"):
        assert rehearsal.settle(configured(text), saved).dns.backend != "ebpf"
    assert rehearsal.settle(configured(), SAVED).dns.backend == "auto"


def test_another_mesh_leaves_the_rest_of_a_configuration() -> None:
    given = configured("dns: {ttl_s: 7}")
    other = rehearsal.with_mesh(given, (Path("x"),), None)
    assert (other.mesh.files, other.mesh.source, other.dns.ttl_s) == ((Path("x"),), "files", 7)
    table = rehearsal.with_mesh(given, (), Path("t.json"))
    assert (table.mesh.source, table.mesh.nametable) == ("nametable", Path("t.json"))
    assert rehearsal.with_mesh(given, (), None) == given


def test_addresses_bridges_and_ports_of_all_configurations_count() -> None:
    configs = [
        configured("capture: {interfaces: {bridges: [br0]}}"),
        configured("sidecar: {outbound_port: 16001}"),
    ]
    found = rehearsal.look_from(configs, FACTS, ("198.51.100.1",), "eth7")
    assert found.own == {OWN.packed, ip_address("198.51.100.1").packed}
    assert found.bridges == {"br0"}
    assert found.sidecar_ports == {15001, 16001, 15006, 15053}
    assert found.interface == "eth7"


ADDRESSES = st.sampled_from(
    (VIP, POD, OWN, ip_address("10.1.2.3"), ip_address("127.0.0.1"), ip_address("8.8.8.8"))
)
FLOWS = st.builds(
    Flow,
    hook=st.sampled_from(Hook),
    protocol=st.sampled_from(("tcp", "udp")),
    source=st.sampled_from((OWN, ip_address("127.0.0.6"), POD)),
    destination=ADDRESSES,
    port=st.sampled_from((53, 80, 443, 22)),
    interface=st.sampled_from(("eth0", "lo", "dark0")),
    uid=st.sampled_from((None, 0, 1337, 1000)),
)
TEXTS = (
    "",
    "capture: {outbound: {cidrs: '*'}, interfaces: {exclude: [dark0]}}",
    "capture: {owners: {include_uids: [1000]}, inbound: {ports: '*'}}",
    "dns: {servers: [10.1.0.9]}",
    "capture: {outbound: {exclude_ports: [443], ports: [22]}}",
)


@given(st.sampled_from(TEXTS), st.lists(FLOWS, max_size=12))
def test_kept_decisions_are_those_of_scope_and_explain(text: str, flows: list[Flow]) -> None:
    """By the plain interpreter of rules, over the whole plan and table, for each flow anew."""
    here = judge(text)
    built = plan.build(configured(text), FACTS, assembly.places(TABLE))
    for flow in flows:
        leaves = flow.hook is Hook.OUTPUT
        flow = replace(flow, uid=flow.uid if leaves else None)
        attempt = Attempt(
            *(1, 0, flow.hook, flow.interface, flow.protocol, flow.source, 4000),
            *(flow.destination, flow.port),
            sender=Sender(flow.uid),
        )
        decision = scope.decide(built, flow)
        called = explain.find(TABLE.hosts.values(), flow)
        fate = here.connection(attempt)
        assert (fate.verdict, fate.rule) == (decision.verdict.value, decision.rule)
        assert fate.host == (called[0].name if called else "")
        assert explain.find(Called(TABLE.hosts.values()).near(flow), flow) == called
