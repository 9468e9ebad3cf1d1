"""Signers, keysets and trust material that several zones need; it must not decide anything."""
