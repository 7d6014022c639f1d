// What the programs for Node share: the records of tests/kafka/foreign/contract.py, and how they speak.

export const [bootstrap, prefix, ...scenarios] = process.argv.slice(2)
let scenario = ''

/** The scenario that runs. */
export const current = () => scenario

/** Print an event. */
export function say (event, fields = {}) {
  const text = JSON.stringify({ scenario, event, ...fields }, (_, value) => typeof value === 'bigint' ? Number(value) : value)
  process.stdout.write(text + '\n')
}

/** Run the scenarios that the arguments name. */
export async function main (all) {
  for (scenario of scenarios) {
    try {
      await all[scenario]()
      say('end')
    } catch (error) {
      console.error(error)
      say('error', { message: String(error) })
    }
  }
  process.exit(0)
}

/** The records of one compression. */
export function records (compression) {
  return Array.from({ length: 20 }, (_, i) => ({
    partition: i % 2,
    timestamp: 1700000000000 + i,
    key: i % 7 === 6 ? null : `k${i % 5}`,
    value: i % 10 === 9 ? null : `${compression}-${i}`,
    headers: { n: String(i), empty: '' }
  }))
}

/** Wait until a condition is true. */
export async function until (isDone) {
  const end = Date.now() + 20000
  while (!await isDone()) {
    if (Date.now() > end) throw new Error(`waited 20 s in ${scenario}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

/** The code of Kafka's that a call fails with, somewhere within its error; 0 if it does not fail. */
export async function code (call) {
  try {
    await call()
    return 0
  } catch (error) {
    const all = [error]
    for (const one of all) {
      const number = one.apiCode ?? one.code
      if (typeof number === 'number') return number
      all.push(...(one.errors ?? []), ...(one.cause ? [one.cause] : []))
    }
    throw error
  }
}
