"""`lockgate image`: writes the container image of the job, for runners whose sandboxes are pods; it must not push or load it anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lockgate.cli.frame import App, Session


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
            metavar="NAME=PATH", help="One more program for its /usr/local/bin, such as tofu; may be repeated."
        ),
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
        made = write_job_image(archive.absolute(), root, name=name, tools=tools)
    document = {"archive": str(archive), "name": made.name, "digest": made.digest, "image": made.pinned}
    session.screen.answer(document, lambda out: out.print(made.pinned, markup=False, soft_wrap=True))


def _tool(given: str) -> tuple[str, Path]:
    from lockgate.cli.frame import bad_input

    name, _, path = given.partition("=")
    if not name or "/" in name or not Path(path).is_file():
        raise bad_input("tool", f"{given!r}: must be NAME=PATH of a program on this machine", "lockgate image --help")
    return name, Path(path)
