"""What the zones say to each other: pure documents and digests; no input or output, no clock, no randomness."""
