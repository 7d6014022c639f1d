// Share consumers of Kafka's own Java client, driven line by line.
//   java Shares     reads one JSON array of words a line, and answers each by one line of JSON

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicIdPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

public final class Shares {
    static final ObjectMapper JSON = new ObjectMapper();

    /** One consumer, what it has got, and what has become of its acknowledgements. */
    static final class Consumer {
        final KafkaShareConsumer<String, String> consumer;
        final Map<Long, ConsumerRecord<String, String>> records = new HashMap<>();
        final List<String> failures = new ArrayList<>();

        Consumer(List<String> words) {
            Map<String, Object> configs = new HashMap<>();
            configs.put("bootstrap.servers", words.get(5));
            configs.put("group.id", words.get(2));
            configs.put("share.acknowledgement.mode", words.get(4));
            for (String setting : words.subList(6, words.size())) {
                configs.put(setting.split("=")[0], setting.split("=")[1]);
            }
            consumer = new KafkaShareConsumer<>(configs, new StringDeserializer(), new StringDeserializer());
            consumer.setAcknowledgementCommitCallback((offsets, error) -> {
                if (error != null) failures.add(error.getClass().getSimpleName());
            });
            consumer.subscribe(List.of(words.get(3).split(",")));
        }
    }

    public static void main(String[] args) throws Exception {
        Map<String, Consumer> consumers = new HashMap<>();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            List<String> words = List.of(JSON.readValue(line, String[].class));
            Object answer;
            try {
                answer = answer(consumers, words);
            } catch (KafkaException | IllegalStateException error) {
                answer = Map.of("error", error.getClass().getSimpleName(), "message", String.valueOf(error.getMessage()));
            }
            System.out.println(JSON.writeValueAsString(answer));
            System.out.flush();
        }
        System.exit(0);
    }

    static Object answer(Map<String, Consumer> consumers, List<String> words) {
        String name = words.get(1);
        if (words.get(0).equals("open")) {
            consumers.put(name, new Consumer(words));
            return Map.of();
        }
        Consumer one = consumers.get(name);
        switch (words.get(0)) {
            case "poll":
                return poll(one, Long.parseLong(words.get(2)));
            case "acknowledge":
                one.consumer.acknowledge(
                        one.records.get(Long.parseLong(words.get(2))), AcknowledgeType.valueOf(words.get(3)));
                return Map.of();
            case "commit":
                Map<String, Object> results = new LinkedHashMap<>();
                for (Map.Entry<TopicIdPartition, Optional<KafkaException>> each : one.consumer.commitSync().entrySet()) {
                    results.put(
                            each.getKey().topic(), each.getValue().map(error -> error.getClass().getSimpleName()).orElse(""));
                }
                return results;
            case "lock":
                return Map.of("ms", one.consumer.acquisitionLockTimeoutMs().orElse(-1));
            case "failures":
                return one.failures;
            case "close":
                one.consumer.close(Duration.ofSeconds(5));
                return Map.of();
            default:
                throw new IllegalStateException("no such word: " + words.get(0));
        }
    }

    /** Poll until something comes, or the time is over. */
    static Object poll(Consumer one, long ms) {
        List<Object> found = new ArrayList<>();
        long end = System.nanoTime() + ms * 1_000_000;
        do {
            for (ConsumerRecord<String, String> record : one.consumer.poll(Duration.ofMillis(Math.min(ms, 100)))) {
                one.records.put(record.offset(), record);
                found.add(List.of(
                        record.partition(), record.offset(), record.value(), (int) record.deliveryCount().orElse((short) 0)));
            }
        } while (found.isEmpty() && System.nanoTime() < end);
        return found;
    }
}
