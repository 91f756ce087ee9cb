"""A model folder becomes a Hub repository: one commit, nothing private in it, never made twice."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from huggingface_hub import CommitOperationAdd, HfApi, get_token

from mtl_nlp.errors import HubError, ModelError
from mtl_nlp.hub.faults import retrying, told
from mtl_nlp.hub.published_files import published_files

MESSAGE = "Upload model"


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
    wanted = _Push(folder, repo_id, private, message, revision)
    secret = ""
    try:
        secret = _usable(token if token is not None else get_token())
        return wanted.send(HfApi(token=secret), delay)
    except Exception as error:  # the client's kinds are many, and none may cost a finished run
        reason = told(error, repo_id)
        leaks = bool(secret) and secret in f"{reason} {error!r} {error.__cause__!r}"
        again = f"The model is safe in {folder}; push it again with: {wanted.command()}"
        raise HubError(
            f"{folder if mend is None else 'the model'} was not pushed to {repo_id}: "
            f"{reason.replace(secret, '***') if leaks else reason}. {mend or again}"
        ) from (None if leaks else error)


@dataclass(frozen=True)
class _Push:
    """What is to be published where; the token is kept apart."""

    folder: Path
    repo_id: str
    private: bool | None
    message: str
    revision: str | None

    def command(self) -> str:
        """The words that publish it again."""
        words = ["mtl-nlp", "push", str(self.folder), self.repo_id]
        words += ["--private"] if self.private else []
        words += ["--message", self.message] if self.message != MESSAGE else []
        words += ["--revision", self.revision] if self.revision is not None else []
        return shlex.join(words)

    def send(self, api: HfApi, delay: float) -> PushResult:
        """Makes repository and branch as far as they are missing, and the commit."""
        files = published_files(self.folder)
        repo_id = retrying(
            lambda: api.create_repo(self.repo_id, private=self.private, exist_ok=True).repo_id,
            delay,
        )
        branch = self.revision
        if branch is not None:
            retrying(lambda: api.create_branch(repo_id, branch=branch, exist_ok=True), delay)
        commit = retrying(lambda: _commit(api, repo_id, branch, files, self.message), delay)
        page = f"{api.endpoint}/{repo_id}"
        return PushResult(page if branch is None else f"{page}/tree/{quote(branch)}", commit)


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
