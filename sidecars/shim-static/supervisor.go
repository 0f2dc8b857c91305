package main

import (
	"bufio"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// supervisor is, for the shim, the process that starts a program and sees to its end: see supervise.go for what it does.
type supervisor struct {
	pid int
	// Written: what to do to the program. Read: what became of it. Its end ends the program.
	control *os.File
	// What the program says on stderr, and on stdout where that is no file.
	output *os.File
}

// startSupervisor starts this binary as the supervisor of what the order names.
func startSupervisor(order message) (*supervisor, error) {
	command := order.texts("command")
	if len(command) == 0 {
		return nil, errors.New("the order names no command")
	}
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	theirs := os.NewFile(uintptr(pair[1]), "control")
	defer theirs.Close()
	if err := syscall.SetNonblock(pair[0], true); err != nil {
		return nil, err
	}
	control := os.NewFile(uintptr(pair[0]), "control")
	output, said, err := os.Pipe()
	if err != nil {
		control.Close()
		return nil, err
	}
	defer said.Close()
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		control.Close()
		output.Close()
		return nil, err
	}
	defer nothing.Close()
	// By /proc, so that it is this very binary, wherever it lies by now.
	process, err := os.StartProcess("/proc/self/exe",
		append([]string{"podline-shim", superviseWord, order.text("cwd"), order.text("stdin"), order.text("stdout")}, command...),
		&os.ProcAttr{
			Env:   environment(os.Environ(), order),
			Files: []*os.File{nothing, said, said, theirs},
			// What is said to the group of the shim is not said to it.
			Sys: &syscall.SysProcAttr{Setpgid: true},
		})
	if err != nil {
		control.Close()
		output.Close()
		return nil, err
	}
	pid := process.Pid
	process.Release()
	return &supervisor{pid: pid, control: control, output: output}, nil
}

// verdict waits for the end of the program, as fields of `exited`, and tells how long its start took.
func (s *supervisor) verdict(arrived time.Time) (message, float64) {
	lines := bufio.NewScanner(s.control)
	startMs := 0.0
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		number, _ := strconv.Atoi(rest)
		switch word {
		case saidStarted:
			startMs = millisecondsSince(arrived)
		case saidCode:
			return message{"code": number}, startMs
		case saidSignal:
			return message{"signal": number}, startMs
		case saidMissing:
			return message{"unstartable": rest, "missing": true}, startMs
		case saidUnstartable:
			return message{"unstartable": rest}, startMs
		}
	}
	// It was killed itself, and the program is with it, or will be.
	return message{"signal": int(syscall.SIGKILL)}, startMs
}

// reap returns when neither the supervisor nor, if that was killed, anything that it left to us is there.
func (s *supervisor) reap() {
	var status syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(s.pid, &status, 0, nil); err != syscall.EINTR {
			break
		}
	}
	endChildren()
}

// environment of a program: the image's own, without what only the shim may know, and with what the run gives it.
func environment(own []string, order message) []string {
	given, _ := order["env"].(map[string]any)
	drop := map[string]bool{}
	for _, name := range order.texts("without") {
		drop[name] = true
	}
	kept := make([]string, 0, len(own)+len(given))
	for _, entry := range own {
		name, _, _ := strings.Cut(entry, "=")
		if _, isGiven := given[name]; !isGiven && !drop[name] {
			kept = append(kept, entry)
		}
	}
	for name, value := range given {
		if text, isText := value.(string); isText {
			kept = append(kept, name+"="+text)
		}
	}
	return kept
}
