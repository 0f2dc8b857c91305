package main

import (
	"reflect"
	"strings"
	"testing"
)

// What msgpackr writes for { type: 'execute', command: ['sh', '-c'], env: { A: 'b' }, n: -5, big: 70000, at: 1.5, ok: true, none: null }.
const written = "\x88\xa4type\xa7execute\xa7command\x92\xa2sh\xa2-c\xa3env\x81\xa1A\xa1b\xa1n\xfb\xa3big\xce\x00\x01\x11\x70\xa2at\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\xa2ok\xc3\xa4none\xc0"

func TestReadsWhatTheAgentWrites(t *testing.T) {
	read, err := decode([]byte(written))
	if err != nil {
		t.Fatal(err)
	}
	wanted := message{"type": "execute", "command": []any{"sh", "-c"}, "env": map[string]any{"A": "b"}, "n": int64(-5), "big": int64(70000),
		"at": 1.5, "ok": true, "none": nil}
	if !reflect.DeepEqual(read, wanted) {
		t.Fatalf("%v is not %v", read, wanted)
	}
	if texts := read.texts("command"); !reflect.DeepEqual(texts, []string{"sh", "-c"}) {
		t.Fatalf("%v", texts)
	}
}

func TestReadsWhatItWrites(t *testing.T) {
	said := message{"type": "exited", "code": 300, "startMs": 0.25, "missing": true, "logTail": strings.Repeat("ä", 40_000)}
	read, err := decode(encode(said))
	wanted := message{"type": "exited", "code": int64(300), "startMs": 0.25, "missing": true, "logTail": said["logTail"]}
	if err != nil || !reflect.DeepEqual(read, wanted) {
		t.Fatalf("%v: %v", err, read)
	}
}

func TestReadsEveryWidth(t *testing.T) {
	for bytes, wanted := range map[string]any{
		"\x81\xa1v\xcc\xff":                             int64(255),
		"\x81\xa1v\xcd\xff\xff":                         int64(65535),
		"\x81\xa1v\xcf\x00\x00\x00\x01\x00\x00\x00\x00": int64(1) << 32,
		"\x81\xa1v\xd0\xff":                             int64(-1),
		"\x81\xa1v\xd1\xff\x00":                         int64(-256),
		"\x81\xa1v\xd2\xff\xff\xff\xff":                 int64(-1),
		"\x81\xa1v\xd3\xff\xff\xff\xff\xff\xff\xff\xfe": int64(-2),
		"\x81\xa1v\xca\x3f\x80\x00\x00":                 1.0,
		"\x81\xa1v\xd9\x02hi":                           "hi",
		"\x81\xa1v\xda\x00\x02hi":                       "hi",
		"\x81\xa1v\xc4\x01x":                            []byte("x"),
		"\x81\xa1v\xdc\x00\x01\x01":                     []any{int64(1)},
		"\x81\xa1v\xdd\x00\x00\x00\x01\xc2":             []any{false},
		"\xde\x00\x01\xa1v\xdf\x00\x00\x00\x00":         map[string]any{},
		"\x81\xa1v\xd4\x00\x00":                         nil, // undefined, as an extension
		"\x81\xa1v\xc7\x02\x01ab":                       nil,
	} {
		read, err := decode([]byte(bytes))
		if err != nil || !reflect.DeepEqual(read["v"], wanted) {
			t.Errorf("%x: %v, %v", bytes, read["v"], err)
		}
	}
}

func TestRefusesWhatIsTornOrHostile(t *testing.T) {
	for end := range len(written) {
		if _, err := decode([]byte(written[:end])); err == nil {
			t.Errorf("a message of %d of %d bytes was taken", end, len(written))
		}
	}
	for _, bytes := range []string{
		"\x01", "\xc1", written + "\x00", // no map, no type, more than one
		"\x81\x01\x01",                                                   // a key that is no text
		"\x81\xa1v\xdd\xff\xff\xff\xff", "\x81\xa1v\xdb\xff\xff\xff\xff", // more than there is
		"\x81\xa1v\xc9\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff",
		"\x81\xa1v" + strings.Repeat("\x91", 1_000) + "\x01", // too deep
	} {
		if _, err := decode([]byte(bytes)); err == nil {
			t.Errorf("%.20q was taken", bytes)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(written))
	f.Fuzz(func(_ *testing.T, bytes []byte) { decode(bytes) })
}
