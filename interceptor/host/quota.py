"""How often somebody may ask: a bucket of permits for each name, filled again as time goes by."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

MOST = 4096  # names that are remembered; the one unheard of for longest starts afresh


@dataclass(slots=True)
class _Bucket:
    permits: float
    at_s: float


class Quota:
    """``burst`` at once, then ``per_s`` a second, for each name."""

    def __init__(self, burst: int, per_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._burst, self._per_s, self._clock = burst, per_s, clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self.refused = 0

    def take(self, name: str) -> bool:
        """Whether ``name`` may go on; counted where it may not."""
        now_s = self._clock()
        bucket = self._buckets.pop(name, None) or _Bucket(self._burst, now_s)
        self._buckets[name] = bucket
        if len(self._buckets) > MOST:
            self._buckets.popitem(last=False)
        filled = bucket.permits + (now_s - bucket.at_s) * self._per_s
        bucket.permits, bucket.at_s = min(filled, self._burst), now_s
        if bucket.permits < 1:
            self.refused += 1
            return False
        bucket.permits -= 1
        return True
