package main

import (
	"context"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"ringtail/compat/loop"
)

// member of a group: sarama calls it from goroutines of its own.
type member struct {
	*loop.Member
	topic   string
	group   sarama.ConsumerGroup
	stop    context.CancelFunc
	done    chan struct{}
	mutex   sync.Mutex
	session sarama.ConsumerGroupSession
}

func open(r *loop.Request) (*member, error) {
	if r.Protocol != "classic" {
		return nil, loop.ErrUnsupported
	}
	config := config()
	config.Consumer.MaxWaitTime = 50 * time.Millisecond
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Session.Timeout = time.Duration(r.SessionTimeoutMs) * time.Millisecond
	config.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	strategy := sarama.NewBalanceStrategyRange()
	if r.Assignor == "cooperative-sticky" {
		strategy = sarama.NewBalanceStrategyCooperativeSticky()
	}
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	if r.InstanceID != nil {
		config.Consumer.Group.InstanceId = *r.InstanceID
	}
	group, err := sarama.NewConsumerGroup([]string{r.Brokers}, r.Group, config)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &member{Member: loop.NewMember(), topic: r.Topic, group: group, stop: stop,
		done: make(chan struct{})}
	go m.consume(ctx)
	return m, nil
}

// consume begins the next session whenever a rebalance has ended one.
func (m *member) consume(ctx context.Context) {
	defer close(m.done)
	for ctx.Err() == nil {
		if err := m.group.Consume(ctx, []string{m.topic}, m); err != nil {
			m.Fail(err)
			return
		}
	}
}

func (m *member) setSession(session sarama.ConsumerGroupSession) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.session = session
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.setSession(session)
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error {
	m.setSession(nil)
	return nil
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	m.Assigned(claim.Partition())
	defer m.Revoked(claim.Partition())
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			m.Add(toRecord(message))
		case <-session.Context().Done():
			return nil
		}
	}
}

// commit has no answer of its own: a group that does not go on there is noticed.
func (m *member) commit(offsets [][2]int64) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.session == nil {
		return sarama.ErrRebalanceInProgress
	}
	for _, one := range offsets {
		m.session.MarkOffset(m.topic, int32(one[0]), one[1], "")
	}
	m.session.Commit()
	return nil
}

func (m *member) close() error {
	m.stop()
	<-m.done
	return m.group.Close()
}

func (d *driver) members(r *loop.Request) (any, error) {
	if r.Op == "group_open" {
		member, err := open(r)
		d.open[r.Handle] = member
		return loop.Answer{}, err
	}
	member := d.open[r.Handle]
	switch r.Op {
	case "group_poll":
		return member.Poll(time.Duration(r.Ms) * time.Millisecond)
	case "group_commit":
		return loop.Answer{}, member.commit(r.Offsets)
	}
	delete(d.open, r.Handle)
	return loop.Answer{"records": []loop.Record{}}, member.close()
}

func groups(admin sarama.ClusterAdmin, r *loop.Request) (any, error) {
	switch r.Op {
	case "group_list":
		groups, err := admin.ListConsumerGroups()
		return loop.Answer{"groups": loop.Names(groups)}, err
	case "group_describe":
		return describe(admin, r.Group)
	case "group_offsets":
		return committed(admin, r)
	case "group_set_offsets":
		return loop.Answer{}, setOffsets(admin, r)
	case "group_delete_offsets":
		for _, partition := range r.Forget {
			if err := admin.DeleteConsumerGroupOffset(r.Group, r.Topic, partition); err != nil {
				return nil, err
			}
		}
		return loop.Answer{}, nil
	case "group_delete":
		return loop.Answer{}, admin.DeleteConsumerGroup(r.Group)
	}
	return nil, loop.ErrUnsupported
}

func describe(admin sarama.ClusterAdmin, group string) (any, error) {
	found, err := admin.DescribeConsumerGroups([]string{group})
	if err != nil {
		return nil, err
	}
	if found[0].Err != sarama.ErrNoError {
		return nil, found[0].Err
	}
	members := [][]int32{}
	for _, one := range found[0].Members {
		assignment, err := one.GetMemberAssignment()
		if err != nil {
			return nil, err
		}
		for _, partitions := range assignment.Topics {
			members = append(members, partitions)
		}
	}
	return loop.Answer{"state": found[0].State, "members": members}, nil
}

func committed(admin sarama.ClusterAdmin, r *loop.Request) (any, error) {
	found, err := admin.ListConsumerGroupOffsets(r.Group, nil)
	if err != nil {
		return nil, err
	}
	offsets := [][]any{}
	for _, group := range found.Groups {
		for partition, block := range group.Blocks[r.Topic] {
			offsets = append(offsets, []any{partition, block.Offset, nil})
		}
	}
	return loop.Answer{"offsets": offsets}, nil
}

func setOffsets(admin sarama.ClusterAdmin, r *loop.Request) error {
	wanted := map[int32]sarama.OffsetAndMetadata{}
	for _, one := range r.Offsets {
		wanted[int32(one[0])] = sarama.OffsetAndMetadata{Offset: one[1], LeaderEpoch: -1}
	}
	answer, err := admin.AlterConsumerGroupOffsets(r.Group,
		map[string]map[int32]sarama.OffsetAndMetadata{r.Topic: wanted}, nil)
	if err != nil {
		return err
	}
	for _, code := range answer.Errors[r.Topic] {
		if code != sarama.ErrNoError {
			return code
		}
	}
	return nil
}
