"""Faults of the Hub: those that pass are tried again, those that stay are told with the mend."""

import json
import logging
import re
import time
from collections.abc import Callable
from typing import TypeVar

import httpx2
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from mtl_nlp.errors import HubError

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

TRIES = 5
LONGEST_WAIT = 300.0  # seconds; the Hub counts its rate limits in windows of five minutes


def retrying(act: Callable[[], Result], delay: float) -> Result:
    """What a call gives, tried up to five times where its fault may pass.

    Args:
        act: Safe to be called again after any fault.
        delay: Seconds before the second try, doubled before every further one.
    """
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


def told(error: BaseException, repo_id: str) -> str:
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
