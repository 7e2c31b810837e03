"""The report about a finished run, or about one that is at work.

python -m eval.report runs/nursery                    # writes runs/nursery/report.html
python -m eval.report runs/nursery --watch            # writes live.html there every ten seconds while the run trains
"""

from pathlib import Path

from babylm_data.errors import parser_of, positive, run_stage
from babylm_data.sealed import write_whole
from babylm_data.status import in_one


def main(argv: list[str]) -> int:
    parser = parser_of("eval.report", __doc__)
    parser.add_argument(
        "run",
        type=Path,
        metavar="RUN",
        help="a student's run folder, finished and scored; with --watch any run's",
    )
    parser.add_argument("--out", type=Path, help="the page to write [RUN/report.html, RUN/live.html]")
    parser.add_argument(
        "--watch", action="store_true", help="curves alone, written anew until the run is finished"
    )
    parser.add_argument(
        "--every", type=positive, default=10, metavar="SECONDS", help="with --watch, how often [10]"
    )
    arguments = parser.parse_args(argv)
    out = arguments.out or arguments.run / ("live.html" if arguments.watch else "report.html")
    if arguments.watch:
        from eval.report.live import watch

        watch(arguments.run, out, arguments.every)
        return 0

    from eval.report.page import page
    from eval.runs.lineup import read_lineup

    with in_one("report", arguments.run.name):
        write_whole(out, page(read_lineup(arguments.run)))
    print(f"wrote {out}")
    return 0


if __name__ == "__main__":
    run_stage(main)
