package openfaas

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	bootstrap "github.com/openfaas/faas-provider"
	"github.com/openfaas/faas-provider/proxy"
	"github.com/openfaas/faas-provider/types"

	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/child"
)

// A provider does what faas-netes and faasd do for OpenFaaS, with processes.
type provider struct {
	t       *testing.T
	url     *url.URL
	secrets string // a folder of files, as a cluster has Secrets
	program string // what is in the one image

	mu    sync.Mutex
	funcs map[string]*instance
}

type instance struct {
	types.FunctionDeployment
	*child.Process
	at url.URL
}

// The router of faas-provider is one for the whole process.
func serve(t *testing.T, secrets string) *provider {
	t.Helper()
	port := imtest.FreePort(t)
	p := &provider{t: t, secrets: secrets, funcs: make(map[string]*instance), url: &url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}}
	config := types.FaaSConfig{TCPPort: &port, ReadTimeout: time.Minute, WriteTimeout: time.Minute}
	none := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotImplemented) }
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		bootstrap.Serve(ctx, &types.FaaSHandlers{
			FunctionProxy: proxy.NewHandlerFunc(config, p, false), FunctionLister: p.list,
			DeployFunction: p.deploy, UpdateFunction: p.deploy, DeleteFunction: p.delete,
			FunctionStatus: none, ScaleFunction: none, Secrets: none, Logs: none, ListNamespaces: none, Info: none,
			Health: func(http.ResponseWriter, *http.Request) {},
		}, &config)
	}()
	t.Cleanup(func() {
		stop()
		<-ended
		for _, f := range p.funcs {
			f.Kill()
		}
	})
	eventually(t, 10*time.Second, func() error { return get(p.url.JoinPath("healthz").String()) })
	return p
}

// Resolve tells OpenFaaS's proxy where a function is.
func (p *provider) Resolve(name string) (url.URL, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.funcs[name]; f != nil {
		return f.at, nil
	}
	return url.URL{}, errors.New("it is not deployed")
}

func (p *provider) deploy(w http.ResponseWriter, r *http.Request) {
	var d types.FunctionDeployment
	if err := json.NewDecoder(r.Body).Decode(&d); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f, err := p.start(d)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	p.funcs[d.Service] = f
	p.mu.Unlock()
	w.WriteHeader(http.StatusAccepted)
}

// start runs what the image of a function holds, with the environment and the
// secrets that the deployment says and nothing else.
func (p *provider) start(d types.FunctionDeployment) (*instance, error) {
	port := imtest.FreePort(p.t)
	cmd := exec.Command(p.program)
	cmd.Env = []string{fmt.Sprintf("PORT=%d", port)}
	for k, v := range d.EnvVars {
		if k == "METRICS_ADDR" { // all are on this one machine
			v = fmt.Sprintf("127.0.0.1:%d", imtest.FreePort(p.t))
		}
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	for _, s := range d.Secrets {
		file := filepath.Join(p.secrets, s)
		if _, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("there is no secret %s", s)
		}
		// OpenFaaS mounts it as /var/openfaas/secrets/<name>, where proc looks by itself; here there is no mount of its own for each process.
		cmd.Env = append(cmd.Env, strings.ToUpper(strings.ReplaceAll(s, "-", "_"))+"_FILE="+file)
	}
	proc, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return nil, err
	}
	return &instance{d, proc, url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}}, nil
}

func (p *provider) list(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := []types.FunctionStatus{}
	for name, f := range p.funcs {
		list = append(list, types.FunctionStatus{Name: name, Image: f.Image, Replicas: 1, Labels: f.Labels, Annotations: f.Annotations, Secrets: f.Secrets})
	}
	json.NewEncoder(w).Encode(list)
}

// delete stops a function as a platform does: SIGTERM, and a while later SIGKILL.
func (p *provider) delete(w http.ResponseWriter, r *http.Request) {
	var d types.DeleteFunctionRequest
	if err := json.NewDecoder(r.Body).Decode(&d); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	f := p.funcs[d.FunctionName]
	delete(p.funcs, d.FunctionName)
	p.mu.Unlock()
	if f == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if killed := f.Stop(syscall.SIGTERM, 30*time.Second); killed {
		http.Error(w, d.FunctionName+" does not end by SIGTERM: "+f.Said(), http.StatusInternalServerError)
		return
	}
	if err := f.Err(); err != nil {
		http.Error(w, fmt.Sprintf("%s ends with %v: %s", d.FunctionName, err, f.Said()), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// ready waits until each function answers at the path that its annotation says.
func (p *provider) ready() {
	p.t.Helper()
	p.mu.Lock()
	all := make(map[string]*instance)
	for name, f := range p.funcs {
		all[name] = f
	}
	p.mu.Unlock()
	for name, f := range all {
		for _, which := range []string{"health", "ready"} {
			path := (*f.Annotations)["com.openfaas."+which+".http.path"]
			if path == "" {
				p.t.Fatalf("%s: no annotation says where it answers that it is %s", name, which)
			}
			eventually(p.t, 30*time.Second, func() error {
				select {
				case <-f.Done():
					p.t.Fatalf("%s ended: %v: %s", name, f.Err(), f.Said())
				default:
				}
				return get(f.at.JoinPath(path).String())
			})
		}
	}
}

func (p *provider) names() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for name := range p.funcs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func get(url string) error {
	resp, err := (&http.Client{Timeout: 2 * time.Second}).Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

func eventually(t *testing.T, within time.Duration, f func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %v", within, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
