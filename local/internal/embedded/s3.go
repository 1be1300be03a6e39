//go:build !tidings_small

package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

// S3 starts versitygw, a stand-in for Amazon S3 that keeps objects as files, in
// this process, whose working directory it takes: there can be one, and paths
// have to be absolute from then on. S3Apart has none of that.
//
// Its URL is as the setting S3_URL takes it. What it acknowledged outlives the
// process; the machine only if the operating system has written it.
func S3(ctx context.Context, c Config) (*Server, error) {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, err
	}
	release, err := own(ctx, dir, 0o700)
	if err != nil {
		return nil, err
	}
	s, err := startS3(ctx, c, dir)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	stop := s.stop
	s.stop = func() error { return errors.Join(stop(), release()) }
	return s, nil
}

func startS3(ctx context.Context, c Config, dir string) (*Server, error) {
	host, port, err := listenAddr(c.Addr)
	if err != nil {
		return nil, err
	}
	objects := filepath.Join(dir, "objects")
	if err := os.MkdirAll(objects, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder for objects: %w", err)
	}
	var attributes meta.MetadataStorer = meta.XattrMeta{}
	opts := posix.PosixOpts{
		ValidateBucketNames: true,
		Concurrency:         1000,
		CopyObjectThreshold: 5 << 30,
	}
	opts.SetNewDirPerm(0o700)
	opts.SetNewFilePerm(0o600)
	if attributes.StoreAttribute(nil, objects, "", "works", []byte("1")) != nil { // not every file system has attributes
		opts.SideCarDir = filepath.Join(dir, "attributes")
		if err := os.MkdirAll(opts.SideCarDir, 0o700); err != nil {
			return nil, fmt.Errorf("making the folder for attributes of objects: %w", err)
		}
		if attributes, err = meta.NewSideCar(opts.SideCarDir); err != nil {
			return nil, fmt.Errorf("starting versitygw: %w", err)
		}
	}
	backend, err := posix.New(objects, attributes, opts)
	if err != nil {
		return nil, fmt.Errorf("starting versitygw: %w", err)
	}
	addr := net.JoinHostPort(host, strconv.Itoa(port))
	at, secret, err := s3URL(addr, dir)
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	var how error
	go func() {
		defer close(ended)
		how = embedgw.RunVersityGW(running, backend, &embedgw.Config{
			RootUserAccess: database, RootUserSecret: secret,
			Ports:          []string{addr},
			MaxConnections: 10_000, MaxRequests: 5_000, MultipartMaxParts: 10_000,
			HealthPath: "/" + health, KeepAlive: true, Quiet: true,
			CORSAllowOrigin: "*", // programs of browsers upload, too
		})
	}()
	stop := sync.OnceValue(func() error {
		cancel()
		<-ended
		return nil
	})
	s := &Server{URL: at, Name: NameOfS3, Dir: dir, StandIn: true, stop: stop}
	log := &logLines{log: c.Log, service: "versitygw"}
	err = started(ctx, s, log, func(ctx context.Context) error {
		select {
		case <-ended:
			return fmt.Errorf("it ended at once: %w", how)
		default:
			return healthy(ctx, "http://"+addr+"/"+health)
		}
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// health is where versitygw answers anybody that it is there. No bucket has
// such a name.
const health = "health.check"

func healthy(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("versitygw answers %s", resp.Status)
	}
	return nil
}
