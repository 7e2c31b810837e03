"""The rows of one subtask, read where lm_eval asks for them: it loads this file by its path, from the task files.

Imports nothing of the kit, so that the `lm_eval` command can run the task files on its own.
"""

import json


def read(paths: list[str], fields: list[str], where: dict, **_) -> dict:
    """{"test": the `fields` of the rows of the JSON-lines files `paths` whose values are those of `where`}.

    The other fields are left out: their types may differ from row to row, which a table does not bear.
    """
    from datasets import Dataset

    rows = []
    for path in paths:
        with open(path, encoding="utf-8-sig") as file:
            rows += [json.loads(line) for line in file if line.strip()]
    kept = [row for row in rows if all(row.get(key) == value for key, value in where.items())]
    return {"test": Dataset.from_list([{field: row[field] for field in fields} for row in kept])}
