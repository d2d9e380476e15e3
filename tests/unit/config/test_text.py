"""The configuration from text: every problem at once, and nothing lost on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor import config
from interceptor.errors import ConfigError


def problems(text: str, **more: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, "f.yaml", **more)  # type: ignore[arg-type]
    return [str(problem) for problem in caught.value.problems]


def test_an_empty_text_is_all_defaults() -> None:
    assert config.parse("") == config.Config()


def test_what_is_shown_parses_back_to_the_same() -> None:
    text = "dns: {ttl_s: 7, servers: [10.0.0.1, '2001:db8::1']}\ncapture: {outbound: {cidrs: '*'}}"
    parsed = config.parse(text)
    assert config.parse(config.show(parsed)) == parsed


def test_every_key_is_shown_with_its_reason() -> None:
    lines = config.show(config.Config()).splitlines()
    for number, line in enumerate(lines):
        if line.strip() and not line.lstrip().startswith("#") and line.startswith("  "):
            key = line.strip()
            name = key.partition(":")[0]
            obvious = name.endswith(("_port", "_uids", "_gids", "_cgroups", "level"))
            assert lines[number - 1].lstrip().startswith("#") or obvious, key


def test_every_problem_is_reported_with_line_key_value_and_what_is_legal() -> None:
    text = "dns:\n  ttl_s: -4\n  srvers: all\ncapture: {inbound: {mode: nat}}\nfoo: 1\n"
    assert problems(text) == [
        "f.yaml:2: dns.ttl_s: -4: Input should be greater than or equal to 0",
        "f.yaml:3: dns.srvers: 'all': unknown key; legal here: enabled, backend, servers, "
        "resolv_conf, search, ttl_s, own_zones, forward_zones, queue, queue_length, tcp_port",
        "f.yaml:4: capture.inbound.mode: 'nat': Input should be 'redirect' or 'tproxy'",
        "f.yaml:5: foo: 1: unknown key; legal here: node, mesh, dns, capture, sidecar, identity, "
        "authority, workload, agent, log",
    ]


def test_broken_yaml_names_the_line() -> None:
    (problem,) = problems("dns:\n  - a\n b: [")
    assert problem.startswith("f.yaml:3: (document): ")


def test_a_list_for_a_document_is_refused() -> None:
    (problem,) = problems("- 1")
    assert "a mapping with node, mesh" in problem


def test_later_sources_win() -> None:
    parsed = config.parse(
        "dns: {ttl_s: 5}\nnode: {namespace: file}",
        environment={"INTERCEPTOR_DNS_TTL_S": "6", "INTERCEPTOR_DNS_QUEUE": "9", "HOME": "/"},
        flags={"dns.queue": 10},
        base={"node.namespace": ("istio", "ISTIO_NAMESPACE"), "node.network": ("n", "X")},
    )
    assert (parsed.dns.ttl_s, parsed.dns.queue) == (6, 10)
    assert (parsed.node.namespace, parsed.node.network) == ("file", "n")


def test_a_bad_environment_value_names_its_variable() -> None:
    (problem,) = problems("", environment={"INTERCEPTOR_DNS_TTL_S": "soon"})
    assert problem.startswith("INTERCEPTOR_DNS_TTL_S: dns.ttl_s: 'soon': ")


def test_a_bad_item_of_another_agents_list_names_the_variable() -> None:
    base = {"capture.inbound.ports": (["x"], "ISTIO_INBOUND_PORTS")}
    assert all("ISTIO_INBOUND_PORTS: " in problem for problem in problems("", base=base))


def test_a_resolver_with_a_zone_is_known_by_its_address() -> None:
    parsed = config.parse("dns: {servers: ['fe80::53%eth0']}")
    assert [str(server) for server in parsed.dns.servers] == ["fe80::53"]


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_a_list_of_problems(text: str) -> None:
    try:
        config.parse(text)
    except ConfigError as error:
        assert error.problems
