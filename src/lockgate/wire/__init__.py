"""HTTP client, peer certificates and the job channel that several zones need; it must not decide anything."""
