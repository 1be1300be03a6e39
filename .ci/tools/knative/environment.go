package main

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/gateway/server"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/proc"
)

// pretended are secrets that have the right form.
var pretended = sync.OnceValue(func() map[string]string {
	public, private, _ := ed25519.GenerateKey(nil)
	privateDER, _ := x509.MarshalPKCS8PrivateKey(private)
	publicDER, _ := x509.MarshalPKIXPublicKey(public)
	return map[string]string{
		"POSTGRES_URL":      "postgres://127.0.0.1:1/d",
		"MONGODB_URL":       "mongodb://127.0.0.1:1/d",
		"REDIS_URL":         "redis://127.0.0.1:1",
		"S3_URL":            "http://key:secret@127.0.0.1:1/files",
		"ARCHIVE_URL":       "http://key:secret@127.0.0.1:1/archive",
		"SEAL_KEYS":         "k:" + base64.StdEncoding.EncodeToString(make([]byte, 32)),
		"TOKEN_PRIVATE_KEY": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateDER})),
		"TOKEN_PUBLIC_KEYS": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER})),
	}
})

// vars returns the environment that a pod's process has, without what the
// platform adds.
func (all *objects) vars(p pod) map[string]string {
	vars := map[string]string{"AUDIT_TOPIC": "true"} // who writes it has a way to Kafka, so that it can be turned on
	for _, from := range p.container().EnvFrom {
		if m := named[corev1.ConfigMap](all, from.ConfigMapRef.Name); m != nil {
			maps.Copy(vars, m.Data)
		}
	}
	for _, e := range p.container().Env {
		switch {
		case e.ValueFrom == nil:
			vars[e.Name] = strings.NewReplacer("$(POD_NAME)", vars["POD_NAME"]).Replace(e.Value)
		case e.ValueFrom.SecretKeyRef != nil:
			vars[e.Name] = pretended()[e.ValueFrom.SecretKeyRef.Key]
		case e.ValueFrom.FieldRef != nil && e.ValueFrom.FieldRef.FieldPath == "metadata.name":
			vars[e.Name] = p.owner.GetName() + "-0"
		}
	}
	return vars
}

// env returns what a process reads its settings from: the ConfigMap, and more.
func (c *checker) env(more map[string]string) *proc.Env {
	return proc.NewEnv(func(name string) string {
		if v := more[name]; v != "" {
			return v
		}
		return c.setting(name)
	}, slog.New(slog.DiscardHandler))
}

// environment builds each function and the gateway with exactly what its
// manifest gives it: nothing may be missing, wherever inboxes are kept, and no
// secret may be there that it does not read. Nothing connects to anything then.
func (c *checker) environment() {
	known := c.defaults()
	for _, m := range of[corev1.ConfigMap](c.objects) {
		for k := range m.Data {
			if _, ok := known[k]; !ok {
				c.wrong("ConfigMap %s: there is no setting %s", m.Name, k)
			}
		}
	}
	for _, p := range c.pods() {
		vars := c.vars(p)
		read := c.build(p, vars)
		if read["INBOX_STORE"] { // whichever store the setting names
			for _, store := range []string{"mongodb", "postgres"} {
				vars["INBOX_STORE"] = store
				maps.Copy(read, c.build(p, vars))
			}
		}
		c.reads[p.owner.GetName()] = read
		if read == nil {
			continue
		}
		for _, e := range p.container().Env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil && !read[e.Name] {
				c.wrong("%s is given %s, and does not read it", p.owner, e.Name)
			}
		}
	}
}

// build returns the settings that the process of a pod reads, or nil where it
// is not asked.
func (c *checker) build(p pod, vars map[string]string) map[string]bool {
	var mu sync.Mutex
	read := make(map[string]bool)
	env := proc.NewEnv(func(name string) string {
		mu.Lock()
		defer mu.Unlock()
		read[name] = true
		if name == "METRICS_ADDR" || strings.HasPrefix(name, "GATEWAY_") && strings.HasSuffix(name, "_ADDR") {
			return "127.0.0.1:0" // those of this machine
		}
		return vars[name]
	}, slog.New(slog.DiscardHandler))
	defer env.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var err error
	switch name := p.owner.GetName(); {
	case name == "gateway":
		var s *server.Server
		if s, err = server.Open(ctx, env); err == nil {
			c.internalURL(s.InternalURL) // what it listens at is closed with this program
		}
	default:
		i := slices.IndexFunc(functions.All, func(f fn.Func) bool { return f.Name == name })
		if i < 0 {
			return nil
		}
		_, err = fn.Mount(ctx, env, functions.All[i])
	}
	if err != nil {
		c.wrong("%s would not start: %v", p.owner, err)
	}
	c.uses[p.owner.GetName()] = append(c.uses[p.owner.GetName()], env.Used()...)
	mu.Lock()
	defer mu.Unlock()
	return maps.Clone(read)
}

// internalURL checks that the name under which a gateway registers is one that
// the headless Service gives its pod, and the port is the internal one's.
func (c *checker) internalURL(at string) {
	set := named[appsv1.StatefulSet](c.objects, "gateway")
	u, err := url.Parse(at)
	if err != nil {
		c.wrong("GATEWAY_INTERNAL_URL: %v", err)
		return
	}
	want := fmt.Sprintf("%s-0.%s.%s.svc.cluster.local", set.Name, set.Spec.ServiceName, namespace)
	if u.Hostname() != want || u.Port() != "8081" { // GATEWAY_INTERNAL_ADDR is left at its default
		c.wrong("a gateway registers as %s, and is %s:8081", at, want)
	}
	if s := named[corev1.Service](c.objects, set.Spec.ServiceName); s != nil && !s.Spec.PublishNotReadyAddresses {
		c.wrong("Service %s: a gateway that drains has no name, and its last connections get no pushes", s.Name)
	}
}

// gateway checks that it is let to end its connections.
func (c *checker) gateway() {
	for _, s := range of[appsv1.StatefulSet](c.objects) {
		grace := s.Spec.Template.Spec.TerminationGracePeriodSeconds
		// Connections are closed within Grace, and requests end within as much again.
		if grace == nil || time.Duration(*grace)*time.Second < 2*proc.Grace+5*time.Second {
			c.wrong("StatefulSet %s: its pods are killed before they have drained, which takes up to %s", s.Name, 2*proc.Grace)
		}
	}
}
