// A reader: one process drives a run, this one watches it and sends commands.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Engine, Pipeline, Reader } from '../dist/index.js'
import { folder, program, until, within } from './help.mjs'

/** A run that hangs in another process, and a reader of its journal. */
async function driven(t) {
  const dir = folder(t)
  const path = join(dir, 'release.db')
  const driver = program(t, 'drive.mjs', dir)
  let reader
  await until(async () => {
    try {
      reader = await Reader.open(path)
      return true
    } catch (error) {
      assert.equal(error.kind, 'not_found')
      return false
    }
  }, 'the journal')
  t.after(() => reader.close())
  let run = null
  await until(async () => {
    run = await reader.findRun('release', 'k')
    return run !== null && (await reader.steps(run)).hangs.status === 'running'
  }, 'the run to hang')
  return { path, driver, reader, run }
}

async function gather(events) {
  const all = []
  for await (const event of events) {
    all.push(event)
  }
  return all
}

test('watches and cancels what another process drives', async (t) => {
  const { path, driver, reader, run } = await driven(t)
  await assert.rejects(Engine.open(path), { kind: 'busy' })
  const [row] = await reader.runs()
  assert.deepEqual([row.id, row.pipeline, row.key, row.finished], [run, 'release', 'k', false])
  const seen = await gather(reader.events(run, { follow: false }))
  assert.deepEqual(seen.map((event) => event.seq), seen.map((_, i) => i + 1))
  const waiting = reader.outcome(run)
  const rest = []
  let sent
  for await (const event of reader.events(run, { after: seen.at(-1).seq - 1 })) {
    rest.push(event)
    // Refused, as it is no rollout: who drives it says so in the run.
    sent ??= await reader.promote(run, 'hangs', { by: 'operator' })
    if (event.kind === 'command_refused') {
      assert.deepEqual([event.verb, event.step, event.by], ['promote', 'hangs', 'operator'])
      assert.equal(await reader.waits(sent), false)
      await reader.cancel(run, { by: 'operator', reason: 'enough' })
    }
  }
  assert.deepEqual(rest.map((event) => event.seq), rest.map((_, i) => seen.length + i))
  const asked = rest.find((event) => event.kind === 'cancel_requested')
  assert.deepEqual([asked.by, asked.reason, asked.at instanceof Date], ['operator', 'enough', true])
  const outcome = await within(waiting, 'the outcome')
  assert.deepEqual([outcome.status, outcome.steps.before.status], ['cancelled', 'succeeded'])
  assert.throws(() => outcome.ok(), { kind: 'cancelled' })
  const lines = await gather(reader.lines(run))
  assert.ok(lines.includes('cancelled by operator: enough'))
  assert.equal(lines.at(-1), 'the run was cancelled')
  await assert.rejects(reader.cancel(run), { kind: 'conflict', help: /rerun_failed/ })
  assert.deepEqual((await driver.ended()).output, 'cancelled\n')
})

test('waiting ends with its signal or the reader, and the run goes on', async (t) => {
  const { path, driver, reader, run } = await driven(t)
  const abort = new AbortController()
  const late = new Error('no time')
  const gathered = assert.rejects(gather(reader.events(run, { signal: abort.signal })), late)
  const waited = assert.rejects(reader.outcome(run, { signal: abort.signal }), late)
  abort.abort(late)
  await within(Promise.all([gathered, waited]), 'the loops to end')
  assert.equal((await reader.steps(run)).hangs.status, 'running')
  const closed = assert.rejects(reader.outcome(run), { kind: 'cancelled', message: /the reader is closed/ })
  await reader.close()
  await within(closed, 'the loop to end')
  await reader.close()
  const last = await Reader.open(path)
  await last.cancel(run)
  assert.deepEqual((await driver.ended()).output, 'cancelled\n')
  await last.close()
})

test('verify names a flipped byte that keeps an engine out', async (t) => {
  const { path, driver, reader, run } = await driven(t)
  await reader.cancel(run)
  await driver.ended()
  await reader.close()
  // Folds the log into the file.
  await (await Engine.open(path)).close()
  const sound = await Reader.open(path)
  const whole = await sound.verify()
  assert.deepEqual([whole.damages, whole.isSound], [[], true])
  const events = await gather(sound.events(run, { follow: false }))
  const { seq } = events.find((event) => event.kind === 'step_started' && event.step === 'before')
  await sound.close()
  const bytes = readFileSync(path)
  const at = bytes.indexOf('{"kind":"step_started","step":"before"')
  assert.ok(at > 0)
  bytes[at + '{"kind":"step_started","step":"bef'.length] ^= 1
  writeFileSync(path, bytes)
  await assert.rejects(Engine.open(path), { kind: 'corrupt' })
  const damaged = await Reader.open(path)
  const { damages, isSound } = await damaged.verify()
  assert.equal(isSound, false)
  assert.ok(damages.some((each) => each.kind === 'changed' && each.stream === `run/${run}` && each.seq === seq))
  await assert.rejects(gather(damaged.events(run)), { kind: 'corrupt' })
  await damaged.close()
})

test('an answer waits for the program', async (t) => {
  const path = join(folder(t), 'release.db')
  const asks = new Pipeline('release')
  const pay = asks.command('pay', ['sleep', '600'], { once: true })
  const first = await Engine.open(path)
  const { id } = await first.start(asks, { key: 'k' })
  const reader = await Reader.open(path)
  t.after(() => reader.close())
  await until(async () => (await reader.steps(id)).pay.status === 'running', 'the step')
  await first.close()
  const number = await reader.resolve(id, pay, { done: { paid: 3 } }, { by: 'operator' })
  assert.equal(await reader.waits(number), true)
  const second = await Engine.open(path)
  t.after(() => second.close())
  await second.start(asks, { key: 'k' })
  await until(async () => !(await reader.waits(number)), 'the answer to be taken')
  assert.deepEqual((await within(reader.outcome(id), 'the outcome')).value(pay), { paid: 3 })
})

test('what is not there', async (t) => {
  const path = join(folder(t), 'release.db')
  await assert.rejects(Reader.open(path), { kind: 'not_found' })
  await (await Engine.open(path)).close()
  const reader = await Reader.open(path)
  assert.deepEqual(
    [await reader.runs(), await reader.services(), await reader.service('shop'), await reader.findRun('p', 'k')],
    [[], [], null, null],
  )
  for (const ask of [() => reader.outcome('nobody'), () => reader.steps('nobody'), () => reader.cancel('nobody')]) {
    await assert.rejects(ask(), { kind: 'not_found' })
  }
  await reader.close()
  await assert.rejects(reader.runs(), { kind: 'cancelled' })
})
