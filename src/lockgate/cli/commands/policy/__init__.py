"""`lockgate policy`: what policy authors run. One module a command; each registers its own."""

from __future__ import annotations

from lockgate.cli.commands.policy import (
    budgets,
    build,
    bundle,
    check,
    decisions,
    explain,
    friction,
    impact,
    new_rule,
    replay,
    shadow,
    test,
)
from lockgate.cli.frame import App

app = App("Check and test policies and their data.")
for module in (
    budgets,
    build,
    bundle,
    check,
    decisions,
    explain,
    friction,
    impact,
    new_rule,
    replay,
    shadow,
    test,
):
    module.register(app)
