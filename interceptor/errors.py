"""The few errors that some caller tells apart.

Everything else is a built-in exception. The command line turns these into exit
codes: ConfigError 2, Unsupported 3, any other InterceptorError 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with some input, said so that it can be mended.

    ``where`` is a file (or environment variable, or flag), ``line`` counts from
    one and is 0 where unknown, ``document`` names the YAML document within the
    file (``ServiceEntry bookinfo/reviews`` or ``#3``), ``key`` is the dotted
    path, ``value`` the offending value as it was written, ``legal`` what would
    have been accepted.
    """

    where: str
    key: str
    value: str
    legal: str
    line: int = 0
    document: str = ""

    def __str__(self) -> str:
        place = f"{self.where}:{self.line}" if self.line else self.where
        document = f" ({self.document})" if self.document else ""
        return f"{place}{document}: {self.key}: {self.value}: {self.legal}"


class InterceptorError(Exception):
    """Base of everything that is ours; the message says what to do."""


class ConfigError(InterceptorError):
    """Some input is not legal. Carries every problem, not only the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Unsupported(InterceptorError):
    """This host cannot do ``what``; ``needs`` says what it would take."""

    def __init__(self, what: str, needs: str) -> None:
        self.what = what
        self.needs = needs
        super().__init__(f"{what}: not supported on this host (needs {needs})")


class CommandFailed(InterceptorError):
    """A command of the host ended with a code other than zero."""

    def __init__(self, argv: tuple[str, ...], code: int, stderr: str) -> None:
        self.argv = argv
        self.code = code
        self.stderr = stderr
        super().__init__(f"`{' '.join(argv)}` ended with {code}: {stderr.strip() or 'no message'}")


class VerifierError(InterceptorError):
    """The kernel does not take a BPF program; ``lines`` are the last of the verifier's log."""

    def __init__(self, program: str, code: int, lines: tuple[str, ...]) -> None:
        self.program = program
        self.code = code
        self.lines = lines
        super().__init__(f"BPF program {program} was refused (errno {code}):\n" + "\n".join(lines))
