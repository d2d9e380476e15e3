"""When to put back what somebody removes: at once, and ever later where it is a fight.

A fight is told from a firewall that reloads now and then by how soon after a repair the same
thing is gone again. Each cause has a fight of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic

from interceptor.capture.drift import Cause

BACK_OFF_S = (0.0, 0.0, 0.0, 5.0, 30.0)  # before each further repair of a fight; the last stays
SOON_S = 5.0  # whoever removes it so soon after a repair does it because of the repair
CALM_S = 60.0  # without a repair so long, the next is the first again


@dataclass(slots=True)
class _Fight:
    rounds: int = 0
    repaired_s: float | None = None
    wrong_since_s: float | None = None

    def see(self, now: float) -> bool:
        """It is found wrong. Whether this is the moment in which we begin to wait."""
        if self.wrong_since_s is not None:
            return False
        self.wrong_since_s = now
        if self.repaired_s is None or now - self.repaired_s > CALM_S:
            self.rounds = 0
        elif now - self.repaired_s <= SOON_S:
            self.rounds += 1
        return self.pause_s > 0

    @property
    def pause_s(self) -> float:
        return BACK_OFF_S[min(self.rounds, len(BACK_OFF_S) - 1)]


class Patience:
    """``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._fights: dict[Cause, _Fight] = {}

    def see(self, wrong: Iterable[Cause]) -> dict[Cause, float]:
        """What is wrong now; everything else is not, or no more. Returns the causes whose repair
        has to wait from now on, each with the seconds."""
        now, causes = self._clock(), frozenset(wrong)
        for cause, fight in self._fights.items():
            if cause not in causes:
                fight.wrong_since_s = None
        begun = [c for c in causes if self._fights.setdefault(c, _Fight()).see(now)]
        return {cause: self._fights[cause].pause_s for cause in begun}

    def wait_s(self, cause: Cause) -> float:
        """Until something that is wrong may be repaired; 0: now."""
        fight = self._fights[cause]
        assert fight.wrong_since_s is not None
        return max(0.0, fight.wrong_since_s + fight.pause_s - self._clock())

    def repaired(self, causes: Iterable[Cause]) -> None:
        """These were put back, or it was tried."""
        for cause in causes:
            self._fights[cause].repaired_s = self._clock()
            self._fights[cause].wrong_since_s = None

    def waiting(self) -> dict[Cause, float]:
        """What is wrong still, and how long it has to wait."""
        wrong = (c for c, fight in self._fights.items() if fight.wrong_since_s is not None)
        return {cause: self.wait_s(cause) for cause in wrong}
