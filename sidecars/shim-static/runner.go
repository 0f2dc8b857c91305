package main

import (
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// From SIGTERM to SIGKILL of a cancelled program, as the Node shim has it: less than the shim itself is given.
const killAfter = 2500 * time.Millisecond

// Bytes of what the program said last that go into the report of a failure (limits.logTailBytes).
const tailBytes = 4096

// runner runs programs, one at a time, each under a supervisor (supervise.go), and says how it ended.
type runner struct {
	say func(message)
	log *logger

	mutex    sync.Mutex
	running  *program
	isClosed bool
}

// program is one run of the stage's command.
type program struct {
	runID     string
	control   *os.File
	killTimer *time.Timer
	over      chan struct{}
}

func (r *runner) execute(order message, arrived time.Time) {
	runID := order.text("runId")
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.running != nil || r.isClosed {
		r.say(message{"type": "exited", "runId": runID, "refused": "another run is under way in this slot"})
		return
	}
	supervisor, err := startSupervisor(order)
	if err != nil {
		r.say(message{"type": "exited", "runId": runID, "unstartable": err.Error(), "startMs": 0.0, "workMs": 0.0})
		return
	}
	running := &program{runID: runID, control: supervisor.control, over: make(chan struct{})}
	r.running = running
	go r.follow(running, supervisor, arrived)
}

// follow settles when nothing of the program is left.
func (r *runner) follow(running *program, supervisor *supervisor, arrived time.Time) {
	said := make(chan string, 1)
	go func() { said <- readTail(supervisor.output, os.Stderr) }()
	verdict, startMs := supervisor.verdict(arrived)
	// What the program left behind holds the pipe open: it goes first.
	supervisor.reap()
	tail := <-said
	supervisor.output.Close()

	ended := message{"type": "exited", "runId": running.runID, "startMs": startMs, "workMs": millisecondsSince(arrived)}
	for name, value := range verdict {
		ended[name] = value
	}
	if tail != "" {
		ended["logTail"] = tail
	}
	r.mutex.Lock()
	r.running = nil
	if running.killTimer != nil {
		running.killTimer.Stop()
	}
	running.control.Close()
	r.mutex.Unlock()
	// In the other order, whoever hears of the end may ask for the next program before there is room for it.
	r.say(ended)
	close(running.over)
}

// cancel asks the program to end, and sees to it. What is not under way is not cancelled.
func (r *runner) cancel(runID string) *program {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	running := r.running
	if running == nil || (runID != "" && running.runID != runID) {
		return nil
	}
	if running.killTimer == nil {
		running.control.Write([]byte{controlEnd})
		running.killTimer = time.AfterFunc(killAfter, func() { r.kill(running) })
	}
	return running
}

func (r *runner) kill(running *program) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.running == running {
		running.control.Write([]byte{controlKill})
	}
}

// cancelAll returns when nothing of a program is at work any more.
func (r *runner) cancelAll() {
	if running := r.cancel(""); running != nil {
		<-running.over
	}
}

// close lets no other program begin.
func (r *runner) close() {
	r.mutex.Lock()
	r.isClosed = true
	r.mutex.Unlock()
	r.cancelAll()
}

// readTail copies all of it on and keeps the end.
func readTail(from io.Reader, to io.Writer) string {
	kept := make([]byte, 0, 2*tailBytes)
	buffer := make([]byte, 32*1024)
	for {
		count, err := from.Read(buffer)
		to.Write(buffer[:count])
		kept = append(kept, buffer[max(0, count-tailBytes):count]...)
		if len(kept) > tailBytes {
			kept = append(kept[:0], kept[len(kept)-tailBytes:]...)
		}
		if err != nil {
			return strings.ToValidUTF8(string(kept), "\uFFFD")
		}
	}
}

func millisecondsSince(then time.Time) float64 {
	return float64(time.Since(then)) / float64(time.Millisecond)
}

func signalNumber(status syscall.WaitStatus) int { return int(status.Signal()) }
