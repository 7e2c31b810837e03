"""Why a run is no entry of the competition, whatever it scores: what its bundle, card, report and push all say."""


def trial(summary: dict) -> list[str]:
    """Why the run was one for trying, a line each; [] if it was not. `summary`: its summary.json."""
    scale = summary.get("words_scale") or 1
    return [f"the revisions stand at {scale} times the words of their names"] if scale != 1 else []


def outside(summary: dict, words: dict | None = None) -> list[str]:
    """Why the run is outside the competition, a line each; [] if it is not. `words`: its ledger, where there is one.

    What the student itself read must be within the track; whether the teachers count too is left open by the rules.
    """
    asked = summary.get("competition", True)
    lines = [] if asked else ["trained with `competition: false`, without regard to the track's limits"]
    for key, check in words["readings"]["student_alone"].items() if words else ():
        if check["within"] is False:
            what = f"{key.replace('_', ' ')} of the student"
            lines.append(f"{what}: {counted(check['value'])}, the track allows {check['budget']:,}")
    return lines


def counted(value: float | None) -> str:
    """A value of the ledger as people write it."""
    if value is None:
        return "nobody can tell"
    return f"{value if isinstance(value, int) else round(value, 2):,}"


def caveats(summary: dict, words: dict | None = None) -> list[str]:
    """Both, each line with which of them it is."""
    lines = [f"a trial: {line}" for line in trial(summary)]
    return lines + [f"outside the competition: {line}" for line in outside(summary, words)]
