"""Errors as clients read them: `application/problem+json` (Nottingham et al. 2023, RFC 9457), each of a stable type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5


class Kind(NamedTuple):
    """A kind of problem: its status, and what it is in general."""

    status: int
    title: str


KINDS: dict[str, Kind] = {
    "bad-request": Kind(400, "The request is malformed"),
    "unauthorized": Kind(401, "An API key is needed"),
    "origin-not-allowed": Kind(403, "Pages of this origin may not ask"),
    "not-found": Kind(404, "There is nothing at this address"),
    "not-enrolled": Kind(404, "Nobody, or not this speaker, is enrolled"),
    "method-not-allowed": Kind(405, "The method is not allowed here"),
    "not-acceptable": Kind(406, "None of the accepted media types can be given"),
    "too-slow": Kind(408, "The request arrives too slowly"),
    "too-large": Kind(413, "The request is too large"),
    "too-many-parts": Kind(413, "The request has too many parts"),
    "beyond-limits": Kind(413, "The recording is longer than what is accepted, or has too many channels or samples"),
    "not-multipart": Kind(415, "The request is not multipart/form-data"),
    "not-audio": Kind(415, "The file is not audio of a kind that is read"),
    "invalid-request": Kind(422, "The request is not what the schema says"),
    "unusable-audio": Kind(422, "The recording cannot be used"),
    "busy": Kind(429, "Too many requests are waiting"),
    "internal": Kind(500, "The server made an error"),
    "decoder-ended": Kind(500, "The process that decodes the recording ended"),
    "no-speaker-check": Kind(501, "The server cannot compare speakers"),
    "not-ready": Kind(503, "The server takes no requests now"),
    "decoding-too-long": Kind(504, "Decoding the recording takes too long"),
}
STATUSES = {400: "bad-request", 404: "not-found", 405: "method-not-allowed"}  # those that the framework raises


class Problem(Exception):
    """A request cannot be answered.

    Args:
        name: Of `KINDS`.
        detail: What is wrong with this request, in a sentence; it names no path and no file.
        headers: Of the answer.
        facts: Further members, such as `limit`.
    """

    def __init__(self, name: str, detail: str, *, headers: Mapping[str, str] | None = None, **facts: Any) -> None:
        super().__init__(detail)
        self.name, self.kind = name, KINDS[name]
        self.detail, self.headers, self.facts = detail, dict(headers or {}), facts

    def content(self, request_id: str) -> dict[str, Any]:
        """The members of the answer."""
        return {
            "type": type_of(self.name),
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "instance": f"urn:request:{request_id}",
            **self.facts,
        }

    def body(self, request_id: str) -> bytes:
        return json.dumps(self.content(request_id), ensure_ascii=False, allow_nan=False).encode()


def busy(detail: str) -> Problem:
    """Too much is waiting: come back."""
    return Problem("busy", detail, headers={"Retry-After": str(RETRY_SECONDS)})


def type_of(name: str) -> str:
    """The stable type of a kind of problem."""
    return f"urn:problem-type:deepfake:{name}"


def documented(*names: str) -> dict[int | str, dict[str, Any]]:
    """The entries `responses` of an operation in OpenAPI, each kind with an example."""
    found: dict[int | str, dict[str, Any]] = {}
    for name in names:
        kind = KINDS[name]
        entry = found.setdefault(kind.status, {"description": "", "content": {MEDIA_TYPE: {"schema": SCHEMA}}})
        entry["description"] += f"{'; or ' if entry['description'] else ''}{kind.title} (`{name}`)"
        example = Problem(name, "What is wrong with this request.").content("4f1c")
        entry["content"][MEDIA_TYPE].setdefault("examples", {})[name] = {"value": example}
        if kind.status == 429:
            entry["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}
    return found


SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457.",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "enum": [type_of(name) for name in KINDS]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong with this request."},
        "instance": {"type": "string", "description": "`urn:request:` and the request's X-Request-ID."},
        "limit": {"type": "number", "description": "What was exceeded."},
        "errors": {
            "type": "array",
            "description": "Parts of the request that are not what the schema says.",
            "items": {
                "type": "object",
                "properties": {"location": {"type": "array", "items": {}}, "message": {"type": "string"}},
            },
        },
    },
}
