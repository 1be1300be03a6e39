package message

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

func TestAReactionIsOneEmoji(t *testing.T) {
	for _, good := range []string{
		"👍", "❤", "❤️", "👍🏽", "©️", "‼️", "ℹ️", "↔️", "〰️", "㊗️", "🀄", "🃏", "🅰️", "🈚",
		"1️⃣", "#️⃣", "*⃣", // keycaps
		"🇨🇳", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🏳️‍🌈", "🏴‍☠️", // flags
		"👩‍🚀", "👨‍👩‍👧‍👦", "👩🏻‍❤️‍💋‍👨🏿", "🧑‍🧑‍🧒‍🧒", "❤️‍🔥", "👁️‍🗨️", "🐦‍⬛",
		"\U0001fae9", "\U0001faff", // of a later Unicode than this Go's
	} {
		if err := checkEmoji(good); err != nil {
			t.Errorf("%s (%+q): %v", good, good, err)
		}
	}
	for name, bad := range map[string]string{
		"nothing":                         "",
		"a letter":                        "a",
		"a digit":                         "1",
		"a word":                          "like",
		"a character of Chinese":          "赞",
		"punctuation":                     "!",
		"a space":                         " ",
		"a control character":             "\x07",
		"two emoji":                       "👍👍",
		"an emoji and a letter":           "👍a",
		"an emoji and a space":            "👍 ",
		"an emoji and an accent":          "👍\u0301",
		"a joiner":                        "\u200d",
		"an emoji that is joined to none": "👩\u200d",
		"joined by two":                   "👩\u200d\u200d🚀",
		"joined to a letter":              "👩\u200da",
		"a variation of none":             "\ufe0f",
		"two variations":                  "❤\ufe0f\ufe0f",
		"a skin of none":                  "🏽",
		"two skins":                       "👍🏽🏽",
		"half a flag":                     "🇨",
		"a flag and a half":               "🇨🇳🇨",
		"tags without an end":             "🏴\U000e0067\U000e0062",
		"an end without tags":             "🏴\U000e007f",
		"a mark that turns text round":    "\u202e👍",
		"what is not UTF-8":               "👍\xff",
		"a NUL":                           "👍\x00",
		"too many joined":                 strings.Repeat("👩\u200d", 5) + "👩",
		"a megabyte":                      strings.Repeat("👍", 1<<18),
	} {
		if err := checkEmoji(bad); !errors.Is(err, im.Invalid) {
			t.Errorf("%s: %v, want %v", name, err, im.Invalid)
		}
	}
}

func FuzzEmoji(f *testing.F) {
	for _, s := range []string{"👍", "1️⃣", "🇨🇳", "👩‍🚀", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "a", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if checkEmoji(s) != nil {
			return
		}
		if len(s) > maxEmojiBytes || len([]rune(s)) > maxEmojiRunes || strings.ContainsAny(s, "\x00 abcXYZ\"\\") {
			t.Errorf("%+q is taken for an emoji", s)
		}
	})
}
