// A run with a listener: in a worker it tells whose runs it heard of; as a program it prints lines and closes nothing.
import { subscribe } from 'node:diagnostics_channel'
import { parentPort, workerData } from 'node:worker_threads'
import { Engine, Pipeline } from '../../dist/index.js'

const [path, how] = process.argv.slice(2)
const keys = new Set()
process.on('uncaughtException', (error) => console.log(`caught: ${error.message}`))
subscribe('tidegate:log', ({ level, message, fields }) => {
  if (fields.key !== undefined) {
    keys.add(fields.key)
  }
  if (parentPort === null && level === 'info') {
    console.log(level, message)
  }
  if (how === 'throw') {
    throw new Error('of a subscriber')
  }
})
const p = new Pipeline('p')
p.step('a', () => 1)
const engine = await Engine.open(workerData?.path ?? path)
await engine.run(p, { key: 'worker' })
if (parentPort !== null) {
  await engine.close()
  parentPort.postMessage([...keys])
}
