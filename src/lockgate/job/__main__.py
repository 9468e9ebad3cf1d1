"""`python -m lockgate.job`: what the runner starts inside a sandbox; it must hold no logic."""

from lockgate.job.main import main

if __name__ == "__main__":
    raise SystemExit(main())
