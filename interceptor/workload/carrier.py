"""A bundle on disk: a folder, a tar (plain, gzip, bzip2, xz) or a zip; and how it is written.

What is read is somebody else's: only plain files count, names lead nowhere but into the bundle,
and sizes have limits.
"""

from __future__ import annotations

import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from lzma import LZMAError
from operator import methodcaller
from pathlib import Path, PurePosixPath
from typing import IO

from interceptor.errors import ConfigError, InterceptorError, Problem
from interceptor.host import atomic
from interceptor.workload import bundle

FILE_LIMIT_BYTES = 16 << 20
WHOLE_LIMIT_BYTES = 64 << 20
COUNT_LIMIT = 10_000  # whoever names / instead of a bundle does not wait for ever

LEGAL = "a folder, .tar, .tar.gz or .zip with cluster.env and mesh.yaml"
# What the archive modules raise for bytes that are none; RuntimeError: a zip with a password.
_BROKEN = (
    *(OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError),
    *(EOFError, ValueError, RuntimeError),
)

Entry = tuple[str, Callable[[], IO[bytes] | None]]
"""Name, and how the file is opened."""


def observe(path: Path) -> dict[str, bytes]:
    """Every plain file in it by its name, ``/`` between folders. Raises ConfigError."""
    try:
        if path.is_dir():
            return _collect(_of_folder(path))
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as zipped:
                return _collect(_of_zip(zipped))
        with tarfile.open(path) as tar:
            return _collect(_of_tar(tar))
    except _BROKEN as error:
        raise ConfigError([Problem(str(path), "(bundle)", str(error), LEGAL)]) from error


def _collect(entries: Iterator[Entry]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    whole = 0
    for count, (name, open_file) in enumerate(entries):
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts:
            raise ValueError(f"{name!r} leads out of it")
        if count >= COUNT_LIMIT:
            raise ValueError(f"more than {COUNT_LIMIT} files")
        if (file := open_file()) is None:
            continue
        with file:
            data = file.read(FILE_LIMIT_BYTES + 1)
        whole += len(data)
        if len(data) > FILE_LIMIT_BYTES or whole > WHOLE_LIMIT_BYTES:
            limits = f"{FILE_LIMIT_BYTES >> 20} MiB, and {WHOLE_LIMIT_BYTES >> 20} MiB for all"
            raise ValueError(f"{name!r} is too large: the limit is {limits}")
        found[str(place)] = data
    return found


def _of_folder(folder: Path) -> Iterator[Entry]:
    """A bundle's folder is not deeper than its documents. Links are followed: it is ours."""
    for place in sorted(folder.iterdir()):
        inner = sorted(place.iterdir()) if place.is_dir() else [place]
        for path in inner:
            if path.is_file():
                yield path.relative_to(folder).as_posix(), partial(_open, path)


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")


def _of_zip(zipped: zipfile.ZipFile) -> Iterator[Entry]:
    for info in zipped.infolist():
        if not info.is_dir():
            yield info.filename, partial(zipped.open, info)


def _of_tar(tar: tarfile.TarFile) -> Iterator[Entry]:
    for member in tar:
        if member.isfile():
            yield member.name, partial(tar.extractfile, member)
    # A tar ends with blocks of zeros; without them it was cut off, which tarfile does not tell.
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if len(tar.fileobj.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
        raise ValueError("it is cut off")


def apply(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a bundle: the folder 0700, each file 0600, whatever the umask.

    Raises InterceptorError for a folder that has something else in it, for it is closed to
    others; an earlier bundle's is taken over.
    """
    _check_own(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(folder, 0o700)
    for name in set(_names(folder)) - set(files):
        (folder / name).unlink()
    for name, data in files.items():
        atomic.replace(folder / name, methodcaller("write", data))


def _check_own(folder: Path) -> None:
    if not folder.exists():
        return
    others = [path.name for path in sorted(folder.iterdir()) if not _is_own(path)]
    if others:
        raise InterceptorError(
            f"{folder} has {others[0]} in it: name a folder of its own, for this one is closed "
            "to everybody else, and gets a token"
        )


def _is_own(path: Path) -> bool:
    if path.name == bundle.DOCUMENTS and path.is_dir():
        return all(bundle.is_document(f"{bundle.DOCUMENTS}/{one.name}") for one in path.iterdir())
    return path.name in bundle.NAMES and path.is_file()


def _names(folder: Path) -> Iterator[str]:
    for path in folder.iterdir():
        yield from (
            (f"{path.name}/{one.name}" for one in path.iterdir()) if path.is_dir() else (path.name,)
        )
