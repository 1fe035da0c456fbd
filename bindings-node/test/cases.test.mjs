// What other engines publish of their retries and graphs.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Pipeline, retryDelays } from '../dist/index.js'
import { engine } from './help.mjs'

function cases(file) {
  const path = join(import.meta.dirname, '..', '..', 'tests', 'cases', 'pipeline', file)
  return JSON.parse(readFileSync(path, 'utf8')).cases
}

/** What lists waits in a case, and how many milliseconds its unit has. */
const LISTS = {
  expected_delays_s: 1000,
  expected_delays_ms_before_jitter: 1,
  expected_delays_ms_before_jitter_first_12: 1,
  expected_delay_upper_bounds_s: 1000,
}

/** A policy in our words; undefined if it says something that ours doesn't have. */
function retry(policy = {}) {
  const span = (...names) => {
    const name = names.find((name) => typeof policy[name] === 'number')
    return name && policy[name] * (name.endsWith('_ms') ? 1 : 1000)
  }
  const initial = span('initial_s', 'initial_ms', 'duration_s', 'interval_s')
  const factor = policy.factor ?? policy.backoff_rate
  if (initial === undefined || factor === undefined) return undefined
  const cap = span('max_interval_s', 'max_interval_ms', 'cap_s', 'fixed_cap_s') ?? '1000d'
  return { attempts: 100, initial, factor, cap }
}

test('waits are those that others publish', () => {
  let tried = 0
  for (const one of cases('backoff_cases.json')) {
    const known = retry(one.policy)
    for (const [field, scale] of Object.entries(LISTS)) {
      if (known === undefined || one[field] === undefined) continue
      let waits
      try {
        waits = retryDelays(known)
      } catch (error) {
        assert.equal(error.kind, 'invalid')
        continue
      }
      tried += 1
      // The last bound of this case is what is left until its deadline, which is no matter of the policy alone.
      const expected = one[field].slice(0, one.id === 'temporal_service_retry_sequence' ? 12 : undefined)
      assert.deepEqual(waits.slice(0, expected.length), expected.map((wait) => Math.round(wait * scale)), one.id)
    }
  }
  assert.ok(tried >= 18, `only ${tried} of the cases were tried`)
})

test('a retry has one wait fewer than attempts', () => {
  assert.deepEqual(retryDelays({ attempts: 1 }), [])
  assert.deepEqual(retryDelays({ attempts: 4, initial: '2s', factor: 3, cap: '10s' }), [2000, 6000, 10000])
  assert.throws(() => retryDelays({ attempts: 0, initial: 'soon', factor: 0.5 }), (error) => {
    assert.deepEqual(error.faults.map(({ pointer }) => pointer), ['/attempts', '/factor', '/initial'])
    return true
  })
})

const graphs = cases('real_dags.json').filter((one) => one.expected_levels)
assert.ok(graphs.length >= 7)
for (const { id, jobs, expected_levels: expected } of graphs) {
  test(`the graph of ${id} runs level by level`, async (t) => {
    const { engine: e } = await engine(t)
    const p = new Pipeline(id)
    const steps = new Map()
    let left = jobs
    // A step takes values of steps that are defined before it; files have their jobs in any order.
    while (left.length > 0) {
      const ready = left.filter(({ needs }) => needs.every((need) => steps.has(need)))
      assert.ok(ready.length > 0)
      for (const { name, needs } of ready) {
        const inputs = needs.map((need) => steps.get(need))
        steps.set(name, p.step(name, { inputs }, (_, ...levels) => 1 + Math.max(-1, ...levels)))
      }
      left = left.filter((job) => !ready.includes(job))
    }
    const outcome = (await e.run(p)).ok()
    const levels = expected.map(() => [])
    for (const [name, step] of steps) {
      levels[outcome.value(step)].push(name)
      assert.equal(outcome.steps[name].attempts, 1)
    }
    assert.deepEqual(levels.map((level) => level.sort()), expected.map((level) => [...level].sort()))
  })
}
