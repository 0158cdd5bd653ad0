package httpapi

import (
	"net/http"
	"strings"
	"testing"
)

// A typo must not silently be a default.
func TestStrictBodies(t *testing.T) {
	svc := new(fakeService)
	n := start(t, svc)
	for name, test := range map[string]struct{ body, field string }{
		"not JSON":                     {`ttl=5s`, "body"},
		"not an object":                {`[]`, "body"},
		"null":                         {`null`, "body"},
		"a text":                       {`"ttl"`, "body"},
		"only space":                   {" ", "body"},
		"cut short in the object":      {`{"ttl":"5s"`, "body"},
		"cut short in a text":          {`{"ttl":"5`, "ttl"},
		"cut short after a name":       {`{"ttl"`, "ttl"},
		"trailing object":              {`{}{}`, "body"},
		"trailing text":                {`{"ttl":"5s"} x`, "body"},
		"trailing comma":               {`{"ttl":"5s",}`, "body"},
		"comment":                      {`{/**/}`, "body"},
		"single quotes":                {`{'ttl':"5s"}`, "body"},
		"byte order mark":              {"\ufeff{}", "body"},
		"unknown field":                {`{"tll":"5s"}`, "tll"},
		"other case":                   {`{"TTL":"5s"}`, "TTL"},
		"empty name":                   {`{"":1}`, ""},
		"given twice":                  {`{"ttl":"5s","ttl":"5s"}`, "ttl"},
		"given twice by escapes":       {`{"ttl":"5s","\u0074tl":"6s"}`, "ttl"},
		"metadata key twice":           {`{"metadata":{"a":"1","a":"2"}}`, "metadata.a"},
		"invalid UTF-8":                {"{\"owner\":\"\xff\"}", "owner"},
		"overlong UTF-8":               {"{\"owner\":\"\xc0\x80\"}", "owner"},
		"surrogate in UTF-8":           {"{\"owner\":\"\xed\xa0\x80\"}", "owner"},
		"invalid UTF-8 in a name":      {"{\"\xff\":1}", "body"},
		"lone surrogate":               {`{"owner":"\ud800"}`, "owner"},
		"lone low surrogate":           {`{"owner":"\udc00x"}`, "owner"},
		"swapped surrogates":           {`{"owner":"\udc00\ud800"}`, "owner"},
		"raw control character":        {"{\"owner\":\"a\nb\"}", "owner"},
		"escaped control character":    {`{"owner":"a\nb"}`, "owner"},
		"NUL":                          {`{"owner":"\u0000"}`, "owner"},
		"DEL":                          {`{"owner":"\u007f"}`, "owner"},
		"C1 control character":         {`{"owner":"\u0085"}`, "owner"},
		"control character in a key":   {`{"metadata":{"a\tb":"1"}}`, "metadata"},
		"control character in a value": {`{"metadata":{"a":"\r"}}`, "metadata"},
		"bad escape":                   {`{"owner":"\x41"}`, "owner"},

		"owner a number":          {`{"owner":1}`, "owner"},
		"owner null":              {`{"owner":null}`, "owner"},
		"owner too long":          {`{"owner":"` + strings.Repeat("a", 257) + `"}`, "owner"},
		"lease a number":          {`{"lease":1}`, "lease"},
		"lease with a line break": {`{"lease":"a\n"}`, "lease"},
		"mode unknown":            {`{"mode":"Shared"}`, "mode"},
		"mode empty":              {`{"mode":""}`, "mode"},
		"mode a number":           {`{"mode":0}`, "mode"},
		"metadata a text":         {`{"metadata":"a"}`, "metadata"},
		"metadata null":           {`{"metadata":null}`, "metadata"},
		"metadata nested":         {`{"metadata":{"a":{"b":"c"}}}`, "metadata"},
		"metadata numbers":        {`{"metadata":{"a":1}}`, "metadata"},

		"permits without mode":    {`{"permits":1}`, "permits"},
		"permits of exclusive":    {`{"mode":"exclusive","permits":1}`, "permits"},
		"limit of shared":         {`{"mode":"shared","limit":1}`, "limit"},
		"permit without limit":    {`{"mode":"permit"}`, "limit"},
		"permits over limit":      {`{"mode":"permit","permits":3,"limit":2}`, "permits"},
		"permits zero":            {`{"mode":"permit","permits":0,"limit":2}`, "permits"},
		"limit zero":              {`{"mode":"permit","limit":0}`, "limit"},
		"limit over a million":    {`{"mode":"permit","limit":1000001}`, "limit"},
		"limit negative":          {`{"mode":"permit","limit":-1}`, "limit"},
		"limit a fraction":        {`{"mode":"permit","limit":1.5}`, "limit"},
		"limit with an exponent":  {`{"mode":"permit","limit":1e3}`, "limit"},
		"limit with a point":      {`{"mode":"permit","limit":1.0}`, "limit"},
		"limit a text":            {`{"mode":"permit","limit":"2"}`, "limit"},
		"limit beyond 64 bits":    {`{"mode":"permit","limit":18446744073709551617}`, "limit"},
		"limit with leading zero": {`{"mode":"permit","limit":02}`, "limit"},

		"ttl without unit":       {`{"ttl":"30"}`, "ttl"},
		"ttl a number":           {`{"ttl":30}`, "ttl"},
		"ttl empty":              {`{"ttl":""}`, "ttl"},
		"ttl of other words":     {`{"ttl":"30 s"}`, "ttl"},
		"ttl in days":            {`{"ttl":"1d"}`, "ttl"},
		"ttl too short":          {`{"ttl":"999ms"}`, "ttl"},
		"ttl too long":           {`{"ttl":"24h1ms"}`, "ttl"},
		"ttl negative":           {`{"ttl":"-30s"}`, "ttl"},
		"ttl beyond 64 bits":     {`{"ttl":"9999999999h"}`, "ttl"},
		"wait negative":          {`{"wait":"-1s"}`, "wait"},
		"wait too long":          {`{"wait":"10m1s"}`, "wait"},
		"lease and ttl":          {`{"lease":"` + fakeLeaseSecret + `","ttl":"30s"}`, "ttl"},
		"a bad lease with ttl":   {`{"lease":"x","ttl":"30s"}`, "ttl"},
		"a bad lease and a typo": {`{"lease":"x","waitt":"30s"}`, "waitt"},
	} {
		t.Run(name, func(t *testing.T) {
			n.ask("POST", acquirePath, test.body).wantInvalid(test.field)
		})
	}
	if sent := svc.sent(); len(sent) > 0 {
		t.Errorf("the service was asked: %v", sent)
	}
}

func TestBareNumbersShowTheRightForm(t *testing.T) {
	n := start(t, new(fakeService))
	for _, body := range []string{`{"ttl":30}`, `{"wait":"30"}`} {
		if detail := n.ask("POST", acquirePath, body).object()["detail"].(string); !strings.Contains(detail, `"30s"`) {
			t.Errorf("%s: detail %q does not show the right form", body, detail)
		}
	}
}

func TestBodiesThatAreFine(t *testing.T) {
	n := start(t, new(fakeService))
	for name, body := range map[string]string{
		"space around":      " \r\n\t{ \"ttl\" : \"5s\" }\n",
		"escapes":           `{"\u006fwner":"\u00e4\ud83d\ude00\"\\\/"}`,
		"longest owner":     `{"owner":"` + strings.Repeat("ä", 128) + `"}`,
		"bounds of ttl":     `{"ttl":"24h0m0s"}`,
		"zero wait":         `{"wait":"0s"}`,
		"empty metadata":    `{"metadata":{}}`,
		"metadata of 4 KiB": `{"metadata":{"k":"` + strings.Repeat("v", 4095) + `"}}`,
		"bounds of permits": `{"mode":"permit","permits":1000000,"limit":1000000}`,
		"almost 64 KiB":     `{"ttl":"5s"` + strings.Repeat(" ", 65536-12) + `}`,
	} {
		if a := n.ask("POST", acquirePath, body); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	if got := n.ask("POST", acquirePath, `{"\u006fwner":"\u00e4\ud83d\ude00\"\\\/"}`).object()["owner"]; got != "ä😀\"\\/" {
		t.Errorf("owner %q", got)
	}
	if got := n.ask("POST", acquirePath, `{"ttl":"1.0001s"}`).object()["ttl"]; got != "1001ms" {
		t.Errorf("a ttl was cut short to %v", got)
	}
}

func TestTooLarge(t *testing.T) {
	n := start(t, new(fakeService))
	for name, test := range map[string]struct{ path, body string }{
		"body":                {acquirePath, strings.Repeat(" ", 65537)},
		"metadata":            {acquirePath, `{"metadata":{"k":"` + strings.Repeat("v", 4096) + `"}}`},
		"metadata of a lease": {"/v1/leases", `{"metadata":{"k":"` + strings.Repeat("v", 4096) + `"}}`},
		"batch":               {"/v1/leases/keepalive", strings.Repeat(" ", 256<<10+1)},
		"multi-lock":          {multiAcquire, strings.Repeat(" ", 256<<10+1)},
		"multi-release":       {multiRelease, strings.Repeat(" ", 256<<10+1)},
	} {
		t.Run(name, func(t *testing.T) {
			n.ask("POST", test.path, test.body).wantProblem(http.StatusRequestEntityTooLarge, "too_large")
		})
	}
	t.Run("body announced as too long", func(t *testing.T) {
		conn := n.raw("POST " + acquirePath + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65537\r\nExpect: 100-continue\r\n\r\n")
		readAnswer(t, conn).wantProblem(http.StatusRequestEntityTooLarge, "too_large")
	})
	t.Run("body of unknown length", func(t *testing.T) {
		conn := n.raw("POST " + acquirePath + " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" +
			strings.Repeat("8000\r\n"+strings.Repeat(" ", 0x8000)+"\r\n", 2) + "1\r\n \r\n0\r\n\r\n")
		readAnswer(t, conn).wantProblem(http.StatusRequestEntityTooLarge, "too_large")
	})
	if a := n.ask("POST", multiAcquire, `{"locks":[{"namespace":"jobs","lock":"a"}]`+strings.Repeat(" ", 100<<10)+`}`); a.status != http.StatusOK {
		t.Errorf("a multi-lock of 100 KiB: %d %s", a.status, a.text)
	}
}

func TestBodyOfUnknownLength(t *testing.T) {
	n := start(t, new(fakeService))
	conn := n.raw("POST " + acquirePath + " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" +
		"4\r\n{\"tt\r\n7\r\nl\":\"5s\"\r\n400\r\n" + strings.Repeat(" ", 1024) + "\r\n1\r\n}\r\n0\r\n\r\n")
	if a := readAnswer(t, conn); a.status != http.StatusOK || a.object()["ttl"] != "5s" {
		t.Errorf("got %d %s", a.status, a.text)
	}
}

func TestBodyCutOff(t *testing.T) {
	n := start(t, new(fakeService))
	conn := n.raw("POST " + acquirePath + " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n")
	readAnswer(t, conn).wantInvalid("body")
}
