package account

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"
)

// newWake returns a wake that posts to the function at url, one time at a time,
// and once more for all that ask meanwhile: the function may have looked already
// which mails there are. Nobody who asks for a mail can tell by its time what is
// in it.
func newWake(url string, client *http.Client, log *slog.Logger) wake {
	var busy, next sync.Mutex
	return func() {
		if !next.TryLock() {
			return
		}
		go func() {
			busy.Lock()
			next.Unlock()
			defer busy.Unlock()
			// The function goes on if this does not wait.
			req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, nil)
			if err == nil {
				var resp *http.Response
				if resp, err = client.Do(req); err == nil {
					io.CopyN(io.Discard, resp.Body, 1<<10)
					resp.Body.Close()
				}
			}
			if err != nil {
				log.Debug("mails wait for the clock", "err", err)
			}
		}()
	}
}
