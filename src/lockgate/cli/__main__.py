"""`python -m lockgate.cli` is `lockgate`; it must not do more."""

from lockgate.cli.main import main

main()
