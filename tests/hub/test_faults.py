import os
import subprocess
import sys
from pathlib import Path

import pytest

from mtl_nlp.errors import HubError
from tests.hub_server import WRITER, HubServer
from tests.pushes import COMMIT, REPO, SENT, assert_tells_how_to_push_again, push

EVERY_REQUEST = [
    "POST /api/repos/create",
    "POST .*/branch/",
    "GET /api/models/",
    "POST /api/validate-yaml",
    "POST .*/preupload/",
    "POST .*/info/lfs/objects/batch",
    "PUT /lfs/",
    "POST /lfs/verify",
    COMMIT,
]

pytestmark = pytest.mark.usefixtures("waits")


# Faults that pass


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("request_line", ["POST /api/repos/create", COMMIT])
def test_a_fault_that_passes_is_tried_again(
    hub: HubServer, folder: Path, waits: list[float], request_line: str, status: int
) -> None:
    hub.answer(status, request_line, times=4)
    push(folder, delay=0.5)
    assert len(hub.commits(REPO)) == 2
    assert len(hub.asked(request_line)) == 5
    assert waits == [0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize("fault", ["answer", "drop", "lose"])
@pytest.mark.parametrize("request_line", EVERY_REQUEST)
def test_no_single_fault_anywhere_costs_a_push_or_doubles_a_commit(
    hub: HubServer, folder: Path, request_line: str, fault: str
) -> None:
    order = {
        "answer": lambda: hub.answer(503, request_line),
        "drop": lambda: hub.drop(request_line),
        "lose": lambda: hub.lose(request_line),
    }
    order[fault]()
    commit = push(folder, revision="next")
    assert any(request.status in (None, 503) for request in hub.asked(request_line))
    assert [made.oid for made in hub.commits(REPO, "next")][1:] == [commit]
    assert set(hub.files(REPO, "next")) == SENT


def test_a_commit_whose_answer_is_always_lost_is_made_once(hub: HubServer, folder: Path) -> None:
    hub.lose(COMMIT, times=9)
    commit = push(folder)
    assert [made.oid for made in hub.commits(REPO)][1:] == [commit]
    assert len(hub.asked(COMMIT)) == 1


def test_a_commit_that_lands_late_is_not_made_twice(hub: HubServer, folder: Path) -> None:
    """A proxy gives up, the Hub still works: the commit appears while the next try is under way."""
    hub.answer(504, COMMIT)
    late = {path: (folder / path).read_bytes() for path in SENT}
    hub.meddle(COMMIT, lambda: hub.commit(REPO, late, "Upload model"))
    commit = push(folder)
    assert [made.oid for made in hub.commits(REPO)][1:] == [commit]
    assert [request.status for request in hub.asked(COMMIT)] == [504, 412]


def test_somebody_elses_commit_is_neither_lost_nor_taken_for_ours(
    hub: HubServer, folder: Path
) -> None:
    hub.meddle(COMMIT, lambda: hub.commit(REPO, {"theirs.txt": b"1"}, "Upload model"))
    commit = push(folder)
    assert [made.changed for made in hub.commits(REPO)][1] == ("theirs.txt",)
    assert hub.commits(REPO)[2].oid == commit
    assert set(hub.files(REPO)) == SENT | {"theirs.txt"}


def test_the_hubs_own_wait_is_kept(hub: HubServer, folder: Path, waits: list[float]) -> None:
    hub.answer(429, COMMIT, headers={"Retry-After": "40"})
    hub.answer(429, COMMIT, headers={"Retry-After": "86400"})
    push(folder)
    assert waits == [40.0, 300.0]


# Faults that stay


@pytest.mark.parametrize("request_line", EVERY_REQUEST)
def test_a_fault_that_stays_ends_with_the_mend(
    hub: HubServer, folder: Path, request_line: str
) -> None:
    hub.answer(503, request_line, times=99)
    with pytest.raises(HubError, match=r"wait a little|look at the network") as failure:
        push(folder, revision="next")
    assert_tells_how_to_push_again(str(failure.value), folder, " --revision next")
    assert 4 < len(hub.asked(request_line)) < 7
    commits = hub.commits(REPO) if hub.repositories else []
    assert len(commits) < 2


@pytest.mark.parametrize("request_line", [COMMIT, "PUT /lfs/"])
def test_a_connection_that_always_breaks_ends_with_the_mend(
    hub: HubServer, folder: Path, request_line: str
) -> None:
    hub.drop(request_line, times=99)
    with pytest.raises(HubError, match="look at the network, HF_ENDPOINT and proxies") as failure:
        push(folder)
    assert_tells_how_to_push_again(str(failure.value), folder)


@pytest.mark.parametrize(
    ("status", "request_line", "mend"),
    [
        (401, "POST /api/repos/create", "hf auth login.*HF_TOKEN"),
        (402, "POST .*/info/lfs/objects/batch", "quota.*free some space"),
        (403, COMMIT, "storage is full.*hf auth login"),
        (404, "POST .*/preupload/", "spelling of tester/model"),
        (412, COMMIT, "others keep committing"),
        (413, COMMIT, "quota"),
    ],
)
def test_a_refusal_tells_the_mend_and_what_the_hub_said(
    hub: HubServer, folder: Path, status: int, request_line: str, mend: str
) -> None:
    hub.answer(status, request_line, times=9, message="No, thank you")
    with pytest.raises(HubError, match=mend) as failure:
        push(folder)
    assert "No, thank you" in str(failure.value)
    assert_tells_how_to_push_again(str(failure.value), folder)
    assert len(hub.asked(request_line)) == (5 if status == 412 else 1)


def test_a_hub_without_xet_storage_tells_the_mend(hub: HubServer, folder: Path) -> None:
    pytest.importorskip("hf_xet")
    code = (
        "import sys; from pathlib import Path; from mtl_nlp.hub.publish import push_folder\n"
        f"push_folder(Path(sys.argv[1]), {REPO!r}, token={WRITER!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_DISABLE_XET": "0"},
    )
    assert "HubError" in done.stderr
    assert "this Hub has no Xet storage: set HF_HUB_DISABLE_XET=1. The model is safe" in done.stderr
    assert len(hub.commits(REPO)) == 1
