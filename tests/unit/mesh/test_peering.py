"""PeerAuthentication documents."""

from __future__ import annotations

import pytest

from interceptor.config import VipRanges
from interceptor.errors import ConfigError
from interceptor.mesh import parse
from interceptor.mesh.build import Inventory
from interceptor.mesh.policy import Mode, PeerAuthentication
from interceptor.mesh.vip import Allocation

HEAD = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"


def read(spec: str) -> PeerAuthentication:
    text = f"{HEAD}metadata: {{name: default, namespace: vm}}\nspec: {spec}\n"
    ((found,),) = parse.parse(text.encode(), "f").pieces.values()
    assert isinstance(found, PeerAuthentication)
    return found


def test_what_istio_writes_is_read() -> None:
    found = read(
        "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT},"
        " portLevelMtls: {8080: {mode: DISABLE}, '9090': {mode: UNSET}}}"
    )
    assert (found.name, found.namespace, found.selector) == ("default", "vm", (("app", "web"),))
    assert found.mode is Mode.STRICT
    assert found.ports == ((8080, Mode.DISABLE), (9090, None))
    assert read("{}").mode is None
    assert read("{mtls: {mode: UNSET}}").mode is None


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        ("{mtls: {mode: MAYBE}}", "spec.mtls.mode"),
        ("{portLevelMtls: {80: {mode: STRICT}}}", "spec.portLevelMtls"),
        (
            "{selector: {matchLabels: {a: b}}, portLevelMtls: {http: {mode: STRICT}}}",
            "spec.portLevelMtls.http",
        ),
        (
            "{selector: {matchLabels: {a: b}}, portLevelMtls: {70000: {mode: STRICT}}}",
            "spec.portLevelMtls.70000",
        ),
    ],
)
def test_what_is_wrong_is_told(spec: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(spec)
    assert [problem.key for problem in caught.value.problems] == [key]


def test_a_change_is_told_once_and_so_is_its_end() -> None:
    inventory = Inventory("vm", "cluster.local", Allocation(VipRanges()))
    assert inventory.build()[1].peers is None
    inventory.replace("f", parse.parse(f"{HEAD}metadata: {{name: a}}\n".encode(), "f").pieces)
    table, difference = inventory.build()
    assert difference
    assert difference.peers is not None
    assert [each.name for each in difference.peers] == ["a"]
    assert table.peers == difference.peers
    assert not inventory.build()[1]
    inventory.remove("f")
    assert inventory.build()[1].peers == ()
