"""An authority of the tests, and what it gives; dated now or at will."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from interceptor.host import rpcserver
from interceptor.workload import certificate, issuance, signing
from interceptor.workload.credential import Credential
from interceptor.workload.signing import Leaf, Signer

WHO = "spiffe://cluster.local/ns/shop/sa/web"
DAY_S = 86400.0


@dataclass
class Authority:
    """Signs what it is asked for; ``begins_s`` and ``ends_s`` count from ``now_s``."""

    now_s: float = field(default_factory=certificate.now_s)
    root: Signer = field(init=False)

    def __post_init__(self) -> None:
        begins, ends = self.now_s - 40 * DAY_S, self.now_s + 400 * DAY_S
        self.root = signing.make_root("ecdsa-p256", "tests", begins, ends)

    def answer(
        self, csr: bytes, begins_s: float = -120, ends_s: float = DAY_S, who: str = ""
    ) -> list[bytes]:
        """As an authority answers a request."""
        request = signing.read_request(csr)
        uris = (who,) if who else request.uris
        times = (self.now_s + begins_s, self.now_s + ends_s)
        made = signing.issue(Leaf(request.public_key, uris, *times), self.root)
        return [made, self.root.certificate]

    def credential(
        self,
        begins_s: float = -120,
        ends_s: float = DAY_S,
        obtained_s: float = 0,
        roots: Sequence[bytes] = (),
    ) -> Credential:
        key = signing.make_key("ecdsa-p256")
        chain, root = self.answer(signing.build_csr(key, WHO), begins_s, ends_s)
        return Credential(key, chain, b"".join([root, *roots]), self.now_s + obtained_s)


@dataclass
class Service:
    """An authority that is asked by gRPC over TLS; ``decide`` makes or refuses the answer."""

    authority: Authority = field(default_factory=Authority)
    ttl_s: float = DAY_S
    decide: Callable[[bytes], Sequence[bytes]] | None = None
    calls: list[Mapping[str, str]] = field(default_factory=list)
    keys: set[bytes] = field(default_factory=set)
    port: int = 0

    async def answer(self, data: bytes, link: rpcserver.Link) -> bytes:
        self.calls.append(link.metadata)
        csr = issuance.decode_request(data).csr
        self.keys.add(signing.read_request(csr).public_key)
        if self.decide is not None:
            return issuance.encode_response(self.decide(csr))
        self.authority.now_s = certificate.now_s()
        return issuance.encode_response(self.authority.answer(csr, ends_s=self.ttl_s))

    @asynccontextmanager
    async def serving(self, *, require_client: bool = False) -> AsyncIterator[Service]:
        """At a port of loopback; the same again when it is served again."""
        key = signing.make_key("ecdsa-p256")
        request = signing.read_request(signing.build_csr(key, "spiffe://x"))
        now = certificate.now_s()
        leaf = Leaf(request.public_key, (), now - 60, now + DAY_S, ("127.0.0.1", "localhost"))
        root = self.authority.root
        tls = rpcserver.ServerTls(signing.issue(leaf, root), key, root.certificate, require_client)
        methods = {issuance.METHOD: rpcserver.Unary(self.answer)}
        server = await rpcserver.serve(f"127.0.0.1:{self.port}", methods, tls)
        self.port = server.port
        try:
            yield self
        finally:
            await server.close()


def token(ends_s: float, begins_s: float = 0) -> str:
    """Of that end, seconds since 1970; signed by nobody."""
    claims: dict[str, object] = {"sub": "system:serviceaccount:shop:web", "exp": ends_s}
    if begins_s:
        claims["nbf"] = begins_s
    parts = (json.dumps(each).encode() for each in ({"alg": "none"}, claims))
    words = [base64.urlsafe_b64encode(each).decode().rstrip("=") for each in parts]
    return ".".join([*words, "c2ln"])
