"""The programs of the ebpf back end, loaded when they are attached.

In the kernel each bears a name that tells its making: the first letters, and
six of a digest of its instructions. So what is attached can be compared with
what should be, without loading anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b

from interceptor.capture.attachment import SUBSTITUTES
from interceptor.errors import VerifierError
from interceptor.host import bpf, bytecode
from interceptor.host.bpf import AttachType
from interceptor.host.bpfmap import BpfMap
from interceptor.host.bytecode import Bytecode, Program
from interceptor.host.layout import Map

HEAD, TAIL = 8, 6  # letters of the name and of the digest; the kernel has room for 15 in all
_TAIL = re.compile(f"[0-9a-f]{{{TAIL}}}")


Loaded = Callable[[str], int]
"""A program's name to its descriptor."""


def mark(program: Program) -> str:
    """The name that a program bears in the kernel."""
    kind = f"{program.name} {program.kind} {program.attach} ".encode()
    digest = blake2b(kind + program.instructions, digest_size=8).hexdigest()
    return f"{program.name[:HEAD]}_{digest[:TAIL]}"


def is_mark(name: str, start: str) -> bool:
    """Whether a name in the kernel is one of ours, of a program whose name begins so."""
    head, _, tail = name.rpartition("_")
    return head.startswith(start) and len(head) <= HEAD and bool(_TAIL.fullmatch(tail))


class Programs:
    """The bytecode, read when it is first asked for."""

    def __init__(self, read: Callable[[], Bytecode] = bytecode.read) -> None:
        self._read = read

    @cached_property
    def _code(self) -> Bytecode:
        return self._read()

    def is_current(self, name: str, program_id: int) -> bool:
        """Whether a program in the kernel is ``name`` (or its substitute) as we have it."""
        try:
            descriptor = bpf.program_by_id(program_id)
        except OSError:
            return False
        try:
            found = bpf.program_info(descriptor).name
        finally:
            os.close(descriptor)
        return found in {mark(program) for program in self._candidates(name)}

    def _candidates(self, name: str) -> list[Program]:
        """Raises KeyError where the bytecode has no such program."""
        first, *others = (name, *SUBSTITUTES.get(name, ()))
        every = self._code.programs
        return [every[first], *(every[other] for other in others if other in every)]

    def attach_type(self, name: str) -> AttachType:
        """What a program is attached as."""
        return self._candidates(name)[0].attach

    @contextmanager
    def over(self, maps: Mapping[Map, BpfMap]) -> Iterator[Loaded]:
        """Gives the descriptor of a program over these maps, loaded when it is first asked for.

        All of them are closed at the end. Loading raises VerifierError or
        OSError, of the first where a substitute fails as well.
        """
        found: dict[str, int] = {}

        def loaded(name: str) -> int:
            if name not in found:
                found[name] = self._load(name, maps)
            return found[name]

        try:
            yield loaded
        finally:
            for descriptor in found.values():
                os.close(descriptor)

    def _load(self, name: str, maps: Mapping[Map, BpfMap]) -> int:
        descriptors = {number: each.fd for number, each in maps.items()}
        refusal: VerifierError | OSError | None = None
        for program in self._candidates(name):
            try:
                return bytecode.load(replace(program, name=mark(program)), descriptors)
            except (VerifierError, OSError) as error:
                refusal = refusal or error
        assert refusal is not None
        raise refusal
