# The rules on Kubernetes: every kind of pod, typed or as a manifest, and what of it is not known.
package lockgate.kubernetes_test

import data.lockgate.asked_test as asked

privileged := {"capabilities": {"NET_BIND_SERVICE": true}, "escalation": "unless_true"}

strict := object.union(privileged, {"escalation": "only_false"})

paths := {"allowed": {"names": {"/dev/null": true}, "prefixes": ["/var/log/"]}}

tags := {"tags": {"names": {"latest": true}, "prefixes": ["dev"]}, "digests": false}

limits := {"limits": ["memory"], "requests": ["cpu"]}

kinds := {"kinds": {kind: true | some kind in ["Namespace", "PersistentVolumeClaim", "PersistentVolume", "CustomResourceDefinition"]}}

at_fault(rule, own, change) if asked.denied(rule, own, [change]) == {change.address}

passes(rule, own, change) if asked.denied(rule, own, [change]) == set()

in_the_dark(rule, own, change) if {
	asked.unknown(rule, own, [change]) == {change.address}
}

# A pod of each form around one container (typed form, manifest form).
pod_types := {"kubernetes_pod", "kubernetes_pod_v1"}

template_types := {
	"kubernetes_deployment", "kubernetes_deployment_v1", "kubernetes_stateful_set", "kubernetes_stateful_set_v1", "kubernetes_daemonset",
	"kubernetes_daemon_set_v1", "kubernetes_job", "kubernetes_job_v1", "kubernetes_replication_controller", "kubernetes_replication_controller_v1",
}

cron_types := {"kubernetes_cron_job", "kubernetes_cron_job_v1"}

typed(spec) := ({asked.created(concat(".", [type, "a"]), {"spec": [spec]}) | some type in pod_types} | {asked.created(concat(".", [type, "a"]), {"spec": [{"template": [{"spec": [spec]}]}]}) | some type in template_types}) | {asked.created(concat(".", [type, "a"]), {"spec": [{"job_template": [{"spec": [{"template": [{"spec": [spec]}]}]}]}]}) | some type in cron_types}

manifest_of(kind, spec) := {"apiVersion": "v1", "kind": kind, "spec": spec} if kind == "Pod"

manifest_of(kind, spec) := {"apiVersion": "batch/v1", "kind": kind, "spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}} if kind == "CronJob"

manifest_of(kind, spec) := {"apiVersion": "v1", "kind": kind, "template": {"spec": spec}} if kind == "PodTemplate"

manifest_of(kind, spec) := {"apiVersion": "apps/v1", "kind": kind, "spec": {"template": {"spec": spec}}} if not kind in {"Pod", "CronJob", "PodTemplate"}

manifest_kinds := {"Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob", "PodTemplate"}

# Below `manifest` as Terraform has it, and plain as another driver may.
manifests(spec) := {asked.created("kubernetes_manifest.a", {"manifest": manifest_of(kind, spec)}) | some kind in manifest_kinds} | {asked.created("kubernetes_manifest.b", manifest_of(kind, spec)) | some kind in manifest_kinds}

test_forms_are_all_there if {
	count(typed({})) == 14
	count(manifests({})) == 18
}

test_privileged_is_found_in_every_kind_of_pod_and_container if {
	every change in typed({"container": [{"image": "a:1"}, {"security_context": [{"privileged": true}]}]}) { at_fault("kubernetes_privileged", privileged, change) }
	every change in typed({"init_container": [{"security_context": [{"privileged": "true"}]}]}) { at_fault("kubernetes_privileged", privileged, change) }
	every name in ["containers", "initContainers", "ephemeralContainers"] {
		every change in manifests({name: [{"name": "a"}, {"securityContext": {"privileged": true}}]}) { at_fault("kubernetes_privileged", privileged, change) }
	}
}

test_a_pod_without_rights_passes if {
	every change in typed({"host_network": false, "container": [{"security_context": [{"privileged": false, "allow_privilege_escalation": false, "capabilities": [{"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}]}]}]}) { passes("kubernetes_privileged", strict, change) }
	every change in manifests({"containers": [{"securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"add": ["CAP_NET_BIND_SERVICE"]}}}]}) { passes("kubernetes_privileged", strict, change) }
	passes("kubernetes_privileged", privileged, asked.created("kubernetes_manifest.a", {"manifest": {"kind": "ConfigMap", "apiVersion": "v1"}}))
}

test_namespaces_of_the_host_escalation_capabilities_and_host_processes if {
	every switch in ["host_network", "host_pid", "host_ipc"] {
		at_fault("kubernetes_privileged", privileged, asked.created("kubernetes_pod.a", {"spec": [{switch: true}]}))
	}
	every switch in ["hostNetwork", "hostPID", "hostIPC"] {
		at_fault("kubernetes_privileged", privileged, asked.created("kubernetes_manifest.a", {"manifest": manifest_of("Pod", {switch: true})}))
	}
	every security in [
		{"allowPrivilegeEscalation": true}, {"capabilities": {"add": ["SYS_ADMIN"]}}, {"capabilities": {"add": ["ALL"]}},
		{"windowsOptions": {"hostProcess": true}},
	] {
		at_fault("kubernetes_privileged", privileged, asked.created("kubernetes_manifest.a", {"manifest": manifest_of("Job", {"containers": [{"securityContext": security}]})}))
	}
	at_fault("kubernetes_privileged", privileged, asked.created("kubernetes_manifest.a", {"manifest": manifest_of("Pod", {"securityContext": {"windowsOptions": {"hostProcess": true}}})}))
}

test_escalation_that_is_left_out_is_a_fault_only_where_false_is_asked_for if {
	silent := asked.created("kubernetes_manifest.a", {"manifest": manifest_of("Pod", {"containers": [{"name": "a"}]})})
	passes("kubernetes_privileged", privileged, silent)
	at_fault("kubernetes_privileged", strict, silent)
}

test_what_is_not_known_of_rights_does_not_pass if {
	whole := asked.later("kubernetes_pod.a", {}, {"spec": true})
	one := asked.later("kubernetes_pod.a", {"spec": [{"container": [{"security_context": [{}]}]}]}, {"spec": [{"container": [{"security_context": [{"privileged": true}]}]}]})
	containers := asked.later("kubernetes_manifest.a", {"manifest": manifest_of("Pod", {})}, {"manifest": {"spec": {"containers": true}}})
	hidden := asked.created("kubernetes_manifest.a", {"manifest": manifest_of("Pod", {"hostPID": "hmac-sha256:00"})})
	every change in [whole, one, containers, hidden] { in_the_dark("kubernetes_privileged", privileged, change) }
}

test_what_cannot_be_seen_is_in_the_dark_for_every_rule_on_pods if {
	every change in [
		asked.created("helm_release.a", {"chart": "nginx"}), asked.created("kubectl_manifest.a", {"yaml_body": "kind: Pod"}),
		asked.created("kubernetes_manifest.a", {"manifest": {"kind": "List", "items": []}}),
		asked.created("kubernetes_manifest.a", {"manifest": {"kind": "PodList", "items": []}}),
		asked.created("kubernetes_manifest.a", {"manifest": {"kind": "hmac-sha256:00"}}),
		asked.later("kubernetes_manifest.a", {}, {"manifest": true}),
		asked.created("kubernetes_manifest.a", {}),
	] {
		in_the_dark("kubernetes_privileged", privileged, change)
		in_the_dark("kubernetes_host_path", paths, change)
		in_the_dark("kubernetes_image_tag", tags, change)
		in_the_dark("kubernetes_limits", limits, change)
	}
}

test_paths_of_the_node if {
	every change in typed({"volume": [{"name": "a", "empty_dir": [{}]}, {"name": "b", "host_path": [{"path": "/var/run"}]}]}) { at_fault("kubernetes_host_path", paths, change) }
	every change in manifests({"volumes": [{"name": "b", "hostPath": {"path": "/"}}]}) { at_fault("kubernetes_host_path", paths, change) }
	every change in manifests({"volumes": [{"name": "a", "emptyDir": {}}]}) { passes("kubernetes_host_path", paths, change) }
	every change in manifests({"volumes": [{"hostPath": {"path": "/var/log/pods"}}, {"hostPath": {"path": "/dev/null"}}]}) { passes("kubernetes_host_path", paths, change) }
	every path in ["/var/log/../../etc", "/var/log", "/dev/null/", "/var/logs"] {
		at_fault("kubernetes_host_path", paths, asked.created("kubernetes_manifest.a", {"manifest": manifest_of("Pod", {"volumes": [{"hostPath": {"path": path}}]})}))
	}
	at_fault("kubernetes_host_path", paths, asked.created("kubernetes_manifest.a", {"manifest": manifest_of("Pod", {"volumes": [{"hostPath": {}}]})}))
}

test_volumes_of_the_node if {
	every kind in ["host_path", "local"] {
		at_fault("kubernetes_host_path", paths, asked.created("kubernetes_persistent_volume_v1.a", {"spec": [{"persistent_volume_source": [{kind: [{"path": "/data"}]}]}]}))
	}
	at_fault("kubernetes_host_path", paths, asked.created("kubernetes_manifest.a", {"manifest": {"kind": "PersistentVolume", "spec": {"hostPath": {"path": "/data"}}}}))
	passes("kubernetes_host_path", paths, asked.created("kubernetes_persistent_volume.a", {"spec": [{"persistent_volume_source": [{"csi": [{"driver": "d"}]}]}]}))
}

test_a_path_that_is_not_known_yet_does_not_pass if {
	later := asked.later("kubernetes_pod.a", {"spec": [{"volume": [{"host_path": [{}]}]}]}, {"spec": [{"volume": [{"host_path": [{"path": true}]}]}]})
	in_the_dark("kubernetes_host_path", paths, later)
	in_the_dark("kubernetes_host_path", paths, asked.later("kubernetes_pod.a", {"spec": [{}]}, {"spec": [{"volume": true}]}))
}

imaged(image) := asked.created("kubernetes_manifest.a", {"manifest": manifest_of("Deployment", {"containers": [{"image": image}]})})

digest := "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

test_tags_that_move if {
	every image in ["nginx", "nginx:latest", "ghcr.io/a/nginx", "registry:5000/nginx", "registry:5000/nginx:latest", "nginx:dev-1", "nginx:", "", "a/b/", "nginx@latest"] {
		at_fault("kubernetes_image_tag", tags, imaged(image))
	}
	at_fault("kubernetes_image_tag", tags, asked.created("kubernetes_manifest.a", {"manifest": manifest_of("Pod", {"containers": [{"name": "no image"}]})}))
}

test_tags_that_do_not_move_and_digests_pass if {
	every image in ["nginx:1.27", "registry:5000/nginx:1.27", "registry:5000/a/nginx:v1", concat("@", ["nginx", digest]), concat("@", ["registry:5000/nginx:latest", digest])] {
		passes("kubernetes_image_tag", tags, imaged(image))
	}
}

test_where_digests_are_asked_for_no_tag_passes if {
	only := object.union(tags, {"digests": true})
	at_fault("kubernetes_image_tag", only, imaged("nginx:1.27"))
	at_fault("kubernetes_image_tag", only, imaged("nginx@sha256:00"))
	passes("kubernetes_image_tag", only, imaged(concat("@", ["nginx", digest])))
}

test_every_container_of_every_kind_has_its_image_looked_at if {
	every change in typed({"container": [{"image": "a:1"}], "init_container": [{"image": "b"}]}) { at_fault("kubernetes_image_tag", tags, change) }
	every change in manifests({"containers": [{"image": "a:1"}], "ephemeralContainers": [{"image": "b:latest"}]}) { at_fault("kubernetes_image_tag", tags, change) }
}

test_an_image_that_is_not_known_yet_does_not_pass if {
	later := asked.later("kubernetes_pod.a", {"spec": [{"container": [{"name": "a"}]}]}, {"spec": [{"container": [{"image": true}]}]})
	in_the_dark("kubernetes_image_tag", tags, later)
	in_the_dark("kubernetes_image_tag", tags, imaged("hmac-sha256:00"))
}

test_limits_and_requests_of_every_container if {
	good := {"limits": {"memory": "1Gi"}, "requests": {"cpu": "100m"}}
	every change in manifests({"containers": [{"resources": good}], "initContainers": [{"resources": good}], "ephemeralContainers": [{}]}) { passes("kubernetes_limits", limits, change) }
	every change in typed({"container": [{"resources": [good]}]}) { passes("kubernetes_limits", limits, change) }
	every change in typed({"container": [{"resources": [good]}], "init_container": [{"resources": []}]}) { at_fault("kubernetes_limits", limits, change) }
	every bad in [{}, {"limits": {"memory": "1Gi"}}, {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}, {"limits": {"memory": "0"}, "requests": {"cpu": "1"}}, {"limits": {"memory": "1Gi"}, "requests": {"cpu": 0}}, {"limits": {"memory": ""}, "requests": {"cpu": "1"}}, {"limits": {"memory": null}, "requests": {"cpu": "1"}}, {"limits": {"memory": true}, "requests": {"cpu": "1"}}] {
		every change in manifests({"containers": [{"resources": good}, {"resources": bad}]}) { at_fault("kubernetes_limits", limits, change) }
	}
	every nothing in ["0", "00.0Gi", "0e3", "0E-3", "+0", "-0Ki"] {
		every change in manifests({"containers": [{"resources": {"limits": {"memory": nothing}, "requests": {"cpu": "1"}}}]}) { at_fault("kubernetes_limits", limits, change) }
	}
	every some_amount in ["1e3", "0.5Gi", "10", "+1Gi"] {
		every change in manifests({"containers": [{"resources": {"limits": {"memory": some_amount}, "requests": {"cpu": "1"}}}]}) { passes("kubernetes_limits", limits, change) }
	}
	every change in manifests({"containers": [{"resources": {"limits": {"memory": 1073741824}, "requests": {"cpu": 0.5}}}]}) { passes("kubernetes_limits", limits, change) }
}

test_limits_that_are_not_known_yet_do_not_pass if {
	computed := asked.later("kubernetes_deployment.a", {"spec": [{"template": [{"spec": [{"container": [{"image": "a:1"}]}]}]}]}, {"spec": [{"template": [{"spec": [{"container": [{"resources": true}]}]}]}]})
	in_the_dark("kubernetes_limits", limits, computed)
}

lost(manifest) := asked.change("kubernetes_manifest.a", ["delete"], {"before": {"manifest": manifest}, "after": null})

test_deleting_what_holds_others if {
	every type in ["kubernetes_namespace", "kubernetes_namespace_v1", "kubernetes_persistent_volume_claim", "kubernetes_persistent_volume_claim_v1", "kubernetes_persistent_volume"] {
		at_fault("kubernetes_delete", kinds, asked.removed(concat(".", [type, "a"])))
		at_fault("kubernetes_delete", kinds, asked.change(concat(".", [type, "a"]), ["delete", "create"], {"before": {}}))
		passes("kubernetes_delete", kinds, asked.created(concat(".", [type, "a"]), {}))
	}
	every kind in ["Namespace", "PersistentVolumeClaim", "CustomResourceDefinition"] {
		at_fault("kubernetes_delete", kinds, lost({"kind": kind}))
		at_fault("kubernetes_delete", kinds, asked.change("kubernetes_manifest.a", ["delete"], {"before": {"kind": kind}, "after": null}))
	}
	passes("kubernetes_delete", kinds, lost({"kind": "ConfigMap"}))
	passes("kubernetes_delete", kinds, asked.removed("kubernetes_deployment.a"))
}

test_a_set_that_takes_its_claims_with_it if {
	policy := {"whenDeleted": "Delete"}
	at_fault("kubernetes_delete", kinds, lost({"kind": "StatefulSet", "spec": {"persistentVolumeClaimRetentionPolicy": policy}}))
	passes("kubernetes_delete", kinds, lost({"kind": "StatefulSet", "spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain"}}}))
	passes("kubernetes_delete", kinds, lost({"kind": "StatefulSet", "spec": {}}))
	block := {"spec": [{"persistent_volume_claim_retention_policy": [{"when_deleted": "Delete"}]}]}
	at_fault("kubernetes_delete", kinds, asked.change("kubernetes_stateful_set_v1.a", ["delete"], {"before": block, "after": null}))
	at_fault("kubernetes_delete", {"kinds": {"StatefulSet": true}}, asked.removed("kubernetes_stateful_set.a"))
	passes("kubernetes_delete", kinds, asked.removed("kubernetes_stateful_set.a"))
}

test_what_is_deleted_unseen_does_not_pass if {
	every change in [asked.removed("helm_release.a"), asked.removed("kubectl_manifest.a"), lost({"kind": "hmac-sha256:00"}), lost({"kind": "List"})] {
		in_the_dark("kubernetes_delete", kinds, change)
	}
}
