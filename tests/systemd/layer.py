"""What machines boot from: the Debian tree, and over it a layer with our packages installed.

Both are built once and kept; nobody writes to them afterwards.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from interceptor.host import command
from interceptor.lab.world import PACKAGE_ROOT

BUILD_LIMIT_S = 600.0  # trees and wheels come from mirrors
KEPT = 3  # layers of earlier states of the checkout
SOURCES = ("interceptor", "scripts/package", "scripts/debian", "scripts/rescue", "setup.cfg")

INSTALL = """
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1/root"
mkdir "$1/root/packages"
mount --bind "$1/packages" "$1/root/packages"
mount -t proc proc "$1/root/proc"
DEBIAN_FRONTEND=noninteractive chroot "$1/root" sh -euc 'dpkg --install /packages/*.deb'
umount "$1/root/packages"
rmdir "$1/root/packages"
"""
"""$1: a folder for the layer, $2: the tree. Its mounts end with its mount namespace."""


def cache() -> Path:
    kept = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(kept, "interceptor", "machine")


def tree() -> Path:
    """The Debian tree of `scripts/vm root`."""
    done = command.run([str(PACKAGE_ROOT / "scripts/vm"), "root"], timeout_s=BUILD_LIMIT_S)
    return Path(done.stdout.splitlines()[-1])


def open_lower() -> tuple[Path, ...]:
    """The trees of a machine with our packages, the topmost first; built where they are not."""
    root = tree()
    place = cache() / _key(root)
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            _build(place, root)
            _forget(place.parent)
        os.utime(place)
    return place / "upper", root


def _build(place: Path, root: Path) -> None:
    work = place.with_suffix(".making")
    shutil.rmtree(work, ignore_errors=True)
    for name in ("upper", "work", "root", "packages"):
        (work / name).mkdir(parents=True)
    package = [str(PACKAGE_ROOT / "scripts/package"), "--output", str(work / "packages")]
    command.run(package, timeout_s=BUILD_LIMIT_S)
    install = ["unshare", "--mount", "--propagation=private", "sh", "-euc", INSTALL, "install"]
    command.run([*install, str(work), str(root)], timeout_s=BUILD_LIMIT_S)
    for name in ("work", "root", "packages"):
        shutil.rmtree(work / name)
    work.rename(place)


def _forget(folder: Path) -> None:
    """Layers that nobody has asked for in a while."""
    layers = [path for path in folder.iterdir() if path.is_dir()]
    for old in sorted(layers, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
        shutil.rmtree(old)


def _key(root: Path) -> str:
    whole = hashlib.sha256(str(root).encode())
    for path in _sources():
        whole.update(f"{path.relative_to(PACKAGE_ROOT)}\n".encode() + path.read_bytes())
    return whole.hexdigest()[:16]


def _sources() -> Iterator[Path]:
    for name in SOURCES:
        top = PACKAGE_ROOT / name
        found = sorted(top.rglob("*")) if top.is_dir() else [top]
        yield from (path for path in found if path.is_file() and "__pycache__" not in path.parts)
