"""Distil frozen teachers into a student.

    python -m distill distill/configs/nursery.yaml
    python -m distill distill/configs/nursery.yaml --control          the same student without distillation
    python -m distill distill/configs/nursery.yaml --check            look before you train
    python -m distill distill/configs/nursery.yaml losses.soft.temperature=1.0 name=nursery-t1
    accelerate launch -m distill CONFIG.yaml                         the same on several GPUs

Reads the data folder and the teachers named in the config, writes runs/<name>/ (export/ is the Hugging Face
folder of the student). A run that was stopped goes on with the same command.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import UserError, parser_of, run_stage
from babylm_data.tokens import read_manifest
from distill.config import DistillConfig
from train_teachers.config import describe, load_config

if TYPE_CHECKING:
    from train_teachers.stage import MakeObjective


def main(argv: list[str]) -> int | None:
    """Parse, load the config, train the student or its control."""
    parser = parser_of("distill", __doc__, "fields of the config:\n" + describe(DistillConfig))
    parser.add_argument("config", help="YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value", help="change fields of the config")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--control", action="store_true", help="train the student with the hard loss alone")
    instead.add_argument(
        "--check",
        action="store_true",
        help="load everything, audit the gradients of one sequence, write nothing; data and models that are not "
        "there become random ones of the declared shape, and the exit status is 3",
    )
    args = parser.parse_intermixed_args(argv)  # key=value may stand behind an option
    config = load_config(DistillConfig, args.config, args.overrides)
    if not args.check:  # a wrong path is told at once: to load torch takes seconds
        read_manifest(config.data.path)
        if not args.control:
            refuse_untrained(config)

    from train_teachers.stage import check, run_training

    if args.check:
        from distill.stand_ins import filled_in
        from train_teachers.stand_ins import verdict

        with filled_in(config) as filled:
            check(filled, objective_of(filled))
        return verdict(config, filled)
    if args.control:
        run_training(config.control(), kind="control", make_objective=objective_of(config.without_teachers()))
        return
    run_training(
        config,
        kind="student",
        make_objective=objective_of(config),
        extra=lambda: {
            "teachers": [{"name": name, "path": teacher.path} for name, teacher in config.teachers.items()],
            "caches": caches_of(config),
            "control": f"runs/{config.control().name}",
        },
    )


def refuse_untrained(config: DistillConfig) -> None:
    """UserError for a teacher of this folder that a run that is not finished lacks, unless it is read from a cache."""
    for name, teacher in config.teachers.items():
        lacking = teacher.path.startswith("runs/") and not (teacher.cache or Path(teacher.path).is_dir())
        if lacking and not Path("runs", config.name, "summary.json").exists():
            raise UserError(
                f"teacher '{name}': {teacher.path} does not exist: train it first, or all that this config needs with "
                "`python -m distill.recipe`"
            )


def caches_of(config: DistillConfig) -> list[dict]:
    """What the soft targets of a run were made by, if not by it: kind, teachers, words read, FLOPs."""
    from distill.soft_targets import read_cache

    found = []
    for path, names in config.caches.items():
        identity, made = read_cache(Path(path))
        found.append(
            {"path": path, "teachers": names, "kind": identity.kind, "count": identity.count, **made}
        )
    return found


def objective_of(config: DistillConfig) -> "MakeObjective":
    """What makes the objective, once there is a student."""
    from distill.objective import DistillObjective
    from distill.teachers import Teachers

    return lambda student, fingerprint, device, targets: DistillObjective(
        config, Teachers(config, fingerprint, student.config.vocab_size, device), student, targets
    )


if __name__ == "__main__":
    run_stage(main)
