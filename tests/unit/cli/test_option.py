"""Where a configuration comes from: file, Istio's files, environment, flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from interceptor.cli import option
from interceptor.errors import ConfigError


def test_flags_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("log: {level: error}\ndns: {ttl_s: 5}\n")
    monkeypatch.setenv("INTERCEPTOR_DNS_TTL_S", "6")
    monkeypatch.setenv("INTERCEPTOR_LOG_LEVEL", "debug")
    found = option.load(path, flags={"log.level": "info", "capture.backend": None})
    assert (found.log.level, found.dns.ttl_s, found.capture.backend) == ("info", 6, "auto")


def test_a_file_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="readable configuration file"):
        option.load(tmp_path / "none.yaml")


def test_names_of_istios_users_are_looked_up_here(tmp_path: Path) -> None:
    env = tmp_path / "sidecar.env"
    env.write_text("ENVOY_USER=root\nISTIO_OUTBOUND_OWNER_GROUPS=root,nobody-has-this-name\n")
    found = option.migrated((env,)).settings
    assert found["sidecar.uid"][0] == 0
    assert found["capture.owners.include_gids"][0] == [0, "nobody-has-this-name"]
