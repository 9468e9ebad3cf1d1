"""What a refused caller is told: RFC 9728 metadata and the WWW-Authenticate header; it must not let a description break out of its quotes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from lockgate.gateway.identity.port import Unauthenticated

WELL_KNOWN = "/.well-known/oauth-protected-resource"


def metadata_path(resource: str) -> str:
    """Where the metadata of a resource URL is served: the well-known path with the resource's own path behind it (RFC 9728 §3.1)."""
    return WELL_KNOWN + urlsplit(resource).path.rstrip("/")


def metadata_url(resource: str) -> str:
    """The absolute URL of the metadata of a resource URL."""
    parts = urlsplit(resource)
    return f"{parts.scheme}://{parts.netloc}{metadata_path(resource)}"


def resource_metadata(
    resource: str, issuers: Sequence[str], scopes: Sequence[str] = (), name: str = "Lockgate"
) -> dict[str, Any]:
    """The RFC 9728 document of a protected resource: which authorization servers give tokens for it, sent in the header only.

    A list without members is left out (§3.2).
    """
    document = {"resource": resource, "bearer_methods_supported": ["header"], "resource_name": name}
    lists = {"authorization_servers": list(issuers), "scopes_supported": list(scopes)}
    return document | {field: members for field, members in lists.items() if members}


def www_authenticate(resource: str, refused: Unauthenticated, scopes: Sequence[str] = ()) -> str:
    """The WWW-Authenticate value (RFC 6750 §3, RFC 9728 §5.1); without a token there is no error in it."""
    fields = {"resource_metadata": metadata_url(resource)}
    if refused.error:
        fields |= {"error": refused.error, "error_description": refused.description}
    if scopes:
        fields["scope"] = " ".join(scopes)
    return "Bearer " + ", ".join(f'{name}="{_quotable(value)}"' for name, value in fields.items())


def _quotable(value: str) -> str:
    return "".join(char if " " <= char <= "~" and char not in '"\\' else "?" for char in value)
