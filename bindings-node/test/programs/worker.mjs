// In a worker: a whole run, or one that the worker is ended in the middle of.
import { parentPort, workerData } from 'node:worker_threads'
import { Engine, Pipeline } from '../../dist/index.js'

const p = new Pipeline('p')
p.step('a', () => 1)
if (workerData.mode === 'hang') {
  p.step('b', () => {
    parentPort.postMessage('hanging')
    return new Promise(() => undefined)
  })
}
const engine = await Engine.open(workerData.path)
const outcome = await engine.run(p, { key: workerData.mode })
parentPort.postMessage(outcome.status)
await engine.close()
