package main

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ringtail/compat/loop"
)

type member struct {
	*loop.Member
	topic  string
	client *kgo.Client
}

func open(r *loop.Request) (*member, error) {
	m := &member{Member: loop.NewMember(), topic: r.Topic}
	assigned := func(_ context.Context, _ *kgo.Client, all map[string][]int32) { m.Assigned(all[m.topic]...) }
	revoked := func(_ context.Context, _ *kgo.Client, all map[string][]int32) { m.Revoked(all[m.topic]...) }
	options := []kgo.Opt{
		kgo.SeedBrokers(r.Brokers), kgo.FetchMaxWait(50 * time.Millisecond),
		kgo.MetadataMinAge(100 * time.Millisecond), kgo.ConsumeTopics(r.Topic), kgo.ConsumerGroup(r.Group),
		kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(assigned), kgo.OnPartitionsRevoked(revoked), kgo.OnPartitionsLost(revoked),
		kgo.SessionTimeout(time.Duration(r.SessionTimeoutMs) * time.Millisecond),
		kgo.HeartbeatInterval(300 * time.Millisecond),
	}
	if r.Assignor == "cooperative-sticky" {
		options = append(options, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	} else {
		options = append(options, kgo.Balancers(kgo.RangeBalancer()))
	}
	if r.Protocol == "consumer" {
		options = append(options, kgo.ServerSideBalancer())
	}
	if r.InstanceID != nil {
		options = append(options, kgo.InstanceID(*r.InstanceID))
	}
	client, err := kgo.NewClient(options...)
	m.client = client
	return m, err
}

func (m *member) poll(wait time.Duration) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	fetches := m.client.PollFetches(ctx)
	for _, one := range fetches.Errors() {
		if !errors.Is(one.Err, context.DeadlineExceeded) {
			return nil, one.Err
		}
	}
	fetches.EachRecord(func(one *kgo.Record) { m.Add(toRecord(one)) })
	return m.Poll(0)
}

func (m *member) commit(ctx context.Context, offsets [][2]int64) error {
	wanted := map[int32]kgo.EpochOffset{}
	for _, one := range offsets {
		wanted[int32(one[0])] = kgo.EpochOffset{Epoch: -1, Offset: one[1]}
	}
	var failed error
	m.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{m.topic: wanted},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
			failed = err
			if answer == nil {
				return
			}
			for _, topic := range answer.Topics {
				for _, one := range topic.Partitions {
					failed = errors.Join(failed, kerr.ErrorForCode(one.ErrorCode))
				}
			}
		})
	return failed
}

func (d *driver) members(ctx context.Context, r *loop.Request) (any, error) {
	if r.Op == "group_open" {
		member, err := open(r)
		d.open[r.Handle] = member
		return loop.Answer{}, err
	}
	member := d.open[r.Handle]
	switch r.Op {
	case "group_poll":
		return member.poll(time.Duration(r.Ms) * time.Millisecond)
	case "group_commit":
		return loop.Answer{}, member.commit(ctx, r.Offsets)
	}
	delete(d.open, r.Handle)
	member.client.Close()
	return loop.Answer{"records": []loop.Record{}}, nil
}

func groups(ctx context.Context, admin *kadm.Client, r *loop.Request) (any, error) {
	switch r.Op {
	case "group_list":
		groups, err := admin.ListGroups(ctx)
		return loop.Answer{"groups": groups.Groups()}, err
	case "group_describe":
		return describe(ctx, admin, r.Group)
	case "group_offsets":
		found, err := admin.FetchOffsets(ctx, r.Group)
		offsets := [][]any{}
		for partition, one := range found[r.Topic] {
			offsets = append(offsets, []any{partition, one.At, nil})
		}
		return loop.Answer{"offsets": offsets}, err
	case "group_set_offsets":
		wanted := kadm.Offsets{}
		for _, one := range r.Offsets {
			wanted.AddOffset(r.Topic, int32(one[0]), one[1], -1)
		}
		return loop.Answer{}, admin.CommitAllOffsets(ctx, r.Group, wanted)
	case "group_delete_offsets":
		wanted := kadm.TopicsSet{}
		wanted.Add(r.Topic, r.Forget...)
		failed, err := admin.DeleteOffsets(ctx, r.Group, wanted)
		return loop.Answer{}, errors.Join(err, failed.Error())
	case "group_delete":
		_, err := admin.DeleteGroup(ctx, r.Group)
		return loop.Answer{}, err
	}
	return nil, loop.ErrUnsupported
}

func describe(ctx context.Context, admin *kadm.Client, group string) (any, error) {
	found, err := admin.DescribeGroups(ctx, group)
	if err != nil {
		return nil, err
	}
	one, err := found.On(group, nil)
	if err != nil {
		return nil, err
	}
	members := [][]int32{}
	for _, member := range one.Members {
		assignment, _ := member.Assigned.AsConsumer()
		for _, topic := range assignment.Topics {
			members = append(members, topic.Partitions)
		}
	}
	return loop.Answer{"state": one.State, "members": members}, one.Err
}
