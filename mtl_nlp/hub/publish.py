"""A model folder becomes a Hub repository: one commit, nothing private in it, never made twice."""

import json
import logging
import re
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2
import yaml
from huggingface_hub import CommitOperationAdd, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from mtl_nlp.errors import HubError, ModelError

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

MESSAGE = "Upload model"
TRIES = 5
LONGEST_WAIT = 300.0  # seconds; the Hub counts its rate limits in windows of five minutes
PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}  # run code when they are loaded
TEMPORARY = {".tmp", ".temp", ".part", ".incomplete", ".lock", ".swp"}
PRIVATE_FOLDERS = {"checkpoints", "__pycache__"}
PRIVATE_FILES = {"log.jsonl", "state.json"}  # at the top: the log, and a checkpoint's own state


@dataclass(frozen=True)
class PushResult:
    """Where a model was published."""

    url: str  # the repository's page
    commit: str  # the commit's name, 40 hexadecimal digits


def push_folder(
    folder: Path,
    repo_id: str,
    *,
    private: bool | None = True,
    message: str = MESSAGE,
    token: str | None = None,
    revision: str | None = None,
    delay: float = 1.0,
    mend: str | None = None,
) -> PushResult:
    """Publishes a run, model or checkpoint folder as one commit, or none if all is there already.

    Sent is all but checkpoints, the log, what only resuming needs, pickles, hidden and temporary
    files; ``recipe.yaml`` goes with its local paths reduced to file names. Faults that pass (408,
    429, 5xx, lost connections) are tried again up to five times. The client compares each file
    with the branch before it commits, and a commit is made only on the head that was looked at:
    so one whose answer was lost is found again, not repeated.

    Args:
        folder: Holds ``config.json`` and whatever belongs to the model.
        repo_id: ``owner/name``, or ``name`` for the token's own account; made if it is missing.
        private: Whether a repository that is made now is private; one that exists stays as it is.
            None: as its owner has set for new ones.
        message: Title of the commit.
        token: A token that may write; by default the one of ``hf auth login`` or ``HF_TOKEN``.
        revision: Branch, made from ``main`` if it is missing; ``main`` by default.
        delay: Seconds before the second try, doubled before every further one.
        mend: The last sentence of an error; by default the command that pushes the folder again.

    Raises:
        ModelError: If the folder holds no model.
        HubError: If the Hub refuses or stays out of reach; tells how to push again.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder} is no model folder: config.json was expected in it; name the folder that "
            "training left, or one of its checkpoints"
        )
    again = ["mtl-nlp", "push", str(folder), repo_id, *(["--private"] if private else [])]
    again += ["--message", message] if message != MESSAGE else []
    secret = ""
    try:
        secret = _usable(token if token is not None else get_token())
        api = HfApi(token=secret)
        files = _files(folder)
        full_id = _retrying(
            lambda: api.create_repo(repo_id, private=private, exist_ok=True).repo_id, delay
        )
        if revision is not None:
            _retrying(lambda: api.create_branch(full_id, branch=revision, exist_ok=True), delay)
        commit = _retrying(lambda: _commit(api, full_id, revision, files, message), delay)
    except Exception as error:  # the client's kinds are many, and none may cost a finished run
        reason = _reason(error, repo_id)
        leaks = bool(secret) and secret in f"{reason} {error!r} {error.__cause__!r}"
        raise HubError(
            f"{folder if mend is None else 'the model'} was not pushed to {repo_id}: "
            f"{reason.replace(secret, '***') if leaks else reason}. "
            + (mend or f"The model is safe in {folder}; push it again with: {shlex.join(again)}")
        ) from (None if leaks else error)
    page = f"{api.endpoint}/{full_id}"
    return PushResult(page if revision is None else f"{page}/tree/{quote(revision)}", commit)


def _usable(token: str | None) -> str:
    """The token, or a refusal; a malformed one would be quoted in the client's own error."""
    if not token:
        raise HubError("no token was found; log in with `hf auth login`, or set HF_TOKEN")
    if not re.fullmatch(r"[!-~]+", token):
        raise HubError(
            "the token holds blanks, line ends or characters that no token has; "
            "log in anew with `hf auth login`, or set HF_TOKEN"
        )
    return token


def _files(folder: Path) -> dict[str, Path | bytes]:
    """What is published: path in the repository, to the file or to its content."""
    files: dict[str, Path | bytes] = {}
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if not path.is_file() or _kept_back(place):
            continue
        files[place.as_posix()] = path
    if isinstance(recipe := files.get("recipe.yaml"), Path):
        files["recipe.yaml"] = _published_recipe(recipe)
    return files


def _kept_back(place: Path) -> bool:
    return (
        any(part.startswith(".") for part in place.parts)
        or not PRIVATE_FOLDERS.isdisjoint(place.parts[:-1])
        or str(place) in PRIVATE_FILES
        or place.suffix.lower() in PICKLES | TEMPORARY
        or place.name.endswith("~")
    )


def _published_recipe(path: Path) -> bytes:
    """The recipe with its absolute paths reduced to file names, in `tasks` of types and metrics."""
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise HubError(
            f"{path} is not readable as YAML, so the local paths in it cannot be taken out: "
            "mend it or delete it"
        ) from error
    if not isinstance(recipe, dict):
        raise HubError(f"{path} is no recipe, but {type(recipe).__name__}: mend it or delete it")
    published = {
        key: _without_own_folders(value) if key == "tasks" else _without_folders(value)
        for key, value in recipe.items()
    }
    return yaml.safe_dump(published, sort_keys=False, allow_unicode=True).encode()


def _without_own_folders(tasks: Any) -> Any:
    """Tasks with the files of types and metrics reduced to their names; all else are names."""
    if not isinstance(tasks, dict):
        return tasks
    return {
        name: {
            key: _without_folders(value) if key in ("type", "metrics") else value
            for key, value in task.items()
        }
        if isinstance(task, dict)
        else task
        for name, task in tasks.items()
    }


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_folders(inner) for inner in value]
    if not isinstance(value, str):
        return value
    # "zip://train.jsonl::/home/me/all.zip" is how datasets writes a file inside an archive
    return "::".join(_file_name(part) for part in value.split("::"))


def _file_name(part: str) -> str:
    path = part.removeprefix("file://")
    absolute = PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()
    return PureWindowsPath(path).name if absolute or path.startswith("~") else part


def _commit(
    api: HfApi,
    repo_id: str,
    revision: str | None,
    files: dict[str, Path | bytes],
    message: str,
) -> str:
    """One commit on the branch's head, or the head itself if it holds the same files already."""
    head = api.repo_info(repo_id, revision=revision).sha
    # Made anew at every try: an operation keeps what it once learnt of the branch.
    additions = [CommitOperationAdd(place, content) for place, content in files.items()]
    made = api.create_commit(
        repo_id, additions, commit_message=message, revision=revision, parent_commit=head
    )
    return str(made.oid)


def _retrying(act: Callable[[], Result], delay: float) -> Result:
    for tries in range(1, TRIES):
        try:
            return act()
        except (httpx2.HTTPError, ValueError) as error:
            if not _passes(error):
                raise
            wait = max(delay * 2 ** (tries - 1), _asked_wait(error))
            what = _status(error) or type(error).__name__
            logger.warning("the Hub: %s; try %d of %d in %g s", what, tries + 1, TRIES, wait)
        time.sleep(wait)
    return act()


def _passes(error: BaseException) -> bool:
    """Whether another try may do better, and the client has not made several itself."""
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        tried = re.search(r"/preupload/|/info/lfs/", error.response.request.url.path)
        # 412: the branch has moved since it was looked at, perhaps by our own commit
        return (status in (408, 412, 429) or status >= 500) and not tried
    proxy = isinstance(error, json.JSONDecodeError)  # its page, where the Hub's JSON was expected
    return proxy or _lost(error)


def _lost(error: BaseException) -> bool:
    lost = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError)
    return isinstance(error, lost)


def _status(error: BaseException) -> int | None:
    return error.response.status_code if isinstance(error, HfHubHTTPError) else None


def _asked_wait(error: BaseException) -> float:
    if not isinstance(error, HfHubHTTPError):
        return 0.0
    asked = error.response.headers.get("Retry-After", "")
    return min(float(asked), LONGEST_WAIT) if asked.isdecimal() else 0.0


def _reason(error: BaseException, repo_id: str) -> str:
    """What went wrong and the mend, in one paragraph without a final period."""
    if isinstance(error, HubError):
        return str(error)
    cause, said = error, _said(error)
    if not isinstance(error, httpx2.HTTPError) and isinstance(error.__cause__, httpx2.HTTPError):
        cause = error.__cause__  # an upload in a thread: RuntimeError("Error while uploading ...")
        said += " " + _said(cause)
    mend = _mend(cause, repo_id)
    said = " ".join(said.split()).rstrip(".")
    return f"{said}; {mend}" if mend else said


def _said(error: BaseException) -> str:
    if isinstance(error, HfHubHTTPError):
        response = error.response
        asked = f"{response.request.method} {response.request.url.path}"
        words = f": {error.server_message}" if error.server_message else ""
        return f"the Hub answered {response.status_code} to {asked}{words}"
    if isinstance(error, json.JSONDecodeError):
        return "the answer was not the Hub's"
    return str(error) or type(error).__name__


def _mend(error: BaseException, repo_id: str) -> str:
    login = "log in with `hf auth login`, or set HF_TOKEN"
    match _status(error):
        case 401:
            return f"the Hub does not take the token: {login}"
        case 402 | 413 | 507:
            return "the owner's quota does not allow it: free some space, or name another owner"
        case 403:
            return (
                f"the token may not write to {repo_id}, or its owner's storage is full: {login} "
                "to one that may write, or name another owner"
            )
        case 404:
            return f"look at the spelling of {repo_id} and of its branch, and at the token: {login}"
        case 412:
            return "others keep committing to this branch: wait a little, or name another"
        case int(status) if status in (408, 429) or status >= 500:
            return "the Hub was tried several times: wait a little"
    if isinstance(error, HFValidationError):
        return "a repository id is owner/name, of letters, digits, '-', '_' and '.'"
    if _lost(error) or isinstance(error, json.JSONDecodeError):
        return "the Hub was tried several times: look at the network, HF_ENDPOINT and proxies"
    if "xet-write-token" in str(error):
        return "this Hub has no Xet storage: set HF_HUB_DISABLE_XET=1"
    return ""
