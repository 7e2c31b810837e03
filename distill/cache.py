"""Run the teachers of a config once over its text and keep their soft targets, to be read in training.

    python -m distill.cache distill/configs/nursery-cached.yaml
    python -m distill.cache CONFIG teachers.llama.cache.top=8 teachers.llama.cache.path=runs/llama-top8

Writes the folders that `teachers.NAME.cache` names; a run of `python -m distill` with the same config reads them, and
so does any other with the same data, teachers, sequence length, offsets, held-out sequences and temperature, whatever
its seed or student. One that was stopped goes on with the same command.
"""

from babylm_data.errors import parser_of, run_stage
from babylm_data.tokens import read_manifest
from distill.config import DistillConfig
from train_teachers.config import load_config


def main(argv: list[str]) -> None:
    """Parse, load the config, write each cache that is not there."""
    parser = parser_of("distill.cache", __doc__)
    parser.add_argument("config", help="YAML file with a cache for at least one teacher")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value", help="change fields of the config")
    args = parser.parse_args(argv)
    config = load_config(DistillConfig, args.config, args.overrides)
    read_manifest(config.data.path)

    from distill.cache_writer import write_caches

    write_caches(config)


if __name__ == "__main__":
    run_stage(main)
