"""What fuzzing has found stays found: the corpus is replayed, with some changes of each input.

Long runs are `scripts/fuzz`'s. The changes here are the same in each run.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator

import pytest

from tests.fuzz import target

CHANGES = 6  # of each input
SLOW = {"http": 1, "program": 3, "config": 1, "message": 3, "documents": 2}
"""Fewer where one input takes milliseconds."""


def changed(data: bytes, chance: random.Random) -> bytes:
    """A few bytes set, taken out or doubled."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(made) + 1)
        match chance.randrange(4):
            case 0:
                made[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del made[at : at + chance.randint(1, 8)]
            case 2:
                made[at:at] = made[at : at + chance.randint(1, 16)]
            case _:
                made[at:at] = chance.choice((b"\0", b"\xff", b"\xc0\x0c", b"{", b"[", b"\n", b"9"))
    return bytes(made)


def inputs(name: str) -> Iterator[bytes]:
    """The corpus, the seeds, and changes of both."""
    kept = [path.read_bytes() for path in target.corpus(name)]
    chance = random.Random(zlib.crc32(name.encode()))
    for data in [*kept, *target.load(name).seeds()]:
        yield data
        for _ in range(SLOW.get(name, CHANGES)):
            yield changed(data, chance)


def replay(name: str) -> None:
    run = target.load(name).run
    tried = 0
    for data in inputs(name):
        try:
            run(data)
        except Exception as error:
            raise AssertionError(f"{name}: {data!r}") from error
        tried += 1
    print(f"{name}: {tried} inputs")
    assert tried > len(target.corpus(name)) >= 1, "a target without a corpus"


@pytest.mark.parametrize("name", [n for n in target.MODULES if n != "program"])
def test_the_corpus_finds_nothing(name: str) -> None:
    replay(name)


@pytest.mark.root
def test_the_corpus_finds_nothing_in_the_kernels_programs() -> None:
    replay("program")


def test_every_module_of_targets_is_listed() -> None:
    folder = target.CORPUS.parent
    assert {f"{module}.py" for module in target.MODULES.values()} == {
        path.name for path in folder.glob("*_target.py")
    }
    assert {path.name for path in target.CORPUS.iterdir()} <= target.MODULES.keys()


def test_the_corpus_stays_small() -> None:
    sizes = [path.stat().st_size for name in target.MODULES for path in target.corpus(name)]
    assert sum(sizes) < 1 << 20
