"""The order of design §5, and the traps in it."""

from __future__ import annotations

from typing import Any

import pytest

from interceptor.capture import order
from interceptor.capture.rule import Hook, Mark, Port, Verdict, describe
from interceptor.config import Config


def numbers(config: Config) -> dict[Hook, list[int]]:
    rules = order.rules(config, dns=True, tcp=True)
    return {hook: [rule.number for rule in rules if rule.hook is hook] for hook in Hook}


def test_rules_stand_in_the_order_of_their_numbers() -> None:
    config = Config.model_validate(
        {
            "capture": {
                "outbound": {"cidrs": "*", "ports": [1], "exclude_ports": [2]},
                "inbound": {"ports": "*"},
                "owners": {"exclude_uids": [1], "include_gids": [5]},
                "interfaces": {"exclude": ["eth1"], "bridges": ["docker0"]},
            }
        }
    )
    for found in numbers(config).values():
        assert found == sorted(found)
        assert found[0] == 1
        assert found[-1] == 9


def test_every_reason_fits_into_a_comment_of_nft(make: Any, shape: str) -> None:
    for rule in make(shape).rules:
        assert len(f"{rule.number}: {rule.why}".encode()) < 128
        assert describe(rule)


def test_neither_ssh_nor_dns_nor_hbone_of_the_sidecar_goes_back_into_itself() -> None:
    config = Config.model_validate({"capture": {"inbound": {"ports": [80, 15008]}}})
    rules = order.rules(config, dns=True, tcp=True)
    oneself = [rule for rule in rules if rule.number == 2 and rule.verdict is Verdict.INBOUND]
    assert len(oneself) == 2
    for rule in oneself:
        (port,) = (condition for condition in rule.conditions if isinstance(condition, Port))
        assert port.negate
        assert {22, 53, 15008, 15000, 15020, 15021, 15090} <= set(port.ports)


@pytest.mark.parametrize(
    "moved", [{"agent": {"listen": "127.0.0.1:16020"}}, {"sidecar": {"admin_port": 16020}}]
)
def test_the_agent_s_own_ports_are_spared_wherever_they_are(moved: dict[str, Any]) -> None:
    config = Config.model_validate({"capture": {"inbound": {"ports": "*"}}, **moved})
    rules = order.rules(config, dns=False, tcp=True)
    spared = {
        port
        for rule in rules
        if rule.number == 8 and rule.verdict is Verdict.PASS
        for condition in rule.conditions
        if isinstance(condition, Port)
        for port in condition.ports
    }
    assert {16020, 22, 15008} <= spared


def test_without_included_ports_nothing_inbound_is_looked_at() -> None:
    rules = order.rules(Config(), dns=True, tcp=True)
    assert not [rule for rule in rules if rule.hook is Hook.PREROUTING]


def test_with_both_planes_off_there_is_no_rule() -> None:
    assert order.rules(Config(), dns=False, tcp=False) == ()


@pytest.mark.parametrize("ports", ["*", [80], []])
def test_what_envoy_sends_for_a_client_is_not_led_to_envoy_again(ports: object) -> None:
    """Envoy is its sender, and it goes to this VM's own address over lo, as a call to oneself."""
    inbound = {"mode": "tproxy", "ports": ports}
    config = Config.model_validate({"capture": {"inbound": inbound}})
    found = [rule for rule in order.rules(config, dns=True, tcp=True) if rule.hook is Hook.OUTPUT]
    marked = [rule for rule in found if rule.conditions == (Mark(config.capture.mark + 2),)]
    assert len(marked) == bool(ports)
    first = next(i for i, rule in enumerate(found) if rule.verdict is not Verdict.PASS)
    assert all(found.index(rule) < first for rule in marked)
