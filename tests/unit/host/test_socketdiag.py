"""The real kernel's word about connections of this very process."""

import os
import socket

import pytest

from interceptor.host import socketdiag


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_connection_s_owner_is_told_by_its_ends(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as server:
        with socket.create_connection(server.getsockname()[:2]) as client:
            ends = client.getsockname()[:2], client.getpeername()[:2]
            assert socketdiag.owner(*ends) == os.geteuid()
        other = (address, 1)
        assert socketdiag.owner(other, ends[1]) is None
