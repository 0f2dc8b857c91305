package main

import (
	"os"
	"os/exec"
	"syscall"
)

// Where an image that is built on the runtime's has the Node shim, and where images have Node beside the PATH.
var (
	nodeShim  = "/podline/dist/sidecars/shim/main.js"
	nodePaths = []string{"/usr/local/bin/node", "/usr/bin/node", "/nodejs/bin/node", "/opt/node/bin/node"}
)

// becomeNodeShim hands the process over to the Node shim where the image carries it: the command of a slot's container is fixed when
// the pod is created, but which image is put into it is not. Returns where it does not. PODLINE_SHIM=static keeps to this shim.
func becomeNodeShim() {
	if os.Getenv("PODLINE_SHIM") == "static" {
		return
	}
	if _, err := os.Stat(nodeShim); err != nil {
		return
	}
	for _, node := range append([]string{"node"}, nodePaths...) {
		if path, err := exec.LookPath(node); err == nil {
			syscall.Exec(path, []string{"node", nodeShim}, os.Environ())
		}
	}
}
