from __future__ import annotations

from typing import Any

import yaml

from interceptor.lab.bench import push


def test_a_thousand_services_have_ten_endpoints_each_and_share_none() -> None:
    text = push.render_others(push.SERVICES) + push.render_changed("left")
    specs: list[Any] = [each["spec"] for each in yaml.safe_load_all(text) if each]
    assert len({spec["hosts"][0] for spec in specs}) == push.SERVICES
    addresses = [end["address"] for spec in specs for end in spec["endpoints"]]
    assert len(set(addresses)) == push.SERVICES * push.ENDPOINTS


def test_sides_differ_in_the_one_endpoint_that_is_asked() -> None:
    left, right = (
        yaml.safe_load(push.render_changed(side).partition("---")[0])["spec"]["endpoints"]
        for side in push.SIDES
    )
    assert left[1:] == right[1:]
    assert left[0] != right[0]
    assert left[0]["weight"] >= 100 * sum(each["weight"] for each in left[1:])


def test_the_host_bears_every_endpoint_that_may_answer() -> None:
    svc = push.world().host("svc")
    own = {str(interface.ip) for interface in svc.addresses}
    for side in push.SIDES:
        tree = yaml.safe_load(push.render_changed(side).partition("---")[0])
        assert {each["address"] for each in tree["spec"]["endpoints"]} <= own
