"""IstioCertificateService of our own authority: over TLS, as istiod's, so that a member cannot
tell the two apart."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from interceptor.config import Config
from interceptor.errors import InterceptorError
from interceptor.host import atomic, tlsfront
from interceptor.host.tlsfront import Front
from interceptor.workload import authority, certificate, issuance
from interceptor.workload.authority import Authority, Proof, Refused
from interceptor.workload.certificate import CertificateError

if TYPE_CHECKING:
    from interceptor.host.rpcserver import Link, Server

BEARER = "bearer "  # in front of a token, in any case (RFC 6750, section 2.1)
SOCKET, CERTIFICATE, KEY = "socket", "server-cert.pem", "server-key.pem"
SERVER_LIFE_S = 30 * 86400
_log = logging.getLogger(__name__)


class Issuer:
    """Serves at authority.listen, from `open` to `close`."""

    def __init__(
        self,
        config: Config,
        addresses: Iterable[object] = (),
        clock: Callable[[], float] = certificate.now_s,
    ) -> None:
        """``addresses`` are this host's, by which members may call. Raises InterceptorError where
        there is no authority in authority.dir."""
        self.authority = Authority(config.authority.dir, config.authority.ttl_s, clock)
        self._place = config.authority.listen
        self._names = authority.own_names(config, addresses)
        self._folder = config.agent.run_dir / "authority"
        self._clock = clock
        self._ends_s, self._roots = 0.0, b""
        self._tls: ssl.SSLContext | None = None
        self._server: Server | None = None
        self._front: Front | None = None
        self.port = 0

    async def open(self) -> None:
        """Raises InterceptorError where the address is taken."""
        from interceptor.host import rpcserver

        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)  # whoever can bind a socket in here can say who he is
        socket = self._folder / SOCKET
        for left in self._folder.glob(f"{SOCKET}*"):  # of a daemon that was killed
            left.unlink()
        methods = {issuance.METHOD: rpcserver.Unary(self._create)}
        self._server = await rpcserver.serve(socket, methods)
        self._front = Front(socket, self._context)
        host, _, port = self._place.rpartition(":")
        try:
            await asyncio.to_thread(self._context)
            self.port = await self._front.open(host.strip("[]"), int(port))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        if self._front is not None:
            await self._front.close()
        if self._server is not None:
            await self._server.close()
        self._front = self._server = None

    def status(self) -> dict[str, object]:
        """For `status`: where, by which root, how many."""
        keys, now_s = self.authority.keys, self._clock()
        root = certificate.read(keys.signer(now_s).certificate)[0]
        return {
            "listen": f"{self._place.rpartition(':')[0]}:{self.port}",
            "trust_domain": keys.trust_domain,
            "root": root.fingerprint,
            "roots": len(keys.current(now_s).roots),
            "root_not_after_s": root.not_after_s,
            "issued": self.authority.issued,
            "refused": self.authority.refused,
        }

    async def _create(self, request: bytes, link: Link) -> bytes:
        from interceptor.host.rpc import RpcError

        try:
            if len(request) > authority.REQUEST_BYTES:
                raise Refused("INVALID_ARGUMENT", "the request is too long")
            order = issuance.decode_request(request)
            chain = self.authority.serve(order.csr, self._proof(link), order.ttl_s)
        except Refused as error:
            _log.warning("a certificate was refused: %s", error)
            raise RpcError(error.code, str(error)) from error
        except CertificateError as error:
            raise RpcError("INVALID_ARGUMENT", str(error)) from error
        except InterceptorError as error:
            _log.warning("a certificate cannot be given: %s", error)
            raise RpcError("INTERNAL", "the authority cannot sign now; its log says why") from error
        return issuance.encode_response(chain)

    def _proof(self, link: Link) -> Proof:
        header = link.metadata.get("authorization", "")
        shown = header[len(BEARER) :].strip() if header.lower().startswith(BEARER) else ""
        assert self._front is not None
        return Proof(shown, self._front.certificate(link.address))

    def _context(self) -> ssl.SSLContext:
        """That of a new connection: made anew when half of the server's own certificate's life
        is over, or the roots have changed."""
        roots, now_s = self.authority.roots(), self._clock()
        if self._tls is None or roots != self._roots or now_s > self._ends_s:
            key, leaf = self.authority.serve_myself(self._names, SERVER_LIFE_S)
            found = certificate.read(leaf)[0]
            own = self._folder / CERTIFICATE, self._folder / KEY
            _write(own[0], leaf)
            _write(own[1], key)
            self._tls = tlsfront.make_context(*own, roots.decode())
            self._roots = roots
            self._ends_s = now_s + (found.not_after_s - now_s) / 2
        return self._tls


def _write(path: Path, data: bytes) -> None:
    atomic.replace(path, lambda file: file.write(data))
