// Events of real runs against their types. As literals they must compile: no key is missing, none too many.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blueGreen, Pipeline } from '../dist/index.js'
import { all, engine, tsc, within } from './help.mjs'

/** What the compiler says of these events. */
function faults(events) {
  return tsc('typescript', `import type { RunEvent } from 'tidegate'\nexport const events: RunEvent[] = ${literal(events)}`)
}

function literal(value) {
  if (value instanceof Date) {
    return `new Date(${value.getTime()})`
  }
  if (Array.isArray(value)) {
    return `[${value.map(literal).join(',\n')}]`
  }
  if (typeof value === 'object' && value !== null) {
    return `{ ${Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${literal(item)}`).join(', ')} }`
  }
  return JSON.stringify(value)
}

test('events of a pipeline are of their types', async (t) => {
  const { engine: e } = await engine(t)
  const p = new Pipeline('p')
  p.command('exits', ['sh', '-c', 'echo some; exit 3'], { retry: { attempts: 2, initial: 1 } })
  p.command('late', ['sleep', '60'], { timeout: 50 })
  p.step('throws', () => Promise.reject(new Error('no')))
  p.command('needs', ['true'], { after: ['exits'] })
  const seen = await all(await e.start(p, { key: 'v1' }))
  const again = await all(await e.start(p, { key: 'v1', rerunFailed: true }))
  assert.deepEqual(await faults([...seen, ...again]), [])
  const kinds = new Set([...seen, ...again].map((event) => event.kind))
  for (const kind of ['step_retrying', 'step_stopping', 'step_skipped', 'run_reopened', 'output']) {
    assert.ok(kinds.has(kind), kind)
  }
  const retrying = seen.find((event) => event.kind === 'step_retrying')
  assert.ok(retrying.nextAttemptAt instanceof Date && retrying.at instanceof Date)
  assert.deepEqual(retrying.why.lastLines, ['some'])
  // What the compiler is trusted with: a key too many, and one too few.
  const { attempt, ...rest } = retrying
  assert.equal((await faults([{ ...retrying, next_attempt_at: attempt }])).length, 1)
  assert.equal((await faults([rest])).length, 1)
})

test('events of a rollout are of their types', async (t) => {
  const { engine: e } = await engine(t, { durability: 'memory' })
  const serve = { listen: '127.0.0.1:0', replicas: 1 }
  const program = 'require("http").createServer((_, answer) => answer.end()).listen(process.env.PORT, process.env.HOST)'
  const p = new Pipeline('p')
  const release = p.step('release', () => ({ version: 'v1', command: [process.execPath, '-e', program] }))
  p.rollout('ship', blueGreen('shop', { serve, bake: '200ms', keepOld: '0s', progressDeadline: '30s' }), { release })
  const run = await e.start(p)
  const [seen, service] = await within(all(run), 'the rollout')
    .then(async (events) => [events, await e.service('shop')])
    .then(async (known) => {
      await assert.rejects(e.removeService('shpo'), { kind: 'not_found', help: 'there are: shop' })
      return known
    })
    .finally(() => e.removeService('shop'))
  assert.deepEqual([service.stable, service.weights], ['v1', { v1: 100 }])
  assert.deepEqual([service.versions.v1.version, service.last.version, service.last.outcome], ['v1', 'v1', 'promoted'])
  assert.equal(seen.at(-1).outcome, 'succeeded')
  assert.deepEqual(await faults(seen), [])
  const { start } = seen.find((event) => event.kind === 'rollout' && event.event.kind === 'started').event
  assert.equal(start.terms.keepOld, '0s')
  assert.deepEqual(Object.keys(start.definitions), ['v1'])
})
