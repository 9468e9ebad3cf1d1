"""Presents a used grant again: to the real gateway with the runner's own certificate, and to the real runner through a stolen gateway's keys.

The stand-in holds what a thief of the gateway would hold: its TLS key and the grants it has signed. It passes every call on to the real
gateway and only puts the old offer into the lease answer, so that checkpoints and consistency proofs are genuine.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from lockgate.cli.demo.stage import PATIENCE, Stage, free_ports
from lockgate.cli.exits import Exit
from lockgate.cli.home import gateway_settings, runner_settings
from lockgate.cli.ports import set_gateway
from lockgate.cli.problem import Problem
from lockgate.contract.codec import to_document
from lockgate.contract.drivers import declarations
from lockgate.contract.runnerapi import LeaseOffer, StartRequest
from lockgate.contract.work import Work
from lockgate.gateway.app import Listener
from lockgate.gateway.catalog.load import load_directory
from lockgate.keys.tls import runner_client, runner_facing_server
from lockgate.wire.client import GatewayClient, GatewayRefused, GatewayUnavailable
from lockgate.wire.peer import runner_facing_config

CALL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Refusals:
    """What the gateway answered to a second start, and why the runner refused."""

    start: str
    refusal: str


def replay(stage: Stage, details: dict[str, Any]) -> Refusals:
    """Both replays of the apply grant of a finished operation. Raises Problem."""
    stage.both.runner.stop()
    try:
        return asyncio.run(_replay(stage, details))
    except (GatewayRefused, GatewayUnavailable) as error:
        raise Problem(Exit.FAILED, f"the gateway answered otherwise: {error}") from None
    finally:
        set_gateway(stage.home, gateway_settings(stage.home).runners.port)
        stage.both.restart_runner()


async def _replay(stage: Stage, details: dict[str, Any]) -> Refusals:
    settings = runner_settings(stage.home)
    gateway = GatewayClient(settings.gateway, runner_client(settings.keys.tls, dev=True))
    record = next(
        item for item in details["envelopes"] if item["kind"] == "grant" and item["payload"]["phase"] == "apply"
    )
    grant = record["payload"]
    try:
        body = to_document(StartRequest(grant["fence"], grant["inputs_sha256"], None, None))
        started = await gateway.post(f"/runner/v1/attempts/{grant['attempt']}/start", body, CALL_SECONDS)
        refusal = await _through_thief(stage, gateway, _offer(stage, details, record))
    finally:
        await gateway.close()
    return Refusals(str(started["refused"]), refusal)


def _offer(stage: Stage, details: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """The old lease's offer, as a thief would make it: with a time at which the grant had not expired."""
    catalog = load_directory(gateway_settings(stage.home).catalog, declarations())
    operation = details["operation"]
    work = Work(
        catalog.actions[operation["action"]].spec, catalog.targets[operation["target"]].spec, operation["intent"]
    )
    document: dict[str, Any] = to_document(LeaseOffer(record["envelope"], work, record["payload"]["issued_at"] + 1, 30))
    return document


async def _through_thief(stage: Stage, gateway: GatewayClient, offer: dict[str, Any]) -> str:
    """Run the real runner program against the stand-in until it refuses; its own words."""
    loop = asyncio.get_running_loop()
    refusal: asyncio.Future[str] = loop.create_future()

    async def answer(request: Request) -> JSONResponse:
        body = await request.json()
        path = request.url.path
        if path.endswith("/refuse") and not refusal.done():
            refusal.set_result(str(body["reason"]))
        lease = path.endswith("/lease")
        try:
            document = await gateway.post(path, body | ({"wait_seconds": 0} if lease else {}), CALL_SECONDS)
        except GatewayRefused as error:
            said = {"code": error.code, "message": error.message, "field": error.field, "retry": False}
            return JSONResponse(said, error.status or 400)
        return JSONResponse(document | ({"offer": offer} if lease and not refusal.done() else {}))

    port = free_ports().runners
    settings = gateway_settings(stage.home)
    app = Starlette(routes=[Route("/runner/v1/{rest:path}", answer, methods=["POST"])])
    config = runner_facing_config(
        app, host="127.0.0.1", port=port, context=runner_facing_server(settings.runners.tls, dev=True)
    )
    thief = Listener(config)
    serving = asyncio.create_task(thief.serve())
    set_gateway(stage.home, port)
    try:
        await asyncio.to_thread(stage.both.restart_runner)
        return await asyncio.wait_for(refusal, PATIENCE)
    except TimeoutError:
        return "nothing: it did not refuse"
    finally:
        await asyncio.to_thread(stage.both.runner.stop)
        thief.should_exit = True
        await serving
