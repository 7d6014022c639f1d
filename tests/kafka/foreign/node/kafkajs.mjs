// The scenarios of tests/kafka/foreign/contract.py with kafkajs, unmodified.
//   node kafkajs.mjs BOOTSTRAP PREFIX SCENARIO...     prints one JSON object a line

import kafkajs from 'kafkajs'
import SnappyCodec from 'kafkajs-snappy'
import { bootstrap, code, current, main, prefix, records, say, until } from './common.mjs'

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, Partitioners, logLevel } = kafkajs
CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec
const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR })

await main({ produce, consume, group, transactions, exactly_once: exactlyOnce, fencing, admin: administer })

async function produce () {
  const topic = await create('produce', 2)
  for (const [compression, codec] of [['none', 'None'], ['gzip', 'GZIP'], ['snappy', 'Snappy']]) {
    const producer = await newProducer()
    const messages = records(compression).map(record => ({ ...record, timestamp: String(record.timestamp) }))
    const sent = await producer.send({ topic, messages, compression: CompressionTypes[codec] })
    const next = new Map(sent.map(({ partition, baseOffset }) => [partition, Number(baseOffset)]))
    const places = messages.map(({ partition }) => {
      next.set(partition, next.get(partition) + 1)
      return [partition, next.get(partition) - 1]
    })
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

async function group () {
  const topic = await create('group', 4)
  const first = await newConsumer(topic, topic)
  await until(() => first.owned.length === 4)
  const second = await newConsumer(topic, topic)
  await until(() => first.owned.length === 2 && second.owned.length === 2)
  say('assigned', { members: [first.owned, second.owned] })
  const producer = await newProducer()
  for (let i = 0; i < 40; i++) await producer.send({ topic, messages: [{ partition: i % 4, value: `v${i}` }] })
  await producer.disconnect()
  await until(() => first.seen.length + second.seen.length >= 40)
  for (const member of [first, second]) {
    await member.commitOffsets(member.owned.map(partition => ({ topic, partition, offset: '10' })))
    await member.disconnect()
  }
  for (const member of [first, second]) member.seen.forEach(sayRecord)
}

async function transactions () {
  const topic = await create('transactions', 1)
  const producer = await newProducer('transactions')
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
  const groupId = `${prefix}.exactly_once`
  const topic = await create('out', 1)
  const consumer = await newConsumer(groupId, from)
  await until(() => consumer.seen.length === 10)
  const producer = await newProducer('exactly_once')
  for (const part of [0, 1, 2]) { // the second one is aborted, and the third does its work again
    const at = part === 0 ? 0 : 5
    const transaction = await producer.transaction()
    const messages = consumer.seen.slice(at, at + 5).map(({ value }) => ({ value: value.toString().toUpperCase() }))
    await transaction.send({ topic, messages })
    const partitions = [{ partition: 0, offset: String(at + 5) }]
    await transaction.sendOffsets({ consumerGroupId: groupId, topics: [{ topic: from, partitions }] })
    await (part === 1 ? transaction.abort() : transaction.commit())
    say('committed', { offset: Number((await fetchOffsets(groupId, from)).offset) })
  }
  await consumer.disconnect()
  await producer.disconnect()
  await readBoth(topic, 10, 15)
}

async function fencing () {
  const topic = await create('fencing', 1)
  const old = await newProducer('fencing')
  const first = await old.transaction()
  await first.send({ topic, messages: [{ value: 'old' }] })
  const young = await newProducer('fencing')
  const second = await young.transaction() // ends the transaction of the old one
  await second.send({ topic, messages: [{ value: 'young' }] })
  await second.commit()
  try {
    await first.commit()
    say('fenced', { error: 'none' })
  } catch (error) {
    say('fenced', { error: error.type })
  }
  await readBoth(topic, 1, 2)
}

async function administer () {
  const configs = (retention) => [{ name: 'retention.ms', value: retention }, { name: 'cleanup.policy', value: 'delete' }]
  const topic = await create('admin', 3, configs('360000000000'))
  await withAdmin(async admin => {
    say('cluster', { nodes: (await admin.describeCluster()).brokers.length })
    const isListed = async () => (await admin.listTopics()).includes(topic)
    say('listed', { is_there: await isListed() })
    const isNew = await admin.createTopics({ topics: [{ topic, numPartitions: 3 }] })
    say('refused', { code: isNew ? 0 : 36 }) // the library says false for this error alone
    say('invalid_name', { code: await code(() => admin.createTopics({ topics: [{ topic: `${prefix}.a/b` }] })) })
    say('unknown', { code: await code(() => admin.fetchTopicMetadata({ topics: [`${prefix}.nowhere`] })) })
    const partitions = async () => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions
    const found = await partitions()
    say('described', { partitions: found.length, leaders: found.filter(({ leader }) => leader >= 0).length })
    const resource = { type: ConfigResourceTypes.TOPIC, name: topic }
    const values = async () => {
      const configNames = ['retention.ms', 'cleanup.policy']
      const { resources } = await admin.describeConfigs({ resources: [{ ...resource, configNames }] })
      return Object.fromEntries(resources[0].configEntries.map(({ configName, configValue }) => [configName, configValue]))
    }
    say('configs', { values: await values() })
    await admin.alterConfigs({ resources: [{ ...resource, configEntries: configs('720000000000') }] })
    say('altered', { values: await values() })
    await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
    await until(async () => (await partitions()).length === 5) // a broker is told by the controller
    say('grown', { partitions: 5 })

    const producer = await newProducer()
    for (let i = 0; i < 10; i++) {
      const timestamp = String(1700000000000 + 1000 * i)
      await producer.send({ topic, messages: [{ partition: 0, timestamp, value: `v${i}` }] })
    }
    await producer.disconnect()
    const zero = async (offsets) => (await offsets).find(({ partition }) => partition === 0)
    const bounds = await zero(admin.fetchTopicOffsets(topic))
    const later = await zero(admin.fetchTopicOffsetsByTimestamp(topic, 1700000002500))
    say('offsets', { earliest: Number(bounds.low), latest: Number(bounds.high), by_time: Number(later.offset) })
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '4' }] })
    say('shortened', { earliest: Number((await zero(admin.fetchTopicOffsets(topic))).low) })

    const groupId = `${prefix}.admin`
    await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: '7' }] })
    say('group_offsets', { offset: Number((await fetchOffsets(groupId, topic)).offset) })
    const isGroup = async () => (await admin.listGroups()).groups.some(group => group.groupId === groupId)
    say('group_listed', { is_there: await isGroup() })
    say('group_described', { state: (await admin.describeGroups([groupId])).groups[0].state })
    await admin.deleteGroups([groupId])
    say('group_deleted', { is_there: await isGroup() })
    await admin.deleteTopics({ topics: [topic] })
    await until(async () => !await isListed())
    say('deleted', { is_there: false })
  })
}

// --- what they use ---

async function readBoth (topic, committed, all) {
  for (const [isolation, count] of [['read_committed', committed], ['read_uncommitted', all]]) {
    const consumer = await newConsumer(`${topic}.${isolation}`, topic, isolation === 'read_uncommitted')
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

async function create (name, numPartitions, configEntries = []) {
  const topic = `${prefix}.${name}`
  await withAdmin(admin => admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1, configEntries }] }))
  return topic
}

async function fetchOffsets (groupId, topic) {
  const found = await withAdmin(admin => admin.fetchOffsets({ groupId, topics: [topic] }))
  return found[0].partitions.find(({ partition }) => partition === 0)
}

async function newProducer (transactionalId) {
  const more = transactionalId ? { transactionalId: `${prefix}.${transactionalId}`, idempotent: true, maxInFlightRequests: 1 } : {}
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, ...more })
  await producer.connect()
  return producer
}

/** A running member of a group, with what it has seen and which partitions it owns. */
async function newConsumer (groupId, topic, readUncommitted = false) {
  const consumer = kafka.consumer({ groupId, heartbeatInterval: 200, maxWaitTimeInMs: 100, readUncommitted })
  consumer.seen = []
  consumer.owned = []
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => { consumer.owned = payload.memberAssignment[topic] ?? [] })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ topic, partition, message }) => { consumer.seen.push({ topic, partition, ...message }) }
  })
  return consumer
}

function sayRecord ({ topic, partition, offset, timestamp, key, value, headers }) {
  const text = data => data === null ? null : data.toString()
  say('record', {
    topic,
    partition,
    offset: Number(offset),
    timestamp: Number(timestamp),
    key: text(key),
    value: text(value),
    headers: Object.entries(headers).map(([name, value]) => [name, text(value)])
  })
}
