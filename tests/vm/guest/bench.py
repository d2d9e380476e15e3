"""The second disk: our packages, the tests, and what they need besides our packages.

Read-only in the machine, and a part of its snapshot's key: other contents, other snapshot.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution
from pathlib import Path

from interceptor import __version__
from interceptor.host import command

ROOT = Path(__file__).parents[3]
MOUNT = "/mnt/bench"
CHECKOUT, SITE = f"{MOUNT}/checkout", f"{MOUNT}/site"

NEXT_VERSION = re.sub(r"\d+$", lambda last: str(int(last[0]) + 1), __version__)
"""Of the package that the machine is upgraded to."""

FOLDERS = ("interceptor", "bpf", "scripts", "tests/contract", "tests/netns", "tests/data")
FILES = ("setup.cfg", "pyproject.toml", "README.md", "tests/conftest.py")
DISTRIBUTIONS = (
    *("pytest", "pytest-timeout", "pluggy", "iniconfig", "packaging"),
    *("hypothesis", "sortedcontainers", "scapy"),
)
"""Python packages that our tests need and our packages do not carry."""

PACKAGE_LIMIT_S = 300


def checkout_files() -> Iterator[Path]:
    """What the tests in the machine run from."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path
    yield from (ROOT / name for name in FILES)


def key(more: Iterable[Path]) -> str:
    """Names the contents; ``more`` are files that decide what a snapshot becomes."""
    digest = hashlib.sha256()
    for path in (*checkout_files(), *more, Path(__file__)):
        digest.update(f"{path}\0".encode() + path.read_bytes())
    for name in DISTRIBUTIONS:
        digest.update(f"{name} {distribution(name).version}\0".encode())
    return digest.hexdigest()[:16]


def build(disk: Path, work: Path) -> None:
    """Make the disk, in ``work``, which is an empty folder."""
    package = str(ROOT / "scripts" / "package")
    packages, tree = work / "packages", work / "tree"
    for folder, version in (("now", __version__), ("next", NEXT_VERSION)):
        argv = [package, "--output", str(packages / folder), "--version", version]
        command.run(argv, timeout_s=PACKAGE_LIMIT_S)
    tree.mkdir()
    packages.rename(tree / "packages")
    for path in checkout_files():
        _copy(path, tree / "checkout" / path.relative_to(ROOT))
    for name in DISTRIBUTIONS:
        for file in distribution(name).files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                _copy(Path(str(file.locate())), tree / "site" / file)
    # Emulated, each start would compile all of it for minutes: the disk is read-only.
    compiler = ["/usr/bin/python3", "-m", "compileall", "-q", "--invalidation-mode"]
    command.run([*compiler, "unchecked-hash", str(tree)], timeout_s=PACKAGE_LIMIT_S)
    size_kib = 1024 + int(command.run(["du", "-sk", str(tree)]).stdout.split()[0]) * 5 // 4
    with disk.open("wb") as raw:
        raw.truncate(size_kib * 1024)
    command.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", str(tree), str(disk)])


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
