from __future__ import annotations

import json
import struct
from ipaddress import IPv4Address
from pathlib import Path

from interceptor.lab.bench import soak


def test_an_address_tells_name_and_generation() -> None:
    found = {soak.address(n, g) for n in range(soak.HOSTS) for g in range(soak.GENERATIONS)}
    assert len(found) == soak.HOSTS * soak.GENERATIONS
    assert soak.address(5, soak.GENERATIONS) == soak.address(5, 0)
    assert soak.address(5, 1) == IPv4Address("16.16.0.5")


def test_each_generation_moves_every_host() -> None:
    before, after = (json.loads(soak.render(number))["table"] for number in (3, 4))
    assert before.keys() == after.keys()
    assert len(before) == soak.HOSTS
    assert not [name for name in before if before[name]["ips"] == after[name]["ips"]]


def test_the_client_reads_oldest_and_newest_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "legal"
    with soak.open_legal(file) as tell:
        assert file.read_bytes() == bytes(8)
        tell(3, 4)
        assert struct.unpack("=II", file.read_bytes()) == (3, 4)
