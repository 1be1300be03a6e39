package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/shared/im"
)

// How long it is from one try to look somebody up to the next, at first and at
// most.
const (
	lookAgain     = 100 * time.Millisecond
	lookAgainMost = 3 * time.Second
)

// A session is one person at a terminal.
type session struct {
	account string
	code    string // of the second factor
	client  *client.Client
	store   *store
	people  people
	screen  screen
	quiet   bool // what was typed here stands on the screen already

	lost bool // the connection was; of onEvent

	partner string // account, or name of the group; "" is nobody yet
	to      string // of im.Draft; "" if partner was not looked up yet

	mu     sync.Mutex
	sent   map[string]bool // client ids of this session's messages
	failed error           // why the last message that was not accepted was not
	wg     sync.WaitGroup  // messages on their way
}

// run sends what is typed until there is no more, and returns when all of it
// was accepted or refused.
func (s *session) run(ctx context.Context) error {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for {
			line, err := s.screen.read()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					s.screen.print("reading what you type: " + err.Error())
				}
				return
			}
			select {
			case lines <- line:
			case <-ctx.Done():
				return
			}
		}
	}()
	s.prompt()
	s.screen.print("you are " + s.account + "; /help says what there is besides talking")
	for {
		select {
		case line, more := <-lines:
			if !more || strings.TrimSpace(line) == "/quit" {
				return s.finish(ctx)
			}
			if err := s.typed(ctx, line); err != nil {
				s.screen.print("! " + err.Error())
				s.fail(err)
			}
		case <-s.client.Done():
			return fmt.Errorf("disconnected: %w", s.client.Err())
		case <-ctx.Done():
			return nil
		}
	}
}

// finish waits for what is on its way.
func (s *session) finish(ctx context.Context) error {
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		return errors.New("stopped before all was accepted; what was not is sent when you chat again")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil && !s.quiet {
		return fmt.Errorf("not everything was sent: %w", s.failed)
	}
	return nil
}

func (s *session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = err
}

// typed does what a line asks for.
func (s *session) typed(ctx context.Context, line string) error {
	words := strings.Fields(line)
	if len(words) == 0 {
		return nil
	}
	switch command, args := words[0], words[1:]; {
	case command == "/to" && len(args) == 1:
		s.partner, s.to = strings.ToLower(args[0]), ""
		defer s.prompt()
		return s.look(ctx)
	case command == "/group" && len(args) >= 2:
		return s.group(ctx, args[0], args[1:])
	case command == "/history" && len(args) == 0:
		return s.history(ctx)
	case command == "/help":
		s.screen.print(help)
		return nil
	case strings.HasPrefix(command, "/"):
		return fmt.Errorf("%s is not understood\n%s", line, help)
	}
	if err := s.look(ctx); err != nil {
		return err
	}
	return s.say(ctx, line)
}

// look finds out who is talked to, unless it is known.
func (s *session) look(ctx context.Context) error {
	switch {
	case s.to != "":
		return nil
	case s.partner == "":
		return errors.New("to whom? /to <account>")
	case s.partner == s.account:
		return errors.New("that is you")
	}
	u, err := s.find(ctx, s.partner)
	if err != nil {
		return err
	}
	s.to = "u:" + u.ID
	return nil
}

// find returns who has an account. As what is typed waits for the server, so
// does this while the server cannot be reached.
func (s *session) find(ctx context.Context, account string) (im.User, error) {
	u, err := s.client.FindUser(ctx, account)
	for wait := lookAgain; err != nil && im.KindOf(err).Transient() && ctx.Err() == nil; wait = min(2*wait, lookAgainMost) {
		if wait == lookAgain {
			s.screen.print(fmt.Sprintf("(looking for %s, as soon as the server answers)", account))
		}
		select {
		case <-time.After(wait):
		case <-s.client.Done():
			return u, fmt.Errorf("disconnected: %w", s.client.Err())
		case <-ctx.Done():
		}
		u, err = s.client.FindUser(ctx, account)
	}
	if errors.Is(err, im.NotFound) {
		return u, fmt.Errorf("nobody has the account %s yet", account)
	}
	if err != nil {
		return u, fmt.Errorf("looking for %s: %w", account, err)
	}
	return u, s.people.remember(u)
}

func (s *session) say(ctx context.Context, text string) error {
	d := im.Draft{ClientID: im.NewID(), To: s.to, Text: text}
	s.mu.Lock()
	s.sent[d.ClientID] = true
	s.mu.Unlock()
	sending, err := s.client.SendAsync(context.WithoutCancel(ctx), d)
	if err != nil {
		return err
	}
	s.wg.Go(func() {
		if _, err := sending.Result(); err != nil && !errors.Is(err, client.ErrClosed) {
			s.screen.print(fmt.Sprintf("! not sent: %s (%s)", clean(text), err))
			s.fail(err)
		}
	})
	return nil
}

func (s *session) group(ctx context.Context, name string, accounts []string) error {
	var members []string
	for _, account := range accounts {
		if account = strings.ToLower(account); account == s.account {
			continue // is a member anyway
		}
		u, err := s.find(ctx, account)
		if err != nil {
			return err
		}
		members = append(members, u.ID)
	}
	g, err := s.client.CreateGroup(ctx, name, members)
	if err != nil {
		return fmt.Errorf("making the group: %w", err)
	}
	s.partner, s.to = name, string(g.Conversation)
	s.prompt()
	s.screen.print(fmt.Sprintf("made the group %s of %d", name, g.Members))
	return nil
}

func (s *session) history(ctx context.Context) error {
	if err := s.look(ctx); err != nil {
		return err
	}
	c, err := im.Draft{To: s.to}.Conversation(s.client.User())
	if err != nil {
		return err
	}
	page, err := s.client.History(ctx, c, client.HistoryRange{Limit: 20})
	if err != nil {
		return fmt.Errorf("reading what was said: %w", err)
	}
	s.screen.print(fmt.Sprintf("-- the last %d with %s", len(page.Messages), s.partner))
	for _, m := range page.Messages {
		s.show(m)
	}
	s.screen.print("--")
	return nil
}

// prompt shows who is talked to.
func (s *session) prompt() {
	if s.partner == "" {
		s.screen.prompt("> ")
		return
	}
	s.screen.prompt(clean(s.partner) + "> ")
}

func (s *session) onMessage(_ context.Context, c *client.Client, m client.Message) error {
	s.mu.Lock()
	ours := m.From == c.User() && s.sent[m.ClientID]
	delete(s.sent, m.ClientID)
	s.mu.Unlock()
	if !ours || !s.quiet {
		s.show(m.Message)
	}
	return nil
}

func (s *session) onEvent(e client.Event) {
	switch e := e.(type) {
	case client.Offline:
		s.lost = true
		s.screen.print(fmt.Sprintf("(the connection is lost; trying again in %s)", e.Wait.Round(100*time.Millisecond)))
	case client.Online:
		if s.lost {
			s.screen.print("(connected again)")
		}
		s.lost = false
	case client.Resent:
		if e.Err != nil {
			s.screen.print(fmt.Sprintf("! not sent, from before: %s (%s)", clean(e.Draft.Text), e.Err))
		}
	}
}

// show prints a message, if there is something to say of it.
func (s *session) show(m im.Message) {
	if line := s.line(m); line != "" {
		s.screen.print(line)
	}
}

// line returns what is said of a message, or "".
func (s *session) line(m im.Message) string {
	said := ""
	switch {
	case (m.Kind == im.KindText || m.Kind == im.KindFile) && m.Recalled:
		said = "* " + s.people.account(m.From) + " took this back"
	case m.Kind == im.KindText:
		said = s.people.account(m.From) + ": " + m.Text
	case m.Kind == im.KindFile:
		said = s.people.account(m.From) + ": " + attachment(m)
	default:
		if said = s.notice(m); said == "" {
			return ""
		}
		said = "* " + said
	}
	if g := m.Conversation.Group(); g != "" {
		said = "g:" + g + " " + said
	}
	return m.Time.Std().Local().Format("15:04:05") + " " + clean(said)
}

// attachment returns what is said of a message that carries a file.
func attachment(m im.Message) string {
	var f im.FileData
	if json.Unmarshal(m.Data, &f) != nil {
		return m.Text
	}
	return strings.TrimSpace(fmt.Sprintf("[%s, %d bytes, file %s] %s", f.Name, f.Size, f.File, m.Text))
}

// clean makes text harmless: what others write must not command this terminal.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r): // such as those that turn the direction
			return '\uFFFD'
		}
		return r
	}, text)
}
