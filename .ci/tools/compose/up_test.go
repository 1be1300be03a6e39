package compose

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/child"
)

// order returns the names of services so that each comes after whom it waits for.
func order(p *types.Project) ([]string, error) {
	var sorted []string
	state := make(map[string]int) // 1 while it is looked at, 2 when it is sorted
	var visit func(name string) error
	visit = func(name string) error {
		switch state[name] {
		case 1:
			return fmt.Errorf("%s waits for itself", name)
		case 2:
			return nil
		}
		state[name] = 1
		for dep := range p.Services[name].DependsOn {
			if err := visit(dep); err != nil {
				return err
			}
		}
		state[name] = 2
		sorted = append(sorted, name)
		return nil
	}
	for _, name := range p.ServiceNames() {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return sorted, nil
}

// A system is what docker compose up makes of the file, of processes.
type system struct {
	t       *testing.T
	project *types.Project
	keys    string            // the folder that is the volume of that name
	seen    string            // a folder of what containers see of it, with other addresses
	binary  string            // of the image
	ports   map[string]string // <service>:<port> to host:port of this machine
	names   *url.URL          // of what stands in for the names of services where groups are part of a URL

	mu    sync.Mutex
	parts map[string]*child.Process
}

// up starts everything as docker compose up does.
func up(t *testing.T) *system {
	t.Helper()
	pg := imtest.Start(t, "postgres")
	at, err := url.Parse(pg.URL)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := at.User.Password()
	store := imtest.FreePort(t)
	s := &system{
		t: t, keys: t.TempDir(), seen: t.TempDir(), parts: make(map[string]*child.Process),
		project: load(t, "POSTGRES_PASSWORD="+password, fmt.Sprintf("S3_PORT=%d", store)), // the port of this machine by which clients reach it
		ports: map[string]string{
			"postgres:5432": pg.Addr, "redis:6379": fmt.Sprintf("127.0.0.1:%d", imtest.FreePort(t)),
			"s3:9000": fmt.Sprintf("127.0.0.1:%d", store),
		},
	}
	s.build()
	s.resolve()
	all, err := order(s.project)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for name, p := range s.parts {
			if t.Failed() {
				t.Logf("%s said last:\n%s", name, p.Said())
			}
			p.Kill()
		}
	})
	s.start("keys")
	s.await("every store", "keys", types.ServiceConditionCompletedSuccessfully)
	s.ports["kafka:9092"] = imtest.Start(t, "kafka", "--login", "tidings:"+s.key("kafka-password")).Addr
	s.startRedis()
	s.startStore()
	all = slices.DeleteFunc(all, func(name string) bool { return name == "keys" })
	for _, name := range all {
		if !own(s.project.Services[name]) {
			continue
		}
		for dep, how := range s.project.Services[name].DependsOn {
			if own(s.project.Services[dep]) {
				s.await(name, dep, how.Condition)
			}
		}
		s.start(name)
	}
	s.await("whoever looks", "gateway", types.ServiceConditionHealthy)
	return s
}

func (s *system) build() {
	s.t.Helper()
	dir := s.t.TempDir()
	// As the Dockerfile does, of which the packages are in the cache then.
	args := []string{"build", "-buildvcs=false", "-trimpath", "-tags=grpcnotrace", "-ldflags=-s -w", "-o", dir + "/", "./cmd/tidings"}
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = top, append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, said)
	}
	s.binary = filepath.Join(dir, "tidings")
}

// startStore starts the object store of the file: the program that is in its
// image, with its command line, and waits until its health check says that it
// is there.
func (s *system) startStore() {
	s.t.Helper()
	service := s.project.Services["s3"]
	version := regexp.MustCompile(`^versity/versitygw:(v[0-9.]+)@`).FindStringSubmatch(service.Image)
	if version == nil {
		s.t.Fatalf("this test does not know what is in %s", service.Image)
	}
	dir := s.t.TempDir()
	install := exec.Command("go", "install", "github.com/versity/versitygw/cmd/versitygw@"+version[1])
	install.Env = append(os.Environ(), "GOBIN="+dir)
	if said, err := install.CombinedOutput(); err != nil {
		s.t.Fatalf("building versitygw: %v\n%s", err, said)
	}
	at := s.ports["s3:9000"]
	here := strings.NewReplacer(":9000", at, "/data", s.t.TempDir())
	cmd := exec.Command(filepath.Join(dir, "versitygw"))
	for _, arg := range service.Command {
		cmd.Args = append(cmd.Args, here.Replace(arg))
	}
	for k, v := range service.Environment {
		cmd.Env = append(cmd.Env, k+"="+*v)
	}
	cmd.Env = append(cmd.Env, "ROOT_SECRET_KEY="+s.key(given(service)["/run/secrets/s3-password"])) // as its entrypoint does
	p, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		s.t.Fatal(err)
	}
	s.parts["s3"] = p
	health := strings.Replace(service.HealthCheck.Test[len(service.HealthCheck.Test)-1], "127.0.0.1:9000", at, 1)
	deadline := time.Now().Add(time.Minute)
	for {
		resp, err := http.Get(health)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
			err = fmt.Errorf("it answers %s", resp.Status)
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the object store is not there: %v; it said last:\n%s", err, p.Said())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// key returns what a file of the volume of keys says.
func (s *system) key(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.keys, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// startRedis starts Redis with the command line of the file: it asks for the
// password that is made.
func (s *system) startRedis() {
	s.t.Helper()
	service := s.project.Services["redis"]
	_, port, _ := strings.Cut(s.ports["redis:6379"], ":")
	args := []string{"--port", port, "--bind", "127.0.0.1", "--dir", s.t.TempDir()}
	for _, arg := range service.Command[1:] {
		if file := given(service)[arg]; file != "" {
			arg = filepath.Join(s.keys, file)
		}
		args = append(args, arg)
	}
	p, err := child.Start(exec.Command(service.Command[0], args...), syscall.SIGKILL)
	if err != nil {
		s.t.Fatal(err)
	}
	s.parts["redis"] = p
}

// resolve gives each port of each service one of this machine, and starts what
// answers for http://<service>:8080 where the name is part of a pattern.
func (s *system) resolve() {
	for name, service := range s.project.Services {
		if own(service) {
			for _, port := range []string{"8080", "8081", "9090"} {
				s.ports[name+":"+port] = fmt.Sprintf("127.0.0.1:%d", imtest.FreePort(s.t))
			}
		}
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			service, rest, _ := strings.Cut(strings.TrimPrefix(r.In.URL.Path, "/"), "/")
			r.Out.URL = &url.URL{Scheme: "http", Host: s.ports[service+":8080"], Path: "/" + rest}
		},
		Transport:    &http.Transport{MaxIdleConnsPerHost: 64},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	srv := &http.Server{Addr: fmt.Sprintf("127.0.0.1:%d", imtest.FreePort(s.t)), Handler: proxy}
	go srv.ListenAndServe()
	s.t.Cleanup(func() { srv.Close() })
	s.names = &url.URL{Scheme: "http", Host: srv.Addr}
}

var hostPort = regexp.MustCompile(`[a-z][a-z0-9-]*:[0-9]+`)

// here rewrites what names services by what is at this machine.
func (s *system) here(text string) string {
	text = strings.Replace(text, "http://{group}:8080/", s.names.String()+"/{group}/", 1)
	text = strings.Replace(text, "{hostname}:8081", s.ports["gateway:8081"], 1)
	return hostPort.ReplaceAllStringFunc(text, func(at string) string {
		if to := s.ports[at]; to != "" {
			return to
		}
		return at
	})
}

// environment is what the container of a service would have: what the file says
// with other addresses, and where it listens.
func (s *system) environment(name string) []string {
	service := s.project.Services[name]
	var env []string
	for k, v := range service.Environment {
		if v != nil && k != "METRICS_ADDR" && k != "INBOX_STORE" {
			env = append(env, k+"="+s.here(*v))
		}
	}
	port := func(n string) string {
		_, p, _ := strings.Cut(s.ports[name+":"+n], ":")
		return p
	}
	// Not MongoDB: FerretDB, which stands in for it elsewhere, breaks when several processes make sure of its indexes again and again.
	env = append(env, "INBOX_STORE=postgres", "METRICS_ADDR=127.0.0.1:"+port("9090"),
		"PORT="+port("8080"), "CONNECTOR_ADDR=:"+port("8080"), "GATEWAY_ADDR=:"+port("8080"), "GATEWAY_INTERNAL_ADDR=:"+port("8081"))
	for target, key := range given(service) { // where proc looks by itself
		if dir, of := filepath.Split(target); dir == "/var/openfaas/secrets/" {
			file := filepath.Join(s.seen, name+"."+key)
			if err := put(file, s.here(s.key(key))); err != nil {
				s.t.Fatal(err)
			}
			env = append(env, strings.ToUpper(strings.ReplaceAll(of, "-", "_"))+"_FILE="+file)
		}
	}
	return env
}

// put writes a file that another process may be reading: it finds it whole.
func put(file, text string) error {
	part, err := os.CreateTemp(filepath.Dir(file), "part-")
	if err != nil {
		return err
	}
	_, err = part.WriteString(text)
	if err := errors.Join(err, part.Close()); err != nil {
		return err
	}
	return os.Rename(part.Name(), file)
}

func (s *system) command(name string, args []string) *exec.Cmd {
	args = slices.Clone(args)
	for i := range args {
		if args[i] == "/keys" {
			args[i] = s.keys
		}
		args[i] = strings.Replace(args[i], "127.0.0.1:8080", s.ports[name+":8080"], 1)
	}
	cmd := exec.Command(s.binary, args...)
	cmd.Env = s.environment(name)
	return cmd
}

func (s *system) start(name string) {
	s.t.Helper()
	p, err := child.Start(s.command(name, s.project.Services[name].Command), syscall.SIGKILL)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	s.parts[name] = p
	s.mu.Unlock()
}

// await waits until a service is as who waits for it says.
func (s *system) await(who, name, condition string) {
	s.t.Helper()
	s.mu.Lock()
	p := s.parts[name]
	s.mu.Unlock()
	deadline := time.Now().Add(time.Minute)
	for {
		switch condition {
		case types.ServiceConditionCompletedSuccessfully:
			select {
			case <-p.Done():
				if p.Err() != nil {
					s.t.Fatalf("%s, for which %s waits, ended: %v\n%s", name, who, p.Err(), p.Said())
				}
				return
			default:
			}
		case types.ServiceConditionHealthy:
			if s.healthy(name) {
				return
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s waits for %s for too long; it said last:\n%s", who, name, p.Said())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// healthy runs the health check of a service.
func (s *system) healthy(name string) bool {
	test := s.project.Services[name].HealthCheck.Test
	if len(test) != 4 || test[0] != "CMD" || test[1] != "/tidings" {
		s.t.Fatalf("the health check of %s is %v", name, test)
	}
	return s.command(name, test[2:]).Run() == nil
}

// kill ends a service as the kernel does when memory runs out. Docker starts it
// again then.
func (s *system) kill(name string) {
	s.mu.Lock()
	p := s.parts[name]
	s.mu.Unlock()
	p.Kill()
}

// down stops everything, those first who wait for others, and within the time
// that the file gives them.
func (s *system) down() {
	s.t.Helper()
	all, err := order(s.project)
	if err != nil {
		s.t.Fatal(err)
	}
	slices.Reverse(all)
	for _, name := range all {
		p := s.parts[name]
		if p == nil {
			continue
		}
		grace := 10 * time.Second // Docker's own
		if g := s.project.Services[name].StopGracePeriod; g != nil {
			grace = time.Duration(*g)
		}
		if p.Stop(syscall.SIGTERM, grace) {
			s.t.Errorf("%s had to be killed after %s", name, grace)
		} else if p.Err() != nil {
			s.t.Errorf("%s ended with %v:\n%s", name, p.Err(), p.Said())
		}
	}
}
