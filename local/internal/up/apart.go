package up

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/tidings-im/tidings/local/internal/embedded"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest/child"
)

// apartFunctions are the functions that run in the other program: those that
// link what the small one leaves out, and what the clock calls for the sake of
// the store of files.
var apartFunctions = []string{"archive-history", "archive-read", "file-sweep"}

// An apart is another program that runs what takes long to compile and is not
// needed to chat: the stand-in for S3, and the functions of the archive. It is
// compiled, if need be, and started when all else is ready. Until then who asks
// for its functions is told to come again, and who connects to its S3 waits for
// a while and is told so then.
type apart struct {
	s3       string        // host:port that clients know; "" if the environment names a store
	patience time.Duration // for which who connects too early is kept waiting

	ready chan struct{} // closed when it serves, or never will
	err   error         // why it does not; set when ready is closed
	s3At  string        // host:port where it listens; likewise
	proxy http.Handler  // to its functions; likewise
}

// launcher names the program that compiles and runs this one with what
// arguments it has. Where nothing names one, this program is all there is.
const launcher = "TIDINGS_LAUNCHER"

// laterS3 is the stand-in for S3 as it will be.
func laterS3(_ context.Context, c embedded.Config) (*embedded.Server, error) {
	at, err := embedded.S3URL(c.Addr, c.Dir)
	if err != nil {
		return nil, err
	}
	return &embedded.Server{URL: at, Name: embedded.NameOfS3, Dir: c.Dir, StandIn: true}, nil
}

// newApart listens where the stand-in for S3 is to answer.
func (s *system) newApart() (*apart, error) {
	a := &apart{ready: make(chan struct{}), patience: 5 * time.Second}
	at := s.vars["S3_URL"]
	if at == "" {
		return a, nil
	}
	if !given("ARCHIVE_URL") {
		s.vars["ARCHIVE_URL"] = at + "/archive" // what is moved there, ARCHIVE_AFTER says
	}
	u, err := url.Parse(at)
	if err != nil {
		return nil, fmt.Errorf("reading the URL of the store of files: %w", err)
	}
	a.s3 = u.Host
	ln, err := net.Listen("tcp", a.s3)
	if err != nil {
		return nil, fmt.Errorf("listening for the store of files: %w", err)
	}
	s.onStop(a.accept(ln))
	return a, nil
}

// accept takes connections for S3 until what it returns is called.
func (a *apart) accept(ln net.Listener) (stop func() error) {
	early := &handed{conns: make(chan net.Conn), ended: make(chan struct{})}
	server := &http.Server{Handler: http.HandlerFunc(tooEarly), ReadHeaderTimeout: 5 * time.Second}
	go server.Serve(early) // ends with Close
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go a.connect(conn, early)
		}
	}()
	return func() error { return errors.Join(ln.Close(), server.Close(), early.Close()) }
}

// connect joins a connection to the S3 of the other program.
func (a *apart) connect(conn net.Conn, early *handed) {
	select {
	case <-a.ready:
	case <-time.After(a.patience):
	}
	if !a.serves() || a.s3At == "" {
		early.take(conn)
		return
	}
	defer conn.Close()
	up, err := net.DialTimeout("tcp", a.s3At, a.patience)
	if err != nil {
		return
	}
	defer up.Close()
	var both sync.WaitGroup
	both.Go(func() { splice(up, conn) })
	both.Go(func() { splice(conn, up) })
	both.Wait()
}

// splice copies until from ends, and says so to to.
func splice(to, from net.Conn) {
	to.(*net.TCPConn).ReadFrom(from) // what breaks one way is seen the other way too
	to.(*net.TCPConn).CloseWrite()
	from.(*net.TCPConn).CloseRead()
}

// serves reports whether the other program serves.
func (a *apart) serves() bool {
	select {
	case <-a.ready:
		return a.err == nil
	default:
		return false
	}
}

func (a *apart) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if a.serves() {
		a.proxy.ServeHTTP(w, r)
		return
	}
	if r.URL.Path != "/archive-read" { // the clock comes again
		w.WriteHeader(http.StatusNoContent)
		return
	}
	fn.WriteProblem(w, http.StatusServiceUnavailable, &im.Error{Kind: im.Unavailable, Msg: "the archive is being compiled still: try again in a minute", RetryAfter: 10 * time.Second})
}

// startApart compiles and starts the other program, and does not wait.
func (s *system) startApart() {
	ctx, cancel := context.WithCancel(context.Background())
	begun := time.Now()
	done := make(chan struct{})
	var proc *child.Process
	go func() {
		defer close(done)
		var err error
		proc, err = s.apart.start(ctx, s)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.log.Error("what runs apart does not start: there are no files, and there is no archive", "err", err)
			return
		}
		if took := time.Since(begun); took > s.apart.patience {
			fmt.Fprintf(s.out, "Files and the archive are ready too, after %.0f s more.\n", took.Seconds())
		}
		go func() {
			<-proc.Done()
			if ctx.Err() == nil {
				s.fail(fmt.Errorf("what runs apart ended: %w\n%s", proc.Err(), proc.Said()))
			}
		}()
	}()
	s.onStop(func() error {
		cancel()
		<-done
		if proc != nil && proc.Stop(syscall.SIGTERM, 15*time.Second) {
			return errors.New("what runs apart did not stop within 15 s and was killed")
		}
		return nil
	})
}

// start starts the other program and waits until it serves.
func (a *apart) start(ctx context.Context, s *system) (proc *child.Process, err error) {
	defer close(a.ready)
	defer func() { a.err = err }()
	self := os.Getenv(launcher)
	if self == "" {
		if self, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("finding this program: %w", err)
		}
	}
	cmd := exec.Command(self, "apart")
	if a.s3 != "" {
		cmd.Args = append(cmd.Args, "--s3", s.home.path("s3"))
	}
	cmd.Env = os.Environ()
	for k, v := range s.vars {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if _, err := cmd.StdinPipe(); err != nil { // open as long as this process runs
		return nil, err
	}
	cmd.Stderr = embedded.LogLines(s.log, "apart")
	proc, at, err := child.Serve(ctx, cmd, syscall.SIGTERM)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(at)
	if err != nil {
		return nil, fmt.Errorf("what runs apart is at %q: %w", at, err)
	}
	a.s3At = u.Query().Get("s3")
	a.proxy = httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: u.Host})
	return proc, nil
}

// tooEarly answers who comes before the store of files is there, as such a store
// does that is overloaded: clients of S3 try again by themselves.
func tooEarly(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/xml")
	h.Set("Retry-After", "10")
	h.Set("Connection", "close")
	h.Set("Access-Control-Allow-Origin", "*") // so that a page can read it
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprint(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>The stand-in for S3 is being compiled still: try again in a minute.</Message></Error>`)
}

// A handed listener accepts the connections that it is handed.
type handed struct {
	conns chan net.Conn
	ended chan struct{}
	once  sync.Once
}

// take hands it a connection.
func (h *handed) take(conn net.Conn) {
	select {
	case h.conns <- conn:
	case <-h.ended:
		conn.Close()
	}
}

func (h *handed) Accept() (net.Conn, error) {
	select {
	case conn := <-h.conns:
		return conn, nil
	case <-h.ended:
		return nil, net.ErrClosed
	}
}

func (h *handed) Addr() net.Addr { return &net.TCPAddr{} }

func (h *handed) Close() error {
	h.once.Do(func() { close(h.ended) })
	return nil
}
