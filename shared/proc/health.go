package proc

import (
	"fmt"
	"net/http"
	"time"
)

// Health reports whether a server answers 200 at url, for images that hold nothing
// else that could ask (docker's HEALTHCHECK).
func Health(url string) error {
	client := &http.Client{Timeout: 3 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return nil
}
