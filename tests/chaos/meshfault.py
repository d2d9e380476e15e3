"""Faults of the mesh: its documents change, are wrong, or are gone."""

from __future__ import annotations

from time import monotonic

from tests.chaos import mesh
from tests.chaos import stage as stages
from tests.chaos.schedule import Kind, Step
from tests.chaos.stage import Stage, Undo


def endpoints(stage: Stage, step: Step) -> None:
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
    if Kind.NO_DOCUMENTS in stage.is_busy:
        raise stages.NoVictim("documents")


def host_gone(stage: Stage, step: Step) -> Undo:
    number = int(step.variant)
    _free(stage, number)
    stage.history.tell(number, monotonic(), None)
    (stage.place.agent.mesh / f"h{number}.yaml").unlink()
    return lambda: _document(stage, number, stage.history.last(number) + 1)


def wrong_document(stage: Stage, step: Step) -> Undo:
    if step.variant == "x":
        stages.alone(stage, step)
        file = stage.place.agent.mesh / "broken.yaml"
        return stages.lasting(stage, step, lambda: stage.write(file.name, mesh.WRONG), file.unlink)
    number = int(step.variant)
    _free(stage, number)
    stage.history.spoil(number, monotonic())
    stage.write(f"h{number}.yaml", mesh.WRONG)

    def mend() -> None:
        stage.history.mend(number, monotonic())
        _document(stage, number, stage.history.last(number) + 1)

    return mend


def no_documents(stage: Stage, step: Step) -> Undo:
    if stage.history.is_disturbed or stage.is_busy & {Kind.WRONG_DOCUMENT, Kind.NO_DOCUMENTS}:
        raise stages.NoVictim("documents")
    stages.alone(stage, step)
    folder = stage.place.agent.mesh
    kept = {file.name: file.read_text() for file in folder.glob("*.yaml")}

    def empty() -> None:
        for name in kept:
            (folder / name).unlink()

    def restore() -> None:
        for name, text in kept.items():
            if name != "pool.yaml":
                stage.write(name, text)
        stage.write("pool.yaml", mesh.render_pool(stage.history.pool()))

    return stages.lasting(stage, step, empty, restore)
