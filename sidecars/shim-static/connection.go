package main

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	protocol      = 1
	frameBytesMax = 4 << 20
	pauseFirst    = 10 * time.Millisecond
	pauseMax      = 500 * time.Millisecond
)

// identity is what the environment told, and what tells a restarted shim from a reconnected one.
type identity struct {
	slot        int
	step, stage string
	instance    string
	pid         int
}

// connection is the shim's end of the agent's socket: connected again and again, for as long as the process lives. A program does not
// outlive the connection that asked for it: a new agent never meets the run of the one before.
type connection struct {
	path string
	who  identity
	log  *logger

	mutex  sync.Mutex
	socket net.Conn
}

func (c *connection) run(runner *runner) {
	for pause := pauseFirst; ; pause = min(pause*2, pauseMax) {
		if c.once(runner) {
			pause = pauseFirst
			runner.cancelAll()
		}
		time.Sleep(pause)
	}
}

// once says whether there was a connection, when it is over.
func (c *connection) once(runner *runner) bool {
	socket, err := net.Dial("unix", c.path)
	if err != nil {
		c.log.debug("the socket of the agent is not there: " + err.Error())
		return false
	}
	c.mutex.Lock()
	c.socket = socket
	c.mutex.Unlock()
	c.send(message{"type": "hello", "protocol": protocol, "slot": c.who.slot, "step": c.who.step, "stage": c.who.stage,
		"instance": c.who.instance, "pid": c.who.pid, "kind": "static"})
	if err := c.listen(socket, runner); err != io.EOF {
		c.log.warn("hung up on the agent: " + err.Error())
	}
	c.mutex.Lock()
	c.socket = nil
	c.mutex.Unlock()
	socket.Close()
	return true
}

func (c *connection) listen(socket net.Conn, runner *runner) error {
	for {
		said, err := readFrame(socket)
		if err != nil {
			return err
		}
		switch said.text("type") {
		case "welcome":
			runner.cancelAll()
			c.send(message{"type": "ready", "step": c.who.step, "loadMs": 0.0})
		case "execute":
			runner.execute(said, time.Now())
		case "cancel":
			runner.cancel(said.text("runId"))
		case "inputGrew", "followed", "roomAnswer":
			// Of a run that is not under way: it means nothing.
		default:
			return errors.New("the agent said " + said.text("type") + ", which this shim does not know")
		}
	}
}

// send is nothing when nobody is connected: what is said is for nobody then.
func (c *connection) send(said message) {
	body := encode(said)
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.socket != nil {
		c.socket.Write(append(frame, body...))
	}
}

func readFrame(from io.Reader) (message, error) {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(length[:])
	if size > frameBytesMax {
		return nil, errors.New("a frame that is over the limit")
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(from, body); err != nil {
		return nil, err
	}
	return decode(body)
}
