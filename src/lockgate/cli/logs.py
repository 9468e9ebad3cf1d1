"""Sets up the logs of a server process: one line per event on stderr. It must not log a secret or write to stdout."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any, Final

import orjson
import structlog

LEVELS = ("debug", "info", "warning", "error")


def set_up_logs(level: str = "info") -> None:
    """Readable lines on a terminal, JSON lines elsewhere. Raises ValueError for an unknown level."""
    if level not in LEVELS:
        raise ValueError(f"log level: must be one of {', '.join(LEVELS)}")
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(
        stream=sys.stderr, level=max(number, logging.WARNING), format="%(levelname)s %(name)s %(message)s"
    )
    render: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if sys.stderr.isatty()
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(one_line)]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


_PLAIN: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS


def one_line(event: Any, **fallback: Any) -> str:
    """An event as JSON in ASCII: whatever is not comes from `json`, which escapes what would command a terminal or end a line."""
    try:
        text = orjson.dumps(event, option=_PLAIN)
    except orjson.JSONEncodeError:
        return json.dumps(event, **fallback)
    return text.decode() if text.isascii() else json.dumps(event, **fallback)
