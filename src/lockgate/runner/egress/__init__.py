"""The one way out of a sandbox: a proxy of its own process that connects to named places only; it must not hold keys or read content (TRUST §8)."""
