"""What a run was made from: its teachers and its first weights, found again by their hashes."""

from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.yaml_files import parse_table
from eval.runs.run_folder import Run, locate, read_run, weights


def taught_by(run: Run) -> list[Path]:
    """The run folders of a run's teachers; refused if one's weights are not those that taught it."""
    folders = []
    for teacher in run.summary.get("teachers") or []:
        folder, inside = made_from(run, f"teacher {teacher['name']}", teacher["path"])
        if inside != "export":
            raise UserError(
                f"teacher {teacher['name']} of {run.name} is {folder / inside}, and every table would have the final "
                "model in its place: teach with the export of a run"
            )
        folders.append(folder)
    return folders


def begun_from(run: Run) -> tuple[Path, str] | None:
    """The run folder that a run's first weights are from, and where in it they lie; None if they are fresh, or are from
    elsewhere, so that nobody can tell what they had read.
    """
    if not (init := plain_config(run).get("init")):
        return None
    if run.summary.get("words_before", 0) is None:
        found = inside_a_run(init["path"])
        if not found or not (locate(str(found[0]), run.folder) / "summary.json").is_file():
            return None
    return made_from(run, "init", init["path"])


def inside_a_run(path: str) -> tuple[Path, str] | None:
    """The run folder that `path` lies in by its name, and where in it: its export or a revision; else None."""
    place = Path(path)
    if place.name == "export":
        return place.parent, place.name
    if place.parent.name == "revisions":
        return place.parent.parent, f"revisions/{place.name}"
    return None


def made_from(run: Run, what: str, path: str) -> tuple[Path, str]:
    """The run folder of `path`, which a run was made from ("teacher NAME" or "init"), and where in it that lies."""
    if not (found := inside_a_run(path)):
        raise UserError(
            f"{what} of {run.name} ({path}) is no run of this kit, so nobody can count the words "
            "that it read: train one with `python -m train_teachers CONFIG.yaml`"
        )
    (named, inside), digest = found, run.inputs.get(what)
    folder = locate(str(named), run.folder, lambda place: weights(place / inside) == digest)
    if (folder / inside).is_dir() and weights(folder / inside) != digest:
        raise UserError(
            f"{folder / inside} is not the {what} that {run.name} was made from: "
            f"put that one back, or delete {run.folder} and train it again"
        )
    return folder, inside


def forebears_of(student: Run, teachers: list[Run]) -> list[Run]:
    """What the student and its teachers were made from in turn, to any depth, each once; not the teachers."""
    known = {run.folder.resolve() for run in teachers}
    found, waiting = [], [student, *teachers]
    while waiting:
        run = waiting.pop(0)
        origins = [(path, "teacher's teacher") for path in taught_by(run)]
        if first := begun_from(run):
            origins.append((first[0], "first weights"))
        for path, role in origins:
            if path.resolve() not in known:
                known.add(path.resolve())
                found.append(read_run(path, role, scored=False))
                waiting.append(found[-1])
    return found


def plain_config(run: Run) -> dict:
    """A run's config as a plain table."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(parse_table(run.config, run.folder / "config.yaml"))
