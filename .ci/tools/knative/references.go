package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	eventingfeature "knative.dev/eventing/pkg/apis/feature"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	servingconfig "knative.dev/serving/pkg/apis/config"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tidings-im/tidings/gateway/ws"
)

const namespace = "tidings"

// names checks that nothing is there twice, and all in the namespace.
func (c *checker) names() {
	seen := make(map[string]bool)
	for _, o := range c.list {
		if id := o.kind + " " + o.GetNamespace() + "/" + o.GetName(); seen[id] {
			c.wrong("%s is there twice", id)
		} else {
			seen[id] = true
		}
		switch {
		case o.kind == "v1 Namespace":
			if o.GetName() != namespace {
				c.wrong("%s: another namespace than %s", o, namespace)
			}
		case o.kind == "kafka.strimzi.io/v1 KafkaTopic": // lives with its cluster
		case o.GetNamespace() != namespace:
			c.wrong("%s is in namespace %q", o, o.GetNamespace())
		}
		if o.GetLabels()["app.kubernetes.io/part-of"] != "tidings" {
			c.wrong("%s is not labelled as a part of tidings", o)
		}
		if o.kind == "v1 Secret" {
			c.wrong("%s: secrets are not part of what is applied", o)
		}
	}
}

// webhooks does what Knative does when an object is made.
func (c *checker) webhooks() {
	ctx := apis.WithinCreate(context.Background())
	ctx = servingconfig.ToContext(ctx, servingconfig.FromContextOrDefaults(ctx))
	ctx = eventingfeature.ToContext(ctx, eventingfeature.Flags{eventingfeature.DeliveryTimeout: eventingfeature.Enabled})
	for _, o := range c.list {
		if d, ok := o.Object.(apis.Defaultable); ok {
			d.SetDefaults(ctx)
		}
		if v, ok := o.Object.(apis.Validatable); ok {
			if err := v.Validate(ctx); err != nil {
				c.wrong("%s: the webhook would refuse it: %v", o, err)
			}
		}
	}
}

// references checks that what is named is there.
func (c *checker) references() {
	keys, err := c.secretKeys()
	if err != nil {
		c.wrong("the template of the Secret: %v", err)
	}
	used := make(map[string]bool)
	for _, p := range c.pods() {
		if named[corev1.ServiceAccount](c.objects, p.spec.ServiceAccountName) == nil {
			c.wrong("%s: no ServiceAccount %q", p.owner, p.spec.ServiceAccountName)
		}
		for _, from := range p.container().EnvFrom {
			if from.ConfigMapRef == nil || named[corev1.ConfigMap](c.objects, from.ConfigMapRef.Name) == nil {
				c.wrong("%s: its settings come from a ConfigMap that is not there", p.owner)
			}
		}
		if len(p.container().EnvFrom) == 0 {
			c.wrong("%s has no settings", p.owner)
		}
		for _, e := range p.container().Env {
			if e.ValueFrom == nil || e.ValueFrom.SecretKeyRef == nil {
				continue
			}
			ref := e.ValueFrom.SecretKeyRef
			if ref.Name != "tidings" || !slices.Contains(keys, ref.Key) || ref.Key != e.Name {
				c.wrong("%s: %s is taken from key %s of Secret %s, which knative/secrets.example.yaml does not have", p.owner, e.Name, ref.Key, ref.Name)
			}
			used[ref.Key] = true
		}
	}
	for _, k := range keys {
		if !used[k] {
			c.wrong("Secret tidings: nobody reads %s", k)
		}
	}
	for _, s := range of[corev1.Service](c.objects) {
		pods := c.selected(s.Spec.Selector)
		if len(pods) == 0 {
			c.wrong("Service %s selects no pod", s.Name)
		}
		for _, p := range pods {
			for _, port := range s.Spec.Ports {
				if !hasPort(p, port.TargetPort) {
					c.wrong("Service %s: %s has no port %s", s.Name, p.owner, port.TargetPort.String())
				}
			}
		}
	}
	for _, p := range c.pods() {
		for _, probe := range []*corev1.Probe{p.container().ReadinessProbe, p.container().LivenessProbe, p.container().StartupProbe} {
			if probe != nil && probe.HTTPGet != nil && p.owner.kind != "serving.knative.dev/v1 Service" && !hasPort(p, probe.HTTPGet.Port) {
				c.wrong("%s: a probe of port %s, which it has not", p.owner, probe.HTTPGet.Port.String())
			}
		}
	}
	for _, s := range of[appsv1.StatefulSet](c.objects) {
		if h := named[corev1.Service](c.objects, s.Spec.ServiceName); h == nil || h.Spec.ClusterIP != "None" {
			c.wrong("StatefulSet %s: %q is no headless Service", s.Name, s.Spec.ServiceName)
		}
		if !slices.ContainsFunc(c.selected(s.Spec.Selector.MatchLabels), func(p pod) bool { return p.owner.Object == s }) {
			c.wrong("StatefulSet %s does not select its own pods", s.Name)
		}
	}
	for _, d := range of[appsv1.Deployment](c.objects) {
		if !slices.ContainsFunc(c.selected(d.Spec.Selector.MatchLabels), func(p pod) bool { return p.owner.Object == d }) {
			c.wrong("Deployment %s does not select its own pods", d.Name)
		}
	}
	c.budgets()
	c.autoscalers()
	c.sinks()
}

// secretKeys returns the keys of the template of the Secret, and that none of
// them is filled in.
func (c *checker) secretKeys() ([]string, error) {
	b, err := os.ReadFile(filepath.Join(c.top, "knative", "secrets.example.yaml"))
	if err != nil {
		return nil, err
	}
	o, err := decode(b)
	if err != nil {
		return nil, err
	}
	var keys []string
	for k, v := range o.Object.(*corev1.Secret).StringData {
		if v != "" {
			c.wrong("knative/secrets.example.yaml: %s is filled in", k)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func hasPort(p pod, port intstr.IntOrString) bool {
	return slices.ContainsFunc(p.container().Ports, func(has corev1.ContainerPort) bool {
		return port.Type == intstr.String && has.Name == port.StrVal || port.Type == intstr.Int && has.ContainerPort == port.IntVal
	})
}

// budgets checks that each selects pods, and none is of two: such a pod could
// never be evicted.
func (c *checker) budgets() {
	in := make(map[string]string)
	for _, b := range of[policyv1.PodDisruptionBudget](c.objects) {
		pods := c.selected(b.Spec.Selector.MatchLabels)
		if len(pods) == 0 {
			c.wrong("PodDisruptionBudget %s selects no pod", b.Name)
		}
		for _, p := range pods {
			if other := in[p.owner.String()]; other != "" {
				c.wrong("%s is in the PodDisruptionBudgets %s and %s", p.owner, other, b.Name)
			}
			in[p.owner.String()] = b.Name
		}
	}
}

func (c *checker) autoscalers() {
	registry := prometheus.NewRegistry()
	ws.NewMetrics(registry)
	families, err := registry.Gather()
	if err != nil {
		c.wrong("the gateway's metrics: %v", err)
	}
	for _, h := range of[autoscalingv2.HorizontalPodAutoscaler](c.objects) {
		set := named[appsv1.StatefulSet](c.objects, h.Spec.ScaleTargetRef.Name)
		if set == nil || h.Spec.ScaleTargetRef.Kind != "StatefulSet" {
			c.wrong("HorizontalPodAutoscaler %s scales what is not there", h.Name)
		} else if set.Spec.Replicas != nil {
			c.wrong("StatefulSet %s says its replicas: each apply would undo what HorizontalPodAutoscaler %s decided", set.Name, h.Name)
		}
		byMetric := false
		for _, m := range h.Spec.Metrics {
			if m.Pods == nil {
				continue
			}
			byMetric = true
			known := false
			for _, f := range families {
				known = known || f.GetName() == m.Pods.Metric.Name
			}
			if !known {
				c.wrong("HorizontalPodAutoscaler %s: the gateway has no metric %s", h.Name, m.Pods.Metric.Name)
			}
		}
		if !byMetric {
			c.wrong("HorizontalPodAutoscaler %s does not look at connections", h.Name)
		}
	}
}

// sinks checks that what sources send to is there.
func (c *checker) sinks() {
	sink := func(from string, to duckv1.Destination) {
		ok := to.Ref != nil && (to.Ref.Kind == "Service" && to.Ref.APIVersion == "serving.knative.dev/v1" && named[servingv1.Service](c.objects, to.Ref.Name) != nil ||
			to.Ref.Kind == "KafkaSink" && to.Ref.APIVersion == "eventing.knative.dev/v1alpha1" && named[kafkaSink](c.objects, to.Ref.Name) != nil)
		if ok && to.Ref.Namespace != "" && to.Ref.Namespace != namespace {
			ok = false
		}
		if !ok {
			c.wrong("%s sends to what is not there", from)
		}
	}
	brokers := strings.Split(c.setting("KAFKA_BROKERS"), ",")
	for _, s := range of[kafkaSource](c.objects) {
		sink("KafkaSource "+s.Name, s.Spec.Sink)
		if s.Spec.Delivery != nil && s.Spec.Delivery.DeadLetterSink != nil {
			sink("the delivery of KafkaSource "+s.Name, *s.Spec.Delivery.DeadLetterSink)
		}
		if !slices.Equal(strings.Split(strings.Join(s.Spec.BootstrapServers, ","), ","), brokers) {
			c.wrong("KafkaSource %s: its brokers are %v, those of functions %v", s.Name, s.Spec.BootstrapServers, brokers)
		}
	}
	for _, s := range of[kafkaSink](c.objects) {
		if !slices.Equal(strings.Split(strings.Join(s.Spec.BootstrapServers, ","), ","), brokers) {
			c.wrong("KafkaSink %s: its brokers are %v, those of functions %v", s.Name, s.Spec.BootstrapServers, brokers)
		}
	}
	for _, s := range of[sourcesv1.PingSource](c.objects) {
		sink("PingSource "+s.Name, s.Spec.Sink)
	}
}

// rights checks what all pods have in common: no rights.
func (c *checker) rights() {
	for _, p := range c.pods() {
		s := p.container().SecurityContext
		if len(p.spec.Containers) != 1 || s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem ||
			s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.Capabilities == nil || !slices.Contains(s.Capabilities.Drop, "ALL") ||
			s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			c.wrong("%s: its container has more rights than it needs", p.owner)
		}
		if p.spec.AutomountServiceAccountToken == nil || *p.spec.AutomountServiceAccountToken {
			c.wrong("%s is given a token for the API server", p.owner)
		}
		r := p.container().Resources
		if r.Limits.Memory().IsZero() || r.Requests.Cpu().IsZero() || r.Requests.Memory().IsZero() || r.Requests.Memory().Cmp(*r.Limits.Memory()) > 0 {
			c.wrong("%s: what it may use is not bounded, or less than what it asks for", p.owner)
		}
	}
}

// images checks that all are the one image, of one registry and one tag, and that
// each is told what it is.
func (c *checker) images() {
	var prefix, tag string
	for _, p := range c.pods() {
		image := p.container().Image
		at, colon := strings.LastIndexByte(image, '/'), strings.LastIndexByte(image, ':')
		if at < 0 || colon < at || image[at+1:colon] != "tidings" {
			c.wrong("%s: %s is not its image", p.owner, image)
			continue
		}
		name := p.owner.GetName()
		want := []string{"function", name}
		if slices.Contains([]string{"gateway", "connector", "migrate"}, name) {
			want = []string{name}
		}
		if args := p.container().Args; !slices.Equal(args, want) {
			c.wrong("%s: its arguments are %q, not %q", p.owner, args, want)
		}
		if prefix == "" {
			prefix, tag = image[:at], image[colon+1:]
		}
		if image[:at] != prefix || image[colon+1:] != tag {
			c.wrong("%s: %s is of another registry or tag than %s and %s", p.owner, image, prefix, tag)
		}
	}
}
