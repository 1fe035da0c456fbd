// Ends in the middle of something, in the folder that it is started in: `scenes.py` looks what is left.
// `middle.mjs ACTION WHERE`.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { Engine, Pipeline } from '../../bindings-node/dist/index.js'

const pipeline = new Pipeline('p')
pipeline.shell('command', 'touch command-up; sleep 600')
pipeline.step('function', (context) => {
  writeFileSync('function-up', '')
  return new Promise((_, reject) => context.signal.addEventListener('abort', () => reject(context.signal.reason)))
})
const short = new Pipeline('short')
short.step('one', () => 1)

async function up() {
  while (!(existsSync('command-up') && existsSync('function-up'))) {
    await sleep(5)
  }
}

async function act(action, where) {
  let engine = await Engine.open('release.db')
  let run
  if (action === 'interrupt') {
    const outcome = await engine.run(pipeline, { key: 'v1', ctrlC: true })
    await engine.close()
    process.exitCode = outcome.status === 'cancelled' ? 0 : 1
    return
  }
  if (where !== 'open') {
    run = await engine.start(pipeline, { key: 'v1' })
  }
  if (where === 'up') {
    await up()
  }
  switch (action) {
    case 'close':
      return engine.close()
    case 'drop':
      engine = run = undefined
      globalThis.gc()
      // The program goes on.
      return sleep(300)
    case 'forget':
      globalThis.kept = [engine, run]
      return
    case 'exit':
      process.exit(7)
    case 'raise':
      throw new Error('raised by the program')
    case 'second':
      return second(engine)
    case 'workers':
      return workers(engine)
  }
}

/** A second engine on a second journal works, on the same one it is refused with who has it. */
async function second(engine) {
  const other = await Engine.open('second.db')
  ;(await other.run(short)).ok()
  await other.close()
  await assert.rejects(Engine.open('release.db'), (error) => error.kind === 'busy' && error.message.includes(process.pid))
  ;(await engine.run(short)).ok()
  await engine.close()
}

/** Workers drive journals of their own; one is ended in the middle, and one ends by itself without closing. */
async function workers(engine) {
  const start = (mode) => new Worker(new URL(import.meta.url), { workerData: mode })
  const hangs = start('hang')
  await once(hangs, 'message')
  await hangs.terminate()
  for (const mode of ['whole', 'forget']) {
    const worker = start(mode)
    assert.deepEqual(await once(worker, 'exit'), [0], mode)
  }
  ;(await engine.run(short)).ok()
  await engine.close()
}

async function work(mode) {
  const engine = await Engine.open(`${mode}.db`)
  if (mode === 'whole') {
    ;(await engine.run(short)).ok()
    await engine.close()
    return
  }
  const hanging = new Pipeline('hanging')
  hanging.shell('command', 'sleep 600')
  const run = await engine.start(hanging)
  if (mode === 'hang') {
    parentPort.postMessage('up')
    await run.outcome()
  }
}

await (isMainThread ? act(...process.argv.slice(2)) : work(workerData))
