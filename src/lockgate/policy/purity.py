"""Which built-ins a policy may use: those that are functions of their operands alone, and that both engines answer alike. It runs nothing."""

from __future__ import annotations

import re
from typing import Final

from lockgate.policy.builtins import OFFERED

NATIVE: Final = frozenset(
    """
    abs all and any array.concat array.flatten array.reverse array.slice base64.decode base64.encode base64.is_valid base64url.decode
    base64url.encode bits.and bits.lsh bits.negate bits.or bits.rsh bits.xor ceil concat contains count div endswith equal floor
    format_int glob.match graph.reachable gt gte indexof internal.member_2 internal.member_3 internal.template_string intersection
    is_array is_boolean is_null is_number is_object is_set is_string json.filter json.is_valid json.marshal json.remove json.unmarshal
    lower lt lte max min minus mul neq net.cidr_contains net.cidr_intersects net.cidr_overlap numbers.range object.filter object.get
    object.keys object.remove object.union object.union_n or plus product re_match regex.find_all_string_submatch_n regex.is_valid
    regex.match rem replace round set_diff sort split startswith strings.replace_n strings.reverse substring sum to_number trim
    trim_left trim_prefix trim_right trim_space trim_suffix type_name union upper walk
    """.split()  # noqa: SIM905 (a list of a hundred short strings is no better to read)
)
"""What OPA's Wasm target computes itself; `tests/unit/policy/builtins` compiles each and sees that it asks no host."""

COMPILED: Final = frozenset(
    {"assign", "eq", "print", "internal.print", "internal.test_case", "rego.metadata.chain", "rego.metadata.rule"}
)
"""What the compiler turns into something else before anything is evaluated."""

ALLOWED: Final = NATIVE | COMPILED | frozenset(OFFERED)

_REASONS: Final = (
    (r"time\.now_ns", "it reads the clock; the time of a decision is input.context.now"),
    (r"http\.send|net\.lookup_ip_addr", "it reaches the network; what a policy needs to know comes in its input or data"),
    (r"rand\..*|uuid\.rfc4122", "it is random; a decision must be the same whenever it is made again"),
    (r"opa\.runtime", "it reads the environment of the machine; what a policy needs to know comes in its input or data"),
    (r"io\.jwt\.decode_verify|crypto\.x509\.parse_and_verify.*", "it reads the clock; identities are verified before policy is asked"),
    (r"json\.(match|verify)_schema", "it may fetch a schema from the network"),
    (r"rego\.parse_module", "it parses policy while deciding"),
    (r"regex\.(replace|split|find_n|globs_match|template_match)", "the embedded engine has no regular expressions for it that answer as OPA's do"),
)  # fmt: skip
_UNDEFINED: Final = re.compile(r"undefined function ([A-Za-z0-9_.]+)")
_FAMILIES: Final = "crypto. graph. graphql. io.jwt. json. net. object. providers. regex. rego. strings. time. units. uri. urlquery. uuid. yaml. cast_ trace"


def why_not(name: str) -> str | None:
    """Why a policy may not use the built-in `name`; None for one that it may use, and for what is no built-in at all."""
    if name in ALLOWED:
        return None
    for pattern, reason in _REASONS:
        if re.fullmatch(pattern, name):
            return reason
    if name.startswith(tuple(_FAMILIES.split())):
        return "the embedded engine does not offer it, and both engines must answer alike"
    return None


def explained(said: str) -> str:
    """What `opa` said, each line that names a built-in outside the capabilities followed by why it is outside."""
    return "\n".join(_line(line) for line in said.splitlines())


def _line(line: str) -> str:
    found = _UNDEFINED.search(line)
    reason = why_not(found[1]) if found else None
    return f"{line}: not allowed in a policy: {reason}" if reason else line
