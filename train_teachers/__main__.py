"""Train one language model from scratch: a teacher, or any model with the hard loss alone.

    python -m train_teachers train_teachers/configs/nursery-llama.yaml
    python -m train_teachers train_teachers/configs/nursery-llama.yaml seed=1 name=nursery-llama-1 optim.lr=1e-3
    python -m train_teachers train_teachers/configs/babyllama-58m-gpt2.yaml --check   look before you train
    accelerate launch -m train_teachers CONFIG.yaml          the same on several GPUs

Reads the data folder named in the config, writes runs/<name>/ (export/ is the Hugging Face folder). A run that was
stopped goes on with the same command.
"""

from babylm_data.errors import parser_of, run_stage
from babylm_data.tokens import read_manifest
from train_teachers.config import TrainConfig, describe, load_config


def main(argv: list[str]) -> int | None:
    """Parse, load the config, train."""
    parser = parser_of("train_teachers", __doc__, "fields of the config:\n" + describe(TrainConfig))
    parser.add_argument("config", help="YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value", help="change fields of the config")
    parser.add_argument(
        "--check",
        action="store_true",
        help="load everything, audit the gradients of one sequence, write nothing; data and first weights that are "
        "not there become random ones of the declared shape, and the exit status is 3",
    )
    args = parser.parse_intermixed_args(argv)
    config = load_config(TrainConfig, args.config, args.overrides)
    if not args.check:  # a wrong path is told at once: to load torch takes seconds
        read_manifest(config.data.path)

    from train_teachers.objective import hard_alone
    from train_teachers.stage import check, run_training

    if args.check:
        from train_teachers.stand_ins import filled_in, verdict

        with filled_in(config) as (filled, _):
            check(filled, hard_alone)
        return verdict(config, filled)
    run_training(config, kind="teacher", make_objective=hard_alone)


if __name__ == "__main__":
    run_stage(main)
