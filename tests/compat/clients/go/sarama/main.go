// Sarama as a driver.
package main

import (
	"errors"
	"runtime/debug"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"ringtail/compat/loop"
)

type driver struct {
	producers map[string]sarama.SyncProducer
	clients   map[string]sarama.Client
	open      map[string]*member
}

func codecOf(name string) sarama.CompressionCodec {
	var codec sarama.CompressionCodec
	_ = codec.UnmarshalText([]byte(name))
	return codec
}

func config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Metadata.Retry.Max = 100
	config.Metadata.Retry.Backoff = 100 * time.Millisecond
	return config
}

func (d *driver) producer(r *loop.Request) (sarama.SyncProducer, error) {
	if producer := d.producers[r.Settings()]; producer != nil {
		return producer, nil
	}
	config := config()
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Compression = codecOf(r.Codec)
	config.Producer.Return.Successes = true
	config.Producer.Retry.Max = 600
	config.Producer.Flush.Frequency = 5 * time.Millisecond
	config.Producer.RequiredAcks = map[string]sarama.RequiredAcks{
		"0": sarama.NoResponse, "1": sarama.WaitForLocal, "all": sarama.WaitForAll}[r.Acks]
	config.Net.MaxOpenRequests = 1 // idempotence wants it, and order does
	config.Producer.Idempotent = r.Idempotent
	if r.BatchBytes > 0 {
		config.Producer.Flush.Bytes = int(r.BatchBytes)
		config.Producer.Flush.MaxMessages = max(1, int(r.BatchBytes)/120)
	}
	if r.RequestMaxBytes > 0 {
		config.Producer.MaxMessageBytes = int(r.RequestMaxBytes)
	}
	producer, err := sarama.NewSyncProducer([]string{r.Brokers}, config)
	d.producers[r.Settings()] = producer
	return producer, err
}

func bytes(data []byte) sarama.Encoder {
	if data == nil {
		return nil
	}
	return sarama.ByteEncoder(data)
}

func (d *driver) produce(r *loop.Request) (any, error) {
	producer, err := d.producer(r)
	if err != nil {
		return nil, err
	}
	messages := make([]*sarama.ProducerMessage, len(r.Records))
	for i, one := range r.Records {
		messages[i] = &sarama.ProducerMessage{Topic: r.Topic, Partition: one.Partition,
			Key: bytes(one.Key), Value: bytes(one.Value)}
		if one.TimeMs != nil {
			messages[i].Timestamp = time.UnixMilli(*one.TimeMs)
		}
		for _, header := range one.Headers {
			messages[i].Headers = append(messages[i].Headers,
				sarama.RecordHeader{Key: []byte(header.Name), Value: header.Value})
		}
	}
	if err := producer.SendMessages(messages); err != nil {
		var all sarama.ProducerErrors
		if errors.As(err, &all) {
			return nil, all[0].Err
		}
		return nil, err
	}
	if r.Acks == "0" {
		return loop.Answer{"offsets": nil}, nil
	}
	offsets := make([]int64, len(messages))
	for i, one := range messages {
		offsets[i] = one.Offset
	}
	return loop.Answer{"offsets": offsets}, nil
}

func consume(r *loop.Request) (any, error) {
	config := config()
	config.Consumer.MaxWaitTime = 50 * time.Millisecond
	config.Consumer.Retry.Backoff = 100 * time.Millisecond
	if r.FetchMaxBytes > 0 {
		config.Consumer.Fetch.Default = r.PartitionMaxBytes
	}
	consumer, err := sarama.NewConsumer([]string{r.Brokers}, config)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	firsts, ends := r.Ends()
	messages := make(chan *sarama.ConsumerMessage)
	done := make(chan struct{})
	var parts []sarama.PartitionConsumer
	for partition, first := range firsts {
		one, err := consumer.ConsumePartition(r.Topic, partition, first)
		if err != nil {
			return nil, err
		}
		parts = append(parts, one)
		go func() {
			for message := range one.Messages() {
				select {
				case messages <- message:
				case <-done:
				}
			}
		}()
	}
	found, err := read(messages, ends)
	close(done)
	for _, one := range parts {
		_ = one.Close()
	}
	return loop.Answer{"records": found}, err
}

func read(messages chan *sarama.ConsumerMessage, ends map[int32]int64) ([]loop.Record, error) {
	found := []loop.Record{}
	for len(ends) > 0 {
		select {
		case one := <-messages:
			if end, wanted := ends[one.Partition]; wanted && one.Offset < end {
				found = append(found, toRecord(one))
				if one.Offset+1 == end {
					delete(ends, one.Partition)
				}
			}
		case <-time.After(loop.Deadline):
			return nil, errors.New("no record in time")
		}
	}
	return found, nil
}

func toRecord(one *sarama.ConsumerMessage) loop.Record {
	timeMs := one.Timestamp.UnixMilli()
	record := loop.Record{Partition: one.Partition, Offset: one.Offset, TimeMs: &timeMs, Key: one.Key,
		Value: one.Value, Headers: []loop.Header{}}
	for _, header := range one.Headers {
		record.Headers = append(record.Headers,
			loop.Header{Name: string(header.Key), Value: header.Value})
	}
	return record
}

func (d *driver) client(r *loop.Request) (sarama.Client, error) {
	if client := d.clients[r.Brokers]; client != nil {
		return client, nil
	}
	client, err := sarama.NewClient([]string{r.Brokers}, config())
	d.clients[r.Brokers] = client
	return client, err
}

func offset(client sarama.Client, r *loop.Request) (any, error) {
	place, ms := r.Place()
	switch place {
	case "earliest":
		ms = sarama.OffsetOldest
	case "latest":
		ms = sarama.OffsetNewest
	}
	offset, err := client.GetOffset(r.Topic, r.Partition, ms)
	return loop.Answer{"offset": offset}, err
}

func pointers(configs map[string]string) map[string]*string {
	found := map[string]*string{}
	for name, value := range configs {
		found[name] = &value
	}
	return found
}

func administer(admin sarama.ClusterAdmin, r *loop.Request) (any, error) {
	done := loop.Answer{}
	switch r.Op {
	case "list_topics":
		topics, err := admin.ListTopics()
		return loop.Answer{"topics": loop.Names(topics)}, err
	case "partitions":
		topics, err := admin.DescribeTopics([]string{r.Topic})
		if err != nil {
			return nil, err
		}
		return loop.Answer{"partitions": len(topics[0].Partitions)}, nil
	case "create_topic":
		return done, admin.CreateTopic(r.Topic, &sarama.TopicDetail{NumPartitions: r.Partitions,
			ReplicationFactor: 1, ConfigEntries: pointers(r.Configs)}, false)
	case "delete_topic":
		return done, admin.DeleteTopic(r.Topic)
	case "add_partitions":
		return done, admin.CreatePartitions(r.Topic, r.Total, nil, false)
	case "describe_config":
		entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: r.Topic})
		configs := map[string]string{}
		for _, entry := range entries {
			configs[entry.Name] = entry.Value
		}
		return loop.Answer{"configs": configs}, err
	case "alter_config":
		return done, admin.AlterConfig(sarama.TopicResource, r.Topic, pointers(r.Configs), false)
	case "incremental_alter":
		entries := map[string]sarama.IncrementalAlterConfigsEntry{}
		for name, value := range pointers(r.Set) {
			entries[name] = sarama.IncrementalAlterConfigsEntry{
				Operation: sarama.IncrementalAlterConfigsOperationSet, Value: value}
		}
		for _, name := range r.Delete {
			entries[name] = sarama.IncrementalAlterConfigsEntry{
				Operation: sarama.IncrementalAlterConfigsOperationDelete}
		}
		return done, admin.IncrementalAlterConfig(sarama.TopicResource, r.Topic, entries, false)
	}
	return nil, loop.ErrUnsupported
}

func (d *driver) deleteRecords(client sarama.Client, admin sarama.ClusterAdmin, r *loop.Request) (any, error) {
	if err := admin.DeleteRecords(r.Topic, map[int32]int64{r.Partition: r.Before}); err != nil {
		return nil, err
	}
	low, err := client.GetOffset(r.Topic, r.Partition, sarama.OffsetOldest) // it tells none itself
	return loop.Answer{"low": low}, err
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, one := range info.Deps {
		if one.Path == "github.com/IBM/sarama" {
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
	if r.Handle != "" {
		return d.members(r)
	}
	client, err := d.client(r)
	if err != nil {
		return nil, err
	}
	if r.Op == "offsets" {
		return offset(client, r)
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return nil, err
	}
	if r.Op == "delete_records" {
		return d.deleteRecords(client, admin, r)
	}
	if strings.HasPrefix(r.Op, "group_") {
		return groups(admin, r)
	}
	return administer(admin, r)
}

func code(err error) any {
	var known sarama.KError
	if errors.As(err, &known) {
		return int(known)
	}
	return nil
}

func main() {
	d := &driver{producers: map[string]sarama.SyncProducer{}, clients: map[string]sarama.Client{},
		open: map[string]*member{}}
	loop.Serve(d.handle, code)
}
