"""A Hub on loopback: real HTTP, all in memory, for the unmodified huggingface_hub client.

It knows what pushing, looking and loading need: whoami, repositories, branches, the card's check,
uploads by Git LFS, commits, listings and downloads, with the Hub's own error headers. Faults are
ordered by the test:

    with HubServer() as hub:
        hub.answer(503, "POST .*/commit/", times=2)  # two commits find the Hub out of order
        hub.drop("PUT /lfs/")  # one upload loses its connection, and nothing is done
        hub.lose("POST .*/commit/")  # one commit is made, but its answer is lost
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

WRITER = "hf_writerToken"  # may write to `tester` and `team`
READER = "hf_readerToken"  # the same person, a token that may only read
STRANGER = "hf_strangerToken"  # somebody else
DATE = "2024-01-01T00:00:00.000Z"
LFS_SUFFIXES = (".safetensors", ".bin", ".pt", ".pkl", ".onnx", ".parquet")


@dataclass(frozen=True)
class Account:
    name: str
    namespaces: tuple[str, ...]
    writes: bool = True


@dataclass(frozen=True)
class Blob:
    content: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def oid(self) -> str:
        """Git's name of the file, or of its pointer."""
        stored = self.content
        if self.lfs:
            head = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\n"
            stored = f"{head}size {len(self.content)}\n".encode()
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    title: str
    files: Mapping[str, Blob]  # everything there after it
    changed: tuple[str, ...]  # what it brought or took away


@dataclass
class Repository:
    private: bool
    branches: dict[str, str] = field(default_factory=dict)  # name: oid of its head
    history: dict[str, Commit] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """One request as it was answered."""

    method: str
    path: str  # as sent, still quoted
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    status: int | None = None  # None: the client never saw an answer

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def token(self) -> str | None:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme == "Bearer" else None


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """An error as the Hub words it."""

    def __init__(self, status: int, message: str, code: str = "", **headers: str) -> None:
        super().__init__(message)
        named = {"X-Error-Message": message, "X-Error-Code": code, **headers}
        self.answer = Answer(
            status,
            json.dumps({"error": message}).encode(),
            {"Content-Type": "application/json", **{k: v for k, v in named.items() if v}},
        )


@dataclass
class Fault:
    when: re.Pattern[str]
    times: int
    answer: Answer | None = None  # None: the connection is dropped
    works: bool = False  # whether the request is carried out all the same
    action: Callable[[], object] | None = None  # done first, by "somebody else"


def _json(content: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})


class HubServer:
    """The Hub: `endpoint` is its address, `requests` what it was asked, `commits` what it holds."""

    def __init__(self, port: int = 0) -> None:
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._lock = threading.RLock()
        self._made = 0  # commits ever made: no two ever get the same oid
        self.port: int = self._http.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.reset()

    def reset(self) -> None:
        """Back to an empty Hub that knows three tokens and has no faults."""
        with self._lock:
            mine = ("tester", "team")
            self.accounts = {
                WRITER: Account("tester", mine),
                READER: Account("tester", mine, writes=False),
                STRANGER: Account("stranger", ("stranger",)),
            }
            self.repositories: dict[tuple[str, str], Repository] = {}
            self.objects: dict[str, bytes] = {}  # uploaded by LFS, by sha256
            self.requests: list[Request] = []
            self.faults: list[Fault] = []

    def __enter__(self) -> Self:
        threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    # What tests look at.

    def commits(self, repo_id: str, revision: str = "main", kind: str = "models") -> list[Commit]:
        """The commits of a branch, oldest first; the first is the Hub's own (.gitattributes)."""
        repository = self.repositories[kind, repo_id]
        chain, oid = [], repository.branches.get(revision)
        while oid is not None:
            chain.append(repository.history[oid])
            oid = chain[-1].parent
        return chain[::-1]

    def files(self, repo_id: str, revision: str = "main", kind: str = "models") -> dict[str, bytes]:
        """What lies at a branch's head, without the Hub's own .gitattributes."""
        files = self.commits(repo_id, revision, kind)[-1].files
        return {path: blob.content for path, blob in files.items() if path != ".gitattributes"}

    def asked(self, pattern: str) -> list[Request]:
        """The requests so far whose "METHOD /path" begins with the pattern."""
        with self._lock:
            return [request for request in self.requests if re.match(pattern, request.line)]

    # What tests order. `when` is a regular expression that "METHOD /path" must begin with.

    def answer(
        self,
        status: int,
        when: str,
        *,
        times: int = 1,
        message: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """The next requests of this kind get this status, and nothing is done."""
        if message:
            given = Refusal(status, message).answer
        else:  # the page of a proxy before the Hub, which is not JSON
            given = Answer(status, b"<html>out of order</html>", {"Content-Type": "text/html"})
        given = Answer(given.status, given.body, {**given.headers, **(headers or {})})
        self._order(Fault(re.compile(when), times, given))

    def drop(self, when: str, *, times: int = 1) -> None:
        """The next requests of this kind lose their connection, and nothing is done."""
        self._order(Fault(re.compile(when), times))

    def lose(self, when: str, *, times: int = 1) -> None:
        """The next requests of this kind are carried out, but their answer is lost."""
        self._order(Fault(re.compile(when), times, works=True))

    def meddle(self, when: str, action: Callable[[], object], *, times: int = 1) -> None:
        """Somebody else acts just before the next requests of this kind are carried out."""
        self._order(Fault(re.compile(when), times, works=True, action=action))

    def _order(self, fault: Fault) -> None:
        with self._lock:
            self.faults.append(fault)

    def create(self, repo_id: str, *, private: bool = False, kind: str = "models") -> None:
        """A repository as the Hub makes it, with one commit."""
        with self._lock:
            self.repositories[kind, repo_id] = Repository(private)
            attributes = "".join(f"*{suffix} filter=lfs\n" for suffix in LFS_SUFFIXES)
            self.commit(
                repo_id, {".gitattributes": attributes.encode()}, "initial commit", kind=kind
            )

    def commit(
        self,
        repo_id: str,
        files: Mapping[str, bytes],
        title: str,
        *,
        revision: str = "main",
        kind: str = "models",
    ) -> Commit:
        """A commit made on the Hub itself."""
        blobs = {path: Blob(data, path.endswith(LFS_SUFFIXES)) for path, data in files.items()}
        return self._commit(self.repositories[kind, repo_id], revision, title, blobs, ())

    def _commit(
        self,
        repository: Repository,
        branch: str,
        title: str,
        added: Mapping[str, Blob],
        deleted: tuple[str, ...],
    ) -> Commit:
        with self._lock:
            parent = repository.branches.get(branch)
            before = repository.history[parent].files if parent else {}
            folders = tuple(path for path in deleted if path.endswith("/"))
            gone = {path for path in before if path in deleted or path.startswith(folders)}
            kept = {path: blob for path, blob in before.items() if path not in gone}
            self._made += 1
            oid = hashlib.sha1(f"{self.port} {self._made}".encode()).hexdigest()
            made = Commit(oid, parent, title, {**kept, **added}, (*added, *deleted))
            repository.history[oid] = made
            repository.branches[branch] = oid
            return made

    # The API.

    def handle(self, request: Request) -> Answer | None:
        """Carries a request out as ordered; None drops the connection."""
        with self._lock:
            fault = next((f for f in self.faults if f.times and f.when.match(request.line)), None)
            if fault is not None:
                fault.times -= 1
                if fault.action is not None:
                    fault.action()
            answer = fault.answer if fault is not None else None
            if fault is None or fault.works:
                done = self._route(request)
                answer = done if fault is None or fault.action is not None else None
            seen = answer.status if answer is not None else None
            self.requests.append(Request(**{**vars(request), "status": seen}))
            return answer

    def _route(self, request: Request) -> Answer:
        repo, rev = r"(?P<repo>[^/]+(?:/[^/]+)?)", r"(?P<rev>[^/]+)"
        api = rf"/api/(?P<kind>models|datasets)/{repo}"
        page = rf"/(?:(?P<kind>datasets|spaces)/)?{repo}"
        routes = {
            "GET /api/whoami-v2": self._whoami,
            "POST /api/validate-yaml": self._validate,
            "POST /api/repos/create": self._create,
            f"GET {api}(?:/revision/{rev})?": self._info,
            f"GET {api}/refs": self._refs,
            f"GET {api}/commits/{rev}": self._commits,
            f"GET {api}/tree/{rev}(?:/(?P<path>.+))?": self._tree,
            f"POST {api}/paths-info/{rev}": self._paths,
            rf"POST {api}/branch/(?P<branch>[^/]+)": self._branch,
            f"POST {api}/preupload/{rev}": self._preupload,
            f"POST {api}/commit/{rev}": self._post_commit,
            rf"POST {page}\.git/info/lfs/objects/batch": self._lfs_batch,
            "PUT /lfs/(?P<oid>[0-9a-f]{64})": self._lfs_put,
            "POST /lfs/verify": self._lfs_verify,
            f"(?:GET|HEAD) {page}/resolve/{rev}/(?P<path>.+)": self._resolve,
            "(?:GET|HEAD) /cdn/(?P<oid>[0-9a-f]{64})": self._cdn,
        }
        for pattern, route in routes.items():
            if found := re.fullmatch(pattern, request.line):
                words = {key: unquote(word) for key, word in found.groupdict().items() if word}
                try:
                    return route(request, words)
                except Refusal as refusal:
                    return refusal.answer
        return Refusal(404, "Not Found").answer

    def _account(self, request: Request) -> Account | None:
        if request.token is None:
            return None
        if request.token not in self.accounts:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return self.accounts[request.token]

    def _writer(self, request: Request, namespace: str) -> Account:
        account = self._account(request)
        if account is None:
            raise Refusal(401, "Invalid username or password.")
        if not account.writes or namespace not in account.namespaces:
            raise Refusal(403, f"You don't have the rights to write to the namespace {namespace!r}")
        return account

    def _repository(self, request: Request, words: Mapping[str, str]) -> Repository:
        account = self._account(request)
        repository = self.repositories.get((words.get("kind", "models"), words["repo"]))
        namespaces = account.namespaces if account else ()
        hidden = repository and repository.private and words["repo"].split("/")[0] not in namespaces
        if repository is None or hidden:
            raise Refusal(404 if account else 401, "Repository not found", "RepoNotFound")
        return repository

    def _head(self, repository: Repository, words: Mapping[str, str]) -> Commit:
        revision = words.get("rev", "main")
        oid = repository.branches.get(revision, revision)
        if oid not in repository.history:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return repository.history[oid]

    def _writable(self, request: Request, words: Mapping[str, str]) -> Repository:
        repository = self._repository(request, words)
        self._writer(request, words["repo"].split("/")[0])
        return repository

    def _whoami(self, request: Request, words: Mapping[str, str]) -> Answer:
        account = self._account(request)
        if account is None:
            raise Refusal(401, "Invalid username or password.")
        orgs = [{"name": name, "type": "org"} for name in account.namespaces[1:]]
        role = {"role": "write" if account.writes else "read", "displayName": "test"}
        auth = {"type": "access_token", "accessToken": role}
        return _json({"type": "user", "name": account.name, "orgs": orgs, "auth": auth})

    def _validate(self, request: Request, words: Mapping[str, str]) -> Answer:
        content = json.loads(request.body)["content"]
        front = re.match(r"---\n(.*?)\n---(\n|$)", content, re.DOTALL)
        try:
            card = yaml.safe_load(front[1]) if front else {}
            known = isinstance(card, dict) and isinstance(card.get("license", ""), str)
            errors = [] if known else [{"message": '"license" must be a string'}]
        except yaml.YAMLError as error:
            errors = [{"message": f"YAML: {error}"}]
        return _json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def _create(self, request: Request, words: Mapping[str, str]) -> Answer:
        wanted = json.loads(request.body)
        account = self._account(request)
        namespace = wanted.get("organization") or (account.name if account else "")
        self._writer(request, namespace)
        kind, repo_id = f"{wanted.get('type') or 'model'}s", f"{namespace}/{wanted['name']}"
        url = f"{self.endpoint}/{'' if kind == 'models' else kind + '/'}{repo_id}"
        if (kind, repo_id) in self.repositories:
            error = "You already created this model repo"
            return _json({"error": error, "url": url, "name": repo_id}, 409)
        self.create(repo_id, private=wanted.get("visibility") == "private", kind=kind)
        return _json({"url": url, "name": repo_id, "id": repo_id})

    def _info(self, request: Request, words: Mapping[str, str]) -> Answer:
        repository = self._repository(request, words)
        head = self._head(repository, words)
        siblings = [{"rfilename": path, **_entry(path, head.files[path])} for path in head.files]
        return _json(
            {
                "id": words["repo"],
                "modelId": words["repo"],
                "author": words["repo"].split("/")[0],
                "sha": head.oid,
                "private": repository.private,
                "gated": False,
                "disabled": False,
                "lastModified": DATE,
                "createdAt": DATE,
                "downloads": 0,
                "likes": 0,
                "tags": [],
                "siblings": siblings,
            }
        )

    def _refs(self, request: Request, words: Mapping[str, str]) -> Answer:
        branches = self._repository(request, words).branches.items()
        listed = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": oid}
            for name, oid in branches
        ]
        return _json({"branches": listed, "converts": [], "tags": [], "pullRequests": []})

    def _commits(self, request: Request, words: Mapping[str, str]) -> Answer:
        repository = self._repository(request, words)
        listed, commit = [], self._head(repository, words)
        while True:
            authors = [{"user": "tester"}]
            about = {"title": commit.title, "message": "", "date": DATE, "authors": authors}
            listed.append({"id": commit.oid, **about})
            if commit.parent is None:
                return _json(listed)
            commit = repository.history[commit.parent]

    def _tree(self, request: Request, words: Mapping[str, str]) -> Answer:
        head = self._head(self._repository(request, words), words)
        root = words["path"].rstrip("/") + "/" if "path" in words else ""
        found = {path: blob for path, blob in head.files.items() if path.startswith(root)}
        if root and not found:
            raise Refusal(404, f"{root} does not exist", "EntryNotFound")
        deep = request.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries: dict[str, dict[str, Any]] = {}
        for path, blob in sorted(found.items()):
            parts = path.removeprefix(root).split("/")
            for depth in range(1, len(parts) if deep else min(len(parts), 2)):
                folder = root + "/".join(parts[:depth])
                oid = hashlib.sha1(folder.encode()).hexdigest()
                entries[folder] = {"type": "directory", "path": folder, "oid": oid, "size": 0}
            if deep or len(parts) == 1:
                entries[path] = {"type": "file", **_entry(path, blob)}
        return _json(list(entries.values()))

    def _paths(self, request: Request, words: Mapping[str, str]) -> Answer:
        files = self._head(self._repository(request, words), words).files
        form = parse_qs(request.body.decode())
        asked = form.get("paths") or json.loads(request.body or b"{}").get("paths", [])
        listed = [{"type": "file", **_entry(path, files[path])} for path in asked if path in files]
        return _json(listed)

    def _branch(self, request: Request, words: Mapping[str, str]) -> Answer:
        repository = self._writable(request, words)
        if words["branch"] in repository.branches:
            raise Refusal(409, f"Reference already exists: {words['branch']}")
        start = json.loads(request.body or b"{}").get("startingPoint", "main")
        repository.branches[words["branch"]] = self._head(repository, {"rev": start}).oid
        return _json({"success": True})

    def _preupload(self, request: Request, words: Mapping[str, str]) -> Answer:
        files = self._head(self._writable(request, words), words).files
        answers = []
        for file in json.loads(request.body)["files"]:
            path = file["path"]
            mode = "lfs" if path.endswith(LFS_SUFFIXES) else "regular"
            known = {"oid": files[path].etag} if path in files else {}
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, **known})
        return _json({"files": answers})

    def _lfs_batch(self, request: Request, words: Mapping[str, str]) -> Answer:
        self._writable(request, words)
        listed = []
        for entry in json.loads(request.body)["objects"]:
            upload = {"href": f"{self.endpoint}/lfs/{entry['oid']}"}
            verify = {"href": f"{self.endpoint}/lfs/verify"}
            needed = {} if entry["oid"] in self.objects else {"upload": upload, "verify": verify}
            listed.append({**entry, **({"actions": needed} if needed else {})})
        return _json({"transfer": "basic", "objects": listed})

    def _lfs_put(self, request: Request, words: Mapping[str, str]) -> Answer:
        if hashlib.sha256(request.body).hexdigest() != words["oid"]:
            raise Refusal(400, "The content does not have the announced sha256")
        self.objects[words["oid"]] = request.body
        return Answer(200)

    def _lfs_verify(self, request: Request, words: Mapping[str, str]) -> Answer:
        announced = json.loads(request.body)
        if len(self.objects.get(announced["oid"], b"")) != announced["size"]:
            raise Refusal(404, "The object is not there")
        return Answer(200)

    def _post_commit(self, request: Request, words: Mapping[str, str]) -> Answer:
        repository = self._writable(request, words)
        branch = words["rev"]
        if branch not in repository.branches:
            raise Refusal(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        title, added, deleted = "", {}, []
        for line in request.body.splitlines():
            item = json.loads(line)
            key, value = item["key"], item["value"]
            if key == "header":
                title = value["summary"]
                if (
                    value.get("parentCommit", repository.branches[branch])
                    != (repository.branches[branch])
                ):
                    raise Refusal(412, "A commit has happened since. Please refresh and try again.")
            elif key == "file":
                added[value["path"]] = Blob(base64.b64decode(value["content"]), lfs=False)
            elif key == "lfsFile":
                if value["oid"] not in self.objects:
                    raise Refusal(400, "The LFS pointer points to a file that does not exist")
                added[value["path"]] = Blob(self.objects[value["oid"]], lfs=True)
            else:  # deletedFile, deletedFolder
                deleted.append(value["path"])
        made = self._commit(repository, branch, title, added, tuple(deleted))
        url = f"{self.endpoint}/{words['repo']}/commit/{made.oid}"
        return _json({"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""})

    def _resolve(self, request: Request, words: Mapping[str, str]) -> Answer:
        head = self._head(self._repository(request, words), words)
        if words["path"] not in head.files:
            raise Refusal(404, "Entry not found", "EntryNotFound", **{"X-Repo-Commit": head.oid})
        blob = head.files[words["path"]]
        about = {"X-Repo-Commit": head.oid, "ETag": f'"{blob.etag}"'}
        if not blob.lfs:
            return _ranged(request, Answer(200, blob.content, about))
        self.objects[blob.sha256] = blob.content
        linked = {"X-Linked-Etag": f'"{blob.etag}"', "X-Linked-Size": str(len(blob.content))}
        elsewhere = (
            f"http://localhost:{self.port}/cdn/{blob.sha256}"  # another host: no token goes there
        )
        return Answer(302, b"", {**about, **linked, "Location": elsewhere})

    def _cdn(self, request: Request, words: Mapping[str, str]) -> Answer:
        if request.token is not None:
            raise Refusal(400, "Only one auth mechanism allowed")  # as the Hub's storage says
        if words["oid"] not in self.objects:
            raise Refusal(404, "No such object")
        etag = {"ETag": f'"{words["oid"]}"'}
        return _ranged(request, Answer(200, self.objects[words["oid"]], etag))


def _entry(path: str, blob: Blob) -> dict[str, Any]:
    entry: dict[str, Any] = {"path": path, "size": len(blob.content), "oid": blob.oid}
    entry["blobId"] = blob.oid
    if blob.lfs:
        lfs = {"oid": blob.sha256, "sha256": blob.sha256, "size": len(blob.content)}
        entry["lfs"] = {**lfs, "pointerSize": 134}
    return entry


def _ranged(request: Request, answer: Answer) -> Answer:
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if asked is None:
        return answer
    start, size = int(asked[1]), len(answer.body)
    if start >= size:
        return Answer(416, b"", {"Content-Range": f"bytes */{size}"})
    end = min(int(asked[2] or size - 1), size - 1)
    about = {**answer.headers, "Content-Range": f"bytes {start}-{end}/{size}"}
    return Answer(206, answer.body[start : end + 1], about)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_hub: HubServer

    def _serve(self) -> None:
        target = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = parse_qs(target.query)
        request = Request(self.command, target.path, query, headers, self._body())
        answer = self.server_hub.handle(request)
        if answer is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing: `HubServer.requests` is the log."""
