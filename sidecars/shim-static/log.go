package main

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// logger writes JSON lines to stderr in the form of the other processes' logs.
type logger struct {
	lowest int
	fields string
}

var levels = map[string]int{"debug": 20, "info": 30, "warn": 40, "error": 50}

func newLogger(lowest string, who identity) *logger {
	level, known := levels[lowest]
	if !known {
		level = levels["info"]
	}
	fields := `"pid":` + strconv.Itoa(who.pid) + `,"name":"shim","slot":` + strconv.Itoa(who.slot) + `,"stage":` + jsonString(who.stage)
	return &logger{lowest: level, fields: fields}
}

func (l *logger) debug(message string) { l.write("debug", message) }
func (l *logger) warn(message string)  { l.write("warn", message) }

func (l *logger) write(level, message string) {
	if levels[level] < l.lowest {
		return
	}
	os.Stderr.WriteString(`{"level":` + strconv.Itoa(levels[level]) + `,"time":` + strconv.FormatInt(time.Now().UnixMilli(), 10) +
		"," + l.fields + `,"msg":` + jsonString(message) + "}\n")
}

func jsonString(text string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, char := range strings.ToValidUTF8(text, "\uFFFD") {
		switch {
		case char == '"' || char == '\\':
			out.WriteByte('\\')
			out.WriteRune(char)
		case char < 0x20:
			const hex = "0123456789abcdef"
			out.WriteString(`\u00` + string(hex[char>>4]) + string(hex[char&15]))
		default:
			out.WriteRune(char)
		}
	}
	out.WriteByte('"')
	return out.String()
}
