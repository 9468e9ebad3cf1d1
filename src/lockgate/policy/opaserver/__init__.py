"""A real OPA server as the policy engine: over a Unix socket, or TLS with certificates on both sides (ADR 26)."""
