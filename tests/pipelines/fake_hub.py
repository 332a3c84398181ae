"""A hub on loopback: real HTTP, the part of the real one's API that huggingface_hub asks for, and ways to fail."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclasses.dataclass
class FakeHub:
    """``repos``: the files of each repository. ``asked``: every request in order, as ``METHOD path``, with its range.

    ``gated``: repositories that ask for an agreement. ``broken``: how many bytes of a path are sent before the
    connection ends; what comes after that is refused with 500 until the path is taken out.
    """

    repos: dict[str, Mapping[str, bytes]]
    asked: list[str] = dataclasses.field(default_factory=list)
    gated: set[str] = dataclasses.field(default_factory=set)
    broken: dict[str, int] = dataclasses.field(default_factory=dict)
    endpoint: str = ""

    def fetched(self, ending: str = "") -> list[str]:
        """The files that were asked for, in order."""
        paths = [request.split("/resolve/main/")[1].split(" ")[0] for request in self.asked if "/resolve/" in request]
        return [path for path in paths if path.endswith(ending)]

    def __enter__(self) -> FakeHub:
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def files_of(folder: Path) -> dict[str, bytes]:
    """A repository's files from a directory."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        span = self.headers.get("Range", "")
        self.hub.asked.append(f"{self.command} {self.path}" + (f" {span}" if span else ""))
        path = self.path.split("?")[0]
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)", path):
            self._about(match[1])
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/main/(.+)", path):
            self._file(match[1], match[2], span)
        else:
            self._refuse(404, "EntryNotFound")

    def _about(self, repo: str) -> None:
        if repo not in self.hub.repos:
            return self._refuse(401, "RepoNotFound")
        files = [_describe(name, content) for name, content in self.hub.repos[repo].items()]
        about = {"id": repo, "modelId": repo, "sha": "0" * 40, "private": False, "tags": [], "siblings": files}
        self._send(200, json.dumps(about).encode(), {"Content-Type": "application/json"})

    def _file(self, repo: str, path: str, span: str) -> None:
        content = self.hub.repos.get(repo, {}).get(path)
        if repo in self.hub.gated:
            return self._refuse(403, "GatedRepo")
        if content is None:
            return self._refuse(404, "EntryNotFound")
        if self.hub.broken.get(path) == 0:
            return self._refuse(500, "")
        first, last = 0, len(content) - 1
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", span):
            first, last = int(match[1]), min(last, int(match[2] or last))
        headers = {"Content-Range": f"bytes {first}-{last}/{len(content)}"} if span else {}
        headers |= {"X-Repo-Commit": "0" * 40, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        cut = self.hub.broken.get(path)
        self._send(206 if span else 200, content[first : last + 1], headers, cut=cut)
        if cut is not None:
            self.hub.broken[path] = 0

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code} if code else {})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def _describe(name: str, content: bytes) -> dict[str, Any]:
    about: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": hashlib.sha1(content).hexdigest()}
    if name.endswith(".safetensors"):
        about["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return about
