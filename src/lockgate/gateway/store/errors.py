"""How a store refuses: each error says by its type whether trying again helps. It must not carry what was to be written."""

from __future__ import annotations


class StoreError(Exception):
    """The store cannot answer now. Temporary unless a subclass says otherwise."""


class StoreBusy(StoreError):
    """The writer's queue is full; nothing was written; try again later."""


class StoreUnknown(StoreError):
    """The commit's outcome is unknown; look the record up before trying again."""


class StoreLocked(StoreError):
    """Another process holds this store. Permanent until that process ends; the message names its pid."""
