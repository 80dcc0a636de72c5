// What librdkafka 1.9 is to find when it talks to the broker.
//
// Usage: librdkafka CHECK ADDRESS. Panics when something is not as it should be.
package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/confluentinc/confluent-kafka-go/kafka"

	. "kafka_clients/check"
)

const pollMs = 50

func main() {
	Main(map[string]func(context.Context){
		"compressions":        compressions,
		"transactions":        transactions,
		"fencing":             fencing,
		"group":               group,
		"copies_exactly_once": copiesExactlyOnce,
		"admin":               administers,
	})
}

func config(settings kafka.ConfigMap) *kafka.ConfigMap {
	settings["bootstrap.servers"] = Address
	return &settings
}

func admin() *kafka.AdminClient {
	return Must(kafka.NewAdminClient(config(kafka.ConfigMap{})))
}

func create(ctx context.Context, topic string, partitions int) {
	specification := kafka.TopicSpecification{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}
	only(admin().CreateTopics(ctx, []kafka.TopicSpecification{specification}))
}

// What came of a request about one topic.
func only(results []kafka.TopicResult, err error) {
	Ok(err)
	Equal(len(results), 1)
	Equal(results[0].Error.Code(), kafka.ErrNoError)
}

func producer(settings kafka.ConfigMap) *kafka.Producer {
	settings["linger.ms"] = 1
	return Must(kafka.NewProducer(config(settings)))
}

func transactional(ctx context.Context, id string) *kafka.Producer {
	made := producer(kafka.ConfigMap{"transactional.id": id})
	Ok(made.InitTransactions(ctx))
	return made
}

func consumer(group string, settings kafka.ConfigMap) *kafka.Consumer {
	settings["group.id"] = group
	settings["auto.offset.reset"] = "earliest"
	settings["enable.auto.commit"] = false
	return Must(kafka.NewConsumer(config(settings)))
}

// The values go to the partitions in turns, and are acknowledged.
func produce(by *kafka.Producer, topic string, partitions int32, values ...string) {
	reports := make(chan kafka.Event, len(values))
	for index, value := range values {
		place := kafka.TopicPartition{Topic: &topic, Partition: int32(index) % partitions}
		Ok(by.Produce(&kafka.Message{TopicPartition: place, Value: []byte(value)}, reports))
	}
	for range values {
		Ok((<-reports).(*kafka.Message).TopicPartition.Error)
	}
}

// Every value of a topic's only partition up to the end of what may be read.
func readAll(topic, isolation string) []string {
	reader := consumer("nobody", kafka.ConfigMap{"isolation.level": isolation, "enable.partition.eof": true})
	defer reader.Close()
	Ok(reader.Assign([]kafka.TopicPartition{{Topic: &topic, Offset: kafka.OffsetBeginning}}))
	values := []string{}
	Until(func() bool {
		switch event := reader.Poll(pollMs).(type) {
		case *kafka.Message:
			Ok(event.TopicPartition.Error)
			values = append(values, string(event.Value))
		case kafka.PartitionEOF:
			return true
		case kafka.Error:
			panic(event)
		}
		return false
	}, "the end of "+topic)
	return values
}

func both(topic string, committed, all []string) {
	Equal(readAll(topic, "read_committed"), committed)
	Equal(readAll(topic, "read_uncommitted"), all)
}

// Values that are large enough to be worth compressing.
func values(name string, count int) []string {
	made := make([]string, count)
	for index := range made {
		made[index] = fmt.Sprintf("%s %d %0100d", name, index, 0)
	}
	return made
}

func compressions(ctx context.Context) {
	_, version := kafka.LibraryVersion()
	Equal(version, "1.9.2")
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		create(ctx, codec, 1)
		writer, sent := producer(kafka.ConfigMap{"compression.type": codec}), values(codec, 2_000)
		produce(writer, codec, 1, sent...)
		writer.Close()
		Equal(readAll(codec, "read_committed"), sent)
	}
}

func transactions(ctx context.Context) {
	create(ctx, "money", 1)
	writer := transactional(ctx, "bank")
	defer writer.Close()
	Ok(writer.BeginTransaction())
	produce(writer, "money", 1, "a", "b")
	// What is open is not for those who want what is committed.
	both("money", []string{}, []string{"a", "b"})
	Ok(writer.CommitTransaction(ctx))
	Ok(writer.BeginTransaction())
	produce(writer, "money", 1, "c")
	Ok(writer.AbortTransaction(ctx))
	both("money", []string{"a", "b"}, []string{"a", "b", "c"})
	// An empty transaction stands in nobody's way.
	Ok(writer.BeginTransaction())
	Ok(writer.CommitTransaction(ctx))
	Ok(writer.BeginTransaction())
	produce(writer, "money", 1, "d")
	Ok(writer.CommitTransaction(ctx))
	both("money", []string{"a", "b", "d"}, []string{"a", "b", "c", "d"})
}

func fencing(ctx context.Context) {
	create(ctx, "owned", 1)
	first := transactional(ctx, "owner")
	defer first.Close()
	Ok(first.BeginTransaction())
	produce(first, "owned", 1, "of the first")
	// The second one's coming aborts what the first has open.
	second := transactional(ctx, "owner")
	defer second.Close()
	Ok(second.BeginTransaction())
	produce(second, "owned", 1, "of the second")
	var fenced kafka.Error
	That(errors.As(first.CommitTransaction(ctx), &fenced) && fenced.IsFatal(), fenced)
	Equal(fenced.Code(), kafka.ErrFenced)
	Ok(second.CommitTransaction(ctx))
	both("owned", []string{"of the second"}, []string{"of the first", "of the second"})
}

// A member of a group, how many partitions it has, and what it has read.
type member struct {
	*kafka.Consumer
	partitions int
	read       []string
}

func join(topic, strategy string) *member {
	joined := &member{Consumer: consumer("sharers", kafka.ConfigMap{
		"heartbeat.interval.ms": 100, "session.timeout.ms": 6_000, "partition.assignment.strategy": strategy,
	})}
	Ok(joined.Subscribe(topic, func(_ *kafka.Consumer, event kafka.Event) error {
		switch event := event.(type) {
		case kafka.AssignedPartitions:
			joined.partitions += len(event.Partitions)
		case kafka.RevokedPartitions:
			joined.commit()
			joined.partitions -= len(event.Partitions)
		}
		return nil
	}))
	return joined
}

func (member *member) commit() {
	_, err := member.Commit()
	var failed kafka.Error
	// All that it has read may be committed already.
	That(err == nil || errors.As(err, &failed) && failed.Code() == kafka.ErrNoOffset, err)
}

func (member *member) poll() {
	switch event := member.Poll(pollMs).(type) {
	case *kafka.Message:
		Ok(event.TopicPartition.Error)
		member.read = append(member.read, string(event.Value))
	case kafka.Error:
		panic(event)
	}
}

// Two members share six partitions while the second comes and goes, and miss and double nothing.
func group(ctx context.Context) {
	for _, strategy := range []string{"range", "cooperative-sticky"} {
		share(ctx, strategy)
	}
}

func share(ctx context.Context, topic string) {
	create(ctx, topic, 6)
	writer, expected := producer(kafka.ConfigMap{}), []string{}
	defer writer.Close()
	write := func(name string) {
		new := values(name, 60)
		produce(writer, topic, 6, new...)
		expected = append(expected, new...)
	}
	first, second := join(topic, topic), &member{}
	settle := func(each int, members ...*member) {
		Until(func() bool {
			for _, one := range members {
				one.poll()
			}
			settled := !slices.ContainsFunc(members, func(one *member) bool { return one.partitions != each })
			return settled && len(first.read)+len(second.read) >= len(expected)
		}, fmt.Sprintf("%d partitions each", each))
	}
	write("alone")
	settle(6, first)
	second = join(topic, topic)
	settle(3, first, second)
	write("together")
	settle(3, first, second)
	Ok(second.Close())
	settle(6, first)
	write("alone again")
	settle(6, first)
	Ok(first.Close())
	read := append(first.read, second.read...)
	slices.Sort(read)
	slices.Sort(expected)
	Equal(read, expected)
}

// It reads in a group, and commits what it has read with what it has written.
func copiesExactlyOnce(ctx context.Context) {
	create(ctx, "original", 2)
	create(ctx, "copy", 1)
	source, originals := producer(kafka.ConfigMap{}), values("original", 40)
	produce(source, "original", 2, originals...)
	source.Close()
	writer := transactional(ctx, "copier")
	defer writer.Close()
	reader := consumer("copiers", kafka.ConfigMap{"isolation.level": "read_committed"})
	defer reader.Close()
	Ok(reader.Subscribe("original", nil))
	copyThem := func(count int) {
		Ok(writer.BeginTransaction())
		for done := 0; done < count; {
			if message, is := reader.Poll(pollMs).(*kafka.Message); is {
				produce(writer, "copy", 1, string(message.Value))
				done++
			}
		}
		read := Must(reader.Position(Must(reader.Assignment())))
		Ok(writer.SendOffsetsToTransaction(ctx, read, Must(reader.GetConsumerGroupMetadata())))
	}
	copyThem(15)
	Ok(writer.CommitTransaction(ctx))
	copyThem(10)
	Ok(writer.AbortTransaction(ctx))
	for _, place := range Must(reader.Committed(Must(reader.Assignment()), 30_000)) {
		if place.Offset < 0 {
			place.Offset = kafka.OffsetBeginning
		}
		Ok(reader.Seek(place, 30_000))
	}
	copyThem(25)
	Ok(writer.CommitTransaction(ctx))
	copies := readAll("copy", "read_committed")
	slices.Sort(copies)
	slices.Sort(originals)
	Equal(copies, originals)
	Equal(len(readAll("copy", "read_uncommitted")), 50)
}

func administers(ctx context.Context) {
	administrator, name := admin(), "new"
	defer administrator.Close()
	specification := kafka.TopicSpecification{
		Topic: name, NumPartitions: 2, ReplicationFactor: 1, Config: map[string]string{"retention.ms": "7000"},
	}
	only(administrator.CreateTopics(ctx, []kafka.TopicSpecification{specification}))
	again := Must(administrator.CreateTopics(ctx, []kafka.TopicSpecification{specification}))
	Equal(again[0].Error.Code(), kafka.ErrTopicAlreadyExists)
	only(administrator.CreatePartitions(ctx, []kafka.PartitionsSpecification{{Topic: name, IncreaseTo: 3}}))
	topics := Must(administrator.GetMetadata(nil, true, 30_000)).Topics
	Equal([]int{len(topics), len(topics[name].Partitions)}, []int{1, 3})
	resource := kafka.ConfigResource{Type: kafka.ResourceTopic, Name: name}
	setting := func(key string) string {
		return Must(administrator.DescribeConfigs(ctx, []kafka.ConfigResource{resource}))[0].Config[key].Value
	}
	Equal(setting("retention.ms"), "7000")
	change := resource
	change.Config = kafka.StringMapToConfigEntries(map[string]string{"segment.ms": "9000"}, kafka.AlterOperationSet)
	Must(administrator.AlterConfigs(ctx, []kafka.ConfigResource{change}))
	Equal(setting("segment.ms"), "9000")
	only(administrator.DeleteTopics(ctx, []string{name}))
	Equal(len(Must(administrator.GetMetadata(nil, true, 30_000)).Topics), 0)
}
