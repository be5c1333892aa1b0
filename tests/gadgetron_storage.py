"""A stand-in for mrd-storage-server, without which Gadgetron's NoiseAdjust does not work: blobs by tags, in memory."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

_LATEST = "/v1/blobs/data/latest"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    blobs: dict[frozenset[tuple[str, str]], bytes]

    def do_GET(self) -> None:
        where = urlsplit(self.path)
        tags = frozenset(parse_qsl(where.query))
        if where.path == "/healthcheck":
            self._answer(200, b"{}")
        elif where.path == _LATEST and tags in self.blobs:
            self._answer(200, self.blobs[tags])
        else:
            self._answer(404, b"")

    def do_POST(self) -> None:
        tags = {name: value for name, value in parse_qsl(urlsplit(self.path).query) if not name.startswith("_")}
        content = b""
        while size := int(self.rfile.readline(), 16):  # chunked
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        self.blobs[frozenset(tags.items())] = content
        stamp = "2026-01-01T00:00:00Z"
        self._answer(201, json.dumps(tags | {"lastModified": stamp, "location": "/", "data": "/"}).encode())

    def _answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def storage() -> Iterator[str]:
    """Run one for the length of the block; its address."""
    handler = type("Handler", (_Handler,), {"blobs": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
