package openfaas

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/openfaas/go-sdk/stack"
	"gopkg.in/yaml.v3"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tidings-im/tidings/functions"
)

var stacks = []string{"stack.yml", "stack.ce.yml"}

// top is the folder of the checkout; tests run in it, as users of faas-cli do.
func top(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	return dir
}

func read(t *testing.T, file, filter string) *stack.Services {
	t.Helper()
	s, err := stack.ParseYAMLFile(file, "", filter, true)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return s
}

func TestStacksSayNothingThatFaasCLIWouldPassOver(t *testing.T) {
	top(t)
	for _, file := range stacks {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		strict := yaml.NewDecoder(bytes.NewReader(b))
		strict.KnownFields(true)
		if err := strict.Decode(new(stack.Services)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestStacksAreReadAsTheyAreMeant(t *testing.T) {
	top(t)
	t.Setenv("REGISTRY", "registry.example.org/tidings")
	t.Setenv("TAG", "1.2.3")
	t.Setenv("KAFKA_BROKERS", "kafka-1:9092,kafka-2:9092")
	t.Setenv("INBOX_STORE", "")
	t.Setenv("OPENFAAS_URL", "")
	for _, file := range stacks {
		s := read(t, file, "")
		if s.Provider.GatewayURL != "http://127.0.0.1:8080" {
			t.Errorf("%s: %q is the gateway where none is named", file, s.Provider.GatewayURL)
		}
		for name, f := range s.Functions {
			if want := "registry.example.org/tidings/tidings:1.2.3"; f.Image != want {
				t.Errorf("%s: %s is the image %s, not %s", file, name, f.Image, want)
			}
			if !stack.IsValidTemplate(f.Language) {
				t.Errorf("%s: %s: faas-cli would fetch a template for %s", file, name, f.Language)
			}
			if !f.ReadOnlyRootFilesystem || f.SkipBuild {
				t.Errorf("%s: %s writes to its root, or is not built", file, name)
			}
			if v, ok := f.Environment["KAFKA_BROKERS"]; ok && v != "kafka-1:9092,kafka-2:9092" {
				t.Errorf("%s: %s looks for Kafka at %q", file, name, v)
			}
			if v, ok := f.Environment["INBOX_STORE"]; ok && v != "mongodb" {
				t.Errorf("%s: %s keeps inboxes in %q where nothing is said", file, name, v)
			}
			for _, q := range []string{f.Requests.CPU, f.Requests.Memory, f.Limits.Memory} {
				if _, err := resource.ParseQuantity(q); err != nil {
					t.Errorf("%s: %s: %q: %v", file, name, q, err)
				}
			}
		}
	}
}

func TestOneFunctionCanBeChosen(t *testing.T) {
	top(t)
	for _, f := range functions.All {
		s := read(t, "stack.yml", f.Name)
		if len(s.Functions) != 1 || s.Functions[f.Name].Environment["FUNCTIONS"] != f.Name {
			t.Errorf("--filter %s chooses %v", f.Name, s.Functions)
		}
	}
	if s := read(t, "stack.yml", "persist-*"); len(s.Functions) != 2 {
		t.Errorf("--filter 'persist-*' chooses %d functions", len(s.Functions))
	}
	if s := read(t, "stack.ce.yml", ""); len(s.Functions) > 15 {
		t.Errorf("the Community Edition takes no %d functions", len(s.Functions))
	}
}
