"""What a control plane may send: xDS responses that go through us, and a CA's answers."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import unknown_fields
from google.protobuf.message import DecodeError, Message

from interceptor.sidecar import envelope
from interceptor.sidecar.envelope import Form
from interceptor.sidecar.passage import Passage
from interceptor.workload import credential, issuance
from interceptor.workload.certificate import CertificateError
from tests.controlplane import authority, schema, urls
from tests.fuzz.target import Target

MESSAGES = {
    Form.DELTA: (discovery_pb2.DeltaDiscoveryRequest, discovery_pb2.DeltaDiscoveryResponse),
    Form.SOTW: (discovery_pb2.DiscoveryRequest, discovery_pb2.DiscoveryResponse),
}
GROUP = 3  # wire type
NOW_S = time.time()
WHO = "spiffe://cluster.local/ns/bookinfo/sa/reviews"


def run_relay(data: bytes) -> None:
    """Messages of both directions; what protobuf reads, we read alike."""
    if not data:
        return
    form = Form.SOTW if data[0] & 1 else Form.DELTA
    passage = Passage()
    passage.begin()
    now_s = 0.0
    rest = data[1:]
    while len(rest) >= 3:
        is_up, size = rest[0] & 1, int.from_bytes(rest[1:3], "big")
        message, rest = rest[3 : 3 + size], rest[3 + size :]
        now_s += 1
        if is_up:
            _compare_request(form, message)
            refusal = passage.ask(form, message, now_s)
            assert refusal is None or refusal.reason
        else:
            _compare_response(form, message)
            passage.tell(form, message, now_s)
    assert all(latency_s > 0 for latency_s in passage.latencies_s)
    assert passage.is_quiet or now_s


def _has_group(message: Message) -> bool:
    """Groups are read by protobuf, and by nobody written since: we stop there."""
    return any(field.wire_type == GROUP for field in unknown_fields.UnknownFieldSet(message))


def _compare_request(form: Form, message: bytes) -> None:
    asked = envelope.decode_request(form, message)
    envelope.kind(asked.type_url)
    try:
        true = MESSAGES[form][0].FromString(message)
    except DecodeError:
        return
    if _has_group(true):
        return
    assert (asked.type_url, asked.nonce) == (true.type_url, true.response_nonce)
    assert bool(asked.error) == true.HasField("error_detail")


def _compare_response(form: Form, message: bytes) -> None:
    told = envelope.decode_response(form, message)
    names = envelope.names(form, message)
    removed = envelope.removed(message) if form is Form.DELTA else ()
    try:
        true = MESSAGES[form][1].FromString(message)
    except DecodeError:
        return
    if _has_group(true):
        return
    assert (told.type_url, told.nonce) == (true.type_url, true.nonce)
    assert len(names) == len(true.resources)
    if form is Form.DELTA:
        assert removed == tuple(true.removed_resources)


def framed(*messages: tuple[int, bytes], form: Form = Form.DELTA) -> bytes:
    """(whether it goes up, message)s as one input."""
    parts = [bytes([up]) + len(body).to_bytes(2, "big") + body for up, body in messages]
    return bytes([form is Form.SOTW]) + b"".join(parts)


def relayed() -> Iterable[bytes]:
    for form, (request, response) in MESSAGES.items():
        ask = request(type_url=urls.CLUSTER)
        ask.node.id = "sidecar~10.0.0.1~vm.ns~ns.svc.cluster.local"
        tell = response(type_url=urls.CLUSTER, nonce="n1")
        for name in (b"one", b"two"):
            if form is Form.DELTA:
                packed = tell.resources.add(name=name.decode(), version="1").resource
            else:
                packed = tell.resources.add()
            packed.type_url, packed.value = urls.CLUSTER, b"\x0a\x03" + name
        if form is Form.DELTA:
            tell.removed_resources.append("three")
        ack = request(type_url=urls.CLUSTER, response_nonce="n1")
        nack = request(type_url=urls.CLUSTER, response_nonce="n1")
        nack.error_detail.code, nack.error_detail.message = 13, "cluster one: no such thing"
        for last in (ack, nack):
            up, down = ask.SerializeToString(), tell.SerializeToString()
            yield framed((1, up), (0, down), (1, last.SerializeToString()), form=form)
    yield framed((0, b"\x0a\xff\xff\xff\xff\x0f"), (1, b"\x0b"), (0, b"\x12\x02\x12\x00"))


@cache
def _answer() -> tuple[bytes, bytes, bytes]:
    """Our key, a leaf for it, and the root; all PEM."""
    with TemporaryDirectory() as folder:
        ours = authority.Authority(Path(folder))
        pair = ours.issue((WHO,))
    return pair.key, pair.certificate, ours.root_pem


def run_issued(data: bytes) -> None:
    """Any answer of a CA: a credential that is whole, or one sentence of what is wrong."""
    key, _, _ = _answer()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cryptography's, of certificates that are odd
            made = credential.decide(key, issuance.decode_response(data), WHO, NOW_S)
    except CertificateError as error:
        assert str(error)
        return
    assert made.who == WHO
    assert made.not_before_s < made.not_after


def issued() -> Iterable[bytes]:
    _, leaf, root = _answer()
    chains = [[leaf, root], [leaf], [], [root, leaf], [leaf, leaf, root], [b"rubbish", root]]
    chains.append([leaf.replace(b"A", b"B"), root])
    for chain in chains:
        texts = [each.decode() for each in chain]
        yield schema.CertificateResponse(cert_chain=texts).SerializeToString()


TARGETS = {
    "relay": Target(
        run_relay, relayed, ("interceptor.sidecar.envelope", "interceptor.sidecar.passage")
    ),
    "issued": Target(run_issued, issued, ("interceptor.workload",)),
}
