// Package netpol enforces NetworkPolicies on one node whose pods are routed, each by an interface of its own. A test engine of ours: no packaged
// engine can be built from a module proxy. It fails closed: an address of the pod range that is not programmed yet sends and receives nothing.
package netpol

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os/exec"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	netlisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	coalesce     = 20 * time.Millisecond
	retry        = time.Second
	announcedFor = time.Minute // that a pod was announced and is not seen in the API
)

type announced struct {
	ip   string
	when time.Time
}

// agent holds what the API says and what the network plugin announced, and writes one nftables table from it.
type agent struct {
	table, cidr string
	pods        corelisters.PodLister
	namespaces  corelisters.NamespaceLister
	policies    netlisters.NetworkPolicyLister
	dirty       chan struct{}

	lock      sync.Mutex // guards what follows, and the table itself
	announced map[types.UID]announced
	last      string
}

// Run watches and enforces until it fails.
func Run(args []string) error {
	flags := flag.NewFlagSet("netpol", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "whom to ask, and as whom")
	socket := flags.String("socket", "", "where the network plugin announces pods")
	a := &agent{dirty: make(chan struct{}, 1), announced: map[types.UID]announced{}}
	flags.StringVar(&a.cidr, "pod-cidr", "", "the addresses of pods")
	flags.StringVar(&a.table, "table", "", "the nftables table, of family inet")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return fmt.Errorf("netpol: %w", err)
	}
	config.QPS, config.Burst = 50, 100
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("netpol: %w", err)
	}
	if err := a.watch(context.Background(), client); err != nil {
		return err
	}
	if err := a.listen(*socket); err != nil {
		return err
	}
	for range a.dirty {
		time.Sleep(coalesce)
		if _, err := a.sync(); err != nil {
			log.Print(err)
			time.AfterFunc(retry, a.kick)
		}
	}
	return nil
}

func (a *agent) kick() {
	select {
	case a.dirty <- struct{}{}:
	default:
	}
}

func (a *agent) watch(ctx context.Context, client kubernetes.Interface) error {
	factory := informers.NewSharedInformerFactory(client, 0)
	pods, namespaces := factory.Core().V1().Pods(), factory.Core().V1().Namespaces()
	policies := factory.Networking().V1().NetworkPolicies()
	a.pods, a.namespaces, a.policies = pods.Lister(), namespaces.Lister(), policies.Lister()
	changed := cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { a.kick() }, UpdateFunc: func(_, _ any) { a.kick() }, DeleteFunc: func(any) { a.kick() },
	}
	for _, informer := range []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()} {
		if _, err := informer.AddEventHandler(changed); err != nil {
			return fmt.Errorf("netpol: %w", err)
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	a.kick()
	return nil
}

// sync brings the table up to what is known and returns the pods that it covers.
func (a *agent) sync() (map[types.UID]bool, error) {
	a.lock.Lock()
	defer a.lock.Unlock()
	pods, err := a.pods.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("netpol: pods: %w", err)
	}
	namespaces, err := a.namespaces.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("netpol: namespaces: %w", err)
	}
	policies, err := a.policies.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("netpol: policies: %w", err)
	}
	known := newWorld(a.addressed(pods), namespaces, policies)
	rules := known.render(a.table, a.cidr)
	if rules != a.last {
		nft := exec.Command("nft", "-f", "-")
		nft.Stdin = strings.NewReader(rules)
		if out, err := nft.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("netpol: nft: %w: %s\n%s", err, out, rules)
		}
		a.last = rules
		log.Printf("enforcing %d policies on %d pods", len(policies), len(known.pods))
	}
	covered := map[types.UID]bool{}
	for _, each := range known.pods {
		covered[each.uid] = true
	}
	return covered, nil
}

// addressed gives each pod that lives on the pod network its address: the API's word, or the plugin's where the API has none yet.
func (a *agent) addressed(pods []*corev1.Pod) []pod {
	found := []pod{}
	seen := map[types.UID]bool{}
	for _, each := range pods {
		seen[each.UID] = true
		ip := each.Status.PodIP
		if ip == "" {
			ip = a.announced[each.UID].ip
		} else {
			delete(a.announced, each.UID)
		}
		over := each.Status.Phase == corev1.PodSucceeded || each.Status.Phase == corev1.PodFailed
		if ip == "" || over || each.Spec.HostNetwork {
			continue
		}
		found = append(found, pod{each.UID, each.Namespace, each.Name, ip, each.Labels, each.Spec.Containers})
	}
	for uid, one := range a.announced {
		if !seen[uid] && time.Since(one.when) > announcedFor {
			delete(a.announced, uid)
		}
	}
	return found
}
