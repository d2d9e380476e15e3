"""Whether somebody keeps the clock right."""

from __future__ import annotations

import ctypes
import struct

from interceptor.host import timekeeping

STA_UNSYNC = 0x40  # linux/timex.h


def test_the_kernel_s_word_is_that_of_its_status_flag() -> None:
    buffer = ctypes.create_string_buffer(timekeeping.TIMEX_BYTES)
    ctypes.CDLL(None).adjtimex(buffer)
    # struct timex: modes, padding, offset, freq, maxerror, esterror, status.
    (status,) = struct.unpack_from("=i", buffer, 8 + 4 * struct.calcsize("@l"))
    assert timekeeping.is_synchronised() is not bool(status & STA_UNSYNC)
