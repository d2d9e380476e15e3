"""`explain` asks the plan and table that the daemon would use, from a configuration alone."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from interceptor import config, inquiry
from interceptor.capture.plan import Facts, Hook
from interceptor.config import Config
from interceptor.errors import ConfigError
from interceptor.inquiry import Question

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
