"""Valid policy inputs, as many as one likes: built of what the library itself looks at, so that a new rule is met without a change here."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import strategies as st

from lockgate.contract.decision import Question
from lockgate.policy.bundle import library_modules
from lockgate.policy.input import build_input

HOSTILE = [
    "", "*", "a", "../..", "\0", "\x1b[2J", "\u2028", "ǅ\u0301", "😀", '"}],"result":true', "${jndi:ldap://x}", "%s%d%v", "0.0.0.0/0", "::/0",
    "::ffff:0.0.0.0/0", "10.0.0.0/8", "hmac-sha256:" + "a" * 64, "latest", "image:latest", "x" * 300, "-1", "1e999", "null", "true",
]  # fmt: skip
NUMBERS = [0, 1, -1, 22, 80, 443, 3389, 65535, 2**31, 2**53, 2**63 - 1, -(2**63), 1e300, 0.1, 1.0, -0.0, 5e-324, 1e21]
MOMENTS = [
    "2026-11-23T12:00:00Z", "2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00.5Z", "2026-10-25T00:30:00Z",
    "2026-10-25T01:30:00Z", "2026-10-25T02:00:00.999999999Z", "2026-11-24T21:59:59Z", "2026-11-24T22:00:00Z", "2026-11-25T03:00:00Z",
    "2026-12-25T09:00:00Z", "2027-01-01T00:00:00Z", "2028-02-29T12:00:00Z", "1970-01-01T00:00:00Z", "2261-12-31T23:59:59Z",
]  # fmt: skip
ISSUERS = ["https://id.example.com", "https://issuer.test", "lockgate:dev"]
PEOPLE = ["agent-web-1", "agent-night-shift", "carol", "alice", "*", ""]
ROLES = ["platform-team", "approvers", "security", "administrators", "reader", "web-deployer", "janitor", "operator"]
ENVIRONMENTS = ["production", "staging", "dev", "*"]

_TEXT = "\n".join(library_modules().values())
_QUOTED = sorted(set(re.findall(r'"([A-Za-z0-9_.:/*-]{1,64})"', _TEXT)))
TYPES = [word for word in _QUOTED if re.fullmatch(r"(aws|google|azurerm|kubernetes|helm)_[a-z0-9_]+", word)]
KEYS = [word for word in _QUOTED if re.fullmatch(r"[a-z][A-Za-z0-9_]*", word) and word not in TYPES]
WORDS = [word for word in _QUOTED if word not in TYPES]
ACTIONS = [
    ["create"],
    ["update"],
    ["delete"],
    ["no-op"],
    ["read"],
    ["delete", "create"],
    ["create", "delete"],
    ["forget"],
]

texts = st.one_of(
    st.sampled_from(HOSTILE), st.sampled_from(WORDS), st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
)
scalars = st.one_of(texts, st.sampled_from(NUMBERS), st.booleans(), st.none())
documents = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)),
    max_leaves=12,
)
attributes = st.dictionaries(st.sampled_from(KEYS), st.one_of(documents, documents.map(json.dumps)), max_size=8)
unknown = st.dictionaries(
    st.sampled_from(KEYS), st.one_of(st.just(True), st.lists(st.just({"value": True}), max_size=2)), max_size=3
)
names = st.one_of(st.sampled_from(["web", "shop", "db", "orders.old"]), texts.filter(lambda text: 0 < len(text) <= 128))
digest = st.sampled_from(["0" * 64, "sha256:" + "1" * 64])
digests = st.fixed_dictionaries(dict.fromkeys(("file_sha256", "inputs_sha256", "semantic_sha256"), digest))
moments = st.sampled_from(MOMENTS)
counts = st.one_of(st.integers(0, 30), st.sampled_from([0, 200, 201, 1_000_000]))


@st.composite
def principals(draw: st.DrawFn, *extra: str) -> dict[str, Any]:
    """Who asks, votes or asked."""
    issuer, subject = draw(st.sampled_from(ISSUERS)), draw(st.sampled_from(PEOPLE[:-1]))
    owner = st.sampled_from([None, "https://id.example.com#carol", "carol", "https://id.example.com#alice"])
    found: dict[str, Any] = {
        "id": f"{issuer}#{subject}",
        "issuer": issuer,
        "subject": subject,
        "kind": draw(st.sampled_from(["agent", "human", "runner"])),
        "owner": draw(owner),
        "on_behalf_of": draw(owner),
    }
    if "roles" in extra:
        found["roles"] = draw(st.lists(st.sampled_from(ROLES), max_size=3))
    if "authentication" in extra:
        auth_time = draw(st.one_of(st.none(), st.integers(0, 2**33), st.just(1795430000)))
        found["authentication"] = {"method": "jwt", "audience": "agents", "auth_time": auth_time}
    return found


@st.composite
def changes(draw: st.DrawFn) -> dict[str, Any]:
    """One resource of a plan, in Terraform's form or nearly."""
    kind, name = draw(st.sampled_from(TYPES)), draw(st.sampled_from(["main", "old", "a-b"]))
    actions = draw(st.sampled_from(ACTIONS))
    before = draw(attributes) if "create" not in actions or len(actions) > 1 else None
    after = draw(attributes) if actions not in (["delete"], ["forget"]) else None
    module = draw(st.sampled_from(["", "module.orders.", 'module.website["eu"].']))
    index = draw(st.sampled_from(["", "[0]", '["a.b"]']))
    change: dict[str, Any] = {"actions": actions, "before": before, "after": after, "after_unknown": draw(unknown)}
    if draw(st.booleans()):
        change["after_sensitive"] = draw(unknown)
    found: dict[str, Any] = {
        "address": f"{module}{kind}.{name}{index}",
        "type": kind,
        "name": name,
        "mode": draw(st.sampled_from(["managed", "managed", "data"])),
        "provider_name": draw(
            st.sampled_from(["registry.terraform.io/hashicorp/aws", "registry.terraform.io/evil/aws", "x"])
        ),
        "change": change,
    }
    for key in draw(st.lists(st.sampled_from(["type", "name", "mode", "provider_name"]), max_size=1)):
        del found[key]
    return found


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """A plan that a driver could have made, or nearly."""
    summary = {name: draw(counts) for name in ("create", "update", "delete", "replace")}
    plan: dict[str, Any] = {
        "digests": draw(digests),
        "fidelity": draw(st.sampled_from(["exact", "predicted"])),
        "incomplete": draw(st.booleans()),
        "summary": summary,
        "resource_changes": draw(st.lists(changes(), max_size=4)),
        "provisioners": draw(st.lists(st.sampled_from(["local-exec", "remote-exec", "file"]), max_size=2)),
        "providers": draw(st.lists(st.sampled_from(["registry.terraform.io/hashicorp/aws", "evil/aws"]), max_size=2)),
    }
    if draw(st.booleans()):
        plan["configuration"] = draw(configurations)
    for part in draw(st.lists(st.sampled_from(["planned_values", "prior_state", "resource_drift"]), max_size=1)):
        plan[part] = draw(documents)
    return plan


_call = st.fixed_dictionaries({}, optional={"source": texts, "version_constraint": texts, "module": documents})
_resource = st.fixed_dictionaries(
    {"address": st.sampled_from([f"{kind}.main" for kind in TYPES])},
    optional={
        "type": st.sampled_from(TYPES),
        "mode": st.sampled_from(["managed", "data"]),
        "provisioners": documents,
        "expressions": attributes,
    },
)
configurations = st.fixed_dictionaries(
    {},
    optional={
        "provider_config": st.dictionaries(st.sampled_from(["aws", "evil"]), st.fixed_dictionaries({}, optional={"full_name": texts, "expressions": attributes}), max_size=2),
        "root_module": st.fixed_dictionaries(
            {},
            optional={
                "resources": st.lists(_resource, max_size=3),
                "module_calls": st.dictionaries(st.sampled_from(["vpc", "orders"]), _call, max_size=2),
            },
        ),
    },
)  # fmt: skip
_operation = st.fixed_dictionaries(
    {
        "operation": st.sampled_from(["op_a", "op_b"]),
        "action": st.sampled_from(["deploy_web", "restart_web"]),
        "effect": st.sampled_from(["read", "change", "destroy"]),
        "target": st.sampled_from(["web", "shop"]),
        "environment": st.sampled_from(ENVIRONMENTS),
        "state": st.sampled_from(["denied", "succeeded", "failed", "running"]),
        "rules": st.lists(st.sampled_from(["role", "region"]), max_size=2),
        "at": moments.filter(lambda text: "." not in text),
    }
)
histories = st.fixed_dictionaries(
    {
        "since": moments.filter(lambda text: "." not in text),
        "complete": st.booleans(),
        "operations": st.lists(_operation, max_size=3),
    }
)


@st.composite
def inputs(draw: st.DrawFn) -> tuple[Question, dict[str, Any]]:
    """A question and its document. What the schema refuses is filtered by whoever asks."""
    question = draw(st.sampled_from(list(Question)))
    context: dict[str, Any] = {"now": draw(moments), "freeze": draw(st.booleans()), "requester": draw(principals())}
    if draw(st.booleans()):
        context["history"] = draw(histories)
    vote = st.fixed_dictionaries(
        {
            "voter": principals("roles"),
            "verdict": st.sampled_from(["approve", "approve", "reject"]),
            "digests": digests,
            "expires_at": moments,
        }
    )
    action = {
        "name": draw(st.sampled_from(["deploy_web", "restart_web", "converge_web", "x"])),
        "driver": draw(st.sampled_from(["opentofu", "runbook", "ansible"])),
        "effect": draw(st.sampled_from(["read", "change", "destroy"])),
        "risk": draw(st.sampled_from(["low", "medium", "high"])),
    }
    target = {
        "name": draw(names),
        "environment": draw(st.sampled_from(ENVIRONMENTS)),
        "region": draw(st.sampled_from(["eu-central", "eu-west", "us", "local"])),
        "labels": draw(
            st.dictionaries(
                st.sampled_from(["team", "tier", "data"]),
                st.sampled_from(["web", "database", "personal", "*"]),
                max_size=3,
            )
        ),
    }
    planned = question in {Question.PLAN, Question.APPLY, Question.APPROVE, Question.HEAL} or draw(st.booleans())
    return question, build_input(
        question=question,
        tenant=draw(st.sampled_from(["default", "acme"])),
        subject=draw(principals("roles", "authentication")),
        action=action,
        target=target,
        arguments=draw(st.dictionaries(names, documents, max_size=3)),
        reason=draw(st.one_of(st.none(), texts)),
        plan=draw(plans()) if planned else None,
        approvals=draw(st.lists(vote, max_size=3)),
        context=context,
    )
