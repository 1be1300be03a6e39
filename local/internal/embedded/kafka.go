package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Kafka starts kfake, a stand-in for Apache Kafka of one broker, in this
// process. Its URL is the broker's host:port. What it acknowledged outlives the
// process; the machine only with Sync.
func Kafka(ctx context.Context, c Config) (*Server, error) {
	release, err := own(ctx, c.Dir, 0o700)
	if err != nil {
		return nil, err
	}
	host, port, err := listenAddr(c.Addr)
	if err != nil {
		release()
		return nil, err
	}
	addr := net.JoinHostPort(host, strconv.Itoa(port))
	opts := []kfake.Opt{
		kfake.Ports(port),
		kfake.DataDir(c.Dir),
		kfake.ClusterID("tidings-local"),
		kfake.WithLogger(kafkaLog{c.Log}),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) { return net.Listen(network, addr) }),
	}
	if c.User != "" {
		opts = append(opts, kfake.EnableSASL())
		for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
			opts = append(opts, kfake.Superuser(mechanism, c.User, c.Password))
		}
	}
	if c.Sync {
		opts = append(opts, kfake.SyncWrites())
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		release()
		return nil, fmt.Errorf("starting kfake on %s: %w", addr, err)
	}
	return &Server{URL: addr, Name: "kfake", Dir: c.Dir, StandIn: true, stop: func() error {
		cluster.Close()
		return release()
	}}, nil
}

// kafkaLog hands on what kfake has to warn of.
type kafkaLog struct{ log *slog.Logger }

func (l kafkaLog) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.log.Error("kfake: " + fmt.Sprintf(format, args...))
	case kfake.LogLevelWarn:
		l.log.Warn("kfake: " + fmt.Sprintf(format, args...))
	}
}
