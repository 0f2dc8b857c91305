package main

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// The supervisor: this binary as the parent of one program, so that nothing of the program outlives the shim, however that ends.
//
// It adopts whatever the program leaves behind (subreaper), holds one end of a socket whose other end is the shim's, and ends
// everything when that closes. It is the supervisor that starts the program, so there is no moment in which a shim that dies
// leaves one that nobody knows of. If the supervisor is killed, the shim, which adopts too, ends what is left.
//
// On the socket the shim writes single bytes, the supervisor lines.
const (
	superviseWord = "supervise"

	controlEnd  = 'e' // SIGTERM to the program's group
	controlKill = 'k' // SIGKILL to all

	saidStarted     = "started"
	saidCode        = "code"
	saidSignal      = "signal"
	saidMissing     = "missing"
	saidUnstartable = "unstartable"
)

func supervise(args []string) {
	control := os.NewFile(3, "control")
	syscall.CloseOnExec(3)
	if len(args) < 4 {
		fail("the supervisor was started by hand")
	}
	becomeReaper()
	say := func(line string) { control.WriteString(strings.ReplaceAll(line, "\n", " ") + "\n") }

	child := &child{}
	if err := child.start(args[0], args[1], args[2], args[3:]); err != nil {
		word := saidUnstartable
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, syscall.ENOENT) {
			word = saidMissing
		}
		say(word + " " + err.Error())
		return
	}
	say(saidStarted)
	go child.obey(control)
	status := child.wait()
	endChildren()
	if status.Signaled() {
		say(saidSignal + " " + strconv.Itoa(signalNumber(status)))
	} else {
		say(saidCode + " " + strconv.Itoa(status.ExitStatus()))
	}
}

// child is the program, the leader of a session of its own.
type child struct {
	mutex sync.Mutex
	pid   int
	// Its pid is its own no more, and its group must not be signalled.
	isReaped bool
}

func (c *child) start(cwd, stdin, stdout string, command []string) error {
	// A relative path is looked for from the program's folder.
	if cwd != "" {
		if err := os.Chdir(cwd); err != nil {
			return err
		}
	}
	path, err := exec.LookPath(command[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return err
	}
	files := []uintptr{0, 1, 2}
	if stdin != "" {
		file, err := os.Open(stdin)
		if err != nil {
			return err
		}
		defer file.Close()
		files[0] = file.Fd()
	}
	if stdout != "" {
		file, err := os.Create(stdout)
		if err != nil {
			return err
		}
		defer file.Close()
		files[1] = file.Fd()
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	// The kernel's own word for the case that shim and supervisor are killed at once; it goes by thread, and this one stays.
	runtime.LockOSThread()
	attributes := &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	c.pid, err = syscall.ForkExec(path, command, &syscall.ProcAttr{Env: os.Environ(), Files: files, Sys: attributes})
	return err
}

// obey carries out what the shim says; when the shim is gone, everything ends at once.
func (c *child) obey(control *os.File) {
	order := make([]byte, 1)
	for {
		if _, err := control.Read(order); err != nil {
			order[0] = controlKill
			c.carryOut(controlKill)
			endChildren()
			os.Exit(0)
		}
		c.carryOut(order[0])
	}
}

func (c *child) carryOut(order byte) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.isReaped {
		return
	}
	if order == controlKill {
		syscall.Kill(-c.pid, syscall.SIGKILL)
	} else {
		syscall.Kill(-c.pid, syscall.SIGTERM)
	}
}

// wait returns how the program ended; orphans that come to us meanwhile are waited for too, when they have ended.
func (c *child) wait() syscall.WaitStatus {
	for {
		var status syscall.WaitStatus
		pid, err := waitAny(&status)
		if err != nil {
			fail("lost its program: " + err.Error())
		}
		if pid == c.pid {
			c.mutex.Lock()
			c.isReaped = true
			c.mutex.Unlock()
			return status
		}
	}
}
