"""A daemon's process: its lock, its loop, its signals, and what comes after it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from interceptor import assembly, loss, origin, reload, report
from interceptor.capture import fact
from interceptor.config import Config
from interceptor.daemon import Daemon
from interceptor.debug.log import open_log
from interceptor.host import lock, share
from interceptor.host.lifeline import Lifeline

Reread = Callable[[], Config]


async def _run(
    config: Config, confirm_s: float | None, lifeline: Lifeline, reread: Reread
) -> tuple[int, bool]:
    """The exit code, and whether a successor with another configuration is to follow."""
    beating = asyncio.create_task(lifeline.keep())
    source = origin.open_source(config)
    choice = await asyncio.to_thread(assembly.choose, config)
    facts = await asyncio.to_thread(fact.facts, config)
    daemon = Daemon(config, facts, choice, source.events, lifeline)
    daemon.membership.attach(source.upstream)
    lifeline.headline = lambda: report.headline(daemon)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, daemon.stopping.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, daemon.reload.ask, reread)
    try:
        return await daemon.run(confirm_s), daemon.reload.is_due
    finally:
        beating.cancel()


def run(
    config: Config,
    confirm_s: float | None = None,
    lifeline: Lifeline | None = None,
    reread: Reread | None = None,
) -> int:
    """Run until SIGTERM or SIGINT. Returns the exit code; raises before anything is installed.
    ``reread``: the configuration as it is at a SIGHUP, by default the same."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until somebody can look at the configuration
    open_log(config.log.level, config.log.format)
    lifeline = lifeline or Lifeline()
    share.raise_files()
    if lifeline.who != "systemd":  # whose unit says it
        share.rank(share.DAEMON)
    with lock.Lock(config.agent.run_dir / lock.NAME):
        if lifeline.releases:
            return loss.release(config)
        code, is_due = asyncio.run(_run(config, confirm_s, lifeline, reread or (lambda: config)))
    return reload.hand_over(lifeline) if is_due and code == 0 else code
