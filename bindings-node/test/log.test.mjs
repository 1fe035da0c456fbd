// What the core says, on the diagnostics channel of the thread whose engine it is.
import assert from 'node:assert/strict'
import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { Worker } from 'node:worker_threads'
import { Engine, Pipeline } from '../dist/index.js'
import { engine, folder, program, until, within } from './help.mjs'

const LOG = 'tidegate:log'

/** Listens until the test ends or it is told not to. */
function listen(t) {
  const heard = []
  const take = (message, name) => {
    assert.equal(name, LOG)
    heard.push(message)
  }
  subscribe(LOG, take)
  const stop = () => unsubscribe(LOG, take)
  t.after(stop)
  return { heard, stop, said: (message) => heard.filter((line) => line.message === message) }
}

/** A pipeline whose step fails so often. */
function failing(attempts = 2) {
  const p = new Pipeline('p')
  p.step('a', { retry: { attempts, initial: '1ms', factor: 1, jitter: 'none' } }, () => {
    throw new Error('no such thing')
  })
  return p
}

test('a run is told from its beginning to its end', async (t) => {
  const log = listen(t)
  const before = Date.now()
  const dir = folder(t)
  const opened = await Engine.open(join(dir, 'journal.db'))
  const run = await opened.start(failing(), { key: 'v1' })
  await run.outcome()
  const [ended] = log.said('a run ended')
  assert.deepEqual(ended.fields, { run: run.id, key: 'v1', pipeline: 'p', outcome: 'failed' })
  assert.deepEqual([ended.level, ended.target], ['info', 'tidegate.engine'])
  await opened.close()
  assert.deepEqual(
    log.heard.map(({ level, message }) => [level, message]),
    [
      ['debug', 'an engine was opened'],
      ['info', 'a run started'],
      ['warn', 'an attempt failed and is tried again'],
      ['warn', 'a step failed'],
      ['info', 'a run ended'],
      ['debug', 'an engine was closed'],
    ],
  )
  const { fields, time } = log.heard[3]
  assert.deepEqual(fields, { run: run.id, key: 'v1', step: 'a', attempt: 2, error: 'Error: no such thing' })
  assert.ok(time instanceof Date && time.getTime() >= before - 1000 && time.getTime() <= Date.now())
})

test('who comes later hears from the next call on, and who has gone hears nothing', async (t) => {
  const { engine: opened } = await engine(t)
  assert.equal(channel(LOG).hasSubscribers, false)
  await opened.run(failing(), { key: '1' })
  const log = listen(t)
  await opened.run(failing(), { key: '2' })
  log.stop()
  await opened.run(failing(), { key: '3' })
  const last = listen(t)
  await opened.run(failing(), { key: '4' })
  assert.deepEqual(new Set(log.heard.map((line) => line.fields.key)), new Set(['2']))
  assert.deepEqual(new Set(last.heard.map((line) => line.fields.key)), new Set(['4']))
})

test('lines that nobody takes in time are counted', async (t) => {
  const log = listen(t)
  const { engine: opened, dir } = await engine(t, { durability: 'memory' })
  const count = join(dir, 'count')
  const p = new Pipeline('p')
  for (let i = 0; i < 8; i += 1) {
    const retry = { attempts: 160, initial: '1ms', factor: 1, jitter: 'none' }
    p.command(`s${i}`, ['sh', '-c', `echo >> ${count}; exit 1`], { retry })
  }
  const run = await opened.start(p)
  const end = Date.now() + 60_000
  while ((existsSync(count) ? statSync(count).size : 0) < 8 * 160) {
    assert.ok(Date.now() < end, 'waited too long')
    // This thread stands, and with it all that could take a line.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
  }
  assert.equal((await run.outcome()).status, 'failed')
  await opened.close()
  const dropped = log.heard.filter((line) => line.message.endsWith(' log lines were dropped'))
  const number = dropped.reduce((sum, line) => sum + Number(line.message.split(' ')[0]), 0)
  assert.ok(number > 0 && dropped.every((line) => line.level === 'warn' && line.target === 'tidegate'))
  // Of each attempt one, and of the run and the engine their beginning and end.
  assert.equal(log.heard.length - dropped.length + number, 8 * 160 + 4)
})

test('a subscriber may call the package', async (t) => {
  const { engine: opened, dir } = await engine(t)
  const seen = []
  const call = async ({ message, fields }) => {
    if (message === 'a run ended' && fields.key === 'v1') {
      const other = await Engine.open(join(dir, 'other.db'))
      seen.push((await other.run(failing(), { key: 'other' })).status)
      await other.close()
      await opened.close()
      seen.push('closed')
    }
  }
  subscribe(LOG, call)
  t.after(() => unsubscribe(LOG, call))
  await opened.run(failing(), { key: 'v1' })
  await until(() => seen.length === 2, () => `the subscriber: ${seen}`)
  assert.deepEqual(seen, ['failed', 'closed'])
})

test('why an engine does not open the error says, and no line', async (t) => {
  const { path } = await engine(t)
  const log = listen(t)
  await assert.rejects(Engine.open(path), { kind: 'busy' })
  assert.deepEqual(log.heard, [])
})

test('a worker hears its own engines, and nobody else does', async (t) => {
  const log = listen(t)
  const dir = folder(t)
  const worker = new Worker(join(import.meta.dirname, 'programs', 'log.mjs'), { workerData: { path: join(dir, 'w.db') } })
  const told = once(worker, 'message')
  const exit = once(worker, 'exit')
  const opened = await Engine.open(join(dir, 'm.db'))
  await opened.run(failing(), { key: 'main' })
  await opened.close()
  const [keys] = await within(told, 'the worker')
  assert.deepEqual(keys, ['worker'])
  assert.deepEqual(await within(exit, 'the worker to end'), [0])
  assert.deepEqual([...new Set(log.heard.map((line) => line.fields.key))].filter(Boolean), ['main'])
})

test('neither an open engine nor its log keeps a program from ending', async (t) => {
  const dir = folder(t)
  const ended = await program(t, 'log.mjs', join(dir, 'journal.db')).ended()
  assert.deepEqual([ended.code, ended.errors], [0, ''])
  assert.match(ended.output, /^info a run started\ninfo a run ended\n$/)
})

test('what a subscriber throws is the program\'s to catch, and harms no run', async (t) => {
  const dir = folder(t)
  const ended = await program(t, 'log.mjs', join(dir, 'journal.db'), 'throw').ended()
  assert.deepEqual([ended.code, ended.errors], [0, ''])
  assert.match(ended.output, /caught: of a subscriber/)
  assert.match(ended.output, /info a run ended/)
})
