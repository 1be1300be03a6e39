package frame

import (
	"strings"
	"testing"
)

func BenchmarkParse(b *testing.B) {
	for name, in := range map[string]string{
		"short": `{"type":"send","id":"0123456789abcdef","to":"u:aaaaaaaaaaaaaaaa","text":"see you at eight"}`,
		"long":  `{"type":"send","id":"0123456789abcdef","to":"u:aaaaaaaaaaaaaaaa","text":"` + strings.Repeat("see you at eight ", 200) + `"}`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse([]byte(in)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
