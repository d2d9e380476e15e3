"""What becomes of the capture when its daemon is lost for longer than the lease."""

from __future__ import annotations

from interceptor import assembly
from interceptor.capture import fact, plan
from interceptor.capture.backend import Choice
from interceptor.config import Config
from interceptor.host.lifeline import RELEASE


def words(config: Config, choice: Choice) -> tuple[str, ...]:
    """What the supervisor has to know, so that a long loss lets go of what is captured: rules
    of netfilter cannot see that nobody looks after them. Programs do."""
    if config.agent.on_agent_loss == "keep" or (choice.tcp, choice.dns) == ("ebpf", "ebpf"):
        return ()
    return (f"{RELEASE}{config.agent.lease_s}",)


def release(config: Config) -> int:
    """Capture nothing new; what is open goes on. Returns the exit code."""
    built = plan.build(config, fact.facts(config))
    assembly.open_backend(config, assembly.choose(config)).apply(built.released())
    return 0
