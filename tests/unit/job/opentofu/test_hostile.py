"""Sources, plans and surroundings that try to steer the engine: each is refused, and says what it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.job.opentofu import repack

from lockgate.contract.codec import from_document, to_document
from lockgate.contract.intent import Stage
from lockgate.contract.jobchannel import JobResult
from lockgate.job.drivers.opentofu.workplace import OVERRIDE
from lockgate.job.drivers.port import StageRefused
from lockgate.wire.frames import HEADER_BYTES, decode, encode

pytestmark = pytest.mark.tofu

ONE = 'resource "terraform_data" "one" {\n  input = 1\n}\n'
ELSEWHERE = 'terraform {\n  backend "local" {\n    path = "/tmp/lockgate-elsewhere.tfstate"\n  }\n}\n'
CLOUD = 'terraform {\n  cloud {\n    hostname     = "app.terraform.io"\n    organization = "x"\n    workspaces {\n      name = "y"\n    }\n  }\n}\n'


@pytest.mark.parametrize(
    "name",
    ["zzz_override.tf", "zz_lockgate_override.tf.override.tf", "zz_lockgate_override_override.tf", "zz_~_override.tf"],
)
def test_no_file_of_the_source_moves_the_state_away_from_the_runner(site, name):
    site.write("main.tf", ONE)
    site.write(name, ELSEWHERE)
    try:
        result = site.planned()
    except StageRefused as refused:
        assert "backend: 'local' is in force where the runner keeps the state" in str(refused)
    else:
        # A name that sorts before ours loses, or is no override at all and clashes: then the runner's state is what was planned on.
        assert result.status == "failed" or site.apply(site.plan()).state is not None
    assert not Path("/tmp/lockgate-elsewhere.tfstate").exists()


def test_a_later_override_of_the_backend_is_refused(site):
    site.write("main.tf", ONE)
    site.write("zzz_override.tf", ELSEWHERE)
    with pytest.raises(StageRefused, match=r"^backend: 'local' is in force"):
        site.planned()


def test_a_declared_backend_is_replaced_by_the_runners(site):
    site.write("main.tf", ONE + ELSEWHERE)
    site.settle()
    assert (site.state / "terraform.tfstate").exists()
    assert not Path("/tmp/lockgate-elsewhere.tfstate").exists()


def test_a_cloud_block_does_not_take_the_run_out_of_the_sandbox(site):
    site.write("main.tf", ONE + CLOUD)
    site.settle()
    assert (site.state / "terraform.tfstate").exists()
    site.write("zzz_override.tf", CLOUD)
    try:
        result = site.planned()
    except StageRefused as refused:
        assert "backend: 'cloud' is in force" in str(refused)
    else:
        assert result.status == "failed"
        assert "init ended" in result.detail


def test_opentofus_own_file_suffix_does_not_hide_the_override(site):
    site.write("main.tf", ONE)
    site.write(OVERRIDE.replace(".tf.json", ".tofu.json"), "{}")
    if site.engine == "terraform":
        assert site.planned().status == "ok"
    else:
        with pytest.raises(StageRefused, match=r"^backend: 'local' is in force"):
            site.planned()


def test_lockgates_own_file_name_is_not_the_sources_to_use(site):
    site.write("main.tf", ONE)
    site.write(OVERRIDE, "{}")
    with pytest.raises(StageRefused, match=rf"^entry: .*{OVERRIDE}"):
        site.planned()


def test_a_backend_is_needed_where_the_target_says_so_and_must_outlive_the_sandbox(site):
    backend = {"settings": {"state": "backend"}}
    site.write("main.tf", ONE)
    with pytest.raises(StageRefused, match="declares none that outlives the sandbox"):
        site.planned(**backend)
    site.write("main.tf", ONE + 'terraform {\n  backend "local" {\n    path = "kept.tfstate"\n  }\n}\n')
    with pytest.raises(StageRefused, match="declares none that outlives the sandbox"):
        site.planned(**backend)


def test_a_declared_backend_keeps_the_state_and_its_marks_are_told(site):
    kept = site.base / "elsewhere" / "kept.tfstate"
    kept.parent.mkdir()
    site.write("main.tf", ONE + f'terraform {{\n  backend "local" {{\n    path = "{kept}"\n  }}\n}}\n')
    backend = {"settings": {"state": "backend"}}
    plan = site.plan(**backend)
    assert site.derive(plan, **backend).status == "ok"
    applied = site.apply(plan, **backend)
    assert (applied.status, applied.state.lineage) == ("ok", json.loads(kept.read_bytes())["lineage"])
    assert site.verify(**backend).state == applied.state
    assert list(site.state.iterdir()) == []
    with pytest.raises(StageRefused, match="backend"):
        site.derive(plan)
    with pytest.raises(StageRefused, match="another backend"):
        site.apply(plan)


def test_a_plan_that_would_keep_its_state_elsewhere_is_refused(site):
    site.write("main.tf", ONE)
    plan = site.plan()
    tfplan = repack.members(plan)["tfplan"]
    start = tfplan.index(b"../")
    path = tfplan[start : tfplan.index(b"terraform.tfstate") + len("terraform.tfstate")]
    for other, refused_by in (
        (b"/" + b"x" * (len(path) - 1), "derive"),
        (path.replace(b"/state/", b"/stale/"), "apply"),
    ):
        tampered = repack.changed(plan, tfplan=tfplan.replace(path, other))
        with pytest.raises(StageRefused, match="backend"):
            site.derive(tampered) if refused_by == "derive" else site.apply(tampered)


def test_configuration_changed_inside_a_plan_is_shown_by_derive_and_refused_by_apply(site):
    site.write("main.tf", ONE)
    plan = site.plan()
    canary = site.base / "canary"
    run = f'  provisioner "local-exec" {{\n    command = "touch {canary}"\n  }}\n}}\n'
    tampered = repack.pack(
        (name, ONE.replace("}\n", run).encode() if name == "tfconfig/m-/main.tf" else content)
        for name, content in repack.members(plan).items()
    )
    assert site.derive(tampered).provisioners == ("terraform_data.one: local-exec",)
    with pytest.raises(StageRefused, match=r"configuration of the root module is not the sealed source's"):
        site.apply(tampered)
    assert not canary.exists()
    assert site.apply(plan).status == "ok"


def test_a_file_or_module_more_inside_a_plan_is_refused_by_apply(site):
    site.write("main.tf", ONE)
    plan = repack.members(site.plan())
    more = {**plan, "tfconfig/m-/more.tf": b'resource "terraform_data" "more" {}\n'}
    with pytest.raises(StageRefused, match="not the sealed source's"):
        site.apply(repack.pack(more.items()))
    with pytest.raises(StageRefused, match="modules that the source does not call"):
        site.apply(repack.pack({**plan, "tfconfig/m-other/main.tf": b""}.items()))
    listed = [{"Key": "", "Dir": "."}, {"Key": "m", "Source": "./m", "Dir": "m"}]
    with pytest.raises(StageRefused, match="its modules are not those of the source"):
        site.apply(repack.pack({**plan, "tfconfig/modules.json": json.dumps(listed).encode()}.items()))


def test_nothing_from_outside_the_inputs_steers_the_engine(site, monkeypatch):
    site.write(
        "main.tf",
        'variable "x" {\n  default = "own"\n}\nresource "terraform_data" "x" {\n  input = [var.x, terraform.workspace]\n}\n',
    )
    canary = site.base / "canary"
    for name, value in {
        "TF_VAR_x": "theirs",
        "TF_CLI_ARGS": "-refresh=false -target=nothing.x",
        "TF_CLI_ARGS_plan": "-var=x=theirs",
        "TF_WORKSPACE": "theirs",
        "TF_DATA_DIR": str(site.base / "theirs"),
        "TF_LOG": "TRACE",
        "TF_LOG_PATH": str(canary),
        "TF_REATTACH_PROVIDERS": "{}",
        "TF_PLUGIN_CACHE_DIR": str(site.base),
    }.items():
        monkeypatch.setenv(name, value)
    site.write(".terraform/environment", "theirs")
    derived = site.derive(site.plan())
    assert derived.changes[0]["change"]["after"]["input"] == ["own", "default"]
    assert not canary.exists()


def test_the_stages_egress_proxy_reaches_the_engine_and_no_other_variable_does(site, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "theirs")
    command = "echo proxy=$HTTPS_PROXY$HTTP_PROXY aws=$AWS_SECRET_ACCESS_KEY"
    site.write(
        "main.tf",
        f'resource "terraform_data" "x" {{\n  provisioner "local-exec" {{\n    command = "{command}"\n  }}\n}}\n',
    )
    assert "proxy=http://127.0.0.1:1 aws=\n" in site.apply(site.plan(), proxy="http://127.0.0.1:1").log


@pytest.mark.parametrize(
    ("variables", "settings", "said"),
    [
        ({"fixed": "x"}, {"variables": {"fixed": 1}}, "variables.fixed: the target's settings fix"),
        ({"-x": "x"}, {}, "variables.-x"),
        ({"a b": "x"}, {}, "variables.a b"),
        ({"x": "e\u0301"}, {}, "variables.x: .* normalisation form C"),
        ({"x": [{"e\u0301": 1}]}, {}, "variables.x: .* normalisation form C"),
        ({}, {"variables": []}, "settings.variables"),
        ({}, {"engine": "pulumi"}, "settings.engine"),
        ({}, {"engine": ["terraform"]}, "settings.engine"),
        ({}, {"state": "nowhere"}, "settings.state"),
        ({}, {"workspace": "x"}, "settings.workspace"),
        ({}, {"environment": {"TF_LOG": "x"}}, "settings.environment.TF_LOG"),
        ({}, {"environment": {"LD_PRELOAD": "x"}}, "settings.environment.LD_PRELOAD"),
        ({}, {"environment": {"AWS_PROFILE": "../x"}}, "settings.environment.AWS_PROFILE"),
    ],
)
def test_inputs_that_would_steer_the_engine_are_refused_by_name(site, variables, settings, said):
    site.write("main.tf", ONE)
    with pytest.raises(StageRefused, match=said):
        site.planned(variables, settings=settings)


def test_a_variable_that_the_root_module_does_not_declare_is_refused_by_name(site):
    site.write("child/main.tf", 'variable "inner" {}\n')
    site.write("main.tf", ONE)
    for name in ("other", "inner", "count"):
        result = site.planned({name: 1})
        assert result.status == "failed"
        assert f"variables.{name}: the root module declares no variable of this name" in result.detail
    assert "variables.other" in site.planned(settings={"variables": {"other": 1}}).detail


@pytest.mark.parametrize("entry", ["", "..", "a/../..", "/etc", "-x", "missing", "main.tf", "link", "a\nb"])
def test_an_entry_that_is_no_directory_of_the_source_is_refused(site, entry):
    site.write("main.tf", ONE)
    (site.base / "elsewhere").mkdir()
    (site.source / "link").symlink_to(site.base / "elsewhere")
    with pytest.raises(StageRefused, match=r"^entry: "):
        site.planned(entry=entry)


def test_a_link_in_the_source_is_not_followed(site):
    site.write("main.tf", ONE)
    (site.source / "passwd.tf").symlink_to("/etc/passwd")
    with pytest.raises(StageRefused, match="links are not followed"):
        site.planned()


def test_a_missing_engine_is_refused_before_anything_starts(site):
    site.write("main.tf", ONE)
    for tool in (None, site.base):
        with pytest.raises(StageRefused, match=r"^tool: the program (tofu|terraform) is not here"):
            site.planned(tool=tool)


@pytest.mark.parametrize(
    "command",
    [
        "rm -rf STATE && touch STATE",
        "rm STATE/terraform.tfstate",
        "echo x > STATE/terraform.tfstate; chmod 0 STATE/x; exit 1",
    ],
)
def test_a_state_that_is_lost_while_applying_is_said_loudly_and_is_no_success(site, command):
    command = command.replace("STATE", str(site.state))
    site.write(
        "main.tf",
        f'resource "terraform_data" "x" {{\n  provisioner "local-exec" {{\n    command = "{command}"\n  }}\n}}\n',
    )
    result = site.apply(site.plan())
    assert (result.status, result.state) == ("incomplete", None)
    assert "is in no state" in result.detail


def test_a_state_the_engine_could_only_save_beside_itself_is_no_success(site):
    command = "echo '{}' > errored.tfstate"
    site.write(
        "main.tf",
        f'resource "terraform_data" "x" {{\n  provisioner "local-exec" {{\n    command = "{command}"\n  }}\n}}\n',
    )
    result = site.apply(site.plan())
    assert (result.status, result.state) == ("incomplete", None)
    assert "could not save the state" in result.detail


@pytest.mark.slow
@pytest.mark.parametrize("site", ["opentofu"], indirect=True)
def test_ten_thousand_changes_are_shown(site):
    site.write("main.tf", 'variable "n" {}\nresource "terraform_data" "x" {\n  count = var.n\n}\n')
    derived = site.derive(site.plan({"n": 10_000}))
    assert (derived.status, len(derived.changes)) == ("ok", 10_000)
    # As the runner receives it.
    assert from_document(JobResult, decode(encode(to_document(derived))[HEADER_BYTES:])) == derived


def test_credentials_reach_the_engine_by_the_names_the_target_gives_them(site):
    credentials = site.base / "credentials"
    credentials.mkdir()
    (credentials / "token").write_text("s3cr3t-token\n")
    command = 'test "$CLOUD_TOKEN" = s3cr3t-token && test -z "$OTHER" && echo same'
    site.write(
        "main.tf",
        f'resource "terraform_data" "x" {{\n  provisioner "local-exec" {{\n    command = {json.dumps(command)}\n  }}\n}}\n',
    )
    settings = {"environment": {"CLOUD_TOKEN": "token", "OTHER": "missing"}}
    context = site.context(Stage.APPLY, plan=site.plan(), settings=settings, credentials=credentials)
    result = site.driver.apply(context)
    assert result.status == "ok", result.detail
    assert "same" in result.log
