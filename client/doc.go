// Package client is the Go client of Tidings: what programs, tests and the
// benchmark use to sign in, chat and stay connected.
//
// An [API] makes single calls over HTTP. A [Client] holds the socket and keeps
// what the protocol promises:
//
//   - [Client.Send] returns when the message is durable or refused. Until then
//     the client sends it again, under one id, through whatever breaks; it never
//     becomes two messages.
//   - Options.OnMessage is called with every message of the user's inbox, once,
//     in order of seq, the user's own among them, so that all devices show the
//     same.
//   - A lost connection comes back by itself, as the server's close codes ask.
//     When it may not (the session ended, another device took its place), the
//     client stops and [Client.Err] says why.
//
// A bot that answers everybody:
//
//	c, err := client.Connect(ctx, client.Options{
//		URL:     "http://127.0.0.1:8080",
//		Account: "echo", Password: password,
//		Device: "bot-1", Platform: "bot",
//		OnMessage: func(ctx context.Context, c *client.Client, m client.Message) error {
//			if m.From == c.User() {
//				return nil // its own
//			}
//			_, err := c.Send(ctx, string(m.Conversation), m.Text)
//			return err
//		},
//	})
//	if err != nil {
//		return err
//	}
//	<-c.Done()
//	return c.Err()
//
// It knows nothing of what is behind the gateway, and keeps its state where the
// program says (see [Store]).
package client
