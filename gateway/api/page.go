package api

import (
	"errors"
	"fmt"
	"html"
	"strings"
)

// markup is HTML, made of text that was escaped.
type markup string

// A writer writes a page of HTML. (html/template would keep every method of
// everything that is linked, since a template could name it: that is a third of
// the gateway.)
type writer struct {
	out strings.Builder
	err error
}

// add writes what format says, with whatever among args is not markup escaped.
func (p *writer) add(format string, args ...any) {
	for i, a := range args {
		if _, ok := a.(markup); !ok {
			args[i] = html.EscapeString(fmt.Sprint(a))
		}
	}
	fmt.Fprintf(&p.out, format, args...)
}

// each writes a list of what there is any of.
func each[T any](p *writer, begin string, all []T, end string, write func(T)) {
	if len(all) == 0 {
		return
	}
	p.out.WriteString(begin)
	for _, v := range all {
		write(v)
	}
	p.out.WriteString(end)
}

func (p *writer) content(c content) {
	p.add(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta name="color-scheme" content="light dark" />
<title>%s API</title>
<link rel="stylesheet" href="/docs.css" />
</head>
<body>
<nav>
<p><a href="#top">%s %s</a></p>
`, c.Title, c.Title, c.Version)
	for _, g := range c.Groups {
		p.add("<h2><a href=\"#tag-%s\">%s</a></h2>\n", g.Name, g.Name)
		each(p, "<ul>", g.Operations, "\n</ul>\n", func(e entry) { p.add("\n<li><a href=\"#%s\">%s</a></li>", e.ID, e.ID) })
	}
	p.add("<h2><a href=\"#errors\">errors</a></h2>\n<h2><a href=\"#schemas\">schemas</a></h2>\n")
	each(p, "<ul>", c.Schemas, "\n</ul>\n", func(s namedShape) { p.add("\n<li><a href=\"#schema-%s\">%s</a></li>", s.Name, s.Name) })
	p.add(`</nav>
<main id="top">
<h1>%s API <small>%s</small></h1>
<p>Also as <a href="/openapi.yaml">openapi.yaml</a>; the socket and the topics are in <a href="/asyncapi.yaml">asyncapi.yaml</a>.</p>
`, c.Title, c.Version)
	p.prose(c.About)
	for _, g := range c.Groups {
		p.add("<section id=\"tag-%s\">\n<h2>%s</h2>\n", g.Name, g.Name)
		p.prose(g.About)
		for _, e := range g.Operations {
			p.entry(e)
		}
		p.add("</section>\n")
	}
	p.add("<section id=\"errors\">\n<h2>errors</h2>\n")
	for _, a := range c.Errors {
		p.add("<article id=\"error-%s\">\n<h3>%s</h3>\n", a.Name, a.Name)
		p.prose(a.About)
		if a.Media != nil {
			p.examples(a.Media.Examples)
		}
		p.add("</article>\n")
	}
	p.add("</section>\n<section id=\"schemas\">\n<h2>schemas</h2>\n")
	for _, s := range c.Schemas {
		p.add("<article id=\"schema-%s\">\n<h3><a href=\"#schema-%s\">%s</a></h3>\n<p>", s.Name, s.Name, s.Name)
		p.typ(s.shape)
		p.add("</p>\n")
		p.prose(s.About)
		p.parts(s.shape)
		p.add("</article>\n")
	}
	p.add("</section>\n</main>\n</body>\n</html>\n")
}

func (p *writer) entry(e entry) {
	p.add("<article id=\"%s\">\n<h3><a href=\"#%s\">%s</a></h3>\n", e.ID, e.ID, e.ID)
	p.add(`<p class="call"><b class="%s">%s</b> <code>%s</code>`, e.Method, e.Method, e.Path)
	if e.Open {
		p.add(` <span class="open">needs no access token</span>`)
	}
	p.add("</p>\n<p class=\"summary\">%s</p>\n", p.phrase(e.Summary))
	p.prose(e.About)
	each(p, "<h4>Parameters</h4>\n<dl>", e.Parameters, "\n</dl>\n", p.field)
	if e.Body != nil {
		p.add("<h4>Body")
		if !e.Body.Required {
			p.add(" <small>may be left out</small>")
		}
		p.add("</h4>\n")
		p.media(e.Body)
	}
	for _, a := range e.Answers {
		p.add("<h4>Answer <small>%s</small></h4>\n", a.Status)
		p.prose(a.About)
		p.media(a.Media)
	}
	each(p, "<h4>Errors</h4>\n<ul class=\"errors\">", e.Errors, "\n</ul>\n", func(a outcome) {
		p.add("\n<li><code>%s</code> ", a.Status)
		if a.Name != "" {
			p.add("<a href=\"#error-%s\">%s</a>: ", a.Name, a.Name)
		}
		p.add("%s</li>", p.phrase(a.About))
	})
	p.add("</article>\n")
}

func (p *writer) media(m *media) {
	if m == nil {
		return
	}
	p.add("<p>")
	p.typ(m.Shape)
	p.add("</p>\n")
	p.parts(m.Shape)
	p.examples(m.Examples)
}

func (p *writer) examples(all []example) {
	for _, ex := range all {
		p.add("<figure>")
		if ex.Name != "" {
			p.add("<figcaption>%s</figcaption>", ex.Name)
		}
		p.add("<pre>%s</pre></figure>\n", ex.Text)
	}
}

func (p *writer) typ(s *shape) {
	p.add(`<span class="type">`)
	switch {
	case s.Ref == "":
		p.add("%s", s.Type)
	case s.Type == "object" || s.Type == "any":
		p.add(`<a href="#schema-%s">%s</a>`, s.Ref, s.Ref)
	default:
		p.add(`<a href="#schema-%s">%s</a>, %s`, s.Ref, s.Ref, s.Type)
	}
	if s.Of != "" {
		p.add(" of %s", s.Of)
	}
	p.add("</span>")
	for _, l := range s.Limits {
		p.add(` <span class="limit">%s</span>`, l)
	}
}

func (p *writer) field(f field) {
	p.add("\n<dt><code>%s</code> ", f.Name)
	if f.In != "" {
		p.add(`<span class="in">%s</span> `, f.In)
	}
	p.typ(f.shape)
	if f.Required {
		p.add(` <span class="required">required</span>`)
	}
	p.add("</dt>\n<dd>")
	p.prose(f.About)
	if f.Example != "" {
		p.add("<p>Such as <code>%s</code></p>", f.Example)
	}
	p.parts(f.shape)
	p.add("</dd>")
}

// parts writes what s is made of.
func (p *writer) parts(s *shape) {
	each(p, "<dl>", s.Fields, "\n</dl>", p.field)
	each(p, "<p>One of:</p>\n<ul>", s.Either, "\n</ul>", func(s *shape) {
		p.add("\n<li>")
		p.typ(s)
		p.prose(s.About)
		p.parts(s)
		p.add("</li>")
	})
}

// prose writes paragraphs of text with `code` and **emphasis**.
func (p *writer) prose(text string) {
	for part := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if part != "" {
			p.add("<p>%s</p>\n", p.phrase(part))
		}
	}
}

// phrase is prose without paragraphs.
func (p *writer) phrase(text string) markup {
	m, err := phrase(text)
	if p.err == nil {
		p.err = err
	}
	return m
}

func phrase(text string) (markup, error) {
	var out strings.Builder
	for i, part := range strings.Split(html.EscapeString(text), "`") {
		if i%2 == 1 {
			out.WriteString("<code>" + part + "</code>")
			continue
		}
		for j, part := range strings.Split(part, "**") {
			if j%2 == 1 {
				part = "<strong>" + part + "</strong>"
			}
			out.WriteString(part)
		}
	}
	for _, mark := range []string{"`", "**"} {
		if strings.Count(text, mark)%2 != 0 {
			return "", errors.New("a " + mark + " without its other half in: " + text)
		}
	}
	return markup(out.String()), nil
}
