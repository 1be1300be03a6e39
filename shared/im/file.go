package im

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"mime"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A File is something that a user keeps in the object store, to send it in
// messages. What it is is known when it is complete; before, what its owner
// says of it.
type File struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`   // for people; names no place
	Size    int64     `json:"size"`   // bytes
	Type    string    `json:"type"`   // media type, such as image/png
	SHA256  string    `json:"sha256"` // lower-case hex
	State   FileState `json:"state"`
	Picture           // if it is one
	Created Time      `json:"created"`
}

// A Picture is what a client needs to know of a picture before it has it.
type Picture struct {
	Width   int    `json:"width,omitempty"` // pixels, of the picture as it is to be shown
	Height  int    `json:"height,omitempty"`
	Preview string `json:"preview,omitempty"` // a BlurHash (https://blurha.sh); not of every picture
}

// A FileState says how far a file has got.
type FileState string

// The states of a file.
const (
	FilePending  FileState = "pending"  // its bytes are not there, or nobody has looked at them yet
	FileComplete FileState = "complete" // they are there, are what they were said to be, and never change
	FileRemoved  FileState = "removed"  // to everybody there is no such file any more; its bytes are about to go
)

// FileData is the data of a message of KindFile: what its recipients need to
// know of the file, as it was found to be.
type FileData struct {
	File   string `json:"file"` // id
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	Type   string `json:"type"`
	SHA256 string `json:"sha256"`
	Picture
}

// Data returns what a message that carries f says of it.
func (f File) Data() FileData {
	return FileData{File: f.ID, Name: f.Name, Size: f.Size, Type: f.Type, SHA256: f.SHA256, Picture: f.Picture}
}

// FileID returns the id of the file that a user creates under a key of theirs:
// always the same one.
func FileID(user, key string) string {
	h := sha256.Sum256([]byte("file\x00" + user + "\x00" + key))
	return base32Lower.EncodeToString(h[:10])
}

// FileOf returns the id of the file that m carries, or "".
func (m Message) FileOf() string {
	var data FileData
	if m.Kind != KindFile || json.Unmarshal(m.Data, &data) != nil || !IsID(data.File) {
		return ""
	}
	return data.File
}

// A FileGrant lets those who read a message have the file that it carries.
type FileGrant struct {
	File         string
	Conversation Conversation
	Message      string
}

// A Link lets whoever has it make one request to the object store.
type Link struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers,omitempty"` // that the request has to have, in these words
	Expires Time              `json:"expires"`
}

// An UploadPart is a part of an upload that is made in several requests. All
// but the last are of one size.
type UploadPart struct {
	Number int // from 1
	Size   int64
	ETag   string // what the store calls it; "" if it has none
}

const maxFileName = 255 // bytes

// CheckFile reports whether name, size, typ and hash could be those of a file
// of at most max bytes, and returns the type as it is kept.
func CheckFile(name string, size, max int64, typ, hash string) (kept string, err error) {
	switch sum, err := hex.DecodeString(hash); {
	case size < 1:
		return "", Errorf(Invalid, `"size" is how many bytes the file has: at least 1`)
	case size > max:
		return "", Errorf(TooLarge, "a file has at most %d bytes, not %d", max, size)
	case err != nil || len(sum) != 32 || strings.ToLower(hash) != hash:
		return "", Errorf(Invalid, `"sha256" is the SHA-256 of the file in 64 lower-case hexadecimal digits`)
	}
	if err := checkFileName(name); err != nil {
		return "", err
	}
	return fileType(typ)
}

func checkFileName(s string) error {
	switch {
	case s == "" || len(s) > maxFileName || !utf8.ValidString(s):
		return Errorf(Invalid, "the name of a file is UTF-8 of 1 to %d bytes", maxFileName)
	case strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '/' || r == '\\'
	}):
		return Errorf(Invalid, "the name of a file holds no slashes and no control characters")
	case strings.Trim(s, ". ") == "" || strings.TrimSpace(s) != s:
		return Errorf(Invalid, "the name of a file has more than dots, and neither starts nor ends with a space")
	}
	return nil
}

// AnyType is the type of a file of which nothing more is known.
const AnyType = "application/octet-stream"

// fileType returns a media type without its parameters (RFC 9110, §8.3.1).
func fileType(s string) (string, error) {
	if s == "" {
		return AnyType, nil
	}
	t, _, err := mime.ParseMediaType(s)
	if err != nil || len(t) > 127 || strings.Count(t, "/") != 1 || path.Base(t) == "*" || !printable(t) {
		return "", Errorf(Invalid, `"type" is a media type such as image/png, not %.80q`, s)
	}
	return t, nil
}
