package lockgate.rules.allowed_images_test

import data.lockgate
import data.lockgate.asked_test as asked
import data.lockgate.library_test as base

good := "sha256:1111111111111111111111111111111111111111111111111111111111111111"

other := "sha256:2222222222222222222222222222222222222222222222222222222222222222"

entry := asked.deny({"images": {good: true}})

said(question, context) := {violation.details | some violation in d.violations; violation.rule == "allowed_images"} if {
	asked_about := base.ask(question, {"plan": base.plan, "context": object.union({"now": base.monday_noon, "freeze": false}, context)})
	rules := {"rules": {question: {"allowed_images": [entry]}}}
	d := lockgate[question].decision with input as asked_about with data.lockgate.parameters as object.union(base.parameters, rules)
}

test_an_allowed_image_runs if {
	said("request", {"image": good}) == set()
	said("apply", {"image": good}) == set()
}

test_another_image_waits_for_a_runner_with_an_allowed_one if {
	said("request", {"image": other}) == {{"image": other, "waitable": true}}
	said("apply", {"image": other}) == {{"image": other, "waitable": true}}
}

test_no_image_is_none_that_is_allowed if said("apply", {"image": null}) == {{"image": "none", "waitable": true}}

test_what_is_not_known_yet_is_asked_again_later if said("request", {}) == set()
