"""Istio's form of a probe as ours."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from interceptor.config import Probe, parse, readiness
from interceptor.workload import member


def test_istio_s_keys_become_ours() -> None:
    tree = {
        "initialDelaySeconds": 5,
        "periodSeconds": 20,
        "failureThreshold": 2,
        "httpGet": {
            "path": "/health",
            "port": 8080,
            "scheme": "HTTPS",
            "httpHeaders": [{"name": "A", "value": "b"}],
        },
    }
    found = Probe.model_validate(readiness.translate(tree))
    assert found.http is not None
    assert (found.http.path, found.http.port, found.http.scheme) == ("/health", 8080, "HTTPS")
    assert found.http.headers == {"A": "b"}
    assert (found.initial_delay_s, found.period_s, found.timeout_s) == (5, 20, 1)
    assert (found.success_threshold, found.failure_threshold) == (1, 2)


def test_what_protobuf_leaves_out_or_writes_as_0_is_the_default() -> None:
    tree = {"timeoutSeconds": 0, "initialDelaySeconds": 0, "tcpSocket": {"port": 5, "host": ""}}
    assert readiness.translate(tree) == {"tcp": {"port": 5}}


@pytest.mark.parametrize(
    "text",
    [
        "http: {port: 80, path: /x, host: h, headers: {A: b}}",
        "tcp: {port: 80}",
        "exec: {command: [a, b]}",
        "grpc: {port: 80, service: s}",
    ],
)
def test_what_is_told_to_istiod_reads_back_as_the_same_probe(text: str) -> None:
    probe = parse(f"workload: {{probe: {{{text}, period_s: 7, failure_threshold: 4}}}}")
    tree = member.build(probe, (ip_address("10.0.0.2"),), "vm").metadata["PROXY_CONFIG"]
    assert isinstance(tree, dict)
    inner = tree["readinessProbe"]
    assert isinstance(inner, dict)
    assert Probe.model_validate(readiness.translate(inner)) == probe.workload.probe


def test_what_is_no_probe_is_handed_on_to_be_refused() -> None:
    assert readiness.translate({"httpGet": 5}) == {"http": 5}
    assert readiness.translate({"httpGet": {"httpHeaders": 5}}) == {"http": {"headers": 5}}
