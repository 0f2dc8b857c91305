package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestEnvironmentOfAProgram(t *testing.T) {
	order := message{"env": map[string]any{"PODLINE_STAGE": "work", "MORE": "x=y"}, "without": []any{"PODLINE_SOCKET"}}
	found := environment([]string{"PATH=/bin", "PODLINE_SOCKET=/s", "PODLINE_STAGE=old", "EMPTY="}, order)
	slices.Sort(found)
	wanted := []string{"EMPTY=", "MORE=x=y", "PATH=/bin", "PODLINE_STAGE=work"}
	if !slices.Equal(found, wanted) {
		t.Fatalf("%v", found)
	}
}

func TestTailKeepsTheEndAndPassesAllOn(t *testing.T) {
	said := strings.Repeat("0123456789", 20_000) + "the end"
	var passed bytes.Buffer
	tail := readTail(strings.NewReader(said), &passed)
	if passed.String() != said || len(tail) != tailBytes || !strings.HasSuffix(said, tail) {
		t.Fatalf("%d bytes passed on, %d kept", passed.Len(), len(tail))
	}
	if tail := readTail(strings.NewReader("cut \xe2\x82"), &passed); tail != "cut \uFFFD" {
		t.Fatalf("%q is no text", tail)
	}
}

func TestFrameOverTheLimitIsRefusedBeforeItIsRead(t *testing.T) {
	head := binary.BigEndian.AppendUint32(nil, frameBytesMax+1)
	if _, err := readFrame(bytes.NewReader(head)); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Fatalf("%v", err)
	}
}

func TestLogLinesAreJSON(t *testing.T) {
	if quoted := jsonString("a\"b\\c\n\x01ä\xff"); quoted != `"a\"b\\c\u000a\u0001ä`+"\uFFFD"+`"` {
		t.Fatal(quoted)
	}
}

func TestChildrenAreNeverTheFirstProcess(t *testing.T) {
	// Pid 1 is the child of 0, as others of the kernel's are: it is not among those that would be signalled.
	if slices.Contains(childrenOf(0), 1) {
		t.Fatal("pid 1 would be signalled")
	}
}

func TestEndsEverythingThatDescends(t *testing.T) {
	becomeReaper()
	shell := exec.Command("/bin/sh", "-c", "setsid sleep 1000 & setsid sh -c 'sleep 1000 & wait' & echo up; wait")
	said, err := shell.StdoutPipe()
	if err != nil || shell.Start() != nil {
		t.Fatal("no shell")
	}
	said.Read(make([]byte, 3))
	endChildren()
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Fatalf("something is left: %v", err)
	}
}

func TestReadsTheParentOfAProcessWithAnyName(t *testing.T) {
	// "a) S 1 (" as a program's name is in /proc/<pid>/stat as it is.
	path := filepath.Join(t.TempDir(), "a) S 1 (")
	sleep, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal("no /bin/sleep to copy")
	}
	if err := os.WriteFile(path, sleep, 0o755); err != nil {
		t.Fatal(err)
	}
	named := exec.Command(path, "1000")
	if err := named.Start(); err != nil {
		t.Fatal(err)
	}
	defer named.Wait()
	defer named.Process.Kill()
	if parent := parentOf(named.Process.Pid); parent != os.Getpid() {
		t.Fatalf("its parent is %d, not %d", parent, os.Getpid())
	}
}
