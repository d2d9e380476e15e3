"""Which sources a daemon has, by its back ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from interceptor import onlooker
from interceptor.capture.backend import Choice
from interceptor.config import Config
from interceptor.running import Running


def names(tcp: str, dns: str, **settings: Any) -> list[str]:
    daemon = SimpleNamespace(config=Config.model_validate(settings), choice=Choice(tcp, dns))
    found = onlooker.sources(cast("Running", daemon))
    return [type(source).__name__ for source in found if not isinstance(source, onlooker.Memory)]


@pytest.mark.parametrize(
    ("tcp", "dns", "found"),
    [
        ("nftables", "nftables", ["Netfilter", "Outcome"]),
        ("iptables", "iptables", ["Netfilter", "Outcome"]),
        ("ebpf", "ebpf", ["Ring", "Outcome"]),
        ("nftables", "ebpf", ["Ring", "Netfilter", "Outcome"]),
        ("ebpf", "nftables", ["Ring", "Outcome"]),
    ],
)
def test_each_back_end_has_its_source(tcp: str, dns: str, found: list[str]) -> None:
    assert names(tcp, dns) == found


def test_what_is_not_captured_is_not_told() -> None:
    assert names("nftables", "nftables", sidecar={"mode": "none"}) == []
    assert names("nftables", "nftables", capture={"enabled": False}) == ["Outcome"]
    assert names("nftables", "nftables", sidecar={"mode": "external"}) == ["Netfilter"]
