package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/shared/im"
)

// Two people sign up, and ann says hello to bob.
func Example() {
	ctx := context.Background()
	api := client.API{URL: "http://127.0.0.1:8080"}
	for _, account := range []string{"ann", "bob"} {
		if _, err := api.Register(ctx, account, "", "correct horse"); err != nil && !errors.Is(err, im.Conflict) {
			log.Fatal(err)
		}
	}

	heard := make(chan client.Message)
	bob, err := client.Connect(ctx, client.Options{
		URL: api.URL, Account: "bob", Password: "correct horse", Device: "laptop", Platform: "desktop",
		OnMessage: func(ctx context.Context, _ *client.Client, m client.Message) error {
			select {
			case heard <- m:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer bob.Close()

	ann, err := client.Connect(ctx, client.Options{
		URL: api.URL, Account: "ann", Password: "correct horse", Device: "laptop", Platform: "desktop",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer ann.Close()

	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	receipt, err := ann.Send(ctx, "u:"+bob.User(), "hello")
	if err != nil {
		log.Fatal(err)
	}
	m := <-heard
	fmt.Println(m.Text, m.ID == receipt.ID)
}

// A client whose server ends it says why.
func ExampleStoppedError() {
	c, err := client.Connect(context.Background(), client.Options{
		URL: "http://127.0.0.1:8080", Account: "ann", Password: "correct horse", Device: "phone", Platform: "ios",
		OnEvent: func(e client.Event) {
			switch e := e.(type) {
			case client.Online:
				log.Print("connected")
			case client.Offline:
				log.Printf("%v; trying again in %s", e.Err, e.Wait)
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	<-c.Done()
	if stopped, ok := errors.AsType[*client.StoppedError](c.Err()); ok {
		log.Printf("sign in again: %s", stopped.Close.Reason)
	}
}

// Many messages can be on their way at once; they keep their order.
func ExampleClient_SendAsync() {
	ctx := context.Background()
	var c *client.Client // from Connect
	var sendings []*client.Sending
	for i := range 100 {
		s, err := c.SendAsync(ctx, im.Draft{To: "g:aaaaaaaaaaaaaaaa", Text: fmt.Sprint(i)})
		if err != nil {
			log.Fatal(err)
		}
		sendings = append(sendings, s)
	}
	for _, s := range sendings {
		if _, err := s.Result(); err != nil {
			log.Print(err)
		}
	}
}
