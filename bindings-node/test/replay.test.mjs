// Recorded data run again: a judge, an e-process, a check, the rules for outliers.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { Check, command, EProcess, http, Outliers, replay, sequential, tcp } from '../dist/index.js'

/** The cases of a file below `tests/cases`. */
function cases(file) {
  const path = join(import.meta.dirname, '../../tests/cases', file)
  const found = JSON.parse(readFileSync(path, 'utf8')).cases
  assert.ok(found.length > 0)
  return found
}

function near(found, expected, context) {
  assert.equal(found.length, expected.length, context)
  found.forEach((each, i) => assert.ok(Math.abs(each - expected[i]) < 1e-9, `${context}, ${i}: ${each}, not ${expected[i]}`))
}

const side = ([requests, errors, abandoned]) => ({ requests, errors, abandoned })
const window = (canary, stable, share) => ({ canary: side(canary), stable: side(stable), share })
const times = (n, item) => Array.from({ length: n }, () => item)

/** Expects `invalid` with faults at these places. */
const faults = (pointers) => (error) => {
  assert.equal(error.kind, 'invalid', error.message)
  assert.deepEqual(error.faults.map((fault) => fault.pointer), pointers, error.message)
  return true
}

// ---- e-processes ------------------------------------------------------------------------------------------------

const LAWS = {
  conditional_binomial_grid_e_process: ['events', 'grid_rate_ratios', 'grid_weights'],
  window_betting_e_process: ['betting', 'bet_fractions', 'bet_weights'],
  absolute_bernoulli_grid_e_process: ['absolute_events', 'alternative_rates', 'alternative_weights'],
  absolute_window_betting_e_process: ['absolute_betting', 'bet_fractions', 'bet_weights'],
}

function recorded(each) {
  return each.requests === undefined
    ? window([each.canary_requests, each.canary_errors], [each.stable_requests, each.stable_errors], each.share)
    : { canary: side([each.requests, each.errors]), share: each.share }
}

test('processes agree with the worked cases', () => {
  const all = [...cases('rollout/eprocess_worked_cases.json'), ...cases('rollout/eprocess_derived_cases.json')]
  assert.ok(all.length >= 20)
  for (const given of all) {
    const [kind, points, weights] = LAWS[given.kind]
    const law = {
      kind,
      ...(kind === 'absolute_events' ? {} : { side: given.side ?? 'harm' }),
      ...(kind.startsWith('absolute') ? { null: given.null_rate } : { margin: given.margin_ratio ?? 1 }),
    }
    const own = Array.isArray(given[weights]) ? { weights: given[weights] } : {}
    const process = new EProcess({ law, points: given[points], ...own })
    near(process.replay(given.windows.map(recorded)), given.expected_log_e_after_each_window, given.id)
  }
})

test('every fault of a process and its windows is named', () => {
  const process = new EProcess({ law: { kind: 'betting', margin: -2 }, points: [0, 0.5], weights: [1, -1] })
  const windows = [window([1, 2], [1, 1]), window([1, 1], [1, 1], 1.5)]
  const expected = ['/law/margin', '/points/0', '/weights', '/windows/0/canary/errors', '/windows/1/share']
  assert.throws(() => process.replay(windows), faults(expected))
  const right = new EProcess({ law: { kind: 'betting' }, points: [0.5] })
  for (const bad of [-1, 1.5, 2 ** 64, NaN, Infinity, '1', null]) {
    const windows = [window([1, 1], [1, 1]), window([bad, 0], [1, 1])]
    assert.throws(() => right.replay(windows), faults(['/windows/1']), String(bad))
  }
  assert.throws(() => right.replay([window([1, 1], [1, 1], NaN)]), faults(['/windows/0']))
  for (const wrong of [{ law: { kind: 'betting' }, points: [NaN] }, { law: { kind: 'absolute_events' }, points: [0.5] }]) {
    assert.throws(() => new EProcess(wrong).replay([]), { kind: 'invalid' })
  }
})

// ---- judges -----------------------------------------------------------------------------------------------------

test('a judge says the verdict and when', async () => {
  const names = { canary: 'v2', stable: 'v1', replicas: 1 }
  const judged = await replay(sequential(), times(4, window([100, 3], [900, 0])), names)
  assert.deepEqual(judged.map((each) => each.soFar.verdict), ['undecided', 'undecided', 'harm', 'harm'])
  near(judged.map((each) => each.errors.logHarm), [1.526056303, 3.194583132, 4.956165029, 6.77703912], 'ln E')
  const { after, follows, errors, abandoned, leftOut, soFar } = judged[2]
  assert.deepEqual({ after, follows, leftOut }, { after: '30s', follows: 'roll_back', leftOut: false })
  near([errors.harmBound, abandoned.harmBound], [Math.log(100 / 0.9), Math.log(1_000)], 'the bounds')
  assert.deepEqual([errors.logSafe, abandoned.logSafe, abandoned.logHarm], [null, null, 0])
  assert.equal(soFar.metric, 'errors')
  const sentence =
    'errors: 9 of 300 on v2 (3 %) against 0 of 2,700 on v1 (0 %); ' +
    'evidence 142 passed the bound of 111 (90 % of alpha 1 %); ' +
    "the canary has one instance: a fault of that instance can't be told from a bad release"
  assert.equal(soFar.sentence, sentence)
  assert.deepEqual(soFar.canary, { requests: 300, errors: 9 })
  assert.ok(soFar.assumptions.includes('one_replica'))
})

test('a judge condemns a release that hangs', async () => {
  const names = { canary: 'v2', stable: 'v1' }
  const judged = await replay(sequential(), times(5, window([69, 0, 31], [900, 0, 0])), names)
  assert.deepEqual(judged.map((each) => each.soFar.verdict), [...times(4, 'undecided'), 'harm'])
  // All that leave are on a tenth of the traffic: the mean of (1 + 9f)^n over the bets f.
  const bets = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
  const expected = judged.map((_, i) => Math.log(bets.reduce((sum, f) => sum + (1 + 9 * f) ** (i + 1) / 7, 0)))
  near(judged.map((each) => each.abandoned.logHarm), expected, 'ln E')
  assert.equal(judged[4].errors.logHarm, 0)
  const { metric, canary, sentence } = judged[4].soFar
  assert.deepEqual([metric, canary], ['abandoned', { requests: 500, errors: 155 }])
  assert.match(sentence, /^requests that clients left before an answer: 155 of 500 on v2 \(31 %\) against 0 of 4,500 on v1/)
  // Until then they are told beside the errors.
  assert.equal(judged[3].soFar.canary.abandoned, 124)
  assert.match(judged[3].soFar.sentence, /^errors: 0 of 276 .*; clients left before an answer: 124 of 400 on v2/)
})

test('a judge says what would follow if the bake ended', async () => {
  for (const inconclusive of ['pause', 'roll_back', 'pass']) {
    const [judged] = await replay(sequential({ inconclusive }), [window([100, 0], [900, 0])])
    assert.deepEqual([judged.atEnd.verdict, judged.follows], ['inconclusive', inconclusive])
    assert.ok(judged.atEnd.need > 100)
  }
})

test('a judge shows a good release safe', async () => {
  const windows = times(12, window([500, 0], [500, 5]))
  const judged = await replay(sequential({ safe: 2 }), windows)
  const law = { kind: 'betting', side: 'safe', margin: 2 }
  const process = new EProcess({ law, points: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7] })
  assert.deepEqual(judged.map((each) => each.errors.logSafe), process.replay(windows))
  assert.equal(judged.at(-1).soFar.verdict, 'safe')
  near([judged[0].safeBound], [Math.log(20)], 'the bound')
})

test('an objective needs no stable side', async () => {
  const judge = sequential({ form: { kind: 'absolute', objective: 0.01 } })
  const judged = await replay(judge, times(4, { canary: side([1_000, 200]) }))
  assert.equal(judged.at(-1).soFar.verdict, 'harm')
  assert.match(judged.at(-1).soFar.sentence, /against an objective of 1 %/)
})

test('every fault of a judge and its windows is named', async () => {
  const wrong = replay(sequential({ alpha: 2, window: 'soon' }), [window([0, 1], [1, 1])])
  await assert.rejects(wrong, faults(['/alpha', '/window', '/windows/0/canary/errors']))
  await assert.rejects(replay(sequential({ alpha: NaN }), []), { kind: 'invalid' })
  await assert.rejects(replay(sequential(), [], { replicas: -1 }), { kind: 'invalid' })
  assert.deepEqual(await replay(sequential(), []), [])
})

// ---- checks -----------------------------------------------------------------------------------------------------

const BARE = { startPeriod: 0, unknownAfter: 0, jitter: 0 }
const TCP = tcp('127.0.0.1:1')
const START = new Date('2026-01-01T00:00:00Z')
const VERDICTS = { pass: 'pass', warn: 'warn', fail: 'fail', hard_fail: 'fail_now', prober_error: 'unknown' }
const CONSUL = { passing: 'passing', degraded: 'warning', failing: 'critical', unknown: 'unknown' }

const threshold = (n) => (n === undefined || n === null ? undefined : Math.max(1, n))

/** The case's settings as our check, and our states under the system's names. */
function translated(given) {
  const of = given.settings
  switch (given.system) {
    case 'kubernetes': {
      const byKind = { readiness: 'failure', liveness: 'success', startup: 'unknown' }
      const ours = { success: 'passing', failure: 'failing', unknown: 'unknown' }
      const holds = { readiness: [], liveness: ['failing'], startup: ['passing', 'failing'] }
      const more = {
        rise: threshold(of.success_threshold),
        fall: threshold(of.failure_threshold),
        initial: ours[of.initial_state ?? byKind[of.probe_kind]],
        hold: holds[of.probe_kind],
        initialDelay: (of.initial_delay_seconds ?? 0) * 1_000,
      }
      return [more, { passing: 'success', failing: 'failure', unknown: 'unknown' }]
    }
    case 'consul': {
      const fall = threshold(of.failures_before_critical)
      const degrade = threshold(of.failures_before_warning)
      const more = {
        rise: threshold(of.success_before_passing),
        fall,
        degrade: degrade === fall ? undefined : degrade,
        firstResultApplies: of.first_result_applies_at_once,
        initial: 'failing',
      }
      return [more, CONSUL]
    }
    case 'envoy': {
      const more = {
        rise: threshold(of.healthy_threshold),
        fall: threshold(of.unhealthy_threshold),
        initial: given.start_state === 'healthy' ? 'passing' : 'failing',
        firstResultApplies: given.start_state === undefined,
        interval: of.interval_ms,
        failingInterval: of.unhealthy_interval_ms,
        risingInterval: of.healthy_edge_interval_ms,
        fallingInterval: of.unhealthy_edge_interval_ms,
      }
      return [more, { passing: 'healthy', failing: 'unhealthy' }]
    }
    case 'haproxy': {
      const { rise, fall, init_state: begin } = of
      const more = {
        rise,
        fall,
        initial: begin === 'down' || begin === 'fully-down' ? 'failing' : 'passing',
        firstResultApplies: !begin.startsWith('fully-'),
      }
      return [more, { passing: 'up', failing: 'down' }]
    }
    case 'uptime_kuma':
      return [{ fall: of.max_retries + 1, degrade: 1 }, { passing: 'up', degraded: 'pending', failing: 'down' }]
    case 'gatus_alert':
      return [{ rise: threshold(of.success_threshold), fall: threshold(of.failure_threshold) }, {}]
    default:
      return assert.fail(`unheard-of system ${given.system}`)
  }
}

function checkSteps(given) {
  const [more, names] = translated(given)
  const records = given.steps.map(({ probe }) => (probe === 'new_container' ? { restarted: true } : VERDICTS[probe]))
  const standings = new Check(TCP, { ...BARE, ...more }).replay(records)
  assert.equal(standings.length, given.steps.length)
  given.steps.forEach((step, i) => {
    const standing = standings[i]
    const context = `${given.id} step ${i}: ${standing.explanation}`
    if (step.state_after !== undefined) {
      assert.equal(names[standing.state], step.state_after, context)
    }
    if (step.alert_open_after !== undefined) {
      assert.equal(standing.state === 'failing', step.alert_open_after, context)
      const moves = standing.transitions.filter((each) => each.from === 'failing' || each.to === 'failing')
      const told = moves.map((each) => (each.to === 'failing' ? 'trigger' : 'resolve'))
      assert.deepEqual(told, step.notification === null ? [] : [step.notification], context)
    }
    if (step.next_check_after_ms !== undefined) {
      assert.equal(standing.due - standing.at, step.next_check_after_ms, context)
    }
  })
}

function checkTimed(given) {
  const [more, names] = translated(given)
  const records = given.timed_steps.map((step) => ({ verdict: VERDICTS[step.probe_would], at: step.seconds_since_start * 1_000 }))
  const standings = new Check(TCP, { ...BARE, ...more }).replay(records, { start: START })
  given.timed_steps.forEach((step, i) => {
    assert.equal(standings[i].wasDue, step.probe_runs, given.id)
    assert.equal(names[standings[i].state], step.state_after, given.id)
  })
}

function checkMap(given) {
  const [probe, record] =
    given.http_status === undefined
      ? [command(['check'], { warn: [1] }), { exitCode: given.exit_code }]
      : [http('http://127.0.0.1:1/', { pass: ['200-299'], warn: ['429'] }), { status: given.http_status }]
  const [standing] = new Check(probe, { ...BARE, fall: 1 }).replay([record])
  assert.equal(CONSUL[standing.state], given.expected_state, given.id)
}

function checkTimeout(given) {
  const timeout = (given.configured_timeout_s || 10) * 1_000
  const check = new Check(TCP, { ...BARE, interval: given.interval_s * 1_000, timeout, fall: 1 })
  const expected = given.expected_timeout_s * 1_000
  const state = (took) => check.replay([{ verdict: 'pass', took }])[0].state
  assert.deepEqual([state(expected), state(expected + 1)], ['passing', 'failing'], given.id)
}

function checkTtl(given) {
  const check = new Check(TCP, { ...BARE, initial: 'failing', maxAge: given.settings.ttl_ms, stale: 'failing' })
  const said = { passing: 'pass', warning: 'warn', critical: 'fail_now' }
  for (const expected of given.expected) {
    const beats = given.events
      .filter((each) => each.at_ms <= expected.at_ms)
      .map((each) => ({ verdict: said[each.heartbeat], at: each.at_ms, reason: 'said the heartbeat' }))
    const last = check.replay([...beats, { at: expected.at_ms }], { start: START }).at(-1)
    assert.equal(CONSUL[last.state], expected.state, given.id)
    if (expected.keeps_last_output) {
      assert.deepEqual(last.transitions.map((each) => each.reason), ['said the heartbeat'])
    }
  }
}

function checkOutliers(given) {
  const of = given.settings
  const span = (seconds) => (typeof seconds === 'number' ? seconds * 1_000 : undefined)
  const rules = new Outliers({
    minMembers: of.minimum_hosts,
    minRequests: of.request_volume,
    deviations: of.success_rate_stdev_factor === undefined ? undefined : of.success_rate_stdev_factor / 1_000,
    maxPercent: of.max_ejection_percent,
    base: span(of.base_ejection_seconds),
    max: span(of.max_ejection_seconds),
  })
  if (given.expected_ejection_seconds !== undefined) {
    assert.equal(rules.asideFor(given.times_ejected), given.expected_ejection_seconds * 1_000, given.id)
  } else if (given.expected_max_ejected !== undefined) {
    assert.equal(rules.most(given.hosts), given.expected_max_ejected, given.id)
  } else {
    const requests = given.each_host_requests
    const tally = (percent, i) => [`m${i}`, { requests, successes: Math.floor((requests * percent) / 100) }]
    const found = rules.compare(Object.fromEntries(given.hosts_success_percent.map(tally)))
    const expected = [given.expected_mean, given.expected_population_stdev, given.expected_threshold]
    near([found.mean, found.stdev, found.limit], expected, given.id)
    assert.deepEqual(found.outliers.toSorted(), given.expected_ejected_indexes.map((i) => `m${i}`).toSorted())
  }
}

test('results count as they do in six systems', async (t) => {
  const kinds = { consul_map: checkMap, consul_timeout: checkTimeout, consul_ttl: checkTtl, envoy_outlier: checkOutliers }
  for (const given of cases('health/threshold_cases.json')) {
    const run = kinds[given.system] ?? (given.timed_steps === undefined ? checkSteps : checkTimed)
    await t.test(given.id, () => run(given))
  }
})

test('other thresholds make other alarms of the same results', () => {
  const records = [...'pffpfffpffffp'].map((each, i) => ({
    verdict: each === 'p' ? 'pass' : 'fail',
    at: new Date(START.getTime() + 5_000 * i),
  }))
  const alarms = (fall) =>
    new Check(TCP, { ...BARE, fall })
      .replay(records)
      .flatMap((standing) => standing.transitions)
      .filter((each) => each.to === 'failing').length
  assert.deepEqual([1, 2, 3, 4, 5].map(alarms), [3, 3, 2, 1, 0])
})

test('a standing says what is counted and what comes next', () => {
  const after = (seconds) => new Date(START.getTime() + seconds * 1_000)
  const check = new Check(() => true, { fall: 3, interval: '5s', fallingInterval: '7s', startPeriod: 0, jitter: 0 })
  const records = ['pass', { verdict: 'fail', reason: 'status 503' }, { at: 6_000 }]
  const [passed, failed, look] = check.replay(records, { start: START })
  assert.deepEqual([passed.at, passed.due, passed.wasDue, passed.staleAt], [START, after(5), true, null])
  assert.deepEqual([failed.at, failed.failures, failed.failuresNeeded], [after(5), 1, 2])
  assert.deepEqual([look.wasDue, look.since, look.due], [false, START, after(12)])
  const words = 'passing for 6s: 1 of 3 failures; failing in about 13s if the next 2 fail; last result: status 503'
  assert.equal(look.explanation, words)
  const first = { from: 'starting', to: 'passing', at: START, rule: '1 of 1 passes in a row', reason: '' }
  assert.deepEqual(passed.transitions, [first])
})

test('equal seeds give equal jitter', () => {
  const dues = (seed) => new Check(TCP, { jitter: 50 }).replay(times(9, 'pass'), { seed })
  assert.deepEqual(dues(1), dues(1))
  assert.notDeepEqual(dues(1), dues(2))
})

test('every fault of a check and its records is named', () => {
  const records = [
    { verdict: 'pass', at: START },
    { verdict: 'pass', at: new Date(START.getTime() - 1) },
    { verdict: 'pass', status: 200 },
    { restarted: true, took: '1s' },
    { verdict: 'fail', took: 'long' },
    { status: 200 },
  ]
  const expected = ['/fall', '/records/1/at', '/records/2', '/records/3/took', '/records/4/took', '/records/5/status']
  assert.throws(() => new Check(TCP, { fall: 0 }).replay(records), faults(expected))
  const wrong = [{ verdict: 'good' }, 'pass', { status: -1 }, { at: NaN }, { at: new Date('never') }, { state: 200 }]
  const unreadable = ['/records/0', '/records/2', '/records/3', '/records/4', '/records/5']
  assert.throws(() => new Check(TCP).replay(wrong, { start: START }), faults(unreadable))
  assert.throws(() => new Check(TCP).replay([], { seed: -1 }), { kind: 'invalid' })
  assert.throws(() => new Check(TCP).replay([], { start: new Date('never') }), { kind: 'invalid' })
  assert.deepEqual(new Check(TCP).replay([]), [])
})

test('rules for outliers are checked', () => {
  const wrong = new Outliers({ deviations: -1, maxPercent: 101, base: 'soon' })
  assert.throws(() => wrong.most(3), faults(['/deviations', '/max_percent', '/base']))
  for (const bad of [-1, 0.5, NaN, 2 ** 32]) {
    assert.throws(() => new Outliers().most(bad), { kind: 'invalid' })
    assert.throws(() => new Outliers().asideFor(bad), { kind: 'invalid' })
  }
  assert.equal(new Outliers().compare({ a: { requests: 100, successes: 0 } }), null)
})
