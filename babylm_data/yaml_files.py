"""YAML as people leave it: a table, or one line that says what is wrong with it."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import UserError
from babylm_data.files import utf8_text

if TYPE_CHECKING:
    from omegaconf import DictConfig

DEEPEST = 50  # tables and lists in one another


def read_table(path: Path) -> "DictConfig":
    """The table in a YAML file."""
    return parse_table(utf8_text(path, "save it as UTF-8"), path)


def parse_table(text: str, what: Path | str) -> "DictConfig":
    """The table that a YAML text is; UserError, beginning with `what`, if it is none."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import MarkedYAMLError, YAMLError

    try:
        refuse_deep(text, what)
        table = OmegaConf.load(io.StringIO(text))
    except MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{what}{line}: no YAML ({' '.join((error.problem or 'damaged').split())})") from None
    except (YAMLError, OmegaConfBaseException, ValueError, OSError) as error:
        raise UserError(f"{what}: {' '.join(str(error).split())}") from None
    if not OmegaConf.is_dict(table):
        raise UserError(f"{what}: not a table of `key: value` lines")
    return table


def refuse_deep(text: str, what: Path | str) -> None:
    """UserError for YAML that is nested beyond any config: its readers go as deep, and crash."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise UserError(f"{what}: nested too deeply, more than {DEEPEST} tables and lists in one another")
