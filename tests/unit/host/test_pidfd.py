from __future__ import annotations

import os

import pytest

from interceptor.host import pidfd


def test_a_descriptor_of_a_process_is_copied_by_its_number() -> None:
    reader, writer = os.pipe()
    own = os.pidfd_open(os.getpid())
    try:
        copy = pidfd.copy(own, writer)
        os.write(copy, b"here")
        assert os.read(reader, 10) == b"here"
        os.close(copy)
        with pytest.raises(ProcessLookupError):
            pidfd.copy(own, 1 << 20)
    finally:
        for each in (reader, writer, own):
            os.close(each)
