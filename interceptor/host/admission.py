"""What lets this VM in at a control plane, read afresh each time: root, certificate, token."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from interceptor.config import Config
from interceptor.errors import InterceptorError
from interceptor.host.rpc import Tls

PLAIN_PORT = 15010  # istiod's, without TLS
SKEW_S = 30.0
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Pair:
    """A client's certificate with its chain, and its key; PEM. ``roots`` came with them, and are
    believed beside mesh.istiod.root_cert: an authority that changes its root hands the new one
    out, and nobody goes from VM to VM to change a file. Without a chain there are only they."""

    chain: bytes
    key: bytes = field(repr=False)
    roots: bytes = b""


def nothing() -> Pair | None:
    """No certificate of our own."""
    return None


class Admission:
    """For one configuration. ``pair`` gives the certificate to show, where there is one that is
    good now."""

    def __init__(self, config: Config, pair: Callable[[], Pair | None] = nothing) -> None:
        self._istiod, self._cluster = config.mesh.istiod, config.node.cluster
        self._pair = pair
        self._refused = b""

    def note_refused(self, chain: bytes) -> None:
        """A certificate with that chain was refused: it is not shown where there is a token, until
        `note_failed`. (The mesh's authority may have changed while this VM was off.)"""
        self._refused = chain

    def note_failed(self) -> None:
        """An attempt failed of something else: the next one shows whatever there is."""
        self._refused = b""

    def is_secret(self, port: int) -> bool:
        """Whether TLS is spoken there."""
        return {"on": True, "off": False}.get(self._istiod.tls, port != PLAIN_PORT)

    def tls(self, host: str, port: int) -> Tls | None:
        """None where plain text is meant. Raises InterceptorError without a root certificate."""
        if not self.is_secret(port):
            return None
        path = self._istiod.root_cert
        try:
            root = path.read_bytes()
        except OSError as error:
            raise InterceptorError(
                f"mesh.istiod.root_cert: {path}: {error.strerror}: the certificate of the "
                "authority that the control plane's own is of (root-cert.pem of the mesh)"
            ) from error
        if _CERTIFICATE not in root:  # gRPC would take the authorities that it brings along
            raise InterceptorError(f"mesh.istiod.root_cert: {path}: there is no certificate in it")
        name = self._istiod.server_name or _server_name(host)
        pair = self._pair()
        if pair is None:
            return Tls(root, server_name=name)
        both = root.rstrip() + b"\n" + pair.roots if pair.roots else root
        if pair.chain and pair.chain == self._refused and self._token():
            return Tls(both, server_name=name)
        return Tls(both, pair.chain, pair.key, name)

    def metadata(self, *, is_secret: bool) -> dict[str, str]:
        """gRPC metadata of a call. The token never goes where everybody on the way could read it:
        only with TLS. Without a readable one the certificate has to do."""
        made = {"clusterid": self._cluster, **self._istiod.headers}
        token = self._token() if is_secret else ""
        if token:
            made["authorization"] = f"Bearer {token}"
        return made

    def explain(self, now_s: float | None = None) -> str:
        """What is wrong with the token, as far as it says itself (JWT, RFC 7519); "" where
        nothing seems to be."""
        path = self._istiod.token
        try:
            token = path.read_text("ascii").strip()
        except OSError as error:
            pair = self._pair()
            return (
                "" if pair and pair.chain else f"the token {path} cannot be read: {error.strerror}"
            )
        except UnicodeDecodeError:
            return f"the token {path} is none"
        begin_s, end_s = _span(token)
        now_s = time.time() if now_s is None else now_s
        if end_s is not None and end_s <= now_s:
            return f"the token {path} expired at {_date(end_s)}"
        if begin_s is not None and begin_s > now_s + SKEW_S:
            return f"the token {path} begins at {_date(begin_s)}: is this host's clock right?"
        return "" if token else f"the token {path} is empty"

    def _token(self) -> str:
        try:
            token = self._istiod.token.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""
        return token if token.isprintable() else ""


def _server_name(host: str) -> str:
    """As Istio's agent: a control plane on this host bears its usual name."""
    return "istiod.istio-system.svc" if host == "localhost" else host


def _span(token: str) -> tuple[float | None, float | None]:
    """Seconds since 1970 that a token begins and ends at, as far as it says."""
    parts = token.split(".")
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(base64.urlsafe_b64decode(padded))
        begin, end = (claims.get(key) for key in ("nbf", "exp"))
        begin = claims.get("iat") if begin is None else begin
    except (ValueError, IndexError, AttributeError, RecursionError):
        return None, None
    numbers = [float(each) if isinstance(each, int | float) else None for each in (begin, end)]
    return numbers[0], numbers[1]


def _date(at_s: float) -> str:
    try:
        return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        return f"{at_s:g} s after 1970"


def split(address: str) -> tuple[str, int]:
    """``HOST:PORT`` and ``[IPV6]:PORT``."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
