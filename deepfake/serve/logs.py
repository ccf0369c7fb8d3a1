"""The log: a JSON object a line, without keys, audio or file names."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class JSONFormatter(logging.Formatter):
    """A record as one line of JSON; what is given as `extra={"facts": {...}}` becomes members of it."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": time, "level": record.levelname.lower(), "message": record.getMessage()}
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class OfOurs(logging.Filter):
    """Leaves out what the libraries of WebSockets say of each connection, with its address and query."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or "websockets" not in Path(record.pathname).parts


_TO_STDERR = {"handlers": ["stderr"], "level": "INFO", "propagate": False}
LOGGING: dict[str, Any] = {  # for uvicorn, whose own access log would hold whole addresses
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "deepfake.serve.logs.JSONFormatter"}},
    "filters": {"ours": {"()": "deepfake.serve.logs.OfOurs"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "json",
            "filters": ["ours"],
            "stream": "ext://sys.stderr",
        }
    },
    "loggers": {"deepfake": _TO_STDERR, "uvicorn": _TO_STDERR},
}
