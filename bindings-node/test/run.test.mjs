// Runs: keys, cancels, signals, answers, and the journal's own calls.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import test from 'node:test'
import { Engine, Pipeline } from '../dist/index.js'
import { all, engine, folder, lines, until, within } from './help.mjs'

/** A pipeline with a step that runs until it is stopped, and one that cleans up. */
function endless(started) {
  const p = new Pipeline('endless')
  p.step('wait', (ctx) => {
    started()
    return new Promise((_, reject) => ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason)))
  })
  p.step('sweep', { cleanup: true }, () => 'swept')
  return p
}

test('the same key is the same run', async (t) => {
  const { engine: e } = await engine(t)
  let times = 0
  const p = new Pipeline('p')
  p.step('a', () => (times += 1))
  const one = await e.run(p, { key: 'k', params: { a: [1, 2] } })
  const other = await e.run(p, { key: 'k', params: { a: [1, 2] } })
  assert.deepEqual({ ...one }, { ...other })
  assert.equal(times, 1)
  await assert.rejects(e.run(p, { key: 'k', params: { a: [2, 1] } }), (error) => {
    assert.equal(error.kind, 'conflict')
    assert.match(error.message, /other params/)
    return true
  })
  const without = await e.run(p)
  assert.notEqual(without.run, one.run)
  assert.equal(times, 2)
})

test('what failed runs again when that is asked for', async (t) => {
  const { engine: e } = await engine(t)
  let broken = true
  let firsts = 0
  const p = new Pipeline('p')
  const first = p.step('first', () => (firsts += 1))
  p.step('second', { inputs: [first] }, (_, n) => {
    if (broken) {
      throw new Error('broken')
    }
    return n
  })
  assert.equal((await e.run(p, { key: 'k' })).status, 'failed')
  broken = false
  assert.equal((await e.run(p, { key: 'k' })).status, 'failed')
  const mended = await e.run(p, { key: 'k', rerunFailed: { by: 'the test' } })
  assert.deepEqual([mended.status, mended.steps.second.value, firsts], ['succeeded', 1, 1])
})

test('a changed definition is a conflict that says what changed', async (t) => {
  const dir = folder(t)
  const path = join(dir, 'journal.db')
  const define = (version) => {
    const p = new Pipeline('p')
    p.step('a', { version }, () => 1)
    p.step('b', (ctx) => new Promise((_, reject) => ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason))))
    return p
  }
  const before = await Engine.open(path)
  const run = await before.start(define('1'), { key: 'k' })
  const events = run[Symbol.asyncIterator]()
  await until(async () => (await events.next()).value.kind === 'step_finished', 'the first step')
  await before.close()
  await assert.rejects(run.outcome(), (error) => error.kind === 'cancelled')
  const after = await Engine.open(path)
  t.after(() => after.close())
  await assert.rejects(after.start(define('2'), { key: 'k' }), (error) => {
    assert.equal(error.kind, 'conflict')
    assert.match(error.message, /version/)
    return true
  })
  const taken = await after.start(define('1'), { key: 'k' })
  // While it is driven, too.
  await assert.rejects(after.start(define('2'), { key: 'k' }), (error) => error.kind === 'conflict')
  assert.equal((await after.start(define('1'), { key: 'k' })).id, taken.id)
  await taken.cancel()
  assert.equal((await taken.outcome()).status, 'cancelled')
})

test('a cancel stops what runs and cleans up', async (t) => {
  const { engine: e } = await engine(t)
  const started = deferred()
  const run = await e.start(endless(started.resolve))
  await within(started.promise, 'the step')
  await run.cancel({ by: 'somebody', reason: 'enough' })
  const events = await all(run)
  const { status, steps } = await run.outcome()
  assert.equal(status, 'cancelled')
  assert.equal(steps.sweep.value, 'swept')
  assert.equal(steps.wait.status, 'cancelled')
  const asked = events.find((event) => event.kind === 'cancel_requested')
  assert.deepEqual([asked.by, asked.reason], ['somebody', 'enough'])
  await assert.rejects(run.cancel(), (error) => ['conflict', 'not_found'].includes(error.kind))
})

test('a signal that is aborted already starts nothing', async (t) => {
  const { engine: e } = await engine(t)
  const p = new Pipeline('p')
  p.step('a', () => assert.fail('must not run'))
  const reason = new Error('not today')
  await assert.rejects(e.run(p, { signal: AbortSignal.abort(reason) }), (error) => error === reason)
  assert.deepEqual(await e.runs(), [])
})

test('a signal that is aborted later cancels the run, and waiting rejects with its reason', async (t) => {
  const { engine: e } = await engine(t)
  const abort = new AbortController()
  const reason = new Error('changed my mind')
  const started = deferred()
  const run = await e.start(endless(started.resolve), { signal: abort.signal })
  const waited = assert.rejects(run.outcome(), (error) => error === reason)
  await within(started.promise, 'the step')
  abort.abort(reason)
  await waited
  const [row] = await e.runs()
  assert.deepEqual([row.status, row.finished], ['cancelled', true])
  const events = await all(run)
  assert.match(events.find((event) => event.kind === 'cancel_requested').reason, /changed my mind/)
})

test('a signal that is aborted after the end changes nothing', async (t) => {
  const { engine: e } = await engine(t)
  const abort = new AbortController()
  const p = new Pipeline('p')
  p.step('a', () => 1)
  const run = await e.start(p, { signal: abort.signal })
  await run.outcome()
  abort.abort()
  assert.ok((await run.outcome()).succeeded)
})

test('leaving a loop over events leaves the run alone', async (t) => {
  const { engine: e, dir } = await engine(t)
  const p = new Pipeline('p')
  p.shell('a', `sleep 0.2; echo ran > ${join(dir, 'ran')}`)
  const run = await e.start(p)
  for await (const event of run) {
    assert.equal(event.kind, 'run_started')
    break
  }
  assert.ok((await run.outcome()).succeeded)
  assert.deepEqual(lines(join(dir, 'ran')), ['ran'])
})

test('output comes while a command runs', async (t) => {
  const { engine: e } = await engine(t)
  const p = new Pipeline('p')
  p.shell('a', 'echo one; sleep 0.3; echo two >&2')
  const run = await e.start(p)
  const output = (await all(run)).filter((event) => event.kind === 'output')
  const two = output.find((event) => event.line === 'two')
  assert.deepEqual(two, { kind: 'output', step: 'a', attempt: 1, stream: 'stderr', line: 'two' })
})

test('the outcome of a run that failed says why', async (t) => {
  const { engine: e } = await engine(t)
  const p = new Pipeline('p')
  const bad = p.shell('bad', 'echo last words >&2; exit 3', { output: 'text' })
  const outcome = await e.run(p)
  assert.deepEqual(outcome.steps.bad.lastLines, ['last words'])
  assert.throws(() => outcome.ok(), (error) => error.kind === 'failed' && /exited with code 3/.test(error.message))
  assert.throws(() => outcome.value(bad), (error) => error.kind === 'not_found' && error.context.step === 'bad')
})

test('the journal can be listed, checked and pruned', async (t) => {
  const { engine: e } = await engine(t)
  const p = new Pipeline('p')
  p.step('a', () => 1)
  const { run } = await e.run(p, { key: 'k' })
  const [row] = await e.runs({ limit: 5 })
  assert.deepEqual([row.id, row.pipeline, row.key, row.finished], [run, 'p', 'k', true])
  assert.ok(row.started instanceof Date)
  const before = await e.verify()
  assert.deepEqual(before.damages, [])
  assert.ok(before.events >= 4)
  await e.prune(run)
  assert.ok((await e.verify()).events < before.events)
  assert.equal(await e.service('nothing'), null)
  await assert.rejects(e.prune('nowhere'), (error) => error.kind === 'not_found')
})

test('100 runs are listed unless more are asked for', async (t) => {
  const { engine: e } = await engine(t, { durability: 'memory' })
  const p = new Pipeline('p')
  p.step('a', () => 1)
  for (let i = 0; i < 101; i++) {
    await e.run(p, { key: `${i}` })
  }
  assert.deepEqual([(await e.runs()).length, (await e.runs({ limit: 200 })).length], [100, 101])
})

test('what is known of a run is told when the engine is closed, too', async (t) => {
  const { engine: e } = await engine(t)
  const p = new Pipeline('p')
  p.step('a', () => 1)
  const ended = await e.start(p)
  const outcome = await ended.outcome()
  const q = new Pipeline('q')
  q.command('a', ['sleep', '600'])
  const open = await e.start(q)
  const closed = { kind: 'cancelled', message: /the engine was closed while the run was under way/ }
  const waits = assert.rejects(open.outcome(), closed)
  await e.close()
  await waits
  await assert.rejects(open.outcome(), closed)
  assert.deepEqual(await ended.outcome(), outcome)
  assert.equal((await all(ended)).at(-1).kind, 'run_finished')
})

test('with durability memory nothing is written', async (t) => {
  const dir = folder(t)
  const e = await Engine.open(join(dir, 'journal.db'), { durability: 'memory' })
  const p = new Pipeline('p')
  p.step('a', () => 1)
  assert.ok((await e.run(p)).succeeded)
  await e.close()
  assert.deepEqual((await import('node:fs')).readdirSync(dir), [])
})

function deferred() {
  let resolve
  const promise = new Promise((done) => (resolve = done))
  return { promise, resolve }
}
