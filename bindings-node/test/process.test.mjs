// What a process lives through: kills, second drivers, ends in the middle, Ctrl-C, workers.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { Worker } from 'node:worker_threads'
import { Engine, Pipeline } from '../dist/index.js'
import { folder, lines, program, until, within } from './help.mjs'

test('a run that was killed in mid-step goes on where it was', async (t) => {
  const dir = folder(t)
  for (let kills = 0; kills < 2; kills += 1) {
    const child = program(t, 'release.mjs', dir, 'hang')
    await child.wrote('in the middle')
    child.child.kill('SIGKILL')
    assert.equal((await child.ended()).signal, 'SIGKILL')
  }
  const last = await program(t, 'release.mjs', dir, 'go').ended()
  assert.deepEqual([last.code, last.output], [0, 'succeeded\n'], last.errors)
  assert.deepEqual(lines(join(dir, 'first')), ['ran'])
  const attempts = lines(join(dir, 'middle')).map((line) => JSON.parse(line))
  assert.deepEqual(
    attempts.map(({ attempt, n }) => [attempt, n]),
    [
      [1, 7],
      [2, 7],
      [3, 7],
    ],
  )
  assert.equal(new Set(attempts.map(({ key }) => key)).size, 1)
  assert.ok(attempts[0].token < attempts[1].token && attempts[1].token < attempts[2].token)
  assert.deepEqual(lines(join(dir, 'last')), ['14'])

  const again = await program(t, 'release.mjs', dir, 'go').ended()
  assert.equal(again.output, 'succeeded\n')
  assert.deepEqual(lines(join(dir, 'last')), ['14'])
})

test('a step that must not run twice asks, and takes an answer', async (t) => {
  const dir = folder(t)
  const child = program(t, 'release.mjs', dir, 'hang', 'once')
  await child.wrote('in the middle')
  child.child.kill('SIGKILL')
  await child.ended()
  const asked = await program(t, 'release.mjs', dir, 'go', 'once').ended()
  assert.equal(asked.output, 'asking\n', asked.errors)
  const answered = await program(t, 'release.mjs', dir, 'answer', 'once').ended()
  assert.match(answered.output, /asks: .*did it take effect\?\nsucceeded\n/, answered.errors)
  assert.equal(lines(join(dir, 'middle')).length, 1)
  assert.deepEqual(lines(join(dir, 'last')), ['100'])
})

test('a second driver is told who drives', async (t) => {
  const dir = folder(t)
  const path = join(dir, 'journal.db')
  const child = program(t, 'hold.mjs', path)
  await child.wrote('open')
  await assert.rejects(Engine.open(path), (error) => {
    assert.equal(error.kind, 'busy')
    assert.equal(error.code, 'TIDEGATE_BUSY')
    assert.match(error.message, new RegExp(`\\b${child.child.pid}\\b`))
    return true
  })
  child.child.kill('SIGKILL')
  await child.ended()
  await (await Engine.open(path)).close()
})

test('a journal can be driven once in a process', async (t) => {
  const path = join(folder(t), 'journal.db')
  const engine = await Engine.open(path)
  await assert.rejects(Engine.open(path), (error) => error.kind === 'busy')
  await engine.close()
  await (await Engine.open(path)).close()
})

test('a program that awaits a run stays, one that does not ends by itself', async (t) => {
  const [awaits, forgets] = [folder(t), folder(t)]
  const waited = await program(t, 'await.mjs', awaits, 'await').ended()
  assert.deepEqual([waited.code, waited.output], [0, 'succeeded\n'], waited.errors)
  assert.ok(existsSync(join(awaits, 'ran')))
  const gone = await program(t, 'await.mjs', forgets, 'forget').ended()
  assert.deepEqual([gone.code, gone.output, gone.errors], [0, '', ''])
  assert.ok(!existsSync(join(forgets, 'ran')))
  const resumed = await program(t, 'await.mjs', forgets, 'await').ended()
  assert.equal(resumed.output, 'succeeded\n', resumed.errors)
})

test('process.exit and an exception end a program with an engine at work', async (t) => {
  const exits = await program(t, 'await.mjs', folder(t), 'exit').ended()
  assert.deepEqual([exits.code, exits.errors], [7, ''])
  const throws = await program(t, 'await.mjs', folder(t), 'throw').ended()
  assert.equal(throws.code, 1)
  assert.match(throws.errors, /thrown by the program/)
  assert.doesNotMatch(throws.errors, /panic|FATAL/)
})

for (const [mode, code] of [
  ['exit', 7],
  ['throw', 1],
  ['reject', 1],
]) {
  test(`what an engine runs ends with a program that does not close it: ${mode}`, async (t) => {
    const dir = folder(t)
    const ended = await program(t, 'leave.mjs', dir, mode).ended()
    assert.equal(ended.code, code, ended.errors)
    const [pid] = lines(join(dir, 'pid')).map(Number)
    assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' })
    // It was recorded that the end stopped it, which is no crash.
    const engine = await Engine.open(join(dir, 'journal.db'))
    assert.equal((await engine.runs())[0].status, 'running')
    await engine.close()
  })
}

test('nothing of the host is touched, and nothing is left once an engine is closed', async (t) => {
  const dir = folder(t)
  const look = () => ({
    files: readdirSync('/proc/self/fd').length,
    threads: readdirSync('/proc/self/task').length,
    signals: readFileSync('/proc/self/status', 'utf8').match(/^Sig(Blk|Ign|Cgt):.*$/gm),
    listeners: process.eventNames().map((name) => `${String(name)}: ${process.listenerCount(name)}`),
    captures: process.hasUncaughtExceptionCaptureCallback(),
    folder: process.cwd(),
    environment: { ...process.env },
  })
  // Node's own threads for files are begun at their first use.
  await Promise.all([1, 2, 3, 4].map(() => readdir(dir)))
  const before = look()
  const engine = await Engine.open(join(dir, 'journal.db'))
  const p = new Pipeline('p')
  p.shell('a', 'echo hello')
  p.step('b', () => {
    throw new Error('on purpose')
  })
  const run = await engine.start(p)
  const events = run[Symbol.asyncIterator]()
  await events.next()
  assert.equal((await run.outcome()).status, 'failed')
  await engine.close()
  // A thread that has done all that it had to may take a moment to be gone. The run is held on to.
  await until(
    () => look().threads <= before.threads,
    () => JSON.stringify([before, look()]),
  )
  assert.deepEqual({ ...look(), threads: before.threads }, before)
  assert.equal(await run.outcome().then((outcome) => outcome.status), 'failed')
})

test('the first Ctrl-C cancels and cleans up', async (t) => {
  const dir = folder(t)
  const child = program(t, 'interrupt.mjs', dir)
  await child.wrote('begun')
  child.child.kill('SIGINT')
  const { code, output, errors } = await child.ended()
  assert.equal(code, 0, errors)
  assert.match(output, /sweeping\ncancelled, 0 listeners left/)
  assert.ok(existsSync(join(dir, 'swept')))
})

test('the second Ctrl-C leaves the run to be taken up', async (t) => {
  const dir = folder(t)
  const child = program(t, 'interrupt.mjs', dir, 'hang')
  await child.wrote('begun')
  child.child.kill('SIGINT')
  await child.wrote('sweeping')
  child.child.kill('SIGINT')
  assert.equal((await child.ended()).code, 130)
  assert.ok(!existsSync(join(dir, 'swept')))
  const { output, errors } = await program(t, 'interrupt.mjs', dir).ended()
  assert.match(output, /^sweeping\ncancelled/, errors)
})

test('workers drive journals of their own, and may be ended at any time', async (t) => {
  const dir = folder(t)
  const start = (mode) => new Worker(join(import.meta.dirname, 'programs', 'worker.mjs'), { workerData: { path: join(dir, `${mode}.db`), mode } })
  const whole = start('whole')
  assert.deepEqual(await within(once(whole, 'message'), 'the worker'), ['succeeded'])
  assert.deepEqual(await within(once(whole, 'exit'), 'the worker to end'), [0])
  for (let i = 0; i < 2; i += 1) {
    const hangs = start('hang')
    assert.deepEqual(await within(once(hangs, 'message'), 'the worker'), ['hanging'])
    await within(hangs.terminate(), 'the worker to be ended')
  }
  const engine = await Engine.open(join(dir, 'hang.db'))
  const p = new Pipeline('p')
  p.step('a', () => 1)
  p.step('b', () => 2)
  const outcome = await engine.run(p, { key: 'hang' })
  assert.deepEqual([outcome.status, outcome.steps.b.attempts], ['succeeded', 3])
  await engine.close()
})
