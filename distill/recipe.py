"""Train all that a config needs, one after another: its teachers, its control, its caches, and itself.

    python -m distill.recipe distill/configs/born-again.yaml                     whoever its teachers are
    python -m distill.recipe distill/configs/ensemble-3.yaml --at-once 2         or several beside each other

What is finished is passed over, what was stopped goes on by the same command. The data come first: the first lines of
the config say by which command.
"""

from babylm_data.errors import UserError, parser_of, positive, run_stage
from babylm_data.tokens import read_manifest
from distill.study import STUDIES


def main(argv: list[str]) -> int:
    """Train what is left; 1 if a run failed."""
    parser = parser_of("distill.recipe", __doc__)
    parser.add_argument("config", metavar="CONFIG", help="YAML file, such as those in distill/configs/")
    parser.add_argument(
        "overrides", nargs="*", metavar="key.path=value", help="fields of the config; name= gives a new run"
    )
    parser.add_argument("--at-once", type=positive, default=1, metavar="N", help="train so many at once [1]")
    args = parser.parse_intermixed_args(argv)

    from distill.course import finish
    from distill.jobs import jobs_of_config, made_otherwise

    jobs = jobs_of_config([args.config, *args.overrides], control=True)
    student = list(jobs.values())[-1].config
    read_manifest(student.data.path)
    if others := made_otherwise(jobs):
        raise UserError(others)
    return finish(jobs, STUDIES / student.name, args.at_once)


if __name__ == "__main__":
    run_stage(main)
