package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// PR_SET_CHILD_SUBREAPER of prctl(2).
const setChildSubreaper = 36

// becomeReaper makes orphans among our descendants our children, and not those of pid 1, which is not ours in a pod.
func becomeReaper() {
	syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0)
}

// endChildren kills what descends from this process and returns when none of it is left. For a process that has become a reaper:
// each that dies leaves us its own children, so that we meet all of them. Only children are signalled: their pids are theirs for as
// long as we have not waited for them.
func endChildren() {
	for {
		for _, pid := range childrenOf(os.Getpid()) {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		var status syscall.WaitStatus
		if _, err := waitAny(&status); err != nil {
			return
		}
	}
}

// waitAny waits for a child to end. Fails when there is none.
func waitAny(status *syscall.WaitStatus) (int, error) {
	for {
		pid, err := syscall.Wait4(-1, status, 0, nil)
		if err != syscall.EINTR {
			return pid, err
		}
	}
}

func childrenOf(parent int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var children []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err == nil && pid > 1 && parentOf(pid) == parent {
			children = append(children, pid)
		}
	}
	return children
}

// parentOf is the parent of a process that is there; 0 for one that is not.
func parentOf(pid int) int {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// pid (name) state parent …, where the name may hold anything.
	text := string(stat)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}
