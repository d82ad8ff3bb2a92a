// franz-go as a driver.
package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"ringtail/compat/loop"
)

type driver struct {
	producers map[string]*kgo.Client
	open      map[string]*member
}

func codecOf(name string) kgo.CompressionCodec {
	switch name {
	case "gzip":
		return kgo.GzipCompression()
	case "snappy":
		return kgo.SnappyCompression()
	case "lz4":
		return kgo.Lz4Compression()
	case "zstd":
		return kgo.ZstdCompression()
	}
	return kgo.NoCompression()
}

func (d *driver) producer(r *loop.Request) (*kgo.Client, error) {
	if client := d.producers[r.Settings()]; client != nil {
		return client, nil
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(r.Brokers), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codecOf(r.Codec)), kgo.ProducerLinger(5 * time.Millisecond),
		kgo.MetadataMinAge(100 * time.Millisecond),
	}
	switch r.Acks {
	case "0":
		options = append(options, kgo.RequiredAcks(kgo.NoAck()))
	case "1":
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()))
	default:
		options = append(options, kgo.RequiredAcks(kgo.AllISRAcks()))
	}
	if !r.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))
	}
	if r.BatchBytes > 0 {
		options = append(options, kgo.ProducerBatchMaxBytes(r.BatchBytes))
	}
	if r.RequestMaxBytes > 0 {
		options = append(options, kgo.ProducerBatchMaxBytes(r.RequestMaxBytes))
	}
	client, err := kgo.NewClient(options...)
	d.producers[r.Settings()] = client
	return client, err
}

func (d *driver) produce(r *loop.Request) (any, error) {
	client, err := d.producer(r)
	if err != nil {
		return nil, err
	}
	records := make([]*kgo.Record, len(r.Records))
	for i, one := range r.Records {
		records[i] = &kgo.Record{Topic: r.Topic, Partition: one.Partition, Key: one.Key, Value: one.Value}
		if one.TimeMs != nil {
			records[i].Timestamp = time.UnixMilli(*one.TimeMs)
		}
		for _, header := range one.Headers {
			records[i].Headers = append(records[i].Headers,
				kgo.RecordHeader{Key: header.Name, Value: header.Value})
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), loop.Deadline)
	defer cancel()
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return nil, err
	}
	if r.Acks == "0" {
		return loop.Answer{"offsets": nil}, nil
	}
	offsets := make([]int64, len(records))
	for i, one := range records {
		offsets[i] = one.Offset
	}
	return loop.Answer{"offsets": offsets}, nil
}

func consume(r *loop.Request) (any, error) {
	firsts, ends := r.Ends()
	offsets := map[int32]kgo.Offset{}
	for partition, first := range firsts {
		offsets[partition] = kgo.NewOffset().At(first)
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(r.Brokers), kgo.FetchMaxWait(50 * time.Millisecond),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.Topic: offsets}),
	}
	if r.FetchMaxBytes > 0 {
		options = append(options, kgo.FetchMaxBytes(r.FetchMaxBytes),
			kgo.FetchMaxPartitionBytes(r.PartitionMaxBytes))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	found := []loop.Record{}
	for len(ends) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), loop.Deadline)
		fetches := client.PollFetches(ctx)
		cancel()
		if err := fetches.Err(); errors.Is(err, context.DeadlineExceeded) {
			return nil, errors.New("no record in time")
		}
		fetches.EachRecord(func(one *kgo.Record) {
			if end, wanted := ends[one.Partition]; wanted && one.Offset < end {
				found = append(found, toRecord(one))
				if one.Offset+1 == end {
					delete(ends, one.Partition)
				}
			}
		})
	}
	return loop.Answer{"records": found}, nil
}

func toRecord(one *kgo.Record) loop.Record {
	timeMs := one.Timestamp.UnixMilli()
	record := loop.Record{Partition: one.Partition, Offset: one.Offset, TimeMs: &timeMs, Key: one.Key,
		Value: one.Value, Headers: []loop.Header{}}
	for _, header := range one.Headers {
		record.Headers = append(record.Headers, loop.Header{Name: header.Key, Value: header.Value})
	}
	return record
}

func offsets(ctx context.Context, admin *kadm.Client, r *loop.Request) (any, error) {
	var listed kadm.ListedOffsets
	var err error
	switch place, ms := r.Place(); place {
	case "earliest":
		listed, err = admin.ListStartOffsets(ctx, r.Topic)
	case "latest":
		listed, err = admin.ListEndOffsets(ctx, r.Topic)
	default:
		listed, err = admin.ListOffsetsAfterMilli(ctx, ms, r.Topic)
	}
	if err != nil {
		return nil, err
	}
	one, _ := listed.Lookup(r.Topic, r.Partition)
	return loop.Answer{"offset": one.Offset}, one.Err
}

func pointers(configs map[string]string) map[string]*string {
	found := map[string]*string{}
	for name, value := range configs {
		found[name] = kadm.StringPtr(value)
	}
	return found
}

func withText(err error, text string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w %s", err, text)
}

func topics(ctx context.Context, admin *kadm.Client, r *loop.Request) (any, error) {
	done := loop.Answer{}
	switch r.Op {
	case "list_topics":
		topics, err := admin.ListTopics(ctx)
		return loop.Answer{"topics": topics.Names()}, err
	case "partitions":
		topics, err := admin.ListTopics(ctx, r.Topic)
		if err != nil {
			return nil, err
		}
		return loop.Answer{"partitions": len(topics[r.Topic].Partitions)}, topics[r.Topic].Err
	case "create_topic":
		one, err := admin.CreateTopic(ctx, r.Partitions, 1, pointers(r.Configs), r.Topic)
		return done, withText(err, one.ErrMessage)
	case "delete_topic":
		_, err := admin.DeleteTopic(ctx, r.Topic)
		return done, err
	case "add_partitions":
		all, err := admin.UpdatePartitions(ctx, int(r.Total), r.Topic)
		if err != nil {
			return nil, err
		}
		return done, withText(all[r.Topic].Err, all[r.Topic].ErrMessage)
	case "delete_records":
		before := kadm.Offsets{}
		before.AddOffset(r.Topic, r.Partition, r.Before, -1)
		all, err := admin.DeleteRecords(ctx, before)
		if err != nil {
			return nil, err
		}
		one, _ := all.Lookup(r.Topic, r.Partition)
		return loop.Answer{"low": one.LowWatermark}, one.Err
	}
	return configs(ctx, admin, r)
}

func configs(ctx context.Context, admin *kadm.Client, r *loop.Request) (any, error) {
	var alter []kadm.AlterConfig
	var responses kadm.AlterConfigsResponses
	var err error
	switch r.Op {
	case "describe_config":
		all, err := admin.DescribeTopicConfigs(ctx, r.Topic)
		if err != nil {
			return nil, err
		}
		configs := map[string]*string{}
		one, err := all.On(r.Topic, nil)
		for _, config := range one.Configs {
			configs[config.Key] = config.Value
		}
		return loop.Answer{"configs": configs}, err
	case "alter_config":
		for _, name := range loop.Names(r.Configs) {
			alter = append(alter, kadm.AlterConfig{Name: name, Value: kadm.StringPtr(r.Configs[name])})
		}
		responses, err = admin.AlterTopicConfigsState(ctx, alter, r.Topic)
	case "incremental_alter":
		for _, name := range loop.Names(r.Set) {
			alter = append(alter, kadm.AlterConfig{Op: kadm.SetConfig, Name: name,
				Value: kadm.StringPtr(r.Set[name])})
		}
		for _, name := range r.Delete {
			alter = append(alter, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: name})
		}
		responses, err = admin.AlterTopicConfigs(ctx, alter, r.Topic)
	default:
		return nil, loop.ErrUnsupported
	}
	if err != nil {
		return nil, err
	}
	one, err := responses.On(r.Topic, nil)
	if err != nil {
		return nil, err
	}
	return loop.Answer{}, withText(one.Err, one.ErrMessage)
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, one := range info.Deps {
		if one.Path == "github.com/twmb/franz-go" {
			return strings.TrimPrefix(one.Version, "v")
		}
	}
	return "unknown"
}

func (d *driver) handle(r *loop.Request) (any, error) {
	switch r.Op {
	case "hello":
		return loop.Answer{"version": version()}, nil
	case "produce":
		return d.produce(r)
	case "consume":
		return consume(r)
	}
	ctx, cancel := context.WithTimeout(context.Background(), loop.Deadline)
	defer cancel()
	if r.Handle != "" {
		return d.members(ctx, r)
	}
	// Anew for each: a client answers from the metadata that it has for at least 10 ms.
	admin, err := kadm.NewOptClient(kgo.SeedBrokers(r.Brokers))
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	if r.Op == "offsets" {
		return offsets(ctx, admin, r)
	}
	if strings.HasPrefix(r.Op, "group_") {
		return groups(ctx, admin, r)
	}
	return topics(ctx, admin, r)
}

func code(err error) any {
	var known *kerr.Error
	if errors.As(err, &known) {
		return known.Code
	}
	return nil
}

func main() {
	d := &driver{producers: map[string]*kgo.Client{}, open: map[string]*member{}}
	loop.Serve(d.handle, code)
}
