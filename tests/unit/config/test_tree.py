"""The configuration tree holds what other parts rely on."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from interceptor.config import Config, environment_keys


def test_the_tree_is_frozen() -> None:
    with pytest.raises(ValidationError):
        Config().dns.ttl_s = 1  # type: ignore[misc]


def test_ssh_is_never_captured_by_default() -> None:
    assert 22 in Config().capture.inbound.exclude_ports


def test_every_leaf_has_one_environment_variable() -> None:
    keys = environment_keys()
    assert keys["INTERCEPTOR_CAPTURE_OUTBOUND_EXCLUDE_PORTS"] == "capture.outbound.exclude_ports"
    assert len(set(keys.values())) == len(keys)
