"""What `python -m eval.probe` wrote of a run, if it is of the weights that the run has now."""

from pathlib import Path

from eval.results.json_files import damage_named, read_json, require
from eval.scorer.model import model_sha256

FILE = Path("probe", "probe.json")
FORMAT = 2
KEYS = (
    "format",
    "command",
    "device",
    "processor",
    "threads",
    "left_out",
    "text",
    "positions",
    "states",
    "drawn",
)
KEYS += ("masked", "models", "alikeness", "samples")


def read_probe(run: Path) -> tuple[dict | None, str | None]:
    """What was found, or why it is not shown; neither where nobody looked."""
    path, remedy = run / FILE, f"look again with `python -m eval.probe {run}`"
    if not path.is_file():
        return None, None
    found = read_json(path, remedy, ["format"])
    if found["format"] != FORMAT:
        return None, f"{path} is of another version: {remedy}"
    require(found, KEYS, str(path), remedy)
    with damage_named(path, remedy):
        if found["models"][0]["model_sha256"] != model_sha256(run / "export"):
            return None, f"{path} is of another model than export/: {remedy}"
    return found, None
