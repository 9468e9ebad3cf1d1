"""Issuers as gateway.yaml names them, turned into settings; unknown or ill-typed fields are refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lockgate.gateway.identity.jwks import FileKeys
from lockgate.gateway.identity.settings import IdentitySettingsError, IssuerSettings

_TEXTS = ("issuer", "jwks_file", "tenant", "tenant_claim", "owner_claim")
_NUMBERS = ("leeway", "max_lifetime")
_LISTS = ("algorithms", "token_types", "tenants", "roles_claim", "owner_issuers")


def issuer_settings(entry: Mapping[str, Any], base: Path, where: str) -> IssuerSettings:
    """One entry of `issuers`: issuer, jwks_file (relative to gateway.yaml's directory), and the fields of IssuerSettings.

    Raises IdentitySettingsError naming the field.
    """
    for name in entry:
        if name not in (*_TEXTS, *_NUMBERS, *_LISTS, "roles"):
            raise IdentitySettingsError(f"{where}.{name}", "is not known")
    for name in ("issuer", "jwks_file"):
        if name not in entry:
            raise IdentitySettingsError(f"{where}.{name}", "is missing")
    fields: dict[str, Any] = {name: _typed(entry, name, str, where) for name in _TEXTS if name in entry}
    fields |= {name: _typed(entry, name, int, where) for name in _NUMBERS if name in entry}
    for name in _LISTS:
        if name in entry:
            values = _strings(entry[name], f"{where}.{name}")
            fields[name] = frozenset(values) if name in ("algorithms", "token_types") else values
    if "roles" in entry:
        fields["roles"] = _roles(entry["roles"], f"{where}.roles")
    file = base / str(fields.pop("jwks_file"))
    return IssuerSettings(keys=FileKeys(file), **fields)


def _typed(entry: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    value = entry[name]
    if type(value) is not kind:
        raise IdentitySettingsError(f"{where}.{name}", f"must be {kind.__name__}")
    return value


def _strings(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise IdentitySettingsError(where, "must be a list of texts")
    return tuple(value)


def _roles(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for pair in value.items() for item in pair):
        raise IdentitySettingsError(where, "must map token roles to Lockgate roles")
    return dict(value)
