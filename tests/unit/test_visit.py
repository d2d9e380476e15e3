"""The doctor's rounds find what is wrong with the mesh's hosts, and nothing where all is well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interceptor import config, visit
from interceptor.config import Config
from interceptor.errors import ConfigError


def entry(name: str, address: str, endpoints: list[str], port: str = "tcp") -> dict[str, object]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": "a"},
        "spec": {
            "hosts": [f"{name}.example"],
            "addresses": [address],
            "ports": [{"number": 80, "name": port, "protocol": port.upper()}],
            "resolution": "STATIC",
            "location": "MESH_INTERNAL",
            "endpoints": [{"address": each} for each in endpoints],
        },
    }


def settings(tmp_path: Path, *entries: dict[str, object], **capture: object) -> Config:
    mesh = tmp_path / "mesh"
    mesh.mkdir()
    for number, each in enumerate(entries):
        (mesh / f"{number}.json").write_text(json.dumps(each))
    tree = {
        "mesh": {"files": [str(mesh)], "state_dir": str(tmp_path / "state")},
        "capture": {"backend": "nftables", **capture},
    }
    return config.parse(json.dumps(tree))


GOOD = entry("good", "10.96.0.1", ["198.51.100.1"])


def causes(found: Config) -> dict[str, str]:
    return {each.target: each.cause for each in visit.examine(found)[1]}


def test_a_mesh_that_is_well_has_no_ailments(tmp_path: Path) -> None:
    case, ailments = visit.examine(settings(tmp_path, GOOD))
    assert len(case.table) == 1
    assert ailments == ()


def test_hosts_without_endpoints_and_with_one_address_are_found(tmp_path: Path) -> None:
    found = causes(
        settings(
            tmp_path,
            GOOD,
            entry("empty", "10.96.0.2", []),
            entry("one", "10.96.0.3", ["198.51.100.1"]),
            entry("two", "10.96.0.3", ["198.51.100.1"]),
        )
    )
    assert found == {
        "empty.example:80": "no-endpoint",
        "one.example:80": "vip-clash",
        "two.example:80": "vip-clash",
    }


def test_what_the_configuration_leaves_out_is_found(tmp_path: Path) -> None:
    found = causes(settings(tmp_path, GOOD, outbound={"exclude_ports": [80]}))
    assert found == {"good.example:80": "excluded-port"}


def test_without_any_table_there_is_nothing_to_visit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        visit.examine(config.parse(json.dumps({"mesh": {"files": [str(tmp_path / "none")]}})))


def test_the_number_of_calls_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit, "MOST_CALLS", 1)
    entries = [entry(f"e{n}", f"10.96.0.{n}", []) for n in range(1, 5)]
    assert len(causes(settings(tmp_path, *entries))) == 1
