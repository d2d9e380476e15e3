"""Which Sidecar counts for a VM, and what it lets be seen."""

from __future__ import annotations

import pytest

from interceptor.errors import ConfigError
from interceptor.mesh import egress, parse
from interceptor.mesh.resource import Sidecar

LABELS = (("app", "billing"), ("tier", "back"))


def sidecar(name: str, namespace: str, *hosts: str, labels: str = "", port: int = 0) -> Sidecar:
    quoted = ", ".join(f'"{host}"' for host in hosts)
    selector = f"\n  workloadSelector: {{labels: {labels}}}" if labels else ""
    egress_part = f"{{hosts: [{quoted}]" + (f", port: {{number: {port}}}}}" if port else "}")
    text = f"""
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  egress: [{egress_part}]{selector}
"""
    (found,) = next(iter(parse.parse(text.encode(), "a.yaml").pieces.values()))
    assert isinstance(found, Sidecar)
    return found


def chosen(*found: Sidecar, labels: egress.Labels = LABELS) -> str:
    picked = egress.choose(found, "vm", labels)
    return f"{picked.namespace}/{picked.name}" if picked else ""


def test_a_workloads_own_sidecar_comes_before_its_namespaces_and_the_roots() -> None:
    own = sidecar("own", "vm", "*/*", labels="{app: billing}")
    others = sidecar("others", "vm", "*/*", labels="{app: shop}")
    default, root = sidecar("default", "vm", "*/*"), sidecar("default", "istio-system", "*/*")
    assert chosen(root, default, others, own) == "vm/own"
    assert chosen(root, default, others) == "vm/default"
    assert chosen(root, others) == "istio-system/default"
    assert chosen(others, sidecar("default", "shop", "*/*")) == ""


def test_a_selector_has_to_fit_whole() -> None:
    both = sidecar("both", "vm", "*/*", labels="{app: billing, tier: front}")
    assert chosen(both) == ""
    assert chosen(both, labels=(("app", "billing"), ("tier", "front"), ("x", "y"))) == "vm/both"


def test_a_root_sidecar_with_a_selector_counts_for_nobody_elsewhere() -> None:
    assert chosen(sidecar("s", "istio-system", "*/*", labels="{app: billing}")) == ""


@pytest.mark.parametrize(
    ("hosts", "owner", "name", "is_seen"),
    [
        (("./*",), "vm", "a.vm.svc.cluster.local", True),
        (("./*",), "shop", "a.shop.svc.cluster.local", False),
        (("shop/*",), "shop", "a.shop.svc.cluster.local", True),
        (("shop/a.shop.svc.cluster.local",), "shop", "a.shop.svc.cluster.local", True),
        (("shop/a.shop.svc.cluster.local",), "shop", "b.shop.svc.cluster.local", False),
        (("*/*",), "shop", "x.example", True),
        (("*/*.example",), "shop", "x.y.example", True),
        (("*/*.example",), "shop", "*.y.example", True),
        (("*/*.example",), "shop", "example", False),
        (("*/*.y.example",), "shop", "*.example", False),
        (("*/x.example",), "shop", "*.example", False),
        (("~/*",), "vm", "a.vm.svc.cluster.local", False),
        # A namespace that is named counts alone, beside what is said of all.
        (("shop/a.example", "*/*"), "shop", "b.example", False),
        (("shop/a.example", "*/*"), "vm", "b.example", True),
        ((), "shop", "x.example", True),
    ],
)
def test_what_egress_hosts_let_be_seen(
    hosts: tuple[str, ...], owner: str, name: str, is_seen: bool
) -> None:
    found = (
        sidecar("s", "vm", *hosts)
        if hosts
        else Sidecar("s", "vm", "Sidecar vm/s (a)", (), egress._EVERYTHING)
    )
    assert (egress.ports(found, owner, name, "vm") is None) == is_seen


def test_a_part_with_a_port_shows_that_port_only() -> None:
    found = sidecar("s", "vm", "shop/*", port=9080)
    assert egress.ports(found, "shop", "a.example", "vm") == {9080}
    assert egress.ports(found, "vm", "a.example", "vm") == frozenset()


def test_the_own_namespace_of_a_root_sidecar_is_the_viewers() -> None:
    found = sidecar("default", "istio-system", "./*", "istio-system/*")
    assert egress.ports(found, "vm", "a.example", "vm") is None
    assert egress.ports(found, "istio-system", "a.example", "vm") is None
    assert egress.ports(found, "shop", "a.example", "vm") == frozenset()


@pytest.mark.parametrize("host", ["a.example", "shop/", "sh op/*", "shop/*a.example", "shop/a_b"])
def test_a_host_of_another_form_is_refused_with_what_is_legal(host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sidecar("s", "vm", host)
    (problem,) = caught.value.problems
    assert problem.key == "spec.egress[0].hosts[0]"
    assert problem.line


def test_a_part_without_hosts_is_refused() -> None:
    with pytest.raises(ConfigError, match="NAMESPACE/HOST"):
        sidecar("s", "vm")
