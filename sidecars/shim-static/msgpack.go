package main

import (
	"encoding/binary"
	"errors"
	"math"
)

// A message is a map with the field "type". Of MessagePack, this is what the protocol uses: nil, booleans, numbers, strings, binaries,
// arrays and maps; an extension type is read as nil.
type message map[string]any

var errTorn = errors.New("a message that is no whole MessagePack")

// Deeper than anything that the protocol says; what is deeper is not ours.
const depthMax = 64

func decode(body []byte) (message, error) {
	reader := msgpackReader{rest: body}
	value, err := reader.value(0)
	if err != nil {
		return nil, err
	}
	if found, isMap := value.(map[string]any); isMap && len(reader.rest) == 0 {
		return found, nil
	}
	return nil, errors.New("a message that is no map")
}

type msgpackReader struct{ rest []byte }

func (r *msgpackReader) take(count uint64) ([]byte, error) {
	if count > uint64(len(r.rest)) {
		return nil, errTorn
	}
	taken := r.rest[:count]
	r.rest = r.rest[count:]
	return taken, nil
}

func (r *msgpackReader) number(bytes uint64) (uint64, error) {
	taken, err := r.take(bytes)
	if err != nil {
		return 0, err
	}
	var number uint64
	for _, one := range taken {
		number = number<<8 | uint64(one)
	}
	return number, nil
}

func (r *msgpackReader) value(depth int) (any, error) {
	if depth > depthMax {
		return nil, errors.New("a message that is nested too deep")
	}
	head, err := r.take(1)
	if err != nil {
		return nil, err
	}
	switch tag := head[0]; {
	case tag < 0x80:
		return int64(tag), nil
	case tag < 0x90:
		return r.pairs(uint64(tag&0x0f), depth)
	case tag < 0xa0:
		return r.items(uint64(tag&0x0f), depth)
	case tag < 0xc0:
		return r.text(uint64(tag & 0x1f))
	case tag == 0xc0:
		return nil, nil
	case tag == 0xc2 || tag == 0xc3:
		return tag == 0xc3, nil
	case tag >= 0xc4 && tag <= 0xc6:
		return r.counted(1<<(tag-0xc4), func(count uint64) (any, error) { return r.take(count) })
	case tag >= 0xc7 && tag <= 0xc9:
		return r.counted(1<<(tag-0xc7), func(count uint64) (any, error) { _, err := r.take(count + 1); return nil, err })
	case tag == 0xca:
		bits, err := r.number(4)
		return float64(math.Float32frombits(uint32(bits))), err
	case tag == 0xcb:
		bits, err := r.number(8)
		return math.Float64frombits(bits), err
	case tag >= 0xcc && tag <= 0xcf:
		number, err := r.number(1 << (tag - 0xcc))
		return int64(number), err
	case tag >= 0xd0 && tag <= 0xd3:
		bytes := uint64(1) << (tag - 0xd0)
		number, err := r.number(bytes)
		shift := 64 - 8*bytes
		return int64(number<<shift) >> shift, err
	case tag >= 0xd4 && tag <= 0xd8:
		_, err := r.take(1<<(tag-0xd4) + 1)
		return nil, err
	case tag >= 0xd9 && tag <= 0xdb:
		return r.counted(1<<(tag-0xd9), r.text)
	case tag == 0xdc || tag == 0xdd:
		return r.counted(2<<(tag-0xdc), func(count uint64) (any, error) { return r.items(count, depth) })
	case tag == 0xde || tag == 0xdf:
		return r.counted(2<<(tag-0xde), func(count uint64) (any, error) { return r.pairs(count, depth) })
	case tag >= 0xe0:
		return int64(int8(tag)), nil
	}
	return nil, errTorn
}

func (r *msgpackReader) counted(bytes uint64, read func(uint64) (any, error)) (any, error) {
	count, err := r.number(bytes)
	if err != nil {
		return nil, err
	}
	return read(count)
}

func (r *msgpackReader) text(count uint64) (any, error) {
	taken, err := r.take(count)
	return string(taken), err
}

func (r *msgpackReader) items(count uint64, depth int) (any, error) {
	// Each item has a byte at least: what says that it has more of them than there are bytes is torn.
	if count > uint64(len(r.rest)) {
		return nil, errTorn
	}
	items := make([]any, 0, count)
	for range count {
		item, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

func (r *msgpackReader) pairs(count uint64, depth int) (any, error) {
	pairs := map[string]any{}
	for range count {
		key, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		name, isText := key.(string)
		if !isText {
			return nil, errors.New("a message with a key that is no text")
		}
		if pairs[name], err = r.value(depth + 1); err != nil {
			return nil, err
		}
	}
	return pairs, nil
}

// encode writes what this shim says: maps of strings, whole numbers, floats and booleans.
func encode(said message) []byte {
	out := []byte{0xde}
	out = binary.BigEndian.AppendUint16(out, uint16(len(said)))
	for name, value := range said {
		out = appendText(out, name)
		switch value := value.(type) {
		case string:
			out = appendText(out, value)
		case int:
			out = binary.BigEndian.AppendUint64(append(out, 0xd3), uint64(value))
		case float64:
			out = binary.BigEndian.AppendUint64(append(out, 0xcb), math.Float64bits(value))
		case bool:
			if value {
				out = append(out, 0xc3)
			} else {
				out = append(out, 0xc2)
			}
		default:
			out = append(out, 0xc0)
		}
	}
	return out
}

func appendText(out []byte, text string) []byte {
	out = binary.BigEndian.AppendUint32(append(out, 0xdb), uint32(len(text)))
	return append(out, text...)
}

func (m message) text(name string) string {
	value, _ := m[name].(string)
	return value
}

// texts is a list of strings; nil where it is none.
func (m message) texts(name string) []string {
	items, _ := m[name].([]any)
	texts := make([]string, 0, len(items))
	for _, item := range items {
		text, isText := item.(string)
		if !isText {
			return nil
		}
		texts = append(texts, text)
	}
	return texts
}
