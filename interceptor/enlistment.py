"""`join` and `leave`: a bundle's files onto this host, the service started, and all of it undone.

Every file goes through `host.footprint`, so that `leave` puts back what was there, also after a
crash half-way. The service is left as it was found: enabled or not, running or not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from interceptor import assembly
from interceptor.config import DEFAULT_PATH, Config
from interceptor.config.membership import STATE
from interceptor.debug import control
from interceptor.errors import ConfigError, InterceptorError, Problem
from interceptor.host import lock, unit
from interceptor.host.footprint import Draft, Footprint
from interceptor.joining import Joining

UNIT = "interceptor.service"
UNIT_PATH = Path("/etc/systemd/system") / UNIT
THEIRS = "istio.service"
PLACE = STATE / "join"
LOGS = Path("/var/log/interceptor")
"""What systemd makes for the service (LogsDirectory=)."""
HOST = Path("/")
POLL_S = 0.2

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Setting:
    """``root``: below it the host's paths are, an image's or /. ``unit_text``: of the service, for
    a host that has none."""

    root: Path = HOST
    is_started: bool = True
    unit_text: str = ""
    timeout_s: float = 60.0

    @property
    def is_host(self) -> bool:
        return self.root == HOST


def open_footprint(root: Path = HOST) -> Footprint:
    return Footprint.open(PLACE, root)


def read_present(root: Path, footprint: Footprint) -> str:
    """The configuration that a bundle's settings are laid over: after an earlier join what was
    there before it, unless somebody has edited it since."""
    path = root / DEFAULT_PATH.relative_to(HOST)
    if DEFAULT_PATH in footprint and not footprint.is_edited(DEFAULT_PATH):
        return (footprint.before(DEFAULT_PATH) or b"").decode()
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        legal = "a readable configuration, which is kept under the bundle's"
        raise ConfigError([Problem(str(path), "(file)", str(error), legal)]) from error


def check_host(setting: Setting) -> list[Problem]:
    """What of this host stands in the way."""
    problems = []
    if setting.is_host and os.geteuid() != 0:
        problems.append(Problem("(host)", "user", f"uid {os.geteuid()}", "root"))
    if setting.is_host and setting.is_started:
        if not unit.is_running():
            legal = "systemd; or --no-start, and then `interceptor run`"
            problems.append(Problem("(host)", "service", "systemd does not run here", legal))
        elif unit.observe(THEIRS).is_active:
            legal = f"one agent on the same ports: `systemctl disable --now {THEIRS}` first"
            problems.append(Problem("(host)", "service", f"{THEIRS} runs here", legal))
    return problems


def choose_drafts(joining: Joining, setting: Setting) -> tuple[Draft, ...]:
    """The files, with the service's unit where there is none; a file keeps its stricter mode."""
    drafts = list(joining.drafts)
    if setting.unit_text and not _observe(setting).is_there:
        drafts.append(Draft(UNIT_PATH, setting.unit_text.encode(), 0o644))
    for at, draft in enumerate(drafts):
        path = setting.root / draft.path.relative_to(HOST)
        if path.is_file():
            drafts[at] = replace(draft, mode=draft.mode & path.stat().st_mode)
    return tuple(drafts)


def _observe(setting: Setting) -> unit.Unit:
    return unit.observe(UNIT) if setting.is_host else unit.observe_image(UNIT, setting.root)


def join(drafts: tuple[Draft, ...], setting: Setting, joining: Joining, tell: Tell) -> None:
    """Write, enable, start, and wait until it is ready. Raises InterceptorError where it does not
    become so; the files stay then, for whoever looks for the reason."""
    footprint = open_footprint(setting.root)
    run_dir = joining.config.agent.run_dir
    note: dict[str, object] = {"member": joining.member, "run_dir": str(run_dir)}
    if not footprint:
        state = _observe(setting)
        note |= {"enabled": state.is_enabled, "active": state.is_active}
        note["logs"] = (setting.root / LOGS.relative_to(HOST)).exists()
    footprint.write(drafts, [STATE], note)
    for draft in drafts:
        tell(f"wrote {draft.path}")
    if not setting.is_started:
        return
    if setting.is_host:
        unit.apply("daemon-reload")
    if not _observe(setting).is_enabled:
        tell(_said(unit.apply("enable", UNIT, setting.root).stderr, f"enabled {UNIT}"))
    if setting.is_host:
        limit_s = max(setting.timeout_s, unit.ORDER_LIMIT_S)
        done = unit.apply("restart", UNIT, limit_s=limit_s)
        if not done:
            raise InterceptorError(_failure(f"does not start: {done.stderr}"))
        tell(f"started {UNIT}")
        _await_ready(joining.config, setting.timeout_s)


def _said(error: str, otherwise: str) -> str:
    return error.strip() or otherwise


def _failure(reason: str) -> str:
    told = unit.read_journal(UNIT).rstrip()
    return (
        f"{told}\n{UNIT}: {reason.strip()}\n"
        "the files stay as they are, and it is tried again; `interceptor leave` undoes all of it"
    )


def _await_ready(config: Config, limit_s: float) -> None:
    """Until the daemon is a member by its own word. Raises InterceptorError with what it lacks."""
    end = time.monotonic() + limit_s
    while True:
        try:
            lacks = find_obstacle(control.request(config.agent.run_dir, "GET", "/status"))
        except InterceptorError as error:
            lacks = str(error)
        if not lacks:
            return
        if time.monotonic() > end:
            raise InterceptorError(_failure(f"no member after {limit_s:g} s: {lacks}"))
        time.sleep(POLL_S)


def find_obstacle(status: object) -> str:
    """What a daemon that runs is no member for, by its status; empty where it is one. A group
    that istiod does not know is told here, or a token that it does not take."""
    tree = status if isinstance(status, dict) else {}
    plane, identity, workload = (
        tree.get(key) or {} for key in ("control_plane", "identity", "workload")
    )
    found = [] if tree.get("ready") else [str(tree.get("why") or "it is not ready")]
    if plane.get("connected") is False:
        found.append(f"control plane {plane.get('address')}: {plane.get('last_error', '')}")
    if identity.get("provider") in ("istiod", "local") and not identity.get("not_after"):
        found.append(f"no certificate yet: {identity.get('last_error', '')}")
    if workload.get("problem"):
        found.append(f"registration: {workload['problem']}")
    return "\n  ".join(found)


def leave(root: Path, tell: Tell) -> None:
    """Stop the service unless it ran before, and make the host what it was. Raises
    InterceptorError where a daemon that systemd knows nothing of still runs."""
    footprint = open_footprint(root)
    if not footprint:
        footprint.revert()  # what a join left that came no further
        raise InterceptorError("this host has not joined: there is nothing to undo")
    is_host = root == HOST
    was_active, was_enabled = (footprint.note.get(key) is True for key in ("active", "enabled"))
    has_systemd = is_host and unit.is_running()
    if has_systemd:
        _stop(tell)
    if is_host:
        _check_ended(Path(str(footprint.note.get("run_dir", Config().agent.run_dir))))
    if (has_systemd or not is_host) and not was_enabled:
        setting = Setting(root)
        if _observe(setting).is_enabled:
            unit.apply("disable", UNIT, root)
            tell(f"disabled {UNIT}")
    had_logs = footprint.note.get("logs") is True
    paths = len(footprint)
    for line in footprint.revert():
        tell(line)
    tell(f"put back {paths} paths as they were")
    _end_logs(root, had_logs, tell)
    if has_systemd:
        unit.apply("daemon-reload")
        if was_active:
            done = unit.apply("start", UNIT)
            tell(_said(done.stderr, f"started {UNIT} as it was before"))


def _stop(tell: Tell) -> None:
    if unit.observe(UNIT).is_active:
        done = unit.apply("stop", UNIT)
        tell(_said(done.stderr, f"stopped {UNIT}"))
    unit.apply("reset-failed", UNIT)


def _check_ended(run_dir: Path) -> None:
    """A daemon that goes on would write to what is put back; rules that one left are removed."""
    if pid := lock.holder(run_dir / lock.NAME):
        raise InterceptorError(f"a daemon still runs (pid {pid}): end it, then leave")
    if os.geteuid() == 0:
        assembly.clean_host(Config())


def _end_logs(root: Path, were_there: bool, tell: Tell) -> None:
    place = root / LOGS.relative_to(HOST)
    if were_there or not place.is_dir():
        return
    try:
        place.rmdir()
    except OSError:
        tell(f"{LOGS} stays: there are logs in it")
