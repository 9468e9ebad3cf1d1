"""The opentofu driver's five stages, each a few commands of the engine; it must not apply anything but the very plan file it was given."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace

from lockgate.contract.jobchannel import MAX_PLAN_FILE_BYTES, JobResult
from lockgate.contract.state import StateMark
from lockgate.contract.strictjson import StrictJSONError, loads
from lockgate.job.drivers.opentofu import agreement, lockfile
from lockgate.job.drivers.opentofu.engine import Engine, EngineStopped
from lockgate.job.drivers.opentofu.left import contents
from lockgate.job.drivers.opentofu.planfile import read_plan_file, state_mark
from lockgate.job.drivers.opentofu.planvariables import check_variables
from lockgate.job.drivers.opentofu.report import read_report
from lockgate.job.drivers.opentofu.variables import given_variables
from lockgate.job.drivers.opentofu.workplace import Workplace, lay_out, lay_out_bare, locked_providers
from lockgate.job.drivers.port import StageContext, StageRefused

_QUIET = ("-input=false", "-no-color")
_INIT = ("init", *_QUIET, "-lockfile=readonly")
_LOCK_SECONDS = 60
_MAX_STATE_BYTES = 64 << 20


class OpenTofuDriver:
    """See `lockgate.job.drivers.port.ExactDriver`. The target's `engine` names the program: tofu or terraform."""

    def plan(self, ctx: StageContext) -> JobResult:
        """Stages plan and check: the plan file's bytes; what they mean is for `derive` to say."""
        return self._planned(ctx, allowed=(0,), extra=())

    def verify(self, ctx: StageContext) -> JobResult:
        """Plan once more: exit code 0 when nothing is left to change, 2 when something is; the bytes go to `derive` all the same."""
        return self._planned(ctx, allowed=(0, 2), extra=("-detailed-exitcode",))

    def _planned(self, ctx: StageContext, *, allowed: tuple[int, ...], extra: tuple[str, ...]) -> JobResult:
        place = lay_out(ctx)
        locked_providers(place)
        engine = Engine(ctx, place)
        try:
            engine.run(*_INIT)
            agreement.check_backend(ctx, place)
            agreement.check_modules(place)
            outcome = engine.run(
                "plan",
                *_QUIET,
                "-lock=false",
                *extra,
                f"-var-file={place.variables}",
                f"-out={place.plan}",
                allowed=allowed,
            )
            mark = _state_now(ctx, engine)
        except EngineStopped as why:
            return engine.stopped(why)
        data = contents(place.plan, MAX_PLAN_FILE_BYTES, "plan: the file")
        if data is None:
            return engine.result("failed", outcome.exit_code, "the engine ended well and left no plan file")
        result = engine.result("ok", outcome.exit_code)
        return replace(result, plan_file=base64.b64encode(data).decode(), state=mark)

    def derive(self, ctx: StageContext) -> JobResult:
        """What the bytes of the plan file say, by the engine's own `show -json`, with providers from the mirror."""
        if ctx.plan_file is None:
            raise StageRefused("plan: there is no plan file to derive from")
        plan = read_plan_file(ctx.plan_file)
        agreement.check_derived_backend(ctx, plan.backend)
        place = lay_out_bare(ctx)
        engine = Engine(ctx, place)
        try:
            if plan.providers:
                _require(place, plan.providers)
                engine.run(*_INIT, "-backend=false")
            report = read_report(engine.ask("show", "-json", "-no-color", str(ctx.plan_file)), plan)
        except EngineStopped as why:
            return engine.stopped(why)
        return replace(
            engine.result("ok", 0),
            changes=report.changes,
            document=report.document,
            incomplete=report.incomplete,
            provisioners=report.provisioners,
            providers=report.providers,
            state=plan.state,
        )

    def apply(self, ctx: StageContext) -> JobResult:
        """Apply exactly the plan file, after it was shown to be one of this very source; `state` is what is there afterwards."""
        if ctx.plan_file is None:
            raise StageRefused("plan: there is no plan file to apply")
        plan = read_plan_file(ctx.plan_file)
        place = lay_out(ctx)
        check_variables(place.root, given_variables(ctx), plan.variables)
        engine = Engine(ctx, place)
        try:
            engine.run(*_INIT)
            agreement.check_plan(ctx, place, plan, agreement.check_backend(ctx, place))
        except EngineStopped as why:
            return engine.stopped(why)
        try:
            wait = max(0, min(_LOCK_SECONDS, int(ctx.seconds_left / 2))) if place.state is None else 0
            engine.run("apply", *_QUIET, f"-lock-timeout={wait}s", str(ctx.plan_file))
            result = engine.result("ok", 0)
        except EngineStopped as why:
            result = engine.stopped(why)
        return _after(ctx, engine, result, plan.state)

    def read(self, ctx: StageContext) -> JobResult:
        """The outputs of the root module as JSON, less the sensitive ones; it takes no variables."""
        if ctx.inputs.variables:
            raise StageRefused("variables: reading outputs takes none; remove them from the action")
        place = lay_out(ctx)
        engine = Engine(ctx, place)
        try:
            engine.run(*_INIT)
            agreement.check_backend(ctx, place)
            outputs = _outputs(engine.ask("output", "-json", "-no-color"))
        except EngineStopped as why:
            return engine.stopped(why)
        return replace(
            engine.result("ok", 0), output=outputs[: ctx.output_bytes], truncated=len(outputs) > ctx.output_bytes
        )


def _require(place: Workplace, providers: tuple[lockfile.Locked, ...]) -> None:
    """A root module that needs just these providers, and a lock file that pins them, both written by us: no text of the plan reaches the engine."""
    needed = {f"p{index}": {"source": provider.address} for index, provider in enumerate(providers)}
    (place.root / "main.tf.json").write_text(json.dumps({"terraform": {"required_providers": needed}}), "ascii")
    (place.root / lockfile.NAME).write_text(lockfile.write(providers), "ascii")


def _state_now(ctx: StageContext, engine: Engine) -> StateMark | None:
    """Lineage and serial of the state as it is; None when there is none yet. Raises EngineStopped, StageRefused."""
    if engine.place.state is None:
        text = engine.ask("state", "pull")
        return state_mark(text.encode(), "state: the backend's") if text.strip() else None
    data = contents(engine.place.root / engine.place.state, _MAX_STATE_BYTES, "state: the runner's")
    return state_mark(data, "state: the runner's") if data else None


def _after(ctx: StageContext, engine: Engine, result: JobResult, before: StateMark | None) -> JobResult:
    """The result with the state after it; `incomplete` when that was lost: then nobody knows what was done, whatever a later plan shows."""
    if os.path.lexists(engine.place.root / "errored.tfstate"):
        return _lost(
            result, "the engine could not save the state after it changed the target; what it did is in no state"
        )
    try:
        mark = _state_now(ctx, engine)
        if mark is None and (result.status == "ok" or before is not None):
            raise StageRefused("there is none")
        return replace(result, state=mark)
    except (EngineStopped, StageRefused) as error:
        return _lost(result, f"the state after apply cannot be read ({error}); what was done is in no state")


def _lost(result: JobResult, why: str) -> JobResult:
    ended = "" if result.status == "ok" else f" (the tool itself: {result.status})"
    return replace(result, status="incomplete", detail=f"{why}{ended}. {result.detail}"[:2_000])


def _outputs(text: str) -> str:
    try:
        outputs = loads(text.encode(), max_bytes=_MAX_STATE_BYTES, max_depth=128)
    except StrictJSONError as error:
        raise StageRefused(f"outputs: cannot be used: {error}") from None
    shown = {
        name: "(sensitive)" if output.get("sensitive", True) is not False else output.get("value")
        for name, output in outputs.items()
    }
    return json.dumps(shown, sort_keys=True, ensure_ascii=False)
