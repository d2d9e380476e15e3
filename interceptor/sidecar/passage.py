"""What has passed between Envoy and its control plane: counted, and Envoy's verdicts noted. Pure.

A response is kept, as the bytes that it is, until Envoy has answered it: only where that is a
refusal are the names of its resources read.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from interceptor.sidecar import envelope
from interceptor.sidecar.envelope import Form
from interceptor.sidecar.served import Refusal

LATENCIES = 1024  # the last so many are kept
UNANSWERED = 2  # responses of one type that are kept: a control plane waits for the answer
REASON_CHARS = 2000
FOREIGN = "registered implementation for"
FOREIGN_CURE = (
    "this Envoy has no such part, and what asks for it decides too much to be left out: use"
    " Istio's own build of Envoy (sidecar.binary), or take it out of the mesh's configuration (an"
    " EnvoyFilter, a WasmPlugin, a provider of the mesh configuration)"
)


@dataclass(slots=True)
class _Sent:
    nonce: str
    message: bytes
    at_s: float


@dataclass(slots=True)
class Passage:
    """All streams since the start; one at a time. Times are by `monotonic`."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES))
    answered: set[str] = field(default_factory=set)
    """Kinds that Envoy has ever answered for."""
    moved_s: float = 0.0
    """When something passed last."""
    _refusals: dict[tuple[str, str], Refusal] = field(default_factory=dict)
    _sent: dict[str, deque[_Sent]] = field(default_factory=dict)
    _fresh: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """A new stream: what was on its way is lost, and all that is refused comes once more."""
        self._sent.clear()
        self._fresh = {kind for kind, _ in self._refusals}

    def ask(self, form: Form, message: bytes, now_s: float) -> Refusal | None:
        """Envoy's request goes up. What it refuses by it, if anything."""
        asked = envelope.decode_request(form, message)
        kind = envelope.kind(asked.type_url)
        self.counts["asked", kind] += 1
        self.moved_s = now_s
        sent = self._take(asked.type_url, asked.nonce)
        if sent is not None:
            self.latencies_s.append(now_s - sent.at_s)
        elif not asked.error:
            return None  # names again, or an answer that was given already
        self.answered.add(kind)
        self._forget(form, kind, sent.message if sent is not None else b"")
        if not asked.error:
            self.counts["acked", kind] += 1
            return None
        self.counts["refused", kind] += 1
        return self._refuse(form, kind, sent.message if sent is not None else b"", asked.error)

    def tell(self, form: Form, message: bytes, now_s: float) -> None:
        """The control plane's response goes down."""
        told = envelope.decode_response(form, message)
        self.counts["sent", envelope.kind(told.type_url)] += 1
        self.moved_s = now_s
        kept = self._sent.setdefault(told.type_url, deque(maxlen=UNANSWERED))
        kept.append(_Sent(told.nonce, message, now_s))

    @property
    def is_quiet(self) -> bool:
        """Whether Envoy has answered for all that came down."""
        return not any(self._sent.values())

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """What Envoy refuses now."""
        return tuple(dict.fromkeys(self._refusals.values()))

    def _take(self, type_url: str, nonce: str) -> _Sent | None:
        kept = self._sent.get(type_url)
        for each in kept or ():
            if kept is not None and each.nonce == nonce:
                kept.remove(each)
                return each
        return None

    def _forget(self, form: Form, kind: str, message: bytes) -> None:
        """What was refused of this kind, as far as Envoy has just been told of it again."""
        if not any(of == kind for of, _ in self._refusals):
            return
        # Clusters and listeners are told all together in that form.
        whole = form is Form.SOTW and kind in ("CLUSTER", "LISTENER")
        if whole or kind in self._fresh:
            gone = {name for of, name in self._refusals if of == kind}
        else:
            gone = {*envelope.names(form, message)}
            gone |= {*envelope.removed(message)} if form is Form.DELTA else set()
        self._fresh.discard(kind)
        for name in gone:
            self._refusals.pop((kind, name), None)

    def _refuse(self, form: Form, kind: str, message: bytes, reason: str) -> Refusal:
        names = envelope.names(form, message)
        named = tuple(name for name in names if name and name in reason) or names
        cure = FOREIGN_CURE if FOREIGN in reason else ""
        reason = " ".join(reason.split())  # Envoy's have line ends and more
        if len(reason) > REASON_CHARS:
            reason = f"{reason[:REASON_CHARS]} ..."
        refusal = Refusal(kind, named, reason, cure)
        for name in named or ("",):
            self._refusals[kind, name] = refusal
        return refusal
