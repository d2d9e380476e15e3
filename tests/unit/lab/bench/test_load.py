"""The load generator, compiled, against servers that answer well and badly."""

from __future__ import annotations

import itertools
import os
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from threading import Thread

import pytest

from interceptor.lab.bench import load, peer, soak

NAMES, RATE, SECONDS = 50, 1000, 1
TOTAL = RATE * SECONDS
Answer = Callable[[int], IPv4Address | None]
NOTHING = IPv4Address("0.0.0.0")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    return load.build(tmp_path_factory.mktemp("load"))


def reply(query: bytes, answer: IPv4Address | None) -> bytes:
    """NXDOMAIN for None."""
    question = query[12:]
    if answer is None:
        return query[:2] + b"\x81\x83" + struct.pack(">4H", 1, 0, 0, 0) + question
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 30, 4) + answer.packed
    return query[:2] + b"\x85\x80" + struct.pack(">4H", 1, 1, 0, 0) + question + record


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], int]]:
    """Starts a server on a port of its own: ``answer`` gets the number within the name."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def body(answer: Answer) -> None:
        while True:
            query, client = server.recvfrom(1500)
            if len(query) < 12:
                return
            found = answer(int(query[18:24]))
            if found != NOTHING:
                server.sendto(reply(query, found), client)

    threads: list[Thread] = []

    def start(answer: Answer) -> int:
        threads.append(Thread(target=body, args=(answer,)))
        threads[-1].start()
        return int(server.getsockname()[1])

    with server:
        yield start
        server.sendto(b"end", server.getsockname())
        for thread in threads:
            thread.join(10)


def run(program: str, port: int, *words: object, **env: str) -> dict[str, float]:
    argv = [program, *map(str, words)]
    env = {**os.environ, "DNS_PORT": str(port), **env}
    done = subprocess.run(argv, capture_output=True, text=True, env=env, timeout=60, check=True)
    return load.decode(done.stdout)


def paced(program: str, port: int, legal: object = "-", stop: object = "-") -> dict[str, float]:
    words = ("paced", "127.0.0.1", peer.PATTERN, NAMES, RATE, SECONDS, soak.FIRST, legal, stop)
    return run(program, port, *words)


def test_right_answers_count_as_right(program: str, serve: Callable[[Answer], int]) -> None:
    found = paced(program, serve(lambda number: soak.FIRST + number))
    assert (found["ok"], found["bad"], found["extra"]) == (TOTAL, 0, 0)


def test_another_names_address_is_wrong(program: str, serve: Callable[[Answer], int]) -> None:
    found = paced(program, serve(lambda number: soak.FIRST + (number if number != 7 else 8)))
    assert (found["ok"], found["wrong"]) == (TOTAL - TOTAL // NAMES, TOTAL // NAMES)


def test_no_such_name_is_a_miss_and_silence_a_loss(
    program: str, serve: Callable[[Answer], int]
) -> None:
    found = paced(program, serve(lambda n: {3: None, 4: NOTHING}.get(n, soak.FIRST + n)))
    share = TOTAL // NAMES
    assert (found["missed"], found["lost"], found["wrong"]) == (share, share, 0)


def test_the_addresses_of_legal_generations_only_are_right(
    program: str, serve: Callable[[Answer], int], tmp_path: Path
) -> None:
    legal = tmp_path / "legal"
    order = itertools.count()
    port = serve(lambda number: soak.address(number, next(order) % 20))  # 16 wraps to 0
    with soak.open_legal(legal) as tell:
        tell(15, 17)
        found = paced(program, port, legal)
    # Of twenty generations in turn, 0, 1, 15, 16 and 17 bear addresses of 15 to 17.
    assert (found["ok"], found["wrong"]) == (TOTAL / 20 * 5, TOTAL / 20 * 15)


def test_a_file_ends_it_early(program: str, serve: Callable[[Answer], int], tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    stop.touch()
    assert paced(program, serve(lambda number: None), "-", stop)["bad"] == 0


@pytest.mark.parametrize("window", [1, 64])
def test_every_query_is_counted_with_one_or_many_in_flight(
    program: str, serve: Callable[[Answer], int], window: int
) -> None:
    port = serve(lambda number: None if number == 0 else IPv4Address("10.0.0.1"))
    found = run(program, port, "dns", "127.0.0.1", peer.PATTERN, 10, 500, window)
    assert (found["ok"], found["bad"]) == (450, 50)


def test_cpu_time_is_the_growth_of_the_named_files(program: str, tmp_path: Path) -> None:
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        file.write_text("usage_usec 100\nuser_usec 5\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        stat = ":".join(map(str, files))
        found = run(program, 0, "connect", "127.0.0.1", port, 5, CPU_STAT=stat)
    assert (found["ok"], found["cpu_us"]) == (5, 0)


def test_a_line_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError):
        load.decode("usage: load ...\n")
