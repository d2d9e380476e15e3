"""Pins: the names on a bpffs by which maps and links outlive the process that made them.

<folder>/v<LAYOUT>/<map>    maps of one layout: another version of us has its own
<folder>/alias4, alias6     maps that open connections hang on, whatever the layout
<folder>/links/<program>    links, of cgroups and of the network namespace; of devices by the names
                            that host/tcx.py gives
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
from contextlib import ExitStack, suppress
from pathlib import Path

from interceptor.errors import InterceptorError
from interceptor.host import bpf, bpflink, bpfmap, command
from interceptor.host.bpfmap import BpfMap
from interceptor.host.layout import LAYOUT, SPECS, UNVERSIONED, Map

BPF_FS_MAGIC = 0xCAFE4A11  # linux/magic.h
USUAL_MOUNT = Path("/sys/fs/bpf")  # sysfs has this empty folder for it
CLSACT = "clsact"
_STATFS_BYTES = 256  # more than any struct statfs; its first long is the magic
_LIBC = ctypes.CDLL(None, use_errno=True)


def on_bpffs(path: Path) -> bool:
    """Whether ``path`` (or its nearest parent that exists) lies on a bpffs."""
    while not path.exists():
        path = path.parent
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if _LIBC.statfs(os.fsencode(path), buffer) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"statfs {path}: {os.strerror(code)}")
    magic: int = struct.unpack_from("=l" if ctypes.sizeof(ctypes.c_long) == 4 else "=q", buffer)[0]
    return magic & 0xFFFFFFFF == BPF_FS_MAGIC


def prepare(folder: Path) -> None:
    """Make ``folder``, on a bpffs that is mounted where there is none.

    At its usual place if ``folder`` is below that; else on ``folder`` itself, which must be
    empty, for a mount hides what is there. Raises InterceptorError, CommandFailed.
    """
    if not on_bpffs(folder):
        place = USUAL_MOUNT if folder.is_relative_to(USUAL_MOUNT) else folder
        if place == folder:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not place.is_dir():
            raise InterceptorError(f"{folder}: no bpffs, and no {place} to mount one on")
        if next(place.iterdir(), None) is not None:
            raise InterceptorError(f"{folder}: not on a bpffs, and not empty: not mounted over")
        command.run(["mount", "-t", "bpf", "-o", "mode=0700", "bpf", str(place)])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def map_path(folder: Path, number: Map, layout: int = LAYOUT) -> Path:
    """Where a map is pinned."""
    name = SPECS[number].name
    return folder / name if number in UNVERSIONED else folder / f"v{layout}" / name


def link_path(folder: Path, program: str) -> Path:
    """Where the link of a program is pinned."""
    return folder / "links" / program


def open_maps(folder: Path) -> dict[Map, BpfMap]:
    """Every map of the layout, adopted where it is pinned and else made and pinned.

    The maps are the caller's to close. Raises InterceptorError where a pin is not what it
    should be; nothing stays open then.
    """
    (folder / f"v{LAYOUT}").mkdir(mode=0o700, parents=True, exist_ok=True)
    opened: dict[Map, BpfMap] = {}
    with ExitStack() as undo:
        for number in SPECS:
            opened[number] = open_map(folder, number)
            undo.callback(opened[number].close)
        undo.pop_all()
    return opened


def open_map(folder: Path, number: Map) -> BpfMap:
    """One map, as `open_maps` does it."""
    path = map_path(folder, number)
    if found := adopt_map(folder, number):
        return found
    made = bpfmap.create(SPECS[number])
    try:
        bpf.pin(made.fd, str(path))
    except OSError as error:
        made.close()
        raise InterceptorError(f"cannot pin {path}: {error}") from error
    return made


def adopt_map(folder: Path, number: Map) -> BpfMap | None:
    """A map that is pinned already, or None. Raises InterceptorError as `open_maps`."""
    path = map_path(folder, number)
    try:
        descriptor = bpf.get(str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InterceptorError(f"cannot open {path}: {error}") from error
    try:
        return bpfmap.adopt(descriptor, SPECS[number])
    except (InterceptorError, OSError) as error:
        raise InterceptorError(f"{path}: {error}") from error


def adopt_link(folder: Path, program: str) -> int | None:
    """A descriptor of the program's pinned link, or None."""
    try:
        return bpf.get(str(link_path(folder, program)))
    except FileNotFoundError:
        return None


def pin_link(folder: Path, program: str, link: int) -> None:
    """Let a link outlive us. Raises OSError (EEXIST: another one is pinned there)."""
    path = link_path(folder, program)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    bpf.pin(link, str(path))


def links(folder: Path) -> tuple[str, ...]:
    """The programs whose links are pinned, those first that must be detached first (connect*)."""
    try:
        return tuple(sorted(os.listdir(folder / "links")))
    except FileNotFoundError:
        return ()


def remove_link(folder: Path, program: str) -> bool:
    """Unpin a link, which detaches it unless somebody holds it open. Whether it was there."""
    path = link_path(folder, program)
    there = path.exists()
    path.unlink(missing_ok=True)
    return there


def detach_link(folder: Path, program: str) -> None:
    """Detach at once, even if somebody holds the link open, and unpin. It is no harm where there
    is none."""
    link = adopt_link(folder, program)
    if link is None:
        return
    try:
        with suppress(OSError):  # ENOLINK: what it hung on is gone
            bpflink.detach(link)
    finally:
        os.close(link)
    remove_link(folder, program)


def versions(folder: Path) -> tuple[int, ...]:
    """The layouts that have pins, ours among them, ascending."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return ()
    return tuple(sorted(int(name[1:]) for name in names if re.fullmatch(r"v\d+", name)))


def remove_version(folder: Path, layout: int) -> None:
    """Unpin the maps of one layout: they are gone with the last program that uses them."""
    _remove_tree(folder / f"v{layout}")


def remove_all(folder: Path) -> bool:
    """Unpin all that is ours, links first, and remove the folder. Whether there was anything.

    Nothing is touched where ``folder`` is on no bpffs, for then it is not ours. A mount stays:
    others may use it by now.
    """
    if not folder.is_dir() or not on_bpffs(folder):
        return False
    for program in links(folder):
        remove_link(folder, program)
    for version in versions(folder):
        remove_version(folder, version)
    for name in ("links", CLSACT, *(SPECS[number].name for number in UNVERSIONED)):
        _remove_tree(folder / name)
    with suppress(OSError):  # a mount point, or somebody else's files are in it
        folder.rmdir()
    return True


def _remove_tree(path: Path) -> None:
    if path.is_dir():
        for each in path.iterdir():
            _remove_tree(each)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
