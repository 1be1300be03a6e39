package queueproxy

import (
	"context"
	"encoding/json"
	"maps"
	"path/filepath"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	servingconfig "knative.dev/serving/pkg/apis/config"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// manifests are the Services of knative/, as Knative completes them, and the
// settings that all have.
type manifests struct {
	services map[string]*servingv1.Service
	settings map[string]string
}

func render(t *testing.T) manifests {
	t.Helper()
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.FromSlash("../../../knative"))
	if err != nil {
		t.Fatal(err)
	}
	m := manifests{services: make(map[string]*servingv1.Service)}
	for _, r := range rendered.Resources() {
		into := any(new(corev1.ConfigMap))
		switch {
		case r.GetGvk().Group == "serving.knative.dev":
			into = new(servingv1.Service)
		case r.GetKind() != "ConfigMap":
			continue
		}
		b, err := r.AsYAML()
		if err == nil {
			err = yaml.UnmarshalStrict(b, into)
		}
		if err != nil {
			t.Fatal(err)
		}
		switch o := into.(type) {
		case *servingv1.Service:
			o.SetDefaults(servingconfig.ToContext(context.Background(), servingconfig.FromContextOrDefaults(context.Background())))
			m.services[o.Name] = o
		case *corev1.ConfigMap:
			m.settings = o.Data
		}
	}
	return m
}

// function returns the environment of a function's process: what its manifest
// says, with the services and secrets of the test.
func (m manifests) function(name string, port int, test map[string]string) []string {
	vars := maps.Clone(m.settings)
	for _, e := range m.services[name].Spec.Template.Spec.Containers[0].Env {
		vars[e.Name] = test[e.Name]
	}
	vars["KAFKA_BROKERS"] = test["KAFKA_BROKERS"]
	vars["PORT"] = strconv.Itoa(port) // as the platform says it
	return list(vars)
}

// args returns the arguments of a function's container.
func (m manifests) args(name string) []string {
	return m.services[name].Spec.Template.Spec.Containers[0].Args
}

// queue returns the environment that Knative gives queue-proxy.
func (m manifests) queue(t *testing.T, name string, port, function int) []string {
	t.Helper()
	spec := m.services[name].Spec.Template.Spec
	probe := spec.Containers[0].ReadinessProbe.DeepCopy()
	// As the controller completes it for queue-proxy.
	probe.HTTPGet.Host, probe.HTTPGet.Scheme = "127.0.0.1", corev1.URISchemeHTTP
	probe.HTTPGet.Port.IntVal = int32(function)
	encoded, err := json.Marshal(probe)
	if err != nil {
		t.Fatal(err)
	}
	return list(map[string]string{
		"CONTAINER_CONCURRENCY":    strconv.FormatInt(*spec.ContainerConcurrency, 10),
		"REVISION_TIMEOUT_SECONDS": strconv.FormatInt(*spec.TimeoutSeconds, 10),
		"QUEUE_SERVING_PORT":       strconv.Itoa(port),
		"QUEUE_SERVING_TLS_PORT":   "0",
		"USER_PORT":                strconv.Itoa(function),
		"SERVING_READINESS_PROBE":  string(encoded),
		"SERVING_NAMESPACE":        "tidings",
		"SERVING_SERVICE":          name,
		"SERVING_CONFIGURATION":    name,
		"SERVING_REVISION":         name + "-00001",
		"SERVING_POD":              name + "-00001-x",
		"SERVING_POD_IP":           "127.0.0.1",
		"SERVING_LOGGING_CONFIG":   "",
		"SERVING_LOGGING_LEVEL":    "error",
		"HOST_IP":                  "127.0.0.1",
	})
}

func list(vars map[string]string) []string {
	var env []string
	for k, v := range vars {
		env = append(env, k+"="+v)
	}
	return env
}
