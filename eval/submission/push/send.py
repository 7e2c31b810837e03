"""To the hub: the bundle becomes branch main, each revision a branch of its own, and what arrived is verified.

    python -m eval.submission push runs/nursery --repo USER/NAME --dry-run   # what would go where; sends nothing
    python -m eval.submission push runs/nursery --repo USER/NAME

The token is that of `hf auth login`, of HF_TOKEN or of --token-file; HF_ENDPOINT names another hub. What is wrong here
is found before anything is sent. A second call sends only what is not there with these very bytes. README.md is the
bundle's, but says how to load from USER/NAME; that of a revision names the revision and claims no scores.
"""

import argparse
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.hub import refuse_bad_endpoint
from babylm_data.status import tell
from eval.submission.push.branches import Branch, doubts, planned
from eval.submission.push.repository import Repository


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `push`."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a finished run with its submission/")
    parser.add_argument("--repo", required=True, metavar="USER/NAME", help="made if it does not exist")
    parser.add_argument("--dry-run", action="store_true", help="say what would go where; send nothing")
    parser.add_argument(
        "--partial",
        action="store_true",
        help="also a bundle that is no submission: parts are missing, or it is of a trial or outside the competition",
    )
    parser.add_argument("--private", action="store_true", help="make the repository private")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="holds the token and nothing else")


@dataclass(frozen=True)
class PushRequest:
    """A run with its bundle, and the repository that it goes to."""

    run: Path
    repo: str
    dry_run: bool = False
    partial: bool = False
    private: bool = False
    token_file: Path | None = None


def show_or_push(request: PushRequest) -> None:
    """Show what would be pushed, or push it."""
    check_name(request.repo)
    refuse_bad_endpoint()
    branches = planned(request.run, request.repo)
    if (lines := doubts(request.run)) and not request.partial:
        print("\n".join(lines))
        raise UserError(
            f"{request.run / 'submission'} is no submission, for the {len(lines)} reasons above: "
            "build it whole, or pass --partial"
        )
    if request.dry_run:
        print(f"{request.repo} would become as follows; nothing is sent")
        for branch in branches:
            print(branch.described())
        return
    push(branches, request.repo, find_token(request.token_file), private=request.private)


def check_name(repo: str) -> None:
    """UserError unless `repo` can be the name of a repository."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UserError(f"--repo: {error}") from None
    if "/" not in repo:
        raise UserError(f"--repo {repo}: name the owner too, USER/NAME or ORGANISATION/NAME")


def find_token(file: Path | None) -> str:
    """The token in `file`, else the one that huggingface_hub finds; UserError, which never quotes it, if none."""
    from huggingface_hub import get_token

    try:
        token = file.read_text(encoding="utf-8").strip() if file else get_token()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{file} cannot be read as a token ({type(error).__name__}): look at the file"
        ) from None
    if not token:
        remedy = "run `hf auth login`, set HF_TOKEN or pass --token-file"
        raise UserError(f"no token: make one that may write in the settings of your account, then {remedy}")
    if not re.fullmatch("[!-~]+", token):  # the HTTP client would quote it in its error
        raise UserError(f"{file or 'HF_TOKEN'} holds something else than one token: it is one word of ASCII")
    return token


def push(
    branches: list[Branch],
    name: str,
    token: str,
    *,
    private: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Send `branches` and verify each; UserError for the first that does not arrive whole."""
    from huggingface_hub import is_offline_mode

    if is_offline_mode():
        raise UserError("HF_HUB_OFFLINE is set: unset it to push")
    repo = Repository(name, token, sleep=sleep)
    with repo.clean_logs():
        open_repository(repo, [branch.name for branch in branches], private=private)
        for place, branch in enumerate(branches):
            tell(None, "push", name, place, len(branches), goes_on=True)
            print(branch.described(deliver(repo, branch)), flush=True)
    tell(None, "push", name, len(branches), len(branches), goes_on=False)
    print(f"pushed to {repo.api.endpoint}/{name}")


def open_repository(repo: Repository, names: list[str], *, private: bool) -> None:
    """Make the repository and the branches that it lacks, each from its first commit, which holds next to nothing."""
    api, name = repo.api, repo.name
    doing = f"opening {name}"
    create = partial(api.create_repo, name, private=private or None, exist_ok=True)
    repo.patiently(create, doing)
    if private and not repo.patiently(partial(api.repo_info, name), doing).private:
        raise UserError(
            f"{name} exists and is public: make it private in its settings, or leave out --private"
        )
    there = {branch.name for branch in repo.patiently(partial(api.list_repo_refs, name), doing).branches}
    if missing := [branch for branch in names if branch not in there]:
        first = repo.patiently(partial(api.list_repo_commits, name), doing)[-1].commit_id
        for branch in missing:
            create = partial(api.create_branch, name, branch=branch, revision=first, exist_ok=True)
            repo.patiently(create, f"making branch {branch}")


def deliver(repo: Repository, branch: Branch) -> set[str]:
    """Make one commit of what the branch lacks, once more if it arrived as something else; the paths that were sent."""
    sent: set[str] = set()
    for _ in range(2):
        if not repo.patiently(partial(commit, repo, branch, sent), f"branch {branch.name}"):
            return sent
    lacking, others = repo.patiently(partial(differences, repo, branch), f"branch {branch.name}")
    if wrong := lacking or others:
        raise UserError(
            f"branch {branch.name}: {wrong[0]} is not there as it is here though it was sent twice: push again later"
        )
    return sent


def commit(repo: Repository, branch: Branch, sent: set[str]) -> bool:
    """One try: look, send what is missing, remove what is no part of it; False if all was right. Adds to `sent`.

    It looks first each time, so that a commit whose answer was lost is not made twice.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    lacking, others = differences(repo, branch)
    if not (lacking or others):
        return False
    operations = [CommitOperationAdd(path, branch.files[path].source) for path in lacking]
    operations += [CommitOperationDelete(path) for path in others]
    sent.update(lacking)
    repo.api.create_commit(repo.name, operations, commit_message=branch.message, revision=branch.name)
    return True


def differences(repo: Repository, branch: Branch) -> tuple[list[str], list[str]]:
    """Which files the branch lacks or holds with other bytes, and which others it has and should not."""
    from huggingface_hub import RepoFile

    tree = repo.api.list_repo_tree(repo.name, revision=branch.name, recursive=True)
    there = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
    lacking = [path for path, file in branch.files.items() if not file.is_at(there.get(path))]
    others = there.keys() - branch.files.keys()
    return lacking, sorted(filter(branch.is_stale, others))
