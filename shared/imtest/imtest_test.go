package imtest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	goredis "github.com/redis/go-redis/v9"
	kafkago "github.com/segmentio/kafka-go"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/tidings-im/tidings/shared/proc"
)

// within returns a context that also lasts while a service is compiled.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), Patience(t))
	t.Cleanup(cancel)
	return ctx
}

func TestPostgresIsADatabaseOfItsOwn(t *testing.T) {
	ctx := within(t)
	for range 2 { // the second does not find what the first made
		conn, err := pgx.Connect(ctx, Postgres(t))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, "create table a (b int)"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPostgresIsDroppedWithItsTest(t *testing.T) {
	var url string
	t.Run("a test with a connection left open", func(t *testing.T) {
		url = Postgres(t)
		if _, err := pgx.Connect(context.Background(), url); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := pgx.Connect(t.Context(), url); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("connecting to the database of a test that has ended: %v", err)
	}
}

func TestMongoKeepsDocuments(t *testing.T) {
	ctx := within(t)
	url := Mongo(t)
	client, err := mongo.Connect(options.Client().ApplyURI(url))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Disconnect(ctx)
	c := client.Database(url[strings.LastIndexByte(url, '/')+1:]).Collection("a")
	if _, err := c.InsertOne(ctx, bson.D{{Key: "_id", Value: 1}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.InsertOne(ctx, bson.D{{Key: "_id", Value: 1}}); !mongo.IsDuplicateKeyError(err) {
		t.Errorf("inserting the same key twice: %v", err)
	}
}

func TestS3IsABucketOfItsOwnAndRemovedWithItsTest(t *testing.T) {
	ctx := within(t)
	var at string
	t.Run("a test that leaves objects and uploads behind", func(t *testing.T) {
		for range 2 { // the second does not find what the first made
			at = S3(t)
			client, bucket := s3Client(t, at)
			if _, err := client.StatObject(ctx, bucket, "a", minio.StatObjectOptions{}); minio.ToErrorResponse(err).Code != minio.NoSuchKey {
				t.Errorf("the bucket is not empty: %v", err)
			}
			if _, err := client.PutObject(ctx, bucket, "a", strings.NewReader("b"), 1, minio.PutObjectOptions{}); err != nil {
				t.Fatal(err)
			}
			core := minio.Core{Client: client}
			if _, err := core.NewMultipartUpload(ctx, bucket, "c", minio.PutObjectOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	})
	client, bucket := s3Client(t, at)
	if there, err := client.BucketExists(ctx, bucket); there || err != nil {
		t.Errorf("the bucket of a test that has ended is there: %v, %v", there, err)
	}
}

func s3Client(t *testing.T, at string) (client *minio.Client, bucket string) {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := u.User.Password()
	client, err = minio.New(u.Host, &minio.Options{Creds: credentials.NewStaticV4(u.User.Username(), secret, "")})
	if err != nil {
		t.Fatal(err)
	}
	return client, strings.Trim(u.Path, "/")
}

func TestRedisIsEmptyAndOfItsOwn(t *testing.T) {
	ctx := within(t)
	for range 2 {
		opt, err := goredis.ParseURL(Redis(t))
		if err != nil {
			t.Fatal(err)
		}
		client := goredis.NewClient(opt)
		defer client.Close()
		if n, err := client.Incr(ctx, "a").Result(); n != 1 || err != nil {
			t.Errorf("first INCR: %d, %v", n, err)
		}
	}
}

func TestKafkaKeepsRecords(t *testing.T) {
	ctx := within(t)
	broker := Kafka(t)[0]
	topic := Name()
	makeTopic(ctx, t, broker, topic)
	produce(ctx, t, broker, topic, "one")
	if got := consume(ctx, t, broker, topic); got != "one" {
		t.Errorf("read %q", got)
	}
}

func TestEnvKnowsOnlyItsOwnSettings(t *testing.T) {
	t.Setenv("POSTGRES_URL", "from the environment")
	env := Env(t, map[string]string{"REDIS_URL": "given"})
	set := env.Settings()
	if got := set.String(proc.Setting{Name: "REDIS_URL"}); got != "given" {
		t.Errorf("REDIS_URL is %q", got)
	}
	if got := set.String(proc.Setting{Name: "POSTGRES_URL"}); got != "" {
		t.Errorf("POSTGRES_URL is %q", got)
	}
}

// Every service answers again, with what it had, at the same address, after
// it was killed; and does not answer, with its port open, while it is frozen.
func TestServicesAreKilledFrozenAndStartedAgain(t *testing.T) {
	for _, test := range []struct {
		kind  string
		write func(context.Context, *testing.T, *Service)
		read  func(context.Context, *testing.T, *Service) string
	}{
		{"postgres", func(ctx context.Context, t *testing.T, s *Service) {
			query(ctx, t, s, "create table a (b text); insert into a values ('kept')")
		}, func(ctx context.Context, t *testing.T, s *Service) string {
			return query(ctx, t, s, "select b from a")
		}},
		{"redis", func(ctx context.Context, t *testing.T, s *Service) {
			client := redisClient(t, s)
			if err := client.Set(ctx, "a", "kept", 0).Err(); err != nil {
				t.Fatal(err)
			}
		}, func(ctx context.Context, t *testing.T, s *Service) string {
			got, err := redisClient(t, s).Get(ctx, "a").Result()
			if err != nil {
				t.Fatal(err)
			}
			return got
		}},
		{"s3", func(ctx context.Context, t *testing.T, s *Service) {
			client, bucket := s3Client(t, s.URL)
			if err := client.MakeBucket(ctx, bucket, minio.MakeBucketOptions{}); err != nil {
				t.Fatal(err)
			}
			if _, err := client.PutObject(ctx, bucket, "a", strings.NewReader("kept"), 4, minio.PutObjectOptions{}); err != nil {
				t.Fatal(err)
			}
		}, func(ctx context.Context, t *testing.T, s *Service) string {
			client, bucket := s3Client(t, s.URL)
			obj, err := client.GetObject(ctx, bucket, "a", minio.GetObjectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer obj.Close()
			b, err := io.ReadAll(obj)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}},
		{"kafka", func(ctx context.Context, t *testing.T, s *Service) {
			makeTopic(ctx, t, s.Addr, "a")
			produce(ctx, t, s.Addr, "a", "kept")
		}, func(ctx context.Context, t *testing.T, s *Service) string {
			return consume(ctx, t, s.Addr, "a")
		}},
	} {
		t.Run(test.kind, func(t *testing.T) {
			t.Parallel()
			ctx := within(t)
			s := Start(t, test.kind)
			addr := s.Addr
			test.write(ctx, t, s)
			remember := func() {}
			if test.kind == redis && !RealRedis(t) {
				NotExercised(t, "that what Redis had is there when it starts again")
				remember = func() { test.write(ctx, t, s) }
			}

			s.Kill()
			if _, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("dialling it while it is dead: %v", err)
			}
			s.Restart()
			if s.Addr != addr {
				t.Errorf("it came back on %s instead of %s", s.Addr, addr)
			}
			remember()
			if got := test.read(ctx, t, s); got != "kept" {
				t.Errorf("after kill -9 it has %q", got)
			}

			s.Freeze()
			pids := s.frozen
			for _, pid := range pids {
				// A signal is taken when the process is interrupted next, on whatever core it runs.
				st := state(t, pid)
				for st != "T" && ctx.Err() == nil {
					time.Sleep(time.Millisecond)
					st = state(t, pid)
				}
				if st != "T" {
					t.Errorf("process %d is in state %s while frozen", pid, st)
				}
			}
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Errorf("dialling it while it is frozen: %v", err)
			} else {
				conn.Close()
			}
			s.Thaw()
			if got := test.read(ctx, t, s); got != "kept" {
				t.Errorf("after thawing it has %q", got)
			}

			s.Stop()
			s.Restart()
			remember()
			if got := test.read(ctx, t, s); got != "kept" {
				t.Errorf("after a stop it has %q", got)
			}
		})
	}
}

func TestMongoAnswersAgainAfterItWasKilled(t *testing.T) {
	ctx := within(t)
	s := Start(t, "mongodb")
	ping := func() {
		client, err := mongo.Connect(options.Client().ApplyURI(s.URL))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Disconnect(ctx)
		if err := client.Ping(ctx, nil); err != nil {
			t.Fatal(err)
		}
	}
	ping()
	s.Restart()
	ping()
}

// state returns the state of a process as /proc shows it: T is stopped.
func state(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatalf("the state of a process is read from /proc, which only Linux has: %v", err)
	}
	return strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))[0]
}

func query(ctx context.Context, t *testing.T, s *Service, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(ctx, s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	results, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if rows := results[len(results)-1].Rows; len(rows) > 0 {
		return string(rows[0][0])
	}
	return ""
}

func redisClient(t *testing.T, s *Service) *goredis.Client {
	t.Helper()
	opt, err := goredis.ParseURL(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := goredis.NewClient(opt)
	t.Cleanup(func() { client.Close() })
	return client
}

func makeTopic(ctx context.Context, t *testing.T, broker, topic string) {
	t.Helper()
	client := &kafkago.Client{Addr: kafkago.TCP(broker)}
	res, err := client.CreateTopics(ctx, &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{{Topic: topic, NumPartitions: 1, ReplicationFactor: 1}}})
	if err == nil {
		err = res.Errors[topic]
	}
	if err != nil {
		t.Fatal(err)
	}
}

func produce(ctx context.Context, t *testing.T, broker, topic, value string) {
	t.Helper()
	client := &kafkago.Client{Addr: kafkago.TCP(broker), Transport: new(kafkago.Transport)}
	res, err := client.Produce(ctx, &kafkago.ProduceRequest{
		Topic: topic, RequiredAcks: kafkago.RequireAll,
		Records: kafkago.NewRecordReader(kafkago.Record{Value: kafkago.NewBytes([]byte(value))}),
	})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		t.Fatal(err)
	}
}

func consume(ctx context.Context, t *testing.T, broker, topic string) string {
	t.Helper()
	r := kafkago.NewReader(kafkago.ReaderConfig{Brokers: []string{broker}, Topic: topic, MaxWait: 100 * time.Millisecond})
	defer r.Close()
	m, err := r.ReadMessage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return string(m.Value)
}
