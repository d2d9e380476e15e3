"""Which files there are to read, and what is in one: bounded, and never by opening a device."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from interceptor.errors import ConfigError, Problem
from interceptor.source.pending import Signature, signature

SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Listing:
    """``seen`` has the signature of each file, in order of their paths. ``missing`` has what
    cannot be read now, files and folders, each with what is wrong. ``bare`` are the configured
    folders that are there and hold no document: so is one whose file system is not mounted."""

    seen: dict[str, Signature] = field(default_factory=dict)
    missing: dict[str, Problem] = field(default_factory=dict)
    bare: frozenset[str] = frozenset()


def observe(paths: Iterable[Path]) -> Listing:
    """The document files of the folders and files in ``paths``, as they are now."""
    seen: dict[str, Signature] = {}
    missing: dict[str, Problem] = {}
    bare: set[str] = set()
    for path in paths:
        try:
            is_folder = _is_folder(path)
            names = list(_files(path, missing)) if is_folder else [str(path)]
        except OSError as error:
            missing[str(path)] = _unreadable(str(path), error)
            continue
        found = [name for name in names if _look(name, seen, missing)]
        if is_folder and not found and str(path) not in missing:
            bare.add(str(path))
    return Listing(dict(sorted(seen.items())), missing, frozenset(bare))


def recv(path: str, limit: int) -> bytes:
    """What is in a file of ``limit`` bytes at most.

    Raises OSError, or ConfigError where it is too large or no file at all: a pipe would keep
    its reader waiting for ever.
    """
    with open(path, "rb", opener=_open) as file:
        status = os.fstat(file.fileno())
        data = file.read(min(status.st_size, limit) + 1)
        if len(data) > status.st_size:  # it has grown since
            data += file.read(limit)
        if len(data) > limit:
            legal = f"at most {limit} bytes: split it, or raise mesh.max_file_bytes"
            size = f"{max(status.st_size, len(data))} bytes"
            raise ConfigError([Problem(path, "(file)", size, legal)])
        return data


def _open(path: str, flags: int) -> int:
    """Does not wait for a pipe's writer, and takes no pipe, device or folder."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise ConfigError([Problem(path, "(file)", "no regular file", "a regular file")])


def folders(path: Path) -> Iterator[str]:
    """The folder and those below it."""
    for here, _, _ in _walk(path, {}):
        yield here


def is_below(path: str, tops: Iterable[str]) -> bool:
    """Whether a path is one of ``tops`` or stands below one."""
    return any(path == top or path.startswith(top + os.sep) for top in tops)


def _is_folder(path: Path) -> bool:
    """Raises OSError where nobody can tell: `Path.is_dir` would call it none."""
    return stat.S_ISDIR(path.stat().st_mode)


def _look(name: str, seen: dict[str, Signature], missing: dict[str, Problem]) -> bool:
    """Notes one file; False where it has gone since it was listed."""
    try:
        seen[name] = signature(os.stat(name))
    except FileNotFoundError as error:
        if not os.path.islink(name):
            return False
        missing[name] = _unreadable(name, error)
    except OSError as error:
        missing[name] = _unreadable(name, error)
    return True


def _unreadable(path: str, error: OSError) -> Problem:
    return Problem("config", "mesh.files", path, f"readable: {error.strerror}")


def _walk(folder: Path, missing: dict[str, Problem]) -> Iterator[tuple[str, list[str], list[str]]]:
    """The folders below, without hidden ones: a ConfigMap keeps its versions in such."""

    def note(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # which was removed while we walked
            missing[str(error.filename)] = _unreadable(str(error.filename), error)

    for here, below, files in os.walk(folder, onerror=note):
        below[:] = [name for name in below if not name.startswith(".")]
        yield here, below, files


def _files(folder: Path, missing: dict[str, Problem]) -> Iterator[str]:
    for here, _, files in _walk(folder, missing):
        for name in files:
            if name.endswith(SUFFIXES) and not name.startswith("."):
                yield os.path.join(here, name)
