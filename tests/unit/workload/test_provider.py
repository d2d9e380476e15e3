"""Who gives the identity, by real sockets."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from interceptor.config import parse
from interceptor.workload import provider
from interceptor.workload.provider import Provider


@pytest.mark.parametrize(
    ("text", "by"),
    [
        ("", Provider.NONE),
        ("mesh: {source: istiod}", Provider.ISTIOD),
        ("identity: {provider: local}", Provider.LOCAL),
        ("mesh: {source: istiod}\nidentity: {provider: none}", Provider.NONE),
        ("identity: {provider: socket}", Provider.SOCKET),
    ],
)
def test_what_is_asked_for_and_what_follows(tmp_path: Path, text: str, by: Provider) -> None:
    config = parse(text)
    identity = config.identity.model_copy(update={"socket": tmp_path / "none"})
    assert provider.observe(config.model_copy(update={"identity": identity})) is by


def test_somebody_else_s_socket_counts_while_somebody_listens(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    config = parse(f"mesh: {{source: istiod}}\nidentity: {{socket: {path}}}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert provider.observe(config) is Provider.ISTIOD, "nobody takes connections"
        listener.listen()
        assert provider.observe(config) is Provider.SOCKET
    assert path.exists()
    assert provider.observe(config) is Provider.ISTIOD, "only its file is left"
