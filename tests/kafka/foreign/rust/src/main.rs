//! The scenarios of tests/kafka/foreign/contract.py with krafka, unmodified.
//!
//!     client BOOTSTRAP PREFIX SCENARIO...     prints one JSON object a line

use std::time::{Duration, Instant};

use krafka::admin::{CreateTopicsOptions, NewTopic};
use krafka::consumer::{AutoOffsetReset, Consumer, GroupProtocol, IsolationLevel};
use krafka::producer::TopicPartitionOffset;
use krafka::{Compression, ConsumerRecord, Kafka, Record};
use serde_json::{json, Value};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

struct Client {
    kafka: Kafka,
    prefix: String,
    scenario: String,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().collect();
    for scenario in &words[3..] {
        let kafka = Kafka::builder(words[1].as_str()).client_id("foreign").connect().await?;
        let client = Client { kafka, prefix: words[2].clone(), scenario: scenario.clone() };
        let outcome = match scenario.as_str() {
            "produce" => client.produce().await,
            "consume" => client.consume().await,
            "new_group" => client.group().await,
            "transactions" => client.transactions().await,
            "exactly_once" => client.exactly_once().await,
            "fencing" => client.fencing().await,
            _ => Err("no such scenario".into()),
        };
        match outcome {
            Ok(()) => client.say("end", json!({})),
            Err(error) => client.say("error", json!({ "message": error.to_string() })),
        }
    }
    Ok(())
}

impl Client {
    async fn produce(&self) -> Outcome<()> {
        let topic = self.create("produce", 2).await?;
        let codecs = [
            ("none", Compression::None),
            ("gzip", Compression::Gzip),
            ("snappy", Compression::Snappy),
            ("lz4", Compression::Lz4),
            ("zstd", Compression::Zstd),
        ];
        for (name, codec) in codecs {
            let producer = self.kafka.producer().compression(codec).linger(Duration::from_millis(20)).build().await?;
            let mut sent = Vec::new();
            for i in 0..20 {
                let mut record = Record::new(topic.as_str(), format!("{name}-{i}"))
                    .partition(i % 2)
                    .timestamp(1_700_000_000_000 + i64::from(i))
                    .header("n", i.to_string())
                    .header("empty", "");
                if i % 7 != 6 {
                    record = record.key(format!("k{}", i % 5));
                }
                if i % 10 == 9 {
                    record = record.without_value();
                }
                sent.push(producer.enqueue(record).await?);
            }
            let mut places = Vec::new();
            for one in sent {
                let place = one.await?;
                places.push(json!([place.partition, place.offset]));
            }
            producer.close().await?;
            self.say("produced", json!({ "compression": name, "places": places }));
        }
        Ok(())
    }

    async fn consume(&self) -> Outcome<()> {
        for name in ["consume", "produce"] {
            let topic = format!("{}.{name}", self.prefix);
            let consumer = self.reader(&topic, vec![0, 1], IsolationLevel::ReadUncommitted).await?;
            let mut want = 0;
            for partition in 0..2 {
                want += consumer.fetch_watermarks(&topic, partition).await?.1;
            }
            for record in take(&consumer, usize::try_from(want)?).await? {
                self.say_record(&record);
            }
            consumer.close().await?;
        }
        Ok(())
    }

    async fn group(&self) -> Outcome<()> {
        let topic = self.create(&self.scenario, 4).await?;
        let tick = Duration::from_millis(50);
        let first = self.member(&topic).await?;
        let end = Instant::now() + Duration::from_secs(30);
        while owned(&first, &topic).await.len() != 4 {
            first.poll(tick).await?;
            in_time(end)?;
        }
        let second = self.member(&topic).await?;
        while owned(&first, &topic).await.len() != 2 || owned(&second, &topic).await.len() != 2 {
            let long = Duration::from_secs(2); // a poll that ends in the middle of a rebalance begins it again
            let (one, two) = tokio::join!(first.poll(long), second.poll(long));
            (one?, two?);
            in_time(end)?;
        }
        self.say("assigned", json!({ "members": [owned(&first, &topic).await, owned(&second, &topic).await] }));
        let producer = self.kafka.producer().build().await?;
        for i in 0..40 {
            let _ = producer.send(Record::new(topic.as_str(), format!("v{i}")).partition(i % 4)).await?;
        }
        producer.close().await?;
        let mut seen = Vec::new();
        while seen.len() < 40 {
            seen.extend(first.poll(tick).await?);
            seen.extend(second.poll(tick).await?);
            in_time(end)?;
        }
        for member in [first, second] {
            member.commit().await?;
            member.close().await?;
        }
        for record in &seen {
            self.say_record(record);
        }
        Ok(())
    }

    async fn transactions(&self) -> Outcome<()> {
        let topic = self.create("transactions", 1).await?;
        let producer = self.kafka.producer().build_transactional(format!("{}.transactions", self.prefix)).await?;
        for name in ["a", "b", "c"] {
            producer.begin()?;
            for i in 0..3 {
                let _ = producer.send(Record::new(topic.as_str(), format!("{name}{i}"))).await?;
            }
            if name == "b" {
                producer.abort().await?;
            } else {
                producer.commit().await?;
            }
        }
        producer.close().await?;
        self.read_both(&topic, 6, 9).await
    }

    async fn exactly_once(&self) -> Outcome<()> {
        let (input, group) = (format!("{}.in", self.prefix), format!("{}.exactly_once", self.prefix));
        let topic = self.create("out", 1).await?;
        let consumer = self
            .kafka
            .consumer(group.as_str())
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .isolation_level(IsolationLevel::ReadCommitted)
            .enable_auto_commit(false)
            .build()
            .await?;
        consumer.subscribe([input.as_str()]).await?;
        let records = take(&consumer, 10).await?;
        let producer = self.kafka.producer().build_transactional(group.as_str()).await?;
        for part in 0..3 {
            // the second one is aborted, and the third does its work again
            let at = if part == 0 { 0 } else { 5 };
            producer.begin()?;
            for record in &records[at..at + 5] {
                let value = text(record.value.as_deref()).unwrap_or_default().to_uppercase();
                let _ = producer.send(Record::new(topic.as_str(), value)).await?;
            }
            let member = consumer.group_metadata().await.ok_or("not a member")?;
            let next = TopicPartitionOffset::new(input.as_str(), 0, i64::try_from(at)? + 5);
            producer.send_offsets(&[next], &member).await?;
            if part == 1 {
                producer.abort().await?;
            } else {
                producer.commit().await?;
            }
            let committed = consumer.committed(&[(input.as_str(), 0)]).await?;
            let place = committed.get(&(input.clone(), 0)).ok_or("no committed offset")?;
            self.say("committed", json!({ "offset": place.offset }));
        }
        producer.close().await?;
        consumer.close().await?;
        self.read_both(&topic, 10, 15).await
    }

    async fn fencing(&self) -> Outcome<()> {
        let topic = self.create("fencing", 1).await?;
        let name = format!("{}.fencing", self.prefix);
        let old = self.kafka.producer().build_transactional(name.as_str()).await?;
        old.begin()?;
        let _ = old.send(Record::new(topic.as_str(), "old")).await?;
        let young = self.kafka.producer().build_transactional(name.as_str()).await?;
        young.begin()?; // the transaction of the old one has ended
        let _ = young.send(Record::new(topic.as_str(), "young")).await?;
        young.commit().await?;
        let error = match old.commit().await {
            Ok(()) => "none".to_string(),
            Err(error) => format!("{error:?}").split(['(', ' ', '{']).next().unwrap_or_default().to_string(),
        };
        self.say("fenced", json!({ "error": error }));
        self.read_both(&topic, 1, 2).await
    }

    // --- what they use ---

    async fn read_both(&self, topic: &str, committed: usize, all: usize) -> Outcome<()> {
        let levels = [
            ("read_committed", IsolationLevel::ReadCommitted, committed),
            ("read_uncommitted", IsolationLevel::ReadUncommitted, all),
        ];
        for (isolation, level, count) in levels {
            let consumer = self.reader(topic, vec![0], level).await?;
            let records = take(&consumer, count).await?;
            let values: Vec<_> = records.iter().map(|record| text(record.value.as_deref())).collect();
            consumer.close().await?;
            self.say("read", json!({ "isolation": isolation, "values": values }));
        }
        Ok(())
    }

    async fn create(&self, name: &str, partitions: i32) -> Outcome<String> {
        let topic = format!("{}.{name}", self.prefix);
        let admin = self.kafka.admin();
        let wish = NewTopic::new(topic.as_str(), partitions, 1)?;
        for (_, outcome) in admin.create_topics([wish], CreateTopicsOptions::default()).await? {
            outcome?;
        }
        admin.close().await?;
        Ok(topic)
    }

    async fn reader(&self, topic: &str, partitions: Vec<i32>, level: IsolationLevel) -> Outcome<Consumer> {
        let consumer = self
            .kafka
            .consumer_without_group()
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .isolation_level(level)
            .enable_auto_commit(false)
            .build()
            .await?;
        consumer.assign(topic, partitions).await?;
        Ok(consumer)
    }

    async fn member(&self, topic: &str) -> Outcome<Consumer> {
        let consumer = self
            .kafka
            .consumer(topic)
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .group_protocol(GroupProtocol::Consumer)
            .enable_auto_commit(false)
            .build()
            .await?;
        consumer.subscribe([topic]).await?;
        Ok(consumer)
    }

    fn say_record(&self, record: &ConsumerRecord) {
        let headers: Vec<_> = record.headers.iter().map(|(name, value)| json!([name, text(value.as_deref())])).collect();
        self.say(
            "record",
            json!({
                "topic": &*record.topic, "partition": record.partition, "offset": record.offset,
                "timestamp": record.timestamp, "key": text(record.key.as_deref()), "value": text(record.value.as_deref()),
                "headers": headers,
            }),
        );
    }

    fn say(&self, event: &str, fields: Value) {
        let mut line = json!({ "scenario": self.scenario, "event": event });
        for (name, value) in fields.as_object().into_iter().flatten() {
            line[name] = value.clone();
        }
        println!("{line}");
    }
}

async fn owned(consumer: &Consumer, topic: &str) -> Vec<i32> {
    let mut partitions = consumer.assignment().await.remove(topic).unwrap_or_default();
    partitions.sort_unstable();
    partitions
}

async fn take(consumer: &Consumer, count: usize) -> Outcome<Vec<ConsumerRecord>> {
    let end = Instant::now() + Duration::from_secs(20);
    let mut records = Vec::new();
    while records.len() < count {
        records.extend(consumer.poll(Duration::from_millis(50)).await?);
        in_time(end)?;
    }
    Ok(records)
}

fn in_time(end: Instant) -> Outcome<()> {
    if Instant::now() > end {
        return Err("waited too long".into());
    }
    Ok(())
}

fn text(data: Option<&[u8]>) -> Option<String> {
    data.map(|data| String::from_utf8_lossy(data).into_owned())
}
