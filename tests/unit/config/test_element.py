"""Each kind of value takes what it means, and says what it would have taken."""

from __future__ import annotations

import pytest

from interceptor import config
from interceptor.errors import ConfigError


def parse(text: str) -> config.Config:
    return config.parse(text, "f.yaml")


@pytest.mark.parametrize("value", ["istiod:15012", "10.0.0.1:15012", "'[2001:db8::1]:15012'"])
def test_a_host_and_a_port(value: str) -> None:
    read = parse(f"mesh: {{istiod: {{addresses: [{value}]}}}}")
    assert read.mesh.istiod.addresses == (value.strip("'"),)


@pytest.mark.parametrize("value", ["istiod", "istiod:", ":15012", "istiod:0", "2001:db8::1:15012"])
def test_anything_else_is_refused_with_an_example(value: str) -> None:
    with pytest.raises(ConfigError, match="such as") as caught:
        parse(f"mesh: {{istiod: {{addresses: ['{value}']}}}}")
    assert value in str(caught.value)


def test_names_are_read_as_the_mesh_writes_them() -> None:
    assert parse("identity: {trust_domain: Mesh.Example.}").identity.trust_domain == "mesh.example"
