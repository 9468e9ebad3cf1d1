"""Options that several `lockgate policy` commands share: which data, and which rules of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DataFile = Annotated[Path | None, typer.Option(help="A data file; default: that of this home.", show_default=False)]
RuleFolders = Annotated[
    list[Path] | None,
    typer.Option(
        help="A folder of the rules that the data brings (needs opa); may stand several times. Default: `own` beside the data.",
        show_default=False,
    ),
]
