"""Faults of the host: links, addresses, other people's firewalls, its resolver."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from time import monotonic

from interceptor.lab.world import SWITCH
from tests.chaos import command, cost, process, world
from tests.chaos import stage as stages
from tests.chaos.schedule import Step
from tests.chaos.stage import BOTH, Stage, Undo
from tests.chaos.window import Effect


def link_down(stage: Stage, step: Step) -> Undo:
    stages.alone(stage, step)

    def down() -> None:
        for host in BOTH:
            stage.ip(host, "link set eth0 down\n")
        stage.life.empty_queue(stages.name(step))

    def up() -> None:
        for host in BOTH:
            stage.ip(host, command.addresses(host))

    return stages.lasting(stage, step, down, up)


def no_carrier(stage: Stage, step: Step) -> Undo:
    stages.alone(stage, step)

    def turn(how: str) -> Undo:
        return lambda: stage.ip(SWITCH, "".join(f"link set {host} {how}\n" for host in BOTH))

    return stages.lasting(stage, step, turn("down"), turn("up"))


def address(stage: Stage, step: Step) -> Undo:
    stages.alone(stage, step)

    def turn(which: int) -> Undo:
        def change() -> None:
            for host in BOTH:
                stage.ip(host, command.address(host, step.variant)[which])

        return change

    return stages.lasting(stage, step, turn(0), turn(1))


def device(stage: Stage, step: Step) -> Undo:
    stages.alone(stage, step)
    return stages.lasting(
        stage,
        step,
        lambda: stage.sh(command.device(step.variant), BOTH),
        lambda: stage.sh("ip link del chaos0", BOTH),
    )


def uplink(stage: Stage, step: Step) -> Undo:
    """Two short troubles: the way to the resolvers changes, and changes back."""
    stages.alone(stage, step)
    after_s: Mapping[Effect, float] = cost.of(step, stage.backend)
    lab = stage.place.lab

    def noted(do: Undo) -> None:
        trouble = stage.ledger.open(stages.name(step), monotonic(), after_s)
        do()
        trouble.end_s = monotonic()

    def plug() -> None:
        for host in BOTH:
            switch, lines = command.uplink(host, lab.namespace(host))
            stage.ip(SWITCH, switch)
            stage.ip(host, lines)

    def pull() -> None:
        noted(lambda: stage.ip(SWITCH, "".join(f"link del up-{host}\n" for host in BOTH)))
        stage.life.empty_queue(stages.name(step))
        stage.is_busy.discard(step.kind)

    noted(plug)
    return pull


def flush(stage: Stage, step: Step) -> None:
    trouble = stages.open_trouble(stage, step)
    if step.variant in command.EVERYWHERE:
        stage.sh(command.EVERYWHERE[step.variant], BOTH)
    else:
        stage.sh(command.OURS[step.variant])
    trouble.end_s = monotonic()
    stage.life.empty_queue(stages.name(step))


def resolver_restart(stage: Stage, step: Step) -> Undo:
    """The first resolver; dnsmasq is ready as soon as it has its sockets."""
    stages.alone(stage, step)
    lab = stage.place.lab

    def kill() -> None:
        for pid in lab.pids("dns"):
            process.send(pid, signal.SIGKILL)

    return stages.lasting(stage, step, kill, lambda: lab._serve_names(lab.world.host("dns")))


def resolv_conf(stage: Stage, step: Step) -> None:
    stage.which_resolver ^= 1
    text = world.render_resolv_conf(stage.which_resolver)
    trouble = stages.open_trouble(stage, step)
    link = stage.place.resolv_conf
    if step.variant == "rewrite":
        link.resolve().write_text(text)
    else:
        stage.swaps += 1
        target = link.with_name(f"resolv-{stage.swaps}")
        target.write_text(text)
        part = link.with_name("resolv.part")
        part.symlink_to(target.name)
        part.rename(link)
    trouble.end_s = monotonic()
