// Package sandboxes lists and removes what a container runtime holds, over the runtime interface that the kubelet itself uses (CRI).
//
// What is listed here exists whether or not the API server still has an object for it: the proof that a pod is gone, and the
// clean end of a cluster, with the network taken down by the plugins that set it up.
package sandboxes

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel/trace/noop"
	criapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	cri "k8s.io/cri-client/pkg"
)

type container struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	State string `json:"state"`
	Image string `json:"image"`
}

type sandbox struct {
	ID         string      `json:"id"`
	Namespace  string      `json:"namespace"`
	Name       string      `json:"name"`
	UID        string      `json:"uid"`
	State      string      `json:"state"`
	Containers []container `json:"containers"`
}

// Run carries out `list`, which prints JSON, or `remove`, which stops and removes every sandbox.
func Run(args []string) error {
	flags := flag.NewFlagSet("sandboxes", flag.ContinueOnError)
	endpoint := flags.String("endpoint", "", "the runtime's socket, as unix:///path")
	timeout := flags.Duration("timeout", 30*time.Second, "for each call")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx := context.Background()
	runtime, err := cri.NewRemoteRuntimeService(ctx, *endpoint, *timeout, noop.NewTracerProvider(), false)
	if err != nil {
		return fmt.Errorf("sandboxes: %s does not answer: %w", *endpoint, err)
	}
	switch flags.Arg(0) {
	case "list":
		found, err := list(ctx, runtime)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(found)
	case "remove":
		return remove(ctx, runtime)
	default:
		return fmt.Errorf("sandboxes: say list or remove, not %q", flags.Arg(0))
	}
}

func list(ctx context.Context, runtime criapi.RuntimeService) ([]sandbox, error) {
	pods, err := runtime.ListPodSandbox(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("sandboxes: list: %w", err)
	}
	containers, err := runtime.ListContainers(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("sandboxes: list containers: %w", err)
	}
	found := make([]sandbox, 0, len(pods))
	for _, pod := range pods {
		one := sandbox{
			ID: pod.Id, Namespace: pod.Metadata.Namespace, Name: pod.Metadata.Name, UID: pod.Metadata.Uid,
			State: pod.State.String(), Containers: []container{},
		}
		for _, each := range containers {
			if each.PodSandboxId == pod.Id {
				one.Containers = append(one.Containers, described(each))
			}
		}
		found = append(found, one)
	}
	return found, nil
}

func described(each *runtimeapi.Container) container {
	return container{ID: each.Id, Name: each.Metadata.Name, State: each.State.String(), Image: each.ImageRef}
}

func remove(ctx context.Context, runtime criapi.RuntimeService) error {
	pods, err := runtime.ListPodSandbox(ctx, nil)
	if err != nil {
		return fmt.Errorf("sandboxes: list: %w", err)
	}
	for _, pod := range pods {
		if err := runtime.StopPodSandbox(ctx, pod.Id); err != nil {
			return fmt.Errorf("sandboxes: stop %s/%s: %w", pod.Metadata.Namespace, pod.Metadata.Name, err)
		}
		if err := runtime.RemovePodSandbox(ctx, pod.Id); err != nil {
			return fmt.Errorf("sandboxes: remove %s/%s: %w", pod.Metadata.Namespace, pod.Metadata.Name, err)
		}
	}
	return nil
}
