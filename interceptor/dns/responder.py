"""Queries in, ready replies out: the caches before the answer table.

Two layers. The first knows whole queries (all but the id) and costs one
dictionary look-up; it serves stubs that ask the same again. The second knows
names and types, for clients that vary their case, cookies or sizes. Both are
bounded: a full one is emptied, which costs a few microseconds a name and no
more, so that a flood of random names cannot grow anything. Both are replaced
whenever the table changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from interceptor.dns import reply as replies
from interceptor.dns import wire
from interceptor.dns.reply import Label, Reply
from interceptor.dns.wire import Body, Odd
from interceptor.mesh.answer import Answers
from interceptor.mesh.outcome import TYPES, Verdict, type_name

MAXIMUM_QUERIES = 8192  # whole queries kept, of each sort; about 6 MiB of replies at worst
MAXIMUM_NAMES = 16384
TCP_LIMIT = 65535
K = TypeVar("K")
V = TypeVar("V")
_FORWARD = Verdict.FORWARD.value
_ODD = {odd: ("odd-" + odd.value, "") for odd in Odd}


class Cache:
    """What has been worked out from one state of the table.

    ``ready`` and ``passed`` are keyed by the query without its id, ``bodies`` by name
    and type (a verdict: not ours to answer).
    """

    __slots__ = ("bodies", "passed", "ready")

    def __init__(self) -> None:
        self.ready: dict[bytes, Reply] = {}
        self.passed: dict[bytes, Label] = {}
        self.bodies: dict[tuple[str, int], Body | Verdict] = {}


class Responder:
    """Answers for one way in. ``random`` gives [0, 1). ``ceiling`` bounds every reply,
    whatever size the client offers; over TCP the client's size does not count.

    One thread asks; another may call `adopt`. So whoever works out a reply takes the
    cache first and the table after: what was worked out from an old table can then only
    land in a cache that is already thrown away.
    """

    def __init__(
        self, answers: Answers, random: Callable[[], float], ceiling: int, is_udp: bool = True
    ) -> None:
        self.answers = answers
        self.cache = Cache()
        self.random = random
        # A plain dictionary: a Counter costs twice as much for each query. Whoever has a
        # label has it from `find`, which has put it in.
        self.counts: dict[Label, int] = {}
        self.emptied = 0
        self._ceiling = ceiling
        self._is_udp = is_udp

    def adopt(self, answers: Answers) -> None:
        """Answer from ``answers``; to be called, too, when it was changed in place."""
        self.answers = answers
        self.cache = Cache()

    def respond(self, message: bytes) -> bytes | None:
        """The response to a DNS message; None where it is to be left untouched."""
        found = self.cache.ready.get(message[2:]) or self.find(message)
        if found is None:
            return None
        self.counts[found.label] += 1
        return message[:2] + found.turned(int(self.random() * found.turns))

    @property
    def has_forward_zones(self) -> bool:
        return bool(self.answers.locale.forward_zones)

    def forwards(self, message: bytes) -> bool:
        """Whether a message that `find` has no reply to goes to the servers of a forward zone."""
        if not self.has_forward_zones:
            return False
        cache = self.cache
        label = cache.passed.get(message[2:])
        made = self._make(cache, message) if label is None else label
        return isinstance(made, tuple) and made[0] == _FORWARD

    def find(self, message: bytes) -> Reply | None:
        """The reply to a message that is not in ``cache.ready``; None, counted, if not ours."""
        cache = self.cache
        key = message[2:]
        label = cache.passed.get(key)
        if label is not None:
            self._count(label)
            return None
        made = self._make(cache, message)
        if isinstance(made, Reply):
            self.counts.setdefault(made.label, 0)
            self._keep(cache.ready, key, made, MAXIMUM_QUERIES)
            return made
        self._count(made)
        self._keep(cache.passed, key, made, MAXIMUM_QUERIES)
        return None

    def _make(self, cache: Cache, message: bytes) -> Reply | Label:
        question = wire.parse(message)
        if isinstance(question, Odd):
            return _ODD[question]
        named = type_name(question.qtype)
        kind = named if named in TYPES else "other"
        place = (question.name, question.qtype)
        if place in cache.bodies:
            body = cache.bodies[place]
        else:
            body = self._body(question.name, question.qtype)
            self._keep(cache.bodies, place, body, MAXIMUM_NAMES)
        if isinstance(body, Verdict):
            return (body.value, kind)
        limit = min(question.udp_size, self._ceiling) if self._is_udp else self._ceiling
        return replies.build(message, question, body, limit, (body.verdict.value, kind))

    def _body(self, name: str, qtype: int) -> Body | Verdict:
        answers = self.answers
        outcome = answers.decide(name, qtype)
        if outcome.verdict in (Verdict.PASS, Verdict.FORWARD):
            return outcome.verdict
        try:
            return wire.encode(name, outcome, answers.locale.ttl_s)
        except ValueError:
            # A name that no DNS message can bear; the daemon warned when it read it.
            self._count(("unwritable", ""))
            return Verdict.PASS

    def _count(self, label: Label) -> None:
        self.counts[label] = self.counts.get(label, 0) + 1

    def _keep(self, into: dict[K, V], key: K, value: V, maximum: int) -> None:
        if len(into) >= maximum:
            into.clear()
            self.emptied += 1
        into[key] = value
