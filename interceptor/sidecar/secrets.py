"""The secrets of this VM for its Envoy: SDS on a Unix socket of the sidecar's group.

``default`` is the key and chain, ``ROOTCA`` the authorities that are trusted, as istiod's resources
name them; the others are those of `secretfile`. Who has a stream is told of each change.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from interceptor.errors import InterceptorError
from interceptor.host import wait
from interceptor.host.rpc import RpcError
from interceptor.host.rpcserver import Link, Server, serve
from interceptor.host.rpcserver import Stream as Method
from interceptor.sidecar import sdsstream, secretfile
from interceptor.sidecar.sdsstream import Form, Refusal, SdsError, Secret, Stream

log = logging.getLogger(__name__)

SERVICE = "envoy.service.secret.v3.SecretDiscoveryService"
OWN, TRUSTED = "default", "ROOTCA"
STREAMS_LIMIT = 4096  # Envoy opens one for each secret of each cluster and listener
WATCHED_LIMIT = 256  # secrets of files
LOOK_S = 1.0  # how often files are looked at
AGAIN = 30  # looks between two at a file that could not be read


@dataclass(frozen=True, slots=True)
class Status:
    """``missing``: names that are asked for and that we do not have. ``refusals``: what Envoy did
    not take, until it takes another."""

    streams: int
    sent: int
    acked: int
    refused: int
    missing: tuple[str, ...]
    refusals: tuple[Refusal, ...]


class Secrets:
    """Open it, tell it of each new credential, close it."""

    def __init__(self, path: Path, uid: int, gid: int) -> None:
        """``uid`` and ``gid`` are the sidecar's."""
        self._path, self._gid = path, gid
        self._reader = secretfile.Reader(uid, gid)
        self._secrets: dict[str, Secret] = {}
        self._problems: dict[str, str] = {}
        self._streams: dict[Stream, asyncio.Event] = {}
        self._refusals: dict[Stream, Refusal] = {}
        self._sent = self._acked = self._refused = 0
        self._server: Server | None = None
        self._watchers: dict[str, asyncio.Task[None]] = {}

    async def open(self) -> None:
        """Listen. A socket that nobody listens at is replaced. Raises InterceptorError."""
        self._path.unlink(missing_ok=True)
        methods = {f"/{SERVICE}/{form.value}": Method(partial(self._serve, form)) for form in Form}
        self._server = await serve(self._path, methods, group=self._gid)

    async def close(self) -> None:
        """Envoy keeps what it has."""
        watchers = list(self._watchers.values())
        self._watchers.clear()
        if watchers:
            await wait.cancelled(watchers)
        if self._server is not None:
            await self._server.close()
            self._server = None

    def tell(self, key_pem: bytes, chain_pem: bytes, root_pem: bytes) -> None:
        """From now on these; pushed to everybody who asked for them."""
        self._put(sdsstream.build_pair(OWN, key_pem, chain_pem))
        self._put(sdsstream.build_roots(TRUSTED, root_pem))

    def _put(self, secret: Secret) -> None:
        self._secrets[secret.name] = secret
        for stream, bell in self._streams.items():
            if secret.name in stream.names:
                bell.set()

    def status(self) -> Status:
        """Counts since it was opened, and what stands now."""
        names = {name for stream in self._streams for name in stream.names}
        return Status(
            streams=len(self._streams),
            sent=self._sent,
            acked=self._acked + sum(each.acked for each in self._streams),
            refused=self._refused + sum(each.refused for each in self._streams),
            missing=tuple(
                f"{name}: {self._problems.get(name, 'there is none yet')}"
                for name in sorted(names - self._secrets.keys())
            ),
            refusals=tuple(dict.fromkeys(self._refusals.values())),
        )

    async def _serve(self, form: Form, link: Link) -> None:
        if len(self._streams) >= STREAMS_LIMIT:
            raise RpcError("RESOURCE_EXHAUSTED", f"{STREAMS_LIMIT} streams are open")
        stream, bell = Stream(form), asyncio.Event()
        self._streams[stream] = bell
        reader = asyncio.create_task(self._read(link, stream, bell))
        reader.add_done_callback(lambda _: bell.set())
        try:
            while not reader.done():
                await bell.wait()
                bell.clear()
                while (message := stream.poll(self._secrets)) is not None:
                    self._sent += 1
                    await link.send(message)
            reader.result()
        except SdsError as error:
            raise RpcError("INVALID_ARGUMENT", str(error)) from error
        finally:
            reader.cancel()
            del self._streams[stream]
            self._refusals.pop(stream, None)
            self._acked += stream.acked
            self._refused += stream.refused
            self._unwatch()

    async def _read(self, link: Link, stream: Stream, bell: asyncio.Event) -> None:
        while (data := await link.receive()) is not None:
            acked = stream.acked
            refusal = stream.receive(data)
            if refusal is not None:
                self._refusals[stream] = refusal
                names = ", ".join(refusal.names)
                log.error("envoy refused the secrets %s: %s", names, refusal.reason)
            elif stream.acked > acked:
                self._refusals.pop(stream, None)
            self._look_after(stream.names)
            bell.set()

    def _look_after(self, names: set[str]) -> None:
        """Those of files are watched as long as somebody wants them."""
        for name in filter(secretfile.paths, names - self._watchers.keys()):
            if len(self._watchers) < WATCHED_LIMIT:
                self._watchers[name] = asyncio.create_task(self._watch(name))
            else:
                self._problems[name] = f"{WATCHED_LIMIT} secrets of files are the limit"

    def _unwatch(self) -> None:
        wanted = {name for stream in self._streams for name in stream.names}
        for name in self._watchers.keys() - wanted:
            self._watchers.pop(name).cancel()
            self._secrets.pop(name, None)
            self._problems.pop(name, None)

    async def _watch(self, name: str) -> None:
        """Keep a secret of files, as long as somebody wants it."""
        files = secretfile.paths(name)
        loaded: list[wait.Stamp] = []
        before, again = [wait.stamp(path) for path in files], 0
        while True:
            now, again = [wait.stamp(path) for path in files], again - 1
            # Key and certificate are both written by the time that nothing changes any more.
            if now == before and (now != loaded or again == 0):
                loaded = now
                again = 0 if await self._load(name) else AGAIN
            before = now
            await asyncio.sleep(LOOK_S)

    async def _load(self, name: str) -> bool:
        """Whether it went well. What was good stays where the files are not."""
        try:
            secret = await asyncio.to_thread(secretfile.read, name, self._reader)
        except InterceptorError as error:
            if self._problems.get(name) != str(error):
                log.error("a secret of files cannot be had: %s", error)
            self._problems[name] = str(error)
            return False
        self._problems.pop(name, None)
        self._put(secret)
        return True
