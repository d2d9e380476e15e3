"""Why a TLS handshake fails, in words: gRPC tells some of it, OpenSSL all. Only asked after one
has failed."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from datetime import UTC, datetime

from interceptor.host.rpc import Tls

REFUSED = "it refuses our certificate, or wants one"
"""How `explain` begins where the other side ended it after it had seen what we show."""

LATE_S = 0.3  # TLS 1.3: a client is told that it is refused only after its handshake is over

# ssl.SSLCertVerificationError.verify_code: X509_V_ERR_* of OpenSSL's x509_vfy.h
_EXPIRED, _FUTURE = 10, 9
_STRANGERS = (18, 19, 20, 21)  # self-signed, in the chain or not; issuer unknown, first unknown
_NAMES = (62, 64)  # host name, IP address mismatch


async def explain(opened: socket.socket, tls: Tls, timeout_s: float) -> str:
    """Shake hands on a connection, which is closed then. "" where nothing is wrong."""
    try:
        context = _context(tls)
    except (OSError, ValueError) as error:
        opened.close()
        return f"the root certificate or our own cannot be used: {_reason(error)}"
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(
                sock=opened, ssl=context, server_hostname=tls.server_name
            )
    except ssl.SSLCertVerificationError as error:
        return _of_certificate(error, tls.server_name)
    except ssl.SSLError as error:
        return f"TLS fails: {_reason(error)}; does it speak TLS on this port?"
    except TimeoutError:
        return "it takes the connection and says nothing"
    except (OSError, asyncio.IncompleteReadError) as error:
        return f"it closes the connection during the handshake ({error})"
    try:
        return await _late(reader)
    finally:
        writer.transport.abort()


async def _late(reader: asyncio.StreamReader) -> str:
    """Who speaks HTTP/2 begins with its settings; who only ends it does not want us."""
    reason = "it ends the connection"
    try:
        async with asyncio.timeout(LATE_S):
            if await reader.read(1):
                return ""
    except TimeoutError:
        return ""
    except ssl.SSLError as error:
        reason = _reason(error)
    except OSError as error:
        reason = error.strerror or str(error)
    return f"{REFUSED}: {reason}"


def _context(tls: Tls) -> ssl.SSLContext:
    if not tls.root:
        raise ValueError("empty")  # OpenSSL would take the system's
    context = ssl.create_default_context(cadata=tls.root.decode("ascii", "ignore"))
    context.set_alpn_protocols(["h2"])
    if tls.certificate:
        # OpenSSL reads a client's key from a file only: one that is in memory, and nowhere else.
        descriptor = os.memfd_create("pair")
        try:
            os.write(descriptor, tls.certificate + b"\n" + tls.key)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
    return context


def _of_certificate(error: ssl.SSLCertVerificationError, name: str) -> str:
    code = error.verify_code
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if code == _EXPIRED:
        return f"its certificate has expired, by this host's clock ({now})"
    if code == _FUTURE:
        return f"its certificate is not valid yet: is this host's clock right ({now})?"
    if code in _STRANGERS:
        return f"its certificate is of another authority than our root ({error.verify_message})"
    if code in _NAMES:
        return f"its certificate is for other names than {name}; see mesh.istiod.server_name"
    return f"its certificate is not good: {error.verify_message}"


def _reason(error: OSError | ValueError) -> str:
    return str(getattr(error, "reason", "") or error).replace("_", " ").lower()
