"""Secrets that lie in files which the mesh's configuration names, as Istio's ``credentialName`` of
a file does: ``file-cert:KEY~CERTIFICATE`` and ``file-root:ROOTS``.

The daemon is root, Envoy is not, and asks: so a file is read as the sidecar's user, which must be
allowed to read it, and only what is PEM of the right kind is handed over.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from interceptor.errors import InterceptorError
from interceptor.host import command
from interceptor.sidecar import sdsstream
from interceptor.sidecar.sdsstream import Secret

PAIR, ROOTS = "file-cert:", "file-root:"
LIMIT_BYTES = 1 << 20  # of one file
READ_S = 30.0  # a network's file system may hang
KEY_MARK, CERTIFICATE_MARK = b"PRIVATE KEY-----", b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: the sidecar's user and group. A program of theirs does it: nothing of this
    process, which has threads, goes on in a child."""

    uid: int
    gid: int

    def read(self, path: Path) -> bytes:
        """Raises InterceptorError where the sidecar may not read it, or it is too large."""
        argv = ["head", "-c", str(LIMIT_BYTES + 1), "--", str(path)]
        if os.geteuid() == 0:
            become = (f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups")
            argv = ["setpriv", *become, *argv]
        done = command.run(argv, timeout_s=READ_S, check=False)
        if not done:
            raise InterceptorError(f"{path}: {done.stderr.strip() or f'code {done.code}'}")
        if len(done.stdout) > LIMIT_BYTES:
            raise InterceptorError(f"{path} has more than {LIMIT_BYTES} bytes")
        return done.stdout.encode()


def paths(name: str) -> tuple[Path, ...]:
    """The files behind a secret's name; none where it is not one of files."""
    if name.startswith(PAIR):
        found = name.removeprefix(PAIR).split("~")
        count = 2
    elif name.startswith(ROOTS):
        found, count = [name.removeprefix(ROOTS)], 1
    else:
        return ()
    is_legal = len(found) == count and all(
        each.startswith("/") and "\0" not in each for each in found
    )
    return tuple(map(Path, found)) if is_legal else ()


def read(name: str, reader: Reader) -> Secret:
    """The secret of that name. Raises InterceptorError with the file and what is wrong with it.
    Blocks."""
    files = paths(name)
    if not files:
        raise InterceptorError(f"{name}: {PAIR}KEY~CERTIFICATE or {ROOTS}FILE, by absolute paths")
    data = [reader.read(path) for path in files]
    marks = (KEY_MARK, CERTIFICATE_MARK) if len(files) == 2 else (CERTIFICATE_MARK,)
    for path, text, mark in zip(files, data, marks, strict=True):
        if mark not in text:
            what = "private key" if mark is KEY_MARK else "certificate"
            raise InterceptorError(f"{path}: no {what} in PEM is there")
    if len(data) == 2:
        return sdsstream.build_pair(name, *data)
    return sdsstream.build_roots(name, *data)
