"""What a lost daemon's supervisor is asked to do. That it does it: tests/netns/test_hang.py."""

from __future__ import annotations

import pytest

from interceptor import config, loss
from interceptor.capture.backend import Choice


@pytest.mark.parametrize(
    ("policy", "tcp", "dns", "words"),
    [
        ("keep", "nftables", "nftables", ()),
        ("release", "nftables", "nftables", ("X_RELEASE_S=7",)),
        ("release", "ebpf", "iptables", ("X_RELEASE_S=7",)),
        ("release", "ebpf", "ebpf", ()),
    ],
)
def test_rules_need_somebody_to_release_them_and_programs_do_not(
    policy: str, tcp: str, dns: str, words: tuple[str, ...]
) -> None:
    ours = config.parse("", flags={"agent.on_agent_loss": policy, "agent.lease_s": 7})
    assert loss.words(ours, Choice(tcp, dns)) == words
