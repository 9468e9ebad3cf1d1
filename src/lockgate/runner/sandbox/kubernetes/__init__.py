"""Sandboxes as pods of a Kubernetes cluster: one namespace for each attempt, one bare pod for each stage; nothing here decides what runs (TRUST §2, §3, §8)."""
