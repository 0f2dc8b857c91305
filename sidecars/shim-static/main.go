// The shim for images that know nothing of Podline: one static binary, the entrypoint of every slot of a pod.
//
// It says to the agent which stage was put into the slot, runs the stage's command when told to, says how that ended, and parks.
// Everything that needs the scratch (laying the input out, taking the output in, committing) is the agent's: this binary knows
// folders and a command, no LMDB and no Arrow. docs/shim-protocol.md is the prose, runtime/contracts/shim-protocol.ts has the types.
//
// Invariants
//  1. It never exits by itself: an exit makes the kubelet restart it with growing back-off. SIGTERM, and the end of a lifeline, end it.
//  2. One program at a time.
//  3. When the socket breaks, the program is ended, and hello is said again with the same instance.
//  4. Nothing that it started outlives it, however it ends (supervise.go).
//  5. It never signals pid 1: in a pod whose containers share their processes, that would restart all of them.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// What whoever ends the shim will wait is 5 s (limits.terminationGraceMs); a program gets half of it (killAfter).
const exitAfter = 4 * time.Second

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "install":
			install(os.Args[2:])
			return
		case superviseWord:
			supervise(os.Args[2:])
			return
		}
		fail("usage: podline-shim                 the entrypoint of a slot; see docs/environment.md\n" +
			"       podline-shim install PATH    puts a copy of this binary at PATH")
	}
	runSlot()
}

func runSlot() {
	step, named := os.LookupEnv("PODLINE_STEP")
	if named && step == "" {
		parkEmpty()
	}
	becomeNodeShim()
	slot, err := strconv.Atoi(needed("PODLINE_SLOT"))
	if err != nil || slot < 0 {
		fail("the environment variable PODLINE_SLOT is no whole number")
	}
	who := identity{slot: slot, step: needed("PODLINE_STEP"), stage: needed("PODLINE_STAGE"), instance: randomName(), pid: os.Getpid()}
	log := newLogger(os.Getenv("PODLINE_LOG_LEVEL"), who)
	becomeReaper()
	// Who reads our stderr may go away; heard, the signal does not end us, and is not passed on as ignored to what we start.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	connection := &connection{path: needed("PODLINE_SOCKET"), who: who, log: log}
	runner := &runner{say: connection.send, log: log}

	ends := make(chan string, 2)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	isKept := os.Getenv("PODLINE_LIFELINE") == "1"
	go func() {
		for one := range signals {
			// Ctrl-C in a terminal reaches every process of the group: whoever started this one ends it in order.
			if one == syscall.SIGTERM || !isKept {
				ends <- one.String()
				return
			}
		}
	}()
	if isKept {
		go func() { awaitEnd(os.Stdin); ends <- "its lifeline was cut" }()
	}
	go connection.run(runner)

	log.debug("ends: " + <-ends)
	// A program that does not let go must not hold the slot beyond what whoever ends it will wait.
	time.AfterFunc(exitAfter, func() { os.Exit(0) })
	runner.close()
	os.Exit(0)
}

// parkEmpty is a slot without a stage, in a pod that was created anew: there is nothing to say hello for. The kubelet ends it to
// bring the first stage.
func parkEmpty() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	<-signals
	os.Exit(0)
}

func awaitEnd(file *os.File) {
	buffer := make([]byte, 64)
	for {
		if _, err := file.Read(buffer); err != nil {
			return
		}
	}
}

func needed(name string) string {
	value := os.Getenv(name)
	if value == "" {
		fail("the environment variable " + name + " is not set; the driver that starts this process sets it")
	}
	return value
}

func randomName() string {
	bytes := make([]byte, 8)
	if _, err := rand.Read(bytes); err != nil {
		fail("no random numbers: " + err.Error())
	}
	return hex.EncodeToString(bytes)
}

func fail(message string) {
	os.Stderr.WriteString("podline-shim: " + message + "\n")
	os.Exit(2)
}
