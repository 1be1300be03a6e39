package main

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"knative.dev/serving/pkg/networking"

	"github.com/tidings-im/tidings/functions"
)

// A peer is who talks or is talked to.
type peer struct {
	name      string
	namespace string            // "" is outside the cluster
	ip        string            // of what is there
	labels    map[string]string // of the pod
	ours      bool              // in the namespace of the policies
}

func (p peer) String() string { return p.name }

func external(name, namespace string, pod map[string]string) peer {
	return peer{name: name, namespace: namespace, labels: pod}
}

var (
	kourier    = external("kourier", "kourier-system", map[string]string{"app": "3scale-kourier-gateway"})
	activator  = external("the activator", "knative-serving", map[string]string{"app": "activator"})
	autoscaler = external("the autoscaler", "knative-serving", map[string]string{"app": "autoscaler"})
	dispatcher = external("the dispatcher of KafkaSources", "knative-eventing", map[string]string{"app": "kafka-source-dispatcher"})
	dns        = external("DNS", "kube-system", map[string]string{"k8s-app": "kube-dns"})
	scraper    = external("Prometheus", "monitoring", nil)
	traces     = external("the collector of traces", "observability", map[string]string{"tidings.dev/service": "traces"})
	stranger   = external("a pod of another namespace", "other", nil)
	world      = peer{name: "the world", ip: "203.0.113.7"}
	network    = peer{name: "the network that the cluster is in", ip: "10.1.2.3"}
	metadata   = peer{name: "the cloud's metadata", ip: "169.254.169.254"}
)

// services are what functions keep things in, by the setting that names each.
var services = []struct {
	setting string
	port    int32
	peer
}{
	{"POSTGRES_URL", 5432, external("PostgreSQL", "data", map[string]string{"tidings.dev/service": "postgres"})},
	{"MONGODB_URL", 27017, external("MongoDB", "data", map[string]string{"tidings.dev/service": "mongodb"})},
	{"REDIS_URL", 6379, external("Redis", "data", map[string]string{"tidings.dev/service": "redis"})},
	{"KAFKA_BROKERS", 9092, external("Kafka", "data", map[string]string{"tidings.dev/service": "kafka"})},
	{"S3_URL", 9000, store},
	{"ARCHIVE_URL", 9000, store},
}

var store = external("the object store", "data", map[string]string{"tidings.dev/service": "s3"})

// outside are the settings of what is anywhere in the world, with the ports it
// is reached by. Who reads none of them reaches nothing there.
var outside = map[string][]int32{
	"SMTP_URL": {465, 587}, "OAUTH_PROVIDERS": {443}, "VAPID_PRIVATE_KEY": {443}, "NOTIFY_WEBHOOK_URL": {443}, "WEBHOOK_PARALLEL": {443},
}

// policies checks that what must talk is let talk, and nothing else.
func (c *checker) policies() {
	must := func(from, to peer, port int32) {
		if !c.allowed(from, to, port, corev1.ProtocolTCP) {
			c.wrong("policies: %s cannot reach %s:%d", from, to, port)
		}
	}
	never := func(from, to peer, port int32) {
		if c.allowed(from, to, port, corev1.ProtocolTCP) {
			c.wrong("policies: %s can reach %s:%d", from, to, port)
		}
	}
	peers := make(map[string]peer)
	for _, p := range c.pods() {
		ours := peer{name: p.owner.GetName(), namespace: namespace, labels: p.labels, ours: true}
		peers[ours.name] = ours
		if !c.allowed(ours, dns, 53, corev1.ProtocolUDP) {
			c.wrong("policies: %s cannot ask %s", ours, dns)
		}
		must(ours, dns, 53)
		must(ours, traces, 4318)
		if ours.name != "gateway" {
			never(stranger, ours, 8080)
		}
		if p.owner.kind != "batch/v1 Job" {
			must(scraper, ours, 9095)
			never(stranger, ours, 9095)
		}
		needs := c.needs(p)
		reached := make(map[string]bool)
		for _, s := range services {
			if needs[s.setting] {
				must(ours, s.peer, s.port)
				reached[s.name] = true
			}
		}
		for _, s := range services {
			if !reached[s.name] {
				never(ours, s.peer, s.port)
			}
			never(s.peer, ours, 8081)
		}
		abroad := false
		for setting, ports := range outside {
			if needs[setting] {
				abroad = true
				for _, port := range ports {
					must(ours, world, port)
				}
			}
		}
		if !abroad {
			never(ours, world, 443)
		}
		for _, port := range []int32{80, 443, 8080} {
			never(ours, network, port)
			never(ours, metadata, port)
		}
	}
	gateway := peers["gateway"]
	must(world, gateway, 8080)
	must(gateway, kourier, 8081)
	must(gateway, gateway, 8081) // to end a session that another one holds
	for _, from := range []peer{world, stranger, kourier, activator, peers["migrate"]} {
		never(from, gateway, 8081)
	}
	if connector, ok := peers["connector"]; ok {
		must(connector, kourier, 8081)
		never(connector, gateway, 8081)
	}
	never(peers["migrate"], kourier, 8081)
	pushers := 0 // who posts to gateways, by what they open
	for _, f := range functions.All {
		p := peers[f.Name]
		for _, port := range []int32{networking.BackendHTTPPort, networking.BackendHTTP2Port, networking.BackendHTTPSPort} {
			must(kourier, p, port)
			must(activator, p, port)
			for _, from := range []peer{world, stranger, dispatcher, gateway, peers["user-get"]} {
				never(from, p, port)
			}
		}
		must(autoscaler, p, networking.AutoscalingQueueMetricsPort)
		never(kourier, p, 8080) // past queue-proxy
		if c.reads[f.Name]["FUNCTION_URL"] {
			must(p, kourier, 8081)
		} else {
			never(p, kourier, 8081)
		}
		if slices.Contains(c.uses[f.Name], "gateway") {
			must(p, gateway, 8081)
			pushers++
		} else {
			never(p, gateway, 8081)
		}
	}
	if pushers < 10 {
		c.wrong("policies: %d functions post to gateways: how they are found has changed", pushers)
	}
}

// needs returns the settings of services that a pod's process reads.
func (c *checker) needs(p pod) map[string]bool {
	switch p.owner.GetName() {
	case "connector":
		return map[string]bool{"KAFKA_BROKERS": true}
	case "migrate":
		return map[string]bool{"KAFKA_BROKERS": true, "POSTGRES_URL": true, "MONGODB_URL": true, "S3_URL": true, "ARCHIVE_URL": true}
	}
	return c.reads[p.owner.GetName()] // as environment found
}

// allowed reports whether connections may be opened, as NetworkPolicy has it.
func (c *checker) allowed(from, to peer, port int32, protocol corev1.Protocol) bool {
	return c.passes(from, to, port, protocol, networkingv1.PolicyTypeEgress) && c.passes(to, from, port, protocol, networkingv1.PolicyTypeIngress)
}

// passes asks the policies of one side, if it is ours.
func (c *checker) passes(side, other peer, port int32, protocol corev1.Protocol, way networkingv1.PolicyType) bool {
	if !side.ours {
		return true
	}
	isolated := false
	for _, p := range of[networkingv1.NetworkPolicy](c.objects) {
		if !slices.Contains(p.Spec.PolicyTypes, way) || !selects(&p.Spec.PodSelector, side.labels) {
			continue
		}
		isolated = true
		if way == networkingv1.PolicyTypeEgress {
			for _, r := range p.Spec.Egress {
				if fits(r.To, other) && open(r.Ports, port, protocol) {
					return true
				}
			}
			continue
		}
		for _, r := range p.Spec.Ingress {
			if fits(r.From, other) && open(r.Ports, port, protocol) {
				return true
			}
		}
	}
	return !isolated
}

func fits(rule []networkingv1.NetworkPolicyPeer, p peer) bool {
	if len(rule) == 0 {
		return true
	}
	return slices.ContainsFunc(rule, func(r networkingv1.NetworkPolicyPeer) bool {
		switch {
		case r.IPBlock != nil:
			return p.ip != "" && within(r.IPBlock, p.ip) // pods have addresses that nobody knows
		case p.namespace == "":
			return false
		case r.NamespaceSelector == nil && !p.ours:
			return false
		case r.NamespaceSelector != nil && !selects(r.NamespaceSelector, map[string]string{"kubernetes.io/metadata.name": p.namespace}):
			return false
		}
		return r.PodSelector == nil || selects(r.PodSelector, p.labels)
	})
}

func within(block *networkingv1.IPBlock, ip string) bool {
	at := netip.MustParseAddr(ip)
	contains := func(cidr string) bool { return netip.MustParsePrefix(cidr).Contains(at) }
	return contains(block.CIDR) && !slices.ContainsFunc(block.Except, contains)
}

func open(ports []networkingv1.NetworkPolicyPort, port int32, protocol corev1.Protocol) bool {
	if len(ports) == 0 {
		return true
	}
	return slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
		has := corev1.ProtocolTCP
		if p.Protocol != nil {
			has = *p.Protocol
		}
		return has == protocol && (p.Port == nil || p.Port.IntVal == port)
	})
}

func selects(s *metav1.LabelSelector, of map[string]string) bool {
	by, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		panic(fmt.Sprintf("a selector that the API server would refuse: %v", err))
	}
	return by.Matches(labels.Set(of))
}
