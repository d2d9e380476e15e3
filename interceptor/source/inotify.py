"""Which files were written to the end, created, moved or removed: inotify(7).

The kernel tells when a writer has *closed* a file, which no polling and no
library that folds events together does; so a file is never read half-written,
and nobody wakes up while nothing happens.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

# <sys/inotify.h>
_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO = 0x008, 0x040, 0x080
_CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x100, 0x200, 0x400, 0x800
_ONLYDIR, _IGNORED = 0x01000000, 0x8000
_WHOLE = _CLOSE_WRITE | _MOVED_TO
_SELF = _DELETE_SELF | _MOVE_SELF
_MASK = _WHOLE | _MOVED_FROM | _CREATE | _DELETE | _SELF | _ONLYDIR
_HEADER = struct.Struct("iIII")  # wd, mask, cookie, length of the name
_BUFFER = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """An inotify descriptor over some folders (not what is below them)."""

    def __init__(self) -> None:
        """Raises OSError where the user has too many watches (fs.inotify.max_user_instances)."""
        self.fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), "inotify_init1")
        self._numbers: dict[str, int] = {}  # several paths may lead to one folder

    def close(self) -> None:
        os.close(self.fd)

    def cover(self, folders: Iterable[str]) -> bool:
        """Watches exactly ``folders``, as far as they exist; True if one is new."""
        wanted = set(folders)
        known = set(self._numbers.values())
        for folder in wanted - self._numbers.keys():
            number = _libc.inotify_add_watch(self.fd, os.fsencode(folder), _MASK)
            if number >= 0:
                self._numbers[folder] = number
        for folder in self._numbers.keys() - wanted:
            number = self._numbers.pop(folder)
            if number not in self._numbers.values():
                _libc.inotify_rm_watch(self.fd, number)
        return not known.issuperset(self._numbers.values())

    def recv(self) -> set[str]:
        """Takes all waiting events; returns the paths that are whole now.

        Closed by their writer or moved into place, that is; other events say
        only that it is time to look.
        """
        whole: set[str] = set()
        while True:
            try:
                data = os.read(self.fd, _BUFFER)
            except BlockingIOError:
                return whole
            at = 0
            while at < len(data):
                number, mask, _, length = _HEADER.unpack_from(data, at)
                at += _HEADER.size
                name = os.fsdecode(data[at : at + length].rstrip(b"\0"))
                at += length
                folders = [path for path, known in self._numbers.items() if known == number]
                if mask & (_IGNORED | _SELF):
                    for folder in folders:
                        del self._numbers[folder]
                    if mask & _MOVE_SELF:  # it goes on elsewhere, where it is none of ours
                        _libc.inotify_rm_watch(self.fd, number)
                elif mask & _WHOLE:
                    whole.update(os.path.join(folder, name) for folder in folders)
