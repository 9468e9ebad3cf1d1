"""OPA bundles: the archive, its manifest, its signature, and the policy in it; nothing here fetches one or decides."""
