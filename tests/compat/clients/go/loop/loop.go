// Package loop is the loop of a driver in Go: JSON lines in, JSON lines out (../../../README.md).
package loop

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"time"
)

const Deadline = 60 * time.Second

// ErrUnsupported is answered where the client has no such operation.
var ErrUnsupported = errors.New("the driver has no such operation")

// Record is one of `produce` and `consume`. encoding/json has []byte as base64, nil as null.
type Record struct {
	Partition int32    `json:"p"`
	Offset    int64    `json:"o"`
	TimeMs    *int64   `json:"t"`
	Key       []byte   `json:"k"`
	Value     []byte   `json:"v"`
	Headers   []Header `json:"h"`
}

// Header is a [name, value] on the line.
type Header struct {
	Name  string
	Value []byte
}

func (h Header) MarshalJSON() ([]byte, error) { return json.Marshal([]any{h.Name, h.Value}) }

func (h *Header) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&h.Name, &h.Value})
}

// Request has the arguments of all operations.
type Request struct {
	Op                string            `json:"op"`
	Brokers           string            `json:"brokers"`
	Topic             string            `json:"topic"`
	Records           []Record          `json:"records"`
	Codec             string            `json:"codec"`
	Acks              string            `json:"acks"`
	Idempotent        bool              `json:"idempotent"`
	BatchBytes        int32             `json:"batch_bytes"`
	RequestMaxBytes   int32             `json:"request_max_bytes"`
	Ranges            [][3]int64        `json:"ranges"`
	FetchMaxBytes     int32             `json:"fetch_max_bytes"`
	PartitionMaxBytes int32             `json:"partition_max_bytes"`
	Partition         int32             `json:"partition"`
	Partitions        int32             `json:"partitions"`
	At                json.RawMessage   `json:"at"`
	Total             int32             `json:"total"`
	Before            int64             `json:"before"`
	Configs           map[string]string `json:"configs"`
	Set               map[string]string `json:"set"`
	Delete            []string          `json:"delete"`
	Handle            string            `json:"handle"`
	Group             string            `json:"group"`
	Assignor          string            `json:"assignor"`
	InstanceID        *string           `json:"instance_id"`
	Protocol          string            `json:"protocol"`
	SessionTimeoutMs  int64             `json:"session_timeout_ms"`
	Ms                int64             `json:"ms"`
	Offsets           [][2]int64        `json:"offsets"`
	Forget            []int32           `json:"forget"`
}

// Place is "earliest", "latest", or "" and milliseconds.
func (r *Request) Place() (string, int64) {
	var name string
	if json.Unmarshal(r.At, &name) == nil {
		return name, 0
	}
	var ms int64
	_ = json.Unmarshal(r.At, &ms)
	return "", ms
}

// Settings tells apart producers that cannot share a connection.
func (r *Request) Settings() string {
	return fmt.Sprint(r.Brokers, r.Codec, r.Acks, r.Idempotent, r.BatchBytes, r.RequestMaxBytes)
}

// Ends has the end offset of each partition that has anything to read; Firsts where it begins.
func (r *Request) Ends() (firsts, ends map[int32]int64) {
	firsts, ends = map[int32]int64{}, map[int32]int64{}
	for _, one := range r.Ranges {
		if one[1] < one[2] {
			firsts[int32(one[0])], ends[int32(one[0])] = one[1], one[2]
		}
	}
	return firsts, ends
}

// Names of a map in their order.
func Names[V any](of map[string]V) []string {
	names := make([]string, 0, len(of))
	for name := range of {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

type (
	Handler func(*Request) (any, error)
	Answer  map[string]any
)

func answer(handler Handler, code func(error) any, line []byte) Answer {
	var request Request
	if err := json.Unmarshal(line, &request); err != nil {
		return Answer{"error": Answer{"code": nil, "message": err.Error()}}
	}
	result, err := handler(&request)
	if errors.Is(err, ErrUnsupported) {
		return Answer{"unsupported": request.Op}
	}
	if err != nil {
		return Answer{"error": Answer{"code": code(err), "message": err.Error()}}
	}
	return Answer{"ok": result}
}

// Serve answers until the end of the input; code has Kafka's number of an error, or nil.
func Serve(handler Handler, code func(error) any) {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		if err := out.Encode(answer(handler, code, line)); err != nil {
			return
		}
	}
}
