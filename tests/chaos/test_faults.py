"""Random faults under load: nothing is wrong, nothing is lost by us, and `clean` leaves nothing.

``INTERCEPTOR_CHAOS_FAULTS`` and ``INTERCEPTOR_CHAOS_SEED`` give other numbers; the faults are
shared among the back ends, or all one's that ``INTERCEPTOR_CHAOS_BACKEND`` names. A failure
prints the schedule, which ``INTERCEPTOR_CHAOS_SCHEDULE`` (a file) replays.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from interceptor.lab.bench import life
from tests.chaos import schedule, story, torment
from tests.chaos.torment import Outcome

FAULTS = int(os.environ.get("INTERCEPTOR_CHAOS_FAULTS", "60"))
SEED = int(os.environ.get("INTERCEPTOR_CHAOS_SEED", "20261123"))
BACKENDS = tuple(
    filter(None, os.environ.get("INTERCEPTOR_CHAOS_BACKEND", "iptables,nftables,ebpf").split(","))
)
SCHEDULE = os.environ.get("INTERCEPTOR_CHAOS_SCHEDULE", "")
PAUSE_S = float(os.environ.get("INTERCEPTOR_CHAOS_PAUSE_S", "1.5"))
SPARE = 1.4
"""So many more are drawn: some find no victim in time, and another is done instead."""
SECONDS_A_FAULT = 10

pytestmark = [
    pytest.mark.root,
    pytest.mark.envoy,
    pytest.mark.slow,
    pytest.mark.timeout(600 + FAULTS * SECONDS_A_FAULT),
]


@pytest.fixture(scope="module")
def upgraded() -> Iterator[Path]:
    """A version with other maps, where every process of a lab may read it."""
    folder = Path(tempfile.mkdtemp(prefix="interceptor-chaos-"))
    folder.chmod(0o755)
    try:
        yield life.copy_upgraded(folder)
    finally:
        shutil.rmtree(folder)


def run(backend: str, upgraded: Path) -> Outcome:
    """One back end's share, in a lab of its own."""
    if SCHEDULE:
        steps = schedule.decode(Path(SCHEDULE).read_text())
        return torment.torment(Outcome(backend, SEED, len(steps)), steps, upgraded)
    share = -(-FAULTS // len(BACKENDS))
    steps = schedule.draw(SEED, backend, int(share * SPARE) + 5, PAUSE_S)
    return torment.torment(Outcome(backend, SEED, share), steps, upgraded)


def test_random_faults_cost_nobody_dns_nor_a_right_answer_nor_the_host_its_shape(
    upgraded: Path, record_property: Callable[[str, object], None]
) -> None:
    with ThreadPoolExecutor(len(BACKENDS)) as pool:
        outcomes = list(pool.map(lambda backend: run(backend, upgraded), BACKENDS))
    record_property("chaos", "\n".join(map(story.tell, outcomes)))
    failed = [each for each in outcomes if each.broken()]
    assert not failed, "\n".join(map(story.complain, failed))
    done = sum(len(each.done) for each in outcomes)
    assert SCHEDULE or done >= FAULTS, f"{done} faults found a victim"
