"""One ADS stream as istiod keeps it: what is watched, what was sent, what an answer is."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from envoy.service.discovery.v3 import discovery_pb2

from tests.controlplane import urls
from tests.controlplane.content import Catalogue, Item


class Form(enum.Enum):
    """The values are gRPC's method names."""

    DELTA = "DeltaAggregatedResources"
    SOTW = "StreamAggregatedResources"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of either form. ``names``: all of them (SotW), or those to add (delta)."""

    url: str
    names: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    held: Mapping[str, str] = field(default_factory=dict)
    nonce: str = ""
    version: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """``removed`` with delta only. ``url`` is what the answer says it is of."""

    url: str
    nonce: str
    version: str
    items: tuple[Item, ...] = ()
    removed: tuple[str, ...] = ()


class Verdict(enum.Enum):
    FIRST = "first"
    MORE = "more"  # other names than before
    ACK = "ack"
    NACK = "nack"
    STALE = "stale"
    HEALTH = "health"


@dataclass(slots=True)
class _Watch:
    wildcard: bool
    names: set[str] = field(default_factory=set)
    sent: dict[str, str] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)  # asked for since the last answer
    nonce: str = ""
    must_answer: bool = True

    def wants(self, name: str) -> bool:
        return self.wildcard or name in self.names


class Session:
    """Requests in, answers out; no network."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self._watches: dict[str, _Watch] = {}
        self._serial = 0

    @property
    def watched(self) -> tuple[str, ...]:
        """Types that were asked for, in the order of a push."""
        known = [url for url in urls.ORDER if url in self._watches]
        return (*known, *(url for url in self._watches if url not in urls.ORDER))

    def receive(self, asked: Asked, *, is_deaf: bool = False) -> Verdict:
        """Take a request in. ``is_deaf``: every nonce is taken for a stale one."""
        if asked.url == urls.HEALTH:
            return Verdict.HEALTH
        watch = self._watches.get(asked.url)
        if watch is None:
            self._begin(asked)
            return Verdict.FIRST
        is_stale = bool(asked.nonce) and (is_deaf or asked.nonce != watch.nonce)
        if asked.error:
            return Verdict.NACK
        changed = self._subscribe(watch, asked, is_stale)
        if changed:
            return Verdict.MORE
        if is_stale:
            return Verdict.STALE
        if not asked.nonce and self.form is Form.SOTW:
            watch.must_answer = True  # as istiod has it: somebody who begins again
            return Verdict.MORE
        return Verdict.ACK

    def _begin(self, asked: Asked) -> None:
        names = set(asked.names)
        wildcard = asked.url in urls.WILDCARD and (not names or "*" in names)
        watch = _Watch(wildcard, names - {"*"}, dict(asked.held), set(names - {"*"}))
        self._watches[asked.url] = watch

    def _subscribe(self, watch: _Watch, asked: Asked, is_stale: bool) -> bool:
        """Note other names; whether there are any that were not asked for before.

        A stale delta request keeps what it subscribes to: nobody says it again.
        """
        if self.form is Form.DELTA:
            added = set(asked.names) - {"*"}
            watch.wildcard = (watch.wildcard or "*" in asked.names) and "*" not in asked.unsubscribe
            watch.names = (watch.names | added) - set(asked.unsubscribe)
            for name in asked.unsubscribe:
                watch.sent.pop(name, None)
            watch.fresh |= added
            return bool(added)
        if is_stale or watch.wildcard:
            return False
        added = set(asked.names) - watch.names
        watch.names = set(asked.names)
        watch.must_answer = watch.must_answer or bool(added)
        return bool(added)

    def answer(self, url: str, catalogue: Catalogue, *, force: bool = False) -> Answer | None:
        """What has to be said of a type now, if anything; ``force``: all of it, come what may."""
        watch = self._watches.get(url)
        if watch is None or url not in urls.ORDER:
            return None  # nobody makes such resources: no answer, as with istiod
        found = catalogue.get(url, {})
        wanted = {name: item for name, item in found.items() if watch.wants(name)}
        changed = {
            name: item
            for name, item in wanted.items()
            if force or name in watch.fresh or watch.sent.get(name) != item.version
        }
        gone = [name for name in watch.sent if name not in wanted]
        if self.form is Form.DELTA:
            gone += sorted(watch.fresh - wanted.keys() - set(gone))
        if not (changed or gone or watch.must_answer or force):
            return None
        items = wanted if self.form is Form.SOTW else changed
        watch.sent = {name: item.version for name, item in wanted.items()}
        watch.fresh.clear()
        watch.must_answer = False
        self._serial += 1
        watch.nonce = f"{urls.short(url)}-{self._serial}"
        version = f"v{self._serial}"
        removed = tuple(gone) if self.form is Form.DELTA else ()
        return Answer(url, watch.nonce, version, tuple(items.values()), removed)


def decode(form: Form, data: bytes) -> tuple[Asked, object | None]:
    """A request of its bytes, with its node where it has one. Raises DecodeError."""
    if form is Form.DELTA:
        delta = discovery_pb2.DeltaDiscoveryRequest.FromString(data)
        asked = Asked(
            delta.type_url,
            tuple(delta.resource_names_subscribe),
            tuple(delta.resource_names_unsubscribe),
            dict(delta.initial_resource_versions),
            delta.response_nonce,
            error=_error(delta),
        )
        return asked, delta.node if delta.HasField("node") else None
    request = discovery_pb2.DiscoveryRequest.FromString(data)
    asked = Asked(
        request.type_url,
        tuple(request.resource_names),
        nonce=request.response_nonce,
        version=request.version_info,
        error=_error(request),
    )
    return asked, request.node if request.HasField("node") else None


def _error(message: object) -> str:
    """The reason of a NACK. One without words is a NACK all the same."""
    if not message.HasField("error_detail"):  # type: ignore[attr-defined]
        return ""
    detail = message.error_detail  # type: ignore[attr-defined]
    return str(detail.message) or f"code {detail.code}"


def encode(form: Form, answer: Answer) -> bytes:
    """The bytes of an answer."""
    return (_delta if form is Form.DELTA else _sotw)(answer).SerializeToString()


def _delta(answer: Answer) -> discovery_pb2.DeltaDiscoveryResponse:
    message = discovery_pb2.DeltaDiscoveryResponse(
        type_url=answer.url, nonce=answer.nonce, system_version_info=answer.version
    )
    for item in answer.items:
        message.resources.add(name=item.name, version=item.version, resource=item.any)
    message.removed_resources.extend(answer.removed)
    return message


def _sotw(answer: Answer) -> discovery_pb2.DiscoveryResponse:
    anys: Iterable[object] = (item.any for item in answer.items)
    return discovery_pb2.DiscoveryResponse(
        type_url=answer.url, nonce=answer.nonce, version_info=answer.version, resources=anys
    )
