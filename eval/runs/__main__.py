"""python -m eval.runs

All runs below a folder in one table: what they are, how far they have come, what they scored.

reads   DIR               [runs]
writes  a table, the newest run last"""

from pathlib import Path

from babylm_data.errors import UserError, parser_of, run_stage


def main(argv: list[str]) -> None:
    """Read every run folder, print a line for each."""
    parse = parser_of("eval.runs", __doc__)
    parse.add_argument("folder", nargs="?", type=Path, default=Path("runs"), metavar="DIR", help="[runs]")
    args = parse.parse_args(argv)

    from eval.runs.overview import overview, read_rows

    if not (rows := read_rows(args.folder)):
        raise UserError(f"{args.folder} holds no run: name the folder that has them")
    print(overview(rows))


if __name__ == "__main__":
    run_stage(main)
