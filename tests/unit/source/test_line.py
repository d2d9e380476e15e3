"""What tests/unit/source/test_istiod.py cannot see from outside: form, patience, one send at a
time. With a connection of our own words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from envoy.service.discovery.v3 import discovery_pb2

from interceptor.host.rpc import RpcError
from interceptor.source import line as lines
from interceptor.source.dialogue import Form, Node
from interceptor.source.line import Line
from interceptor.source.nds import TYPE

NODE = Node("id", "cluster", ("", "", ""), {})


class Call:
    """One stream of a script: bytes to receive, an error to raise, or to wait."""

    def __init__(self, *script: bytes | RpcError | None) -> None:
        self.script = list(script)
        self.sent: list[bytes] = []
        self.cancelled = asyncio.Event()
        self._sending = 0

    async def send(self, message: bytes) -> None:
        assert not self._sending, "two at a time"
        self._sending += 1
        await asyncio.sleep(0)
        self._sending -= 1
        self.sent.append(message)

    async def receive(self) -> bytes | None:
        if not self.script:
            await self.cancelled.wait()
            raise RpcError("CANCELLED", "the call was cancelled")
        item = self.script.pop(0)
        if isinstance(item, RpcError):
            raise item
        return item

    def cancel(self) -> None:
        self.cancelled.set()


class Target:
    address, last_error, failures = "cp:15012", "", 0

    def __init__(self, *calls: Call) -> None:
        self.calls = list(calls)
        self.methods: list[str] = []
        self.turns = self.settled = 0

    async def connect(self) -> Target:
        if not self.calls:
            await asyncio.Event().wait()
        return self

    open = connect

    def stream(self, method: str) -> Call:
        self.methods.append(method.rpartition("/")[2])
        return self.calls.pop(0)

    async def close(self) -> None: ...
    def settle(self) -> None:
        self.settled += 1

    def turn(self) -> None:
        self.turns += 1

    def explain(self, error: RpcError) -> str:
        return str(error)


def response(nonce: str = "1") -> bytes:
    made: bytes = discovery_pb2.DeltaDiscoveryResponse(
        type_url=TYPE, nonce=nonce
    ).SerializeToString()
    return made


async def until(condition: Callable[[], object]) -> None:
    for _ in range(4000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("in vain")


async def run(line: Line, condition: Callable[[], object]) -> None:
    task = asyncio.create_task(line.run())
    await until(condition)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_who_does_not_speak_delta_is_asked_for_the_state_of_the_world() -> None:
    async def go() -> None:
        refuse = RpcError("UNIMPLEMENTED", "unknown method")
        target = Target(Call(refuse), Call(None))
        line = Line(target, lambda: NODE, "auto")
        await run(line, lambda: not target.calls)
        assert target.methods == [Form.DELTA.value, Form.SOTW.value]

    asyncio.run(go())


@pytest.mark.parametrize(("protocol", "form"), [("delta", Form.DELTA), ("sotw", Form.SOTW)])
def test_a_form_that_is_set_is_kept(protocol: str, form: Form) -> None:
    async def go() -> None:
        refuse = RpcError("UNIMPLEMENTED", "unknown method")
        target = Target(Call(refuse), Call(refuse))
        await run(Line(target, lambda: NODE, protocol), lambda: not target.calls)
        assert target.methods == [form.value] * 2

    asyncio.run(go())


def test_patience_with_the_mute_grows_and_the_next_address_has_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lines, "PATIENCE_S", 0.02)

    async def go() -> None:
        target = Target(Call(), Call(), Call())
        line = Line(target, lambda: NODE, "delta")
        await run(line, lambda: target.turns == 3)
        assert line.reason == "CANCELLED: no word in 0.08 s"
        assert (line.counts["failures"], target.settled) == (3, 0)

    asyncio.run(go())


def test_only_the_newest_response_is_handed_over_and_answered() -> None:
    async def go() -> None:
        call = Call(response("1"), response("2"))
        line = Line(Target(call), lambda: NODE, "delta")
        await line.tell_health("broken")
        task = asyncio.create_task(line.run())
        await until(lambda: line.counts["pushes"] == 2)
        taken = line.take()
        assert taken is not None
        told, answer = taken
        assert told.nonce == "2"
        assert line.take() is None
        await asyncio.gather(answer.send(""), line.tell_health(""))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        sent = [discovery_pb2.DeltaDiscoveryRequest.FromString(each) for each in call.sent]
        assert [each.response_nonce for each in sent if each.type_url == TYPE] == ["", "2"]
        assert [each.error_detail.message for each in sent if each.type_url != TYPE] == [
            "broken",
            "",
        ]

    asyncio.run(go())


def test_a_vm_whose_own_address_cannot_be_found_is_no_end_of_the_source() -> None:
    def node() -> Node:
        raise OSError("no routes")

    async def go() -> None:
        target = Target(Call())
        line = Line(target, node, "delta")
        await run(line, lambda: line.reason)
        assert line.reason == "INTERNAL: no routes"

    asyncio.run(go())
