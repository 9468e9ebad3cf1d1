package lockgate.authz_test

import data.system.authz

ask := {
	"method": "POST",
	"path": ["v1", "data", "lockgate", "plan", "decision"],
	"params": {"provenance": ["true"]},
}

test_a_decision_may_be_asked if authz.allow with input as ask

test_health_may_be_asked if authz.allow with input as {"method": "GET", "path": ["health"], "params": {"bundles": [""]}}

test_nothing_else_may_be_read_or_written if {
	every change in [
		{"method": "GET"},
		{"method": "PUT"},
		{"method": "PATCH"},
		{"method": "DELETE"},
		{"path": ["v1", "data"]},
		{"path": ["v1", "data", "lockgate"]},
		{"path": ["v1", "data", "lockgate", "plan"]},
		{"path": ["v1", "data", "lockgate", "parameters"]},
		{"path": ["v1", "data", "lockgate", "sell", "decision"]},
		{"path": ["v1", "data", "lockgate", "plan", "decision", "allow"]},
		{"path": ["v0", "data", "lockgate", "plan", "decision"]},
		{"path": ["v1", "policies", "lockgate"]},
		{"path": ["v1", "query"]},
		{"path": ["v1", "compile"]},
		{"path": ["metrics"]},
		{"path": []},
		{"params": {"explain": ["full"]}},
		{"params": {"provenance": ["true"], "instrument": ["true"]}},
	] {
		not authz.allow with input as object.union(ask, change)
	}
}
