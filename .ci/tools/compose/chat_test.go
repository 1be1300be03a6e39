package compose

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/shared/im"
)

// somebody is a user with one device, and what it was given.
type somebody struct {
	*client.Client
	mu  sync.Mutex
	got []string
}

func (s *somebody) texts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func signUp(t *testing.T, url, account string) *somebody {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	api := client.API{URL: url}
	if _, err := api.Register(ctx, account, account, "correct horse battery"); err != nil {
		t.Fatal(err)
	}
	s := new(somebody)
	var err error
	s.Client, err = client.Connect(ctx, client.Options{
		URL: url, Account: account, Password: "correct horse battery", Device: "d1", Platform: "web",
		OnMessage: func(_ context.Context, _ *client.Client, m client.Message) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.got = append(s.got, m.Text)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Two people chat over the one port while parts of the system are killed one
// after another. What was said comes, once and in order, and stays.
func TestTwoPeopleChatAndPartsAreKilled(t *testing.T) {
	s := up(t)
	url := "http://" + s.ports["gateway:8080"]
	ann, bob := signUp(t, url, "ann"), signUp(t, url, "bob")

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var said []string
	say := func(n int, about string) {
		t.Helper()
		for i := range n {
			text := fmt.Sprintf("%d, %s", i, about)
			if _, err := ann.Send(ctx, "u:"+bob.User(), text); err != nil {
				t.Fatal(err)
			}
			said = append(said, text)
		}
	}
	arrived := func() {
		t.Helper()
		for who, p := range map[string]*somebody{"bob": bob, "ann": ann} {
			deadline := time.Now().Add(time.Minute)
			for got := p.texts(); !slices.Equal(got, said); got = p.texts() {
				if time.Now().After(deadline) || len(got) > len(said) {
					t.Fatalf("%s has %d messages, of %d:\n%q", who, len(got), len(said), got)
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
	}
	say(5, "all is well")
	arrived()
	s.sendsAFile(ctx, ann, bob)
	said = append(said, "my lunch")
	arrived()
	for _, part := range []string{"persist-inbox", "push-fanout", "persist-history", "connector", "live", "messages", "files", "away"} {
		s.kill(part)
		say(5, part+" is gone") // none of them is needed to accept
		s.start(part)
		s.await("the test", part, "service_healthy")
	}
	// Without chat-ingest nothing is accepted: the client goes on trying.
	s.kill("chat-ingest")
	again := time.AfterFunc(300*time.Millisecond, func() { s.start("chat-ingest") })
	defer again.Stop()
	say(1, "chat-ingest was gone")
	// Who was connected to a gateway that is killed comes back by itself.
	s.kill("gateway")
	s.start("gateway")
	say(3, "the gateway was gone")

	arrived()
	conv := string(im.Direct(ann.User(), bob.User()))
	var page struct {
		Messages []struct {
			Text string `json:"text"`
		} `json:"messages"`
	}
	if err := ann.Call(ctx, "GET", "/v1/conversations/"+conv+"/messages?limit=100", nil, &page); err != nil {
		t.Fatal(err)
	}
	if len(page.Messages) != len(said) {
		t.Errorf("history has %d messages, of %d", len(page.Messages), len(said))
	}
	s.down()
}

// sendsAFile has one send the other a picture, which goes to the store and comes
// from there by the links that clients are handed.
func (s *system) sendsAFile(ctx context.Context, from, to *somebody) {
	s.t.Helper()
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 60, 40))); err != nil {
		s.t.Fatal(err)
	}
	var f im.File
	if err := from.Do(ctx, func(api *client.API, token string) (err error) {
		f, err = api.Upload(ctx, token, "lunch.png", "image/png", bytes.NewReader(picture.Bytes()), int64(picture.Len()))
		return err
	}); err != nil {
		s.t.Fatalf("sending a file to the store: %v", err)
	}
	if _, err := from.SendDraft(ctx, im.Draft{To: "u:" + to.User(), Kind: im.KindFile, File: f.ID, Text: "my lunch"}); err != nil {
		s.t.Fatal(err)
	}
	if err := to.Do(ctx, func(api *client.API, token string) error {
		link, err := api.File(ctx, token, f.ID, false)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(link.URL, "http://"+s.ports["s3:9000"]+"/") {
			s.t.Errorf("the file is to be had at %s", link.URL)
		}
		got, err := download(ctx, link.URL)
		if err == nil && !bytes.Equal(got, picture.Bytes()) {
			s.t.Errorf("%d bytes came, of %d that were sent", len(got), picture.Len())
		}
		return err
	}); err != nil {
		s.t.Fatalf("getting a file: %v", err)
	}
	var me struct {
		Avatar string `json:"avatar"`
	}
	if err := from.Call(ctx, "PUT", "/v1/users/me/avatar", map[string]string{"file": f.ID}, &me); err != nil {
		s.t.Fatalf("making an avatar of it: %v", err)
	}
	if _, err := download(ctx, me.Avatar); err != nil {
		s.t.Errorf("anybody who looks for the avatar: %v", err)
	}
}

func download(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the store answers %s", resp.Status)
	}
	return io.ReadAll(resp.Body)
}
