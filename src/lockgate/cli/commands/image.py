"""`lockgate image`: writes the container image of the job, for runners whose sandboxes are pods; it must not push or load it anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from lockgate.cli.frame import App, Session

MAX_PROVIDER_FILES: Final = 400
"""An arrival tells of a bounded number of files."""


def register(root: App) -> None:
    """Add the command."""
    root.add("image")(image)


def image(
    session: Session,
    archive: Annotated[Path, typer.Argument(help="The OCI archive to write.")],
    name: Annotated[str, typer.Option(help="The repository that pods will name it by.")] = "lockgate.test/job",
    tool: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH",
            help="One more program for its /usr/local/bin, such as tofu, which stages are then not sent; may be repeated.",
        ),
    ] = None,
    providers: Annotated[
        Path | None,
        typer.Option(metavar="MIRROR", help="A filesystem mirror whose providers stages are then not sent."),
    ] = None,
) -> None:
    """Write the image that jobs run in on Kubernetes, made of this installation, and say its digest: pods name it by that."""
    import tempfile

    from lockgate.runner.app import installed_tools
    from lockgate.runner.image.job import write_job_image
    from lockgate.runner.sandbox.runtime_root import build_job_root

    tools = dict(_tool(given) for given in tool or ())
    with tempfile.TemporaryDirectory(prefix="lockgate-image-") as folder:
        root = build_job_root(Path(folder), tools=installed_tools())
        made = write_job_image(archive.absolute(), root, name=name, tools=tools, held=_files(providers))
    document = {"archive": str(archive), "name": made.name, "digest": made.digest, "image": made.pinned}
    session.screen.answer(document, lambda out: out.print(made.pinned, markup=False, soft_wrap=True))


def _files(mirror: Path | None) -> list[Path]:
    from lockgate.cli.frame import bad_input

    found = sorted(path for path in mirror.rglob("*") if path.is_file()) if mirror is not None else []
    if mirror is not None and not 0 < len(found) <= MAX_PROVIDER_FILES:
        why = f"{mirror}: must hold files of providers, at most {MAX_PROVIDER_FILES} of them; it holds {len(found)}"
        raise bad_input("providers", why, "lockgate image --help")
    return found


def _tool(given: str) -> tuple[str, Path]:
    from lockgate.cli.frame import bad_input

    name, _, path = given.partition("=")
    if not name or "/" in name or not Path(path).is_file():
        raise bad_input("tool", f"{given!r}: must be NAME=PATH of a program on this machine", "lockgate image --help")
    return name, Path(path)
