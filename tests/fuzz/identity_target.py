"""What comes to a member's identity from outside: requests for secrets, another's secrets, the
file that was kept."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable
from functools import cache

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.any_pb2 import Any as Packed

from interceptor.errors import InterceptorError
from interceptor.sidecar import sdsstream
from interceptor.sidecar.sdsstream import TYPE, Form, SdsError, Stream
from interceptor.workload import credential, foreign, signing
from interceptor.workload.certificate import CertificateError
from interceptor.workload.credential import Credential
from interceptor.workload.signing import Leaf
from tests.fuzz.target import Target

NOW_S = time.time()
SECRETS = {
    each.name: each
    for each in (
        sdsstream.build_pair("default", b"key", b"chain"),
        sdsstream.build_roots("ROOTCA", b"roots"),
    )
}


def cut(data: bytes) -> Iterable[bytes]:
    """Messages, each behind its length in one byte."""
    while data:
        yield data[1 : 1 + data[0]]
        data = data[1 + data[0] :]


def run_secrets(data: bytes) -> None:
    """Nobody gets what he has not asked for, and nobody the same thing twice unasked."""
    if not data:
        return
    form = Form.WHOLE if data[0] & 1 else Form.DELTA
    stream = Stream(form)
    for message in cut(data[1:]):
        try:
            stream.receive(message)
        except SdsError:
            return
        sent = stream.poll(SECRETS)
        assert stream.poll(SECRETS) is None
        if sent is None:
            continue
        if form is Form.WHOLE:
            whole = discovery_pb2.DiscoveryResponse.FromString(sent)
            assert len(whole.resources) == len(stream.names & SECRETS.keys())
        else:
            delta = discovery_pb2.DeltaDiscoveryResponse.FromString(sent)
            assert {each.name for each in delta.resources} <= stream.names


def run_foreign(data: bytes) -> None:
    """Another's secrets make a credential whose parts fit, or a reason."""
    warnings.simplefilter("ignore")
    held = foreign.Held()
    for size in (len(data) // 2, len(data)):
        try:
            held.take(data[:size])
            made = held.build(NOW_S)
        except InterceptorError as error:
            assert str(error)
            continue
        assert made is None or made.not_after > 0


def run_kept(data: bytes) -> None:
    """What stands in the file is whole, or refused."""
    warnings.simplefilter("ignore")
    try:
        made = credential.decode(data)
    except CertificateError as error:
        assert str(error)
        return
    credential.check(made)
    assert made.choose_renewal(0.5, 0.5) <= made.not_after


@cache
def _credential() -> Credential:
    root = signing.make_root("ecdsa-p256", "fuzz", NOW_S - 9, NOW_S + 10**8)
    key = signing.make_key("ecdsa-p256")
    csr = signing.read_request(signing.build_csr(key, "spiffe://td/ns/n/sa/s"))
    leaf = Leaf(csr.public_key, csr.uris, NOW_S - 9, NOW_S + 10**7)
    return Credential(key, signing.issue(leaf, root), root.certificate, round(NOW_S))


def asked() -> Iterable[bytes]:
    names = ["default", "ROOTCA", "file-root:/x"]
    first = discovery_pb2.DiscoveryRequest(type_url=TYPE, resource_names=names)
    ack = discovery_pb2.DiscoveryRequest(resource_names=names[:1], response_nonce="1")
    nack = discovery_pb2.DiscoveryRequest(response_nonce="1")
    nack.error_detail.message = "no"
    delta = discovery_pb2.DeltaDiscoveryRequest(resource_names_subscribe=names)
    delta.initial_resource_versions["default"] = "1"
    gone = discovery_pb2.DeltaDiscoveryRequest(resource_names_unsubscribe=names[:1])
    for head, messages in ((b"\1", (first, ack, nack)), (b"\0", (delta, gone, delta))):
        texts = [each.SerializeToString() for each in messages]
        yield head + b"".join(bytes([len(text)]) + text for text in texts)


def given() -> Iterable[bytes]:
    made = _credential()
    both = (
        sdsstream.build_pair("default", made.key_pem, made.chain_pem),
        sdsstream.build_roots("ROOTCA", made.root_pem),
    )
    response = discovery_pb2.DiscoveryResponse(
        version_info="1",
        nonce="1",
        resources=[Packed(type_url=TYPE, value=each.body) for each in both],
    )
    yield response.SerializeToString()


def kept() -> Iterable[bytes]:
    yield credential.encode(_credential())


TARGETS = {
    "secrets": Target(run_secrets, asked, ("interceptor.sidecar",)),
    "foreign": Target(run_foreign, given, ("interceptor.workload",)),
    "kept": Target(run_kept, kept, ("interceptor.workload",)),
}
