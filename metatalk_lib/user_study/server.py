"""Server of the rating page: the standard library's HTTP server and one HTML file, without requests to other hosts."""

import json
import re
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from metatalk_lib.core.errors import DataError, MetaTalkError, ParameterError
from metatalk_lib.core.paths import PACKAGE_DATA_DIR
from metatalk_lib.user_study.store import RATINGS_FILE, DuplicateRatingError, add_rating, next_clip

PAGE_PATH = PACKAGE_DATA_DIR / "study_page.html"
DEFAULT_PORT = 8765
"""TCP port of the rating page."""
MAX_BODY_BYTES = 10_000
ANSWERS = {
    "participant": (str, "a name"),
    "token": (str, "a clip's token"),
    "realism": (int, "a whole number from 1 to 5"),
    "in_sync": (bool, "true or false"),
}
SECURITY_POLICY = (
    "default-src 'none'; media-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)


class StudyHandler(BaseHTTPRequestHandler):
    """Answers one request: the page, the next clip's token, a clip, or a rating to store."""

    protocol_version = "HTTP/1.1"
    timeout = 60

    def __init__(self, *args, study_dir: Path, **kwargs) -> None:
        self.study_dir = study_dir
        super().__init__(*args, **kwargs)

    @property
    def database(self) -> Path:
        """Path of the database of ratings."""
        return self.study_dir / RATINGS_FILE

    def do_GET(self) -> None:
        """Send the page, a clip, or the next clip to rate."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Store a rating."""
        self._answer(self._post)

    def log_message(self, format: str, *args) -> None:
        """Log nothing: a log of requests would link answers to network addresses."""

    def _answer(self, action) -> None:
        try:
            action()
        except DuplicateRatingError as error:
            self._send_json(HTTPStatus.CONFLICT, {"error": str(error)})
        except ParameterError as error:
            self._send_json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        except MetaTalkError as error:
            self._send_json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": str(error)})
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _get(self) -> None:
        url = urlsplit(self.path)
        clip = re.fullmatch(r"/clips/([0-9a-f]{16})\.mp4", url.path)
        if url.path == "/":
            self._send(HTTPStatus.OK, PAGE_PATH.read_bytes(), "text/html; charset=utf-8")
        elif url.path == "/api/next":
            participant = parse_qs(url.query).get("participant", [""])[0]
            token, rated, total = next_clip(self.database, participant)
            self._send_json(HTTPStatus.OK, {"token": token, "rated": rated, "total": total})
        elif clip and (path := self.study_dir / "clips" / f"{clip[1]}.mp4").is_file():
            self._send_video(path.read_bytes())
        else:
            self._send_json(HTTPStatus.NOT_FOUND, {"error": f"there is nothing at {url.path}."})

    def _post(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            raise ParameterError(f"a rating needs a Content-Length of at most {MAX_BODY_BYTES} bytes.")
        body = self.rfile.read(int(length))
        if self.path != "/api/ratings":
            self._send_json(HTTPStatus.NOT_FOUND, {"error": f"there is nothing to post to at {self.path}."})
            return
        answers = _parse_answers(body)
        add_rating(self.database, **answers)
        self._send_json(HTTPStatus.CREATED, {"stored": True})

    def _send_video(self, content: bytes) -> None:
        """Send the clip, or the byte range that the browser requests: some browsers need ranges to play a video."""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            self._send(HTTPStatus.OK, content, "video/mp4", {"Accept-Ranges": "bytes"})
            return
        first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        if first > last:
            self._send(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", "video/mp4")
            return
        headers = {"Accept-Ranges": "bytes", "Content-Range": f"bytes {first}-{last}/{len(content)}"}
        self._send(HTTPStatus.PARTIAL_CONTENT, content[first : last + 1], "video/mp4", headers)

    def _send_json(self, status: HTTPStatus, value: dict) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")

    def _send(self, status: HTTPStatus, content: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        fixed = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": SECURITY_POLICY,
        }
        for name, value in {**fixed, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def make_server(study_dir: Path, *, host: str = "127.0.0.1", port: int = DEFAULT_PORT) -> ThreadingHTTPServer:
    """Create a server for a study, bound but not yet running; port 0 takes any free port.

    Args:
        study_dir: folder that `create_study` filled.
        host: address to listen on; the default accepts connections from this machine only.
        port: TCP port.

    Returns:
        The server; call `serve_forever`, and `server_close` at the end.

    Raises:
        DataError: there is no study, or the port is taken.
    """
    if not (study_dir / RATINGS_FILE).is_file():
        raise DataError(f"no study in {study_dir}. Run notebooks/07_user_study.ipynb to make it.")
    try:
        return ThreadingHTTPServer((host, port), partial(StudyHandler, study_dir=study_dir))
    except OSError as error:
        raise DataError(f"cannot listen on {host}:{port} ({error.strerror}). Choose another port.") from error


def serve_study(study_dir: Path, *, host: str = "127.0.0.1", port: int = DEFAULT_PORT) -> None:
    """Serve the rating page until interrupted; every rating is on disk before the page confirms it.

    Args:
        study_dir: folder that `create_study` filled.
        host: address to listen on; `0.0.0.0` accepts connections from other machines.
        port: TCP port.

    Raises:
        DataError: there is no study, or the port is taken.
    """
    server = make_server(study_dir, host=host, port=port)
    print(f"Rating page: http://{host}:{server.server_address[1]}/  (Ctrl+C ends it; ratings are kept)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("Rating page closed.")
    finally:
        server.server_close()


def _parse_answers(body: bytes) -> dict[str, Any]:
    try:
        answers = json.loads(body)
    except ValueError as error:
        raise ParameterError(f"a rating must be JSON: {error}.") from error
    if not isinstance(answers, dict) or sorted(answers) != sorted(ANSWERS):
        found = ", ".join(sorted(answers)) if isinstance(answers, dict) else type(answers).__name__
        raise ParameterError(f"a rating must have exactly {', '.join(ANSWERS)}; found: {found or 'nothing'}.")
    for name, (kind, meaning) in ANSWERS.items():
        if type(answers[name]) is not kind:
            raise ParameterError(f"{name} must be {meaning}, got {answers[name]!r}.")
    return answers
