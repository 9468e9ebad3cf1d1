"""`lockgate policy`: what policy authors run. One module a command; each registers its own."""

from __future__ import annotations

from lockgate.cli.commands.policy import budgets, build, bundle, check, friction, new_rule, shadow, test
from lockgate.cli.frame import App

app = App("Check and test policies and their data.")
for module in (budgets, build, bundle, check, friction, new_rule, shadow, test):
    module.register(app)
