"""What the front doors need to know of the outside world: names, limits, trusted web origins; it must not hold a secret."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from lockgate.gateway.identity.port import SCOPES, Audience

AGENT_PATH = "/mcp"
HUMAN_PATH = "/api"


@dataclass(frozen=True, slots=True)
class WebSettings:
    """`public_url` has no trailing slash. `allowed_hosts` are Host values (`name`, `name:port` or `name:*`) beside the public one's;
    `allowed_origins` web origins beside the public one. `max_body` in bytes, `body_seconds` for a whole body to arrive."""

    public_url: str
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    max_body: int = 1 << 20
    body_seconds: float = 10.0
    authorization_servers: tuple[str, ...] = ()
    agent_scopes: tuple[str, ...] = (SCOPES[Audience.AGENT],)
    human_scopes: tuple[str, ...] = (SCOPES[Audience.HUMAN],)
    dev: bool = False
    unsafe: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a public URL that no client could use."""
        parts = urlsplit(self.public_url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
            raise ValueError("public_url: must be http(s)://host[:port][/path] without query or fragment")
        if self.public_url.endswith("/"):
            raise ValueError("public_url: must not end with a slash")

    @property
    def agent_resource(self) -> str:
        """The protected resource (RFC 9728) of agents: the MCP endpoint."""
        return self.public_url + AGENT_PATH

    @property
    def human_resource(self) -> str:
        """The protected resource (RFC 9728) of people: the REST API."""
        return self.public_url + HUMAN_PATH

    @property
    def hosts(self) -> frozenset[str]:
        """Every Host value accepted, in lower case."""
        return frozenset(host.lower() for host in (urlsplit(self.public_url).netloc, *self.allowed_hosts))

    @property
    def origins(self) -> frozenset[str]:
        """Every Origin value accepted, in lower case."""
        parts = urlsplit(self.public_url)
        return frozenset(origin.lower() for origin in (f"{parts.scheme}://{parts.netloc}", *self.allowed_origins))
