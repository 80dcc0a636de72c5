// What franz-go is to find when it talks to the broker.
//
// Usage: franz CHECK ADDRESS. Panics when something is not as it should be.
package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	. "kafka_clients/check"
)

const (
	committed   = true
	uncommitted = false
)

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

func client(options ...kgo.Opt) *kgo.Client {
	return Must(kgo.NewClient(append(options, kgo.SeedBrokers(Address))...))
}

func admin() *kadm.Client {
	return kadm.NewClient(client())
}

func create(ctx context.Context, topic string, partitions int32) {
	Must(admin().CreateTopic(ctx, partitions, 1, nil, topic))
}

func producer(id string, options ...kgo.Opt) *kgo.Client {
	return client(append(options, kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
}

func produce(ctx context.Context, by *kgo.Client, topic string, values ...string) {
	for _, value := range values {
		Ok(by.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr())
	}
}

// Every value of a topic up to the end of what may be read.
func readAll(ctx context.Context, topic string, isolation bool) []string {
	list, level := admin().ListEndOffsets, kgo.ReadUncommitted()
	if isolation == committed {
		list, level = admin().ListCommittedOffsets, kgo.ReadCommitted()
	}
	left := map[int32]int64{}
	for partition, end := range Must(list(ctx, topic))[topic] {
		Ok(end.Err)
		if end.Offset > 0 {
			left[partition] = end.Offset
		}
	}
	// With the control records, something stands at the end of each partition.
	reader := client(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(level), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer reader.Close()
	values := []string{}
	for len(left) > 0 {
		fetches := reader.PollFetches(ctx)
		Ok(fetches.Err())
		fetches.EachRecord(func(record *kgo.Record) {
			if !record.Attrs.IsControl() {
				values = append(values, string(record.Value))
			}
			if record.Offset+1 >= left[record.Partition] {
				delete(left, record.Partition)
			}
		})
	}
	return values
}

func both(ctx context.Context, topic string, ofCommitted, all []string) {
	Equal(readAll(ctx, topic, committed), ofCommitted)
	Equal(readAll(ctx, topic, uncommitted), all)
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
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	for name, codec := range codecs {
		create(ctx, name, 1)
		writer, sent := client(kgo.ProducerBatchCompression(codec)), values(name, 2_000)
		for _, value := range sent {
			writer.Produce(ctx, &kgo.Record{Topic: name, Value: []byte(value)}, nil)
		}
		Ok(writer.Flush(ctx))
		writer.Close()
		Equal(readAll(ctx, name, committed), sent)
	}
}

func transactions(ctx context.Context) {
	create(ctx, "money", 1)
	writer := producer("bank")
	defer writer.Close()
	Ok(writer.BeginTransaction())
	produce(ctx, writer, "money", "a", "b")
	// What is open is not for those who want what is committed.
	both(ctx, "money", []string{}, []string{"a", "b"})
	Ok(writer.EndTransaction(ctx, kgo.TryCommit))
	Ok(writer.BeginTransaction())
	produce(ctx, writer, "money", "c")
	Ok(writer.EndTransaction(ctx, kgo.TryAbort))
	both(ctx, "money", []string{"a", "b"}, []string{"a", "b", "c"})
	// An empty transaction stands in nobody's way.
	Ok(writer.BeginTransaction())
	Ok(writer.EndTransaction(ctx, kgo.TryCommit))
	Ok(writer.BeginTransaction())
	produce(ctx, writer, "money", "d")
	Ok(writer.EndTransaction(ctx, kgo.TryCommit))
	both(ctx, "money", []string{"a", "b", "d"}, []string{"a", "b", "c", "d"})
}

func fencing(ctx context.Context) {
	create(ctx, "owned", 1)
	first, second := producer("owner"), producer("owner")
	defer first.Close()
	defer second.Close()
	Ok(first.BeginTransaction())
	produce(ctx, first, "owned", "of the first")
	// The second one's coming aborts what the first has open.
	Ok(second.BeginTransaction())
	produce(ctx, second, "owned", "of the second")
	late := first.ProduceSync(ctx, &kgo.Record{Topic: "owned", Value: []byte("too late")}).FirstErr()
	Fails(late, kerr.InvalidProducerEpoch, kerr.ProducerFenced)
	// It knows by now that there is nothing to commit.
	Fails(first.EndTransaction(ctx, kgo.TryCommit), kerr.OperationNotAttempted)
	Ok(second.EndTransaction(ctx, kgo.TryCommit))
	both(ctx, "owned", []string{"of the second"}, []string{"of the first", "of the second"})
}

// A member of a group, and how many partitions it has.
type member struct {
	*kgo.Client
	partitions int
}

func join(topic string) *member {
	joined := &member{}
	gain := func(_ context.Context, _ *kgo.Client, gained map[string][]int32) {
		joined.partitions += len(gained[topic])
	}
	lose := func(ctx context.Context, by *kgo.Client, lost map[string][]int32) {
		Ok(by.CommitUncommittedOffsets(ctx))
		joined.partitions -= len(lost[topic])
	}
	joined.Client = client(kgo.ConsumerGroup("sharers"), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.HeartbeatInterval(100*time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		// So nothing changes but between polls.
		kgo.BlockRebalanceOnPoll(), kgo.OnPartitionsAssigned(gain), kgo.OnPartitionsRevoked(lose))
	return joined
}

// Two members share six partitions while the second comes and goes, and miss and double nothing.
func group(ctx context.Context) {
	create(ctx, "shared", 6)
	writer := client(kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ProducerLinger(0))
	defer writer.Close()
	expected, read := []string{}, []string{}
	write := func(name string) {
		new := values(name, 60)
		produce(ctx, writer, "shared", new...)
		expected = append(expected, new...)
	}
	settle := func(each int, members ...*member) {
		Until(func() bool {
			settled := true
			for _, one := range members {
				wait, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
				one.PollFetches(wait).EachRecord(func(record *kgo.Record) {
					read = append(read, string(record.Value))
				})
				cancel()
				settled = settled && one.partitions == each
				one.AllowRebalance()
			}
			return settled && len(read) >= len(expected)
		}, fmt.Sprintf("%d partitions each", each))
	}
	write("alone")
	first := join("shared")
	settle(6, first)
	second := join("shared")
	settle(3, first, second)
	described := Must(admin().DescribeGroups(ctx, "sharers"))["sharers"]
	Equal([]any{described.State, described.Protocol, len(described.Members)},
		[]any{"Stable", "cooperative-sticky", 2})
	write("together")
	settle(3, first, second)
	second.CloseAllowingRebalance()
	settle(6, first)
	write("alone again")
	settle(6, first)
	first.CloseAllowingRebalance()
	slices.Sort(expected)
	slices.Sort(read)
	Equal(read, expected)
	lags := Must(admin().Lag(ctx, "sharers"))["sharers"]
	Equal([]any{lags.State, lags.Lag.Total()}, []any{"Empty", int64(0)})
}

// It reads in a group, and commits what it has read with what it has written.
func copiesExactlyOnce(ctx context.Context) {
	create(ctx, "original", 2)
	create(ctx, "copy", 1)
	writer, originals := client(kgo.RecordPartitioner(kgo.RoundRobinPartitioner())), values("original", 40)
	produce(ctx, writer, "original", originals...)
	writer.Close()
	session := Must(kgo.NewGroupTransactSession(kgo.SeedBrokers(Address), kgo.TransactionalID("copier"),
		kgo.ConsumerGroup("copiers"), kgo.ConsumeTopics("original"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted())))
	copied := 0
	for round := 0; copied < len(originals); round++ {
		records := session.PollRecords(ctx, 7).Records()
		Ok(session.Begin())
		for _, record := range records {
			Ok(session.ProduceSync(ctx, &kgo.Record{Topic: "copy", Value: record.Value}).FirstErr())
		}
		// Every second one is aborted, and its records come again.
		if Must(session.End(ctx, kgo.TransactionEndTry(round%2 == 1))) {
			copied += len(records)
		}
	}
	session.Close()
	copies := readAll(ctx, "copy", committed)
	slices.Sort(copies)
	slices.Sort(originals)
	Equal(copies, originals)
	That(len(readAll(ctx, "copy", uncommitted)) > len(originals), "nothing was aborted")
	total := int64(0)
	Must(admin().FetchOffsets(ctx, "copiers")).Each(func(offset kadm.OffsetResponse) { total += offset.At })
	Equal(total, int64(len(originals)))
}

func administers(ctx context.Context) {
	administrator := admin()
	name, retention := "new", "7000"
	Must(administrator.CreateTopic(ctx, 2, 1, map[string]*string{"retention.ms": &retention}, name))
	_, err := administrator.CreateTopic(ctx, 2, 1, nil, name)
	Fails(err, kerr.TopicAlreadyExists)
	Ok(Must(administrator.CreatePartitions(ctx, 1, name)).Error())
	topics := Must(administrator.ListTopics(ctx))
	Equal([]any{topics.Names(), len(topics[name].Partitions)}, []any{[]string{name}, 3})
	config := Must(Must(administrator.DescribeTopicConfigs(ctx, name)).On(name, nil))
	found := slices.IndexFunc(config.Configs, func(one kadm.Config) bool { return one.Key == "retention.ms" })
	Equal(config.Configs[found].MaybeValue(), retention)

	writer := client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	produce(ctx, writer, name, "a", "b", "c")
	writer.Close()
	Ok(Must(administrator.DeleteRecords(ctx, kadm.Offsets{name: {0: {Topic: name, At: 2}}})).Error())
	starts, ends := Must(administrator.ListStartOffsets(ctx, name)), Must(administrator.ListEndOffsets(ctx, name))
	Equal([]int64{starts[name][0].Offset, ends[name][0].Offset}, []int64{2, 3})

	Ok(administrator.CommitAllOffsets(ctx, "readers", kadm.Offsets{name: {0: {Topic: name, At: 3, LeaderEpoch: -1}}}))
	Equal(Must(administrator.ListGroups(ctx)).Groups(), []string{"readers"})
	described := Must(administrator.DescribeGroups(ctx, "readers", "nobody"))
	Equal([]string{described["readers"].State, described["nobody"].State}, []string{"Empty", "Dead"})
	Ok(Must(administrator.DeleteGroups(ctx, "readers")).Error())
	Equal(Must(administrator.ListGroups(ctx)).Groups(), []string{})

	Ok(Must(administrator.DeleteTopics(ctx, name)).Error())
	// A client remembers topics for a while.
	Equal(Must(admin().ListTopics(ctx)).Names(), []string{})
	Fails(Must(administrator.DeleteTopics(ctx, name)).Error(), kerr.UnknownTopicOrPartition)
}
