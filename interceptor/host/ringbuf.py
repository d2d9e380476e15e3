"""The reader of a BPF ring buffer (linux/bpf.h, BPF_MAP_TYPE_RINGBUF): records, no system calls.

The map is mapped: a page with the reader's position, a page with the writers',
then the data twice in a row, so that a record that wraps around is whole. A
record is 8 bytes of header (length with two flags, page offset) and the data,
padded to 8. The map's descriptor is readable while there are records.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

from interceptor.host.bpfmap import BpfMap

HEADER_BYTES = 8  # BPF_RINGBUF_HDR_SZ
BUSY = 1 << 31  # BPF_RINGBUF_BUSY_BIT: reserved and not yet submitted
DISCARDED = 1 << 30  # BPF_RINGBUF_DISCARD_BIT


class RingBuffer:
    """One reader a map. The map stays its owner's."""

    def __init__(self, source: BpfMap) -> None:
        size = source.spec.max_entries
        page = mmap.PAGESIZE
        self._mask = size - 1
        self._reader = mmap.mmap(source.fd, page)
        self._writers = mmap.mmap(source.fd, page + 2 * size, prot=mmap.PROT_READ, offset=page)
        self._position = memoryview(self._reader).cast("Q")
        self._end = memoryview(self._writers)[:8].cast("Q")
        self._data = memoryview(self._writers)[page:]
        self._lengths = self._data.cast("I")
        self.fd = source.fd
        """For a selector."""

    @property
    def waiting_bytes(self) -> int:
        """Of records that have not been read, headers included."""
        return self._end[0] - self._position[0]

    def read(self) -> Iterator[bytes]:
        """Every record that is complete, oldest first; ends at the first that is not.

        A record's room is given back before it is handed out: none is met twice.
        """
        position = self._position[0]
        if not 0 <= self._end[0] - position <= self._mask + 1:
            # Two readers at once (a stopped one went on) have put it where no record is: the
            # kernel would find no room for another, ever.
            self._position[0] = position = self._end[0]
        while position < self._end[0]:
            at = position & self._mask
            length = self._lengths[at // 4]
            if length & BUSY:
                return
            size = length & ~DISCARDED
            start = at + HEADER_BYTES
            record = None if length & DISCARDED else bytes(self._data[start : start + size])
            position += HEADER_BYTES + (size + 7) // 8 * 8
            self._position[0] = position
            if record is not None:
                yield record

    def close(self) -> None:
        """Unmap. The descriptor is not ours."""
        for view in (self._lengths, self._data, self._end, self._position):
            view.release()
        self._writers.close()
        self._reader.close()
