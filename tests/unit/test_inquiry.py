"""`explain` asks the plan and table that the daemon would use, from a configuration alone."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from interceptor import assembly, config, inquiry
from interceptor.capture.plan import Facts, Hook
from interceptor.config import Config
from interceptor.errors import ConfigError
from interceptor.inquiry import Question
from interceptor.mesh.outcome import Verdict
from interceptor.sidecar import resources
from interceptor.sidecar.resource import Kind
from interceptor.sidecar.setting import Settings

MESH = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: vm}
spec:
  hosts: [db.example]
  ports: [{number: 3306, name: tcp-mysql, protocol: TCP}]
  resolution: STATIC
  endpoints:
  - {address: 192.0.2.7, ports: {tcp-mysql: 13306}}
"""


@pytest.fixture
def ours(tmp_path: Path) -> Config:
    (tmp_path / "db.yaml").write_text(MESH)
    return config.parse(
        "capture: {inbound: {ports: [13306]}}",
        flags={
            "mesh.files": [str(tmp_path)],
            "mesh.state_dir": str(tmp_path / "state"),
            "node.namespace": "vm",
            "dns.search": [],
        },
    )


def test_a_name_is_followed_to_its_vip_and_endpoint(ours: Config) -> None:
    found = inquiry.explain(ours, Question("tcp", "db.example:3306", uid=1000, gid=1000))
    assert (found.verdict, found.rule, found.host) == ("outbound", 7, "db.example")
    assert found.answer[0].startswith("240.240.")
    assert found.endpoints == ("192.0.2.7:13306",)
    assert found.rule_text == ("output tcp: destination in set outbound -> outbound",)


def test_the_family_of_the_source_decides_which_address_is_called(ours: Config) -> None:
    question = Question("tcp", "db.example:3306", uid=1000, gid=1000, source="2001:db8::1")
    found = inquiry.explain(ours, question)
    assert found.to == "[::1]:15001"
    assert found.answer[0].startswith("2001:2:")


def test_the_sidecar_is_told_apart_by_its_uid(ours: Config) -> None:
    found = inquiry.explain(ours, Question("tcp", "db.example:3306", uid=1337, gid=0))
    assert (found.verdict, found.rule) == ("pass", 2)


def test_an_arriving_flow_is_inbound(ours: Config) -> None:
    flow = inquiry.flow(
        Question("tcp", "x:1", interface="eth0"),
        Facts(own_addresses=(ip_address("192.0.2.7"),)),
        ip_address("192.0.2.7"),
        13306,
        ip_address("192.0.2.99"),
    )
    assert (flow.hook, flow.uid, flow.interface) == (Hook.PREROUTING, None, "eth0")


@pytest.mark.parametrize("target", ["x", "x:0", "x:70000", ":80", "x:http"])
def test_a_target_is_a_host_and_a_port(ours: Config, target: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        inquiry.explain(ours, Question("tcp", target))


def test_a_name_without_an_address_cannot_be_called(ours: Config) -> None:
    found = inquiry.explain(ours, Question("tcp", "nobody.example:80"))
    assert (found.verdict, found.endpoints) == ("pass", ())
    assert "give the address" in found.why


HIDDEN = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: store}
spec:
  hosts: [db.example]
  addresses: [192.0.2.5]
  resolution: STATIC
  ports: [{number: 3306, name: tcp, protocol: TCP}]
  endpoints: [{address: 10.0.0.1}]
"""
SIDECAR = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: own, namespace: vm}
spec:
  workloadSelector: {labels: {app: billing}}
  egress: [{hosts: ["./*"]}]
"""


def placed(folder: Path, *texts: str, app: str = "billing") -> Config:
    for number, text in enumerate(texts):
        (folder / f"{number}.yaml").write_text(text)
    return config.parse(
        f"""
node: {{namespace: vm, labels: {{app: {app}}}}}
mesh: {{files: [{folder}], state_dir: {folder}/state}}
dns: {{search: [], forward_zones: {{zone.example: [192.0.2.53], "example": ["fd00::53"]}}}}
"""
    )


def test_what_a_sidecar_hides_is_in_no_part_of_the_agent(tmp_path: Path) -> None:
    """Names, captured addresses and Envoy's resources are of one table."""
    for app, is_seen in (("billing", False), ("shop", True)):
        ours = placed(tmp_path, HIDDEN, SIDECAR, app=app)
        table = assembly.load_table(ours)
        made = resources.build(table, Settings()).resources
        assert (inquiry.resolve(ours, "db.example", "A").verdict is Verdict.ANSWER) == is_seen
        assert (ip_address("192.0.2.5") in assembly.places(table)) == is_seen
        assert ("outbound|3306||db.example" in made[Kind.CLUSTER]) == is_seen
        assert any("192.0.2.5" in name for name in made[Kind.LISTENER]) == is_seen


def test_resolve_says_who_hides_a_name_and_what_would_show_it(tmp_path: Path) -> None:
    ours = placed(tmp_path, HIDDEN, SIDECAR)
    why = inquiry.resolve(ours, "db.example", "A").why
    assert "hidden by Sidecar vm/own (1.yaml)" in why
    assert "add store/db.example to the egress hosts of Sidecar vm/own" in why
    exported = HIDDEN.replace("hosts: [db", 'exportTo: ["."]\n  hosts: [db')
    ours = placed(tmp_path, exported, SIDECAR)
    why = inquiry.resolve(ours, "db.example", "A").why
    assert "hidden by exportTo: only namespace store sees it" in why


def test_resolve_names_the_zone_and_its_servers(tmp_path: Path) -> None:
    ours = placed(tmp_path)
    for name, zone, server in (
        ("a.zone.example", "zone.example", "192.0.2.53"),
        ("a.other.example", "example", "fd00::53"),
    ):
        found = inquiry.resolve(ours, name, "A")
        assert (found.verdict, found.why) == (
            Verdict.FORWARD,
            f"in forward zone {zone}, sent to {server}",
        )
    assert inquiry.resolve(ours, "a.elsewhere", "A").verdict is Verdict.PASS


def test_a_forward_zone_without_a_server_is_refused() -> None:
    with pytest.raises(ConfigError, match="forward_zones"):
        config.parse("dns: {forward_zones: {zone.example: []}}")
