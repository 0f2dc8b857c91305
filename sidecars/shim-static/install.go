package main

import (
	"io"
	"os"
)

// install puts a copy of this binary at a path, whole or not at all: an init container of the pod brings it so to where every image
// of the pod's slots finds it.
func install(args []string) {
	if len(args) != 1 {
		fail("usage: podline-shim install PATH")
	}
	if err := copySelf(args[0]); err != nil {
		fail("could not be installed: " + err.Error())
	}
}

func copySelf(path string) error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close()
	beside := path + ".part"
	copied, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	defer os.Remove(beside)
	if _, err = io.Copy(copied, self); err == nil {
		// The umask may have taken what others need to run it.
		err = copied.Chmod(0o755)
	}
	if closed := copied.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(beside, path)
}
