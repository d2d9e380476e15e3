"""What of the configuration and the host reaches Envoy."""

from __future__ import annotations

from ipaddress import ip_address

from interceptor.config import parse
from interceptor.sidecar import setting

OWN = ip_address("192.0.2.9")


def test_defaults_are_istios_ports_and_our_log() -> None:
    found = setting.choose(parse(""), [OWN])
    assert (found.outbound_port, found.inbound_port) == (15001, 15006)
    assert found.own_addresses == (OWN,)
    assert found.access_log == "/run/interceptor/sidecar-access.log"
    assert found.passthrough
    assert not found.transparent


def test_configuration_wins_over_what_the_host_says() -> None:
    text = """
node: {addresses: [192.0.2.10]}
capture: {ipv6: false, inbound: {mode: tproxy}}
sidecar: {access_log: "off", unknown_destinations: blackhole}
"""
    found = setting.choose(parse(text), [OWN], ipv6=True)
    assert found.own_addresses == (ip_address("192.0.2.10"),)
    assert found.outbound_addresses == (ip_address("127.0.0.1"),)
    assert (found.ipv6, found.transparent, found.passthrough) == (False, True, False)
    assert found.access_log == ""
    assert found.transparent_mark == 0x1DC2


def test_the_clients_address_is_kept_where_tproxy_has_its_rules() -> None:
    for mode in ("redirect", "tproxy"):
        for ports in ("[]", "[80]", '"*"'):
            text = f"capture: {{inbound: {{mode: {mode}, ports: {ports}}}}}"
            kept = setting.choose(parse(text), [OWN]).keep_client
            assert kept == (mode == "tproxy" and ports != "[]")
