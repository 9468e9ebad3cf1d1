"""Reads the few fields of an operation that are counted, without making a whole record of each; it must not count."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import orjson

from lockgate.gateway.operations.model import Reason
from lockgate.gateway.store.asked import AskedOperation, AskedOperations
from lockgate.gateway.store.port import StoreError
from lockgate.gateway.store.sqlite.connection import Connection

MAX_PAGE: Final = 2_000


def asked_operations(db: Connection, query: AskedOperations) -> tuple[AskedOperation, ...]:
    """See the query. Raises StoreError for a row that is not of this program's making."""
    where: list[str] = []
    values: list[Any] = []
    for condition, value in (("tenant = ?", query.tenant), ("ordinal < ?", query.before)):
        if value is not None:
            where.append(condition)
            values.append(value)
    only = f"WHERE {' AND '.join(where)}" if where else ""
    sql = f"SELECT ordinal, body FROM operation {only} ORDER BY ordinal DESC LIMIT ?"  # noqa: S608
    # Row by row: a page of the largest bodies never lies in memory at once.
    return tuple(_asked(*row) for row in db.execute(sql, (*values, max(1, min(query.limit, MAX_PAGE)))))


def _asked(ordinal: int, body: bytes) -> AskedOperation:
    try:
        record = orjson.loads(body)
        principal, intent = record["principal"], record["intent"]
        request = (record["action"], record["target"], intent["arguments"], record["dry_run"], record["plan_of"])
        return AskedOperation(
            ordinal=ordinal,
            at=record["created_at"],
            principal=f"{principal['issuer']}#{principal['subject']}",
            action=record["action"],
            state=record["state"],
            reasons=tuple(Reason(**reason) for reason in record["reasons"]),
            request_sha256=hashlib.sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).hexdigest(),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise StoreError(f"store: a stored Operation is unreadable: {error}") from None
