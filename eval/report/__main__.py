"""The report about a finished run.

python -m eval.report runs/nursery                    # writes runs/nursery/report.html
"""

from pathlib import Path

from babylm_data.errors import parser_of, run_stage
from babylm_data.sealed import write_whole
from babylm_data.status import in_one


def main(argv: list[str]) -> int:
    parser = parser_of("eval.report", __doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a student's run folder, finished and scored")
    parser.add_argument("--out", type=Path, help="the page to write (default: RUN/report.html)")
    arguments = parser.parse_args(argv)

    from eval.report.page import page
    from eval.runs.lineup import read_lineup

    out = arguments.out or arguments.run / "report.html"
    with in_one("report", arguments.run.name):
        write_whole(out, page(read_lineup(arguments.run)))
    print(f"wrote {out}")
    return 0


if __name__ == "__main__":
    run_stage(main)
