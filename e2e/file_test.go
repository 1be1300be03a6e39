package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

func TestP6NobodyOpensAFileThatWasNotSentToThem(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	ann, bob, cyd, dan, eve := d.signUp("ann"), d.signUp("bob"), d.signUp("cyd"), d.signUp("dan"), d.signUp("eve")
	content := picture(t, 40, 30)
	file := ann.uploads("lunch.png", "image/png", content)
	closed := func(why string, who ...visitor) {
		t.Helper()
		for _, v := range who {
			status, answer := v.try("GET", "/v1/files/"+file, nil)
			_, guess := v.try("GET", "/v1/files/"+im.NewID(), nil)
			if status != http.StatusNotFound || answer != guess {
				t.Errorf("%s: %s is answered by %d %s, and of a file that there is not by %s", why, v.Account, status, answer, guess)
			}
			v.refused(why+", forwarding it", "POST", "/v1/messages", request{"to": "u:" + dan.ID, "kind": "file", "file": file, "text": ""}, http.StatusNotFound)
			v.refused(why+", as one's own picture", "PUT", "/v1/users/me/avatar", request{"file": file}, http.StatusNotFound)
			v.refused(why+", completing it", "POST", "/v1/files/"+file+"/complete", nil, http.StatusNotFound)
		}
	}
	open := func(why string, who ...visitor) {
		t.Helper()
		for _, v := range who {
			resp, got := fetch(t, v.opens(file))
			if resp.StatusCode != http.StatusOK || !bytes.Equal(got, content) || resp.Header.Get("Content-Type") != "image/png" {
				t.Errorf("%s: %s gets %s, %d bytes of %s", why, v.Account, resp.Status, len(got), resp.Header.Get("Content-Type"))
			}
		}
	}
	visitor{door: d}.refused("without a token", "GET", "/v1/files/"+file, nil, http.StatusUnauthorized)
	open("who has uploaded it", ann)
	closed("before it is sent", bob, eve)

	group := ann.group("invite", bob, cyd)
	m := ann.sends("g:"+group, file, "")
	bob.gets("the file", func(m im.Message) bool { return m.FileOf() == file })
	open("members of the group", ann, bob, cyd)
	closed("who is not in the group", eve)

	ann.must("DELETE", "/v1/groups/"+group+"/members", request{"users": []string{cyd.ID}})
	closed("who was removed from the group", cyd)
	open("who still is in it", bob)
	// Only a friend adds again at once who has left.
	ann.must("POST", "/v1/friends/requests", request{"user": bob.ID})
	bob.must("POST", "/v1/friends/requests/"+ann.ID+"/response", request{"accept": true})
	bob.must("DELETE", "/v1/groups/"+group+"/members/me", nil)
	closed("who has left", bob)
	ann.must("POST", "/v1/groups/"+group+"/members", request{"users": []string{bob.ID}})
	open("who came back", bob)

	// What is taken back cannot be had by it; by another message it can.
	ann.must("POST", "/v1/conversations/g:"+group+"/messages/"+m+"/recall", nil)
	closed("of a message that was recalled", bob)
	open("who has uploaded it", ann)
	again := ann.sends("u:"+bob.ID, file, "only for you")
	open("to whom it was sent alone", bob)
	closed("to whom it was not", cyd, eve)

	// Whoever may see it may pass it on, and it is theirs to take back.
	forwarded := bob.sends("u:"+cyd.ID, file, "from Ann")
	open("to whom it was forwarded", cyd)
	ann.must("POST", "/v1/conversations/"+string(im.Direct(ann.ID, bob.ID))+"/messages/"+again+"/recall", nil)
	open("to whom it was forwarded", cyd)
	bob.must("POST", "/v1/conversations/"+string(im.Direct(bob.ID, cyd.ID))+"/messages/"+forwarded+"/recall", nil)
	closed("when all was taken back", bob, cyd, eve)
	open("who has uploaded it", ann)
}

func TestP6WhatAFileIsIsNotForItsSenderToSay(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	ann, bob := d.signUp("ann"), d.signUp("bob")
	content := picture(t, 40, 30)
	file := ann.uploads("lunch.png", "image/png", content)
	to := "u:" + bob.ID
	for name, draft := range map[string]request{
		"with data":         {"to": to, "kind": "file", "file": file, "text": "", "data": request{"file": file, "name": "virus.exe"}},
		"with a name":       {"to": to, "kind": "file", "file": file, "text": "", "name": "virus.exe"},
		"as a text":         {"to": to, "kind": "text", "file": file, "text": "hello"},
		"without a file":    {"to": to, "kind": "file", "text": "hello"},
		"with no file's id": {"to": to, "kind": "file", "file": "../../etc/passwd", "text": ""},
	} {
		ann.refused(name, "POST", "/v1/messages", draft, http.StatusBadRequest)
	}
	pending := ann.begin("later.png", "image/png", content)
	ann.refused("of a file that is not there yet", "POST", "/v1/messages", request{"to": to, "kind": "file", "file": pending.File.ID, "text": ""}, http.StatusNotFound, http.StatusConflict, http.StatusBadRequest)

	ann.sends(to, file, "")
	m := bob.gets("the file", func(m im.Message) bool { return m.FileOf() == file })
	var data im.FileData
	if err := json.Unmarshal(m.Data, &data); err != nil || data.Name != "lunch.png" || data.Type != "image/png" || data.Size != int64(len(content)) || data.Width != 40 || data.Height != 30 || data.Preview == "" {
		t.Errorf("the message says %s", m.Data)
	}

	// What arrives has to be what was announced.
	other := bytes.Clone(content)
	other[len(other)-20] ^= 1
	script := []byte("<html><script>alert(1)</script></html>")
	for _, tt := range []struct {
		name, typ   string
		said, given []byte
	}{
		{"of another hash", "image/png", content, other},
		{"of another length", "image/png", content, content[:len(content)-1]},
		{"a page that is called a picture", "image/png", script, script},
		{"nothing", "image/png", content, nil},
	} {
		u := ann.begin("lunch.png", tt.typ, tt.said)
		if tt.given != nil {
			u.put(t, tt.given) // the storage may refuse it, too
		}
		ann.refused(tt.name, "POST", "/v1/files/"+u.File.ID+"/complete", nil, http.StatusBadRequest, http.StatusConflict, http.StatusNotFound)
		ann.refused(tt.name+", sent", "POST", "/v1/messages", request{"to": to, "kind": "file", "file": u.File.ID, "text": ""}, http.StatusBadRequest, http.StatusConflict, http.StatusNotFound)
	}

	// And stays what it is, though the link to upload it is still good.
	u := ann.begin("lunch.png", "image/png", content)
	if status, answer := u.put(t, content); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	ann.must("POST", "/v1/files/"+u.File.ID+"/complete", nil)
	u.put(t, other)
	if resp, got := fetch(t, ann.opens(u.File.ID)); resp.StatusCode != http.StatusOK || !bytes.Equal(got, content) {
		t.Errorf("after it was complete it was changed: %s, %d bytes", resp.Status, len(got))
	}
}

func TestP6LinksToFilesAreGoodForOneThingAndNotForLong(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	ann, bob := d.signUp("ann"), d.signUp("bob")
	content := picture(t, 40, 30)
	file, secret := ann.uploads("lunch.png", "image/png", content), ann.uploads("secret.png", "image/png", picture(t, 20, 20))
	ann.sends("u:"+bob.ID, file, "")
	link := bob.opens(file)
	mine, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	hers, err := url.Parse(ann.opens(secret))
	if err != nil {
		t.Fatal(err)
	}
	if resp, got := fetch(t, link, "Range", "bytes=1-3"); resp.StatusCode != http.StatusPartialContent || string(got) != "PNG" {
		t.Errorf("a range is answered by %s %q", resp.Status, got)
	}
	if resp, _ := fetch(t, link); !strings.HasPrefix(resp.Header.Get("Content-Disposition"), "inline") && resp.Header.Get("Content-Disposition") != "" {
		t.Errorf("a picture to look at is %q", resp.Header.Get("Content-Disposition"))
	}
	var download struct{ URL string }
	if err := json.Unmarshal([]byte(bob.must("GET", "/v1/files/"+file+"?download=true", nil)), &download); err != nil {
		t.Fatal(err)
	}
	if resp, _ := fetch(t, download.URL); !strings.HasPrefix(resp.Header.Get("Content-Disposition"), "attachment") || !strings.Contains(resp.Header.Get("Content-Disposition"), "lunch.png") {
		t.Errorf("a file to save is %q", resp.Header.Get("Content-Disposition"))
	}

	changed := func(name string, change func(u *url.URL, q url.Values)) {
		t.Helper()
		u, q := *mine, mine.Query()
		change(&u, q)
		u.RawQuery = q.Encode()
		if resp, got := fetch(t, u.String()); resp.StatusCode < 400 {
			t.Errorf("%s, the link is answered by %s, %d bytes", name, resp.Status, len(got))
		}
	}
	changed("of another file", func(u *url.URL, _ url.Values) { u.Path = hers.Path })
	changed("without a signature", func(_ *url.URL, q url.Values) { q.Del("X-Amz-Signature") })
	changed("without anything", func(_ *url.URL, q url.Values) { clear(q) })
	changed("good for longer", func(_ *url.URL, q url.Values) { q.Set("X-Amz-Expires", "604800") })
	changed("of a later date", func(_ *url.URL, q url.Values) {
		q.Set("X-Amz-Date", time.Now().Add(time.Hour).UTC().Format("20060102T150405Z"))
	})
	changed("of another type", func(_ *url.URL, q url.Values) { q.Set("response-content-type", "text/html") })
	changed("of the folder", func(u *url.URL, _ url.Values) { u.Path = u.Path[:strings.LastIndex(u.Path, "/")+1] })
	changed("of the bucket", func(u *url.URL, q url.Values) {
		u.Path = "/" + strings.Split(u.Path, "/")[1] + "/"
		clear(q)
	})
	changed("up a folder", func(u *url.URL, _ url.Values) {
		u.Path = u.Path[:strings.LastIndex(u.Path, "/")] + "/../" + strings.TrimPrefix(hers.Path, "/"+strings.Split(hers.Path, "/")[1])
	})
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPost} {
		req, err := http.NewRequestWithContext(t.Context(), method, link, bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if resp, _ := send(t, req); resp.StatusCode < 400 {
			t.Errorf("by %s, the link is answered by %s", method, resp.Status)
		}
	}
	if _, got := fetch(t, link); !bytes.Equal(got, content) {
		t.Error("the file is not what it was")
	}

	// A link to upload one is for that one.
	u := ann.begin("lunch.png", "image/png", content)
	to, err := url.Parse(u.Upload.URL)
	if err != nil {
		t.Fatal(err)
	}
	to.Path = hers.Path
	if status, _ := (upload{Upload: struct {
		Method, URL string
		Headers     map[string]string
	}{u.Upload.Method, to.String(), u.Upload.Headers}}).put(t, content); status < 400 {
		t.Errorf("a link to upload a file takes another: %d", status)
	}
	if resp, _ := fetch(t, u.Upload.URL); resp.StatusCode < 400 {
		t.Errorf("a link to upload a file reads it: %s", resp.Status)
	}
}

func TestP6LinksToFilesRunOut(t *testing.T) {
	t.Parallel()
	direct := mountAll(t, "FILE_LINK_TTL", "5s") // enough to upload and fetch by it
	d := &door{t, front(t, direct.vars, direct.url)}
	ann := d.signUp("ann")
	link := ann.opens(ann.uploads("lunch.png", "image/png", picture(t, 20, 20)))
	if resp, _ := fetch(t, link); resp.StatusCode != http.StatusOK {
		t.Fatalf("the link is answered by %s at first", resp.Status)
	}
	imtest.Eventually(t, "the link is good no more", func() error {
		if resp, _ := fetch(t, link); resp.StatusCode != http.StatusForbidden {
			return errors.New(resp.Status)
		}
		return nil
	})
}

// An avatar is the one thing in the storage that everybody can read, and says
// no more than it shows.
func TestP6AnAvatarIsThereForEverybodyAndNothingElseIs(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	ann, bob := d.signUp("ann"), d.signUp("bob")
	file := ann.uploads("me.png", "image/png", picture(t, 900, 600))
	ann.refused("a URL of another's", "PUT", "/v1/users/me/avatar", request{"file": "https://example.org/me.png"}, http.StatusBadRequest, http.StatusNotFound)
	ann.must("PUT", "/v1/users/me/avatar", request{"file": file})
	var seen im.Profile
	if err := json.Unmarshal([]byte(bob.must("GET", "/v1/users/"+ann.ID, nil)), &seen); err != nil || seen.Avatar == "" {
		t.Fatalf("ann is %+v, %v", seen, err)
	}
	resp, got := fetch(t, seen.Avatar)
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "image/") || len(got) == 0 {
		t.Errorf("the avatar is %s, %d bytes of %s", resp.Status, len(got), resp.Header.Get("Content-Type"))
	}
	at, err := url.Parse(seen.Avatar)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(at.Path, ann.ID) || strings.Contains(at.Path, file) || at.RawQuery != "" {
		t.Errorf("the avatar is at %s", at)
	}
	folder := at.Path[:strings.LastIndex(at.Path, "/")]
	for _, path := range []string{folder, folder + "/", "/" + strings.Split(at.Path, "/")[1], "/" + strings.Split(at.Path, "/")[1] + "/"} {
		u := *at
		for _, q := range []string{"", "list-type=2", "list-type=2&prefix=avatars/", "versions", "uploads", "policy"} {
			u.Path, u.RawQuery = path, q
			if resp, b := fetch(t, u.String()); resp.StatusCode < 400 {
				t.Errorf("%s is listed to anybody: %.200s", u.String(), b)
			}
		}
	}
	ann.must("PUT", "/v1/users/me/avatar", request{"file": ""})
	if got := bob.must("GET", "/v1/users/"+ann.ID, nil); strings.Contains(got, "avatar") {
		t.Errorf("ann has taken her picture away, and is %s", got)
	}
}
