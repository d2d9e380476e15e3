"""What waits in our queue for a verdict, and by what it may be lost all the same. Pure.

It holds seconds of queries while the worker hangs, and none otherwise.
"""

from __future__ import annotations

from tests.chaos.window import Effect, Ledger, Trouble

LATE_S = 0.1
LOST = {Effect.LOSE_QUEUED: LATE_S}


def note_dropped(ledger: Ledger, cause: str, hang: Trouble, now_s: float) -> None:
    """A device or a hook goes while the worker hangs: the kernel drops every packet that waits
    there (net/netfilter/nfnetlink_queue.c, nfqnl_dev_drop, nfqnl_nf_hook_drop)."""
    ledger.note(f"{cause} while the worker hangs", hang.begin_s, now_s, LOST)
