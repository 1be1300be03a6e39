package main

import (
	_ "github.com/tidings-im/tidings/functions"
	_ "k8s.io/api/core/v1"
	_ "k8s.io/api/networking/v1"
	_ "k8s.io/api/autoscaling/v2"
	_ "knative.dev/eventing/pkg/apis/sources/v1"
	_ "knative.dev/serving/pkg/apis/serving/v1"
	_ "sigs.k8s.io/kustomize/api/krusty"
	_ "sigs.k8s.io/kustomize/kyaml/filesys"
	_ "sigs.k8s.io/yaml"
)

func main() {}
