package proc

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestHealthIsAnAnswerOf200(t *testing.T) {
	status := http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	if err := Health(srv.URL); err != nil {
		t.Error(err)
	}
	status = http.StatusServiceUnavailable
	if Health(srv.URL) == nil {
		t.Error("a server that is stopping is healthy")
	}
	srv.Close()
	if Health(srv.URL) == nil {
		t.Error("a server that is gone is healthy")
	}
}
