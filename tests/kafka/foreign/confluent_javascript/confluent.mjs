// The scenarios of tests/kafka/foreign/contract.py with @confluentinc/kafka-javascript, unmodified.
//   node confluent.mjs BOOTSTRAP PREFIX SCENARIO...     prints one JSON object a line

import confluent from '@confluentinc/kafka-javascript'
import { bootstrap, current, main, prefix, records, say, until } from './common.mjs'

const { Kafka, logLevel } = confluent.KafkaJS
const kafka = new Kafka({ kafkaJS: { brokers: [bootstrap], logLevel: logLevel.ERROR } })

await main({
  produce,
  consume,
  group: () => group({ 'heartbeat.interval.ms': 200 }),
  new_group: () => group({ 'group.protocol': 'consumer' }),
  transactions,
  exactly_once: exactlyOnce
})

async function produce () {
  const topic = await create('produce', 2)
  for (const compression of ['none', 'gzip', 'snappy', 'lz4']) {
    const producer = await newProducer({}, { 'compression.codec': compression, 'linger.ms': 20 })
    const messages = records(compression).map(record => ({ ...record, timestamp: String(record.timestamp) }))
    const places = []
    for (const message of messages) {
      const [{ partition, baseOffset }] = await producer.send({ topic, messages: [message] })
      places.push([partition, Number(baseOffset)])
    }
    say('produced', { compression, places })
    await producer.disconnect()
  }
}

async function consume () {
  for (const name of ['consume', 'produce']) {
    const topic = `${prefix}.${name}`
    const want = await withAdmin(async admin => {
      const ends = await admin.fetchTopicOffsets(topic)
      return ends.reduce((sum, { high }) => sum + Number(high), 0)
    })
    const consumer = await newConsumer(`${prefix}.reader.${name}`, topic)
    await until(() => consumer.seen.length >= want)
    await consumer.disconnect()
    consumer.seen.forEach(sayRecord)
  }
}

async function group (options) {
  const topic = await create(current(), 4)
  const first = await newConsumer(topic, topic, options)
  const owned = consumer => consumer.assignment().map(({ partition }) => partition).sort()
  await until(() => owned(first).length === 4)
  const second = await newConsumer(topic, topic, options)
  await until(() => owned(first).length === 2 && owned(second).length === 2)
  say('assigned', { members: [owned(first), owned(second)] })
  const producer = await newProducer()
  for (let i = 0; i < 40; i++) await producer.send({ topic, messages: [{ partition: i % 4, value: `v${i}` }] })
  await producer.disconnect()
  await until(() => first.seen.length + second.seen.length >= 40)
  for (const member of [first, second]) {
    await member.commitOffsets(owned(member).map(partition => ({ topic, partition, offset: '10' })))
    await member.disconnect()
  }
  for (const member of [first, second]) member.seen.forEach(sayRecord)
}

async function transactions () {
  const topic = await create('transactions', 1)
  const producer = await newProducer({ transactionalId: `${prefix}.transactions` })
  for (const name of ['a', 'b', 'c']) {
    const transaction = await producer.transaction()
    for (let i = 0; i < 3; i++) await transaction.send({ topic, messages: [{ value: name + i }] })
    await (name === 'b' ? transaction.abort() : transaction.commit())
  }
  await producer.disconnect()
  await readBoth(topic, 6, 9)
}

async function exactlyOnce () {
  const from = `${prefix}.in`
  const topic = await create('out', 1)
  const consumer = await newConsumer(`${prefix}.exactly_once`, from)
  await until(() => consumer.seen.length === 10)
  const producer = await newProducer({ transactionalId: `${prefix}.exactly_once` })
  for (const part of [0, 1, 2]) { // the second one is aborted, and the third does its work again
    const at = part === 0 ? 0 : 5
    const transaction = await producer.transaction()
    const messages = consumer.seen.slice(at, at + 5).map(({ value }) => ({ value: value.toString().toUpperCase() }))
    await transaction.send({ topic, messages })
    const partitions = [{ partition: 0, offset: String(at + 5) }]
    await transaction.sendOffsets({ consumer, topics: [{ topic: from, partitions }] })
    await (part === 1 ? transaction.abort() : transaction.commit())
    const [found] = await consumer.committed([{ topic: from, partition: 0 }])
    say('committed', { offset: Number(found.offset) })
  }
  await consumer.disconnect()
  await producer.disconnect()
  await readBoth(topic, 10, 15)
}

// --- what they use ---

async function readBoth (topic, committed, all) {
  for (const [isolation, count] of [['read_committed', committed], ['read_uncommitted', all]]) {
    const consumer = await newConsumer(`${topic}.${isolation}`, topic, { 'isolation.level': isolation })
    await until(() => consumer.seen.length >= count)
    await consumer.disconnect()
    say('read', { isolation, values: consumer.seen.map(({ value }) => value.toString()) })
  }
}

async function withAdmin (use) {
  const admin = kafka.admin()
  await admin.connect()
  try {
    return await use(admin)
  } finally {
    await admin.disconnect()
  }
}

async function create (name, numPartitions) {
  const topic = `${prefix}.${name}`
  await withAdmin(admin => admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1 }] }))
  return topic
}

async function newProducer (kafkaJS = {}, more = {}) {
  const producer = kafka.producer({ kafkaJS, ...more })
  await producer.connect()
  return producer
}

/** A running member of a group, with what it has seen. */
async function newConsumer (groupId, topic, more = {}) {
  const consumer = kafka.consumer({ kafkaJS: { groupId, fromBeginning: true, autoCommit: false }, ...more })
  consumer.seen = []
  await consumer.connect()
  await consumer.subscribe({ topics: [topic] })
  await consumer.run({
    eachMessage: async ({ topic, partition, message }) => { consumer.seen.push({ topic, partition, ...message }) }
  })
  return consumer
}

function sayRecord ({ topic, partition, offset, timestamp, key, value, headers }) {
  const text = data => data === null || data === undefined ? null : data.toString()
  say('record', {
    topic,
    partition,
    offset: Number(offset),
    timestamp: Number(timestamp),
    key: text(key),
    value: text(value),
    headers: Object.entries(headers ?? {}).map(([name, value]) => [name, text(value)])
  })
}
