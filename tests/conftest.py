"""The surroundings of every test: a Hub on loopback, an empty home, no token, no network.

huggingface_hub, transformers and datasets read the Hub's address when they are imported and keep
it, so it is set here, before any of them is, for the pytest process and for the processes that
tests start. The server answers from now on: without the `hub` fixture it is an empty Hub, so that a
test that asks it by mistake is told "not found" at once rather than waiting for a network.
"""

import os
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.hub_server import HubServer

_OWN_SETTINGS = (
    "HF_TOKEN HUGGING_FACE_HUB_TOKEN HF_TOKEN_PATH HF_OIDC_RESOURCE HUGGINGFACE_CO_STAGING"
    " HF_HUB_CACHE HUGGINGFACE_HUB_CACHE HF_XET_CACHE HF_ASSETS_CACHE HUGGINGFACE_ASSETS_CACHE"
    " HF_DATASETS_CACHE HF_MODULES_CACHE TRANSFORMERS_CACHE HF_HUB_OFFLINE TRANSFORMERS_OFFLINE"
    " HF_DATASETS_OFFLINE"
)
for _name in _OWN_SETTINGS.split():
    os.environ.pop(_name, None)

settings.register_profile("no deadline", deadline=None)  # a busy machine fails no law
settings.load_profile("no deadline")

_server = HubServer().__enter__()
_home = tempfile.TemporaryDirectory(prefix="hf-home-", ignore_cleanup_errors=True)
os.environ.update(
    HF_ENDPOINT=_server.endpoint,
    HF_HOME=_home.name,
    HF_HUB_DISABLE_XET="1",  # the server speaks Git LFS
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_UPDATE_CHECK="1",
    NO_PROXY="127.0.0.1,localhost",
    no_proxy="127.0.0.1,localhost",
)
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture
def hub() -> Iterator[HubServer]:
    """The loopback Hub, empty and without faults; what it holds and was asked is the test's own.

    Nothing has to be patched: `HF_ENDPOINT` already points at it, here and in processes that the
    test starts. Nobody is logged in: hand over `token=tests.hub_server.WRITER`, or set `HF_TOKEN`
    with monkeypatch.
    """
    _server.reset()
    yield _server
    _server.reset()
