package main

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	eventingduck "knative.dev/eventing/pkg/apis/duck/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
)

// KafkaSource and KafkaSink as eventing-kafka-broker 1.23 defines them, whose
// module cannot be required beside that of eventing. What nobody here uses of
// their authentication is left out, and so refused.

type kafkaSource struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec struct {
		duckv1.SourceSpec `json:",inline"`

		Consumers        *int32                     `json:"consumers,omitempty"`
		BootstrapServers []string                   `json:"bootstrapServers"`
		Net              *kafkaNet                  `json:"net,omitempty"`
		Topics           []string                   `json:"topics"`
		ConsumerGroup    string                     `json:"consumerGroup,omitempty"`
		InitialOffset    string                     `json:"initialOffset,omitempty"`
		Delivery         *eventingduck.DeliverySpec `json:"delivery,omitempty"`
		Ordering         *string                    `json:"ordering,omitempty"`
	} `json:"spec"`
}

type kafkaNet struct {
	SASL *struct {
		Enable   bool     `json:"enable,omitempty"`
		User     keyOfOne `json:"user,omitempty"`
		Password keyOfOne `json:"password,omitempty"`
		Type     keyOfOne `json:"type,omitempty"`
	} `json:"sasl,omitempty"`
	TLS *struct {
		Enable bool     `json:"enable,omitempty"`
		Cert   keyOfOne `json:"cert,omitempty"`
		Key    keyOfOne `json:"key,omitempty"`
		CACert keyOfOne `json:"caCert,omitempty"`
	} `json:"tls,omitempty"`
}

type keyOfOne struct {
	SecretKeyRef *corev1.SecretKeySelector `json:"secretKeyRef,omitempty"`
}

// Validate is what the webhook asks.
func (k *kafkaSource) Validate(ctx context.Context) *apis.FieldError {
	e := k.Spec.SourceSpec.Validate(ctx)
	if len(k.Spec.Topics) == 0 {
		e = e.Also(apis.ErrMissingField("topics"))
	}
	if len(k.Spec.BootstrapServers) == 0 {
		e = e.Also(apis.ErrMissingField("bootstrapServers"))
	}
	if o := k.Spec.InitialOffset; o != "" && o != "earliest" && o != "latest" {
		e = e.Also(apis.ErrInvalidValue(o, "initialOffset"))
	}
	if o := k.Spec.Ordering; o != nil && *o != "ordered" && *o != "unordered" {
		e = e.Also(apis.ErrInvalidValue(*o, "ordering"))
	}
	if k.Spec.Delivery != nil {
		e = e.Also(k.Spec.Delivery.Validate(ctx).ViaField("delivery"))
	}
	return e.ViaField("spec")
}

type kafkaSink struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec struct {
		Topic             string   `json:"topic"`
		NumPartitions     *int32   `json:"numPartitions,omitempty"`
		ReplicationFactor *int16   `json:"replicationFactor,omitempty"`
		BootstrapServers  []string `json:"bootstrapServers"`
		ContentMode       *string  `json:"contentMode,omitempty"`
		Auth              *struct {
			Secret struct {
				Ref corev1.LocalObjectReference `json:"ref"`
			} `json:"secret"`
		} `json:"auth,omitempty"`
	} `json:"spec"`
}

// Validate is what the webhook asks.
func (k *kafkaSink) Validate(context.Context) *apis.FieldError {
	var e *apis.FieldError
	if k.Spec.Topic == "" {
		e = e.Also(apis.ErrMissingField("topic"))
	}
	if len(k.Spec.BootstrapServers) == 0 {
		e = e.Also(apis.ErrMissingField("bootstrapServers"))
	}
	if m := k.Spec.ContentMode; m != nil && *m != "binary" && *m != "structured" {
		e = e.Also(apis.ErrInvalidValue(*m, "contentMode"))
	}
	return e.ViaField("spec")
}

// kafkaTopic is Strimzi's.
type kafkaTopic struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec struct {
		TopicName  string         `json:"topicName,omitempty"`
		Partitions int            `json:"partitions,omitempty"`
		Replicas   int            `json:"replicas,omitempty"`
		Config     map[string]any `json:"config,omitempty"`
	} `json:"spec"`
}
