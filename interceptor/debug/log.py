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
from structlog.typing import EventDict, WrappedLogger

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


def open_log(level: str, setting: str) -> None:
    """Send every log record of this process to standard error."""
    form = choose(
        setting,
        is_terminal=sys.stderr.isatty(),
        has_journal="JOURNAL_STREAM" in os.environ,
    )
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
        _drop_color,
    ]
    if form != "logfmt":
        shared.insert(0, structlog.processors.TimeStamper(fmt="iso", utc=True))
    final: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta
    ]
    if form == "text":
        final.append(
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                pad_event_to=0,
                exception_formatter=structlog.dev.plain_traceback,
            )
        )
    else:
        final.append(structlog.processors.format_exc_info)
        final.append(
            structlog.processors.JSONRenderer(default=str) if form == "json" else _render_journal
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=final, foreign_pre_chain=shared)
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for chatty in ("asyncio", "aiohttp.access", "watchfiles", "grpc"):
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
