"""What the programs' results mean: the verdict of an event, and why, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from interceptor.capture.plan import Verdict

DNS_VERDICTS: Mapping[str, str] = {"answer": "answer", "nodata": "nodata"}
"""Of the rest the query went on to its server: pass. What is handed over the worker tells."""

DNS_WHY: Mapping[str, str] = {
    "odd": "malformed, fragmented or with options: not looked at further",
    "long": "the name is longer than the programs look at",
    "exempt": "an exempt owner, or a server that is not captured",
    "torn": "the entry was being written, twice",
    "no-worker": "for the DNS worker, which is away",
    "lease": "the agent has been silent for longer than its lease",
    "error": "the kernel refused the change: the query is lost",
    "no-view": "no table has been loaded yet",
}

CALL_VERDICTS: Mapping[str, Verdict] = {
    "outbound": Verdict.OUTBOUND,
    "self": Verdict.INBOUND,
    "dns": Verdict.DNS,
    "full": Verdict.OUTBOUND,
    "inbound": Verdict.INBOUND,
}
"""Of the rest the connection was left alone: pass."""

CALL_WHY: Mapping[str, str] = {
    "exempt": "exempt: an owner, a mark, or through inbound already (rules 2 to 4)",
    "bypass": "captured, but nobody listens: sidecar or DNS worker is away",
    "lease": "captured, but the agent has been silent for longer than its lease",
    "full": "captured, and refused: no alias was free",
    "refused": "refused: a loopback alias of ours was called by its own address",
}
REFUSED = "refused: nobody listens on the sidecar's port"


def verdict_of(result: str) -> Verdict:
    """Of a call or an arrival."""
    return CALL_VERDICTS.get(result, Verdict.PASS)
