"""Faults of the mesh: its documents change, are wrong, or are gone."""

from __future__ import annotations

from time import monotonic

from tests.chaos import mesh
from tests.chaos import stage as stages
from tests.chaos.schedule import Kind, Step
from tests.chaos.stage import Stage, Undo

READ_S = 3.0


def endpoints(stage: Stage, step: Step) -> None:
    _there(stage)
    every = tuple(mesh.POOL_BACKENDS)
    pools = [pool for pool in (every, every[:1], every[1:]) if pool != stage.history.pool()]
    pool = stage.chance.choice(pools)
    stage.history.tell_pool(monotonic(), pool)
    stage.write("pool.yaml", mesh.render_pool(pool))


def _document(stage: Stage, number: int, generation: int) -> None:
    stage.history.tell(number, monotonic(), generation)
    stage.write(f"h{number}.yaml", mesh.render_host(number, generation))


def host_moved(stage: Stage, step: Step) -> None:
    number = int(step.variant)
    _free(stage, number)
    _document(stage, number, stage.history.last(number) + 1)


def _free(stage: Stage, number: int) -> None:
    """Its document is there, and right."""
    if stage.history.now(number) is None or number in stage.history.wrong:
        raise stages.NoVictim(f"host {number}")
    _there(stage)


def _there(stage: Stage) -> None:
    """There are documents to be changed."""
    if Kind.NO_DOCUMENTS in stage.is_busy:
        raise stages.NoVictim("documents")


def _known(stage: Stage) -> None:
    """The agent has read, and could write down, what the documents say: that is to hold now."""
    changed_s, life = stage.history.changed_s, stage.life
    is_kept = not life.impaired and changed_s >= life.lifted_s
    is_read = stage.ledger.settle(changed_s, READ_S) < monotonic()
    if not (is_kept and is_read and life.is_ready):
        raise stages.NoVictim("a table that is known")


def host_gone(stage: Stage, step: Step) -> Undo:
    number = int(step.variant)
    _free(stage, number)
    stage.history.tell(number, monotonic(), None)
    (stage.place.agent.mesh / f"h{number}.yaml").unlink()
    return lambda: _document(stage, number, stage.history.last(number) + 1)


def wrong_document(stage: Stage, step: Step) -> Undo:
    _there(stage)
    if step.variant == "x":
        stages.alone(stage, step)
        file = stage.place.agent.mesh / "broken.yaml"
        return stages.lasting(stage, step, lambda: stage.write(file.name, mesh.WRONG), file.unlink)
    number = int(step.variant)
    _free(stage, number)
    _known(stage)
    stage.history.wrong.add(number)
    stage.write(f"h{number}.yaml", mesh.WRONG)

    def mend() -> None:
        stage.history.wrong.discard(number)
        _document(stage, number, stage.history.last(number) + 1)

    return mend


def no_documents(stage: Stage, step: Step) -> Undo:
    """All at once, as a mount that is gone: what they said last holds, over restarts, too."""
    if stage.history.is_disturbed or Kind.WRONG_DOCUMENT in stage.is_busy:
        raise stages.NoVictim("documents")
    _known(stage)
    stages.alone(stage, step)
    folder = stage.place.agent.mesh
    kept = folder.with_name("mesh-kept")

    def empty() -> None:
        folder.rename(kept)
        folder.mkdir(mode=0o755)

    return stages.lasting(stage, step, empty, lambda: kept.rename(folder))
