package e2e

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/e2e/system"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

// TestADayWithPicturesAndABot is a day of ann, bob and a bot, each part of the
// system a process of its own: a picture is sent, opened and found; the bot
// answers what it is told by its webhook; a device that is away is pushed to;
// an address is proved and a second factor asked for.
func TestADayWithPicturesAndABot(t *testing.T) {
	t.Parallel()
	post, browser := openPostbox(t), receive(t, nil)
	s := system.Start(t, "WEBHOOK_PRIVATE", "true", "SMTP_URL", post.URL, "NOTIFY_AFTER", "100ms")
	d := &door{t, s.Gateways[0]}
	ann, bob := d.signUp("ann"), d.signUp("bob")
	his := visitor{door: &door{t, s.Gateways[1]}, account: bob.account}.on("phone")

	// She sends him a picture, which he sees and opens.
	content := picture(t, 300, 200)
	file := ann.uploads("lunch.png", "image/png", content)
	m := ann.sends("u:"+bob.ID, file, "我们的午饭")
	got := his.hears("the picture", func(m im.Message) bool { return m.FileOf() == file })
	var data im.FileData
	if err := json.Unmarshal(got.Data, &data); err != nil || data.Width != 300 || data.Height != 200 || data.Type != "image/png" || got.Text != "我们的午饭" {
		t.Errorf("he hears %+v %s", got, got.Data)
	}
	if resp, b := fetch(t, his.opens(file)); resp.StatusCode != http.StatusOK || !bytes.Equal(b, content) {
		t.Errorf("he opens %s, %d bytes", resp.Status, len(b))
	}
	imtest.Eventually(t, "he finds it by what she said of it", func() error {
		if found := his.must("GET", "/v1/messages/search?q="+url.QueryEscape("午饭"), nil); !strings.Contains(found, m) {
			return fmt.Errorf("found %s", found)
		}
		return nil
	})

	// Her bot repeats what is said to it.
	bot := ann.makes("echo-bot", "messages:read", "messages:write")
	echo := receive(t, func(p posted) {
		var told struct{ Data struct{ Message im.Message } }
		if err := json.Unmarshal(p.body, &told); err != nil {
			t.Errorf("the webhook is told %s", p.body)
			return
		}
		if said := told.Data.Message; said.From == bob.ID {
			bot.try("POST", "/v1/messages", request{"to": "u:" + bob.ID, "text": "You said: " + said.Text}, "Idempotency-Key", said.ID)
		}
	})
	var hook struct{ Secret string }
	if err := json.Unmarshal([]byte(ann.must("POST", "/v1/webhooks", request{"bot": bot.ID, "url": echo.URL, "events": []string{"message"}})), &hook); err != nil {
		t.Fatal(err)
	}
	his.must("POST", "/v1/messages", request{"to": "u:" + bot.ID, "text": "Is there soup?"})
	his.hears("the bot", said("You said: Is there soup?"))
	if p := echo.gets("what he said", func(p posted) bool { return bytes.Contains(p.body, []byte("Is there soup?")) }); !p.signedBy(hook.Secret) {
		t.Errorf("it is signed %q", p.Get("webhook-signature"))
	}

	// He goes away; his browser is told that there is something, and not what.
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	his.must("PUT", "/v1/push/subscription", request{
		"endpoint": browser.URL + "/bob", "p256dh": base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes()), "auth": "BTBZMqHH6r4Tts7J_aSIgg",
	})
	his.client.Close()
	imtest.Eventually(t, "his browser is pushed to", func() error {
		if pushed := browser.all(); len(pushed) > 0 {
			return nil
		}
		ann.must("POST", "/v1/messages", request{"to": "u:" + bob.ID, "text": "Where are you?"}) // until it is known that he is away
		return fmt.Errorf("nothing was")
	})
	for _, p := range browser.all() {
		if p.Get("Content-Encoding") != "aes128gcm" || !strings.HasPrefix(p.Get("Authorization"), "vapid ") || p.Get("TTL") == "" || p.path != "/bob" || bytes.Contains(p.body, []byte("Where")) {
			t.Errorf("it is pushed %v", p.Header)
		}
	}

	// She proves her address, and turns a second factor on.
	(&mailing{door: d, post: post}).proves(ann, "ann@example.org")
	if me := ann.must("GET", "/v1/users/me", nil); !strings.Contains(me, `"email_verified":true`) {
		t.Errorf("she is %s", me)
	}
	var app struct{ Secret string }
	if err := json.Unmarshal([]byte(ann.must("POST", "/v1/users/me/totp", request{"password": rightPassword})), &app); err != nil {
		t.Fatal(err)
	}
	ann.must("PUT", "/v1/users/me/totp", request{"code": totp(t, app.Secret, time.Now())})
	nobody := visitor{door: d}
	if status, answer := signInWith(nobody, "ann", rightPassword); status != http.StatusUnauthorized || !strings.Contains(answer, "second-factor") {
		t.Errorf("without a code: %d %s", status, answer)
	}
	if status, answer := signInWith(nobody, "ann", rightPassword, "code", totp(t, app.Secret, time.Now().Add(30*time.Second))); status != http.StatusOK {
		t.Errorf("with a code: %d %s", status, answer)
	}
}
