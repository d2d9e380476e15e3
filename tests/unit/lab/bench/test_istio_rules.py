from __future__ import annotations

from interceptor.lab.bench import istio_rules


def test_the_nat_table_reads_in_the_order_that_istio_generates() -> None:
    lines = istio_rules.render_nat(["10.96.0.0/12"]).splitlines()
    assert lines[0] == "*nat"
    assert lines[-1] == "COMMIT"
    loop_guard = lines.index("-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN")
    dns = lines.index("-A ISTIO_OUTPUT -j ISTIO_OUTPUT_DNS")
    captured = lines.index("-A ISTIO_OUTPUT -d 10.96.0.0/12 -j ISTIO_REDIRECT")
    assert loop_guard < dns < captured


def test_every_cidr_is_a_rule_of_its_own() -> None:
    text = istio_rules.render_nat([f"10.{n}.0.0/16" for n in range(50)])
    assert text.count("-j ISTIO_REDIRECT\n") == 50


def test_the_vms_default_ports_are_not_captured_inbound() -> None:
    text = istio_rules.render_nat([])
    for port in (22, 15020, 15021, 15090, 15008):
        assert f"-A ISTIO_INBOUND -p tcp --dport {port} -j RETURN\n" in text


def test_the_raw_table_puts_the_two_sides_of_dns_in_two_zones() -> None:
    text = istio_rules.render_raw()
    assert "--dport 53 -m owner --uid-owner 1337 -j CT --zone 1\n" in text
    assert "-A ISTIO_OUTPUT_DNS -p udp --dport 53 -j CT --zone 2\n" in text
    assert "-A ISTIO_INBOUND -p udp --sport 53 -j CT --zone 1\n" in text
