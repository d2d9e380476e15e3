from __future__ import annotations

import json
from typing import Any

from interceptor.lab.bench import connection, envoy


def listeners() -> dict[str, Any]:
    tree: Any = json.loads(json.dumps(envoy.build_bootstrap((connection.HTTP, connection.BULK))))
    return {each["name"]: each for each in tree["static_resources"]["listeners"]}


def test_a_service_is_reached_by_its_vip_or_outright_with_the_same_filters() -> None:
    found = listeners()
    for name in ("http", "bulk"):
        assert found[f"{name}-vip"]["bind_to_port"] is False
        assert found[f"{name}-vip"]["filter_chains"] == found[f"{name}-explicit"]["filter_chains"]


def test_only_the_outbound_listener_looks_for_the_original_destination() -> None:
    found = listeners()
    assert [name for name in found if "listener_filters" in found[name]] == ["outbound"]
    assert found["outbound"]["use_original_dst"] is True
