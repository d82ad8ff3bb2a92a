package loop

import (
	"slices"
	"sync"
	"time"
)

// Member is what a member of a group has been given and has not told yet. Clients tell it from
// goroutines of their own.
type Member struct {
	mutex   sync.Mutex
	some    chan struct{} // a token while there are records or an error
	records []Record
	owned   map[int32]bool
	revoked []int32
	err     error
}

func NewMember() *Member {
	return &Member{some: make(chan struct{}, 1), owned: map[int32]bool{}}
}

func (m *Member) wake() {
	select {
	case m.some <- struct{}{}:
	default:
	}
}

func (m *Member) Add(record Record) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.records = append(m.records, record)
	m.wake()
}

// Fail has the next Poll answer with an error.
func (m *Member) Fail(err error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.err = err
	m.wake()
}

func (m *Member) Assigned(partitions ...int32) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for _, one := range partitions {
		m.owned[one] = true
	}
}

func (m *Member) Revoked(partitions ...int32) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for _, one := range partitions {
		delete(m.owned, one)
		m.revoked = append(m.revoked, one)
	}
}

// Poll waits for the first record, but not longer than that.
func (m *Member) Poll(wait time.Duration) (any, error) {
	select {
	case <-m.some:
	case <-time.After(wait):
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	owned := []int32{}
	for one := range m.owned {
		owned = append(owned, one)
	}
	slices.Sort(owned)
	answer := Answer{"records": append([]Record{}, m.records...), "owned": owned,
		"revoked": append([]int32{}, m.revoked...)}
	m.records, m.revoked = nil, nil
	err := m.err
	m.err = nil
	return answer, err
}
