package openfaas

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	compose "github.com/compose-spec/compose-go/v2/types"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/imtest"
)

// What stands beside OpenFaaS on Kubernetes is what kubectl apply -k would
// apply: each object has the fields of its kind and no others.
func TestGatewayAndConnectorBesideOpenFaaSOnKubernetes(t *testing.T) {
	top(t)
	for dir, at := range map[string]string{
		"openfaas/kubernetes": "http://gateway.openfaas:8080/function/user-login",
		"openfaas/ce":         "http://gateway.openfaas:8080/function/users/user-login",
	} {
		built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
		if err != nil {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		pods := make(map[string]corev1.PodTemplateSpec)
		closed := make(map[string]bool) // ports of the gateway that not everybody may come to
		var settings corev1.ConfigMap
		var services []corev1.Service
		for _, r := range built.Resources() {
			b, err := r.AsYAML()
			if err != nil {
				t.Fatal(err)
			}
			if kind := r.GetKind(); kind != "Namespace" && r.GetNamespace() != "tidings" {
				t.Errorf("%s: %s %s is in the namespace %q, maybe OpenFaaS's own", dir, kind, r.GetName(), r.GetNamespace())
			}
			into := func(o any) {
				if err := yaml.UnmarshalStrict(b, o); err != nil {
					t.Errorf("%s: %s %s: %v", dir, r.GetKind(), r.GetName(), err)
				}
			}
			switch r.GetKind() {
			case "StatefulSet":
				var o appsv1.StatefulSet
				into(&o)
				pods[o.Name] = o.Spec.Template
				if !covers(o.Spec.Selector.MatchLabels, o.Spec.Template.Labels) {
					t.Errorf("%s: %s does not choose its own pods", dir, o.Name)
				}
			case "Deployment":
				var o appsv1.Deployment
				into(&o)
				pods[o.Name] = o.Spec.Template
				if !covers(o.Spec.Selector.MatchLabels, o.Spec.Template.Labels) {
					t.Errorf("%s: %s does not choose its own pods", dir, o.Name)
				}
			case "Job":
				var o batchv1.Job
				into(&o)
				pods[o.Name] = o.Spec.Template
			case "Service":
				var o corev1.Service
				into(&o)
				services = append(services, o)
			case "ConfigMap":
				into(&settings)
			case "PodDisruptionBudget":
				into(new(policyv1.PodDisruptionBudget))
			case "NetworkPolicy":
				var o networkingv1.NetworkPolicy
				into(&o)
				for _, rule := range o.Spec.Ingress {
					for _, port := range rule.Ports {
						if len(rule.From) == 0 && port.Port.String() != "8080" {
							t.Errorf("%s: NetworkPolicy %s lets everybody come to port %s", dir, o.Name, port.Port)
						}
						closed[port.Port.String()] = len(rule.From) > 0
					}
				}
			case "Namespace":
				into(new(corev1.Namespace))
			case "ServiceAccount":
				into(new(corev1.ServiceAccount))
			default:
				t.Errorf("%s: this test does not know what a %s is", dir, r.GetKind())
			}
		}
		if !closed["8081"] || !closed["9095"] {
			t.Errorf("%s: everybody may come to the internal port, or to the metrics: %v", dir, closed)
		}
		urls, err := fn.OpenURLs(imtest.Env(t, settings.Data))
		if err != nil {
			t.Errorf("%s: %v", dir, err)
		} else if got := urls.Of("user-login"); got != at {
			t.Errorf("%s: user-login is looked for at %s", dir, got)
		}
		for _, name := range []string{"gateway", "connector", "migrate"} {
			pod, ok := pods[name]
			if !ok {
				t.Errorf("%s: there is no %s", dir, name)
				continue
			}
			for _, wrong := range unfit(pod.Spec, settings.Name) {
				t.Errorf("%s: %s: %s", dir, name, wrong)
			}
		}
		for _, s := range services {
			if !covers(s.Spec.Selector, pods["gateway"].Labels) {
				t.Errorf("%s: the Service %s leads nowhere", dir, s.Name)
			}
			for _, port := range s.Spec.Ports {
				if !slices.ContainsFunc(pods["gateway"].Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool { return p.Name == port.TargetPort.String() }) {
					t.Errorf("%s: the Service %s leads to a port %s that there is not", dir, s.Name, port.TargetPort.String())
				}
			}
		}
	}
}

// The policies of functions are what kubectl apply -k would apply, beside them.
func TestPoliciesOfFunctionsAreInTheirNamespace(t *testing.T) {
	top(t)
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "openfaas/functions")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range built.Resources() {
		b, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		var o networkingv1.NetworkPolicy
		if err := yaml.UnmarshalStrict(b, &o); err != nil {
			t.Errorf("%s: %v", r.GetName(), err)
		}
		if r.GetKind() != "NetworkPolicy" || o.Namespace != "openfaas-fn" || o.Spec.PodSelector.MatchLabels["app.kubernetes.io/part-of"] != "tidings" {
			t.Errorf("%s %s is of others, too: %v in %s", r.GetKind(), r.GetName(), o.Spec.PodSelector, o.Namespace)
		}
	}
	if built.Size() < 9 {
		t.Errorf("there are %d policies", built.Size())
	}
}

func covers(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return len(selector) > 0
}

// unfit lists what is wrong with a pod of ours.
func unfit(pod corev1.PodSpec, settings string) (wrong []string) {
	c := pod.Containers[0]
	if s := c.SecurityContext; s == nil || !*s.RunAsNonRoot || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || s.Capabilities.Drop[0] != "ALL" {
		wrong = append(wrong, "it may do more than it needs")
	}
	if c.EnvFrom[0].ConfigMapRef.Name != settings {
		wrong = append(wrong, "its settings are not those of "+settings)
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil && (e.ValueFrom.SecretKeyRef.Name != "tidings" || e.ValueFrom.SecretKeyRef.Key != e.Name) {
			wrong = append(wrong, fmt.Sprintf("%s is not the secret of its name", e.Name))
		}
	}
	if !strings.HasPrefix(c.Image, "registry.example.org/tidings/") {
		wrong = append(wrong, "where its image is from is not said in one place: "+c.Image)
	}
	if _, limited := c.Resources.Limits[corev1.ResourceMemory]; !limited {
		wrong = append(wrong, "it may use all memory")
	}
	return wrong
}

// Faasd reads some of what compose knows.
func TestGatewayAndConnectorBesideFaasd(t *testing.T) {
	top(t)
	b, err := os.ReadFile("openfaas/faasd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	details := compose.ConfigDetails{WorkingDir: "/var/lib/faasd", ConfigFiles: []compose.ConfigFile{{Filename: "faasd.yaml", Content: b}}}
	p, err := loader.LoadWithContext(t.Context(), details, func(o *loader.Options) {
		o.SetProjectName("faasd", true)
		o.SkipConsistencyCheck = true // OpenFaaS's own services are in the file that this goes into
	})
	if err != nil {
		t.Fatal(err)
	}
	own := []string{"nats", "prometheus", "gateway", "queue-worker"}
	for name, s := range p.Services {
		if slices.Contains(own, name) {
			t.Errorf("faasd has a %s of its own", name)
		}
		for _, v := range s.Volumes {
			if v.Type != "bind" || !strings.HasPrefix(v.Source, "/var/lib/faasd/") {
				t.Errorf("%s: faasd binds files of its own folder, not %s", name, v.Source)
			}
		}
		for _, port := range s.Ports {
			if port.Published == "8080" {
				t.Errorf("%s: OpenFaaS has the port %s", name, port.Published)
			}
		}
	}
	timers := p.Services["tidings-connector"].Environment["CONNECTOR_TIMERS"]
	for _, f := range functions.All {
		if f.Every > 0 && (timers == nil || !regexp.MustCompile(`(^|,)`+f.Name+`=`).MatchString(*timers)) {
			t.Errorf("no clock calls %s", f.Name)
		}
	}
	if names := slices.Sorted(maps.Keys(p.Services)); !slices.Equal(names, []string{"tidings-connector", "tidings-gateway"}) {
		t.Errorf("the services are %v", names)
	}
}
