from __future__ import annotations

from pathlib import Path

import pytest

from interceptor import config
from interceptor.errors import Problem
from interceptor.source.event import Standing
from interceptor.source.fault import Faults
from interceptor.source.listing import Listing
from interceptor.source.store import NAME, Store

PROBLEM = Problem("/m/a.yaml", "(document)", "x", "YAML")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    one = Store(tmp_path / NAME, "files")
    for name in ("/m/a.yaml", "/m/b.yaml"):
        one.put(name, b"x")
    return one


def test_nothing_wrong_is_nothing_held(store: Store) -> None:
    faults = Faults(config.Mesh(), store)
    faults.settle(store.names())
    assert (faults.standing, faults.problems) == (Standing(), ())


def test_a_wrong_file_is_held_until_it_is_right(store: Store) -> None:
    faults = Faults(config.Mesh(), store)
    faults.refuse("/m/a.yaml", (PROBLEM,))
    faults.recall("/m/a.yaml")
    faults.settle(store.names())
    assert (faults.standing.held, faults.standing.recalled) == (1, 1)
    assert faults.problems == (PROBLEM,)
    faults.accept("/m/a.yaml")
    faults.settle(store.names())
    assert (faults.standing, faults.problems) == (Standing(), ())


def test_a_missing_folder_covers_what_is_below_it(store: Store) -> None:
    faults = Faults(config.Mesh(), store)
    faults.follow(Listing({}, {"/m": PROBLEM}))
    assert faults.covers("/m/a.yaml")
    assert not faults.covers("/mesh/a.yaml")
    faults.settle(store.names())
    assert faults.standing.held == 2
    faults.follow(Listing())
    faults.settle(store.names())
    assert faults.standing.held == 0


def test_an_emptied_folder_is_excused_as_long_as_it_is_empty(store: Store) -> None:
    faults = Faults(config.Mesh(), store)
    bare = frozenset({"/m"})
    assert not faults.empty("/other/a.yaml", bare)
    assert faults.empty("/m/a.yaml", bare)
    assert faults.covers("/m/b.yaml")
    faults.follow(Listing({}, {}, bare))
    assert faults.covers("/m/b.yaml")
    faults.follow(Listing())
    assert not faults.covers("/m/b.yaml")


def test_an_empty_folder_may_be_meant(store: Store) -> None:
    faults = Faults(config.Mesh(allow_empty=True), store)
    assert not faults.empty("/m/a.yaml", frozenset({"/m"}))
