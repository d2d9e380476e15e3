"""A probe by HTTP, as kubelet's: any answer from 200 to 399 is a success, redirects are followed
on the same host only, TLS is not verified."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from interceptor.workload.outcome import Outcome

REDIRECTS = 10  # as Go's client, which kubelet uses
REDIRECTING = (301, 302, 303, 307, 308)
HEAD_BYTES, BODY_BYTES = 65536, 10240
AGENT = "interceptor-probe/1.0"
_SAFE = "/?#[]@!$&'()*+,;=:%~"

Connect = Callable[[str, int], Awaitable[socket.socket]]
"""host and port → a connected socket. Raises OSError."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``location`` is empty where there is none; ``length`` that of the body in bytes, -1 where
    it goes on until the connection ends."""

    status: int
    location: str = ""
    length: int = -1


class NotHttp(Exception):
    """The server answers, but not by HTTP/1."""


def render(url: str, headers: Mapping[str, str]) -> bytes:
    """The request for ``url``. ``headers`` win over ours; none brings lines of its own."""
    parts = urlsplit(url)
    path = quote(parts._replace(scheme="", netloc="", fragment="").geturl() or "/", safe=_SAFE)
    own = {"Host": parts.netloc, "User-Agent": AGENT, "Accept": "*/*", "Connection": "close"}
    given = {name.title(): value for name, value in headers.items()}
    lines = [f"GET {path} HTTP/1.1", *(f"{key}: {text}" for key, text in (own | given).items())]
    return "\r\n".join([*(" ".join(line.splitlines()) for line in lines), "", ""]).encode()


def decode(head: bytes) -> Answer:
    """A response's head (RFC 9112 section 4 and 5). Raises NotHttp."""
    first, *lines = head.decode("latin-1").split("\n")
    version, _, rest = first.partition(" ")
    status = rest[:3]
    is_number = len(status) == 3 and status.isascii() and status.isdigit()
    if not version.startswith("HTTP/1.") or not is_number:
        raise NotHttp(f"the answer begins {first.strip()[:40]!r}, which is not HTTP/1")
    fields = {
        name.strip().lower(): value.strip()
        for name, colon, value in (line.partition(":") for line in lines)
        if colon
    }
    length = fields.get("content-length", "")
    known = int(length) if length.isascii() and length.isdigit() and len(length) < 18 else -1
    if int(status) in (204, 304):
        known = 0
    return Answer(int(status), fields.get("location", ""), known)


async def observe(url: str, headers: Mapping[str, str], connect: Connect) -> Outcome:
    """Ask once. Takes as long as it takes: the caller has the time limit."""
    first = urlsplit(url).hostname
    for _ in range(REDIRECTS):
        try:
            answer = await _ask(url, headers, connect)
            if answer.status not in REDIRECTING or not answer.location:
                break
            onward = urljoin(url, answer.location)
            parts = urlsplit(onward)
            if parts.scheme not in ("http", "https"):
                return Outcome(False, f"redirected to {onward}, which is not HTTP")
            if parts.hostname != first:
                said = f"HTTP {answer.status} to another host, {parts.hostname}, is not followed"
                return Outcome(True, said)
        except (OSError, EOFError, NotHttp, ValueError) as error:
            return Outcome(False, f"{url}: {getattr(error, 'strerror', '') or error}")
        url = onward
    else:
        return Outcome(False, f"{REDIRECTS} redirects and no end, the last to {url}")
    return Outcome(200 <= answer.status < 400, f"HTTP {answer.status}")


async def _ask(url: str, headers: Mapping[str, str], connect: Connect) -> Answer:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    opened = await connect(parts.hostname or "", port)
    try:
        reader, writer = await asyncio.open_connection(
            sock=opened,
            limit=HEAD_BYTES,
            ssl=_unverified() if secure else None,
            server_hostname="" if secure else None,
        )
    except BaseException:
        opened.close()
        raise
    try:
        writer.write(render(url, headers))
        answer = await _receive(reader)
        await _read_body(reader, answer.length)
        return answer
    finally:
        writer.transport.abort()


async def _receive(reader: asyncio.StreamReader) -> Answer:
    """The final answer; those on the way to it (1xx) are passed over."""
    while True:
        try:
            head = await reader.readuntil(b"\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                decode(error.partial)  # raises where it is no HTTP at all
            raise EOFError("the connection was closed before an answer was complete") from error
        except asyncio.LimitOverrunError as error:
            raise NotHttp(f"no end of the headers in {HEAD_BYTES} bytes") from error
        answer = decode(head)
        if answer.status >= 200:
            return answer


async def _read_body(reader: asyncio.StreamReader, length: int) -> None:
    """What comes with the answer, or the server would see its connection reset."""
    left = BODY_BYTES if length < 0 else min(length, BODY_BYTES)
    while left > 0 and (chunk := await reader.read(left)):
        left -= len(chunk)


@functools.cache
def _unverified() -> ssl.SSLContext:
    """A probe asks whether the service is fit, not who it is; its certificate may be of any age
    and strength."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context
