"""What is read of a host before anything is seen; the watching itself is tests/netns's."""

from __future__ import annotations

import pytest

from interceptor import observation
from interceptor.host.process import Process

HOSTS = """\
127.0.0.1 localhost
::1 localhost ip6-localhost
ff02::1 ip6-allnodes
10.0.0.5 till-7   # this VM
10.0.0.9  DB db.corp.example.
10.0.0.10 # nobody
not-an-address x
"""


def test_etc_hosts_is_read_for_other_machines() -> None:
    found = list(observation.parse_hosts(HOSTS, {"10.0.0.5"}))
    assert found == [("db", "10.0.0.9"), ("db.corp.example", "10.0.0.9")]


@pytest.mark.parametrize(
    ("text", "expected"), [("1024\t2000\n", (1024, 2000)), ("", (32768, 60999))]
)
def test_the_range_of_clients_ports(text: str, expected: tuple[int, int]) -> None:
    assert observation.parse_range(text) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Process(7, "java", "till.service", 1000), "till.service (java)"),
        (Process(7, "curl", "", 0), "curl"),
        (Process(0, "", "cron.service", 0), "cron.service"),
        (Process(0, "", "", 33), "uid 33"),
        (Process(), ""),
    ],
)
def test_a_process_is_called_by_its_unit_and_name(found: Process, expected: str) -> None:
    assert observation.owner_name(found) == expected
