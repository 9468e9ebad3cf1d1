package netpol

import (
	"fmt"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// pod is one pod with an address on the pod network.
type pod struct {
	uid                 types.UID
	namespace, name, ip string
	labels              map[string]string
	containers          []corev1.Container
}

// world is all that rules are made of; rendering it is a pure function.
type world struct {
	pods       []pod
	namespaces map[string]map[string]string
	policies   []*netv1.NetworkPolicy
}

func newWorld(pods []pod, namespaces []*corev1.Namespace, policies []*netv1.NetworkPolicy) world {
	w := world{pods, map[string]map[string]string{}, append([]*netv1.NetworkPolicy{}, policies...)}
	for _, each := range namespaces {
		w.namespaces[each.Name] = each.Labels
	}
	// In order, so that the same world is the same text.
	sort.Slice(w.pods, func(i, j int) bool {
		return w.pods[i].namespace+"/"+w.pods[i].name < w.pods[j].namespace+"/"+w.pods[j].name
	})
	sort.Slice(w.policies, func(i, j int) bool {
		return w.policies[i].Namespace+"/"+w.policies[i].Name < w.policies[j].Namespace+"/"+w.policies[j].Name
	})
	return w
}

// side is one direction of a pod's traffic: which address of a packet is the peer's, and whether a policy isolates the pod in it.
type side struct {
	peer     string
	isolated bool
	allowed  []string
}

func (w world) render(table, cidr string) string {
	var chains strings.Builder
	var known, egress, ingress []string
	for number, each := range w.pods {
		known = append(known, each.ip)
		out, in := w.sides(each)
		if out.isolated {
			egress = append(egress, fmt.Sprintf("%s : jump egress%d", each.ip, number))
			writeChain(&chains, fmt.Sprintf("egress%d", number), out.allowed)
		}
		if in.isolated {
			ingress = append(ingress, fmt.Sprintf("%s : jump ingress%d", each.ip, number))
			writeChain(&chains, fmt.Sprintf("ingress%d", number), in.allowed)
		}
	}
	elements := ""
	if len(known) > 0 {
		elements = "elements = { " + strings.Join(known, ", ") + " }"
	}
	var text strings.Builder
	// Declared, deleted and made again in one transaction: packets see the old table or the new one.
	fmt.Fprintf(&text, "table inet %[1]s\ndelete table inet %[1]s\ntable inet %[1]s {\n", table)
	fmt.Fprintf(&text, "  set known { type ipv4_addr; %s }\n%s", elements, chains.String())
	fmt.Fprintf(&text, "  chain egress {\n    ip saddr != @known counter drop\n%s  }\n", verdicts("saddr", egress))
	fmt.Fprintf(&text, "  chain ingress {\n    ip daddr != @known counter drop\n%s  }\n", verdicts("daddr", ingress))
	fmt.Fprintf(&text, hooks, cidr)
	return text.String()
}

// Pods have no IPv6 address but each interface has a link-local one, by which a pod reached everything that listens on its host.
const hooks = `  chain forward {
    type filter hook forward priority -10; policy accept;
    iifname "veth*" meta nfproto ipv6 counter drop
    oifname "veth*" meta nfproto ipv6 counter drop
    ct state established,related accept
    ip saddr %[1]s jump egress
    ip daddr %[1]s jump ingress
  }
  chain input {
    type filter hook input priority -10; policy accept;
    iifname "veth*" meta nfproto ipv6 counter drop
    ct state established,related accept
    iifname "veth*" ip saddr %[1]s jump egress
  }
}
`

func writeChain(text *strings.Builder, name string, allowed []string) {
	fmt.Fprintf(text, "  chain %s {\n", name)
	for _, match := range allowed {
		fmt.Fprintf(text, "    %s\n", strings.TrimSpace(match+" return"))
	}
	fmt.Fprintf(text, "    counter drop\n  }\n")
}

func verdicts(address string, jumps []string) string {
	if len(jumps) == 0 {
		return ""
	}
	return "    ip " + address + " vmap { " + strings.Join(jumps, ", ") + " }\n"
}

func (w world) sides(one pod) (egress, ingress side) {
	egress, ingress = side{peer: "daddr"}, side{peer: "saddr"}
	for _, policy := range w.policies {
		if policy.Namespace != one.namespace || !selects(&policy.Spec.PodSelector, one.labels, true) {
			continue
		}
		for _, kind := range policy.Spec.PolicyTypes {
			if kind == netv1.PolicyTypeEgress {
				egress.isolated = true
				for _, rule := range policy.Spec.Egress {
					egress.allowed = append(egress.allowed, w.matches(policy.Namespace, egress.peer, rule.To, rule.Ports, w.pods)...)
				}
			} else {
				ingress.isolated = true
				for _, rule := range policy.Spec.Ingress {
					ingress.allowed = append(ingress.allowed, w.matches(policy.Namespace, ingress.peer, rule.From, rule.Ports, []pod{one})...)
				}
			}
		}
	}
	return egress, ingress
}

// matches are the packets that one rule of a policy lets pass; `listeners` are the pods whose named ports may be meant.
func (w world) matches(namespace, peer string, peers []netv1.NetworkPolicyPeer, ports []netv1.NetworkPolicyPort, listeners []pod) []string {
	addresses := []string{}
	if len(peers) == 0 {
		addresses = []string{""} // none named: all
	}
	for _, each := range peers {
		addresses = append(addresses, w.addresses(namespace, peer, each)...)
	}
	var found []string
	for _, address := range addresses {
		for _, port := range portMatches(ports, listeners) {
			found = append(found, strings.TrimSpace(address+" "+port))
		}
	}
	return found
}

func (w world) addresses(namespace, peer string, from netv1.NetworkPolicyPeer) []string {
	if block := from.IPBlock; block != nil {
		if strings.Contains(block.CIDR, ":") {
			return nil // no IPv6 passes at all
		}
		match := "ip " + peer + " " + block.CIDR
		if len(block.Except) > 0 {
			match += " ip " + peer + " != { " + strings.Join(block.Except, ", ") + " }"
		}
		return []string{match}
	}
	var ips []string
	for _, each := range w.pods {
		inNamespace := each.namespace == namespace
		if from.NamespaceSelector != nil {
			inNamespace = selects(from.NamespaceSelector, w.namespaces[each.namespace], false)
		}
		if inNamespace && (from.PodSelector == nil || selects(from.PodSelector, each.labels, false)) {
			ips = append(ips, each.ip)
		}
	}
	if len(ips) == 0 {
		return nil
	}
	return []string{"ip " + peer + " { " + strings.Join(ips, ", ") + " }"}
}

func portMatches(ports []netv1.NetworkPolicyPort, listeners []pod) []string {
	if len(ports) == 0 {
		return []string{""}
	}
	var found []string
	for _, each := range ports {
		protocol := "tcp"
		if each.Protocol != nil {
			protocol = strings.ToLower(string(*each.Protocol))
		}
		switch {
		case each.Port == nil:
			found = append(found, "meta l4proto "+protocol)
		case each.Port.Type == intstr.String:
			found = append(found, namedPorts(each.Port.StrVal, protocol, listeners)...)
		case each.EndPort != nil:
			found = append(found, fmt.Sprintf("%s dport %d-%d", protocol, each.Port.IntVal, *each.EndPort))
		default:
			found = append(found, fmt.Sprintf("%s dport %d", protocol, each.Port.IntVal))
		}
	}
	return found
}

func namedPorts(name, protocol string, listeners []pod) []string {
	var found []string
	for _, each := range listeners {
		for _, container := range each.containers {
			for _, port := range container.Ports {
				if port.Name == name && strings.EqualFold(string(port.Protocol), protocol) {
					found = append(found, fmt.Sprintf("ip daddr %s %s dport %d", each.ip, protocol, port.ContainerPort))
				}
			}
		}
	}
	return found
}

// selects says whether a selector takes these labels; one that cannot be read counts as `unreadable`, the answer that lets less pass.
func selects(selector *metav1.LabelSelector, on map[string]string, unreadable bool) bool {
	read, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return unreadable
	}
	return read.Matches(labels.Set(on))
}
