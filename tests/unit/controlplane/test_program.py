"""The tests' control plane as a program: what it prints, writes, records and takes orders for."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.controlplane import __main__ as program

ROOT = Path(__file__).parents[3]


class Program:
    """It runs; ``port`` is its own choice."""

    def __init__(self, folder: Path, place: Path) -> None:
        self.place = place
        argv = [sys.executable, "-m", "tests.controlplane", "--folder", str(folder), "--tls"]
        argv += ["--listen", "127.0.0.1:0", "--record", str(place / "record")]
        argv += ["--control", str(place / "control"), "--write", str(place / "given")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.child.stdout is not None
        word, port = self.child.stdout.readline().split()
        assert word == "ready"
        self.port = int(port)

    def order(self, **order: object) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(self.place / "control"))
            link.sendall(json.dumps(order).encode() + b"\n")
            with link.makefile() as file:
                reply: dict[str, Any] = json.loads(file.readline())
        return reply

    def end(self) -> int:
        self.child.terminate()
        assert self.child.stdout is not None
        self.child.stdout.close()
        return self.child.wait(20)


@pytest.fixture
def started(folder: Path, tmp_path: Path) -> Iterator[Program]:
    made = Program(folder, tmp_path)
    yield made
    if made.child.poll() is None:
        made.end()


def test_it_takes_orders_records_and_ends(started: Program, tmp_path: Path) -> None:
    token = tmp_path / "given" / "istio-token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.read_text().count(".") == 2
    assert started.order(do="token", namespace="x", account="y")["result"] != token.read_text()
    assert "no such fault" in started.order(do="spoil", nonsense=1)["error"]
    assert "KeyError" in started.order(do="dance")["error"]
    assert started.order(do="spoil", reject=True) == {"result": None}
    with socket.create_connection(("127.0.0.1", started.port), 5) as link:
        try:
            assert link.recv(1) == b""
        except ConnectionResetError:
            pass
    assert [line["what"] for line in started.order(do="lines")["result"]] == ["connection"]
    assert '"connection"' in (tmp_path / "record").read_text()
    assert started.end() == 0


def test_its_options_have_defaults() -> None:
    options = program.parse(["--folder", "mesh", "--listen", "[::1]:15012"])
    made = program.setup(options)
    assert (made.address, made.port, made.state.name) == ("::1", 15012, "mesh-state")
