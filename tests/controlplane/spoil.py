"""Faults put into answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from google.protobuf import any_pb2

from tests.controlplane import schema, session, urls
from tests.controlplane.content import Item
from tests.controlplane.fault import Faults
from tests.controlplane.session import Answer, Form

GARBAGE = bytes((0xFF, 0x0F)) + bytes(range(256))  # a tag of an unknown group, cut short


def encode(form: Form, answer: Answer, faults: Faults) -> Iterator[bytes]:
    """The messages that are sent instead of ``answer``."""
    if not faults.concerns(urls.short(answer.url)):
        yield session.encode(form, answer)
        return
    if faults.mute:
        return
    spoilt = _spoil(answer, faults)
    message = GARBAGE if faults.garbage == "frame" else session.encode(form, spoilt)
    for _ in range(1 + faults.duplicate):
        yield message
    if faults.unasked:
        for url in (urls.EXTENSION, urls.PREFIX + "test.Unknown"):
            item = Item("unasked", "1", any_pb2.Any(type_url=url, value=b""))
            yield session.encode(form, Answer(url, f"unasked-{answer.nonce}", "1", (item,)))


def _spoil(answer: Answer, faults: Faults) -> Answer:
    items = answer.items
    if faults.no_resources or (faults.empty and answer.url != urls.NAMES):
        items = ()
    elif faults.empty:
        packed = any_pb2.Any(type_url=urls.NAMES, value=schema.NameTable().SerializeToString())
        items = (Item("", "empty", packed),)
    nonce = {"same": "always", "none": ""}.get(faults.nonce, answer.nonce)
    return replace(
        answer,
        url=faults.outer_url or answer.url,
        nonce=nonce,
        items=tuple(_item(item, faults) for item in items),
    )


def _item(item: Item, faults: Faults) -> Item:
    packed = any_pb2.Any()
    packed.CopyFrom(item.any)
    if faults.inner_url:
        packed.type_url = faults.inner_url
    if faults.truncate:
        packed.value = packed.value[: -faults.truncate]
    if faults.garbage == "resource":
        packed.value = GARBAGE + os.urandom(64)
    return replace(item, any=packed)
