"""`lockgate policy shadow`: what the policy that decides along would change; over REST. It changes nothing."""

from __future__ import annotations

from lockgate.cli.frame import App, Session


def register(app: App) -> None:
    """Add the command."""
    app.add("shadow", speaks=True)(shadow)


def shadow(session: Session) -> None:
    """What the shadow policy (`policy.shadow` in gateway.yaml) would have decided otherwise, since it was loaded."""
    from lockgate.cli.client import people
    from lockgate.cli.show.bars import draws_blocks
    from lockgate.cli.show.shadow import shadow_text

    found = {"revision": None, "differences": [], **people(session).get("/policy/shadow")}
    blocks = draws_blocks(session.screen.out.encoding)
    session.screen.answer(found, lambda out: out.print(shadow_text(found, blocks=blocks)))
