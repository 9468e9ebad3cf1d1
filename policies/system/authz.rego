# METADATA
# title: What an OPA that serves this bundle may be asked
# description: The ten decisions, and whether it is healthy. No data is read and no policy written through OPA's own API.
package system.authz

default allow := false

allow if {
	input.method == "POST"
	["v1", "data", "lockgate", question, "decision"] = input.path
	question in questions
	every name, _ in input.params { name == "provenance" }
}

allow if {
	input.method == "GET"
	input.path == ["health"]
}

questions := {"list", "request", "plan", "apply", "heal", "cancel", "approve", "view", "resolve", "admin"}
