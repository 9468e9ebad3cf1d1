"""The contract suite of the Store port: subclass it, give it a store, run it. It tests the port's promises, no provider's insides."""

from lockgate.testing.store.admission import Admission
from lockgate.testing.store.audit import Audit
from lockgate.testing.store.budgets import Budgets
from lockgate.testing.store.commands import (
    admitted,
    changes,
    control,
    done,
    epoch_of,
    leased_attempt,
    moved,
    transition,
    trusting,
)
from lockgate.testing.store.controls import Controls
from lockgate.testing.store.decisions import DecisionLists
from lockgate.testing.store.history import History
from lockgate.testing.store.lasting import Lasting
from lockgate.testing.store.lists import Lists
from lockgate.testing.store.opening import OpenStore
from lockgate.testing.store.transitions import Transitions

__all__ = [
    "OpenStore",
    "StoreContract",
    "admitted",
    "changes",
    "control",
    "done",
    "epoch_of",
    "leased_attempt",
    "moved",
    "transition",
    "trusting",
]


class StoreContract(Admission, Transitions, Controls, Lists, DecisionLists, Audit, Budgets, History, Lasting):
    """Provide the fixture `open_store`: a function that opens the same, at first empty, store again and again (the earlier one closed)."""
