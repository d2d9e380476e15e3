from __future__ import annotations

import pytest

from interceptor.mesh.table import EMPTY, Difference
from interceptor.source.event import Loaded, Rejected


def test_events_are_values() -> None:
    assert Rejected(()) == Rejected(())
    loaded = Loaded(EMPTY, Difference(), 0.5)
    with pytest.raises(AttributeError):
        loaded.elapsed_s = 1.0  # type: ignore[misc]
