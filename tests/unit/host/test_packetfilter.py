"""tcpdump's programs become a socket's filter; the kernel runs them."""

from __future__ import annotations

import socket

import pytest

from interceptor.errors import ConfigError, Unsupported
from interceptor.host import command, packetfilter
from interceptor.host.command import Completed
from interceptor.host.packetfilter import NOTHING, Program


def test_a_program_is_read() -> None:
    assert packetfilter.parse("2\n40 0 0 12\n6 0 0 96\n") == Program(
        ((40, 0, 0, 12), (6, 0, 0, 96))
    )


@pytest.mark.parametrize("text", ["0\n", "2\n6 0 0 1\n", "1\n6 0 0\n", "", "x"])
def test_what_is_no_program_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="tcpdump -ddd"):
        packetfilter.parse(text)


def test_an_expression_says_what_is_wrong_with_it() -> None:
    with pytest.raises(ConfigError) as caught:
        packetfilter.build("port domains", packetfilter.ETHERNET, 96)
    (problem,) = caught.value.problems
    assert problem.value == "port domains"
    assert "legal: a filter" in problem.legal


def test_without_tcpdump_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "run", lambda *_, **__: Completed(command.NOT_FOUND, "", ""))
    assert not packetfilter.has_tool()
    with pytest.raises(Unsupported, match="apt-get install tcpdump"):
        packetfilter.build("port 53", packetfilter.ETHERNET, 96)


@pytest.mark.parametrize(("program", "arrives"), [(NOTHING, False), (None, True)])
def test_the_kernel_keeps_from_a_socket_what_its_program_refuses(
    program: Program | None, arrives: bool
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taker:
        taker.bind(("127.0.0.1", 0))
        taker.settimeout(1 if arrives else 0.1)
        if program is not None:
            program.attach(taker)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", taker.getsockname())
        try:
            assert taker.recv(10) == b"x"
            assert arrives
        except TimeoutError:
            assert not arrives
