"""What the DNS worker would do with a captured query: its own code, asked about one packet."""

from __future__ import annotations

from dataclasses import replace

from interceptor.capture.plan import Decision, Hook
from interceptor.capture.rule import Verdict as Scope
from interceptor.config import Config
from interceptor.debug import event
from interceptor.debug.attempt import Attempt
from interceptor.debug.replay import Fate
from interceptor.dns import packet as packets
from interceptor.dns import wire
from interceptor.dns.responder import TCP_LIMIT, Responder
from interceptor.dns.wire import OWN_UDP_SIZE, Odd, Question
from interceptor.host.layout import NAME_SIZE
from interceptor.mesh.answer import Answers
from interceptor.mesh.outcome import Resolution, Verdict, type_name

LARGEST_UDP = 65535 - 48  # both headers of the larger family
LARGEST_KERNEL_QUERY = 700  # bpf/include/scratch.h, MAXIMUM_MESSAGE
BADVERS = "badvers"
TRUNCATED = 0x02  # in the first byte of the flags


def _first() -> float:
    """Instead of chance: answers in the mesh's order."""
    return 0.0


class Ruling:
    """One answer table, asked as the worker asks it: by packets over UDP, by messages over TCP.

    With back end ebpf the programs let some queries pass that a worker would answer; where the
    back end is chosen by the host (auto) it is judged as the worker would.
    """

    def __init__(self, config: Config, answers: Answers) -> None:
        self._answers = answers
        self._local = Responder(answers, _first, LARGEST_UDP)
        self._bridged = Responder(answers, _first, OWN_UDP_SIZE)
        self._stream = Responder(answers, _first, TCP_LIMIT, is_udp=False)
        backend = config.dns.backend
        self._is_kernel = (config.capture.backend if backend == "auto" else backend) == "ebpf"
        self._resolved: dict[tuple[str, int], Resolution] = {}

    def decide(self, attempt: Attempt, decision: Decision) -> Fate:
        """The fate of a query whose flow is decided."""
        message = attempt.message or b""
        question = wire.parse(message)
        asked = Fate(
            verdict=Verdict.PASS.value,
            rule=decision.rule,
            why=decision.why,
            to=event.end(str(attempt.destination), attempt.port),
            name=question.name if isinstance(question, Question) else "",
            qtype=type_name(question.qtype) if isinstance(question, Question) else "",
        )
        if decision.verdict is not Scope.DNS:
            return asked
        if isinstance(question, Odd):
            return replace(asked, why=f"no plain query ({question.value}): left as it is")
        if attempt.protocol == "udp" and (why := self._spared(attempt, question)):
            return replace(asked, why=why)
        return self._answered(asked, self._result(attempt, message), question)

    def _spared(self, attempt: Attempt, question: Question) -> str:
        """Why a plain question in such a packet is left alone; empty where it is not."""
        if not attempt.plain:
            return "IP options, extension headers or a fragment: left as it is"
        if not self._is_kernel:
            return ""
        if question.end - 16 > NAME_SIZE:
            return f"a name of more than {NAME_SIZE} bytes: the programs let it pass"
        if len(attempt.message or b"") > LARGEST_KERNEL_QUERY:
            return f"a query of more than {LARGEST_KERNEL_QUERY} bytes: the programs let it pass"
        if attempt.destination.is_multicast:
            return "asked of everybody: the programs let it pass"
        return ""

    def _result(self, attempt: Attempt, message: bytes) -> tuple[str, bool]:
        """The worker's word for its reply (empty: none), and whether that is cut short."""
        if attempt.protocol == "udp":
            responder = self._local if attempt.hook is Hook.OUTPUT else self._bridged
            if packets.answer(attempt.packet, responder) is None:
                return "", False
        else:
            responder = self._stream
            if responder.respond(message) is None:
                return "", False
        made = responder.cache.ready[message[2:]]
        return made.label[0], bool(made.head[0] & TRUNCATED)

    def _answered(self, asked: Fate, result: tuple[str, bool], question: Question) -> Fate:
        label, is_cut = result
        if label == BADVERS:
            why = f"EDNS version {question.edns_version} of a mesh name: BADVERS"
            return replace(asked, verdict="answer", to="", why=why, rcode="BADVERS")
        found = self._resolve(question)
        if not label:
            why = found.why
            if found.verdict is not Verdict.PASS:
                why = f"{why}, but not in a form that DNS can bear"
            return replace(asked, host=found.host, why=why)
        why = f"{found.why}; cut short over UDP (TC)" if is_cut else found.why
        return replace(
            asked,
            verdict=label,
            to="",
            why=why,
            rcode=found.rcode,
            answers=tuple(answer.data for answer in found.answers),
            host=found.host,
        )

    def _resolve(self, question: Question) -> Resolution:
        key = (question.name, question.qtype)
        found = self._resolved.get(key)
        if found is None:
            found = self._answers.spell(*key, type_name(question.qtype))
            self._resolved[key] = found
        return found
