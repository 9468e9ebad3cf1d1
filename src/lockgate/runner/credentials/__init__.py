"""Credentials that live as long as one attempt; a write credential must not exist before its permit (TRUST §4, invariant 8)."""
