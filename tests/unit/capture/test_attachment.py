"""Which program hangs where."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from interceptor.capture import attachment
from interceptor.capture.plan import Device, Plane
from interceptor.host.probe import LinkLayer

DEVICES = (
    Device("lo", 1, LinkLayer.LOOPBACK),
    Device("eth0", 2, LinkLayer.ETHERNET),
    Device("wg0", 3, LinkLayer.NONE),
    Device("eth9", 4, LinkLayer.ETHERNET),
    Device("docker0", 5, LinkLayer.ETHERNET),
)


def filters(plan: Any) -> list[tuple[str, str, str]]:
    found = attachment.filters(replace(plan, devices=DEVICES))
    return [(each.device.name, each.hook.name.lower(), each.program) for each in found]


def test_each_kind_of_device_has_its_program(make: Any) -> None:
    assert filters(make("default")) == [
        ("lo", "egress", "dns_lo"),
        ("eth0", "egress", "dns_egress"),
        ("wg0", "egress", "dns_egress_l3"),
        ("eth9", "egress", "dns_egress"),
        ("docker0", "egress", "dns_egress"),
    ]


def test_an_excluded_interface_has_none_and_a_bridge_two(make: Any) -> None:
    found = filters(make("everything"))
    assert "eth9" not in {name for name, _, _ in found}
    assert [rest for name, *rest in found if name == "docker0"] == [
        ["egress", "dns_egress"],
        ["ingress", "dns_bridge"],
    ]


def test_without_dns_there_is_no_filter_and_without_anything_no_link(make: Any) -> None:
    assert filters(make("tcp_only_ipv4")) == filters(make("nothing")) == []
    assert attachment.links(make("nothing")) == ()


def test_what_captures_is_attached_last(make: Any) -> None:
    links = attachment.links(make("default"))
    assert links[:3] == ("original", "listen", "lookup")
    assert links[-2:] == ("connect4", "connect6")


def test_groups_are_remembered_only_where_dns_asks_for_them(make: Any) -> None:
    assert "owner" in attachment.links(make("default"))
    assert "owner" in attachment.links(make("default").only(Plane.DNS))
    assert "owner" not in attachment.links(make("dns_only"))
    assert "owner" not in attachment.links(make("default").only(Plane.TCP))


def test_dns_over_tcp_passes_where_its_interface_would_matter(make: Any) -> None:
    alone = make("everything").only(Plane.DNS)
    assert not {"connect4", "connect6"} & set(attachment.links(alone))
    assert "connect4" in attachment.links(make("default").only(Plane.DNS))


def test_a_released_plan_keeps_everything_in_its_place(make: Any) -> None:
    plan = make("everything")
    assert attachment.links(plan.released()) == attachment.links(plan)
    assert filters(plan.released()) == filters(plan)
