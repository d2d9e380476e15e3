"""An errand is done by a child: what it returns, and what becomes of one that fails or hangs."""

from __future__ import annotations

import os
import time

import pytest

from interceptor.errors import InterceptorError
from interceptor.host import errand


def test_the_child_is_another_process() -> None:
    assert errand.call(lambda: str(os.getpid()).encode()) != str(os.getpid()).encode()


def test_what_goes_wrong_there_is_told_here() -> None:
    def fail() -> bytes:
        raise ValueError("no such thing")

    with pytest.raises(InterceptorError, match="no such thing"):
        errand.call(fail)


def test_one_that_hangs_is_ended() -> None:
    def hang() -> bytes:
        time.sleep(60)
        return b""

    began_s = time.monotonic()
    with pytest.raises(InterceptorError, match="no answer"):
        errand.call(hang, timeout_s=0.1)
    assert time.monotonic() - began_s < 5
