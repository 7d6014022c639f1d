// The scenarios of tests/kafka/foreign/contract.py with @platformatic/kafka, unmodified.
//   node platformatic.mjs BOOTSTRAP PREFIX SCENARIO...     prints one JSON object a line

import { Admin, Consumer, Producer, stringDeserializers, stringSerializers } from '@platformatic/kafka'
import { bootstrap, code, current, main, prefix, records, say, until } from './common.mjs'

const TOPIC = 2 // as a kind of configured resource
const common = { clientId: 'foreign', bootstrapBrokers: [bootstrap], timeout: 15000 }

await main({
  produce,
  consume,
  group: () => group({ groupProtocol: 'classic', heartbeatInterval: 200, sessionTimeout: 6000, rebalanceTimeout: 6000 }),
  new_group: () => group({ groupProtocol: 'consumer' }),
  transactions,
  exactly_once: exactlyOnce,
  admin: administer
})

async function produce () {
  const topic = await create('produce', 2)
  for (const compression of ['none', 'gzip', 'snappy', 'lz4']) {
    const producer = newProducer()
    const all = records(compression).map(record => ({
      ...record, topic, timestamp: BigInt(record.timestamp), key: record.key ?? undefined, value: record.value ?? undefined
    }))
    const { offsets } = await producer.send({ messages: all, compression })
    const next = new Map(offsets.map(({ partition, offset }) => [partition, Number(offset)]))
    const places = all.map(({ partition }) => {
      next.set(partition, next.get(partition) + 1)
      return [partition, next.get(partition) - 1]
    })
    say('produced', { compression, places })
    await producer.close()
  }
}

async function consume () {
  for (const name of ['consume', 'produce']) {
    const topic = `${prefix}.${name}`
    const consumer = newConsumer(`${prefix}.reader.${name}`)
    const ends = await consumer.listOffsets({ topics: [topic] })
    const want = ends.get(topic).reduce((sum, end) => sum + Number(end), 0)
    const { seen } = await read(consumer, topic)
    await until(() => seen.length >= want)
    await consumer.close(true)
    seen.forEach(sayRecord)
  }
}

async function group (options) {
  const topic = await create(current(), 4)
  const members = []
  const owned = number => members[number].consumer.assignments?.find(found => found.topic === topic)?.partitions ?? []
  const join = async () => {
    const consumer = newConsumer(topic, options)
    members.push({ consumer, ...await read(consumer, topic, { mode: 'committed', fallbackMode: 'earliest' }) })
  }
  await join()
  await until(() => owned(0).length === 4)
  await join()
  await until(() => owned(0).length === 2 && owned(1).length === 2)
  say('assigned', { members: [owned(0), owned(1)] })
  const producer = newProducer()
  for (let i = 0; i < 40; i++) await producer.send({ messages: [{ topic, partition: i % 4, value: `v${i}` }] })
  await producer.close()
  await until(() => members[0].seen.length + members[1].seen.length >= 40)
  for (const { consumer, seen } of members) {
    const last = new Map(seen.map(message => [message.partition, message]))
    for (const message of last.values()) await message.commit()
    await consumer.close(true)
  }
  for (const { seen } of members) seen.forEach(sayRecord)
}

async function transactions () {
  const topic = await create('transactions', 1)
  const producer = newProducer('transactions')
  for (const name of ['a', 'b', 'c']) {
    const transaction = await producer.beginTransaction()
    for (let i = 0; i < 3; i++) await transaction.send({ messages: [{ topic, partition: 0, value: name + i }] })
    await (name === 'b' ? transaction.abort() : transaction.commit())
  }
  await producer.close()
  await readBoth(topic, 6, 9)
}

async function exactlyOnce () {
  const from = `${prefix}.in`
  const topic = await create('out', 1)
  const consumer = newConsumer(`${prefix}.exactly_once`)
  const { seen } = await read(consumer, from)
  await until(() => seen.length === 10)
  const producer = newProducer('exactly_once')
  for (const part of [0, 1, 2]) { // the second one is aborted, and the third does its work again
    const at = part === 0 ? 0 : 5
    const taken = seen.slice(at, at + 5)
    const transaction = await producer.beginTransaction()
    await transaction.addConsumer(consumer)
    await transaction.send({ messages: taken.map(({ value }) => ({ topic, partition: 0, value: value.toUpperCase() })) })
    await transaction.addOffset(taken.at(-1))
    await (part === 1 ? transaction.abort() : transaction.commit())
    const found = await consumer.listCommittedOffsets({ topics: [{ topic: from, partitions: [0] }] })
    say('committed', { offset: Number(found.get(from)[0]) })
  }
  await consumer.close(true)
  await producer.close()
  await readBoth(topic, 10, 15)
}

async function administer () {
  const topic = await create('admin', 3, [
    { name: 'retention.ms', value: '360000000000' }, { name: 'cleanup.policy', value: 'delete' }
  ])
  const admin = new Admin(common)
  const metadata = async () => (await admin.metadata({ topics: [topic], forceUpdate: true }))
  say('cluster', { nodes: (await metadata()).brokers.size })
  const isListed = async () => (await admin.listTopics()).includes(topic)
  say('listed', { is_there: await isListed() })
  const createAgain = name => code(() => admin.createTopics({ topics: [name], partitions: 1, replicas: 1 }))
  say('refused', { code: await createAgain(topic) })
  say('invalid_name', { code: await createAgain(`${prefix}.a/b`) })
  const partitions = (await metadata()).topics.get(topic).partitions
  say('described', { partitions: partitions.length, leaders: partitions.filter(({ leader }) => leader >= 0).length })
  const resource = { resourceType: TOPIC, resourceName: topic }
  const values = async () => {
    const configurationKeys = ['retention.ms', 'cleanup.policy']
    const [{ configs }] = await admin.describeConfigs({ resources: [{ ...resource, configurationKeys }] })
    return Object.fromEntries(configs.map(({ name, value }) => [name, value]))
  }
  say('configs', { values: await values() })
  const configs = [{ name: 'retention.ms', configOperation: 0, value: '720000000000' }]
  await admin.incrementalAlterConfigs({ resources: [{ ...resource, configs }] })
  say('altered', { values: await values() })
  await admin.createPartitions({ topics: [{ name: topic, count: 5, assignments: null }] })
  say('grown', { partitions: (await metadata()).topics.get(topic).partitionsCount })

  const producer = newProducer()
  for (let i = 0; i < 10; i++) {
    const timestamp = BigInt(1700000000000 + 1000 * i)
    await producer.send({ messages: [{ topic, partition: 0, timestamp, value: `v${i}` }] })
  }
  await producer.close()
  const offset = async timestamp => {
    const wish = { name: topic, partitions: [{ partitionIndex: 0, timestamp }] }
    const [found] = await admin.listOffsets({ topics: [wish], isolationLevel: 0 })
    return found.partitions[0].offset
  }
  say('offsets', { earliest: await offset(-2n), latest: await offset(-1n), by_time: await offset(1700000002500n) })
  await admin.deleteRecords({ topics: [{ name: topic, partitions: [{ partition: 0, offset: 4n }] }] })
  say('shortened', { earliest: await offset(-2n) })

  const groupId = `${prefix}.admin`
  const commit = at => admin.alterConsumerGroupOffsets({
    groupId, topics: [{ name: topic, partitionOffsets: [{ partition: 0, offset: at }] }]
  })
  const committed = async () => (await admin.listConsumerGroupOffsets({ groups: [groupId] }))[0].topics
  await commit(7n)
  say('group_offsets', { offset: (await committed())[0].partitions[0].committedOffset })
  const isGroup = async () => (await admin.listGroups()).has(groupId)
  say('group_listed', { is_there: await isGroup() })
  const described = (await admin.describeGroups({ groups: [groupId] })).get(groupId)
  say('group_described', { state: described.state[0] + described.state.slice(1).toLowerCase() })
  await admin.deleteConsumerGroupOffsets({ groupId, topics: [{ name: topic, partitionIndexes: [0] }] })
  say('offset_deleted', { left: (await committed()).length })
  await commit(8n)
  await admin.deleteGroups({ groups: [groupId] })
  say('group_deleted', { is_there: await isGroup() })
  const dirs = await admin.describeLogDirs({ topics: [{ name: topic, partitions: [0] }] })
  say('log_dirs', { count: dirs.length })
  await admin.deleteTopics({ topics: [topic] })
  await until(async () => !await isListed())
  say('deleted', { is_there: false })
  await admin.close()
}

// --- what they use ---

async function readBoth (topic, committed, all) {
  for (const [isolation, level, count] of [['read_committed', 1, committed], ['read_uncommitted', 0, all]]) {
    const consumer = newConsumer(`${topic}.${isolation}`, { isolationLevel: level })
    const { seen } = await read(consumer, topic)
    await until(() => seen.length >= count)
    await consumer.close(true)
    say('read', { isolation, values: seen.map(({ value }) => value) })
  }
}

async function create (name, partitions, configs) {
  const topic = `${prefix}.${name}`
  const admin = new Admin(common)
  await admin.createTopics({ topics: [topic], partitions, replicas: 1, configs })
  await admin.close()
  return topic
}

function newProducer (transactionalId) {
  const more = transactionalId ? { transactionalId: `${prefix}.${transactionalId}`, idempotent: true } : {}
  return new Producer({ ...common, serializers: stringSerializers, ...more })
}

function newConsumer (groupId, options = {}) {
  return new Consumer({ ...common, groupId, maxWaitTime: 100, deserializers: stringDeserializers, ...options })
}

/** Begin to read, and collect what comes. */
async function read (consumer, topic, options = { mode: 'earliest' }) {
  const seen = []
  const stream = await consumer.consume({ topics: [topic], autocommit: false, ...options })
  stream.on('data', message => { seen.push(message) })
  stream.on('error', error => { console.error(error) })
  return { seen, stream }
}

function sayRecord ({ topic, partition, offset, timestamp, key, value, headers }) {
  const rows = [...headers].map(([name, text]) => [name, text ?? null])
  say('record', { topic, partition, offset, timestamp, key: key ?? null, value: value ?? null, headers: rows })
}
