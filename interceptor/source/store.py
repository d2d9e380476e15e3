"""What a source's documents said when they were last right, on disk for the next start.

One file, ``last-good`` in mesh.state_dir. Its first line holds the format's
number and a SHA-256 of the second line; the second line is JSON and lists the
documents: name, sizes, SHA-256, when each was good. Their bytes follow, those
that are worth it compressed. They are the source's own bytes (a YAML file, a
name table, a resource of xDS under its name), so that every version of the
agent can read them by the parser it has, and nothing in here has to be trusted
further than the source itself. Each document is sealed by itself: damage costs
those that it hit.

Only what has changed is held in memory, compressed, until it is written. That
happens at once after a quiet time, and in a busy one so seldom that it takes a
hundredth of the time at most.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import BinaryIO
from zlib import crc32

from interceptor.host import atomic
from interceptor.source import moment
from interceptor.source.moment import Moment
from interceptor.source.pace import Pace

NAME = "last-good"
FORMAT = 1
REFRESH_S = 3600.0  # without a change: how much too old a killed daemon's table may look
LAST_S = 60.0  # without a write, that make one worth it at the end

_WORTH_BYTES = 4096  # to compress; below that it costs more than it saves
_FIRST_LINE_BYTES = 256
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Document:
    """``packed`` bytes stand ``at`` that place in the file, -1 while they are not in there;
    ``check`` is their CRC-32. ``size`` and ``digest`` are the plain bytes'. ``good`` is None as
    long as its source says it still: then it is good at the moment of writing."""

    size: int
    packed: int
    digest: str
    check: int
    good: Moment | None = None
    at: int = -1


class Store:
    """The last good documents of one source. Without a path nothing is kept.

    ``source`` is the kind of it: what another kind left is none of ours. ``now`` gives the
    date to write down, ``clock`` seconds. Any method may be called in any thread; `save`
    blocks on the disk, and none of the others waits for it.
    """

    def __init__(
        self,
        path: Path | None,
        source: str = "",
        now: Callable[[], Moment] = moment.now,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._path, self._source, self._now = path, source, now
        self._documents: dict[str, _Document] = {}
        self._fresh: dict[str, bytes] = {}  # packed, not on disk yet
        self._lock, self._saving = threading.Lock(), threading.Lock()
        self._descriptor = -1
        self._is_changed = False
        self._pace = Pace(clock)
        self._trouble = ""
        if path is not None:
            self._open(path)

    # --- what is known

    def names(self) -> tuple[str, ...]:
        """Every document that there is."""
        return tuple(self._documents)

    def get(self, name: str) -> bytes | None:
        """The document as it was last right; None where there is none, or it is damaged."""
        with self._lock:
            found, data = self._documents.get(name), self._fresh.get(name)
            if found is None:
                return None
            if data is None:
                data = self._recv(found)
        plain = _unpack(data, found.size)
        if plain is None or _digest(plain) != found.digest:
            _log.warning("%s: what %s last said is damaged, and left out", self._path, name)
            return None
        return plain

    def age_s(self, names: Collection[str]) -> float:
        """How long ago the oldest of these was right; 0 where all of them are."""
        with self._lock:
            held = [self._documents[name].good for name in names if name in self._documents]
        now = self._now()
        return max((moment.age_s(good, now) for good in held if good is not None), default=0.0)

    # --- what changes

    def put(self, name: str, data: bytes) -> None:
        """The source says ``data`` under ``name``, and that is right."""
        if self._path is None:
            return
        digest = _digest(data)
        known = self._documents.get(name)
        if known is None or known.digest != digest:
            packed = zlib.compress(data, 1) if len(data) >= _WORTH_BYTES else data
            with self._lock:
                self._documents[name] = _Document(len(data), len(packed), digest, crc32(packed))
                self._fresh[name] = packed
                self._is_changed = True
        elif known.good is not None:
            self.release(name)

    def hold(self, name: str) -> None:
        """The source is wrong about ``name`` or silent: what it said is getting old."""
        self._mark(name, self._now())

    def release(self, name: str) -> None:
        """The source says again what it said when it was last right."""
        self._mark(name, None)

    def _mark(self, name: str, good: Moment | None) -> None:
        with self._lock:
            known = self._documents.get(name)
            if known is not None and (known.good is None) != (good is None):
                self._documents[name] = replace(known, good=good)
                self._is_changed = True

    def drop(self, name: str) -> None:
        """The source does not have ``name`` any more, and means it."""
        with self._lock:
            self._fresh.pop(name, None)
            if self._documents.pop(name, None) is not None:
                self._is_changed = True

    # --- the file

    @property
    def is_due(self) -> bool:
        """Whether `save` has something to do now."""
        if self._path is None or not self._pace.is_due:
            return False
        if self._is_changed or not self._documents:
            return self._is_changed
        return self._pace.quiet_s >= REFRESH_S or not self._path.exists()

    @property
    def _is_worth_it(self) -> bool:
        return self._is_changed or (bool(self._documents) and self._pace.quiet_s >= LAST_S)

    def save(self, *, is_last: bool = False) -> None:
        """Write down what has changed, if it is time (``is_last``: in any case). Never raises:
        a disk that is full is told once, and tried again."""
        if self._path is None or not (self.is_due or (is_last and self._is_worth_it)):
            return
        with self._saving:
            self._pace.begin()
            trouble = ""
            try:
                self._write(self._path)
            except OSError as error:
                trouble = f"the last good table is not kept: {error}"
            self._pace.end(is_done=not trouble)
            self._tell(trouble)

    def close(self) -> None:
        """Give up the file. `get` finds nothing any more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _tell(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            _log.warning("%s", trouble)
        self._trouble = trouble

    def _open(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            found = dict(_decode(self._descriptor, self._source))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("%s cannot be used, there is no last good table: %s", path, error)
            self.close()
        else:
            whole = {name: one for name, one in found.items() if self._is_whole(one)}
            if harmed := found.keys() - whole.keys():
                _log.warning("%s is damaged: %d documents are lost", path, len(harmed))
            self._documents = whole

    def _is_whole(self, document: _Document) -> bool:
        return crc32(self._recv(document)) == document.check

    def _recv(self, document: _Document) -> bytes:
        """A document's bytes in the file, as many as there have to be: the digest tells whether
        they are they."""
        data = b""
        with suppress(OSError):
            data = os.pread(self._descriptor, document.packed, document.at)
        return data.ljust(document.packed, b"\0")

    def _write(self, path: Path) -> None:
        with self._lock:
            documents, fresh = dict(self._documents), dict(self._fresh)
            self._is_changed = False
        placed: dict[str, _Document] = {}

        def write(file: BinaryIO) -> None:
            head = _encode(documents, self._source, self._now())
            file.write(head)
            at = len(head)
            for name, document in documents.items():
                data = fresh.get(name)
                file.write(self._recv(document) if data is None else data)
                placed[name] = replace(document, at=at)
                at += document.packed

        try:
            atomic.replace(path, write)
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._is_changed = True
            raise
        with self._lock:
            self.close()
            self._descriptor = descriptor
            for name, document in placed.items():
                now = self._documents.get(name)
                if now is not None and now.digest == document.digest:
                    self._documents[name] = replace(now, at=document.at)
                    self._fresh.pop(name, None)


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def _unpack(data: bytes, size: int) -> bytes | None:
    """Plain bytes of a document that had ``size``; None where these are not they."""
    if size < _WORTH_BYTES:
        return data
    with suppress(zlib.error):
        return zlib.decompressobj().decompress(data, size + 1)
    return None


def _encode(documents: dict[str, _Document], source: str, now: Moment) -> bytes:
    """Both lines in front of the documents."""
    rows = [
        [name, item.size, item.packed, item.digest, item.check, asdict(item.good or now)]
        for name, item in documents.items()
    ]
    index = json.dumps({"source": source, "documents": rows}).encode()
    seal = f"interceptor {NAME} {FORMAT} {_digest(index)} {len(index)}\n"
    return seal.encode() + index + b"\n"


def _decode(descriptor: int, source: str) -> Iterator[tuple[str, _Document]]:
    """The documents of an open file. Raises ValueError, KeyError, TypeError or OSError."""
    line = os.pread(descriptor, _FIRST_LINE_BYTES, 0).partition(b"\n")[0]
    words = line.decode("ascii").split(" ")
    if words[:2] != ["interceptor", NAME] or len(words) != 5:
        raise ValueError("it is something else, or damaged")
    if words[2] != str(FORMAT):
        raise ValueError(f"its format is {words[2]}, this version reads {FORMAT}")
    at = len(line) + 1
    length = int(words[4])
    index = os.pread(descriptor, min(length, os.fstat(descriptor).st_size), at)
    if _digest(index) != words[3]:
        raise ValueError("it is damaged, or was cut short")
    tree = json.loads(index)
    if tree["source"] != source:
        raise ValueError(f"it is of source {tree['source']}")
    at += length + 1
    for name, size, packed, digest, check, good in tree["documents"]:
        yield name, _Document(size, packed, digest, check, Moment(**good), at)
        at += packed
