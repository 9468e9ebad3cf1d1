"""`lockgate policy bundle`: sign, verify and compare bundles. A private key is named by its file, never given as an argument."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lockgate.cli.commands.policy.build import build_bundle, replace_file
from lockgate.cli.commands.policy.options import Rebuild, compared
from lockgate.cli.exits import Exit
from lockgate.cli.frame import App, Session, bad_input

if TYPE_CHECKING:
    from lockgate.policy.bundle import PolicyBundle
    from lockgate.policy.bundles.signature import Verifier
    from lockgate.policy.sources.port import Fetched

bundles = App("Build, sign, verify and compare policy bundles.")
Place = Annotated[Path, typer.Argument(help="A bundle: a `.tar.gz` file, or the directory of an unpacked one.")]
Scope = Annotated[str, typer.Option(help="The scope that the signature is for.")]


def register(app: App) -> None:
    """Add the group."""
    app.add_typer(bundles, name="bundle")


bundles.add("build")(build_bundle)


@bundles.add("key")
def make_key(
    session: Session,
    private: Annotated[Path, typer.Argument(help="The private key to make; gateways never need it.")],
    public: Annotated[Path, typer.Argument(help="Its public half, which gateways pin.")],
) -> None:
    """Make a key that signs bundles (ECDSA P-256, which every OPA knows): the private half mode 0600, never replacing a file."""
    from lockgate.policy.bundles.keys import generate_signing_key, write_verifying_key

    generate_signing_key(private)
    write_verifying_key(private, public)
    document = {"private": str(private), "public": str(public), "algorithm": "ES256"}
    session.screen.answer(
        document, lambda out: print(f"{private} signs; pin {public} under policy.keys in gateway.yaml")
    )


@bundles.add("sign")
def sign(
    session: Session,
    bundle: Place,
    key: Annotated[Path, typer.Option(help="PEM file of the private key, mode 0600.")],
    key_id: Annotated[str, typer.Option(help="The name under which gateways pin the public half.")],
    sequence: Annotated[
        int | None, typer.Option(help="Orders releases; default: the time in seconds.", show_default=False)
    ] = None,
    max_age: Annotated[
        int | None,
        typer.Option(help="Seconds until gateways deny everything unless a newer release came.", show_default=False),
    ] = None,
    scope: Scope = "",
    output: Annotated[
        Path | None, typer.Option(help="Where the signed bundle goes; default: in its place.", show_default=False)
    ] = None,
) -> None:
    """Release a bundle: write sequence and time into its manifest, and sign everything in it. The revision stays the same."""
    from lockgate.policy.bundle import Release
    from lockgate.policy.bundles.keys import signing_key
    from lockgate.policy.bundles.release import signed_archive

    now = int(time.time())
    release = Release(now if sequence is None else sequence, now, max_age)
    if release.sequence < 1 or (max_age is not None and max_age < 1):
        raise bad_input("sequence", "sequence and max-age are whole numbers from 1")
    place = output or bundle
    if place.is_dir():
        raise bad_input("output", f"{place} is a directory", "say with --output which file to write")
    content = read_place(bundle, None)
    replace_file(place, signed_archive(content, release, signing_key(key_id, key), scope))
    document = {"bundle": str(place), "revision": content.revision, "key": key_id, **_release(release)}
    session.screen.answer(
        document,
        lambda out: print(f"{place}: revision {content.revision}, sequence {release.sequence}, signed by {key_id}"),
    )


@bundles.add("verify")
def verify(
    session: Session,
    bundle: Place,
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID=FILE",
            help="A public key by its id; may stand several times; default: those of this home.",
            show_default=False,
        ),
    ] = None,
    scope: Annotated[
        str | None,
        typer.Option(help="The scope that the signature is for; default: that of this home.", show_default=False),
    ] = None,
    rebuild: Rebuild = None,
) -> Exit:
    """Check signature, files and manifest of a bundle as a gateway would before it takes it up, and that its module is what its Rego compiles to."""
    from lockgate.policy.port import PolicyLoadError

    verifier = _verifier(session, key, scope)
    try:
        content = read_place(bundle, verifier)
        unchecked = compared(content, rebuild)
    except PolicyLoadError as error:
        said = str(error)
        session.screen.answer({"ok": False, "bundle": str(bundle), "error": said}, lambda out: print(said))
        return Exit.FAILED
    document = _told(content) | {"ok": True, "bundle": str(bundle), "module_is_from_rego": None if unchecked else True}

    def render(_: object) -> None:
        print(f"{bundle}: signed by {content.key}")
        for name in ("revision", "sequence", "signed_at", "max_age_seconds", "roots", "opa", "rules", "rego"):
            if document.get(name) is not None:
                print(f"  {name:<16} {document[name]}")
        print(
            f"  {'module':<16} {'not compared with the Rego: ' + unchecked if unchecked else 'compiled again: it is what the Rego says'}"
        )
        if not document["parameters_are_from_text"]:
            print("  note: the parameters are not what this version of Lockgate makes of the policy-data.yaml in it")

    session.screen.answer(document, render)
    return Exit.OK


@bundles.add("diff")
def diff(session: Session, old: Place, new: Place) -> Exit:
    """Say what differs between two bundles: rules, parameters, Rego, roots, release. Exit code 1 when they do not decide alike."""
    from lockgate.policy.bundles.diff import bundle_diff, lines

    found = bundle_diff(read_place(old, None), read_place(new, None))
    session.screen.answer(found, lambda out: print("\n".join(lines(found))))
    return Exit.OK if found["same"] else Exit.FAILED


def read_place(place: Path, verifier: Verifier | None) -> PolicyBundle:
    """The bundle at a place; without a verifier nobody's signature is looked at. Raises PolicyLoadError."""
    from lockgate.policy.bundles.layout import SIGNATURES, read_bundle

    fetched = _fetched(place)
    signer = verifier.verify(fetched.files, fetched.name) if verifier else None
    files = {path: content for path, content in fetched.files.items() if path != SIGNATURES}
    return read_bundle(files, fetched.name, signer)


def _fetched(place: Path) -> Fetched:
    import asyncio

    from lockgate.policy.port import PolicyLoadError
    from lockgate.policy.sources.file import DirectorySource, FileSource
    from lockgate.policy.sources.port import SourceUnavailable

    source = DirectorySource(place) if place.is_dir() else FileSource(place)
    try:
        fetched = asyncio.run(source.look())
    except SourceUnavailable as error:
        raise PolicyLoadError(str(place), str(error).removeprefix(f"{place}: ")) from None
    assert fetched is not None  # noqa: S101  (the first look brings or raises)
    return fetched


def _verifier(session: Session, keys: list[str] | None, scope: str | None) -> Verifier:
    from lockgate.policy.bundles.keys import verifying_key
    from lockgate.policy.bundles.signature import Verifier

    pinned: dict[str, Path] = {}
    for item in keys or ():
        key_id, found, file = item.partition("=")
        if not found or not key_id or not file:
            raise bad_input("key", f"{item[:80]!r} must be ID=FILE")
        pinned[key_id] = Path(file).expanduser()  # no shell does it within a word
    if not keys:
        from lockgate.cli.home import gateway_settings

        policy = gateway_settings(session.home).policy
        pinned, scope = dict(policy.keys), policy.scope if scope is None else scope
        if not pinned:
            raise bad_input(
                "key", "this deployment pins no key", "give --key ID=FILE, or set policy.keys in gateway.yaml"
            )
    return Verifier({key_id: verifying_key(key_id, path) for key_id, path in pinned.items()}, scope or "")


def _told(bundle: PolicyBundle) -> dict[str, Any]:
    return {
        "revision": bundle.revision,
        "key": bundle.key,
        "roots": list(bundle.roots),
        "opa": bundle.opa,
        "rules": len(bundle.rules),
        "rego": len(bundle.modules),
        "parameters_are_from_text": _from_text(bundle),
        **(_release(bundle.release) if bundle.release else {}),
    }


def _from_text(bundle: PolicyBundle) -> bool:
    """Whether what people read in the bundle is what decides; a newer Lockgate may derive more from the same text."""
    import json

    from lockgate.policy.bundles.layout import DATA_TEXT
    from lockgate.policy.parameters import read_parameters
    from lockgate.policy.port import PolicyLoadError

    try:
        return bool(read_parameters(bundle.data_text, DATA_TEXT) == json.loads(bundle.data)["lockgate"]["parameters"])
    except PolicyLoadError:
        return False


def _release(release: Any) -> dict[str, Any]:
    said = {"sequence": release.sequence, "signed_at": datetime.fromtimestamp(release.signed_at, UTC).isoformat()}
    return said if release.max_age is None else {**said, "max_age_seconds": release.max_age}
