"""The job root of tests in which an ordinary user runs a sandbox provider: a job's own packages, and what a provider imports."""

from lockgate.runner.sandbox.runtime_root import JOB_PACKAGES

PROVIDER_PACKAGES = (
    *JOB_PACKAGES,
    "lockgate/wire/links.py",
    "lockgate/runner/__init__.py",
    "lockgate/runner/sandbox",
    "lockgate/runner/egress",
    "lockgate/testing/__init__.py",
    "lockgate/testing/sandbox",
)
