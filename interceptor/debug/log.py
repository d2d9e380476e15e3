"""Structured logs: one line a decision, with why.

Text on a terminal, JSON elsewhere; to the journal go its own records, whose
fields can be searched for: `journalctl INTERCEPTOR_EVENT=ready`. Library code
logs through the standard ``logging`` module; the same processors render both.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from interceptor.host import journald

Format = Literal["text", "journal", "json"]

# syslog(3); a line that starts with <N> gets that priority (sd-daemon(3)).
_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
IDENTIFIER = "interceptor"


def choose(setting: str, *, is_terminal: bool, has_journal: bool) -> Format:
    """The format for the setting ``log.format``."""
    if setting == "text":
        return "text"
    if setting == "json":
        return "json"
    if has_journal:
        return "journal"
    return "text" if is_terminal else "json"


_LOGFMT = structlog.processors.LogfmtRenderer()


def fields(event: EventDict, logger: str, trace: str = "") -> dict[str, str]:
    """A record as the journal keeps it: a line to read, and its parts to search for."""
    parts = {key: str(value) for key, value in event.items() if not key.startswith("_")}
    level, what = parts.pop("level", "info"), parts.pop("event", "")
    rest = _LOGFMT(None, "", dict(parts)) if parts else ""
    line = " ".join(filter(None, (what, str(rest))))
    return {
        "MESSAGE": f"{line}\n{trace}" if trace else line,
        "PRIORITY": str(_PRIORITY.get(level, 6)),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        journald.name("event"): what,
        journald.name("logger"): logger,
        **{journald.name(key): value for key, value in parts.items()},
    }


class JournalSink(logging.Handler):
    """Every record to the journal; while that takes none they are counted, and the next tells."""

    def __init__(self, channel: journald.Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        event: EventDict = {"event": record.getMessage()}
        if isinstance(record.msg, dict):  # structlog's; another library's is text
            event = dict(record.msg)
        failure = event.pop("exc_info", None) or record.exc_info
        trace = ""
        if failure:
            pair = failure if isinstance(failure, tuple) else sys.exc_info()
            trace = logging.Formatter().formatException(pair)
        event["level"] = record.levelname.lower()
        if self._channel.dropped:
            event["dropped_before"] = self._channel.dropped
        if self._channel.send(fields(event, record.name, trace)):
            self._channel.dropped = 0

    def close(self) -> None:
        self._channel.close()
        super().close()


def _drop_color(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)
    return event


def _shared(form: Format) -> list[Processor]:
    """What every record goes through, ours and the standard library's."""
    stamp: list[Processor] = [structlog.processors.TimeStamper(fmt="iso", utc=True)]
    return [
        *(stamp if form != "journal" else []),
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
    line: Processor = structlog.processors.JSONRenderer(default=str)
    return [*bare, structlog.processors.format_exc_info, line]


def _open_handler(form: Format, shared: list[Processor]) -> logging.Handler:
    if form == "journal":
        try:
            return JournalSink(journald.Channel())
        except OSError:  # no socket of its own in here: its lines still arrive, as JSON
            form = "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=_render(form, colors=sys.stderr.isatty()), foreign_pre_chain=shared
        )
    )
    return handler


def open_log(level: str, setting: str) -> None:
    """Send every log record of this process to standard error, or to the journal behind it."""
    has_journal = journald.observe_connected(2)
    form = choose(setting, is_terminal=sys.stderr.isatty(), has_journal=has_journal)
    shared = _shared(form)
    root = logging.getLogger()
    root.handlers = [_open_handler(form, shared)]
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
