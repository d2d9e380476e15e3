"""Capture filters: libpcap's expressions, compiled by tcpdump to classic BPF (linux/filter.h)."""

from __future__ import annotations

import ctypes
import re
import socket
import struct
from dataclasses import dataclass

from interceptor.errors import ConfigError, Problem, Unsupported
from interceptor.host import command

TOOL = "tcpdump"
LEGAL = "a filter as pcap-filter(7) has it: `port 53`, `host 10.0.0.1 and tcp port 9080`"
ETHERNET, RAW = "EN10MB", "RAW"
"""Link layers as `tcpdump -y` calls them."""

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_INSTRUCTION = struct.Struct("=HBBI")  # code, jump if true, jump if false, k
_MAXIMUM = 4096  # BPF_MAXINSNS


@dataclass(frozen=True, slots=True)
class Program:
    """Instructions of a classic filter: each code, two jumps, a constant."""

    steps: tuple[tuple[int, int, int, int], ...]

    def attach(self, taker: socket.socket) -> None:
        """Let a socket take only what the program lets through. Raises OSError."""
        code = b"".join(_INSTRUCTION.pack(*step) for step in self.steps)
        buffer = ctypes.create_string_buffer(code, len(code))
        # struct sock_fprog; the kernel copies the instructions before it returns.
        fprog = struct.pack("@HP", len(self.steps), ctypes.addressof(buffer))
        taker.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)


NOTHING = Program(((0x06, 0, 0, 0),))
"""BPF_RET|BPF_K 0: no packet, for the time before a socket has its own filter."""


def has_tool() -> bool:
    return command.run([TOOL, "--version"], check=False).code != command.NOT_FOUND


def build(expression: str, layer: str, snaplen: int) -> Program:
    """The program of an expression that keeps ``snaplen`` bytes of each packet.

    Raises ConfigError where the expression is wrong, Unsupported without tcpdump.
    """
    argv = [TOOL, "-ddd", "-s", str(snaplen), "-y", layer, expression]
    done = command.run(argv, check=False)
    if done.code == command.NOT_FOUND:
        raise Unsupported("a capture filter", f"{TOOL}: apt-get install tcpdump")
    if done.code:
        raise ConfigError([Problem("--filter", "expression", expression, _reason(done.stderr))])
    return parse(done.stdout)


def _reason(stderr: str) -> str:
    """tcpdump's words for what is wrong, and what would be right."""
    lines = [line for line in stderr.splitlines() if "data link type" not in line]
    said = re.sub(rf"^{TOOL}: ", "", lines[-1]) if lines else "not understood"
    return f"{said}; legal: {LEGAL}"


def parse(text: str) -> Program:
    """Read `tcpdump -ddd`: the number of instructions, then one a line. Raises ValueError."""
    count, *lines = text.split("\n")
    try:
        steps = [tuple(int(word) for word in line.split()) for line in lines if line]
        if len(steps) == int(count) and 0 < len(steps) <= _MAXIMUM:
            return Program(tuple((code, true, false, k) for code, true, false, k in steps))
    except ValueError:
        pass
    raise ValueError(f"{text[:40]!r}: not what `{TOOL} -ddd` prints")
