"""What stands in the namespaces of the self-tests."""

from __future__ import annotations

import json
from pathlib import Path

from interceptor import assembly, config
from interceptor.lab import description
from interceptor.lab.selftest import stage


def test_without_ipv6_nobody_has_such_an_address() -> None:
    world = stage.describe(ipv6=False)
    every = [*world.gateways, *(each for host in world.hosts for each in host.addresses)]
    assert {each.version for each in (*every, *world.resolvers)} == {4}
    assert {each.version for each in stage.describe(ipv6=True).resolvers} == {4, 6}


def test_the_mesh_is_legal_and_answers_with_its_vips(tmp_path: Path) -> None:
    for number, document in enumerate(stage.documents()):
        (tmp_path / f"{number}.json").write_text(json.dumps(document))
    tree = {"mesh": {"files": [str(tmp_path)]}, "node": {"namespace": "doctor"}}
    table = assembly.load_table(config.parse(json.dumps(tree)))
    for name, vips in zip(stage.NAMES, stage.VIPS, strict=True):
        assert tuple(map(str, table.hosts[name].addresses)) == vips


def test_the_settings_are_legal_for_every_back_end() -> None:
    host = stage.describe(ipv6=True).host("vm")
    usual = description.agent_settings(host, "/run/x", "/run/mesh", "/lab/vm")
    for backend in ("ebpf", "nftables", "iptables"):
        over = stage.settings(backend, backend, "/lab/vm/agent")
        parsed = config.parse(json.dumps(description.merge(usual, over)))
        assert (parsed.capture.backend, parsed.sidecar.mode) == (backend, "external")
        assert parsed.capture.inbound.ports == (stage.INBOUND_PORT,)
        assert parsed.sidecar.outbound_port == stage.OUTBOUND
        assert parsed.sidecar.uid == stage.SIDECAR_ID
