"""Which packets a packet socket is given: a classic BPF program (linux/filter.h), built as data.

For cooked sockets (SOCK_DGRAM), whose packets begin with the IP header. Let through are
answers of DNS, the SYNs of connections, and packets whose data begins as a conversation
does; so the bulk of a connection is judged in the kernel and never copied.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from struct import Struct

_INSTRUCTION = Struct("=HBBI")  # struct sock_filter

# linux/bpf_common.h, as BPF_CLASS | BPF_SIZE | BPF_MODE or BPF_CLASS | BPF_OP | BPF_SRC.
_LOAD_BYTE, _LOAD_HALF = 0x30, 0x28  # [k]
_LOAD_WORD_AT, _LOAD_HALF_AT, _LOAD_BYTE_AT = 0x40, 0x48, 0x50  # [X + k]
_X_NUMBER, _X_IP_HEADER = 0x01, 0xB1  # X = k; X = 4 * ([k] & 15)
_STORE, _RECALL = 0x02, 0x60  # scratch memory
_AND, _SHIFT_RIGHT, _ADD_X, _TO_X = 0x54, 0x74, 0x0C, 0x07
_EQUAL, _GREATER, _ANY_BIT = 0x15, 0x25, 0x45
RETURN = 0x06

TCP, UDP = 6, 17
DNS, QUIC, DNS_OVER_QUIC = 53, 443, 853
_SYN = 0x02
_OFFSET = 0x1FFF  # of an IPv4 fragment

# Bytes kept of a packet, headers included.
SHORT, OPENING, WHOLE = 128, 2048, 4096
MOST_QUIET = 48
"""Ports that one program can leave out; jumps reach 255 instructions far."""

_FIRST_WORDS = (
    *(b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"PATC", b"OPTI", b"CONN", b"PRI "),
    *(b"SSH-", b"220 ", b"220-", b"+OK ", b"* OK", b"AMQP"),
)
"""What clients of HTTP say first, HTTP/2's preface, and greetings of servers in text."""
_POSTGRES = (0x00030000, 0x04D2162F, 0x04D21630)  # start-up, TLS wanted, GSSAPI wanted
_MONGO = (0xDD070000, 0xD4070000)  # OP_MSG, OP_QUERY, little-endian at offset 12
_HELLO = 1  # TLS handshake type (RFC 8446 §4)
_MYSQL = 10  # protocol version in the greeting


@dataclass(frozen=True, slots=True)
class Op:
    """One instruction; an empty label is the next instruction."""

    code: int
    number: int = 0
    yes: str = ""
    no: str = ""


Line = Op | str
"""An instruction, or the label of the next one."""


def build(quiet: Collection[int] = ()) -> tuple[Line, ...]:
    """The program. Data from or to TCP ports in ``quiet`` is left out, SYNs are not."""
    return (
        *_family(),
        *_datagram(),
        *_segment(sorted(quiet)[:MOST_QUIET]),
        *_data(),
        *("drop", Op(RETURN, 0)),
        *("short", Op(RETURN, SHORT)),
        *("opening", Op(RETURN, OPENING)),
        *("whole", Op(RETURN, WHOLE)),
    )


def _family() -> tuple[Line, ...]:
    """The transport's header goes to X."""
    return (
        *(Op(_LOAD_BYTE, 0), Op(_SHIFT_RIGHT, 4), Op(_EQUAL, 6, yes="ipv6")),
        *(Op(_EQUAL, 4, no="drop"), Op(_LOAD_HALF, 6), Op(_ANY_BIT, _OFFSET, yes="drop")),
        *(Op(_X_IP_HEADER, 0), Op(_LOAD_BYTE, 9), Op(_EQUAL, TCP, yes="tcp")),
        *(Op(_EQUAL, UDP, no="drop"), Op(_LOAD_BYTE, 16), Op(_AND, 0xF0)),
        Op(_EQUAL, 0xE0, yes="short", no="udp"),
        *("ipv6", Op(_X_NUMBER, 40), Op(_LOAD_BYTE, 6), Op(_EQUAL, TCP, yes="tcp")),
        *(Op(_EQUAL, UDP, no="drop"), Op(_LOAD_BYTE, 24), Op(_EQUAL, 0xFF, yes="short")),
    )


def _datagram() -> tuple[Line, ...]:
    """Answers of DNS whole; of QUIC the packets with a long header (RFC 9000 §17.2)."""
    return (
        *("udp", Op(_LOAD_HALF_AT, 0), Op(_EQUAL, DNS, yes="whole")),
        *(Op(_LOAD_HALF_AT, 2), Op(_EQUAL, DNS_OVER_QUIC, yes="quic"), Op(_EQUAL, QUIC, no="drop")),
        *("quic", Op(_LOAD_BYTE_AT, 8), Op(_AND, 0xC0), Op(_EQUAL, 0xC0, yes="short", no="drop")),
    )


def _segment(quiet: Sequence[int]) -> tuple[Line, ...]:
    """SYNs of both sides, answers of DNS, and what is not of a quiet port; data goes to X."""
    return (
        *("tcp", Op(_LOAD_BYTE_AT, 13), Op(_ANY_BIT, _SYN, yes="short")),
        *(Op(_LOAD_HALF_AT, 0), Op(_EQUAL, DNS, yes="whole")),
        *(Op(_EQUAL, port, yes="drop") for port in quiet),
        Op(_LOAD_HALF_AT, 2),
        *(Op(_EQUAL, port, yes="drop") for port in quiet),
        *(Op(_LOAD_BYTE_AT, 12), Op(_AND, 0xF0), Op(_SHIFT_RIGHT, 2), Op(_ADD_X), Op(_TO_X)),
    )


def _data() -> tuple[Line, ...]:
    """What is read behind a packet's end ends the program: the packet is dropped."""
    return (
        *(Op(_LOAD_WORD_AT, 0), Op(_STORE, 0)),
        *(Op(_EQUAL, int.from_bytes(word, "big"), yes="opening") for word in _FIRST_WORDS),
        *(Op(_SHIFT_RIGHT, 16), Op(_EQUAL, 0x1603, yes="tls")),
        *(Op(_SHIFT_RIGHT, 8), Op(_EQUAL, ord("*"), yes="redis")),
        # MySQL's greeting: a length below 256 in three bytes, packet number 0, version 10.
        *(Op(_RECALL, 0), Op(_AND, 0xFFFFFF), Op(_EQUAL, 0, no="startup")),
        *(Op(_LOAD_BYTE_AT, 4), Op(_EQUAL, _MYSQL, yes="opening")),
        # A larger number is no length of a start-up message.
        *("startup", Op(_RECALL, 0), Op(_GREATER, 10_000, yes="mongo"), Op(_LOAD_WORD_AT, 4)),
        *(Op(_EQUAL, word, yes="opening") for word in _POSTGRES),
        *("mongo", Op(_LOAD_WORD_AT, 12)),
        *(Op(_EQUAL, word, yes="opening") for word in _MONGO),
        Op(RETURN, 0),
        *("tls", Op(_LOAD_BYTE_AT, 5), Op(_EQUAL, _HELLO, yes="opening", no="drop")),
        *("redis", Op(_RECALL, 0), Op(_AND, 0xFFFF), Op(_EQUAL, 0x0D0A, yes="opening", no="drop")),
    )


def encode(lines: Sequence[Line]) -> bytes:
    """The program as the kernel takes it (an array of struct sock_filter).

    ValueError where a jump is too far; KeyError for a label that is nowhere.
    """
    places: dict[str, int] = {}
    ops: list[Op] = []
    for line in lines:
        if isinstance(line, str):
            places[line] = len(ops)
        else:
            ops.append(line)
    out = b""
    for at, op in enumerate(ops):
        yes, no = (places[label] - at - 1 if label else 0 for label in (op.yes, op.no))
        if not (0 <= yes < 256 and 0 <= no < 256):
            raise ValueError(f"instruction {at} jumps too far")
        out += _INSTRUCTION.pack(op.code, yes, no, op.number)
    return out
