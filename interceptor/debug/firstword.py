"""What a TCP connection speaks, by the first bytes of either side. Pure.

Only what tells a protocol for sure is named; `of_port` is the custom where nothing was seen.
"""

from __future__ import annotations

from dataclasses import dataclass

PROXY = "proxy"  # HTTP to a forward proxy: the names are in its requests


@dataclass(frozen=True, slots=True)
class Opening:
    """``by_client``: whose word it was; None where both sides begin with it. ``name`` is the
    host as the client names it (SNI, Host), lower case and without port; ``alpn`` what it
    offers within TLS."""

    protocol: str
    by_client: bool | None
    name: str = ""
    alpn: tuple[str, ...] = ()


_SERVER_FIRST = frozenset(("mysql", "smtp", "ftp", "pop3", "imap", "ssh"))
_METHODS = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"PATCH ", b"OPTIONS ")
_PREFACE = b"PRI * HTTP/2.0\r\n"  # RFC 9113 §3.4
_STARTUP = {0x00030000: "postgres", 0x04D2162F: "postgres", 0x04D21630: "postgres"}
_MONGO = (2013, 2004)  # OP_MSG, OP_QUERY
_SERVER_NAME, _ALPN = 0, 16  # TLS extensions (RFC 6066 §3, RFC 7301)

_PORTS = {
    **dict.fromkeys((80, 8080, 8000, 9080), "http"),
    **dict.fromkeys((443, 8443, 636, 993, 995, 465, 853, 5671), "tls"),
    **dict.fromkeys((25, 587), "smtp"),
    **dict.fromkeys((3306, 33060), "mysql"),
    **dict.fromkeys((6379, 6380), "redis"),
    **dict.fromkeys((27017, 27018), "mongo"),
    21: "ftp",
    22: "ssh",
    88: "kerberos",
    110: "pop3",
    111: "rpcbind",
    143: "imap",
    389: "ldap",
    445: "smb",
    514: "syslog",
    1433: "mssql",
    1521: "oracle",
    2049: "nfs",
    2181: "zookeeper",
    2379: "etcd",
    3128: PROXY,
    5432: "postgres",
    5672: "amqp",
    9042: "cassandra",
    9092: "kafka",
    11211: "memcached",
    50051: "grpc",
}


def is_server_first(protocol: str) -> bool:
    """Whether the client waits to be spoken to: whoever waits for its first bytes to know what
    it speaks waits for ever."""
    return protocol in _SERVER_FIRST


def of_port(port: int) -> str:
    """The protocol that the port is known for; empty for all the others."""
    return _PORTS.get(port, "")


def guess(data: bytes) -> Opening | None:
    """What the first bytes of some packet tell; None for nothing. Anything may be cut off."""
    if data[:2] == b"\x16\x03" and data[5:6] == b"\x01":
        return _hello(data)
    if data.startswith(_METHODS):
        return _request(data)
    if data.startswith(b"CONNECT "):
        return Opening(PROXY, True)
    if data.startswith(_PREFACE):
        # HTTP/2 without TLS and without an upgrade is what gRPC speaks, and little else.
        return Opening("grpc", True)
    return _text(data) or _binary(data)


def _text(data: bytes) -> Opening | None:
    if data.startswith(b"SSH-"):
        return Opening("ssh", None)
    if data.startswith((b"220 ", b"220-")):
        return Opening("ftp" if b"ftp" in data[:200].lower() else "smtp", False)
    if data.startswith(b"+OK "):
        return Opening("pop3", False)
    if data.startswith(b"* OK"):
        return Opening("imap", False)
    if data.startswith(b"AMQP"):
        return Opening("amqp", True)
    if data[:1] == b"*" and b"\r\n$" in data[:8] and data[1:2].isdigit():
        return Opening("redis", True)
    return None


def _binary(data: bytes) -> Opening | None:
    if data[1:5] == b"\0\0\0\x0a" and 0 in data[5:40]:
        return Opening("mysql", False)
    if len(data) >= 8 and int.from_bytes(data[:4], "big") < 10_000:
        protocol = _STARTUP.get(int.from_bytes(data[4:8], "big"))
        if protocol:
            return Opening(protocol, True)
    # What the server answers names the request that it belongs to.
    if len(data) >= 16 and int.from_bytes(data[12:16], "little") in _MONGO:
        return Opening("mongo", int.from_bytes(data[8:12], "little") == 0)
    return None


def _request(data: bytes) -> Opening:
    line, _, rest = data.partition(b"\r\n")
    target = line.split(b" ")[1] if line.count(b" ") else b""
    if target.lower().startswith((b"http://", b"https://")):
        return Opening(PROXY, True)
    host = b""
    for field in rest.split(b"\r\n"):
        if not field:
            break
        key, _, value = field.partition(b":")
        if key.lower() == b"host":
            host = value.strip()
    return Opening("http", True, _host(host))


def _host(value: bytes) -> str:
    """A Host field's name; empty for an address."""
    text = value.decode("ascii", "replace").lower()
    name = text.partition(":")[0].rstrip(".")
    if text.startswith("[") or not name or name.replace(".", "").isdigit():
        return ""
    return name


def _hello(data: bytes) -> Opening:
    """A ClientHello (RFC 8446 §4.1.2): record, handshake, version, random, then lists."""
    at = 5 + 4 + 2 + 32
    for width in (1, 2, 1):  # session id, cipher suites, compression methods
        at += width + int.from_bytes(data[at : at + width], "big")
    at += 2
    name, alpn = "", tuple[str, ...]()
    while at + 4 <= len(data):
        kind, size = (
            int.from_bytes(data[at : at + 2], "big"),
            int.from_bytes(data[at + 2 : at + 4], "big"),
        )
        body = data[at + 4 : at + 4 + size]
        if kind == _SERVER_NAME and len(body) == size and body[2:3] == b"\0":
            name = body[5:].decode("ascii", "replace").lower().rstrip(".")
        elif kind == _ALPN and len(body) == size:
            alpn = _protocols(body[2:])
        at += 4 + size
    return Opening("tls", True, name, alpn)


def _protocols(body: bytes) -> tuple[str, ...]:
    found: list[str] = []
    while body:
        found.append(body[1 : 1 + body[0]].decode("ascii", "replace"))
        body = body[1 + body[0] :]
    return tuple(found)
