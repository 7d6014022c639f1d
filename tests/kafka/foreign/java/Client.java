// The scenarios of tests/kafka/foreign/contract.py with Kafka's own Java client, unmodified.
//   java Client BOOTSTRAP PREFIX SCENARIO...     prints one JSON object a line

import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public final class Client {
    static final ObjectMapper JSON = new ObjectMapper();
    static final Duration TICK = Duration.ofMillis(50);
    static String bootstrap;
    static String prefix;
    static String scenario;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        prefix = args[1];
        for (String name : Arrays.copyOfRange(args, 2, args.length)) {
            scenario = name;
            try {
                switch (name) {
                    case "produce" -> produce();
                    case "consume" -> consume();
                    case "group" -> group("classic");
                    case "new_group" -> group("consumer");
                    case "transactions" -> transactions();
                    case "exactly_once" -> exactlyOnce();
                    case "fencing" -> fencing();
                    case "admin" -> admin();
                    default -> throw new IllegalArgumentException(name);
                }
                say("end");
            } catch (Exception error) {
                error.printStackTrace();
                say("error", "message", String.valueOf(error));
            }
        }
        System.exit(0); // threads of a client that failed do not keep us
    }

    // --- scenarios ---

    static void produce() throws Exception {
        String topic = create("produce", 2, Map.of());
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            try (var producer = producer(Map.of("compression.type", codec, "linger.ms", "20"))) {
                List<Future<RecordMetadata>> sent = new ArrayList<>();
                for (int i = 0; i < 20; i++) {
                    var record = new ProducerRecord<>(topic, i % 2, 1700000000000L + i,
                        i % 7 == 6 ? null : bytes("k" + i % 5), i % 10 == 9 ? null : bytes(codec + "-" + i));
                    record.headers().add("n", bytes("" + i)).add("empty", new byte[0]);
                    sent.add(producer.send(record));
                }
                List<List<Long>> places = new ArrayList<>();
                for (var one : sent) places.add(List.of((long) one.get().partition(), one.get().offset()));
                say("produced", "compression", codec, "places", places);
            }
        }
    }

    static void consume() throws Exception {
        for (String name : List.of("consume", "produce")) {
            try (var consumer = consumer(Map.of())) {
                var partitions = List.of(new TopicPartition(prefix + "." + name, 0), new TopicPartition(prefix + "." + name, 1));
                consumer.assign(partitions);
                consumer.seekToBeginning(partitions);
                long want = consumer.endOffsets(partitions).values().stream().mapToLong(Long::longValue).sum();
                for (var record : take(consumer, (int) want)) say(record);
            }
        }
    }

    static void group(String protocol) throws Exception {
        String topic = create(scenario, 4, Map.of());
        Map<String, String> config = new HashMap<>(Map.of(
            "group.id", prefix + "." + scenario, "group.protocol", protocol, "auto.offset.reset", "earliest"));
        if (protocol.equals("classic")) config.put("heartbeat.interval.ms", "200");
        try (var first = consumer(config); var second = consumer(config)) {
            List<Collection<TopicPartition>> lost = new ArrayList<>();
            first.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                public void onPartitionsRevoked(Collection<TopicPartition> partitions) { lost.add(partitions); }
                public void onPartitionsAssigned(Collection<TopicPartition> partitions) { }
            });
            until(() -> { first.poll(TICK); return first.assignment().size() == 4; });
            second.subscribe(List.of(topic));
            until(() -> {
                first.poll(TICK);
                second.poll(TICK);
                return first.assignment().size() == 2 && second.assignment().size() == 2;
            });
            say("assigned", "members", List.of(numbers(first.assignment()), numbers(second.assignment())),
                "revoked", !lost.isEmpty());
            try (var producer = producer(Map.of())) {
                for (int i = 0; i < 40; i++) producer.send(new ProducerRecord<>(topic, i % 4, null, bytes("v" + i)));
            }
            List<ConsumerRecord<byte[], byte[]>> seen = new ArrayList<>();
            until(() -> {
                first.poll(TICK).forEach(seen::add);
                second.poll(TICK).forEach(seen::add);
                return seen.size() >= 40;
            });
            first.commitSync();
            second.commitSync();
            for (var record : seen) say(record);
        }
    }

    static void transactions() throws Exception {
        String topic = create("transactions", 1, Map.of());
        try (var producer = producer(Map.of("transactional.id", prefix + ".transactions"))) {
            producer.initTransactions();
            for (String name : List.of("a", "b", "c")) {
                producer.beginTransaction();
                for (int i = 0; i < 3; i++) producer.send(new ProducerRecord<>(topic, 0, null, bytes(name + i)));
                producer.flush();
                if (name.equals("b")) producer.abortTransaction();
                else producer.commitTransaction();
            }
        }
        readBoth(topic, 6, 9);
    }

    static void exactlyOnce() throws Exception {
        String in = prefix + ".in", out = create("out", 1, Map.of());
        var partition = new TopicPartition(in, 0);
        try (var consumer = consumer(Map.of("group.id", prefix + ".exactly_once", "auto.offset.reset", "earliest",
                 "isolation.level", "read_committed"));
             var producer = producer(Map.of("transactional.id", prefix + ".exactly_once"))) {
            producer.initTransactions();
            consumer.subscribe(List.of(in));
            var records = take(consumer, 10);
            for (int part = 0; part < 3; part++) { // the second one is aborted, and the third does its work again
                int first = part == 0 ? 0 : 5;
                producer.beginTransaction();
                for (var record : records.subList(first, first + 5)) {
                    producer.send(new ProducerRecord<>(out, 0, null, bytes(text(record.value()).toUpperCase())));
                }
                ConsumerGroupMetadata member = consumer.groupMetadata();
                producer.sendOffsetsToTransaction(Map.of(partition, new OffsetAndMetadata(first + 5L)), member);
                producer.flush(); // what an aborted transaction has not sent yet is not sent at all
                if (part == 1) producer.abortTransaction();
                else producer.commitTransaction();
                OffsetAndMetadata committed = consumer.committed(Set.of(partition)).get(partition);
                say("committed", "offset", committed.offset());
            }
        }
        readBoth(out, 10, 15);
    }

    static void fencing() throws Exception {
        String topic = create("fencing", 1, Map.of());
        var config = Map.of("transactional.id", prefix + ".fencing");
        try (var old = producer(config); var young = producer(config)) {
            old.initTransactions();
            old.beginTransaction();
            old.send(new ProducerRecord<>(topic, 0, null, bytes("old"))).get();
            young.initTransactions(); // ends the transaction of the old one
            young.beginTransaction();
            young.send(new ProducerRecord<>(topic, 0, null, bytes("young"))).get();
            young.commitTransaction();
            try {
                old.commitTransaction();
                say("fenced", "error", "none");
            } catch (ApiException error) {
                say("fenced", "error", error.getClass().getSimpleName());
            }
        }
        readBoth(topic, 1, 2);
    }

    static void admin() throws Exception {
        String topic = create("admin", 3, Map.of("retention.ms", "360000000000", "cleanup.policy", "delete"));
        try (var admin = Admin.create(properties(Map.of()))) {
            say("cluster", "nodes", admin.describeCluster().nodes().get().size());
            say("listed", "is_there", admin.listTopics().names().get().contains(topic));
            say("refused", "code", code(() -> create("admin", 3, Map.of())));
            say("invalid_name", "code", code(() -> create("a/b", 1, Map.of())));
            say("unknown", "code", code(() -> admin.describeTopics(List.of(prefix + ".nowhere")).allTopicNames().get()));
            TopicDescription described = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
            say("described", "partitions", described.partitions().size(),
                "leaders", described.partitions().stream().filter(p -> p.leader() != null).count());
            var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            say("configs", "values", configs(admin, resource));
            admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(
                new ConfigEntry("retention.ms", "720000000000"), AlterConfigOp.OpType.SET)))).all().get();
            say("altered", "values", configs(admin, resource));
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
            say("grown", "partitions", admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size());

            var zero = new TopicPartition(topic, 0);
            try (var producer = producer(Map.of())) {
                for (int i = 0; i < 10; i++) {
                    producer.send(new ProducerRecord<>(topic, 0, 1700000000000L + 1000 * i, null, bytes("v" + i))).get();
                }
            }
            say("offsets", "earliest", offset(admin, zero, OffsetSpec.earliest()), "latest", offset(admin, zero, OffsetSpec.latest()),
                "by_time", offset(admin, zero, OffsetSpec.forTimestamp(1700000002500L)));
            admin.deleteRecords(Map.of(zero, RecordsToDelete.beforeOffset(4))).all().get();
            say("shortened", "earliest", offset(admin, zero, OffsetSpec.earliest()));

            String group = prefix + ".admin";
            admin.alterConsumerGroupOffsets(group, Map.of(zero, new OffsetAndMetadata(7, Optional.of(0), "note"))).all().get();
            OffsetAndMetadata stored = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(zero);
            say("group_offsets", "offset", stored.offset(), "metadata", stored.metadata());
            say("group_listed", "is_there", groups(admin).contains(group));
            say("group_described", "state",
                admin.describeConsumerGroups(List.of(group)).all().get().get(group).groupState().toString());
            admin.deleteConsumerGroupOffsets(group, Set.of(zero)).all().get();
            say("offset_deleted", "left", admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().size());
            admin.alterConsumerGroupOffsets(group, Map.of(zero, new OffsetAndMetadata(8))).all().get();
            admin.deleteConsumerGroups(List.of(group)).all().get();
            say("group_deleted", "is_there", groups(admin).contains(group));
            say("log_dirs", "count", admin.describeLogDirs(List.of(nodeOf(admin))).allDescriptions().get().size());

            admin.deleteTopics(List.of(topic)).all().get();
            until(() -> !admin.listTopics().names().get().contains(topic));
            say("deleted", "is_there", false);
        }
    }

    // --- what they use ---

    static void readBoth(String topic, int committed, int all) throws Exception {
        var isolation = new LinkedHashMap<String, Integer>();
        isolation.put("read_committed", committed);
        isolation.put("read_uncommitted", all);
        for (var level : isolation.entrySet()) {
            try (var consumer = consumer(Map.of("isolation.level", level.getKey()))) {
                var partitions = List.of(new TopicPartition(topic, 0));
                consumer.assign(partitions);
                consumer.seekToBeginning(partitions);
                List<String> values = new ArrayList<>();
                for (var record : take(consumer, level.getValue())) values.add(text(record.value()));
                // Behind the last record there may be a marker; the position passes it.
                long end = consumer.endOffsets(partitions).get(partitions.get(0));
                until(() -> {
                    consumer.poll(TICK).forEach(record -> values.add(text(record.value())));
                    return consumer.position(partitions.get(0)) == end;
                });
                say("read", "isolation", level.getKey(), "values", values);
            }
        }
    }

    static String create(String name, int partitions, Map<String, String> configs) throws Exception {
        String topic = prefix + "." + name;
        try (var admin = Admin.create(properties(Map.of()))) {
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all().get();
        }
        return topic;
    }

    static Set<String> groups(Admin admin) throws Exception {
        Set<String> names = new TreeSet<>();
        for (GroupListing group : admin.listGroups().all().get()) names.add(group.groupId());
        return names;
    }

    static int nodeOf(Admin admin) throws Exception {
        return admin.describeCluster().nodes().get().iterator().next().id();
    }

    static Map<String, String> configs(Admin admin, ConfigResource resource) throws Exception {
        Config all = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        Map<String, String> values = new LinkedHashMap<>();
        for (String name : List.of("retention.ms", "cleanup.policy")) values.put(name, all.get(name).value());
        return values;
    }

    static long offset(Admin admin, TopicPartition partition, OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(partition, spec)).all().get().get(partition).offset();
    }

    interface Step<T> { T run() throws Exception; }

    static int code(Step<?> step) throws Exception {
        try {
            step.run();
            return 0;
        } catch (ExecutionException error) {
            return Errors.forException(error.getCause()).code();
        }
    }

    static void until(Step<Boolean> isDone) throws Exception {
        long end = System.nanoTime() + 20_000_000_000L;
        while (!isDone.run()) {
            if (System.nanoTime() > end) throw new IllegalStateException("waited 20 s in " + scenario);
        }
    }

    static List<ConsumerRecord<byte[], byte[]>> take(KafkaConsumer<byte[], byte[]> consumer, int count) throws Exception {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        until(() -> { consumer.poll(TICK).forEach(records::add); return records.size() >= count; });
        return records;
    }

    static Map<String, Object> properties(Map<String, String> config) {
        Map<String, Object> all = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "default.api.timeout.ms", "15000",
            "request.timeout.ms", "10000"));
        all.putAll(config);
        return all;
    }

    static KafkaProducer<byte[], byte[]> producer(Map<String, String> config) {
        var all = properties(config);
        all.remove("default.api.timeout.ms");
        all.put("delivery.timeout.ms", "15000");
        return new KafkaProducer<>(all, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(Map<String, String> config) {
        var all = properties(config);
        all.put("enable.auto.commit", "false");
        return new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static List<Integer> numbers(Collection<TopicPartition> partitions) {
        return partitions.stream().map(TopicPartition::partition).sorted().toList();
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    }

    static void say(ConsumerRecord<byte[], byte[]> record) throws Exception {
        List<List<String>> headers = new ArrayList<>();
        for (Header header : record.headers()) headers.add(Arrays.asList(header.key(), text(header.value())));
        say("record", "topic", record.topic(), "partition", record.partition(), "offset", record.offset(),
            "timestamp", record.timestamp(), "key", text(record.key()), "value", text(record.value()), "headers", headers);
    }

    static void say(String event, Object... fields) throws Exception {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("scenario", scenario);
        line.put("event", event);
        for (int at = 0; at < fields.length; at += 2) line.put((String) fields[at], fields[at + 1]);
        System.out.println(JSON.writeValueAsString(line));
    }
}
