package main

import (
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

func TestEveryOverlayIsRight(t *testing.T) {
	top, err := checkout()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range overlays {
		t.Run(dir, func(t *testing.T) {
			all, err := build(filepath.Join(top, dir))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range check(top, all) {
				t.Error(f)
			}
		})
	}
}

// Each of these is a mistake that is easily made, and the words by which the
// check tells of it.
func TestMistakesAreFound(t *testing.T) {
	top, err := checkout()
	if err != nil {
		t.Fatal(err)
	}
	service := func(all *objects, name string) *servingv1.Service { return named[servingv1.Service](all, name) }
	container := func(all *objects, name string) *corev1.Container {
		return &service(all, name).Spec.Template.Spec.Containers[0]
	}
	without := func(all *objects, kind, name string) {
		var kept []object
		for _, o := range all.list {
			if !strings.HasSuffix(o.kind, kind) || o.GetName() != name {
				kept = append(kept, o)
			}
		}
		all.list = kept
	}
	rendered, err := render(filepath.Join(top, "knative"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		make func(*objects)
		want string
	}{
		{"a function without a Service", func(all *objects) { without(all, "serving.knative.dev/v1 Service", "friend-list") }, "no Service for the function friend-list"},
		{"a Service without a function", func(all *objects) { service(all, "friend-list").Name = "friends" }, "there is no such function"},
		{"an inner function that the world sees", func(all *objects) { delete(service(all, "chat-ingest").Labels, localOnly) }, "Service chat-ingest: cluster-local is false"},
		{"a public function that it does not", func(all *objects) { service(all, "user-get").Labels[localOnly] = "cluster-local" }, "Service user-get: cluster-local is true"},
		{"a topic that nobody reads", func(all *objects) { without(all, "KafkaSource", "persist-inbox") }, "no KafkaSource for persist-inbox"},
		{"another topic", func(all *objects) { named[kafkaSource](all, "push-fanout").Spec.Topics[0] = "tidings.messages" }, "does not bring tidings.deliveries"},
		{"a source that begins at the end", func(all *objects) { named[kafkaSource](all, "push-fanout").Spec.InitialOffset = "latest" }, "would be lost"},
		{"a source of another broker", func(all *objects) { named[kafkaSource](all, "push-fanout").Spec.BootstrapServers[0] = "other:9092" }, "its brokers are"},
		{"no delivery", func(all *objects) { named[kafkaSource](all, "push-fanout").Spec.Delivery = nil }, "never tries again"},
		{"no retry", func(all *objects) { named[kafkaSource](all, "push-fanout").Spec.Delivery.Retry = nil }, "never tries again"},
		{"no dead letters", func(all *objects) { named[kafkaSource](all, "push-fanout").Spec.Delivery.DeadLetterSink = nil }, "is lost"},
		{"dead letters to nowhere", func(all *objects) { without(all, "KafkaSink", "deadletters") }, "the delivery of KafkaSource push-fanout sends to what is not there"},
		{"more tries than Kafka waits for", func(all *objects) { *named[kafkaSource](all, "push-fanout").Spec.Delivery.Retry = 10 }, "takes the partition away"},
		{"the default's back-off", func(all *objects) { named[kafkaSource](all, "push-fanout").Spec.Delivery.BackoffDelay = nil }, "the default's"},
		{"a source that gives up before its function", func(all *objects) { d := "PT10S"; named[kafkaSource](all, "push-fanout").Spec.Delivery.Timeout = &d }, "gives up after 10s"},
		{"a clock that is too slow", func(all *objects) { named[sourcesv1.PingSource](all, "outbox-relay").Spec.Schedule = "*/5 * * * *" }, "more seldom"},
		{"no clock", func(all *objects) { without(all, "PingSource", "session-sweep") }, "no PingSource for session-sweep"},
		{"requests that Knative cuts off", func(all *objects) { n := int64(12); service(all, "user-get").Spec.Template.Spec.TimeoutSeconds = &n }, "are cut off after 12s"},
		{"an annotation that the autoscaler does not take", func(all *objects) {
			service(all, "user-get").Spec.Template.Annotations["autoscaling.knative.dev/min-scale"] = "-1"
		}, "the webhook would refuse it"},
		{"a volume of the host", func(all *objects) {
			service(all, "user-get").Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "x", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}}
		}, "the webhook would refuse it"},
		{"a secret that is missing", func(all *objects) { container(all, "user-login").Env = container(all, "user-login").Env[1:] }, "would not start"},
		{"a secret that nobody asked for", func(all *objects) {
			container(all, "user-get").Env = append(container(all, "user-get").Env, container(all, "user-login").Env...)
		}, "and does not read it"},
		{"a secret by another name", func(all *objects) { container(all, "user-login").Env[0].ValueFrom.SecretKeyRef.Key = "PG" }, "does not have"},
		{"settings from nowhere", func(all *objects) { container(all, "user-get").EnvFrom[0].ConfigMapRef.Name = "tidings" }, "a ConfigMap that is not there"},
		{"a setting that is none", func(all *objects) { of[corev1.ConfigMap](all)[0].Data["FUNKTION_TIMEOUT"] = "1s" }, "there is no setting FUNKTION_TIMEOUT"},
		{"functions looked for elsewhere", func(all *objects) {
			of[corev1.ConfigMap](all)[0].Data["FUNCTION_URL"] = "http://{function}.default.svc.cluster.local"
		}, "is looked for at"},
		{"a root", func(all *objects) { container(all, "user-get").SecurityContext.RunAsNonRoot = nil }, "more rights"},
		{"the image of another", func(all *objects) { container(all, "user-get").Image = "tidings/user-login:latest" }, "is not its image"},
		{"the arguments of another", func(all *objects) { container(all, "user-get").Args[1] = "user-login" }, "its arguments are"},
		{"the tag of another", func(all *objects) { container(all, "user-get").Image = "tidings/tidings:2" }, "another registry or tag"},
		{"a gateway that is killed while it drains", func(all *objects) {
			n := int64(30)
			of[appsv1.StatefulSet](all)[0].Spec.Template.Spec.TerminationGracePeriodSeconds = &n
		}, "before they have drained"},
		{"a gateway by another name", func(all *objects) { of[appsv1.StatefulSet](all)[0].Spec.ServiceName = "gateway" }, "is no headless Service"},
		{"replicas beside an autoscaler", func(all *objects) { n := int32(2); of[appsv1.StatefulSet](all)[0].Spec.Replicas = &n }, "would undo"},
		{"a metric that is none", func(all *objects) {
			of[autoscalingv2.HorizontalPodAutoscaler](all)[0].Spec.Metrics[0].Pods.Metric.Name = "connections"
		}, "the gateway has no metric connections"},
		{"a budget of nothing", func(all *objects) {
			of[policyv1.PodDisruptionBudget](all)[0].Spec.Selector.MatchLabels["app.kubernetes.io/name"] = "x"
		}, "selects no pod"},
		{"a Service of nothing", func(all *objects) {
			named[corev1.Service](all, "gateway").Spec.Selector["app.kubernetes.io/name"] = "x"
		}, "selects no pod"},
		{"a port that is none", func(all *objects) { named[corev1.Service](all, "gateway").Spec.Ports[0].TargetPort.StrVal = "http" }, "has no port http"},
		{"a label that lets to a service", func(all *objects) {
			service(all, "user-get").Spec.Template.Labels["tidings.dev/reaches-kafka"] = "true"
		}, "user-get can reach Kafka"},
		{"a label that does not", func(all *objects) {
			delete(service(all, "chat-ingest").Spec.Template.Labels, "tidings.dev/reaches-kafka")
		}, "chat-ingest cannot reach Kafka"},
		{"pushes that do not come through", func(all *objects) {
			delete(service(all, "push-fanout").Spec.Template.Labels, "tidings.dev/reaches-gateway")
		}, "push-fanout cannot reach gateway"},
		{"a function that reaches what is not ours", func(all *objects) {
			service(all, "user-get").Spec.Template.Labels["tidings.dev/reaches-outside"] = "true"
		}, "user-get can reach the world"},
		{"a webhook that does not come through", func(all *objects) {
			delete(service(all, "webhook-deliver").Spec.Template.Labels, "tidings.dev/reaches-outside")
		}, "webhook-deliver cannot reach the world"},
		{"mail to no port of mail", func(all *objects) {
			egress := &named[networkingv1.NetworkPolicy](all, "reaches-outside").Spec.Egress[0]
			egress.Ports = egress.Ports[:1]
		}, "mail-send cannot reach the world:465"},
		{"an inside that is let to", func(all *objects) {
			named[networkingv1.NetworkPolicy](all, "reaches-outside").Spec.Egress[0].To[0].IPBlock.Except = nil
		}, "webhook-deliver can reach the cloud's metadata"},
		{"files that nobody keeps", func(all *objects) {
			delete(service(all, "file-create").Spec.Template.Labels, "tidings.dev/reaches-s3")
		}, "file-create cannot reach the object store"},
		{"an archive that nobody asks", func(all *objects) {
			delete(service(all, "message-history").Spec.Template.Labels, "tidings.dev/reaches-functions")
		}, "message-history cannot reach kourier"},
		{"no names", func(all *objects) { without(all, "NetworkPolicy", "dns") }, "cannot ask DNS"},
		{"a policy of everything", func(all *objects) {
			named[networkingv1.NetworkPolicy](all, "functions").Spec.Ingress[0].From = nil
		}, "the world can reach"},
		{"two objects of one name", func(all *objects) { all.list = append(all.list, all.list[0]) }, "is there twice"},
		{"an object elsewhere", func(all *objects) { service(all, "user-get").Namespace = "default" }, `in namespace "default"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all, err := decodeAll(rendered)
			if err != nil {
				t.Fatal(err)
			}
			tt.make(all)
			found := strings.Join(check(top, all), "\n")
			if !strings.Contains(found, tt.want) {
				t.Errorf("nothing of %q in what was found:\n%s", tt.want, found)
			}
		})
	}
}

func TestAFieldThatIsMisspelledIsRefused(t *testing.T) {
	_, err := decode([]byte("apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: a}\nspec: {template: {spec: {timeoutSecond: 3}}}\n"))
	if err == nil || !strings.Contains(err.Error(), "timeoutSecond") {
		t.Error(err)
	}
}
