package proc

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

// askHealth reports whether a server answers 200 at url: what the arguments
// "health <url>" of every program ask, for images that hold nothing else that
// could (docker's HEALTHCHECK).
func askHealth(url string) error {
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

// health answers the arguments "health <url>" and ends the program. It returns
// if there are others.
func health() {
	if len(os.Args) != 3 || os.Args[1] != "health" {
		return
	}
	if err := askHealth(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
