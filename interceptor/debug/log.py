"""Structured logs: one line a decision, with why.

Text on a terminal, logfmt for the journal (which stamps time and priority
itself), JSON elsewhere. Library code logs through the standard ``logging``
module; the same processors render both.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Format = Literal["text", "logfmt", "json"]

# sd-daemon(3): a line that starts with <N> gets that syslog priority.
_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def choose(setting: str, *, is_terminal: bool, has_journal: bool) -> Format:
    """The format for the setting ``log.format``."""
    if setting == "text":
        return "text"
    if setting == "json":
        return "json"
    if has_journal:
        return "logfmt"
    return "text" if is_terminal else "json"


_LOGFMT = structlog.processors.LogfmtRenderer(key_order=["level", "event"])


def _render_journal(logger: WrappedLogger, name: str, event: EventDict) -> str:
    priority = _PRIORITY.get(str(event.get("level")), 6)
    return f"<{priority}>{_LOGFMT(logger, name, event)}"


def _drop_color(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)
    return event


def _shared(form: Format) -> list[Processor]:
    """What every record goes through, ours and the standard library's."""
    stamp: list[Processor] = [structlog.processors.TimeStamper(fmt="iso", utc=True)]
    return [
        *(stamp if form != "logfmt" else []),
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
        _drop_color,
    ]


def _render(form: Format, *, colors: bool) -> list[Processor]:
    """The last steps: a record becomes one line."""
    bare: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if form == "text":
        console = structlog.dev.ConsoleRenderer(
            colors=colors, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
        )
        return [*bare, console]
    line: Processor = _render_journal
    if form == "json":
        line = structlog.processors.JSONRenderer(default=str)
    return [*bare, structlog.processors.format_exc_info, line]


def open_log(level: str, setting: str) -> None:
    """Send every log record of this process to standard error."""
    is_terminal = sys.stderr.isatty()
    form = choose(setting, is_terminal=is_terminal, has_journal="JOURNAL_STREAM" in os.environ)
    shared = _shared(form)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=_render(form, colors=is_terminal), foreign_pre_chain=shared
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for chatty in ("asyncio", "aiohttp.access", "grpc", "pyroute2"):
        logging.getLogger(chatty).setLevel("WARNING")
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
