"""Logs as JSON, one object per line on stderr, without file names, clients' addresses and landmarks."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

from typing_extensions import override

FIELDS = ("request_id", "method", "path", "status", "milliseconds")

CONFIG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "unveil.serve.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "loggers": {
        "unveil.serve": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "uvicorn": {"handlers": ["stderr"], "level": "ERROR", "propagate": False},
    },
}
"""For `logging.config.dictConfig`."""


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON, with the fields of a request and the trace of an error if there is one."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without a newline."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line)
