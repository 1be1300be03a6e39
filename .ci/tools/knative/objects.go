package main

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// kinds are the objects that may be in knative/.
var kinds = map[string]func() metav1.Object{
	"v1 Namespace":                            func() metav1.Object { return new(corev1.Namespace) },
	"v1 ServiceAccount":                       func() metav1.Object { return new(corev1.ServiceAccount) },
	"v1 ConfigMap":                            func() metav1.Object { return new(corev1.ConfigMap) },
	"v1 Service":                              func() metav1.Object { return new(corev1.Service) },
	"v1 Secret":                               func() metav1.Object { return new(corev1.Secret) },
	"apps/v1 StatefulSet":                     func() metav1.Object { return new(appsv1.StatefulSet) },
	"apps/v1 Deployment":                      func() metav1.Object { return new(appsv1.Deployment) },
	"batch/v1 Job":                            func() metav1.Object { return new(batchv1.Job) },
	"policy/v1 PodDisruptionBudget":           func() metav1.Object { return new(policyv1.PodDisruptionBudget) },
	"autoscaling/v2 HorizontalPodAutoscaler":  func() metav1.Object { return new(autoscalingv2.HorizontalPodAutoscaler) },
	"networking.k8s.io/v1 NetworkPolicy":      func() metav1.Object { return new(networkingv1.NetworkPolicy) },
	"serving.knative.dev/v1 Service":          func() metav1.Object { return new(servingv1.Service) },
	"sources.knative.dev/v1 PingSource":       func() metav1.Object { return new(sourcesv1.PingSource) },
	"sources.knative.dev/v1 KafkaSource":      func() metav1.Object { return new(kafkaSource) },
	"eventing.knative.dev/v1alpha1 KafkaSink": func() metav1.Object { return new(kafkaSink) },
	"kafka.strimzi.io/v1 KafkaTopic":          func() metav1.Object { return new(kafkaTopic) },
}

type objects struct {
	list []object
}

type object struct {
	metav1.Object
	kind string // as in kinds
}

func (o object) String() string { return o.kind + " " + o.GetName() }

// build returns what kubectl apply -k would apply, decoded strictly.
func build(dir string) (*objects, error) {
	docs, err := render(dir)
	if err != nil {
		return nil, err
	}
	return decodeAll(docs)
}

// render returns the objects of a kustomization as YAML.
func render(dir string) ([][]byte, error) {
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, err
	}
	var docs [][]byte
	for _, r := range rendered.Resources() {
		b, err := r.AsYAML()
		if err != nil {
			return nil, err
		}
		docs = append(docs, b)
	}
	return docs, nil
}

func decodeAll(docs [][]byte) (*objects, error) {
	all := new(objects)
	for _, b := range docs {
		o, err := decode(b)
		if err != nil {
			return nil, fmt.Errorf("%w in:\n%s", err, b)
		}
		all.list = append(all.list, o)
	}
	return all, nil
}

// decode reads one object, of which every field must be known.
func decode(b []byte) (object, error) {
	var t metav1.TypeMeta
	if err := yaml.Unmarshal(b, &t); err != nil {
		return object{}, err
	}
	o := object{kind: t.APIVersion + " " + t.Kind}
	make := kinds[o.kind]
	if make == nil {
		return o, fmt.Errorf("%s is not known here", o.kind)
	}
	o.Object = make()
	return o, yaml.UnmarshalStrict(b, o.Object)
}

// of returns the objects of a type.
func of[T any](all *objects) []*T {
	var list []*T
	for _, o := range all.list {
		if t, ok := any(o.Object).(*T); ok {
			list = append(list, t)
		}
	}
	return list
}

// named returns the object of a type with a name.
func named[T any](all *objects, name string) *T {
	for _, o := range all.list {
		if t, ok := any(o.Object).(*T); ok && o.GetName() == name {
			return t
		}
	}
	return nil
}

// A pod is the template of one, and what makes pods of it.
type pod struct {
	owner  object
	labels map[string]string
	spec   *corev1.PodSpec
}

func (p pod) container() *corev1.Container { return &p.spec.Containers[0] }

func (all *objects) pods() []pod {
	var list []pod
	for _, o := range all.list {
		switch t := o.Object.(type) {
		case *servingv1.Service:
			list = append(list, pod{o, t.Spec.Template.Labels, &t.Spec.Template.Spec.PodSpec})
		case *appsv1.StatefulSet:
			list = append(list, pod{o, t.Spec.Template.Labels, &t.Spec.Template.Spec})
		case *appsv1.Deployment:
			list = append(list, pod{o, t.Spec.Template.Labels, &t.Spec.Template.Spec})
		case *batchv1.Job:
			list = append(list, pod{o, t.Spec.Template.Labels, &t.Spec.Template.Spec})
		}
	}
	return list
}

// selected returns the pods with labels.
func (all *objects) selected(by map[string]string) []pod {
	var list []pod
	for _, p := range all.pods() {
		if len(by) > 0 && labels.SelectorFromSet(by).Matches(labels.Set(p.labels)) {
			list = append(list, p)
		}
	}
	return list
}

// setting returns a setting of the ConfigMap that all processes have.
func (all *objects) setting(name string) string {
	for _, m := range of[corev1.ConfigMap](all) {
		if v, ok := m.Data[name]; ok {
			return v
		}
	}
	return ""
}
