// The scenarios of tests/kafka/foreign/contract.py with franz-go, unmodified.
//
//	client BOOTSTRAP PREFIX SCENARIO...     prints one JSON object a line
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var bootstrap, prefix, scenario string

type fields map[string]any

func main() {
	bootstrap, prefix = os.Args[1], os.Args[2]
	scenarios := map[string]func(context.Context){
		"produce": produce, "consume": consume, "group": classicGroup, "new_group": newGroup,
		"transactions": transactions, "exactly_once": exactlyOnce, "fencing": fencing, "admin": administer,
	}
	for _, name := range os.Args[3:] {
		scenario = name
		run(scenarios[name])
	}
}

func run(scenario func(context.Context)) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	defer func() {
		if failure := recover(); failure != nil {
			say("error", fields{"message": fmt.Sprint(failure)})
		}
	}()
	scenario(ctx)
	say("end", nil)
}

// --- scenarios ---

func produce(ctx context.Context) {
	topic := create(ctx, "produce", 2, nil)
	codecs := []struct {
		name  string
		codec kgo.CompressionCodec
	}{
		{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()},
		{"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()},
	}
	for _, one := range codecs {
		client := connect(kgo.ProducerBatchCompression(one.codec), kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.ProducerLinger(20*time.Millisecond))
		var records []*kgo.Record
		for i := range 20 {
			record := &kgo.Record{Topic: topic, Partition: int32(i % 2), Timestamp: time.UnixMilli(1700000000000 + int64(i)),
				Headers: []kgo.RecordHeader{{Key: "n", Value: fmt.Append(nil, i)}, {Key: "empty", Value: []byte{}}}}
			if i%7 != 6 {
				record.Key = fmt.Append(nil, "k", i%5)
			}
			if i%10 != 9 {
				record.Value = fmt.Append(nil, one.name, "-", i)
			}
			records = append(records, record)
		}
		must(client.ProduceSync(ctx, records...).FirstErr())
		places := [][2]int64{}
		for _, record := range records {
			places = append(places, [2]int64{int64(record.Partition), record.Offset})
		}
		say("produced", fields{"compression": one.name, "places": places})
		client.Close()
	}
}

func consume(ctx context.Context) {
	for _, name := range []string{"consume", "produce"} {
		topic := prefix + "." + name
		client := connect(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
		must(err)
		want := int64(0)
		ends.Each(func(end kadm.ListedOffset) { want += end.Offset })
		for _, record := range take(ctx, client, int(want)) {
			sayRecord(record)
		}
		client.Close()
	}
}

func classicGroup(ctx context.Context) { group(ctx, context.Background()) }

func newGroup(ctx context.Context) {
	// The word with which franz-go takes part in KIP-848.
	group(ctx, context.WithValue(context.Background(), "opt_in_kafka_next_gen_balancer_beta", true)) //nolint:staticcheck
}

func group(ctx, inner context.Context) {
	topic := create(ctx, scenario, 4, nil)
	members := make([]*kgo.Client, 2)
	owned := make([]map[int32]bool, 2)
	var lock sync.Mutex
	join := func(number int) {
		owned[number] = map[int32]bool{}
		change := func(isOurs bool) func(context.Context, *kgo.Client, map[string][]int32) {
			return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
				lock.Lock()
				defer lock.Unlock()
				for _, partition := range partitions[topic] {
					if isOurs {
						owned[number][partition] = true
					} else {
						delete(owned[number], partition)
					}
				}
			}
		}
		members[number] = connect(kgo.ConsumerGroup(topic), kgo.ConsumeTopics(topic), kgo.WithContext(inner),
			kgo.HeartbeatInterval(200*time.Millisecond), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.OnPartitionsAssigned(change(true)), kgo.OnPartitionsRevoked(change(false)), kgo.OnPartitionsLost(change(false)))
	}
	poll := func(number int) []*kgo.Record {
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		return members[number].PollFetches(short).Records()
	}
	has := func(number int) int {
		lock.Lock()
		defer lock.Unlock()
		return len(owned[number])
	}
	join(0)
	until(ctx, func() bool { poll(0); return has(0) == 4 })
	join(1)
	until(ctx, func() bool { poll(0); poll(1); return has(0) == 2 && has(1) == 2 })
	say("assigned", fields{"members": [][]int32{sorted(owned[0]), sorted(owned[1])}, "revoked": true})

	// franz-go takes the classic protocol where a broker has no other: say which one it is.
	admin := kadm.NewClient(connect())
	listed, err := admin.ListGroups(ctx)
	must(err)
	admin.Close()
	say("protocol", fields{"name": strings.ToLower(listed[topic].GroupType)})

	producer := connect(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for i := range 40 {
		record := &kgo.Record{Topic: topic, Partition: int32(i % 4), Value: fmt.Append(nil, "v", i)}
		must(producer.ProduceSync(ctx, record).FirstErr())
	}
	producer.Close()
	var seen []*kgo.Record
	until(ctx, func() bool { seen = append(append(seen, poll(0)...), poll(1)...); return len(seen) >= 40 })
	for _, member := range members {
		must(member.CommitUncommittedOffsets(ctx))
	}
	for _, member := range members {
		member.LeaveGroup()
		member.Close()
	}
	for _, record := range seen {
		sayRecord(record)
	}
}

func transactions(ctx context.Context) {
	topic := create(ctx, "transactions", 1, nil)
	producer := connect(kgo.TransactionalID(prefix+".transactions"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for _, name := range []string{"a", "b", "c"} {
		must(producer.BeginTransaction())
		for i := range 3 {
			must(producer.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: fmt.Append(nil, name, i)}).FirstErr())
		}
		must(producer.EndTransaction(ctx, kgo.TransactionEndTry(name != "b")))
	}
	producer.Close()
	readBoth(ctx, topic, 6, 9)
}

func exactlyOnce(ctx context.Context) {
	in, out := prefix+".in", create(ctx, "out", 1, nil)
	session, err := kgo.NewGroupTransactSession(append(common(), kgo.TransactionalID(prefix+".exactly_once"),
		kgo.ConsumerGroup(prefix+".exactly_once"), kgo.ConsumeTopics(in), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RequireStableFetchOffsets(),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	must(err)
	defer session.Close()
	admin := kadm.NewClient(connect())
	defer admin.Close()
	for part := range 3 { // the second one is aborted, and the third does its work again
		must(session.Begin())
		var records []*kgo.Record
		until(ctx, func() bool {
			records = append(records, session.Client().PollRecords(ctx, 5-len(records)).Records()...)
			return len(records) == 5
		})
		for _, record := range records {
			value := []byte(strings.ToUpper(string(record.Value)))
			must(session.Client().ProduceSync(ctx, &kgo.Record{Topic: out, Value: value}).FirstErr())
		}
		isCommitted, err := session.End(ctx, kgo.TransactionEndTry(part != 1))
		must(err)
		if isCommitted != (part != 1) {
			panic("the session chose another end")
		}
		offsets, err := admin.FetchOffsets(ctx, prefix+".exactly_once")
		must(err)
		offset, _ := offsets.Lookup(in, 0)
		say("committed", fields{"offset": offset.At})
	}
	readBoth(ctx, out, 10, 15)
}

func fencing(ctx context.Context) {
	topic := create(ctx, "fencing", 1, nil)
	begin := func(value string) *kgo.Client {
		producer := connect(kgo.TransactionalID(prefix+".fencing"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		must(producer.BeginTransaction())
		must(producer.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr())
		return producer
	}
	old := begin("old")
	young := begin("young") // ends the transaction of the old one
	must(young.EndTransaction(ctx, kgo.TryCommit))
	err := old.EndTransaction(ctx, kgo.TryCommit)
	var refused *kerr.Error
	if errors.As(err, &refused) {
		say("fenced", fields{"error": refused.Message})
	} else {
		say("fenced", fields{"error": fmt.Sprint(err)})
	}
	old.Close()
	young.Close()
	readBoth(ctx, topic, 1, 2)
}

func administer(ctx context.Context) {
	retention, policy := "360000000000", "delete"
	topic := create(ctx, "admin", 3, map[string]*string{"retention.ms": &retention, "cleanup.policy": &policy})
	client := connect(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer client.Close()
	admin := kadm.NewClient(client)
	cluster, err := admin.BrokerMetadata(ctx)
	must(err)
	say("cluster", fields{"nodes": len(cluster.Brokers)})
	isListed := func() bool {
		topics, err := admin.ListTopics(ctx)
		must(err)
		return topics.Has(topic)
	}
	describe := func() kadm.TopicDetail {
		topics, err := admin.ListTopics(ctx, topic)
		must(err)
		return topics[topic]
	}
	say("listed", fields{"is_there": isListed()})
	say("refused", fields{"code": createCode(ctx, admin, topic)})
	say("invalid_name", fields{"code": createCode(ctx, admin, prefix+".a/b")})
	unknown, err := admin.ListTopics(ctx, prefix+".nowhere")
	must(err)
	say("unknown", fields{"code": code(unknown[prefix+".nowhere"].Err)})
	leaders := 0
	for _, partition := range describe().Partitions {
		if partition.Leader >= 0 {
			leaders++
		}
	}
	say("described", fields{"partitions": len(describe().Partitions), "leaders": leaders})
	configs := func() map[string]string {
		described, err := admin.DescribeTopicConfigs(ctx, topic)
		must(err)
		values := map[string]string{}
		for _, config := range described[0].Configs {
			if config.Key == "retention.ms" || config.Key == "cleanup.policy" {
				values[config.Key] = config.MaybeValue()
			}
		}
		return values
	}
	say("configs", fields{"values": configs()})
	longer := "720000000000"
	altered, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &longer}}, topic)
	must(err)
	must(altered[0].Err)
	say("altered", fields{"values": configs()})
	grown, err := admin.UpdatePartitions(ctx, 5, topic)
	must(err)
	must(grown.Error())
	say("grown", fields{"partitions": len(describe().Partitions)})

	for i := range 10 {
		record := &kgo.Record{Topic: topic, Timestamp: time.UnixMilli(1700000000000 + 1000*int64(i)), Value: fmt.Append(nil, "v", i)}
		must(client.ProduceSync(ctx, record).FirstErr())
	}
	first := func(offsets kadm.ListedOffsets, err error) int64 {
		must(err)
		offset, _ := offsets.Lookup(topic, 0)
		must(offset.Err)
		return offset.Offset
	}
	say("offsets", fields{"earliest": first(admin.ListStartOffsets(ctx, topic)), "latest": first(admin.ListEndOffsets(ctx, topic)),
		"by_time": first(admin.ListOffsetsAfterMilli(ctx, 1700000002500, topic))})
	shorter := kadm.Offsets{}
	shorter.AddOffset(topic, 0, 4, -1)
	_, err = admin.DeleteRecords(ctx, shorter)
	must(err)
	say("shortened", fields{"earliest": first(admin.ListStartOffsets(ctx, topic))})

	name := prefix + ".admin"
	commit := func(at int64) {
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: at, LeaderEpoch: -1, Metadata: "note"})
		must(admin.CommitAllOffsets(ctx, name, offsets))
	}
	isGroup := func() bool {
		groups, err := admin.ListGroups(ctx)
		must(err)
		return slices.Contains(groups.Groups(), name)
	}
	commit(7)
	fetched, err := admin.FetchOffsets(ctx, name)
	must(err)
	offset, _ := fetched.Lookup(topic, 0)
	say("group_offsets", fields{"offset": offset.At, "metadata": offset.Metadata})
	say("group_listed", fields{"is_there": isGroup()})
	groups, err := admin.DescribeGroups(ctx, name)
	must(err)
	say("group_described", fields{"state": groups[name].State})
	deleted := kadm.TopicsSet{}
	deleted.Add(topic, 0)
	_, err = admin.DeleteOffsets(ctx, name, deleted)
	must(err)
	fetched, err = admin.FetchOffsets(ctx, name)
	must(err)
	say("offset_deleted", fields{"left": len(fetched)})
	commit(8)
	_, err = admin.DeleteGroup(ctx, name)
	must(err)
	say("group_deleted", fields{"is_there": isGroup()})
	dirs, err := admin.DescribeAllLogDirs(ctx, nil)
	must(err)
	say("log_dirs", fields{"count": len(dirs)})
	_, err = admin.DeleteTopic(ctx, topic)
	must(err)
	until(ctx, func() bool { return !isListed() })
	say("deleted", fields{"is_there": false})
}

// --- what they use ---

func readBoth(ctx context.Context, topic string, committed, all int) {
	read := func(name string, level kgo.IsolationLevel, count int) {
		client := connect(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(level))
		defer client.Close()
		values := []string{}
		for _, record := range take(ctx, client, count) {
			values = append(values, string(record.Value))
		}
		say("read", fields{"isolation": name, "values": values})
	}
	read("read_committed", kgo.ReadCommitted(), committed)
	read("read_uncommitted", kgo.ReadUncommitted(), all)
}

func common() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(bootstrap), kgo.RetryTimeout(15 * time.Second)}
}

func connect(options ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append(common(), options...)...)
	must(err)
	return client
}

func create(ctx context.Context, name string, partitions int32, configs map[string]*string) string {
	admin := kadm.NewClient(connect())
	defer admin.Close()
	topic := prefix + "." + name
	_, err := admin.CreateTopic(ctx, partitions, 1, configs, topic)
	must(err)
	return topic
}

func createCode(ctx context.Context, admin *kadm.Client, topic string) int16 {
	_, err := admin.CreateTopic(ctx, 1, 1, nil, topic)
	return code(err)
}

func code(err error) int16 {
	var refused *kerr.Error
	if errors.As(err, &refused) {
		return refused.Code
	}
	must(err)
	return 0
}

func take(ctx context.Context, client *kgo.Client, count int) []*kgo.Record {
	var records []*kgo.Record
	for len(records) < count {
		fetches := client.PollFetches(ctx)
		must(fetches.Err())
		records = append(records, fetches.Records()...)
	}
	return records
}

func until(ctx context.Context, isDone func() bool) {
	end := time.Now().Add(20 * time.Second)
	for !isDone() {
		must(ctx.Err())
		if time.Now().After(end) {
			panic("waited 20 s")
		}
	}
}

func sorted(partitions map[int32]bool) []int32 {
	numbers := []int32{}
	for partition := range partitions {
		numbers = append(numbers, partition)
	}
	slices.Sort(numbers)
	return numbers
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func text(data []byte) any {
	if data == nil {
		return nil
	}
	return string(data)
}

func sayRecord(record *kgo.Record) {
	headers := [][2]any{}
	for _, header := range record.Headers {
		headers = append(headers, [2]any{header.Key, text(header.Value)})
	}
	say("record", fields{"topic": record.Topic, "partition": record.Partition, "offset": record.Offset,
		"timestamp": record.Timestamp.UnixMilli(), "key": text(record.Key), "value": text(record.Value), "headers": headers})
}

func say(event string, more fields) {
	line := fields{"scenario": scenario, "event": event}
	for name, value := range more {
		line[name] = value
	}
	data, err := json.Marshal(line)
	must(err)
	fmt.Println(string(data))
}
