from __future__ import annotations

import pytest

from interceptor.mesh.resource import Slice, Workloads


def test_resources_are_values() -> None:
    one = Workloads("w", "n", "Pod n/w (f)", ())
    assert one == Workloads("w", "n", "Pod n/w (f)", ())
    assert hash(one) == hash(Workloads("w", "n", "Pod n/w (f)", ()))
    with pytest.raises(AttributeError):
        one.name = "other"  # type: ignore[misc]
    assert Slice("a", "n", "o", "s", False, ()) != Slice("a", "n", "o", "s", True, ())
